"""What predictors that ignore their input score."""

from __future__ import annotations

from collections.abc import Sequence


def majority_levels(share: float, num_classes: int) -> dict[str, float]:
    """What always naming the largest class scores, which has share π of C classes.

    Accuracy π, macro recall 1/C, macro precision π/C, macro F1 2π / (1 + π) / C.

    >>> majority_levels(0.5, 2)["precision"]
    0.25
    """
    return {
        "accuracy": share,
        "precision": share / num_classes,
        "recall": 1 / num_classes,
        "f1": 2 * share / (1 + share) / num_classes,
    }


def chance_levels(class_counts: Sequence[int], *, top_k: int = 1) -> dict[str, float]:
    """Metrics of a predictor that ignores its input, by metric key.

    With C classes of which the largest has share π of the reported split: accuracy π,
    macro recall (balanced accuracy) 1/C, macro precision π/C, macro F1
    2π / (1 + π) / C, all of the majority predictor; AUROC ½; average precision
    (macro) 1/C, the mean prevalence; R², MCC and Cohen's kappa 0.

    Args:
        class_counts: Examples of each class in the reported split.
        top_k: The accuracy is that of `Accuracy(top_k=...)`, which has the same key:
            the share of the k largest classes together, k/C where classes are equal.

    Raises:
        ValueError: There are fewer than two classes, a count is negative, or there are
            fewer than `top_k` classes.

    >>> levels = chance_levels([3, 1])
    >>> levels["accuracy"], levels["recall"], round(levels["f1"], 6)
    (0.75, 0.5, 0.428571)
    >>> chance_levels([5, 3, 1, 1], top_k=2)["accuracy"]
    0.8
    """
    counts = sorted(class_counts, reverse=True)
    if len(counts) < 2 or counts[-1] < 0 or not sum(counts):
        raise ValueError(
            "chance_levels expects the number of examples of two or more classes, got"
            f" {list(class_counts)}"
        )
    size, total = len(counts), sum(counts)
    if not 1 <= top_k <= size:
        raise ValueError(f"top_k must lie in 1..{size}, got {top_k}")
    return majority_levels(counts[0] / total, size) | {
        "accuracy": sum(counts[:top_k]) / total,
        "balanced_accuracy": 1 / size,
        "auroc": 0.5,
        "average_precision": 1 / size,
        "r2": 0.0,
        "mcc": 0.0,
        "kappa": 0.0,
    }
