"""One function a metric of scores, whichever class is decided for."""
# The functions have the bodies that `of_sums` gives them.
# mypy: disable-error-code="empty-body"

from __future__ import annotations

from torch import Tensor

from pretrain_eval._metrics.metric import Value
from pretrain_eval._metrics.predictions.calibration import CalibrationError
from pretrain_eval._metrics.predictions.functional import of_sums
from pretrain_eval._metrics.predictions.loss import BitsPerByte, LogLoss, Perplexity
from pretrain_eval._metrics.predictions.ranking import AUROC, AveragePrecision


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
