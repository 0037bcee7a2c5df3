"""Estimates of models: printed, ranked, and held against fine-tunings that exist."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import TYPE_CHECKING, final

import numpy as np

from pretrain_eval._runs import Better, Run
from pretrain_eval._scoring.reports import Row, Sheet
from pretrain_eval._selection.statics import means_by_model

if TYPE_CHECKING:
    import pandas


@final
@dataclass(frozen=True)
class Estimate:
    """What one estimator, or a static baseline, says of a model on a dataset.

    Attributes:
        model: Its name.
        task: The task's name.
        dataset: The label.
        name: Of the estimator.
        value: NaN where it is not defined.
        better: Which direction.
        null: Its mean for permuted targets; NaN for static baselines.
        low: The lower end of the interval for new examples, of 95 %; NaN where unknown.
        high: The upper end.
        seconds: What the value took, without the features.
        note: Where it is not defined, or says little.
        layer: Whose features were read, where it is not what the head reads.
    """

    _: KW_ONLY
    model: str
    task: str
    dataset: str
    name: str
    value: float
    better: Better = "higher"
    null: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    seconds: float = 0.0
    note: str = ""
    layer: str = ""

    def row(self) -> Row:
        """Plain values, None where there is none."""
        fields = {name: value for name, value in vars(self).items() if name != "_"}
        return {
            name: None if isinstance(value, float) and np.isnan(value) else value
            for name, value in fields.items()
        }


@final
@dataclass(frozen=True)
class Estimates:
    """Estimates of several models on a task; prints as a table.

    An estimate filters candidates; it decides nothing, until `agreement` has shown that
    it ranks models of this kind on tasks of this kind better than static baselines do.

    Attributes:
        estimates: One a model, dataset and estimator.
        seconds: By model, what reading the features took, of all datasets.
        passes: By model and dataset, the share of the training split that was read.
    """

    _: KW_ONLY
    estimates: tuple[Estimate, ...]
    seconds: dict[str, float]
    passes: dict[tuple[str, str], float] = field(default_factory=dict)

    @property
    def task(self) -> str:
        """The task's name."""
        return self.estimates[0].task

    def only(self, names: Sequence[str]) -> Estimates:
        """Those of some estimators, as a race may be given them; what was read stays.

        Raises:
            TypeError: The names are one text.
            ValueError: There is none of some name.
        """
        if isinstance(names, str):
            raise TypeError(f"only expects a list of names, got {names!r}")
        chosen = tuple(each for name in names for each in self.of(name))
        if not chosen:
            raise ValueError(f"only expects some of {self.names}, got none")
        return replace(self, estimates=chosen)

    def __iter__(self) -> Iterator[Estimate]:
        """One a model, dataset and estimator."""
        return iter(self.estimates)

    def __len__(self) -> int:
        return len(self.estimates)

    def of(self, name: str) -> tuple[Estimate, ...]:
        """Those of one estimator.

        Raises:
            ValueError: There is none of that name.
        """
        found = tuple(each for each in self.estimates if each.name == name)
        if not found:
            raise ValueError(f"there are estimates by {self.names}, got {name!r}")
        return found

    @property
    def names(self) -> list[str]:
        """Of the estimators and static baselines."""
        return list(dict.fromkeys(each.name for each in self.estimates))

    def best(self, name: str, dataset: str | None = None) -> str:
        """The model that an estimator ranks first, of several datasets by mean rank.

        Args:
            name: Of the estimator, or a static baseline.
            dataset: The only one that counts; None: all.

        Raises:
            ValueError: The name is unknown, or no value of it is defined.
        """
        ranks: dict[str, list[float]] = {}
        for label in dict.fromkeys(each.dataset for each in self.of(name)):
            if dataset not in (None, label):
                continue
            values = self._values(name, label)
            for model, value in values.items():
                above = sum(each > value for each in values.values())
                ranks.setdefault(model, []).append(float(above))
        # A model without a value on some dataset is not compared with those that have.
        most = max(map(len, ranks.values()), default=0)
        if most == 0:
            raise ValueError(f"{name} is defined for no model: {self.of(name)[0].note}")
        whole = {model: each for model, each in ranks.items() if len(each) == most}
        return min(whole, key=lambda model: float(np.mean(whole[model])))

    def ranks(self, name: str, dataset: str, models: Sequence[str]) -> dict[str, float]:
        """Ranks of models under one estimator on a dataset, 1 the best, ties shared.

        Args:
            name: Of the estimator, or a static baseline.
            dataset: The label.
            models: Who is ranked; those without a value are left out, and all where
                fewer than two have one.

        Raises:
            ValueError: There is no estimator of that name.
        """
        values = self._values(name, dataset)
        values = {model: values[model] for model in models if model in values}
        if len(values) < 2:
            return {}
        every = np.array(list(values.values()))
        return {
            model: float((every > value).sum() + ((every == value).sum() + 1) / 2)
            for model, value in values.items()
        }

    def agreement(self, runs: Sequence[Run], metric: str | None = None) -> Sheet:
        """How well each estimator ranks the models, against fine-tunings that exist.

        By estimator and static baseline: Kendall's τ, weighted towards the top of the
        ranks, and the regret, how far the pick's score is below the best one's, in
        units of the metric; means over the datasets. A model's score is the mean over
        strategies and seeds of what its runs report; only models with a score and a
        value are compared, and `num_models` says of the fewest how many these are.

        Args:
            runs: Fine-tunings of these models on this task.
            metric: The key of the score; by default the first of the runs.

        Raises:
            ValueError: Fewer than two models have a run here.

        Source: Vigna, A Weighted Correlation Index for Rankings with Ties, WWW 2015.
        """
        task = self.task
        found = [run for run in runs if run.task == task]
        records, key = [], metric
        for name in self.names:
            rows = []
            for label in dict.fromkeys(each.dataset for each in self.of(name)):
                here = [run for run in found if run.dataset == label]
                scores, sign, key = means_by_model(here, metric)
                row = _compared(self._values(name, label), scores, sign)
                rows += [] if row is None else [row]
            records.append(_agreement(name, rows))
        if all(record["num_models"] is None for record in records):
            raise ValueError(
                f"agreement expects runs of two models or more on task {task!r}, got"
                f" {sorted({(run.task, run.model) for run in runs})}"
            )
        records.sort(key=_regret)
        return Sheet(
            f"agreement with fine-tuning, {key}",
            tuple(records),
            ("τ of three models or fewer is chance; compare with the static rows.",),
        )

    def to_pandas(self) -> pandas.DataFrame:
        """A row an estimate.

        Raises:
            ImportError: pandas is not installed.
        """
        return self.sheet().to_pandas()

    def sheet(self) -> Sheet:
        """The table, which exports to Markdown, LaTeX, HTML, CSV and pandas."""
        rows = tuple(each.row() for each in self.estimates)
        return Sheet(f"estimates for {self.task}", rows)

    def __str__(self) -> str:
        columns = ["model", "dataset", "name", "value", "null", "low", "high", "note"]
        if any(each.layer for each in self.estimates):
            columns.append("layer")
        rows = tuple(
            {column: row[column] for column in columns} for row in self.sheet().records
        )
        note = f"features: {sum(self.seconds.values()):.1f} s for all models"
        return str(Sheet(self.sheet().title, rows, (note,)))

    def _repr_html_(self) -> str:
        return self.sheet()._repr_html_()

    def _values(self, name: str, dataset: str) -> dict[str, float]:
        """By model, signed so that higher is better; what is defined."""
        return {
            each.model: each.value if each.better == "higher" else -each.value
            for each in self.of(name)
            if each.dataset == dataset and not np.isnan(each.value)
        }


def _compared(
    values: dict[str, float], scores: dict[str, float], sign: int
) -> tuple[float, float, int] | None:
    """τ, regret and the number of models."""
    from scipy.stats import weightedtau

    models = [model for model in values if model in scores]
    if len(models) < 2:
        return None
    guesses = np.array([values[model] for model in models])
    truth = sign * np.array([scores[model] for model in models])
    varies = np.ptp(truth) > 0 and len(set(guesses.tolist())) > 1
    tau = float(weightedtau(truth, guesses).statistic) if varies else 0.0
    # Of equal guesses any may be picked.
    picked = truth[guesses == guesses.max()].mean()
    return tau, float(truth.max() - picked), len(models)


def _agreement(name: str, rows: Sequence[tuple[float, float, int]]) -> Row:
    if not rows:
        return {"estimator": name, "tau": None, "regret": None, "num_models": None}
    tau, regret, _ = np.mean(rows, axis=0)
    fewest = min(row[2] for row in rows)
    return {
        "estimator": name,
        "tau": float(tau),
        "regret": float(regret),
        "num_models": fewest,
    }


def _regret(record: Row) -> float:
    regret = record["regret"]
    return float(regret) if regret is not None else float("inf")
