"""BLEU: the n-grams that translations share with their references."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, final

import numpy as np
from typing_extensions import override

from pretrain_eval._metrics.metric import Value
from pretrain_eval._metrics.predictions.texts import References, TextCounter, TextMetric
from pretrain_eval._optional import needs

_ORDERS = 4


@final
@dataclass(frozen=True)
class NGramCounter(TextCounter):
    """Lengths of text and closest reference, n-grams that are right, and all n-grams."""

    tokenize: str
    lowercase: bool

    num_counts: ClassVar[int] = 2 + 2 * _ORDERS

    @override
    def counts_of(self, found: str, references: References) -> tuple[float, ...]:
        scorer = _scorer(self.tokenize, self.lowercase)
        score = scorer.corpus_score([found], [[each] for each in references])
        return score.sys_len, score.ref_len, *score.counts, *score.totals


@final
class BLEU(TextMetric):
    """100 · exp(min(0, 1 − r / c)) · (p₁ p₂ p₃ p₄)^¼ of all texts, in [0, 100].

    Higher is better. pₙ is the share of the texts' n-grams that a reference holds, c
    the texts' and r the closest references' number of tokens, all of them summed over
    the corpus: no mean over samples. Where no n-gram of a size is right, it counts a
    share that halves each time (sacrebleu's smoothing "exp"). The value is that of
    `sacrebleu.corpus_bleu`, whose counts are used.

    Outputs are one text a sample, and targets one reference a sample, or a sequence of
    references.

    Args:
        tokenize: How texts become tokens, by sacrebleu's names: "13a", "intl", "zh",
            "char", "none", ...
        lowercase: Whether case means nothing.

    Raises:
        ImportError: sacrebleu is not installed.

    Source: Papineni et al., BLEU, ACL 2002; Post, A call for clarity, WMT 2018.

    >>> metric = BLEU()
    >>> metric.update(["the cat sat on a mat"], ["the cat sat on the mat"])
    >>> round(metric.compute(), 3)
    53.728
    """

    key = "bleu"
    higher_is_better: bool | None = True
    bounds: tuple[float, float] = (0.0, 100.0)

    def __init__(self, *, tokenize: str = "13a", lowercase: bool = False) -> None:
        known = needs("text").BLEU.TOKENIZERS
        if tokenize not in known:
            raise ValueError(
                f"tokenize must be one of {', '.join(known)}, got {tokenize!r}"
            )
        super().__init__(NGramCounter(tokenize, lowercase))
        _scorer(tokenize, lowercase)  # some tokens need packages of their own

    @override
    def formula(self, sums: np.ndarray) -> Value:
        num_samples, found, truth, *counts = sums.tolist()
        self.require_samples(num_samples)
        return bleu_of(counts[:_ORDERS], counts[_ORDERS:], found, truth)


def bleu_of(
    right: Sequence[float], total: Sequence[float], found: float, truth: float
) -> float:
    """100 · exp(min(0, 1 − truth / found)) · the geometric mean of right / total.

    0 where no n-gram is right at all, or there is none of some size.

    Args:
        right: N-grams that a reference holds, by size.
        total: All n-grams, by size.
        found: Tokens of the texts.
        truth: Tokens of the closest references.

    >>> round(bleu_of([5, 3, 2, 1], [6, 5, 4, 3], 6, 6), 3)
    53.728
    """
    if not any(right) or not all(total):
        return 0.0
    logarithms, smaller = [], 1.0
    for num_right, num in zip(right, total, strict=True):
        if not num_right:
            smaller /= 2
        logarithms.append(math.log((num_right or smaller) / num))
    brevity = min(0.0, 1 - truth / found)
    return 100 * math.exp(brevity + sum(logarithms) / len(logarithms))


@cache
def _scorer(tokenize: str, lowercase: bool) -> Any:
    return needs("text").BLEU(tokenize=tokenize, lowercase=lowercase)
