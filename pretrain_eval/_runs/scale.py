"""Which values of a metric are better, and between which they lie."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from numbers import Real
from typing import Literal, get_args

from pretrain_eval._runs.record import FrozenDict, Record

Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class Scale(Record):
    """The direction and the range of a metric; nothing guesses them from its name.

    Attributes:
        better: Which of two values is better, the "higher" or the "lower" one.
        low: The lowest possible value; None where there is no bound.
        high: The highest possible value; None where there is no bound.

    Raises:
        ValueError: A direction is neither, or the bounds are no range.

    >>> Scale(better="lower", low=0.0).best
    0.0
    >>> Scale(better="higher", low=0.0, high=100.0).best
    100.0
    """

    _: KW_ONLY
    better: Better
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if self.better not in get_args(Better):
            raise ValueError(
                f"Scale expects better as 'higher' or 'lower', got {self.better!r}"
            )
        for name in ("low", "high"):
            value = getattr(self, name)
            if value is not None and not (
                isinstance(value, Real) and math.isfinite(value)
            ):
                raise ValueError(
                    f"Scale expects {name} to be finite or None, got {value!r}"
                )
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(
                f"Scale expects low below high, got {self.low} and {self.high}"
            )

    @property
    def best(self) -> float | None:
        """The value of a perfect predictor; None where there is no bound."""
        return self.high if self.better == "higher" else self.low

    @property
    def worst(self) -> float | None:
        """The worst possible value; None where there is no bound."""
        return self.low if self.better == "higher" else self.high

    def holds(self, value: float) -> bool:
        """Whether a value lies in the range, but for rounding."""
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        return low - 1e-9 <= value <= high + 1e-9


SHARE = Scale(better="higher", low=0.0, high=1.0)
_AGREEMENT = Scale(better="higher", low=-1.0, high=1.0)
_ERROR = Scale(better="lower", low=0.0)

# What the metrics of this package declare, by key: runs that were kept before runs knew
# their scales, and runs that are written by hand, are read by it.
SCALES: Mapping[str, Scale] = FrozenDict(
    {
        "accuracy": SHARE,
        "auroc": SHARE,
        "average_precision": SHARE,
        "balanced_accuracy": SHARE,
        "bits_per_byte": _ERROR,
        "bleu": Scale(better="higher", low=0.0, high=100.0),
        "calibration_error": Scale(better="lower", low=0.0, high=1.0),
        "cer": _ERROR,
        "dice": SHARE,
        "entity_f1": SHARE,
        "exact_match": SHARE,
        "f1": SHARE,
        "hit_rate": SHARE,
        "kappa": _AGREEMENT,
        "log_loss": _ERROR,
        "loss": Scale(better="lower"),
        "mae": _ERROR,
        "map": SHARE,
        "map_50": SHARE,
        "map_75": SHARE,
        "mape": _ERROR,
        "median_rank": Scale(better="lower", low=1.0),
        "mcc": _AGREEMENT,
        "miou": SHARE,
        "mrr": SHARE,
        "mse": _ERROR,
        "ndcg": SHARE,
        "pair_recall": SHARE,
        "pearson": _AGREEMENT,
        "perplexity": Scale(better="lower", low=1.0),
        "pixel_accuracy": SHARE,
        "precision": SHARE,
        "r2": Scale(better="higher", high=1.0),
        "recall": SHARE,
        "recall_at_k": SHARE,
        "retrieval_map": SHARE,
        "rmse": _ERROR,
        "rouge_l": SHARE,
        "spearman": _AGREEMENT,
        "token_accuracy": SHARE,
        "token_f1": SHARE,
        "top_k_accuracy": SHARE,
        "wer": _ERROR,
    }
)
