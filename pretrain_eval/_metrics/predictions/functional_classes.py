"""One function a metric of predicted classes."""
# The functions have the bodies that `of_sums` gives them.
# mypy: disable-error-code="empty-body"

from __future__ import annotations

from torch import Tensor

from pretrain_eval._metrics.metric import Value
from pretrain_eval._metrics.predictions.agreement import (
    BalancedAccuracy,
    CohenKappa,
    ConfusionMatrix,
    MatthewsCorrCoef,
)
from pretrain_eval._metrics.predictions.classification import Accuracy, TopKAccuracy
from pretrain_eval._metrics.predictions.functional import of_sums
from pretrain_eval._metrics.predictions.ratios import F1Score, Precision, Recall
from pretrain_eval._metrics.predictions.segmentation import DiceScore, MeanIoU


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
            "micro", counts summed first; "none" or None, one value a class; "samples",
            the mean over the samples of a multilabel task; "binary", class 1 alone. By
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
            "micro", counts summed first; "none" or None, one value a class; "samples",
            the mean over the samples of a multilabel task; "binary", class 1 alone. By
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
            "micro", counts summed first; "none" or None, one value a class; "samples",
            the mean over the samples of a multilabel task; "binary", class 1 alone. By
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
            "micro", counts summed first; "none" or None, one value a class; "samples",
            the mean over the samples of a multilabel task; "binary", class 1 alone. By
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
            "micro", counts summed first; "none" or None, one value a class; "samples",
            the mean over the samples of a multilabel task; "binary", class 1 alone. By
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
