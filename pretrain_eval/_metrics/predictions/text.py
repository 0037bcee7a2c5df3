"""Metrics of texts: how far what was said is from what should have been."""

from __future__ import annotations

import math
import re
import string
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import numpy as np
from typing_extensions import override

from pretrain_eval._metrics.metric import Value
from pretrain_eval._metrics.predictions.formulas import undefined
from pretrain_eval._metrics.predictions.sequences import (
    common_items,
    common_subsequence,
    edit_distance,
    f1,
)
from pretrain_eval._metrics.predictions.texts import References, TextCounter, TextMetric

# How texts are made alike before they are compared.
Normalize = Literal["squad"]

# What the tokens of ROUGE are.
Tokens = Literal["rouge", "words"]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_NEITHER_LETTER_NOR_DIGIT = re.compile(r"[^a-z0-9]+")


@final
@dataclass(frozen=True)
class EditCounter(TextCounter):
    """Edits, and how many words or characters should have been."""

    unit: Literal["word", "character"]

    num_counts: ClassVar[int] = 2
    one_reference: ClassVar[bool] = True

    @override
    def counts_of(self, found: str, references: References) -> tuple[float, ...]:
        truth = self._units(references[0])
        return edit_distance(self._units(found), truth), len(truth)

    def _units(self, text: str) -> Sequence[str]:
        return text.split() if self.unit == "word" else text.strip()


class ErrorRate(TextMetric):
    """Edits over the number of words or characters that should have been."""

    higher_is_better: bool | None = False
    bounds: tuple[float, float] = (0.0, math.inf)

    @final
    @override
    def formula(self, sums: np.ndarray) -> Value:
        num_samples, num_edits, num_units = sums
        self.require_samples(num_samples)
        if not num_units:
            return undefined(self.key, "every reference is empty")
        return float(num_edits / num_units)


@final
class WordErrorRate(ErrorRate):
    """Edits that make predictions of references / words of the references.

    Edits are the fewest insertions, deletions and substitutions of words, and words
    what white space separates; both are summed over all samples. A share, not percent:
    at least 0, above 1 where much was inserted; lower is better. Case and punctuation
    count: where they should not, normalise both texts first. NaN, with a warning,
    where no reference holds a word.

    Outputs are one text a sample, and targets one reference a sample.

    >>> metric = WordErrorRate()
    >>> metric.update(["the cat sat"], ["the cat sat down"])
    >>> metric.compute()
    0.25
    """

    key = "wer"

    def __init__(self) -> None:
        super().__init__(EditCounter("word"))


@final
class CharErrorRate(ErrorRate):
    """Edits that make predictions of references / characters of the references.

    Edits are the fewest insertions, deletions and substitutions of characters (code
    points), white space inside a text included, and around it not; both are summed over
    all samples. A share, not percent: at least 0, above 1 where much was inserted;
    lower is better. NaN, with a warning, where no reference holds a character.

    Outputs are one text a sample, and targets one reference a sample.

    >>> metric = CharErrorRate()
    >>> metric.update(["kitten"], ["sitting"])
    >>> round(metric.compute(), 6)
    0.428571
    """

    key = "cer"

    def __init__(self) -> None:
        super().__init__(EditCounter("character"))


class ShareOfTexts(TextMetric):
    """A mean over samples of a value in [0, 1]; higher is better."""

    higher_is_better: bool | None = True
    bounds: tuple[float, float] = (0.0, 1.0)

    @override
    def formula(self, sums: np.ndarray) -> Value:
        return float(sums[1] / self.require_samples(sums[0]))


@final
@dataclass(frozen=True)
class MatchCounter(TextCounter):
    """Whether a text is one of its references."""

    normalize: Normalize | None

    @override
    def counts_of(self, found: str, references: References) -> tuple[float, ...]:
        texts = (found, *references)
        if self.normalize == "squad":
            texts = tuple(map(squad_normalised, texts))
        return (float(texts[0] in texts[1:]),)


@final
class ExactMatch(ShareOfTexts):
    """Share of texts that are equal to a reference, in [0, 1]; higher is better.

    Outputs are one text a sample, and targets one reference a sample, or a sequence of
    references of which any is right.

    Args:
        normalize: "squad": without case, punctuation (ASCII's), articles (a, an, the)
            and the length of white space, as in SQuAD. None: equal to the character.

    Source: Rajpurkar et al., SQuAD, EMNLP 2016.

    >>> metric = ExactMatch(normalize="squad")
    >>> metric.update(["The cat.", "a dog"], [["cat", "kitten"], "dogs"])
    >>> metric.compute()
    0.5
    """

    key = "exact_match"

    def __init__(self, *, normalize: Normalize | None = None) -> None:
        if normalize not in ("squad", None):
            raise ValueError(f"normalize must be 'squad' or None, got {normalize!r}")
        super().__init__(MatchCounter(normalize))


@final
@dataclass(frozen=True)
class TokenF1Counter(TextCounter):
    """F1 of the words that a text and the most alike reference have in common."""

    @override
    def counts_of(self, found: str, references: References) -> tuple[float, ...]:
        words = squad_normalised(found).split()
        truths = [squad_normalised(each).split() for each in references]
        # Where one is empty, so is what they have in common: 1 if both are.
        return (max(f1(common_items(words, t), len(words), len(t)) for t in truths),)


@final
class TokenF1(ShareOfTexts):
    """Mean over samples of F1 of words, 2 common / (predicted + reference), in [0, 1].

    Higher is better. Words are compared as bags, after SQuAD's normalisation: without
    case, punctuation (ASCII's) and articles (a, an, the). Of two texts without words
    the value is 1, as in SQuAD 2.0; of one without, 0.

    Outputs are one text a sample, and targets one reference a sample, or a sequence of
    references, of which the most alike one counts.

    Source: Rajpurkar et al., SQuAD, EMNLP 2016.

    >>> metric = TokenF1()
    >>> metric.update(["The black cat"], ["cat"])
    >>> metric.compute()
    0.666...
    """

    key = "token_f1"

    def __init__(self) -> None:
        super().__init__(TokenF1Counter())


@final
@dataclass(frozen=True)
class RougeLCounter(TextCounter):
    """F1 of the longest common subsequence, and whether no reference has a token."""

    tokens: Tokens

    num_counts: ClassVar[int] = 2

    @override
    def counts_of(self, found: str, references: References) -> tuple[float, ...]:
        words, *truths = map(self._tokens, (found, *references))
        values = [
            f1(common_subsequence(words, t), len(words), len(t)) if t else 0.0
            for t in truths
        ]
        unread = not any(truths) and any(map(str.isalnum, "".join(references)))
        return max(values), float(unread)

    def _tokens(self, text: str) -> list[str]:
        if self.tokens == "rouge":
            text = _NEITHER_LETTER_NOR_DIGIT.sub(" ", text.lower())
        return text.split()


@final
class RougeL(ShareOfTexts):
    """Mean over samples of 2 L / (predicted + reference), in [0, 1]; higher is better.

    L is the length of the longest common subsequence of both texts' tokens, the others
    are their numbers of tokens. A text or reference without a token counts as 0.

    Outputs are one text a sample, and targets one reference a sample, or a sequence of
    references, of which the most alike one counts.

    Args:
        tokens: "rouge": runs of the letters a to z and digits, after lower casing, as
            in the package rouge-score without its stemmer; references of other
            scripts alone are warned of. "words": what white space separates.

    Source: Lin, ROUGE, ACL workshop 2004.

    >>> metric = RougeL()
    >>> metric.update(["The cat sat."], ["the cat was sat on"])
    >>> metric.compute()
    0.75
    """

    key = "rouge_l"

    def __init__(self, *, tokens: Tokens = "rouge") -> None:
        if tokens not in ("rouge", "words"):
            raise ValueError(f"tokens must be 'rouge' or 'words', got {tokens!r}")
        super().__init__(RougeLCounter(tokens))

    @override
    def formula(self, sums: np.ndarray) -> Value:
        if sums[2]:
            warnings.warn(
                f"{self.key}: {sums[2]:.0f} references are of letters other than a to"
                " z, and count as 0; tokens='words' splits at white space",
                stacklevel=4,
            )
        return super().formula(sums)


def squad_normalised(text: str) -> str:
    """Without case, punctuation, articles and the length of white space.

    >>> squad_normalised("The  cat's mat.")
    'cats mat'
    """
    bare = text.lower().translate(_NO_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", bare).split())
