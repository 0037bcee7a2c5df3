"""What the main job asks: of which models, on which data, by which trainings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

import pretrain_eval as pe
from pretrain_eval.demo.few_labels import drawn
from pretrain_eval.demo.images import (
    IMAGE_MODELS,
    clothes,
    digit_images,
    face_images,
    image_model,
    textures,
)
from pretrain_eval.demo.packages import missing
from pretrain_eval.demo.texts import DOMAINS, TEXT_MODELS, sentences, text_model

TWIN = "random twin"  # what a model is worth is what it is better than this one


@dataclass(frozen=True)
class Question:
    """A question that a user would ask, and the grid that answers it.

    Attributes:
        name: Of its files.
        text: The question.
        setting: On what it is answered.
        models: Makes a candidate of its name.
        names: Of the candidates.
        tasks: The tasks with the labelled examples that a seed draws.
        strategies: By which the candidates are trained.
        budget: What a model may cost.
        num_seeds: Runs of each cell, where nobody says how many.
    """

    name: str
    text: str
    setting: str
    models: Callable[[str], pe.Pretrained]
    names: Sequence[str]
    tasks: Callable[[int], list[pe.Task]]
    strategies: Sequence[pe.Strategy]
    budget: pe.Budget
    num_seeds: int = 3

    def candidates(self) -> dict[str, pe.Pretrained]:
        """The models by name."""
        return {name: self.models(name) for name in self.names}


def questions(*, full: bool = False) -> list[Question]:
    """Two where pretraining should help, and one where it need not.

    The last is of clothes where those are there, and of digits elsewhere.

    Args:
        full: Whether the networks that read images are tuned as a whole too.
    """
    return [
        _of_images(full),
        _of_texts(),
        _of_digits() if missing("clothes") else _of_clothes(),
    ]


def _of_images(full: bool) -> Question:
    return Question(
        "images",
        "Which ImageNet model for my few labelled images?",
        "24 labelled textures of three classes, 20 labelled faces and non-faces, at 64"
        f" pixels; the head alone{', and the whole network' if full else ''}.",
        image_model,
        IMAGE_MODELS,
        _pictures,
        [_head(), _full()] if full else [_head()],
        _OF_IMAGES,
    )


def _of_texts() -> Question:
    return Question(
        "texts",
        "Which text encoder for my sentiment data?",
        "160 labelled sentences in each of four domains, positive or negative; the head"
        " alone.",
        text_model,
        TEXT_MODELS,
        _sentiment,
        [_head()],
        pe.Budget(parameters=(1e6, 100e6), macs=(1e6, 10e9)),
        num_seeds=4,  # sentences differ more than images do
    )


def _of_clothes() -> Question:
    return Question(
        "clothes",
        "Does ImageNet help to tell clothes apart?",
        "200 labelled photographs of ten kinds, 28 × 28 pixels, at 96 pixels; a head"
        " that is trained for 20 epochs, and one that is fitted to the end.",
        partial(image_model, size=96),
        ("EfficientNet-Lite0", "MobileNetV2", TWIN),
        _clothes,
        [_head(), pe.probe("fitted")],
        _OF_IMAGES,
    )


def _of_digits() -> Question:
    return Question(
        "digits",
        "Does ImageNet help to read small digits?",
        "100 labelled digits of 8 × 8 pixels, at 64 pixels; the head alone.",
        image_model,
        IMAGE_MODELS,
        _digits,
        [_head()],
        _OF_IMAGES,
    )


_OF_IMAGES = pe.Budget(parameters=(1e6, 20e6), macs=(10e6, 500e6))


def _pictures(seed: int) -> list[pe.Task]:
    patches = drawn(
        *textures(), per_class=8, num_reported=75, num_watched=12, seed=seed
    )
    crops = drawn(
        *face_images(), per_class=10, num_reported=80, num_watched=12, seed=seed
    )
    return [
        pe.Task("textures", datasets={"photographs": patches}, num_classes=3),
        pe.Task("faces", datasets={"LFW": crops}, num_classes=2),
    ]


def _digits(seed: int) -> list[pe.Task]:
    splits = drawn(*digit_images(), per_class=10, num_reported=150, seed=seed)
    return [pe.Task("digits", datasets={"UCI": splits}, num_classes=10)]


def _clothes(seed: int) -> list[pe.Task]:
    splits = drawn(*clothes(), per_class=20, num_reported=150, seed=seed)
    return [pe.Task("clothes", datasets={"Fashion-MNIST": splits}, num_classes=10)]


def _sentiment(seed: int) -> list[pe.Task]:
    splits = {
        domain: drawn(*sentences(domain), per_class=80, num_reported=200, seed=seed)
        for domain in DOMAINS
    }
    return [pe.Task("sentiment", datasets=splits, num_classes=2)]


def _head() -> pe.Strategy:
    optimizer = partial(torch.optim.AdamW, lr=1e-2)
    return pe.Strategy(
        "frozen", optimizer=optimizer, epochs=20, batch_size=16, trainable="head"
    )


def _full() -> pe.Strategy:
    optimizer = partial(torch.optim.AdamW, lr=1e-3)
    return pe.Strategy("full", optimizer=optimizer, epochs=3, batch_size=12)
