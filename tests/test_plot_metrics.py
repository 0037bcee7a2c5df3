"""Pictures show the values they are given."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import matplotlib as mpl
import pytest
import torch

import pretrain_eval as pe

mpl.use("Agg")
import matplotlib.pyplot as plt

from pretrain_eval.plot import (
    confusion_matrix,
    history,
    per_class,
    reliability,
)


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


def test_a_history_leaves_gaps() -> None:
    """Columns are drawn over their steps; NaN is no point."""
    ax = history({"a": (1.0, math.nan, 3.0), "b": (4.0, 5.0, 6.0), "step": (2, 4, 6)})
    lines = {line.get_label(): line.get_xydata().tolist() for line in ax.lines}
    assert lines == {"a": [[2, 1], [6, 3]], "b": [[2, 4], [4, 5], [6, 6]]}
    assert history({"loss": (1.0, 2.0)}).get_ylabel() == "loss"


def test_an_infinite_gradient_decides_no_scale() -> None:
    """A skipped step has one; the others are drawn as without it."""
    norms = (math.inf, 1.0, 1.2, 1.1)
    ax = history({"grad_norm": norms, "skipped": (1.0, 0.0, 0.0, 0.0)})
    assert ax.get_yscale() == history({"grad_norm": norms[1:]}).get_yscale() == "linear"
    assert "skipped (1 of 4 steps)" in [line.get_label() for line in ax.lines]


def test_a_run_shows_its_confusions() -> None:
    """Every class of the task has a row, also one that never occurs."""
    fields = {"model": "a", "task": "t", "dataset": "d", "strategy": "s", "seed": 0}
    run = pe.Run(
        **fields,  # type: ignore[arg-type]
        confusion=((0, 0, 3), (0, 1, 1), (1, 1, 2)),
        settings={"num_classes": 3},
    )
    texts = [text.get_text() for text in confusion_matrix(run).texts]
    assert texts == ["3", "1", "0", "0", "2", "0", "0", "0", "0"]
    with pytest.raises(ValueError, match="a on t/d, s, seed 0 does not know its"):
        confusion_matrix(pe.Run(**fields))  # type: ignore[arg-type]


def test_a_confusion_matrix_shades_shares_of_a_row() -> None:
    """Numbers are the counts, shades the share of the true class."""
    metric = pe.ConfusionMatrix(num_classes=2)
    metric.update(torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 1, 1]))
    ax = confusion_matrix(metric.compute(), labels=["cat", "dog"])
    assert ax.images[0].get_array().tolist() == [[1.0, 0.0], [0.5, 0.5]]
    assert [text.get_text() for text in ax.texts] == ["2", "0", "1", "1"]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["cat", "dog"]


def test_bars_start_with_the_worst_class() -> None:
    """Bars rise from the top, a class without a value says so."""
    ax = per_class((0.9, math.nan, 0.3), labels=["a", "b", "c"])
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["c", "a", "b"]
    assert [bar.get_width() for bar in ax.patches] == [0.3, 0.9, 0.0]
    assert [text.get_text() for text in ax.texts] == [" no value"]
    assert ax.lines[0].get_xdata()[0] == pytest.approx(0.6)


def test_of_many_classes_the_worst_are_shown() -> None:
    """Forty bars, the title says of how many; the line is the mean of all."""
    values = [k / 100 for k in range(100)]
    ax = per_class(values)
    assert [bar.get_width() for bar in ax.patches] == values[:40]
    assert ax.get_title() == "the worst 40 of 100 classes"
    assert ax.lines[0].get_xdata()[0] == pytest.approx(0.495)


def test_counts_are_written_without_powers() -> None:
    """Whole up to 9,999, then with a letter; never 1.2e+04."""
    ax = confusion_matrix(((12345, 9999), (0, 2_000_000)))
    assert [text.get_text() for text in ax.texts] == ["12.3k", "9999", "0", "2M"]


def test_a_reliability_diagram_shows_filled_bins() -> None:
    """Every filled bin is a dot at its confidence and accuracy."""
    metric = pe.CalibrationError(scores="probabilities", task="binary", num_bins=4)
    metric.update(torch.tensor([0.2, 0.9, 0.9]), torch.tensor([0, 1, 0]))
    ax = reliability(metric.bins())
    dots = ax.collections[0].get_offsets().tolist()
    assert dots == [pytest.approx([0.2, 0.0]), pytest.approx([0.9, 0.5])]


def test_axes_are_the_callers() -> None:
    """A picture is drawn where it was asked for."""
    _, axes = plt.subplots(2, 2)
    assert history({"a": (1.0,)}, ax=axes[0, 0]) is axes[0, 0]
    assert confusion_matrix(((1.0,),), ax=axes[0, 1]) is axes[0, 1]
    assert per_class((1.0,), ax=axes[1, 0]) is axes[1, 0]
    bins = {"num_samples": (1.0,), "confidence": (0.5,), "accuracy": (1.0,)}
    assert reliability(bins, ax=axes[1, 1]) is axes[1, 1]


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: history({"step": (1.0,)}), "at least one column"),
        (lambda: history({"a": (1.0,), "step": (1, 2)}), "1 values for 2 steps"),
        (lambda: confusion_matrix(((1.0, 2.0),)), "is square"),
        (lambda: per_class(()), "one value a class"),
        (lambda: per_class((1.0,), labels=["a", "b"]), "expected 1 labels"),
        (
            lambda: reliability(
                {"num_samples": (0.0,), "confidence": (0.0,), "accuracy": (0.0,)}
            ),
            "bins with samples",
        ),
    ],
)
def test_what_cannot_be_drawn(draw: Callable[[], object], message: str) -> None:
    """Values that make no picture raise."""
    with pytest.raises(ValueError, match=message):
        draw()
