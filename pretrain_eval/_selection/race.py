"""A race between models: rounds of measurements, and who is dropped after each."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from numbers import Real
from typing import NamedTuple, Protocol

import numpy as np

from pretrain_eval._scoring.formulas import Array, share_first, t_quantile
from pretrain_eval._selection.counted import counted_on, variance_over_examples
from pretrain_eval._selection.evidence import Evidence
from pretrain_eval._selection.paired import drawn, error_of_mean, resolution

# With fewer the spread of blocks is no measure of what a seed may be worth.
_MANY_BLOCKS = 6


class Measured(NamedTuple):
    """What a round measured of one model.

    Attributes:
        values: `(num_blocks,)`, higher is better; NaN where a run has failed.
        steps: Optimizer steps that were taken for it and not before.
    """

    values: Array
    steps: float


class Field(Protocol):
    """Where the measurements of a race come from: trainings, or runs that exist."""

    @property
    def models(self) -> Sequence[str]:
        """The names of the candidates."""

    @property
    def seeds(self) -> Sequence[int]:
        """In the order in which they are run."""

    @property
    def tasks(self) -> Sequence[str]:
        """Of each block, which is a task's dataset under a strategy."""

    @property
    def num_examples(self) -> Array:
        """Of each block's validation split; NaN where that is not known."""

    @property
    def total_steps(self) -> float:
        """Optimizer steps of the whole grid."""

    @property
    def is_long(self) -> bool:
        """Whether a run has epochs enough that a part of it says something."""

    def epoch_steps(self, task: str, dataset: str) -> float:
        """Optimizer steps of one epoch on a dataset."""

    def measure(
        self, models: Sequence[str], seed: int, *, short: bool
    ) -> Mapping[str, Measured]:
        """One run of each model on every block, in part or whole."""


class Lead(NamedTuple):
    """How a model stands to the leader.

    Attributes:
        behind: How far it is behind it.
        error: The standard error of that over seeds.
        seeds: How far it may be off for new seeds, at what is spent on this look.
        examples: And for new validation examples; 0 where that is not known.
    """

    behind: float
    error: float
    seeds: float
    examples: float

    @property
    def reach(self) -> float:
        """How far it may be off for both."""
        return math.hypot(self.seeds, self.examples)


@dataclass(frozen=True)
class Rules:
    """When models are dropped and when the race ends.

    Attributes:
        confidence: With which the best of those that run at full length is not dropped,
            and the regret limit holds, over all looks together.
        tolerance: A regret that does not matter.
        budget: The most that may be spent, as a share of the grid's optimizer steps.
        short: The share of its epochs that a run of the first round has.
        keep: The share of the models that go on after the first round.
        at_least: How many go on at least.
        shortlist: The share of the models that evidence lets into the first round.
        shortest: How many it lets in at least.
    """

    _: KW_ONLY
    confidence: float = 0.95
    tolerance: float = 0.01
    budget: float = 1.0
    short: float = 0.25
    keep: float = 0.375
    at_least: int = 3
    shortlist: float = 0.5
    shortest: int = 8

    def __post_init__(self) -> None:
        for name in ("confidence", "short", "keep"):
            value = getattr(self, name)
            if not (_is_number(value) and 0 < value < 1):
                raise ValueError(f"{name} must lie between 0 and 1, got {value!r}")
        if not (_is_number(self.shortlist) and 0 < self.shortlist <= 1):
            raise ValueError(
                "shortlist must be a share of the models, above 0 and at most 1, got"
                f" {self.shortlist!r}"
            )
        if not (_is_number(self.tolerance) and 0 <= self.tolerance < math.inf):
            raise ValueError(f"tolerance must be at least 0, got {self.tolerance!r}")
        if not (_is_number(self.budget) and 0 < self.budget <= 1):
            raise ValueError(
                f"budget must be a share of the grid, above 0 and at most 1, got"
                f" {self.budget!r}"
            )


@dataclass(frozen=True)
class Round:
    """One round of a race.

    Attributes:
        seed: Which seed was run.
        short: Whether the runs were cut short.
        models: Who ran.
        means: The mean validation score of each, over all that it has run at this
            length.
        dropped: Who goes no further, and why.
        leader: Who is ahead.
        regret_limit: How much worse than the best of those that ran at full length the
            leader is at most, at the confidence asked for, for new seeds and, where it
            is known on how many the scores were counted, new validation examples; NaN
            before it is known.
        seeds_limit: The same for new seeds on these validation examples.
        cost_share: What was spent until now, as a share of the grid.
        reach: How far a model's difference from the leader may be off, at the
            confidence over all looks: it is dropped where it is further behind; none of
            those that no test compares, or where nothing is known yet.
    """

    seed: int
    short: bool
    models: tuple[str, ...]
    means: Mapping[str, float]
    dropped: Mapping[str, str]
    leader: str
    regret_limit: float
    seeds_limit: float
    cost_share: float
    reach: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """What is said of it when it is over."""
        limit = ""
        if not math.isnan(self.regret_limit):
            limit = f", at most {shown(self.regret_limit)} worse than the best"
        lost = f"; {len(self.dropped)} dropped" if self.dropped else ""
        return (
            f"seed {self.seed}, {'cut short' if self.short else 'whole'},"
            f" {len(self.models)} models: {self.leader} leads{limit}{lost};"
            f" {self.cost_share:.0%} of the grid"
        )


def shown(value: float) -> str:
    """A limit, in three digits; what is smaller is no certainty."""
    return f"{value:.3f}" if value >= 0.0005 else "0.0005"


@dataclass
class Race:
    """The state of a race over a field of models.

    Where there is evidence and candidates are many, those that rank last under it are
    not trained at all: a generous share stays, and what has no rank stays too.

    The first round is cut short and stratified: one seed of every block. Fidelity is a
    bias and no noise, so that the round drops by rank, generously, and by no test.
    Those that go on run at full length, one seed of every block after the other, paired
    by block and seed. After each seed a model is dropped that is worse than the leader
    by more than t·s, where s is the error of the mean difference over seeds, or over
    blocks while there is one seed, and t Student's quantile at what is spent on this
    look / (models − 1). What is spent on all looks together is 1 − confidence: over all
    looks and pairs the best of these models is dropped, or the regret limit exceeded,
    in at most so many races (Bonferroni; only comparisons with the best one matter, as
    in Hsu's multiple comparisons with the best, The Annals of Statistics 1984; an
    error spent unevenly over looks is Lan and DeMets', Biometrika 1983).

    That is of new seeds on the same validation examples, of which no seed makes more.
    The regret limit is of new examples too, where scores are shares of a known number:
    the error of two shares, as if their examples were others, is added. Seeds that could
    tell no more than examples leave open are not run.

    Attributes:
        field: Where measurements come from.
        rules: When to drop and when to end.
        rounds: Those that were run.
        on_round: Called with each round when it is over.
        evidence: What is known of the models before; none: all are trained.
        filtered: Who is not trained, worst rank last.
        stopped: Why it has ended.
    """

    field: Field
    rules: Rules
    on_round: Callable[[Round], None] | None = None
    evidence: Evidence = dataclasses.field(default_factory=Evidence)
    filtered: tuple[str, ...] = ()
    rounds: list[Round] = dataclasses.field(default_factory=list)
    stopped: str = ""
    _spent: float = 0.0
    _values: dict[str, list[Array]] = dataclasses.field(default_factory=dict)
    _seen: list[Array] = dataclasses.field(default_factory=list)
    _sizes: Array = dataclasses.field(default_factory=lambda: np.array([]))
    _leads_now: dict[str, Lead] = dataclasses.field(default_factory=dict)

    def run(self) -> None:
        """Run rounds until the rules end them."""
        alive = self._shortlisted()
        if self._runs_short(alive):
            alive = self._short_round(alive)
        num_full = len(alive)
        for seed in self.field.seeds:
            if self.rounds and self._cost_of(len(alive)) > self.rules.budget:
                self.stopped = "the budget is spent"
                return
            alive = self._full_round(alive, seed, num_full)
            if self.stopped:
                return
        self.stopped = "all seeds were run"

    def _shortlisted(self) -> list[str]:
        """Who is trained at all, the best evidence first; counts what it has cost."""
        models, rules = list(self.field.models), self.rules
        total = self.field.total_steps or math.inf
        # A pass is a part of an epoch, which goes backward too.
        for place, passes in self.evidence.passes.items():
            self._spent += passes * self.field.epoch_steps(*place) / total
        lost = self.evidence.filtered(models, rules.shortlist, rules.shortest)
        self.filtered = tuple(lost)
        return self.evidence.ordered(name for name in models if name not in lost)

    def _runs_short(self, models: list[str]) -> bool:
        keeps = max(self.rules.at_least, math.ceil(self.rules.keep * len(models)))
        return self.field.is_long and keeps < len(models)

    def _cost_of(self, num_models: int) -> float:
        """What a round of so many whole runs would bring the cost to."""
        runs = len(self.field.models) * len(self.field.seeds)
        return self._spent + num_models / runs

    def _measure(
        self, models: Sequence[str], seed: int, *, short: bool
    ) -> dict[str, Array]:
        found = self.field.measure(models, seed, short=short)
        total = self.field.total_steps or math.inf
        self._spent += sum(each.steps for each in found.values()) / total
        self._seen += [each.values for each in found.values()]
        return {name: each.values for name, each in found.items()}

    def _short_round(self, models: list[str]) -> list[str]:
        seed = self.field.seeds[0]
        values = self._measure(models, seed, short=True)
        means = {name: _mean(each) for name, each in values.items()}
        order = sorted(models, key=lambda name: -_known(means[name]))
        kept = max(self.rules.at_least, math.ceil(self.rules.keep * len(models)))
        dropped = {
            name: f"rank {order.index(name) + 1} of a short round"
            for name in order[kept:]
        }
        self._add(seed, True, models, means, dropped, order[0])
        return [name for name in models if name not in dropped]

    def _full_round(self, alive: list[str], seed: int, num_full: int) -> list[str]:
        for name, values in self._measure(alive, seed, short=False).items():
            self._values.setdefault(name, []).append(values)
        failed = {
            n: "a run has failed" for n in alive if np.isnan(self._values[n]).any()
        }
        running = [name for name in alive if name not in failed]
        if not running:
            self.stopped = "a run of every model has failed"
            self._add(seed, False, alive, {}, failed, alive[0])
            return alive
        means = {name: float(np.mean(self._values[name])) for name in running}
        leader = max(running, key=lambda name: means[name])
        leads = self._leads(leader, num_full)
        own = {name: leads[name] for name in running if name != leader}
        worse = {
            n: "worse than the leader"
            for n, lead in own.items()
            if lead.behind > lead.seeds
        }
        left = [name for name in running if name not in worse]
        regret = max([0.0, *(each.reach - each.behind for each in leads.values())])
        over_seeds = [own[n].seeds - own[n].behind for n in left if n != leader]
        limits = regret, max([0.0, *over_seeds])
        reach = {n: each.seeds for n, each in own.items() if math.isfinite(each.seeds)}
        dropped = {**failed, **worse}
        self._add(seed, False, alive, means, dropped, leader, limits, reach)
        self._leads_now = leads
        if len(left) == 1:
            self.stopped = "one model is left"
        elif regret <= self.rules.tolerance:
            self.stopped = "what could be lost is within the tolerance"
        elif limits[1] <= self.rules.tolerance:
            self.stopped = "what new seeds could tell is within the tolerance"
        elif all(_is_up_to_examples(own[name]) for name in left if name != leader):
            self.stopped = "only more validation examples could tell"
        return left

    def _leads(self, leader: str, num_full: int) -> dict[str, Lead]:
        """Of all that ran at full length, also those that were dropped since."""
        seen = np.array(self._seen)
        ahead = np.array(self._values[leader])
        alpha = self._error_of_look(len(ahead)) / max(num_full - 1, 1)
        steps = resolution(seen)
        self._sizes = counted_on(seen, self.field.num_examples)
        found = {}
        for name, values in self._values.items():
            own = np.array(values)
            if name == leader or np.isnan(own).any():
                continue
            gaps = ahead[: len(own)] - own
            error, freedom = error_of_mean(gaps, steps)
            seeds = t_quantile(1 - alpha, freedom) * error if freedom else math.inf
            variance = sum(self._variances((leader, name)))
            z = t_quantile(1 - alpha, math.inf)
            examples = z * math.sqrt(variance) if variance == variance else 0.0
            found[name] = Lead(float(gaps.mean()), error, seeds, examples)
        return found

    def _variances(self, models: Sequence[str]) -> list[float]:
        """Of each model's mean over new validation examples; NaN where unknown."""
        sizes, tasks = self._sizes, self.field.tasks
        shares = [np.mean(self._values[name], axis=0) for name in models]
        return [variance_over_examples(each, sizes, tasks) for each in shares]

    def _error_of_look(self, number: int) -> float:
        """What of 1 − confidence is spent on the look after so many seeds.

        Half on the first one, which saves the most, and the rest evenly. Where blocks
        are few, their spread is hardly known while there is one seed: all evenly; and
        nothing on the first look where there is one block, which tells nothing then.
        """
        error, looks = 1 - self.rules.confidence, len(self.field.seeds)
        if looks > 1 and len(self.field.tasks) == 1:
            return error / (looks - 1)
        if looks == 1 or len(self.field.tasks) < _MANY_BLOCKS:
            return error / looks
        return error / 2 if number == 1 else error / 2 / (looks - 1)

    def _add(
        self,
        seed: int,
        short: bool,
        models: Sequence[str],
        means: Mapping[str, float],
        dropped: Mapping[str, str],
        leader: str,
        limits: tuple[float, float] = (math.nan, math.nan),
        reach: Mapping[str, float] | None = None,
    ) -> None:
        self.rounds.append(
            Round(
                seed,
                short,
                tuple(models),
                means,
                dropped,
                leader,
                *limits,
                self._spent,
                reach or {},
            )
        )
        if self.on_round is not None:
            self.on_round(self.rounds[-1])

    @property
    def over(self) -> tuple[str, ...]:
        """What the regret limit and P(best) are of: new seeds, and new examples."""
        known = any(lead.examples for lead in self._leads_now.values())
        return ("seeds", "examples") if known else ("seeds",)

    @property
    def not_separable(self) -> tuple[str, ...]:
        """Who was not told from the leader, of those that ran at full length."""
        last = self.rounds[-1]
        leads = self._leads_now
        left = [n for n in last.models if n not in last.dropped and n != last.leader]
        near = [n for n, lead in leads.items() if lead.behind <= lead.reach]
        return (*left, *(name for name in near if name not in left))

    def p_best(self) -> dict[str, float]:
        """How probably each model is the best of those that are not separable from it."""
        last = self.rounds[-1]
        names = [last.leader, *self.not_separable]
        chances = dict.fromkeys(self.field.models, 0.0)
        if len(names) == 1 or last.short:
            return chances | dict.fromkeys(names[:1], 1.0)
        length = len(self._values[last.leader])
        left = [name for name in names if len(self._values[name]) == length]
        aside = [name for name in names if name not in left]
        variances = np.array(self._variances([*left, *aside]))
        draws = drawn(
            np.array([self._values[name] for name in left]),
            resolution(np.array(self._seen)),
            [self._leads_now[name][:2] for name in aside],
            variances if "examples" in self.over else None,
        )
        shares = map(float, share_first(draws))
        return chances | dict(zip([*left, *aside], shares, strict=True))


def _is_up_to_examples(lead: Lead) -> bool:
    """Whether more seeds would leave it where it is: within the error of examples."""
    return max(lead.seeds, lead.behind) <= lead.examples


def _mean(values: Array) -> float:
    return float(np.mean(values))


def _known(mean: float) -> float:
    return -math.inf if math.isnan(mean) else mean


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
