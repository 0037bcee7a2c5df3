"""What a predictor that ignores its input reaches."""

from __future__ import annotations

from collections.abc import Sequence


def chance_levels(
    class_counts: Sequence[int], *, k: int | None = None
) -> dict[str, float]:
    """Metrics of a predictor that ignores its input, by metric key.

    With C classes of which the largest has share π of the reported split: accuracy π,
    macro recall (balanced accuracy) 1/C, macro precision π/C, macro F1
    2π / (1 + π) / C, all of the majority predictor; AUROC ½; average precision
    (macro) 1/C, the mean prevalence; R², MCC and Cohen's kappa 0; top-k k/C.

    Args:
        class_counts: Examples of each class in the reported split.
        k: Gives the level of "top_k" as well.

    Raises:
        ValueError: There are fewer than two classes, or a count is negative.

    >>> levels = chance_levels([3, 1])
    >>> levels["accuracy"], levels["recall"], round(levels["f1"], 6)
    (0.75, 0.5, 0.428571)
    """
    counts = list(class_counts)
    if len(counts) < 2 or min(counts) < 0 or not sum(counts):
        raise ValueError(
            "chance_levels expects the number of examples of two or more classes, got"
            f" {counts}"
        )
    size, share = len(counts), max(counts) / sum(counts)
    levels = {
        "accuracy": share,
        "balanced_accuracy": 1 / size,
        "recall": 1 / size,
        "precision": share / size,
        "f1": 2 * share / (1 + share) / size,
        "auroc": 0.5,
        "average_precision": 1 / size,
        "r2": 0.0,
        "mcc": 0.0,
        "kappa": 0.0,
    }
    if k is not None:
        if not 1 <= k <= size:
            raise ValueError(f"k must lie in 1..{size}, got {k}")
        levels["top_k"] = k / size
    return levels
