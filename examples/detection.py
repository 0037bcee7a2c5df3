"""Which pretraining helps to find shapes in images: boxes, by torchvision's SSD.

A small backbone learns to tell single shapes apart, another to take noise away, in
front of you. Then they and a twin that was never pretrained are the backbones of a
detector that learns where discs and squares are. The detector is torchvision's, and so
are its losses; its builder makes its head for the classes. Offline, under a minute on
two CPU cores; needs pip install "pretrain-eval[detection]".
"""

import copy
import itertools
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.ssd import SSD

import pretrain_eval as pe

SIZE = 64
Target = dict[str, Tensor]


def backbone() -> nn.Sequential:
    """A map at an eighth of the size, of 32 channels."""
    widths = (3, 8, 16, 32)
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Conv2d(inputs, outputs, 3, 2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers)


def scene(seed: int, num_shapes: int = 2) -> tuple[Tensor, Target]:
    """Discs, class 1, and squares, class 2, in any colour on noise, and their boxes."""
    generator = torch.Generator().manual_seed(seed)
    image = 0.1 * torch.rand(3, SIZE, SIZE, generator=generator)
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    boxes, labels = [], []
    for _ in range(num_shapes):
        label = int(torch.randint(1, 3, (), generator=generator))
        radius = int(torch.randint(7, 12, (), generator=generator))
        left, top = torch.randint(0, SIZE - 2 * radius, (2,), generator=generator)
        away = torch.stack([x - left - radius, y - top - radius]).abs().float()
        power = 2.0 if label == 1 else float("inf")
        inside = torch.linalg.vector_norm(away, power, dim=0) <= radius
        image[:, inside] = 0.4 + 0.6 * torch.rand(3, 1, generator=generator)
        boxes.append(
            [int(left), int(top), int(left) + 2 * radius, int(top) + 2 * radius]
        )
        labels.append(label)
    return image, {"boxes": torch.tensor(boxes).float(), "labels": torch.tensor(labels)}


def scenes(num_images: int, seed: int) -> list[tuple[Tensor, Target]]:
    """So many of them, the same for the same seed."""
    return [scene(10_000 * seed + number) for number in range(num_images)]


def tell_apart(maps: Tensor, images: Tensor, classes: Tensor) -> Tensor:
    """A supervised task: which shape is in the image?"""
    return F.cross_entropy(maps.amax((2, 3)), classes)


def denoise(maps: Tensor, images: Tensor, classes: Tensor) -> Tensor:
    """A self-supervised task: which colour has each place without its noise?"""
    return F.mse_loss(maps, F.avg_pool2d(images, 8))


def pretrained(loss: Callable[[Tensor, Tensor, Tensor], Tensor]) -> nn.Sequential:
    """A backbone whose map, by a linear layer, has learned a task."""
    torch.manual_seed(0)
    body, head = backbone(), nn.Conv2d(32, 3, 1)
    optimizer = torch.optim.AdamW([*body.parameters(), *head.parameters()], lr=3e-3)
    single = [scene(1_000_000 + number, num_shapes=1) for number in range(512)]
    images = torch.stack([image for image, _ in single])
    classes = torch.cat([target["labels"] for _, target in single])
    losses = []
    for _ in range(200):
        chosen = torch.randint(len(images), (32,))
        noisy = images[chosen] + 0.2 * torch.randn(32, 3, SIZE, SIZE)
        value = loss(head(body(noisy)), images[chosen], classes[chosen])
        optimizer.zero_grad()
        torch.autograd.backward(value)
        optimizer.step()
        losses.append(value.item())
    first, last = sum(losses[:10]) / 10, sum(losses[-10:]) / 10
    print(
        f"pretrained to {loss.__name__}: loss {first:.3f} at first, {last:.3f} at last"
    )
    return body


def detector(make: Callable[[], nn.Sequential]) -> SSD:
    """The SSD of torchvision on one map; class 0 is its background."""
    boxes = DefaultBoxGenerator([[1]], scales=[0.3, 0.4])
    return SSD(make(), boxes, (SIZE, SIZE), num_classes=3)


def main() -> None:
    """Pretrain, fine-tune, compare."""
    bodies = [pretrained(tell_apart), pretrained(denoise)]
    makers: list[Callable[[], nn.Sequential]] = [
        *(partial(copy.deepcopy, body) for body in bodies),
        backbone,
    ]
    names = ("tell apart", "denoise", "scratch")
    models = {
        name: partial(detector, make) for name, make in zip(names, makers, strict=True)
    }
    splits = pe.Splits(scenes(64, 1), scenes(16, 2), scenes(48, 3))
    task = pe.Task("shapes", datasets={"noise": splits}, kind=pe.Detection(3))
    adam = partial(torch.optim.AdamW, lr=5e-3)
    strategies = [
        pe.Strategy("full", optimizer=adam, epochs=5, batch_size=8),
        pe.Strategy("head", optimizer=adam, epochs=5, batch_size=8, trainable=["head"]),
    ]
    runs = pe.sweep(models, [task], strategies, seeds=range(3))
    for run in runs[::3]:
        scores = ", ".join(f"{key} {value:.2f}" for key, value in run.scores.items())
        print(f"{run.model}, {run.strategy}: {scores}")
    print(pe.PersistenceEvaluator(scratch="scratch").compare(runs))


if __name__ == "__main__":
    main()
