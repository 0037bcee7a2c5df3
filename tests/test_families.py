"""Agreement, ranking, calibration, losses, segmentation against other libraries."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import gloo_predictions
import numpy as np
import pytest
import torch
from processes import together
from sklearn import metrics as sk
from torch import Tensor, nn
from torchmetrics import functional as tm

import pretrain_eval as pe
from pretrain_eval._metrics.metric import CountedMetric

CASES = range(40)


def drawn(case: int) -> tuple[Tensor, Tensor]:
    """Scores that tie here and there, and targets where every class occurs."""
    rng = np.random.default_rng(case)
    num_classes = int(rng.choice([2, 3, 10]))
    length = int(rng.integers(3 * num_classes, 60))
    targets = rng.permutation(np.arange(length) % num_classes)
    scores = rng.normal(size=(length, num_classes)).round(1)
    scores[np.arange(length), targets] += rng.random()
    return torch.from_numpy(scores), torch.from_numpy(targets)


def counted(metric: CountedMetric, *batch: Tensor, size: int = 7) -> Any:
    """The metric's value of the batch, given in pieces."""
    for part in zip(*(tensor.split(size) for tensor in batch), strict=True):
        metric.update(*part)
    return metric.compute()


@pytest.mark.parametrize("case", CASES)
def test_agreement(case: int) -> None:
    """Balanced accuracy, kappa, MCC and the confusion matrix are scikit-learn's."""
    scores, targets = drawn(case)
    predictions = scores.argmax(1)
    pairs: list[tuple[CountedMetric, Any]] = [
        (pe.BalancedAccuracy(), sk.balanced_accuracy_score(targets, predictions)),
        (pe.CohenKappa(), sk.cohen_kappa_score(targets, predictions)),
        (pe.MatthewsCorrCoef(), sk.matthews_corrcoef(targets, predictions)),
    ]
    for normalize in (None, "true", "pred", "all"):
        theirs = sk.confusion_matrix(
            targets, predictions, labels=range(scores.shape[1]), normalize=normalize
        )
        pairs.append((pe.ConfusionMatrix(normalize=normalize), theirs))
    for metric, theirs in pairs:
        assert np.allclose(counted(metric, scores, targets), theirs, atol=1e-12)


@pytest.mark.parametrize("case", CASES[:10])
def test_binary_agreement(case: int) -> None:
    """A binary task counts the same way."""
    scores, targets = drawn(case)
    targets, logits = targets % 2, scores[:, 0]
    predictions = logits > 0
    options: Any = {"task": "binary", "scores": "logits"}
    assert counted(pe.CohenKappa(**options), logits, targets) == pytest.approx(
        sk.cohen_kappa_score(targets, predictions), abs=1e-12
    )
    assert np.array_equal(
        counted(pe.ConfusionMatrix(**options), logits, targets),
        sk.confusion_matrix(targets, predictions, labels=[0, 1]),
    )


def test_agreement_of_one_class() -> None:
    """Where one class is all there is, kappa is NaN with a warning and MCC is 0."""
    ones = torch.ones(4, dtype=torch.int64)
    with pytest.warns(UserWarning, match="kappa is undefined"):
        assert math.isnan(counted(pe.CohenKappa(num_classes=2), ones, ones))
    assert counted(pe.MatthewsCorrCoef(num_classes=2), ones, ones) == 0.0
    assert counted(pe.BalancedAccuracy(num_classes=2), ones, ones) == 1.0


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("average", ["macro", "weighted", "none"])
def test_exact_ranking(case: int, average: Any) -> None:
    """AUROC and average precision are scikit-learn's for every kind of task."""
    scores, targets = drawn(case)
    num_classes = scores.shape[1]
    chances = scores.softmax(1)
    hot = nn.functional.one_hot(targets, num_classes)
    theirs_average = None if average == "none" else average
    metrics: dict[Any, Callable[..., Any]] = {
        pe.AUROC: sk.roc_auc_score,
        pe.AveragePrecision: sk.average_precision_score,
    }
    for metric, judge in metrics.items():
        theirs = judge(hot, chances, average=theirs_average)
        for kind, outputs in (("logits", scores), ("probabilities", chances)):
            ours = counted(
                metric(task="multiclass", scores=kind, average=average),
                outputs,
                targets,
            )
            assert np.allclose(ours, theirs, atol=1e-12)
        theirs = judge(hot, scores, average=theirs_average)
        labels = metric(task="multilabel", average=average)
        assert np.allclose(counted(labels, scores, hot), theirs, atol=1e-12)
        one = counted(metric(task="binary"), scores[:, 0], hot[:, 0])
        assert one == pytest.approx(judge(hot[:, 0], scores[:, 0]), abs=1e-12)


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_binned_ranking(task: Any) -> None:
    """Scores that are bins' middles rank exactly as all samples do."""
    rng = np.random.default_rng(0)
    places = torch.from_numpy(rng.integers(0, 10, (200, 3)))
    targets = torch.from_numpy(rng.integers(0, 3, 200))
    scores: Tensor = (places + 0.5) / 10
    hot = nn.functional.one_hot(targets, 3)
    if task == "binary":
        scores, targets = scores[:, 0], hot[:, 0]
    elif task == "multilabel":
        targets = hot
    else:
        scores = torch.stack((scores[:, 0], 1 - scores[:, 0]), 1)
        targets = targets % 2
    for metric in (pe.AUROC, pe.AveragePrecision):
        exact = metric(task=task, scores="probabilities")
        binned = metric(task=task, scores="probabilities", num_bins=10)
        assert counted(binned, scores, targets) == pytest.approx(
            counted(exact, scores, targets), abs=1e-12
        )


def test_ranking_with_weights_and_dropped_rows() -> None:
    """Weights are scikit-learn's, and dropped rows are as if they were not there."""
    scores, targets = drawn(3)
    targets, scores = targets % 2, scores[:, 0]
    weights = torch.arange(len(targets)) % 3
    for metric, judge in (
        (pe.AUROC(task="binary"), sk.roc_auc_score),
        (pe.AveragePrecision(task="binary"), sk.average_precision_score),
    ):
        metric.update(scores, targets, weights=weights)
        theirs = judge(targets, scores, sample_weight=weights)
        assert metric.compute() == pytest.approx(theirs, abs=1e-12)
    kept = targets.where(weights != 1, -1)
    metric = pe.AUROC(task="binary", ignore_index=-1)
    expected = sk.roc_auc_score(targets[weights != 1], scores[weights != 1])
    assert counted(metric, scores, kept) == pytest.approx(expected, abs=1e-12)


def test_a_class_without_positives() -> None:
    """Its value is NaN with a warning, and is left out where that was said."""
    chances = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.6, 0.2, 0.2]])
    targets = torch.tensor([0, 1, 1])
    options: Any = {"task": "multiclass", "scores": "probabilities"}
    with pytest.warns(UserWarning, match=r"classes \[2\] lack"):
        assert math.isnan(counted(pe.AUROC(**options), chances, targets))
    with pytest.warns(UserWarning, match=r"classes \[2\] lack"):
        values = counted(pe.AUROC(**options, average="none"), chances, targets)
    dropped = counted(pe.AUROC(**options, absent="drop"), chances, targets)
    assert dropped == pytest.approx(np.mean(values[:2]))
    assert math.isnan(values[2])


@pytest.mark.parametrize("case", CASES[:20])
def test_calibration_error(case: int) -> None:
    """The expected calibration error is torchmetrics', of both tasks."""
    scores, targets = drawn(case)
    scores += 0.013 * torch.arange(scores.shape[1])  # off the edges of bins
    scores += 0.0013
    num_classes = scores.shape[1]
    theirs = tm.classification.multiclass_calibration_error(
        scores.softmax(1), targets, num_classes, n_bins=15
    )
    ours = counted(pe.CalibrationError(scores="logits"), scores, targets)
    assert ours == pytest.approx(float(theirs), abs=1e-6)
    theirs = tm.classification.binary_calibration_error(
        scores[:, 0].sigmoid(), targets % 2, n_bins=10
    )
    metric = pe.CalibrationError(scores="logits", task="binary", num_bins=10)
    ours = counted(metric, scores[:, 0], targets % 2)
    assert ours == pytest.approx(float(theirs), abs=1e-6)
    bins = metric.bins()
    shares = np.array(bins["num_samples"]) / len(targets)
    gaps = np.abs(np.array(bins["accuracy"]) - np.array(bins["confidence"]))
    assert np.nansum(shares * gaps) == pytest.approx(ours)


@pytest.mark.parametrize("case", CASES[:20])
def test_log_loss(case: int) -> None:
    """Log-loss is scikit-learn's and perplexity its exponential."""
    scores, targets = drawn(case)
    chances = scores.softmax(1)
    theirs = sk.log_loss(targets, chances, labels=range(scores.shape[1]))
    for kind, outputs in (("logits", scores), ("probabilities", chances)):
        options: Any = {"scores": kind}
        assert counted(pe.LogLoss(**options), outputs, targets) == pytest.approx(theirs)
        ours = counted(pe.Perplexity(**options), outputs, targets)
        assert ours == pytest.approx(math.exp(theirs))
    one = sk.log_loss(targets % 2, scores[:, 0].sigmoid(), labels=[0, 1])
    for kind, outputs in (("logits", scores), ("probabilities", scores.sigmoid())):
        metric = pe.LogLoss(scores=kind, task="binary")  # type: ignore[arg-type]
        assert counted(metric, outputs[:, 0], targets % 2) == pytest.approx(one)


def test_a_sure_miss_is_finite() -> None:
    """Probability 0 of what happened costs what scikit-learn charges."""
    chances, targets = torch.eye(2).double(), torch.tensor([1, 1])
    theirs = sk.log_loss([1, 1], chances, labels=[0, 1])
    ours = counted(pe.LogLoss(scores="probabilities"), chances, targets)
    assert ours == pytest.approx(theirs)


@pytest.mark.filterwarnings(
    "ignore:The number of unique classes:UserWarning"
)  # sklearn
@pytest.mark.parametrize("classes_last", [True, False])
def test_tokens_need_no_reshaping(classes_last: bool) -> None:
    """Padded token sequences count their real tokens, wherever the classes lie."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 6, 11, generator=generator)
    targets = torch.randint(0, 11, (4, 6), generator=generator)
    targets[2, 3:] = -100
    flat, kept = logits.reshape(-1, 11), targets.reshape(-1)
    real = kept != -100
    outputs = logits if classes_last else logits.movedim(-1, 1)
    accuracy = counted(pe.Accuracy(ignore_index=-100), outputs, targets, size=2)
    hits = sk.accuracy_score(kept[real], flat.argmax(1)[real])
    assert accuracy == pytest.approx(hits, abs=1e-12)
    f1 = counted(pe.F1Score(ignore_index=-100), outputs, targets, size=2)
    assert f1 == pytest.approx(
        sk.f1_score(
            kept[real],
            flat.argmax(1)[real],
            labels=range(11),
            average="macro",
            zero_division=0,
        )
    )
    perplexity = counted(pe.Perplexity(), outputs, targets, size=2)
    assert perplexity == pytest.approx(
        float(nn.functional.cross_entropy(flat, kept).exp()), rel=1e-6
    )
    top = counted(pe.Accuracy(top_k=3, ignore_index=-100), outputs, targets, size=2)
    theirs = sk.top_k_accuracy_score(kept[real], flat[real], k=3, labels=range(11))
    assert top == pytest.approx(theirs)


def test_shapes_that_fit_both_ways_must_be_told() -> None:
    """As many tokens as classes: the class dimension is said, never guessed."""
    logits = torch.randn(2, 5, 5, generator=torch.Generator().manual_seed(0))
    targets = torch.zeros(2, 5, dtype=torch.int64)
    with pytest.raises(ValueError, match="class_dim=1 or class_dim=-1"):
        pe.Accuracy().update(logits, targets)
    for dim in (1, -1):
        expected = (logits.argmax(dim) == 0).double().mean().item()
        assert counted(pe.Accuracy(class_dim=dim), logits, targets) == expected


def test_segmentation() -> None:
    """Mean IoU and Dice of images are scikit-learn's of their pixels."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(3, 4, 8, 8, generator=generator)
    targets = torch.randint(0, 3, (3, 8, 8), generator=generator)
    pixels, guessed = targets.reshape(-1), scores.argmax(1).reshape(-1)
    for average in ("macro", "micro", "weighted"):
        options: Any = {"average": average, "zero_division": 0}
        ours = counted(pe.MeanIoU(average=average), scores, targets, size=2)
        theirs = sk.jaccard_score(pixels, guessed, labels=range(4), **options)
        assert ours == pytest.approx(theirs, abs=1e-12)
        ours = counted(pe.DiceScore(average=average), scores, targets, size=2)
        theirs = sk.f1_score(pixels, guessed, labels=range(4), **options)
        assert ours == pytest.approx(theirs, abs=1e-12)
    with pytest.raises(ValueError, match="has no average='samples'"):
        pe.MeanIoU(task="multilabel", average="samples")


@pytest.mark.parametrize(
    ("criterion", "outputs", "targets"),
    [
        (nn.MSELoss(), torch.randn(10, 3), torch.randn(10, 3)),
        (nn.MSELoss(reduction="none"), torch.randn(10, 3), torch.randn(10, 3)),
        (nn.CrossEntropyLoss(), torch.randn(10, 3), torch.arange(10) % 3),
        (
            nn.CrossEntropyLoss(),
            torch.randn(10, 3),
            torch.tensor([0, -100, 1, 2, -100, -100, 0, 1, 1, 1]),
        ),
        (nn.functional.l1_loss, torch.randn(10), torch.randn(10)),
    ],
)
def test_losses(criterion: Any, outputs: Tensor, targets: Tensor) -> None:
    """The mean over uneven batches is the criterion of all samples."""
    expected = (
        float(criterion(outputs.double(), targets.double()).mean())
        if (targets.is_floating_point())
        else float(criterion(outputs.double(), targets))
    )
    ours = counted(pe.Loss(criterion), outputs, targets, size=4)
    assert ours == pytest.approx(expected, rel=1e-6)


def test_losses_share_and_merge_by_their_criterion() -> None:
    """One criterion object is one counter; another one is another."""
    criterion, outputs = nn.MSELoss(), torch.tensor([1.0, 2.0])
    first, second = pe.Loss(criterion), pe.Loss(criterion)
    first.update(outputs, outputs)
    second.update(outputs, outputs + 1)
    first.merge(second)
    assert first.compute() == 0.5
    with pytest.raises(ValueError, match="alike"):
        first.merge(pe.Loss(nn.MSELoss()))


SCORES = torch.tensor([[0.3, 0.7], [0.6, 0.4]])
TARGETS = torch.tensor([0, 1])
FAMILIES: dict[str, Callable[[], CountedMetric]] = {
    "auroc": lambda: pe.AUROC(task="multiclass", scores="probabilities"),
    "binned": lambda: pe.AUROC(task="multiclass", scores="probabilities", num_bins=5),
    "calibration": lambda: pe.CalibrationError(scores="probabilities"),
    "log_loss": lambda: pe.LogLoss(scores="probabilities"),
    "confusion": pe.ConfusionMatrix,
    "top_k": lambda: pe.Accuracy(top_k=2),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("scores", "targets", "error"),
    [
        (SCORES, TARGETS + 1, ValueError),
        (SCORES, -TARGETS, ValueError),
        (SCORES * torch.nan, TARGETS, UserWarning),
        (SCORES * torch.inf, TARGETS, UserWarning),
        (SCORES, torch.tensor([0, 1, 1]), ValueError),
        (SCORES, TARGETS.float(), TypeError),
        (SCORES, TARGETS, None),
    ],
)
def test_bad_batches(
    family: str, scores: Tensor, targets: Tensor, error: type[Exception] | None
) -> None:
    """Every family refuses what is wrong, and reports NaN of a model's NaN."""
    metric = FAMILIES[family]()
    with pytest.raises(RuntimeError, match="seen no batch"):
        metric.compute()
    metric.update(SCORES, TARGETS)
    before = metric.compute()
    if error is None:
        metric.update(scores, targets)
        assert metric.compute() is not None
        return
    if error is UserWarning:
        metric.update(scores, targets)
        with pytest.warns(error, match=f"{metric.key} is NaN: "):
            assert np.isnan(metric.compute()).all()
        return
    with pytest.raises(error, match=r"targets|scores|probabilities|expected"):
        metric.update(scores, targets)
    assert metric.compute() == before


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pe.AUROC(task="multiclass"), "must know what scores are"),
        (lambda: pe.AUROC(task="binary", num_bins=5), "must know what scores are"),
        (lambda: pe.AUROC(task="other"), "task must be"),
        (lambda: pe.AUROC(task="binary", average="micro"), "average must be"),
        (lambda: pe.AUROC(task="binary", num_bins=1, scores="logits"), "at least 2"),
        (lambda: pe.LogLoss(scores="other"), "'logits' or 'probabilities'"),
        (lambda: pe.LogLoss(scores="logits", task="multilabel"), "task must be"),
        (lambda: pe.CalibrationError(scores="logits", num_bins=0), "at least 1"),
        (lambda: pe.CalibrationError(scores="other"), "'logits' or"),
        (lambda: pe.ConfusionMatrix(normalize="rows"), "normalize must be"),
        (lambda: pe.ConfusionMatrix(task="multilabel"), "one class a sample"),
        (lambda: pe.CohenKappa(task="multilabel"), "one class a sample"),
        (lambda: pe.Loss(nn.MSELoss(reduction="sum")), "reduction='sum'"),
        (lambda: pe.Accuracy(top_k=0), "top_k must be 1"),
        (lambda: pe.Accuracy(top_k=2, task="binary"), "top_k must be 1"),
        (lambda: pe.Accuracy(per_label=True), "per_label is for"),
        (lambda: pe.Accuracy(threshold=0.9), "scores and threshold are for"),
        (lambda: pe.Accuracy(task="binary", threshold=2.0), "in \\[0, 1\\]"),
        (lambda: pe.Accuracy(task="other"), "task must be"),
        (lambda: pe.Accuracy(num_classes=0), "must be positive"),
        (lambda: pe.Accuracy(task="binary", num_classes=3), "has 2 classes"),
        (lambda: pe.Accuracy(task="binary", class_dim=1), "class_dim is for"),
        (lambda: pe.F1Score(average="mean"), "average must be"),
        (lambda: pe.F1Score(average="samples"), "needs task='multilabel'"),
        (lambda: pe.F1Score(average="binary"), "needs task='binary'"),
        (lambda: pe.F1Score(labels=[1, 1]), "distinct"),
        (lambda: pe.F1Score(labels=[]), "distinct"),
        (lambda: pe.F1Score(absent="skip"), "absent must be"),
        (lambda: pe.F1Score(zero_division=0.5), "zero_division must be"),
        (lambda: pe.F1Score(task="binary", labels=[1]), "labels choose classes"),
    ],
)
def test_declarations_that_mean_nothing(
    make: Callable[[], object], message: str
) -> None:
    """An argument that would be ignored or misread raises at once."""
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("metric", "outputs", "message"),
    [
        (pe.Accuracy(task="binary"), torch.tensor([0.2]), "never guessed"),
        (
            pe.Accuracy(task="binary", scores="probabilities"),
            torch.tensor([1.2]),
            "outside 0..1",
        ),
        (pe.F1Score(num_classes=3, labels=[5]), torch.tensor([1]), "labels must lie"),
    ],
)
def test_scores_are_never_guessed(
    metric: CountedMetric, outputs: Tensor, message: str
) -> None:
    """Binary scores are what was declared, and labels are classes."""
    with pytest.raises(ValueError, match=message):
        counted(metric, outputs, torch.tensor([1]))


def test_rows_that_are_dropped_may_be_anything() -> None:
    """Padding may hold NaN scores and no class, and changes nothing."""
    scores = torch.cat((SCORES, torch.full((1, 2), torch.nan)))
    targets = torch.tensor([0, 1, -100])
    metrics: list[tuple[CountedMetric, CountedMetric]] = [
        (pe.Accuracy(ignore_index=-100), pe.Accuracy()),
        (pe.ConfusionMatrix(ignore_index=-100), pe.ConfusionMatrix()),
        (pe.Accuracy(top_k=2, ignore_index=-100), pe.Accuracy(top_k=2)),
        (
            pe.LogLoss(scores="probabilities", ignore_index=-100),
            pe.LogLoss(scores="probabilities"),
        ),
        (
            pe.CalibrationError(scores="probabilities", ignore_index=-100),
            pe.CalibrationError(scores="probabilities"),
        ),
        (
            pe.AUROC(task="multiclass", scores="probabilities", ignore_index=-100),
            pe.AUROC(task="multiclass", scores="probabilities"),
        ),
    ]
    for dropping, plain in metrics:
        dropping.update(scores, targets)
        plain.update(SCORES, TARGETS)
        assert dropping.compute() == plain.compute()
        masked = type(plain).__new__(type(plain))
        masked.__dict__.update(plain.__dict__)
        masked.reset()
        mask = torch.tensor([True, True, False])
        masked.update(scores, targets, weights=mask)
        assert masked.compute() == plain.compute()


def test_rows_merge_and_are_kept() -> None:
    """Exact ranking merges and is saved like any other metric."""
    scores, targets = drawn(0)
    scores, targets = scores[:, 0], targets % 2
    whole, first, second = (pe.AUROC(task="binary") for _ in range(3))
    for start in range(len(targets)):
        batch = scores[start : start + 1], targets[start : start + 1]
        whole.update(*batch)
        (first if start < 9 else second).update(*batch)
    first.merge(second)
    assert first.compute() == whole.compute()
    third = pe.AUROC(task="binary")
    third.load_state_dict(first.state_dict())
    third.update(scores, targets)
    whole.update(scores, targets)
    assert third.compute() == whole.compute()
    assert isinstance(whole.counts, tuple)
    assert len(whole.counts) < 8


def test_detection() -> None:
    """A class whose box is found and one whose box is not make one half."""
    pytest.importorskip("pycocotools")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metric = pe.MeanAveragePrecision()
    with pytest.raises(RuntimeError, match="seen no batch"):
        metric.compute()
    box = torch.tensor([[10.0, 10.0, 50.0, 50.0]])
    found = {"boxes": box, "scores": torch.tensor([0.9]), "labels": torch.tensor([0])}
    target = {"boxes": box, "labels": torch.tensor([0])}
    other = {"boxes": box, "labels": torch.tensor([1])}
    unsure = {**found, "scores": torch.tensor([0.5])}
    metric.update([found, unsure], [target, other])
    assert metric.compute() == pytest.approx(0.5)
    metric.reset()
    metric.update([found], [target])
    assert metric.compute() == pytest.approx(1.0)
    with pytest.raises(ValueError, match="NaN or infinite"):
        metric.update([{**found, "boxes": box * torch.nan}], [target])


def test_detection_on_two_processes() -> None:
    """Images of all processes are judged together, or one's own, in any order."""
    pytest.importorskip("pycocotools")
    right, wrong = together(gloo_predictions.boxes, 2)
    both = pytest.approx(right[0])
    assert 0 < right[0] < 1
    assert right == [both, pytest.approx(1.0), both]
    assert wrong == [both, pytest.approx(0.0), both]
