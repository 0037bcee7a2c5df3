"""Cheap evidence about models: one pass of each, before any fine-tuning."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from pretrain_eval._runs import Run, RunStore, stored
from pretrain_eval._selection.estimates import Estimate, Estimates
from pretrain_eval._selection.estimators import (
    ASKED,
    OF_CLASSES,
    OF_NUMBERS,
    SOURCE,
    Formula,
    Measured,
    measured,
)
from pretrain_eval._selection.layers import check_layers, chosen_layer, wanted
from pretrain_eval._selection.statics import (
    STATICS,
    published_accuracy,
    ranks_on_other_tasks,
)
from pretrain_eval._sweep import Progress, check_shown, grid_cells
from pretrain_eval._tasks import Task
from pretrain_eval._training import (
    Cell,
    Glimpse,
    Strategy,
    Surroundings,
    check_fits,
    glimpse,
)
from pretrain_eval._transfer import Array, as_array
from pretrain_eval.zoo import Model


def estimate(
    models: Mapping[str, Model] | Sequence[str],
    task: Task,
    *,
    by: Sequence[str] | None = None,
    layers: str | Mapping[str, str | Sequence[str]] = "last",
    num_samples: int | None = 2000,
    pairs: int = 10,
    seed: int = 0,
    runs: Iterable[Run] | RunStore | str | Path = (),
    heads: Mapping[str, str] | None = None,
    device: torch.device | str | None = None,
    progress: bool | Literal["log"] = True,
) -> Estimates:
    """What frozen features, and static facts, say of models on a task.

    Each model reads samples of the training split of every dataset once, as for
    head-only training; validation and reported split are not read. Beside every estimator stand
    the static baselines: log parameters, log multiply-accumulates, the accuracy that
    torchvision's weights state, and the mean rank on the other tasks of `runs`.

    Args:
        models: See `sweep`.
        task: Of one class a sample, or of numbers; others have static baselines only.
        by: Names of formulas in `functional`: for classes "logme", "h_score", "gbc",
            "transrate", "parc", "knn_accuracy", "nearest_mean_accuracy",
            "lda_accuracy", "probe_accuracy", "leep", "nce", and where asked for "nleep"
            and "h_score_unshrunk"; for numbers "logme" and "probe_r2". None: all that
            need not be asked for; empty: static baselines only.
        layers: Whose features formulas read. "last": what the head reads. "mean": the
            mean of that and of the blocks of the backbone that are as wide. "best": of
            that and of all blocks the one whose `probe_accuracy` or `probe_r2` is the
            largest by cross-validation on the same samples, which favours it slightly.
            A mapping from models to dotted paths: that layer, of several the best one;
            for models that are not in it, what the head reads. Maps are averaged over
            positions, `(N, C, H, W)`, or `(N, H, W, C)` as in Swin, sequences over
            tokens, `(N, T, C)`; layers that give no row a sample are left out. `leep` and `nce` read the head's answers
            whatever the layer.
        num_samples: The most that are read, drawn, the same for all models; None: all.
        pairs: Of halves, from whose differences intervals are made; 0: no intervals.
        seed: Of that draw, of halves and permutations, and of weights that are drawn.
        runs: Of the other tasks; or a store of them.
        heads: See `sweep`.
        device: See `sweep`.
        progress: Show how far it is, as `sweep` does.

    Raises:
        ValueError: A name is unknown or not defined for the task, a number is out of
            range, a layer is not there, or a model does not fit the task.

    >>> import pretrain_eval as pe
    >>> from torch import nn
    >>> from torch.utils.data import TensorDataset
    >>> def points(n):
    ...     x = torch.randn(n, 4, generator=torch.Generator().manual_seed(n))
    ...     return TensorDataset(x, (x[:, 0] > 0).long())
    >>> task = pe.Task(
    ...     "sign", datasets={"d": pe.Splits(points(64), points(65))}, num_classes=2
    ... )
    >>> class Only(nn.Module):
    ...     def __init__(self, column):
    ...         super().__init__()
    ...         self.column, self.head = column, nn.Linear(1, 3)
    ...
    ...     def forward(self, inputs):
    ...         return self.head(inputs[:, self.column, None])
    >>> estimates = pe.estimate(
    ...     {"first": Only(0), "last": Only(3)},
    ...     task,
    ...     by=["logme", "knn_accuracy"],
    ...     progress=False,
    ... )
    >>> estimates.best("logme"), estimates.best("knn_accuracy")
    ('first', 'first')
    """
    check_shown(progress)
    formulas = _formulas(task, by)
    _check(num_samples, pairs, seed)
    cells = _cells(models, task, seed, heads or {})
    check_layers(layers, list(models))
    known = _known(runs)
    check_fits(cells, device)
    ranks = ranks_on_other_tasks(known, task.name, [c.model_name for c in cells])
    found: list[Estimate] = []
    seconds: dict[str, float] = {}
    passes: dict[tuple[str, str], float] = {}
    with Progress(len(cells), "estimates", show=progress) as bar:
        for cell in cells:
            bar.note(cell.model_name)
            surroundings = Surroundings(device=device, baseline=False)
            draw = partial(_drawn, num_samples=num_samples, seed=seed)
            inner = wanted(layers, cell.model_name)
            seen = glimpse(cell, surroundings, draw if formulas else None, inner)
            seconds[cell.model_name] = seconds.get(cell.model_name, 0) + seen.seconds
            if formulas:
                passes[cell.model_name, cell.dataset] = seen.share
            facts = _static(cell, seen, ranks)
            found += [_named(cell, name, each) for name, each in facts]
            layer, rows = chosen_layer(seen, layers, cell.task, seed)
            for name, each in _estimated(seen, rows, formulas, seed, pairs):
                own = "" if name in SOURCE else layer
                found.append(_named(cell, name, each, own))
            bar.advance()
    return Estimates(estimates=tuple(found), seconds=seconds, passes=passes)


def _formulas(task: Task, by: Sequence[str] | None) -> dict[str, Formula]:
    """The formulas that are asked for, which the task allows."""
    if not isinstance(task, Task):
        raise TypeError(f"estimate expects a Task, got {type(task).__name__}")
    if isinstance(by, str) or not (by is None or isinstance(by, Iterable)):
        raise TypeError(f"estimate expects by as a list of names, got {by!r}")
    reads = task.kind.before == "frozen" and task.kind.place == "sample"
    known: dict[str, Formula] = {}
    if reads and task.num_classes is not None:
        known = OF_CLASSES
    elif reads and task.num_outputs is not None:
        known = OF_NUMBERS
    if by is None:
        return {name: each for name, each in known.items() if name not in ASKED}
    unknown = [name for name in by if name not in known]
    if unknown and not known:
        raise ValueError(
            f"estimators are defined for num_classes and num_outputs, and task"
            f" {task.name!r} is of kind {task.kind}; by=[] gives its static baselines"
        )
    if unknown:
        raise ValueError(
            f"estimate knows {list(known)} for task {task.name!r}, got {unknown}"
        )
    return {name: known[name] for name in by}


def _check(num_samples: int | None, pairs: int, seed: int) -> None:
    if num_samples is not None and (type(num_samples) is not int or num_samples < 4):
        raise ValueError(
            f"estimate expects num_samples of at least 4, or None, got {num_samples!r}"
        )
    if type(pairs) is not int or pairs < 0:
        raise ValueError(f"estimate expects pairs of at least 0, got {pairs!r}")
    if type(seed) is not int or seed < 0:
        raise ValueError(f"estimate expects seed as an int of at least 0, got {seed!r}")


def _cells(
    models: Mapping[str, Model] | Sequence[str],
    task: Task,
    seed: int,
    heads: Mapping[str, str],
) -> list[Cell]:
    """One a model and dataset."""
    trainable = "all" if task.kind.num_outputs is None else "head"
    sgd = partial(torch.optim.SGD, lr=1e-3)  # of which no step is taken on the model
    strategy = Strategy("estimate", optimizer=sgd, epochs=1, trainable=trainable)
    return grid_cells(models, [task], [strategy], [seed], heads)


def _known(runs: Iterable[Run] | RunStore | str | Path) -> tuple[Run, ...]:
    if isinstance(runs, str | Path):
        return stored(runs)
    return tuple(runs)


def _static(
    cell: Cell, seen: Glimpse, ranks: Mapping[str, float]
) -> Iterator[tuple[str, Measured]]:
    """The static baselines of a model."""
    values = {
        "log_parameters": (seen.num_parameters, "no parameters"),
        "log_macs": (seen.macs, "not counted"),
        "published_accuracy": (
            published_accuracy(cell.model),
            "no weights of torchvision, which would state it",
        ),
        "rank_on_other_tasks": (
            ranks.get(cell.model_name),
            "no runs of it and another model on other tasks",
        ),
    }
    for name, (value, lack) in values.items():
        if value is None or (name.startswith("log") and value <= 0):
            yield name, Measured(note=f"not known: {lack}")
        else:
            number = math.log10(value) if name.startswith("log") else value
            yield name, Measured(float(number))


def _drawn(number: int, num_samples: int | None, seed: int) -> Array | None:
    """Which of so many samples formulas read, in their order; None: all."""
    if num_samples is None or num_samples >= number:
        return None
    drawn = np.random.default_rng(seed).permutation(np.arange(number))
    return np.sort(drawn[:num_samples])


def _estimated(
    seen: Glimpse,
    rows: Array | None,
    formulas: Mapping[str, Formula],
    seed: int,
    pairs: int,
) -> Iterator[tuple[str, Measured]]:
    """What each formula says of what was seen."""
    if rows is None or seen.targets is None:
        return
    targets = as_array(seen.targets)
    chances = None
    if seen.probabilities is not None and any(name in SOURCE for name in formulas):
        chances = as_array(seen.probabilities())
    for name, formula in formulas.items():
        if name not in SOURCE:
            yield name, measured(name, formula, rows, targets, seed, pairs)
        elif chances is None:
            yield name, Measured(note="not defined: no head of source classes")
        else:
            yield name, measured(name, formula, chances, targets, seed, pairs)


def _named(cell: Cell, name: str, each: Measured, layer: str = "") -> Estimate:
    return Estimate(
        model=cell.model_name,
        task=cell.task.name,
        dataset=cell.dataset,
        name=name,
        value=each.value,
        better=STATICS.get(name, "higher"),
        null=each.null,
        low=each.low,
        high=each.high,
        seconds=each.seconds,
        note=each.note,
        layer=layer,
    )
