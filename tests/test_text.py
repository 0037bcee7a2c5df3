"""Metrics of texts against jiwer, rouge-score, sacrebleu, torchmetrics and by hand."""

from __future__ import annotations

import copy
import math
import random
import re
from typing import Any

import pytest
import torch
from torchmetrics.functional.text import squad

import pretrain_eval as pe
from pretrain_eval._metrics.predictions.sequences import (
    common_subsequence,
    edit_distance,
)

WORDS = [
    "the",
    "a",
    "an",
    "cat",
    "Cat",
    "sat",
    "on",
    "mat,",
    "mat.",
    "don't",
    "über",
    "3",
    "naïve",
    "—",
    "x",
]
MAKERS = {
    "wer": pe.WordErrorRate,
    "cer": pe.CharErrorRate,
    "exact_match": pe.ExactMatch,
    "token_f1": pe.TokenF1,
    "rouge_l": pe.RougeL,
    "bleu": pe.BLEU,
}


def made(key: str) -> Any:
    """A metric, where what it needs is installed."""
    if key == "bleu":
        pytest.importorskip("sacrebleu", reason="pip install 'pretrain-eval[text]'")
    return MAKERS[key]()


def drawn(seed: int, *, most: int = 12) -> tuple[list[str], list[str]]:
    """References, and predictions that drop, change and repeat some of their words."""
    rng = random.Random(seed)
    found, truth = [], []
    for _ in range(rng.randint(1, 6)):
        words = rng.choices(WORDS, k=rng.randint(1, most))
        said = []
        for word in words:
            said += rng.choice([[word], [word], [word, word], [], rng.choices(WORDS)])
        if rng.random() < 0.1:
            rng.shuffle(said)
        found.append(rng.choice([" ", "  "]).join(said))
        truth.append(" ".join(words))
    return found, truth


def counted(metric: Any, found: Any, truth: Any) -> float:
    """The value of all, given a sample at a time."""
    for place in range(len(found)):
        metric.update(found[place : place + 1], truth[place : place + 1])
    value: float = metric.compute()
    return value


@pytest.mark.parametrize("seed", range(300))
def test_error_rates_are_jiwers(seed: int) -> None:
    """Of words and of characters, summed over samples."""
    jiwer = pytest.importorskip("jiwer", reason="needs jiwer: pip install jiwer")
    found, truth = drawn(seed)
    assert counted(pe.WordErrorRate(), found, truth) == jiwer.wer(truth, found)
    assert counted(pe.CharErrorRate(), found, truth) == jiwer.cer(truth, found)


@pytest.mark.parametrize("seed", range(300))
def test_rouge_l_is_rouge_scores(seed: int) -> None:
    """The mean of its F1, of the best of several references."""
    scorers = pytest.importorskip(
        "rouge_score.rouge_scorer", reason="needs rouge-score: pip install rouge-score"
    )
    found, truth = drawn(seed)
    several = [[each, *drawn(seed + 1)[1]] for each in truth]
    scorer = scorers.RougeScorer(["rougeL"])
    for references in (truth, several):
        theirs = [
            scorer.score_multi([right] if isinstance(right, str) else right, said)
            for said, right in zip(found, references, strict=True)
        ]
        mean = sum(each["rougeL"].fmeasure for each in theirs) / len(found)
        ours = counted(pe.RougeL(), found, references)
        assert ours == pytest.approx(mean, abs=1e-12)


@pytest.mark.parametrize("seed", range(100))
@pytest.mark.parametrize("tokenize", ["13a", "char", "none"])
def test_bleu_is_sacrebleus(seed: int, tokenize: str) -> None:
    """The corpus' value, whatever the batches, with several references a sample."""
    sacrebleu = pytest.importorskip(
        "sacrebleu", reason="pip install 'pretrain-eval[text]'"
    )
    found, truth = drawn(seed)
    second = [each.upper() for each in truth]
    for lowercase in (False, True):
        options = {"lowercase": lowercase, "tokenize": tokenize}
        theirs = sacrebleu.corpus_bleu(found, [truth, second], **options).score
        several = list(zip(truth, second, strict=True))
        ours = counted(pe.BLEU(**options), found, several)
        assert ours == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize("seed", range(300))
def test_answers_are_squads(seed: int) -> None:
    """Exact match and F1 of words are those of SQuAD's script."""
    found, truth = drawn(seed, most=4)
    several = [[each, *drawn(seed + 1)[1]] for each in truth]
    theirs = squad(
        [{"prediction_text": text, "id": str(i)} for i, text in enumerate(found)],
        [
            {"answers": {"text": texts, "answer_start": [0]}, "id": str(i)}
            for i, texts in enumerate(several)
        ],
    )
    exact = counted(pe.ExactMatch(normalize="squad"), found, several)
    assert exact == pytest.approx(float(theirs["exact_match"]) / 100, abs=1e-6)
    f1 = counted(pe.TokenF1(), found, several)
    assert f1 == pytest.approx(float(theirs["f1"]) / 100, abs=1e-6)


@pytest.mark.parametrize("seed", range(300))
def test_sequences_against_the_table(seed: int) -> None:
    """Edits and common subsequences are those of the table everybody draws."""
    rng = random.Random(seed)
    letters = "ab" if seed % 2 else "abcdefgh"
    most = rng.choice([3, 70, 150])  # beyond 64 bits, too
    one, two = ("".join(rng.choices(letters, k=rng.randint(0, most))) for _ in "12")
    edits = list(range(len(two) + 1))
    common = [0] * (len(two) + 1)
    for i, letter in enumerate(one, 1):
        before, subsequence = edits[:], common[:]
        edits[0] = i
        for j, other in enumerate(two, 1):
            swap = before[j - 1] + (letter != other)
            edits[j] = min(swap, before[j] + 1, edits[j - 1] + 1)
            grown = subsequence[j - 1] + 1 if letter == other else 0
            common[j] = max(grown, subsequence[j], common[j - 1])
    assert edit_distance(one, two) == edits[-1]
    assert common_subsequence(one, two) == common[-1]


@pytest.mark.parametrize("key", MAKERS)
def test_batches_merge_and_states_go_on(key: str) -> None:
    """However samples are dealt out, the value is the same."""
    found, truth = drawn(7)
    whole, first, second, kept = (made(key) for _ in range(4))
    whole.update(found, truth)
    first.update(found[:2], truth[:2])
    second.update(found[2:], truth[2:])
    kept.load_state_dict(copy.deepcopy(first.state_dict()))
    first.merge(second)
    kept.merge(second)
    assert first.compute() == kept.compute()
    assert first.compute() == pytest.approx(whole.compute(), rel=1e-14)
    whole.reset()
    with pytest.raises(RuntimeError, match=f"{key} has seen no batch"):
        whole.compute()


@pytest.mark.parametrize("key", MAKERS)
def test_weights_count_a_text_as_often(key: str) -> None:
    """A mask keeps texts, and a weight of 2 is the same text twice."""
    found, truth = drawn(11)
    masked, left, doubled, twice = (made(key) for _ in range(4))
    mask = torch.arange(len(found)) > 0
    masked.update(found, truth, weights=mask)
    left.update(found[1:], truth[1:])
    assert masked.compute() == left.compute()
    doubled.update(found, truth, weights=1.0 + mask)
    twice.update(found + found[1:], truth + truth[1:])
    assert doubled.compute() == pytest.approx(twice.compute(), rel=1e-14)


def test_nothing_said_and_nothing_to_say() -> None:
    """Empty texts have the value that their definition gives, or none, with a warning."""
    for metric in (pe.WordErrorRate(), pe.CharErrorRate()):
        metric.update(["", "a"], ["b", ""])
        assert metric.compute() == 2.0
        metric.reset()
        metric.update(["a"], [" "])
        with pytest.warns(UserWarning, match="is undefined: every reference is empty"):
            assert math.isnan(metric.compute())
    f1 = pe.TokenF1()
    f1.update(["the", "", "cat"], ["", "cat", "a"])
    assert f1.compute() == pytest.approx(1 / 3)
    rouge = pe.RougeL()
    rouge.update(["", "a"], ["", "a"])
    assert rouge.compute() == 0.5
    for key in ("wer", "exact_match", "token_f1", "rouge_l"):
        metric = made(key)
        metric.update([], [])
        with pytest.raises(ValueError, match="has counted no sample"):
            metric.compute()


def test_other_scripts_are_warned_of() -> None:
    """ROUGE's tokens are Latin letters; words of any script are an option."""
    found, truth = ["кот сидит", "cat"], ["кот сидит", "cat"]
    latin, words = pe.RougeL(), pe.RougeL(tokens="words")
    for metric in (latin, words):
        metric.update(found, truth)
    with pytest.warns(UserWarning, match="rouge_l: 1 references are of letters other"):
        assert latin.compute() == 0.5
    assert words.compute() == 1.0


def test_exact_is_exact() -> None:
    """Without a normalisation a space is a difference."""
    metric = pe.ExactMatch()
    metric.update(["a", "a ", "A", "b"], ["a", "a", "a", ["a", "b"]])
    assert metric.compute() == 0.5


def test_a_collection_and_validate_count_texts() -> None:
    """Metrics of texts stand beside each other and are measured by validate."""
    metrics = [pe.WordErrorRate(), pe.ExactMatch()]
    loader = [(["a b", "c d"], ["a b", "c"]), (["e"], ["e"])]
    found = pe.validate(torch.nn.Identity(), loader, metrics, forward=lambda _, b: b)
    assert found == {"wer": 0.25, "exact_match": pytest.approx(2 / 3)}
    assert all(metric.higher_is_better is not None for metric in metrics)


WRONG = [
    ("a", ["a"], TypeError, "outputs are expected as a list of strings, one a sample"),
    (["a"], "a", TypeError, "targets are expected as a list of strings"),
    (torch.ones(2, 3), ["a"], TypeError, r"got a tensor of \(2, 3\); decode tokens"),
    (["a"], torch.ones(2), TypeError, "targets are expected as strings, got a tensor"),
    (["a", 3], ["a", "b"], TypeError, "got int at 1"),
    (["a"], [None], TypeError, "got None at 0"),
    (["a"], [[]], TypeError, r"got \[\] at 0"),
    (["a"], [["a", 1]], TypeError, "got .*1.* at 0"),
    (["a"], ["a", "b"], ValueError, "got 1 texts and 2 entries of references"),
]


@pytest.mark.parametrize(("outputs", "targets", "error", "message"), WRONG)
def test_what_is_no_text_is_refused(
    outputs: Any, targets: Any, error: type[Exception], message: str
) -> None:
    """What came is named, and nothing of it is counted."""
    metric = pe.TokenF1()
    metric.update(["a cat"], ["cat"])
    with pytest.raises(error, match=message):
        metric.update(outputs, targets)
    assert metric.compute() == 1.0


def test_an_error_rate_has_one_reference() -> None:
    """Of several nobody says which one's words are divided by."""
    with pytest.raises(ValueError, match="one reference a text, got 2 at 0"):
        pe.WordErrorRate().update(["a"], [["a", "b"]])
    metric = pe.WordErrorRate()
    metric.update(["a"], [["a"]])
    assert metric.compute() == 0.0


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (torch.ones(2), r"weights of shape \(1,\), got \(2,\)"),
        (torch.tensor([-1.0]), "weights of at least 0"),
        (torch.tensor([math.nan]), "weights of at least 0"),
    ],
)
def test_wrong_weights_are_refused(weights: torch.Tensor, message: str) -> None:
    """One a text, none negative."""
    with pytest.raises(ValueError, match=message):
        pe.CharErrorRate().update(["a"], ["a"], weights=weights)


def test_options_are_checked() -> None:
    """A misspelt option is no other metric."""
    with pytest.raises(ValueError, match="normalize must be 'squad' or None"):
        pe.ExactMatch(normalize="SQuAD")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="tokens must be 'rouge' or 'words'"):
        pe.RougeL(tokens="word")  # type: ignore[arg-type]
    pytest.importorskip("sacrebleu", reason="pip install 'pretrain-eval[text]'")
    with pytest.raises(ValueError, match=re.escape("tokenize must be one of none, zh")):
        pe.BLEU(tokenize="13A")
