"""Random cases of every family of metrics beside other people's libraries.

The suite tries 200 cases a family. By hand: `python tests/test_fuzz.py 5000 [family]`.
"""

from __future__ import annotations

import math
import random
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from fuzz_vision import boxes, pixels
from scipy import stats
from sklearn import metrics as sk
from torch import Tensor
from torchmetrics import functional as tm

import pretrain_eval as pe

CHUNK, NUM_CHUNKS = 40, 5
Case = Callable[[np.random.Generator], None]


def counted(metric: Any, rng: np.random.Generator, *batch: Any, **named: Any) -> Any:
    """The value of all samples, in batches of random and also of no size."""
    length = len(batch[0])
    cuts = np.sort(rng.integers(0, length + 1, rng.integers(0, 4)))
    for start, end in zip([0, *cuts], [*cuts, length], strict=True):
        part = slice(int(start), int(end))
        weights = {key: entries[part] for key, entries in named.items()}
        metric.update(*(entries[part] for entries in batch), **weights)
    return metric.compute()


def agrees(found: Any, expected: Any, *told: object, atol: float = 1e-9) -> None:
    """Both are one value, NaN where the other one is."""
    close = np.allclose(found, expected, rtol=1e-9, atol=atol, equal_nan=True)
    assert close, (found, expected, told)


def some_weights(rng: np.random.Generator, length: int) -> dict[str, Any]:
    """None, a mask, whole numbers or real ones; never all of them 0."""
    weights = [
        None,
        torch.from_numpy(rng.random(length) < 0.7),
        torch.from_numpy(rng.integers(0, 4, length)).double(),
        torch.from_numpy(rng.random(length)),
    ][rng.integers(4)]
    if weights is None or not weights.any():
        return {}
    return {"weights": weights}


def classes(rng: np.random.Generator) -> None:
    """Ratios of classes, agreement and accuracy, of scores or of predicted classes."""
    num_classes, length = int(rng.integers(2, 7)), int(rng.integers(1, 40))
    # Some classes occur seldom, or never.
    targets = np.minimum(
        rng.integers(0, num_classes, length), rng.integers(num_classes)
    )
    scores = rng.normal(size=(length, num_classes)).round(1)
    found = torch.from_numpy(scores)
    named = some_weights(rng, length)
    weight = named.get("weights")
    predicted = scores.argmax(1)
    average = str(rng.choice(["macro", "micro", "weighted", "none"]))
    zero = float(rng.integers(0, 2))
    options: Any = {
        "labels": range(num_classes),
        "average": None if average == "none" else average,
        "zero_division": zero,
        "sample_weight": weight,
    }
    truth = torch.from_numpy(targets)
    for metric, theirs in (
        (pe.Precision, sk.precision_score),
        (pe.Recall, sk.recall_score),
        (pe.F1Score, sk.f1_score),
        (pe.MeanIoU, sk.jaccard_score),
    ):
        ours = metric(average=average, zero_division=zero)  # type: ignore[arg-type]
        expected = theirs(targets, predicted, **options)
        agrees(counted(ours, rng, found, truth, **named), expected, metric, options)
    pairs: list[tuple[Any, Any]] = [
        (pe.Accuracy(), sk.accuracy_score),
        (pe.CohenKappa(), sk.cohen_kappa_score),
        (pe.MatthewsCorrCoef(), sk.matthews_corrcoef),
    ]
    for ours, judge in pairs:
        value = counted(ours, rng, found, truth, **named)
        agrees(value, judge(targets, predicted, sample_weight=weight), ours.key)
    table = sk.confusion_matrix(
        targets, predicted, labels=range(num_classes), sample_weight=weight
    )
    agrees(counted(pe.ConfusionMatrix(), rng, found, truth, **named), table)


def labels(rng: np.random.Generator) -> None:
    """Ratios of several labels a sample, and of one score a sample."""
    num_labels, length = int(rng.integers(2, 6)), int(rng.integers(1, 30))
    scores = torch.from_numpy(rng.random((length, num_labels)).round(1))
    targets = torch.from_numpy(rng.integers(0, 2, (length, num_labels)))
    threshold = float(rng.choice([0.3, 0.5, 0.7]))
    shared: Any = {"scores": "probabilities", "threshold": threshold}
    average = str(rng.choice(["macro", "micro", "weighted", "none", "samples"]))
    theirs_average = None if average == "none" else average
    for metric, theirs in (
        (pe.Precision, sk.precision_score),
        (pe.Recall, sk.recall_score),
        (pe.F1Score, sk.f1_score),
    ):
        many = metric(task="multilabel", average=average, **shared)  # type: ignore[arg-type]
        decided = scores > threshold
        expected = theirs(targets, decided, average=theirs_average, zero_division=0)
        agrees(counted(many, rng, scores, targets), expected, metric, average)
        one = metric(task="binary", **shared)
        expected = theirs(targets[:, 0], decided[:, 0], zero_division=0)
        agrees(counted(one, rng, scores[:, 0], targets[:, 0]), expected, metric)


def order(rng: np.random.Generator) -> None:
    """AUROC, average precision and top-k of scores that tie."""
    num_classes = int(rng.integers(3, 6))
    length = int(rng.integers(2 * num_classes, 60))
    targets = rng.permutation(np.arange(length) % num_classes)
    scores = rng.normal(size=(length, num_classes)).round(int(rng.integers(0, 3)))
    found, truth = torch.from_numpy(scores), torch.from_numpy(targets)
    weights = torch.from_numpy(rng.integers(1, 4, length)).double()
    named = {"weights": weights} if rng.random() < 0.5 else {}
    hot = np.eye(num_classes)[targets]
    chances = found.softmax(1)
    for metric, judge in (
        (pe.AUROC, sk.roc_auc_score),
        (pe.AveragePrecision, sk.average_precision_score),
    ):
        ours = metric(task="multiclass", scores="logits")
        expected = judge(hot, chances, sample_weight=named.get("weights"))
        agrees(counted(ours, rng, found, truth, **named), expected, metric)
        one = metric(task="binary")
        expected = judge(hot[:, 0], scores[:, 0], sample_weight=named.get("weights"))
        value = counted(one, rng, found[:, 0], (truth == 0).long(), **named)
        agrees(value, expected, metric, "binary")
    k = int(rng.integers(2, num_classes))
    expected = sk.top_k_accuracy_score(targets, scores, k=k)
    agrees(counted(pe.TopKAccuracy(k=k), rng, found, truth), expected, "top k")


def confidence(rng: np.random.Generator) -> None:
    """Log-loss, perplexity and calibration."""
    num_classes, length = int(rng.integers(2, 6)), int(rng.integers(1, 50))
    scores = torch.from_numpy(rng.normal(size=(length, num_classes)) * 3)
    truth = torch.from_numpy(rng.integers(0, num_classes, length))
    named = some_weights(rng, length)
    chances = scores.softmax(1)
    expected = sk.log_loss(
        truth, chances, labels=range(num_classes), sample_weight=named.get("weights")
    )
    loss = counted(pe.LogLoss(scores="logits"), rng, scores, truth, **named)
    agrees(loss, expected)
    agrees(counted(pe.Perplexity(), rng, scores, truth, **named), math.exp(expected))
    num_bins = int(rng.integers(2, 20))
    expected = tm.classification.multiclass_calibration_error(
        chances, truth, num_classes, n_bins=num_bins
    )
    ours = pe.CalibrationError(scores="logits", num_bins=num_bins)
    # torchmetrics sums in float32.
    agrees(counted(ours, rng, scores, truth), expected, num_bins, atol=2e-6)


def numbers(rng: np.random.Generator) -> None:
    """Errors and correlations of one output or several, far from 0, with weights."""
    length, width = int(rng.integers(3, 40)), int(rng.integers(1, 4))
    offset = float(rng.choice([0.0, 1.0, -1e5, 1e6, 1e8]))
    truth = rng.normal(size=(length, width)) * 10.0 ** rng.integers(-2, 3) + offset
    found = truth + rng.normal(size=(length, width)) * rng.choice([0.01, 1.0, 10.0])
    named = some_weights(rng, length)
    weight = named.get("weights")
    if weight is not None and (weight > 0).sum() < 2:
        named, weight = {}, None
    batch = torch.from_numpy(found), torch.from_numpy(truth)
    average = str(rng.choice(["uniform", "none"]))
    multi = "uniform_average" if average == "uniform" else "raw_values"
    options: Any = {"average": average}
    judged: Any = {"sample_weight": weight, "multioutput": multi}
    plain = {**judged, "multioutput": "uniform_average"}
    rows: list[tuple[Any, Any]] = [
        (pe.MeanSquaredError(), sk.mean_squared_error(truth, found, **plain)),
        (pe.MeanAbsoluteError(), sk.mean_absolute_error(truth, found, **plain)),
        (
            pe.MeanAbsolutePercentageError(),
            sk.mean_absolute_percentage_error(truth, found, **plain),
        ),
        (
            pe.RootMeanSquaredError(**options),
            sk.root_mean_squared_error(truth, found, **judged),
        ),
        (pe.R2Score(**options), sk.r2_score(truth, found, **judged)),
    ]
    for ours, expected in rows:
        value = counted(ours, rng, *batch, **named)
        assert np.allclose(value, expected, rtol=1e-7, atol=1e-9), (ours.key, value)
    for ours, judge in (
        (pe.PearsonCorrCoef(average="none"), stats.pearsonr),
        (pe.SpearmanCorrCoef(average="none"), stats.spearmanr),
    ):
        found_ties = found.round(1) if judge is stats.spearmanr else found
        value = counted(ours, rng, torch.from_numpy(found_ties), batch[1])
        each = [judge(*pair)[0] for pair in zip(found_ties.T, truth.T, strict=True)]
        assert np.allclose(value, each, rtol=1e-6, atol=1e-8, equal_nan=True), ours.key


def queries(rng: np.random.Generator) -> None:
    """Rankings of items by distinct scores, and NDCG of any."""
    num_queries, num_items = int(rng.integers(1, 8)), int(rng.integers(2, 12))
    # torchmetrics takes scores of 0 or less for items that were not found.
    ranks = np.tile(np.arange(1, num_items + 1) / num_items, (num_queries, 1))
    scores = rng.permuted(ranks, axis=1)
    truth = rng.integers(0, 2, (num_queries, num_items))
    found, relevant = torch.from_numpy(scores), torch.from_numpy(truth)
    k = int(rng.integers(1, num_items + 1))
    judge = tm.retrieval
    for ours, theirs, options in (
        (pe.HitRate(k=k), judge.retrieval_hit_rate, {"top_k": k}),
        (pe.RecallAtK(k=k), judge.retrieval_recall, {"top_k": k}),
        (pe.MeanReciprocalRank(k=k), judge.retrieval_reciprocal_rank, {"top_k": k}),
        (pe.RetrievalMAP(), judge.retrieval_average_precision, {}),
    ):
        pairs = zip(found, relevant, strict=True)
        expected = np.mean([float(theirs(*pair, **options)) for pair in pairs])
        agrees(counted(ours, rng, found, relevant), expected, ours.key, k, atol=1e-6)
    tied = scores.round(1)
    gains = rng.integers(0, 4, truth.shape)
    expected = sk.ndcg_score(gains, tied, k=k)
    value = counted(pe.NDCG(k=k), rng, torch.from_numpy(tied), torch.from_numpy(gains))
    agrees(value, expected, k)


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
    "日本",
    "🙂",
    "é",
]


def spoken(rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """Texts, and references that share some of their words, or none."""
    draw = random.Random(int(rng.integers(2**32)))
    found, truth = [], []
    for _ in range(draw.randint(1, 6)):
        words = draw.choices(WORDS, k=draw.randint(1, 25))
        said = [
            each
            for word in words
            for each in draw.choice(
                [[word], [word], [word] * 2, [], [draw.choice(WORDS)]]
            )
        ]
        found.append(" ".join(said))
        truth.append(" ".join(words))
    return found, truth


def transcripts(rng: np.random.Generator) -> None:
    """Word and character error rates are jiwer's."""
    jiwer = pytest.importorskip("jiwer", reason="needs jiwer: pip install jiwer")
    found, truth = spoken(rng)
    agrees(counted(pe.WordErrorRate(), rng, found, truth), jiwer.wer(truth, found))
    agrees(counted(pe.CharErrorRate(), rng, found, truth), jiwer.cer(truth, found))


def summaries(rng: np.random.Generator) -> None:
    """ROUGE-L is rouge-score's."""
    scorers = pytest.importorskip(
        "rouge_score.rouge_scorer", reason="needs rouge-score: pip install rouge-score"
    )
    found, truth = spoken(rng)
    scorer = scorers.RougeScorer(["rougeL"])
    pairs = zip(truth, found, strict=True)
    expected = np.mean([scorer.score(*pair)["rougeL"].fmeasure for pair in pairs])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "rouge_l: ")  # of a reference in Japanese
        agrees(counted(pe.RougeL(), rng, found, truth), expected)


def translations(rng: np.random.Generator) -> None:
    """BLEU is sacrebleu's."""
    judge = pytest.importorskip("sacrebleu", reason="pip install 'pretrain-eval[text]'")
    found, truth = spoken(rng)
    options: Any = {"tokenize": str(rng.choice(["13a", "intl", "char", "zh", "none"]))}
    expected = judge.corpus_bleu(found, [truth], **options).score
    agrees(counted(pe.BLEU(**options), rng, found, truth), expected, options)


def answers(rng: np.random.Generator) -> None:
    """Exact match and token F1 are those of SQuAD's script."""
    found, truth = spoken(rng)
    theirs = tm.text.squad(
        [{"prediction_text": text, "id": str(i)} for i, text in enumerate(found)],
        [
            {"answers": {"text": [text], "answer_start": [0]}, "id": str(i)}
            for i, text in enumerate(truth)
        ],
    )
    exact = counted(pe.ExactMatch(normalize="squad"), rng, found, truth)
    agrees(100 * exact, float(theirs["exact_match"]), atol=1e-4)
    value = counted(pe.TokenF1(), rng, found, truth)
    agrees(100 * value, float(theirs["f1"]), atol=1e-4)


def entities(rng: np.random.Generator) -> None:
    """Entity F1 is seqeval's, of scores and of indices, with positions left out."""
    judge = pytest.importorskip(
        "seqeval.metrics", reason="needs seqeval: pip install seqeval"
    )
    names = ["O", "B-X", "I-X", "B-Y", "I-Y", "S-X", "E-Y"][: int(rng.integers(3, 8))]
    shape = int(rng.integers(1, 6)), int(rng.integers(1, 12))
    truth = rng.integers(0, len(names), shape)
    found = np.where(rng.random(shape) < 0.6, truth, rng.integers(0, len(names), shape))
    truth = np.where(rng.random(shape) < 0.15, -100, truth)

    def named(rows: Any) -> list[list[str]]:
        pairs = zip(rows, truth, strict=True)
        return [[names[i] for i in row[keep != -100]] for row, keep in pairs]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of no entity at all it warns, and says 0
        expected = judge.f1_score(named(truth), named(found))
    given: Tensor = torch.from_numpy(found)
    if rng.random() < 0.5:
        given = torch.nn.functional.one_hot(given, len(names)).double()
    agrees(counted(pe.EntityF1(names), rng, given, torch.from_numpy(truth)), expected)


CASES: tuple[Case, ...] = (
    classes, labels, order, confidence, numbers, queries, transcripts, summaries,
    translations, answers, entities, pixels, boxes,
)  # fmt: skip
FAMILIES = {case.__name__: case for case in CASES}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
@pytest.mark.filterwarnings(
    "ignore:.*is undefined|.*single label|.*only one:UserWarning"
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("chunk", range(NUM_CHUNKS))
@pytest.mark.parametrize("family", FAMILIES)
def test_random_cases_are_other_libraries(family: str, chunk: int) -> None:
    """Whatever is drawn, in whatever batches, another library has the value too."""
    for case in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        try:
            FAMILIES[family](np.random.default_rng(case))
        except Exception as error:
            error.args = (f"{family}, case {case}: {error}",)
            raise


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for name in sys.argv[2:] or FAMILIES:
        started, wrong = time.perf_counter(), []
        for case in range(int(sys.argv[1])):
            try:
                FAMILIES[name](np.random.default_rng(case))
            except Exception as error:
                wrong.append((case, repr(error)[:300]))
        took = time.perf_counter() - started
        print(f"{name}: {len(wrong)} of {sys.argv[1]} differ, {took:.0f} s", wrong[:3])
