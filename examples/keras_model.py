"""Which Keras model to fine-tune? Two of them, in one sweep with a network of torch.

Keras 3 computes by torch here, and `zoo.keras` takes a model as it is: its last `Dense`
layer becomes the head, the others are what was pretrained. Two are pretrained by Keras'
own `fit` in front of you; their twin from scratch is not. Left out where Keras is not
installed (pip install "pretrain-eval[keras]"). Offline, under a minute on two CPU cores.
"""

from __future__ import annotations

import os
from functools import partial
from importlib.util import find_spec
from typing import Any

os.environ["KERAS_BACKEND"] = "torch"  # before Keras is imported

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import TensorDataset

import pretrain_eval as pe


def digits(classes: range) -> tuple[np.ndarray, np.ndarray]:
    """Images `(num_images, 8, 8, 1)` in [0, 1], channels last, and their classes from 0."""
    images, labels = load_digits(return_X_y=True)
    chosen = np.isin(labels, classes)
    pixels = images[chosen].reshape(-1, 8, 8, 1).astype(np.float32) / 16
    return pixels, labels[chosen] - classes.start


def network(width: int) -> Any:
    """A model of Keras: two convolutions, their mean, five classes."""
    import keras

    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(width, 3, activation="relu"),
            layers.Conv2D(2 * width, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(5, activation="softmax"),
        ]
    )


def pretrained(width: int) -> Any:
    """The model after Keras has fitted it to the digits 0 to 4."""
    import keras

    keras.utils.set_random_seed(0)
    model = network(width)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(*digits(range(5)), epochs=6, batch_size=32, verbose=0)
    return model


class Torch(nn.Module):
    """A network of torch from scratch, for comparison; it reads channels last as well."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU())
        self.head = nn.Linear(64, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Scores of each class, `(num_images, 5)`."""
        scores: torch.Tensor = self.head(self.body(images))
        return scores


def main() -> None:
    """Pretrain by Keras, fine-tune on few images of other digits, compare."""
    if not find_spec("keras"):
        print(
            'Keras is not installed; nothing to compare (pip install "pretrain-eval[keras]")'
        )
        return
    images, labels = map(torch.from_numpy, digits(range(5, 10)))
    few, rest = slice(0, 60), slice(300, 700)
    splits = pe.Splits(*(TensorDataset(images[s], labels[s]) for s in (few, rest)))
    task = pe.Task("5 to 9", datasets={"few": splits}, num_classes=5)
    adam = partial(torch.optim.Adam, lr=3e-3)
    strategies = [
        pe.Strategy("head", optimizer=adam, epochs=20, trainable="head"),
        pe.Strategy("full", optimizer=adam, epochs=20),
    ]
    models: dict[str, Any] = {
        f"width {width}": pe.zoo.keras(pretrained(width)) for width in (8, 16)
    }
    models["keras from scratch"] = pe.zoo.keras(partial(network, 8))
    models["torch from scratch"] = Torch
    runs = pe.sweep(models, [task], strategies, range(2), progress=False)
    for run in runs:
        print(f"{run.model:20} {run.strategy:5} {run.scores['accuracy']:.3f}")
    scratch = {f"width {width}": "keras from scratch" for width in (8, 16)}
    print(pe.PersistenceEvaluator(scratch=scratch).compare(runs))


if __name__ == "__main__":
    main()
