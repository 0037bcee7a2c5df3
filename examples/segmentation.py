"""Which pretraining helps to find shapes, and which head: one class a pixel.

A small backbone learns to tell shapes apart, another to tell by how many quarter turns
an image was turned, in front of you. Then they and a twin that was never pretrained
learn to outline the shapes, as the backbone of torchvision's FCN with its auxiliary
loss, and bare, with a head on their last map. Offline, well under a minute on two CPU
cores.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset
from torchvision.models.segmentation import FCN
from torchvision.models.segmentation.fcn import FCNHead

import pretrain_eval as pe

SIZE = 32
Batch = tuple[Tensor, Tensor]


class Backbone(nn.Module):
    """A map at a quarter of the size, and one before it."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(*_block(3, 16, 2), *_block(16, 32, 1))
        self.second = nn.Sequential(*_block(32, 32, 2), *_block(32, 64, 1))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Maps `(num_images, channels, height, width)` by torchvision's names."""
        aux = self.first(images)
        return {"aux": aux, "out": self.second(aux)}


def _block(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, 3, stride, padding=1)
    return [conv, nn.GroupNorm(4, outputs), nn.ReLU()]


def shapes(num_images: int, seed: int) -> tuple[Tensor, Tensor]:
    """A disc and a square in any colour on noise, and a mask; edges are ignored."""
    generator = torch.Generator().manual_seed(seed)
    images = 0.2 * torch.randn(num_images, 3, SIZE, SIZE, generator=generator)
    masks = torch.zeros(num_images, SIZE, SIZE, dtype=torch.long)
    grid = torch.arange(SIZE).float()
    for image, mask in zip(images, masks, strict=True):
        for shape in (1, 2):
            y, x, size, *colour = torch.rand(6, generator=generator).tolist()
            dy, dx = grid[:, None] - 6 - 20 * y, grid - 6 - 20 * x
            power = 2.0 if shape == 1 else float("inf")
            away = torch.linalg.vector_norm(
                torch.stack(torch.broadcast_tensors(dy, dx)), power, dim=0
            )
            radius = 3 + 4 * size
            image[:, away <= radius] = torch.tensor(colour)[:, None]
            mask[away <= radius] = shape
            mask[(away - radius).abs() < 0.5] = 255
    return images, masks


def one_shape(seed: int) -> Batch:
    """Patches around one pixel, and which shape it is of, if any."""
    images, masks = shapes(64, seed)
    middle = masks[:, SIZE // 2, SIZE // 2]
    return images[middle < 3], middle[middle < 3]


def turned(seed: int) -> Batch:
    """Images, and by how many quarter turns each was turned."""
    images, _ = shapes(64, seed)
    turns = torch.arange(64) % 4
    pairs = zip(images, turns.tolist(), strict=True)
    return torch.stack([torch.rot90(i, k, (1, 2)) for i, k in pairs]), turns


def pretrained(batch: Callable[[int], Batch], num_classes: int) -> Backbone:
    """A backbone that has learned to tell classes from the middle of its map."""
    torch.manual_seed(0)
    backbone, head = Backbone(), nn.Linear(64, num_classes)
    optimizer = torch.optim.AdamW([*backbone.parameters(), *head.parameters()], lr=3e-3)
    accuracy = pe.Accuracy()
    for step in range(300):
        images, targets = batch(1000 + step)
        scores = head(backbone(images)["out"][:, :, 3:5, 3:5].mean((2, 3)))
        optimizer.zero_grad()
        F.cross_entropy(scores, targets).backward()  # type: ignore[no-untyped-call] # torch's
        optimizer.step()
        if step >= 250:
            accuracy.update(scores.detach(), targets)
    print(f"pretrained by {batch.__name__}: accuracy {accuracy.compute():.2f}")
    return backbone


def fcn(backbone: Backbone) -> FCN:
    """The model of torchvision, whose two heads are found by their names."""
    return FCN(backbone, FCNHead(64, 21), FCNHead(32, 21))


def main() -> None:
    """Pretrain, fine-tune, compare."""
    backbones = {"one shape": pretrained(one_shape, 3), "turned": pretrained(turned, 4)}
    models = {name: pe.Pretrained(fcn(body)) for name, body in backbones.items()}
    models["turned, bare"] = pe.Pretrained(backbones["turned"], head="new")
    models["scratch"] = pe.Pretrained(lambda: fcn(Backbone()))
    train, valid, test = (shapes(n, seed) for seed, n in enumerate((48, 32, 96)))
    splits = pe.Splits(*(TensorDataset(*part) for part in (train, valid, test)))
    task = pe.Task("shapes", datasets={"noise": splits}, kind=pe.Segmentation(3))
    adam = partial(torch.optim.AdamW, lr=3e-3)
    strategies = [
        pe.Strategy("full", optimizer=adam, epochs=6, batch_size=8),
        pe.Strategy("head", optimizer=adam, epochs=6, batch_size=8, trainable="head"),
    ]
    runs = pe.sweep(models, [task], strategies, seeds=range(3))
    for run in runs[::3]:
        scores = ", ".join(f"{key} {value:.2f}" for key, value in run.scores.items())
        print(f"{run.model}, {run.strategy}: {scores}")
    print(pe.PersistenceEvaluator(scratch="scratch").compare(runs))


if __name__ == "__main__":
    main()
