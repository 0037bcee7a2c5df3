"""What is known of a model without a look at the task: baselines of every estimator."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from enum import Enum

import numpy as np

from pretrain_eval._runs import Better, Run
from pretrain_eval._selection.measures import direction
from pretrain_eval.zoo import Model, Pretrained

# By name, which direction is better.
STATICS: dict[str, Better] = {
    "log_parameters": "higher",
    "log_macs": "higher",
    "published_accuracy": "higher",
    "rank_on_other_tasks": "lower",
}


def published_accuracy(model: Model) -> float | None:
    """The accuracy that torchvision's weights state of their source, from 0 to 1."""
    weights = model.build if isinstance(model, Pretrained) else model
    if isinstance(weights, str):
        from torchvision import models

        if weights not in models.list_models():
            return None
        weights = models.get_model_weights(weights).DEFAULT
    if not isinstance(weights, Enum):
        return None
    meta = getattr(weights, "meta", None) or {}
    for metrics in (meta.get("_metrics") or {}).values():
        if "acc@1" in metrics:
            return float(metrics["acc@1"]) / 100
    return None


def ranks_on_other_tasks(
    runs: Iterable[Run], task: str, models: Sequence[str]
) -> dict[str, float]:
    """Each model's mean rank on the tasks in the runs but for one, 1 the best.

    On every dataset the models that were run there, two or more, are ranked by their
    mean over strategies and seeds.
    """
    by_dataset: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in runs:
        if run.task != task and run.model in models:
            by_dataset[run.task, run.dataset].append(run)
    ranks: dict[str, list[float]] = defaultdict(list)
    for found in by_dataset.values():
        means, sign, _ = means_by_model(found, None)
        if len(means) < 2:
            continue
        values = np.array([sign * value for value in means.values()])
        for name, value in zip(means, values, strict=True):
            above, alike = (values > value).sum(), (values == value).sum()
            ranks[name].append(float(above + (alike + 1) / 2))
    return {name: float(np.mean(each)) for name, each in ranks.items()}


def means_by_model(
    runs: Sequence[Run], metric: str | None
) -> tuple[dict[str, float], int, str]:
    """Reported scores by model, their sign and their key.

    Means over strategies and, in each, over seeds. A run that diverged counts as
    chance; one that failed, or was cut short, is left out.
    """
    ended = [run for run in runs if run.status in ("completed", "diverged")]
    scored = [run for run in ended if run.scores]
    if not scored:
        return {}, 1, metric or ""
    key = metric or next(iter(scored[0].scores))
    cells: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in ended:
        value = run.scores.get(key, math.nan)
        if run.status == "diverged":
            value = run.chance.get(key, math.nan)
        if math.isfinite(value):
            cells[run.model][run.strategy].append(value)
    means = {
        model: float(np.mean([np.mean(values) for values in strategies.values()]))
        for model, strategies in cells.items()
    }
    return means, direction(scored, key), key
