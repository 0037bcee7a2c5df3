"""Where steps and runs are seen while they happen: trackers, files and bars.

Each function gives what `attach(log=)` calls with the values of a step and its number;
`log_runs` hands finished runs to the same trackers.
"""

from __future__ import annotations

import csv as _csv
import json
import math
import os
import statistics
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from pretrain_eval._optional import needs
from pretrain_eval._runs import Run

Log: TypeAlias = Callable[[Mapping[str, float], int], object]


def tensorboard(writer: Any, *, prefix: str = "step/") -> Log:
    """To a `SummaryWriter` of `torch.utils.tensorboard` or tensorboardX.

    Args:
        writer: It has `add_scalar`; who made it closes it.
        prefix: Before each key.
    """

    def log(values: Mapping[str, float], step: int) -> None:
        for key, value in values.items():
            writer.add_scalar(prefix + key, value, step)

    return log


def wandb(run: Any = None, *, prefix: str = "step/") -> Log:
    """To a run of Weights & Biases, under an axis of its own, `step/number`.

    The run's own step may be counted by somebody else, and must never go back.

    Args:
        run: From `wandb.init`; None is the one that is active when a step comes.
        prefix: Before each key.
    """
    axis = f"{prefix}number"
    begun: list[Any] = []

    def log(values: Mapping[str, float], step: int) -> None:
        active = needs("wandb").run if run is None else run
        if active is None:
            raise RuntimeError("no run of Weights & Biases is active; call wandb.init")
        if active not in begun:
            begun.append(active)
            active.define_metric(f"{prefix}*", step_metric=axis)
        named = {prefix + key: value for key, value in values.items()}
        active.log(named | {axis: step})

    return log


def mlflow(run_id: str | None = None, *, prefix: str = "step/") -> Log:
    """To a run of MLflow.

    Args:
        run_id: Of the run; None is the active one.
        prefix: Before each key.
    """

    def log(values: Mapping[str, float], step: int) -> None:
        metrics = {prefix + key: float(value) for key, value in values.items()}
        needs("mlflow").log_metrics(metrics, step=step, run_id=run_id)

    return log


def trackio(run: Any = None, *, prefix: str = "step/") -> Log:
    """To a run of trackio.

    Args:
        run: From `trackio.init`; None is the active one.
        prefix: Before each key.
    """

    def log(values: Mapping[str, float], step: int) -> None:
        target = needs("trackio") if run is None else run
        target.log({prefix + key: value for key, value in values.items()}, step=step)

    return log


def csv(path: str | os.PathLike[str]) -> Log:
    """To a file of comma-separated values, a row a step; written on at its end.

    The columns are those of the first step; a value that comes later without a column
    is an error, which ends the log. Values that are not known are empty.

    Args:
        path: The file. One that exists must have the same columns.
    """
    file = Path(path)
    columns: list[str] = []

    def log(values: Mapping[str, float], step: int) -> None:
        row = {"step": step, **{k: v for k, v in values.items() if v == v}}
        if not columns:
            columns.extend(_columns(file, ["step", *values]))
        unknown = [key for key in row if key not in columns]
        if unknown:
            raise ValueError(
                f"{file} has the columns {columns}, and none for {unknown}"
            )
        with file.open("a", newline="", encoding="utf-8") as stream:
            writer = _csv.DictWriter(stream, columns, restval="", lineterminator="\n")
            writer.writerow(row)

    return log


def _columns(file: Path, wanted: list[str]) -> list[str]:
    """Those of the file, which is begun where it is not there."""
    if file.exists() and file.stat().st_size:
        with file.open(newline="", encoding="utf-8") as stream:
            return next(_csv.reader(stream))
    with file.open("w", newline="", encoding="utf-8") as stream:
        _csv.writer(stream, lineterminator="\n").writerow(wanted)
    return wanted


def jsonl(path: str | os.PathLike[str]) -> Log:
    """To a file of JSON, an object a step on a line of its own; written on at its end.

    What is not finite is null, which every reader of JSON takes.

    Args:
        path: The file.
    """
    file = Path(path)

    def log(values: Mapping[str, float], step: int) -> None:
        known = {k: v if abs(v) < float("inf") else None for k, v in values.items()}
        with file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"step": step, **known}) + "\n")

    return log


def tqdm(bar: Any, *, smoothing: float = 0.9) -> Log:
    """Beside a bar of tqdm, each value smoothed.

    Args:
        bar: It has `set_postfix`.
        smoothing: As of `smoothed`.

    Raises:
        ValueError: The smoothing is out of range.
    """

    def log(values: Mapping[str, float], step: int) -> None:
        bar.set_postfix({key: f"{mean:.3g}" for key, mean in values.items()})

    return smoothed(log, smoothing=smoothing)


def smoothed(log: Log, *, smoothing: float = 0.9) -> Log:
    """To another log, each value as an exponential moving average.

    The mean m of a value x becomes s·m + (1 − s)·x, begun at the first value; what is not
    known or infinite leaves it as it was.

    Args:
        log: Told the means of all keys, such as `tensorboard(writer, prefix="smooth/")`.
        smoothing: s, from 0 to below 1.

    Raises:
        ValueError: The smoothing is out of range.
    """
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing is from 0 to below 1, got {smoothing}")
    means: dict[str, float] = {}

    def told(values: Mapping[str, float], step: int) -> None:
        for key, value in values.items():
            if math.isfinite(value):
                before = means.get(key, value)
                means[key] = smoothing * before + (1 - smoothing) * value
        log(dict(means), step)

    return told


def medians(log: Log, *, window: int = 21) -> Log:
    """To another log, each value as the median of the newest ones, which no spike moves.

    What is not known or infinite is left out.

    Args:
        log: Told the medians of all keys, such as `csv("medians.csv")`.
        window: How many values of each key count, at most.

    Raises:
        ValueError: The window is empty.
    """
    if window < 1:
        raise ValueError(f"window is at least 1, got {window}")
    newest: dict[str, deque[float]] = {}

    def told(values: Mapping[str, float], step: int) -> None:
        for key, value in values.items():
            if math.isfinite(value):
                newest.setdefault(key, deque(maxlen=window)).append(value)
        log({key: statistics.median(kept) for key, kept in newest.items()}, step)

    return told


def several(*logs: Log) -> Log:
    """To each of several."""

    def log(values: Mapping[str, float], step: int) -> None:
        for each in logs:
            each(values, step)

    return log


def log_runs(runs: Iterable[Run], log_of: Callable[[Run], Log]) -> int:
    """Hand the curves and scores of finished runs to trackers.

    The validation curve goes under `valid/`, at its optimizer steps, the history of step
    metrics under its keys, and the scores under `score/`, at the last step.

    Args:
        runs: In any number, such as the path's `RunStore(path).runs()`.
        log_of: Called with a run, gives where it is logged, such as
            `lambda run: tensorboard(SummaryWriter(f"logs/{run.name}"), prefix="")`.

    Returns:
        How many runs were handed over.
    """
    number = 0
    for run in runs:
        log, last = log_of(run), 0
        for prefix, table in (("", run.history), ("valid/", run.curve)):
            steps = table.get("step", ())
            for row, step in enumerate(steps):
                values = {
                    prefix + key: column[row]
                    for key, column in table.items()
                    if key != "step" and column[row] == column[row]
                }
                last = max(last, int(step))
                if values:
                    log(values, int(step))
        scores = {f"score/{key}": value for key, value in run.scores.items()}
        if scores:
            log(scores, last)
        number += 1
    return number
