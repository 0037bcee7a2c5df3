"""What the main job asks: of which models, on which data, by which trainings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch

import pretrain_eval as pe
from pretrain_eval.demo.few_labels import drawn
from pretrain_eval.demo.images import (
    IMAGE_MODELS,
    Images,
    digit_images,
    face_images,
    image_model,
    textures,
)
from pretrain_eval.demo.texts import DOMAINS, TEXT_MODELS, sentences, text_model

TWIN = "random twin"  # what a model is worth is what it is better than this one


@dataclass(frozen=True)
class Question:
    """A question that a user would ask, and the grid that answers it.

    Attributes:
        name: Of its files.
        text: The question.
        setting: On what it is answered.
        budget: What a model may cost.
        full: Whether the whole network is tuned too, which takes minutes.
    """

    name: str
    text: str
    setting: str
    budget: pe.Budget
    full: bool = False

    def models(self) -> dict[str, pe.Pretrained]:
        """The candidates by name."""
        if self.name == "texts":
            return {name: text_model(name) for name in TEXT_MODELS}
        return {name: image_model(name) for name in IMAGE_MODELS}

    def tasks(self, seed: int) -> list[pe.Task]:
        """The tasks with the labelled examples that the seed draws."""
        makers = {"images": _pictures, "texts": _sentiment, "digits": _digits}
        return makers[self.name](seed)

    def strategies(self) -> list[pe.Strategy]:
        """The head alone; and the whole network, where that is asked for."""
        return [_head(), _full()] if self.full else [_head()]


def questions(*, full: bool = False) -> list[Question]:
    """Two where pretraining should help, and one where it need not.

    Args:
        full: Whether the networks that read images are tuned as a whole too.
    """
    images = pe.Budget(parameters=(1e6, 20e6), macs=(10e6, 500e6))
    return [
        Question(
            "images",
            "Which ImageNet model for my few labelled images?",
            "24 labelled textures of three classes, 20 labelled faces and non-faces, at"
            f" 64 pixels; the head alone{', and the whole network' if full else ''}.",
            images,
            full,
        ),
        Question(
            "texts",
            "Which text encoder for my sentiment data?",
            "160 labelled sentences in each of four domains, positive or negative; the"
            " head alone.",
            pe.Budget(parameters=(1e6, 100e6), macs=(1e6, 10e9)),
        ),
        Question(
            "digits",
            "Does ImageNet help to read small digits?",
            "100 labelled digits of 8 × 8 pixels, at 64 pixels; the head alone.",
            images,
        ),
    ]


def _pictures(seed: int) -> list[pe.Task]:
    patches = _splits(textures(), 8, 75, 12, seed)
    crops = _splits(face_images(), 10, 80, 12, seed)
    return [
        pe.Task("textures", datasets={"photographs": patches}, num_classes=3),
        pe.Task("faces", datasets={"LFW": crops}, num_classes=2),
    ]


def _digits(seed: int) -> list[pe.Task]:
    splits = _splits(digit_images(), 10, 150, 0, seed)
    return [pe.Task("digits", datasets={"UCI": splits}, num_classes=10)]


def _splits(
    images: Images, per_class: int, num_reported: int, num_watched: int, seed: int
) -> pe.Splits:
    return drawn(
        *images,
        per_class=per_class,
        num_reported=num_reported,
        num_watched=num_watched,
        seed=seed,
    )


def _sentiment(seed: int) -> list[pe.Task]:
    splits = {
        domain: drawn(*sentences(domain), per_class=80, num_reported=150, seed=seed)
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
