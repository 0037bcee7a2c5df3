"""Any number of labels a sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from pretrain_eval._metrics import Metrics
from pretrain_eval._metrics.predictions import AUROC, AveragePrecision, F1Score
from pretrain_eval._tasks.checks import check_count
from pretrain_eval._tasks.frozen import ridge
from pretrain_eval._tasks.kind import Before, Network, TaskKind
from pretrain_eval._tasks.samples import read_targets
from pretrain_eval._tasks.splits import Split, Splits


@final
@dataclass(frozen=True)
class MultiLabel(TaskKind):
    """Any of L labels a sample, none of which excludes another.

    Targets are 0 and 1, `(N, L)`; outputs are logits of that shape. The loss is the
    binary cross-entropy, the mean over samples and labels. The mean average precision
    over labels is reported first, then the macro AUROC; they leave out a label that no
    measured sample has, AUROC also one that all have. Macro F1 decides at logit 0, and
    counts a label that is neither there nor predicted as 0. Before training stands ridge regression of 0 and 1
    on the standardised frozen features, a label being predicted from 1/2 on.

    Args:
        num_labels: At least 1.

    >>> MultiLabel(5).num_outputs
    5
    """

    num_labels: int
    before: ClassVar[Before | None] = "frozen"

    def __post_init__(self) -> None:
        check_count("num_labels", self.num_labels, 1)

    @property
    def num_outputs(self) -> int:  # type: ignore[override] # read only
        """A logit a label."""
        return self.num_labels

    @override
    def metrics(self) -> Metrics:
        return [
            AveragePrecision(task="multilabel", absent="drop"),
            AUROC(task="multilabel", absent="drop"),
            F1Score(task="multilabel", scores="logits", num_classes=self.num_labels),
        ]

    @override
    def learn(self, model: Network, batch: Any) -> tuple[Tensor, Tensor]:
        outputs, targets = self.read(model, batch)
        return outputs, targets.to(outputs.dtype)

    @override
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(outputs, targets)

    @override
    def check(self, what: str, splits: Splits) -> None:
        for part, split in splits.parts.items():
            shares = self._shares(f"{what}: {part}", split)
            if not bool(((shares > 0) & (shares < 1)).any()):
                raise ValueError(
                    f"{what}: {part} has no label that some samples have and others"
                    " have not, so that nothing can be learned or measured"
                )

    @override
    def chance(self, splits: Splits) -> Mapping[str, float]:
        """What constant scores reach on the reported split, with π_l the share of l.

        Average precision π_l, its mean over the labels that there are; AUROC 1/2; F1
        2π_l/(1 + π_l) for predicting every label always, the best without looking.

        Source: Lipton et al., Optimal Thresholding of Classifiers to Maximize F1
        Measure, ECML 2014.
        """
        shares = self._shares("reported", splits.reported)
        f1 = 2 * shares / (1 + shares)
        return {
            "average_precision": float(shares[shares > 0].mean()),
            "auroc": 0.5,
            "f1": float(f1.mean()),
        }

    @override
    def frozen(self, rows: Tensor, targets: Tensor) -> Network:
        hot = targets.to(rows.dtype)

        def shares(features: Tensor) -> Tensor:
            found = ridge(rows, hot, features.flatten(1).float())
            return found.reshape(len(features), self.num_labels) - 0.5

        return shares

    def _shares(self, what: str, split: Split) -> Tensor:
        """Which share of the samples has each label, `(num_labels,)`."""
        targets = read_targets(split)
        if targets.shape[1:] != (self.num_labels,):
            raise ValueError(
                f"{what} must have targets of shape (N, {self.num_labels}), 0 or 1 for"
                f" each label, got {tuple(targets.shape)}; for one class a sample give"
                " num_classes"
            )
        wrong = targets[(targets != 0) & (targets != 1)]
        if len(wrong):
            raise ValueError(
                f"{what} holds the target {wrong[0].item():g}; a label is there, 1, or"
                " not, 0"
            )
        return targets.double().mean(0)
