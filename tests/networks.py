"""Small networks and data that several tests share."""

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import pretrain_eval as pe


class Small(nn.Module):
    """A body with batch normalisation and dropout, and a head."""

    def __init__(self, width: int = 8, outputs: int = 7) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(4, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.2)
        )
        self.head = nn.Linear(width, outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        scores: Tensor = self.head(self.body(inputs))
        return scores


def points(num_samples: int, seed: int, num_classes: int = 3) -> TensorDataset:
    """Points in four dimensions whose class is the largest of the first numbers."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(num_samples, 4, generator=generator)
    return TensorDataset(inputs, inputs[:, :num_classes].argmax(1))


def three_classes(name: str = "largest", **sizes: int) -> pe.Task:
    """A task of one dataset, `points`, with 48 training and 40 reported samples."""
    train, valid = sizes.get("train", 48), sizes.get("valid", 40)
    splits = pe.Splits(points(train, 1), points(valid, 2))
    return pe.Task(name, datasets={"points": splits}, num_classes=3)
