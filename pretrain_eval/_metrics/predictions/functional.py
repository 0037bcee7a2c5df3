"""One function a metric: all outputs and targets in, the value out, nothing kept."""
# The functions have the bodies that `of_sums` gives them.
# mypy: disable-error-code="empty-body"

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from inspect import signature
from typing import Concatenate, ParamSpec, TypeVar, cast

from torch import Tensor

from pretrain_eval._metrics.metric import CountedMetric, Value
from pretrain_eval._metrics.predictions.agreement import (
    BalancedAccuracy,
    CohenKappa,
    ConfusionMatrix,
    MatthewsCorrCoef,
)
from pretrain_eval._metrics.predictions.calibration import CalibrationError
from pretrain_eval._metrics.predictions.classification import (
    Accuracy,
    TopKAccuracy,
)
from pretrain_eval._metrics.predictions.loss import BitsPerByte, LogLoss, Perplexity
from pretrain_eval._metrics.predictions.ranking import AUROC, AveragePrecision
from pretrain_eval._metrics.predictions.ratios import F1Score, Precision, Recall
from pretrain_eval._metrics.predictions.segmentation import DiceScore, MeanIoU
from pretrain_eval._metrics.sync import fetch

P = ParamSpec("P")
Given = TypeVar("Given")
Truth = TypeVar("Truth")
V = TypeVar("V")


def of_sums(
    metric: Callable[P, CountedMetric],
) -> Callable[[Callable[[Given, Truth], V]], Callable[Concatenate[Given, Truth, P], V]]:
    """Make a function of all outputs and targets, with the arguments of a metric.

    What the metric declares, a counter and a formula of what it counts, is put one
    after the other: `formula(count(outputs, targets))`. No state is kept.

    Args:
        metric: The class whose arguments, and their defaults, the function takes.
    """

    def declared(
        stub: Callable[[Given, Truth], V],
    ) -> Callable[Concatenate[Given, Truth, P], V]:
        def function(
            outputs: Given, targets: Truth, *args: P.args, **options: P.kwargs
        ) -> V:
            declaration = metric(*args, **options)
            counter = declaration.counter
            batch = counter.batch(outputs, targets, None)  # type: ignore[arg-type]
            (counts,) = fetch([counter.whole(batch)])
            counter.check(counts)
            return cast("V", declaration.reported(counts))

        update_wrapper(function, stub)
        own, theirs = signature(stub), signature(metric)
        parameters = [*own.parameters.values(), *theirs.parameters.values()]
        # What help and editors show, which no decorator can write into a `def`.
        vars(function)["__signature__"] = own.replace(parameters=parameters)
        return cast("Callable[Concatenate[Given, Truth, P], V]", function)

    return declared


@of_sums(Accuracy)
def accuracy(outputs: Tensor, targets: Tensor) -> Value:
    """Share of samples whose predicted class is the target, num_right / num_samples.

    In [0, 1], higher is better; always defined for at least one sample.

    Args:
        outputs: Scores `(num_samples, num_classes)`, further dimensions allowed, or
            predicted classes of the targets' shape; `task` says what else.
        targets: Classes `(num_samples,)`, with the outputs' further dimensions.
        task: "multiclass": scores with a class dimension, or class indices. "binary":
            one score a sample. "multilabel": `(num_samples, num_labels)`; right where
            every label is.
        top_k: Right where the target is among the k highest scores. Of equal scores
            the lowest class is predicted; from k = 2 on the higher class counts
            first, as in scikit-learn's `top_k_accuracy_score`.
        per_label: For "multilabel", one accuracy a label.
        num_classes: Classes or labels; needed where outputs are class indices.
        scores: What binary and multilabel scores are, "logits" or "probabilities".
        threshold: The probability above which class 1 is predicted.
        ignore_index: Rows with this target are dropped.
        class_dim: Where the classes of scores lie, where shapes do not tell.

    >>> import torch
    >>> accuracy(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1]))
    0.5
    """


@of_sums(Precision)
def precision(outputs: Tensor, targets: Tensor) -> Value:
    """Share of a class's predictions that are right, tp / (tp + fp).

    In [0, 1], higher is better. Of a class that is never predicted it is undefined and
    `zero_division`.

    Args:
        outputs: Scores `(num_samples, num_classes)`, further dimensions allowed, or
            predicted classes of the targets' shape; `task` says what else.
        targets: Classes `(num_samples,)`, with the outputs' further dimensions.
        average: "macro", the mean over classes; "weighted", weighted by targets;
            "micro", counts summed first; "none", one value a class; "samples", the
            mean over the samples of a multilabel task; "binary", class 1 alone. By
            default "binary" for a binary task, otherwise "macro".
        task: "multiclass": scores with a class dimension, or class indices. "binary":
            one score a sample. "multilabel": `(num_samples, num_labels)`.
        num_classes: Classes or labels; needed where outputs are class indices.
        labels: The classes that are averaged; the others still count as mistakes.
        absent: What a class does that is neither among targets nor predictions:
            "count", it enters the average with `zero_division`, as with scikit-learn's
            `labels=range(num_classes)`; "drop", it does not, as without.
        zero_division: The value of a class whose ratio is 0/0: 0, 1, or NaN, which
            leaves the class out of the average.
        scores: What binary and multilabel scores are, "logits" or "probabilities".
        threshold: The probability above which class 1 is predicted.
        ignore_index: Rows with this target are dropped.
        class_dim: Where the classes of scores lie, where shapes do not tell.

    >>> import torch
    >>> predicted, targets = torch.tensor([1, 1, 0]), torch.tensor([1, 0, 0])
    >>> precision(predicted, targets, average="none", num_classes=2)
    (1.0, 0.5)
    """


@of_sums(Recall)
def recall(outputs: Tensor, targets: Tensor) -> Value:
    """Share of a class's samples that are found, tp / (tp + fn).

    In [0, 1], higher is better. Of a class without targets it is undefined and
    `zero_division`.

    Args:
        outputs: Scores `(num_samples, num_classes)`, further dimensions allowed, or
            predicted classes of the targets' shape; `task` says what else.
        targets: Classes `(num_samples,)`, with the outputs' further dimensions.
        average: "macro", the mean over classes; "weighted", weighted by targets;
            "micro", counts summed first; "none", one value a class; "samples", the
            mean over the samples of a multilabel task; "binary", class 1 alone. By
            default "binary" for a binary task, otherwise "macro".
        task: "multiclass": scores with a class dimension, or class indices. "binary":
            one score a sample. "multilabel": `(num_samples, num_labels)`.
        num_classes: Classes or labels; needed where outputs are class indices.
        labels: The classes that are averaged; the others still count as mistakes.
        absent: What a class does that is neither among targets nor predictions:
            "count", it enters the average with `zero_division`, as with scikit-learn's
            `labels=range(num_classes)`; "drop", it does not, as without.
        zero_division: The value of a class whose ratio is 0/0: 0, 1, or NaN, which
            leaves the class out of the average.
        scores: What binary and multilabel scores are, "logits" or "probabilities".
        threshold: The probability above which class 1 is predicted.
        ignore_index: Rows with this target are dropped.
        class_dim: Where the classes of scores lie, where shapes do not tell.

    >>> import torch
    >>> predicted, targets = torch.tensor([1, 1, 0]), torch.tensor([1, 0, 0])
    >>> recall(predicted, targets, average="none", num_classes=2)
    (0.5, 1.0)
    """


@of_sums(F1Score)
def f1_score(outputs: Tensor, targets: Tensor) -> Value:
    """Harmonic mean of precision and recall, 2 tp / (2 tp + fp + fn).

    In [0, 1], higher is better. Of a class that neither targets nor predictions hold it
    is undefined and `zero_division`.

    Args:
        outputs: Scores `(num_samples, num_classes)`, further dimensions allowed, or
            predicted classes of the targets' shape; `task` says what else.
        targets: Classes `(num_samples,)`, with the outputs' further dimensions.
        average: "macro", the mean over classes; "weighted", weighted by targets;
            "micro", counts summed first; "none", one value a class; "samples", the
            mean over the samples of a multilabel task; "binary", class 1 alone. By
            default "binary" for a binary task, otherwise "macro".
        task: "multiclass": scores with a class dimension, or class indices. "binary":
            one score a sample. "multilabel": `(num_samples, num_labels)`.
        num_classes: Classes or labels; needed where outputs are class indices.
        labels: The classes that are averaged; the others still count as mistakes.
        absent: What a class does that is neither among targets nor predictions:
            "count", it enters the average with `zero_division`, as with scikit-learn's
            `labels=range(num_classes)`; "drop", it does not, as without.
        zero_division: The value of a class whose ratio is 0/0: 0, 1, or NaN, which
            leaves the class out of the average.
        scores: What binary and multilabel scores are, "logits" or "probabilities".
        threshold: The probability above which class 1 is predicted.
        ignore_index: Rows with this target are dropped.
        class_dim: Where the classes of scores lie, where shapes do not tell.

    >>> import torch
    >>> predicted, targets = torch.tensor([1, 1, 0]), torch.tensor([1, 0, 0])
    >>> f1_score(predicted, targets, average="micro", num_classes=2)
    0.666...
    """


@of_sums(BalancedAccuracy)
def balanced_accuracy(outputs: Tensor, targets: Tensor) -> float:
    """Mean over classes of tp / (tp + fn), of those that occur among the targets.

    In [0, 1], higher is better; always defined for at least one sample.

    Args:
        outputs: Scores `(num_samples, num_classes)`, further dimensions allowed, or
            predicted classes of the targets' shape; `task` says what else.
        targets: Classes `(num_samples,)`, with the outputs' further dimensions.
        task: "multiclass": scores with a class dimension, or class indices. "binary":
            one score a sample.
        num_classes: How many there are; needed where outputs are class indices.
        scores: What binary scores are, "logits" or "probabilities".
        threshold: The probability above which class 1 is predicted.
        ignore_index: Rows with this target are dropped.
        class_dim: Where the classes of scores lie, where shapes do not tell.

    >>> import torch
    >>> predicted, targets = torch.tensor([0, 0, 0]), torch.tensor([0, 0, 1])
    >>> balanced_accuracy(predicted, targets, num_classes=2)
    0.5
    """


@of_sums(CohenKappa)
def cohen_kappa(outputs: Tensor, targets: Tensor) -> float:
    """Agreement beyond chance, (p_o − p_e) / (1 − p_e).

    p_o is the accuracy, p_e the accuracy of drawing classes as often as predicted. In
    [−1, 1], higher is better, 0 is chance. Where one class is all there is it is
    undefined: NaN, with a warning.

    Args:
        outputs: Scores `(num_samples, num_classes)`, further dimensions allowed, or
            predicted classes of the targets' shape; `task` says what else.
        targets: Classes `(num_samples,)`, with the outputs' further dimensions.
        task: "multiclass": scores with a class dimension, or class indices. "binary":
            one score a sample.
        num_classes: How many there are; needed where outputs are class indices.
        scores: What binary scores are, "logits" or "probabilities".
        threshold: The probability above which class 1 is predicted.
        ignore_index: Rows with this target are dropped.
        class_dim: Where the classes of scores lie, where shapes do not tell.

    >>> import torch
    >>> predicted, targets = torch.tensor([0, 1, 1, 1]), torch.tensor([0, 1, 1, 0])
    >>> cohen_kappa(predicted, targets, num_classes=2)
    0.5
    """


@of_sums(MatthewsCorrCoef)
def matthews_corrcoef(outputs: Tensor, targets: Tensor) -> float:
    """Correlation, (c s − Σ p_k t_k) / √((s² − Σ p_k²)(s² − Σ t_k²)).

    With s samples, c of them right, p_k predictions and t_k targets of class k. In
    [−1, 1], higher is better, 0 is chance. Where all predictions or all targets are one
    class it is undefined and 0, as in scikit-learn.

    Args:
        outputs: Scores `(num_samples, num_classes)`, further dimensions allowed, or
            predicted classes of the targets' shape; `task` says what else.
        targets: Classes `(num_samples,)`, with the outputs' further dimensions.
        task: "multiclass": scores with a class dimension, or class indices. "binary":
            one score a sample.
        num_classes: How many there are; needed where outputs are class indices.
        scores: What binary scores are, "logits" or "probabilities".
        threshold: The probability above which class 1 is predicted.
        ignore_index: Rows with this target are dropped.
        class_dim: Where the classes of scores lie, where shapes do not tell.

    Source: Gorodkin, Computational Biology and Chemistry 28, 2004.

    >>> import torch
    >>> predicted, targets = torch.tensor([0, 1, 1, 0]), torch.tensor([0, 1, 0, 1])
    >>> matthews_corrcoef(predicted, targets, num_classes=2)
    0.0
    """


@of_sums(ConfusionMatrix)
def confusion_matrix(outputs: Tensor, targets: Tensor) -> tuple[tuple[float, ...], ...]:
    """How often class j was predicted where i was right, row i, column j.

    Counts, or shares in [0, 1] where `normalize` says so; the diagonal is what is right.

    Args:
        outputs: Scores `(num_samples, num_classes)`, further dimensions allowed, or
            predicted classes of the targets' shape; `task` says what else.
        targets: Classes `(num_samples,)`, with the outputs' further dimensions.
        normalize: "true", rows sum to 1; "pred", columns; "all", everything; None,
            counts. A row or column without samples is 0, as in scikit-learn.
        task: "multiclass": scores with a class dimension, or class indices. "binary":
            one score a sample.
        num_classes: How many there are; needed where outputs are class indices.
        scores: What binary scores are, "logits" or "probabilities".
        threshold: The probability above which class 1 is predicted.
        ignore_index: Rows with this target are dropped.
        class_dim: Where the classes of scores lie, where shapes do not tell.

    Returns:
        Rows, `(num_classes, num_classes)`.

    >>> import torch
    >>> predicted, targets = torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1])
    >>> confusion_matrix(predicted, targets, num_classes=2)
    ((1.0, 1.0), (0.0, 1.0))
    """


@of_sums(CalibrationError)
def calibration_error(outputs: Tensor, targets: Tensor) -> float:
    """Expected calibration error, Σ_b n_b/n · abs(accuracy_b − confidence_b).

    Over bins b of confidence, which are equal shares of [0, 1]. Confidence is the
    highest probability of a row, or that of class 1 for a binary task. In [0, 1], lower
    is better; always defined for at least one sample.

    Args:
        outputs: Scores `(num_samples, num_classes)`, further dimensions allowed, or
            one a sample for a binary task.
        targets: Classes `(num_samples,)`, with the outputs' further dimensions.
        scores: What scores are, "logits" or "probabilities".
        task: "multiclass" or "binary".
        num_bins: How many bins.
        ignore_index: Rows with this target are dropped.
        class_dim: Where the classes of scores lie, where shapes do not tell.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017.

    >>> import torch
    >>> chances, targets = torch.tensor([0.25, 0.75, 0.75]), torch.tensor([0, 1, 1])
    >>> calibration_error(chances, targets, scores="probabilities", task="binary")
    0.25
    """


@of_sums(LogLoss)
def log_loss(outputs: Tensor, targets: Tensor) -> float:
    """Mean over samples of −log p(target), in nats.

    At least 0, lower is better; a probability of 0 counts as the smallest step of
    float64, as in scikit-learn, so that it is always defined for at least one sample.

    Args:
        outputs: Scores `(num_samples, num_classes)`, further dimensions allowed, or
            one a sample for a binary task.
        targets: Classes `(num_samples,)`, with the outputs' further dimensions.
        scores: What scores are, "logits" or "probabilities".
        task: "multiclass": `(num_samples, num_classes)`, further dimensions allowed.
            "binary": one score a sample.
        ignore_index: Rows with this target are dropped.
        class_dim: Where the classes of scores lie, where shapes do not tell.

    >>> import torch
    >>> chances, targets = torch.tensor([[0.5, 0.5], [1.0, 0.0]]), torch.tensor([1, 0])
    >>> log_loss(chances, targets, scores="probabilities")
    0.346...
    """


@of_sums(Perplexity)
def perplexity(outputs: Tensor, targets: Tensor) -> float:
    """Exponential of the mean surprise, exp(mean over tokens of −log p(token)).

    At least 1, lower is better, V is a guess among V; infinite beyond the largest
    number.

    Args:
        outputs: Scores `(num_samples, num_tokens, vocabulary)`.
        targets: Tokens `(num_samples, num_tokens)`.
        scores: What scores are, "logits" or "probabilities".
        ignore_index: Tokens with this target are dropped.
        class_dim: Where the vocabulary lies, where shapes do not tell.

    >>> import torch
    >>> round(perplexity(torch.zeros(1, 3, 4), torch.tensor([[0, 1, -100]])), 6)
    4.0
    """


@of_sums(BitsPerByte)
def bits_per_byte(outputs: Tensor, targets: Tensor) -> float:
    """Bits that a text costs by byte, Σ −log₂ p(token) / number of bytes; lower is better.

    Args:
        outputs: Scores `(num_samples, num_tokens, vocabulary)`.
        targets: Tokens `(num_samples, num_tokens)`.
        bytes_per_token: Bytes of the text by counted token; exact where both are
            counted over all of the text that is measured.
        ignore_index: Tokens with this target are dropped.

    >>> import torch
    >>> scores, tokens = torch.zeros(1, 3, 4), torch.tensor([[0, 1, -100]])
    >>> round(bits_per_byte(scores, tokens, bytes_per_token=4.0), 6)
    0.5
    """


@of_sums(AUROC)
def auroc(outputs: Tensor, targets: Tensor) -> Value:
    """Chance that a positive scores above a negative, P(s₊ > s₋) + P(s₊ = s₋) / 2.

    The area under the receiver operating characteristic, in [0, 1], higher is better,
    0.5 is chance. Of a class without positives or without negatives it is undefined:
    NaN, with a warning, or left out where `absent` says so.

    Args:
        outputs: Scores, any order-preserving ones unless `scores` must be said.
        targets: Classes `(num_samples,)`, or 0 and 1 of the outputs' shape.
        task: "binary": one score a sample. "multiclass": `(num_samples, num_classes)`.
            "multilabel": `(num_samples, num_labels)`.
        scores: "logits" or "probabilities"; needed for "multiclass", whose logits
            order samples otherwise than its probabilities, and with `num_bins`.
        average: Of several classes: "macro", the mean; "weighted", weighted by
            targets; "none", one value a class.
        absent: What a class does whose value is undefined: "count", the average is
            NaN, with a warning; "drop", it is left out.
        num_bins: Count scores in so many equal bins of [0, 1], in constant memory; by
            default every sample is kept and the value is exact.
        num_classes: Classes or labels, where a process may see no batch at all.
        ignore_index: Rows with this target are dropped; entries for "multilabel".
        class_dim: Where the classes of scores lie, where shapes do not tell.

    >>> import torch
    >>> scores, targets = (
    ...     torch.tensor([0.1, 0.4, 0.35, 0.8]),
    ...     torch.tensor([0, 0, 1, 1]),
    ... )
    >>> auroc(scores, targets, task="binary")
    0.75
    """


@of_sums(AveragePrecision)
def average_precision(outputs: Tensor, targets: Tensor) -> Value:
    """Precision averaged over recall, Σ (R_n − R_{n−1}) P_n, thresholds n falling.

    In [0, 1], higher is better; a random order gives the share of positives. Of a class
    without positives it is undefined: NaN, with a warning, or left out where `absent`
    says so.

    Args:
        outputs: Scores, any order-preserving ones unless `scores` must be said.
        targets: Classes `(num_samples,)`, or 0 and 1 of the outputs' shape.
        task: "binary": one score a sample. "multiclass": `(num_samples, num_classes)`.
            "multilabel": `(num_samples, num_labels)`.
        scores: "logits" or "probabilities"; needed for "multiclass", whose logits
            order samples otherwise than its probabilities, and with `num_bins`.
        average: Of several classes: "macro", the mean; "weighted", weighted by
            targets; "none", one value a class.
        absent: What a class does whose value is undefined: "count", the average is
            NaN, with a warning; "drop", it is left out.
        num_bins: Count scores in so many equal bins of [0, 1], in constant memory; by
            default every sample is kept and the value is exact.
        num_classes: Classes or labels, where a process may see no batch at all.
        ignore_index: Rows with this target are dropped; entries for "multilabel".
        class_dim: Where the classes of scores lie, where shapes do not tell.

    >>> import torch
    >>> scores, targets = (
    ...     torch.tensor([0.1, 0.4, 0.35, 0.8]),
    ...     torch.tensor([0, 0, 1, 1]),
    ... )
    >>> average_precision(scores, targets, task="binary")
    0.833...
    """


@of_sums(DiceScore)
def dice_score(outputs: Tensor, targets: Tensor) -> Value:
    """Twice the intersection over both regions, 2 tp / (2 tp + fp + fn).

    The F1 score of pixels, of all images together. In [0, 1], higher is better. Of a
    class that neither targets nor predictions hold it is undefined and `zero_division`.

    Args:
        outputs: Scores `(num_samples, num_classes, height, width)`, or predicted classes
            `(num_samples, height, width)`.
        targets: Classes `(num_samples, height, width)`.
        average: "macro", the mean over classes; "weighted", weighted by targets;
            "micro", counts summed first; "none", one value a class; "samples", the
            mean over the samples of a multilabel task; "binary", class 1 alone. By
            default "binary" for a binary task, otherwise "macro".
        task: "multiclass": scores with a class dimension, or class indices. "binary":
            one score a sample. "multilabel": `(num_samples, num_labels)`.
        num_classes: Classes or labels; needed where outputs are class indices.
        labels: The classes that are averaged; the others still count as mistakes.
        absent: What a class does that is neither among targets nor predictions:
            "count", it enters the average with `zero_division`, as with scikit-learn's
            `labels=range(num_classes)`; "drop", it does not, as without.
        zero_division: The value of a class whose ratio is 0/0: 0, 1, or NaN, which
            leaves the class out of the average.
        scores: What binary and multilabel scores are, "logits" or "probabilities".
        threshold: The probability above which class 1 is predicted.
        ignore_index: Rows with this target are dropped.
        class_dim: Where the classes of scores lie, where shapes do not tell.

    >>> import torch
    >>> predicted, targets = (
    ...     torch.tensor([[0, 1], [1, 1]]),
    ...     torch.tensor([[0, 1], [0, 1]]),
    ... )
    >>> dice_score(predicted, targets, num_classes=2)
    0.733...
    """


@of_sums(MeanIoU)
def mean_iou(outputs: Tensor, targets: Tensor) -> Value:
    """Mean over classes of intersection over union, tp / (tp + fp + fn).

    Jaccard's index of pixels, of all images together. In [0, 1], higher is better. Of a
    class that neither targets nor predictions hold it is undefined and `zero_division`.

    Args:
        outputs: Scores `(num_samples, num_classes, height, width)`, or predicted classes
            `(num_samples, height, width)`.
        targets: Classes `(num_samples, height, width)`.
        average: "macro", the mean over classes; "weighted", weighted by targets;
            "micro", counts summed first; "none", one value a class; "samples", the
            mean over the samples of a multilabel task; "binary", class 1 alone. By
            default "binary" for a binary task, otherwise "macro".
        task: "multiclass": scores with a class dimension, or class indices. "binary":
            one score a sample. "multilabel": `(num_samples, num_labels)`.
        num_classes: Classes or labels; needed where outputs are class indices.
        labels: The classes that are averaged; the others still count as mistakes.
        absent: What a class does that is neither among targets nor predictions:
            "count", it enters the average with `zero_division`, as with scikit-learn's
            `labels=range(num_classes)`; "drop", it does not, as without.
        zero_division: The value of a class whose ratio is 0/0: 0, 1, or NaN, which
            leaves the class out of the average.
        scores: What binary and multilabel scores are, "logits" or "probabilities".
        threshold: The probability above which class 1 is predicted.
        ignore_index: Rows with this target are dropped.
        class_dim: Where the classes of scores lie, where shapes do not tell.

    >>> import torch
    >>> predicted, targets = (
    ...     torch.tensor([[0, 1], [1, 1]]),
    ...     torch.tensor([[0, 1], [0, 1]]),
    ... )
    >>> mean_iou(predicted, targets, num_classes=2)
    0.583...
    """


@of_sums(TopKAccuracy)
def top_k_accuracy(outputs: Tensor, targets: Tensor) -> float:
    """Share of samples whose target is among the k highest scores, in [0, 1].

    Of equal scores the higher class counts first, as in scikit-learn's
    `top_k_accuracy_score`.

    Args:
        outputs: Scores `(num_samples, num_classes)`, further dimensions allowed.
        targets: Classes `(num_samples,)`, with the outputs' further dimensions.
        k: How many classes are looked at.
        num_classes: How many there are, where it is to be checked.
        ignore_index: Rows with this target are dropped.
        class_dim: Where the classes of scores lie, where shapes do not tell.

    >>> import torch
    >>> scores = torch.tensor([[0.1, 0.6, 0.3], [0.8, 0.2, 0.0]])
    >>> top_k_accuracy(scores, torch.tensor([2, 2]), k=2)
    0.5
    """
