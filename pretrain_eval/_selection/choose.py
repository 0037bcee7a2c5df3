"""A race over trainings: which model to use, before the whole grid is run."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
import torch
from torch.utils.data import DataLoader

from pretrain_eval._runs import Run, RunStore, Status
from pretrain_eval._selection.choice import Choice, choice_of
from pretrain_eval._selection.estimates import Estimates
from pretrain_eval._selection.evidence import evidence_of
from pretrain_eval._selection.measures import (
    Block,
    datasets_of,
    direction,
    first_key,
    last_value,
)
from pretrain_eval._selection.race import Measured, Race, Rules
from pretrain_eval._sweep import (
    Keeper,
    Kept,
    Keys,
    Progress,
    Resources,
    Stage,
    check_shown,
    cut_short,
    grid_cells,
    lasting,
    opened,
    swept,
)
from pretrain_eval._tasks import Task
from pretrain_eval._training import Cell, Strategy, check_fits
from pretrain_eval.zoo import Model


def choose(
    models: Mapping[str, Model] | Sequence[str],
    tasks: Sequence[Task],
    strategies: Sequence[Strategy],
    seeds: Iterable[int] = range(5),
    *,
    confidence: float = 0.95,
    tolerance: float = 0.01,
    budget: float = 1.0,
    short: float = 0.25,
    keep: float = 0.375,
    metric: str | None = None,
    store: RunStore | str | Path | None = None,
    heads: Mapping[str, str] | None = None,
    device: torch.device | str | Sequence[str] | None = None,
    workers: int = 1,
    executor: Executor | None = None,
    timeout: float | None = None,
    retry: Collection[Status] = (),
    save: str | Path | None = None,
    progress: bool | Literal["log"] = True,
    draws: Literal["cell", "seed"] = "cell",
    estimates: Estimates | Sequence[Estimates] = (),
    shortlist: float = 0.5,
) -> Choice:
    """Race the models, and stop when the decision is sure enough.

    The first round trains every model for a share of the epochs, with one seed of every
    task, dataset and strategy, and drops by rank, generously. The others go on from
    their checkpoints to full length, one seed after the other; those that are worse
    than the leader are dropped by tests whose error over all rounds is at most
    1 − `confidence`. Validation decides; the reported split is read by the runs that
    end, and by no decision.

    It ends when one model is left, when what could be lost is within the tolerance,
    when the budget is spent, or when all seeds were run. With a store, what was trained
    is not trained again, and the runs serve a later sweep.

    Estimates filter and races decide: of more than eight candidates those that rank
    last under `estimates` are not trained at all. They choose nothing else.

    Args:
        models: See `sweep`.
        tasks: See `sweep`; all are scored by one metric.
        strategies: See `sweep`.
        seeds: The most that are run, in their order; at least 2.
        confidence: With which the limit holds and the best is not dropped, of the
            models that run at full length.
        tolerance: A difference that does not matter, in units of the metric.
        budget: The most that may be spent, as a share of the grid's optimizer steps; at
            least what the first rounds take.
        short: The share of its epochs that a run of the first round has.
        keep: The share of the models that go on after the first round, at least 3.
        metric: The key that decides; by default the first of the tasks' metrics.
        store: See `sweep`; checkpoints lie in a folder beside it until the end.
        heads: See `sweep`.
        device: See `sweep`.
        workers: See `sweep`; each is started once. All runs of a round are under way
            as soon as there is a worker for them; the next round waits for the last of
            them, by which it is decided.
        executor: See `sweep`; with a store, on this machine.
        timeout: See `sweep`, for one run of one round.
        retry: See `sweep`.
        save: A folder for the trained weights of the chosen model's runs, as `sweep`
            keeps them.
        progress: Show how far it is, as `sweep` does, and the trail.
        draws: See `sweep`.
        estimates: What `estimate` gave, of one of the tasks, or a list, one a task. A
            model's rank is the mean over all names in them that have values, and over
            datasets; `Estimates.only` chooses names, and in a race on several tasks
            "rank_on_other_tasks" has no say, since these may be each other's. A pass of
            a model over training samples counts as an epoch.
        shortlist: The share of the models that estimates let into the first round, at
            least 8; a model of which they say nothing is let in.

    Raises:
        TypeError: Estimates are none.
        ValueError: A number is out of range, there is one model or one seed, tasks are
            scored by different metrics, estimates are of other tasks, or what `sweep`
            refuses.
    """
    rules = Rules(
        confidence=confidence,
        tolerance=tolerance,
        budget=budget,
        short=short,
        keep=keep,
        shortlist=shortlist,
    )
    check_shown(progress)
    seeds = list(seeds)
    cells = grid_cells(models, tasks, strategies, seeds, heads or {}, draws)
    _check(cells, seeds)
    if budget * len(cells) < 1:
        raise ValueError(
            f"choose expects a budget of one run at least, {1 / len(cells):.3g} of this"
            f" grid, got {budget!r}"
        )
    resources = Resources(
        device=device, workers=workers, executor=executor, timeout=timeout
    )
    blocks = dict.fromkeys(map(_block, cells))
    names = dict.fromkeys(cell.model_name for cell in cells)
    evidence = evidence_of(estimates, list(names), datasets_of(blocks))
    check_fits(cells, resources.only_device)
    with (
        opened(store) as keeper,
        _checkpoints(keeper) as folder,
        Progress(len(cells), "runs", show=progress) as bar,
        lasting(resources) as resources,
    ):
        field = Trained(cells, resources, keeper, folder, retry, bar, short, metric)
        field.keep_in(Kept.at(save, field.keys, is_due=False))
        race = Race(
            field, rules, lambda each: bar.say(each.sentence), evidence=evidence
        )
        race.run()
        choice = choice_of(race, field.runs())
        return replace(choice, runs=field.keep_only(choice.model))


def _check(cells: Sequence[Cell], seeds: Sequence[int]) -> None:
    names = list(dict.fromkeys(cell.model_name for cell in cells))
    if len(names) < 2:
        raise ValueError(f"choose expects two models or more, got {names}")
    if len(seeds) < 2:
        raise ValueError(
            f"choose expects two seeds or more, so that it can tell luck from merit, got"
            f" {list(seeds)}"
        )
    without = [cell.name for cell in cells if cell.strategy.train is not None]
    if without:
        raise ValueError(
            f"choose reads validation curves, which a training of one's own has not:"
            f" {without[0]}; sweep it instead"
        )


@contextmanager
def _checkpoints(keeper: Keeper) -> Iterator[Path]:
    """The folder of the checkpoints, beside the store, or for a while."""
    if keeper.path is None:
        with tempfile.TemporaryDirectory() as name:
            yield Path(name)
        return
    folder = keeper.path.with_name(f"{keeper.path.name}.checkpoints")
    folder.mkdir(exist_ok=True)
    yield folder
    # A race that was ended by force continues from what is there.
    for file in folder.glob("*.pt"):
        file.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()


@final
class Trained:
    """Trainings as a field of a race.

    Args:
        cells: Of the whole grid.
        resources: Where they are run.
        keeper: Where runs are kept.
        folder: Of the checkpoints.
        retry: Statuses that are tried again.
        progress: Told of every run.
        short: The share of the epochs of a short run.
        metric: The key that decides; None: the first of the curves.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        resources: Resources,
        keeper: Keeper,
        folder: Path,
        retry: Collection[Status],
        progress: Progress,
        short: float,
        metric: str | None,
    ) -> None:
        self._cells, self._resources, self._keeper = cells, resources, keeper
        self._folder, self._retry, self._progress = folder, retry, progress
        self._short, self._metric = short, metric
        self.keys = Keys(progress.note)
        self.kept = Kept(None, self.keys)
        self._foreign: set[Path] = set()
        self._runs: dict[str, Run] = {}
        self._begun: set[str] = set()
        self.models = tuple(dict.fromkeys(cell.model_name for cell in cells))
        self.seeds = tuple(dict.fromkeys(cell.seed for cell in cells))
        self.blocks: tuple[Block, ...] = tuple(dict.fromkeys(map(_block, cells)))
        self.tasks = tuple(task for task, _, _ in self.blocks)
        firsts = {_block(cell): cell for cell in reversed(cells)}
        self.num_examples = np.array([_num_valid(firsts[b]) for b in self.blocks])

    @property
    def total_steps(self) -> float:
        """Of the whole grid, where a run has as many batches as it will have."""
        return float(sum(map(_epochs, self._cells)))

    @property
    def is_long(self) -> bool:
        """Whether some strategy has epochs enough to be cut short."""
        return any(self._cut(cell) < _epochs(cell) for cell in self._cells)

    def epoch_steps(self, task: str, dataset: str) -> float:
        """One: epochs are what is counted here."""
        return 1.0

    def measure(
        self, models: Sequence[str], seed: int, *, short: bool
    ) -> dict[str, Measured]:
        """Train, and read the validation curves."""
        chosen = [c for c in self._cells if c.model_name in models and c.seed == seed]
        runs = swept(
            chosen,
            self.keys,
            self._resources,
            self._keeper,
            self._retry,
            self._progress,
            kept=self.kept,
            stage=Stage(self._folder, self._short if short else None),
        )
        key = self._metric or first_key(runs)
        sign = direction(runs, key)
        found: dict[str, list[float]] = {name: [] for name in models}
        steps = dict.fromkeys(models, 0.0)
        for cell, run in zip(chosen, runs, strict=True):
            found[cell.model_name].append(sign * last_value(run, key))
            steps[cell.model_name] += self._new_epochs(cell, short)
            self._runs[cell.name] = run
        return {n: Measured(np.array(v), steps[n]) for n, v in found.items()}

    def runs(self) -> tuple[Run, ...]:
        """What was run, in the order of the grid."""
        return tuple(
            self._runs[cell.name] for cell in self._cells if cell.name in self._runs
        )

    def keep_in(self, kept: Kept) -> None:
        """Where weights are kept; what is there already stays."""
        self.kept = kept
        files = [kept.file(cell) for cell in self._cells]
        self._foreign = {file for file in files if file is not None and file.exists()}

    def _is_own(self, cell: Cell) -> bool:
        file = self.kept.file(cell)
        return file is not None and file not in self._foreign

    def keep_only(self, model: str) -> tuple[Run, ...]:
        """Keep the weights of one model's whole runs, and no others; all runs."""
        for cell in self._cells:
            if cell.model_name != model and self._is_own(cell):
                self.kept.remove(cell)
                if cell.name in self._runs:
                    run = self._runs[cell.name]
                    self._runs[cell.name] = replace(run, weights="")
        if self.kept.folder is not None:
            whole = [
                cell
                for cell in self._cells
                if cell.model_name == model
                and cell.name in self._runs
                and self._runs[cell.name].status == "completed"
            ]
            kept = replace(self.kept, is_due=True)
            runs = swept(
                whole,
                self.keys,
                self._resources,
                self._keeper,
                self._retry,
                self._progress,
                kept=kept,
            )
            names = [cell.name for cell in whole]
            self._runs |= dict(zip(names, runs, strict=True))
        return self.runs()

    def _cut(self, cell: Cell) -> int:
        """Epochs after which a short run is left."""
        return cut_short(_epochs(cell), self._short)

    def _new_epochs(self, cell: Cell, short: bool) -> float:
        """Epochs that this round added to what an earlier one had done."""
        begun = self._cut(cell) if cell.name in self._begun else 0
        self._begun.add(cell.name)
        return (self._cut(cell) if short else _epochs(cell)) - begun


def _epochs(cell: Cell) -> int:
    return cell.strategy.epochs or 1


def _num_valid(cell: Cell) -> float:
    """Examples of the validation split; NaN of batches that do not say it."""
    split = cell.raw_splits.valid
    try:
        held: Any = split.dataset if isinstance(split, DataLoader) else split
        return float(len(held))
    except TypeError:
        return math.nan


def _block(cell: Cell) -> Block:
    return cell.task.name, cell.dataset, cell.strategy.name
