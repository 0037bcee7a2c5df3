"""The data of the examples are what they say; their jobs take too long for a test."""

import importlib
import sys
from pathlib import Path

import pytest
import torch

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def example(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    return importlib.import_module


def test_tags_are_those_of_pythons_tokenizer(example):
    """Each character of a line by hand; a line that ends elsewhere has none."""
    tokens = example("multilabel_and_tokens")
    found = [tokens.LABELS[place] for place in tokens.tags("if x1: 2 # a")]
    assert found[:12] == [
        *("B-KEYWORD", "I-KEYWORD", "O", "B-NAME", "I-NAME", "O", "O", "B-NUMBER"),
        *("O", "B-COMMENT", "I-COMMENT", "I-COMMENT"),
    ]
    assert set(found[12:]) == {"O"}
    assert tokens.tags("f(") is None


def test_its_tasks_are_of_the_same_lines(example):
    """A line has a kind where it has a token of it."""
    tokens = example("multilabel_and_tokens")
    lines, places = tokens.tasks(["x = 1", "# a", "return"], ["y = 'b'", "z"])
    targets = lines.datasets["stdlib"].train.tensors[1]
    assert targets.tolist() == [[0, 1, 1, 0, 0], [0, 0, 0, 0, 1], [1, 0, 0, 0, 0]]
    kept = places.datasets["stdlib"].train.tensors[1] >= 0
    assert kept.sum(1).tolist() == [5, 3, 6]


def test_shapes_lie_in_their_boxes_and_masks(example):
    """Bright inside, noise outside."""
    image, target = example("detection").scene(3, num_shapes=1)
    x1, y1, x2, y2 = target["boxes"][0].int().tolist()
    assert image[:, (y1 + y2) // 2, (x1 + x2) // 2].min() >= 0.4
    image[:, y1 : y2 + 1, x1 : x2 + 1] = 0
    assert image.max() <= 0.1
    images, masks = example("segmentation").shapes(8, 0)
    assert set(masks.unique().tolist()) == {0, 1, 2, 255}
    background = images.movedim(1, -1)[masks == 0]
    assert background.std() == pytest.approx(0.2, rel=0.05)
    assert torch.equal(images, example("segmentation").shapes(8, 0)[0])


def test_digits_are_split_by_class_into_raw_images(example):
    """Bytes of one channel, classes from 0; Keras' are floats with channels last."""
    samples = example("images").digits(range(5, 10))
    assert {label for _, label in samples} == set(range(5))
    assert {image.shape for image, _ in samples} == {(8, 8)}
    assert max(image.max() for image, _ in samples) == 255
    pixels, labels = example("keras_model").digits(range(5, 10))
    assert pixels.shape == (len(samples), 8, 8, 1)
    assert labels.tolist() == [label for _, label in samples]
    assert pixels[0, :, :, 0] == pytest.approx(samples[0][0] / 255, abs=1 / 255)


def test_candidates_read_images_in_their_own_ways(example):
    """Each by its own transform, then at its own size; timm's where it is."""
    images = example("images")
    image, _ = images.digits(range(5))[0]
    sizes = {name: m.transform(image).shape for name, m in images.candidates().items()}
    assert {"shufflenet": (3, 64, 64), "wide": (3, 48, 48)}.items() <= sizes.items()
