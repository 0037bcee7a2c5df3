"""The five protocols side by side, and the decision that follows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pretrain_eval._scoring.budget import Budget
from pretrain_eval._scoring.evaluator import AnyRuns, Evaluator
from pretrain_eval._scoring.model_runs import by_model
from pretrain_eval._scoring.protocols.optimizability import OptimizabilityEvaluator
from pretrain_eval._scoring.protocols.persistence import PersistenceEvaluator
from pretrain_eval._scoring.protocols.reusability import ReusabilityEvaluator
from pretrain_eval._scoring.protocols.usability import UsabilityEvaluator
from pretrain_eval._scoring.protocols.variability import VariabilityEvaluator
from pretrain_eval._scoring.reports.scorecard import PROTOCOLS, Scorecard
from pretrain_eval._scoring.scales import Ceiling, Chance, Direction


def scorecard(
    runs: AnyRuns,
    *,
    metric: str | Mapping[str, str] | None = None,
    better: Direction = None,
    chance: Chance = None,
    ceiling: Ceiling = None,
    scratch: str | Mapping[str, str] | None = None,
    budget: Budget | None = None,
    rope: float = 0.0,
    decided_by: str = "persistence",
) -> Scorecard:
    """Every protocol that the runs allow, for all their models.

    Args:
        runs: The runs of one or more models, or the path of a store of them.
        metric: Key of the metric that is read, or the key of each task; by default
            a task's first score. Variability reads recall and F1 beside accuracy.
        better: As in `Evaluator`, like the next two.
        chance: The level of a predictor that ignores its input.
        ceiling: The value of a perfect predictor.
        scratch: Name of the model from random weights, or each model's twin.
        budget: What usability and reusability hold costs against.
        rope: Differences of scores below it do not matter.
        decided_by: The protocol that ranks the models.

    Raises:
        ValueError: As `PersistenceEvaluator.compare`, for `decided_by`; a protocol that
            lacks what it reads is left out, and the scorecard says why.

    >>> from pretrain_eval._runs import Run
    >>> runs = [
    ...     Run(
    ...         model=model,
    ...         task="t",
    ...         dataset="d",
    ...         strategy="full",
    ...         seed=seed,
    ...         scores={"accuracy": accuracy + seed / 100},
    ...     )
    ...     for model, accuracy in {"a": 0.75, "b": 0.5}.items()
    ...     for seed in range(3)
    ... ]
    >>> scorecard(runs).best
    'a'
    """
    models = by_model(runs)
    if decided_by not in PROTOCOLS:
        raise ValueError(f"decided_by must be one of {PROTOCOLS}, got {decided_by!r}")
    known: dict[str, Any] = {
        "metric": metric,
        "better": better,
        "chance": chance,
        "ceiling": ceiling,
        "scratch": scratch,
        "rope": rope,
    }
    three = {**known, "metric": None if metric == "accuracy" else metric}
    evaluators: tuple[Evaluator, ...] = (
        OptimizabilityEvaluator(**known),
        UsabilityEvaluator(**known, budget=budget),
        VariabilityEvaluator(**three),
        ReusabilityEvaluator(**known, budget=budget),
        PersistenceEvaluator(**known),
    )
    found, absent = [], {}
    for evaluator in evaluators:
        try:
            found.append(evaluator.compare(models))
        except ValueError as error:
            if evaluator.protocol == decided_by:
                raise
            absent[evaluator.protocol] = str(error)
    return Scorecard(comparisons=tuple(found), absent=absent, decided_by=decided_by)
