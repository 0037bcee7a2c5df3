"""One function a metric of texts and of tagged tokens."""
# The functions have the bodies that `of_sums` gives them.
# mypy: disable-error-code="empty-body"

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from pretrain_eval._metrics.predictions.bleu import BLEU
from pretrain_eval._metrics.predictions.entities import EntityF1
from pretrain_eval._metrics.predictions.functional import of_sums
from pretrain_eval._metrics.predictions.text import (
    CharErrorRate,
    ExactMatch,
    RougeL,
    TokenF1,
    WordErrorRate,
)


@of_sums(WordErrorRate)
def word_error_rate(outputs: Sequence[str], targets: Sequence[str]) -> float:
    """Edits that make predictions of references / words of the references.

    Edits are the fewest insertions, deletions and substitutions of words, and words
    what white space separates; both are summed over all samples. At least 0, lower is
    better; NaN, with a warning, where no reference holds a word.

    Args:
        outputs: One text a sample.
        targets: One reference a sample.

    >>> word_error_rate(["the cat sat"], ["the cat sat down"])
    0.25
    """


@of_sums(CharErrorRate)
def char_error_rate(outputs: Sequence[str], targets: Sequence[str]) -> float:
    """Edits that make predictions of references / characters of the references.

    Edits are the fewest insertions, deletions and substitutions of characters (code
    points), white space inside a text included, and around it not; both are summed over
    all samples. At least 0, lower is better; NaN, with a warning, where no reference
    holds a character.

    Args:
        outputs: One text a sample.
        targets: One reference a sample.

    >>> char_error_rate(["adbc"], ["abcd"])
    0.5
    """


@of_sums(ExactMatch)
def exact_match(
    outputs: Sequence[str], targets: Sequence[str | Sequence[str]]
) -> float:
    """Share of texts that are equal to a reference, in [0, 1]; higher is better.

    Args:
        outputs: One text a sample.
        targets: One reference a sample, or a sequence of which any is right.
        normalize: "squad": without case, punctuation (ASCII's), articles (a, an, the)
            and the length of white space, as in SQuAD. None: equal to the character.

    >>> exact_match(["The cat."], [["cat", "kitten"]], normalize="squad")
    1.0
    """


@of_sums(TokenF1)
def token_f1(outputs: Sequence[str], targets: Sequence[str | Sequence[str]]) -> float:
    """Mean over samples of F1 of words, 2 common / (predicted + reference), in [0, 1].

    Higher is better. Words are compared as bags, after SQuAD's normalisation: without
    case, punctuation (ASCII's) and articles (a, an, the). Of two texts without words
    the value is 1, as in SQuAD 2.0; of one without, 0.

    Args:
        outputs: One text a sample.
        targets: One reference a sample, or a sequence; the most alike one counts.

    >>> token_f1(["The black cat"], ["cat"])
    0.666...
    """


@of_sums(RougeL)
def rouge_l(outputs: Sequence[str], targets: Sequence[str | Sequence[str]]) -> float:
    """Mean over samples of 2 L / (predicted + reference), in [0, 1]; higher is better.

    L is the length of the longest common subsequence of both texts' tokens, the others
    are their numbers of tokens. A text or reference without a token counts as 0.

    Args:
        outputs: One text a sample.
        targets: One reference a sample, or a sequence; the most alike one counts.
        tokens: "rouge": runs of the letters a to z and digits, after lower casing, as
            in the package rouge-score without its stemmer; references of other
            scripts alone are warned of. "words": what white space separates.

    >>> rouge_l(["The cat sat."], ["the cat was sat on"])
    0.75
    """


@of_sums(BLEU)
def bleu(outputs: Sequence[str], targets: Sequence[str | Sequence[str]]) -> float:
    """100 · exp(min(0, 1 − r / c)) · (p₁ p₂ p₃ p₄)^¼ of all texts, in [0, 100].

    Higher is better. pₙ is the share of the texts' n-grams that a reference holds, c
    the texts' and r the closest references' number of tokens. The value is that of
    `sacrebleu.corpus_bleu`, whose counts are used.

    Args:
        outputs: One text a sample.
        targets: One reference a sample, or a sequence.
        tokenize: How texts become tokens, by sacrebleu's names: "13a", "intl", "zh",
            "char", "none", ...
        lowercase: Whether case means nothing.

    >>> round(bleu(["the cat sat on a mat"], ["the cat sat on the mat"]), 3)
    53.728
    """


@of_sums(EntityF1)
def entity_f1(outputs: Tensor, targets: Tensor) -> float:
    """Harmonic mean of precision and recall of entities, 2 tp / (predicted + actual).

    In [0, 1], higher is better; 0 where there are no entities at all. An entity is
    right where its type, its first and its last token are, as in seqeval.

    Args:
        outputs: Scores `(num_sequences, length, num_classes)`, or class indices of the
            targets' shape.
        targets: Class indices `(num_sequences, length)`.
        labels: What each class is called: "O", outside, or "B-", "I-", "E-" or "S-",
            begin, inside, end or single, and a type.
        ignore_index: Positions with this target are taken out of their sequence.

    >>> import torch
    >>> found, truth = torch.tensor([[1, 2, 0, 1]]), torch.tensor([[1, 2, 0, 0]])
    >>> entity_f1(found, truth, ["O", "B-PER", "I-PER"])
    0.666...
    """
