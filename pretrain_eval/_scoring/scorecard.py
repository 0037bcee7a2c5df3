"""The five protocols side by side, and the decision that follows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pretrain_eval._runs import Run
from pretrain_eval._scoring.budget import Budget
from pretrain_eval._scoring.evaluator import Evaluator
from pretrain_eval._scoring.model_runs import by_model
from pretrain_eval._scoring.protocols.optimizability import OptimizabilityEvaluator
from pretrain_eval._scoring.protocols.persistence import PersistenceEvaluator
from pretrain_eval._scoring.protocols.reusability import ReusabilityEvaluator
from pretrain_eval._scoring.protocols.usability import UsabilityEvaluator
from pretrain_eval._scoring.protocols.variability import VariabilityEvaluator
from pretrain_eval._scoring.reports.scorecard import PROTOCOLS, Scorecard


def scorecard(
    runs: Iterable[Run],
    *,
    metric: str | Mapping[str, str] = "accuracy",
    scratch: str | Mapping[str, str] | None = None,
    budget: Budget | None = None,
    decided_by: str = "persistence",
) -> Scorecard:
    """Every protocol that the runs allow, for all their models.

    Args:
        runs: The runs of one or more models.
        metric: Key of the metric that is read, or the key of each task. Variability
            reads recall and F1 beside "accuracy".
        scratch: Name of the model from random weights, or each model's twin.
        budget: What usability and reusability hold costs against.
        decided_by: The protocol that ranks the models.

    Raises:
        ValueError: As `PersistenceEvaluator.compare`, for `decided_by`; a protocol that
            lacks what it reads is left out, and the scorecard says why.

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
    variability = None if metric == "accuracy" else metric
    evaluators: tuple[Evaluator, ...] = (
        OptimizabilityEvaluator(metric=metric, scratch=scratch),
        UsabilityEvaluator(metric=metric, scratch=scratch, budget=budget),
        VariabilityEvaluator(metric=variability, scratch=scratch),
        ReusabilityEvaluator(metric=metric, scratch=scratch, budget=budget),
        PersistenceEvaluator(metric=metric, scratch=scratch),
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
