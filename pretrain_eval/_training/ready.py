"""Ways to use a pretrained model without training its backbone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pretrain_eval._runs import Run
from pretrain_eval._tasks import (
    MultiLabel,
    Segmentation,
    Task,
    TokenClassification,
    check_count,
)
from pretrain_eval._training.linear import Fit, fit_classes, fit_labels, fit_numbers
from pretrain_eval._training.strategy import Strategy
from pretrain_eval._training.trial import Trial

# Queries whose similarities to all that is known are held together.
_MOST_AT_ONCE = 4096


def probe(
    name: str = "probe", *, penalties: Sequence[float] = (1e-3, 1e-2, 0.1, 1.0, 10.0)
) -> Strategy:
    """A linear model on frozen features, fitted to the end: seconds, and no epochs.

    For classes, of samples or of tokens, a logistic regression, for each label of
    several one, for numbers a ridge regression, on standardised features; the L2 penalty is the best of `penalties` by cross-validation of the
    training split. The penalty is that of the mean loss, λ/2 · ‖w‖².

    Args:
        name: How records name it.
        penalties: Candidates for λ, positive.

    Raises:
        ValueError: There is no penalty, or one is not positive.

    Source: Kornblith, Shlens and Le, Do Better ImageNet Models Transfer Better?, CVPR
    2019, which tunes the penalty of a logistic regression on frozen features.
    """
    if not penalties or not all(penalty > 0 for penalty in penalties):
        raise ValueError(f"probe expects positive penalties, got {penalties!r}")
    return Strategy(name, train=_Probe(tuple(penalties)))


def nearest_neighbours(k: int = 20, name: str = "nearest neighbours") -> Strategy:
    """The vote of the k samples whose features are nearest by cosine.

    For classes, of samples or of tokens, and for labels the share of the k votes, for
    numbers their mean; fewer samples than k all vote.

    Args:
        k: How many vote, at least 1.
        name: How records name it.

    Source: Wu et al., Unsupervised Feature Learning via Non-Parametric Instance
    Discrimination, CVPR 2018; here each vote counts alike.
    """
    check_count("nearest_neighbours: k", k, 1)
    return Strategy(name, train=_Neighbours(k))


def zero_shot(name: str = "zero-shot") -> Strategy:
    """The pretrained model as it is, for tasks in which it keeps its own head.

    Args:
        name: How records name it.
    """
    return Strategy(name, train=_zero_shot)


@final
@dataclass(frozen=True)
class _Probe:
    """Fits a linear model on features."""

    penalties: tuple[float, ...]

    def __call__(
        self, model: nn.Module, task: Task, dataset: str, seed: int, trial: Trial
    ) -> Run:
        fit = _fit_of(task)
        features, targets = trial.rows("train")
        rows, device = _rows(features), features.device
        predict = fit(rows, targets.cpu().numpy(), self.penalties, trial.draw)

        def predictor(queries: Tensor) -> Tensor:
            return torch.as_tensor(predict(_rows(queries))).float().to(device)

        return trial.report_on_rows(predictor)


@final
@dataclass(frozen=True)
class _Neighbours:
    """Lets the nearest features vote."""

    k: int

    def __call__(
        self, model: nn.Module, task: Task, dataset: str, seed: int, trial: Trial
    ) -> Run:
        _fit_of(task)  # as a probe, so is a vote defined
        features, targets = trial.rows("train")
        known = F.normalize(features.flatten(1).float())
        votes, kind = targets.reshape(len(targets), -1).float(), task.kind
        if isinstance(kind, MultiLabel):
            votes = votes - 0.5  # decided at logit 0, so by more than half of the votes
        elif task.num_outputs is None:
            votes = F.one_hot(targets, kind.num_outputs or 0).float()
        k = min(self.k, len(known))

        def predictor(queries: Tensor) -> Tensor:
            found = F.normalize(queries.flatten(1).float())
            begins = range(0, len(found), _MOST_AT_ONCE)
            alike = (found[i : i + _MOST_AT_ONCE] @ known.T for i in begins)
            chosen = [part.topk(k, dim=1).indices for part in alike]
            return votes[torch.cat(chosen)].mean(1)

        return trial.report_on_rows(predictor)


def _zero_shot(
    model: nn.Module, task: Task, dataset: str, seed: int, trial: Trial
) -> Run:
    if task.kind.num_outputs is not None:
        raise ValueError(
            f"zero_shot needs a model whose own head answers, but {task.name!r}"
            f" ({task.kind}) gives it a fresh one; use probe() or nearest_neighbours()"
        )
    return trial.report(model)


def _fit_of(task: Task) -> Fit:
    """What a probe is for a kind of task.

    Raises:
        ValueError: It is nothing.
    """
    kind = task.kind
    if task.is_named:
        return (
            fit_numbers if task.num_classes is None else fit_classes(task.num_classes)
        )
    if isinstance(kind, MultiLabel):
        return fit_labels
    if isinstance(kind, TokenClassification):
        return fit_classes(kind.num_classes)
    why = "whose model keeps its own head; take it as it is by zero_shot()"
    if isinstance(kind, Segmentation):
        why = "whose features, one a pixel, are too many to keep; train the head"
    elif kind.num_outputs is not None:
        why = "of which it is not known what a linear fit is; train the head"
    raise ValueError(
        "a fit on frozen features is defined for classes and numbers of a sample, for"
        f" MultiLabel and TokenClassification, not for {kind}, {why}, or give Strategy"
        " a train=... of your own"
    )


def _rows(features: Tensor) -> np.ndarray:
    rows: np.ndarray = features.flatten(1).double().cpu().numpy()
    return rows
