"""Which pretraining helps to find shapes, and which head: one class a pixel.

A small backbone learns to tell shapes apart, another to take noise away, in front of
you. Then they and a twin that was never pretrained
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


def tell_apart(maps: Tensor, images: Tensor, masks: Tensor) -> Tensor:
    """A supervised task: of which shape, if any, is the pixel in the middle?"""
    middle = masks[:, SIZE // 2, SIZE // 2]
    scores = maps[:, :3, 3:5, 3:5].mean((2, 3))
    return F.cross_entropy(scores, middle, ignore_index=255)


def denoise(maps: Tensor, images: Tensor, masks: Tensor) -> Tensor:
    """A self-supervised task: which colour has each place without its noise?"""
    return F.mse_loss(maps[:, :3], F.avg_pool2d(images, 4))


def pretrained(loss: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Backbone:
    """A backbone whose map, by a linear layer, has learned a task."""
    torch.manual_seed(0)
    backbone, head = Backbone(), nn.Conv2d(64, 3, 1)
    optimizer = torch.optim.AdamW([*backbone.parameters(), *head.parameters()], lr=3e-3)
    losses = []
    for step in range(200):
        images, masks = shapes(48, 1000 + step)
        noisy = images + 0.2 * torch.randn_like(images)
        value = loss(head(backbone(noisy)["out"]), images, masks)
        optimizer.zero_grad()
        torch.autograd.backward(value)
        optimizer.step()
        losses.append(value.item())
    first, last = sum(losses[:10]) / 10, sum(losses[-10:]) / 10
    print(
        f"pretrained to {loss.__name__}: loss {first:.3f} at first, {last:.3f} at last"
    )
    return backbone


def fcn(backbone: Backbone) -> FCN:
    """The model of torchvision, whose two heads are found by their names."""
    return FCN(backbone, FCNHead(64, 21), FCNHead(32, 21))


def main() -> None:
    """Pretrain, fine-tune, compare."""
    apart, denoised = pretrained(tell_apart), pretrained(denoise)
    models = {
        "tell apart": pe.Pretrained(fcn(apart)),
        "denoise": pe.Pretrained(fcn(denoised)),
        "denoise, bare": pe.Pretrained(denoised, head="new"),
        "scratch": pe.Pretrained(lambda: fcn(Backbone())),
    }
    train, valid, test = (shapes(n, seed) for seed, n in enumerate((64, 32, 96)))
    splits = pe.Splits(*(TensorDataset(*part) for part in (train, valid, test)))
    task = pe.Task("shapes", datasets={"noise": splits}, kind=pe.Segmentation(3))
    adam, fast = (partial(torch.optim.AdamW, lr=lr) for lr in (3e-3, 3e-2))
    strategies = [
        pe.Strategy("full", optimizer=adam, epochs=8, batch_size=8),
        pe.Strategy("head", optimizer=fast, epochs=12, batch_size=8, trainable="head"),
    ]
    runs = pe.sweep(models, [task], strategies, seeds=range(3))
    for run in runs[::3]:
        scores = ", ".join(f"{key} {value:.2f}" for key, value in run.scores.items())
        print(f"{run.model}, {run.strategy}: {scores}")
    print(pe.PersistenceEvaluator(scratch="scratch").compare(runs))


if __name__ == "__main__":
    main()
