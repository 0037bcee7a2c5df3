"""Ways to use a pretrained model without training its backbone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pretrain_eval._runs import Run
from pretrain_eval._tasks import Task, check_count
from pretrain_eval._training.strategy import Strategy
from pretrain_eval._training.trial import Trial


def probe(
    name: str = "probe", *, penalties: Sequence[float] = (1e-3, 1e-2, 0.1, 1.0, 10.0)
) -> Strategy:
    """A linear model on frozen features, fitted to the end: seconds, and no epochs.

    For classes a logistic regression, for numbers a ridge regression, on standardised
    features; the L2 penalty is the best of `penalties` by cross-validation of the
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

    For classes the share of the k votes, for numbers their mean; fewer samples than k
    all vote.

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
        _check_head(task, "a probe")
        features, targets = trial.features("train")
        rows, device = _rows(features), features.device
        fit = _fit_numbers if task.num_classes is None else _fit_classes
        predict = fit(rows, targets.cpu().numpy(), self.penalties, trial.draw, task)

        def predictor(queries: Tensor) -> Tensor:
            return torch.as_tensor(predict(_rows(queries))).float().to(device)

        return trial.report_on_features(predictor)


@final
@dataclass(frozen=True)
class _Neighbours:
    """Lets the nearest features vote."""

    k: int

    def __call__(
        self, model: nn.Module, task: Task, dataset: str, seed: int, trial: Trial
    ) -> Run:
        _check_head(task, "a vote of neighbours")
        features, targets = trial.features("train")
        known = F.normalize(features.flatten(1).float())
        votes = (
            F.one_hot(targets, task.num_classes).float()
            if task.num_classes is not None
            else targets.reshape(len(targets), -1).float()
        )
        k = min(self.k, len(known))

        def predictor(queries: Tensor) -> Tensor:
            alike = F.normalize(queries.flatten(1).float()) @ known.T
            return votes[alike.topk(k, dim=1).indices].mean(1)

        return trial.report_on_features(predictor)


def _zero_shot(
    model: nn.Module, task: Task, dataset: str, seed: int, trial: Trial
) -> Run:
    if task.kind.num_outputs is not None:
        raise ValueError(
            f"zero_shot needs a model whose own head answers, but {task.name!r}"
            f" ({task.kind}) gives it a fresh one; use probe() or nearest_neighbours()"
        )
    return trial.report(model)


def _check_head(task: Task, what: str) -> None:
    if not task.is_named:
        raise ValueError(
            f"{what} is defined for num_classes and num_outputs, not for {task.kind};"
            " train a head, or give Strategy a train=... of your own"
        )


def _rows(features: Tensor) -> np.ndarray:
    rows: np.ndarray = features.flatten(1).double().cpu().numpy()
    return rows


def _fit_classes(
    rows: np.ndarray,
    targets: np.ndarray,
    penalties: Sequence[float],
    seed: int,
    task: Task,
) -> Any:
    """Log-probabilities of all classes, as a function of rows."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # scikit-learn weighs the summed loss, not the penalty of the mean one.
    strengths = [1 / (penalty * len(rows)) for penalty in penalties]
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    smallest = int(np.unique(targets, return_counts=True)[1].min())
    if smallest > 1 and len(penalties) > 1:
        folds = StratifiedKFold(min(5, smallest), shuffle=True, random_state=seed)
        grid = {"logisticregression__C": strengths}
        fitted = GridSearchCV(linear, grid, cv=folds, scoring="neg_log_loss")
    else:  # a class of one sample cannot be left out
        middle = strengths[len(strengths) // 2]
        fitted = linear.set_params(logisticregression__C=middle)
    fitted.fit(rows, targets)
    classes = np.asarray(fitted.classes_)

    def predict(queries: np.ndarray) -> np.ndarray:
        outputs = np.full((len(queries), task.num_classes or 0), -1e9)
        outputs[:, classes] = fitted.predict_log_proba(queries)
        return outputs

    return predict


def _fit_numbers(
    rows: np.ndarray,
    targets: np.ndarray,
    penalties: Sequence[float],
    seed: int,
    task: Task,
) -> Any:
    """Numbers, as a function of rows."""
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    alphas = [penalty * len(rows) for penalty in penalties]
    fitted = make_pipeline(StandardScaler(), RidgeCV(alphas=alphas))
    fitted.fit(rows, targets.reshape(len(targets), -1))
    return lambda queries: np.reshape(fitted.predict(queries), (len(queries), -1))
