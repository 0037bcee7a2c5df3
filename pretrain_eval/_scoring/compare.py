"""The models of some runs ranked, by the protocol that people ask for first."""

from __future__ import annotations

from pretrain_eval._scoring.evaluator import AnyRuns, Evaluator
from pretrain_eval._scoring.protocols.persistence import PersistenceEvaluator
from pretrain_eval._scoring.reports.comparison import Comparison


def compare(runs: AnyRuns, evaluator: Evaluator | None = None) -> Comparison:
    """The models ranked, with what these runs cannot tell apart.

    Args:
        runs: Of two or more models: records, an open store, or the path of one.
        evaluator: Says what is asked; by default `PersistenceEvaluator()`, which ranks
            by the mean over the grid of tasks, datasets and strategies.

    Raises:
        ValueError: As `Evaluator.compare`.
        FileNotFoundError: There is no store at the path.

    >>> from pretrain_eval._runs import Run
    >>> names = {"task": "t", "dataset": "d", "strategy": "full", "seed": 0}
    >>> runs = [
    ...     Run(model=model, scores={"accuracy": accuracy}, **names)
    ...     for model, accuracy in {"a": 0.5, "b": 0.75}.items()
    ... ]
    >>> compare(runs).best
    'b'
    """
    if evaluator is not None and not isinstance(evaluator, Evaluator):
        raise TypeError(
            "compare expects an evaluator such as PersistenceEvaluator(), got"
            f" {evaluator!r}"
        )
    return (PersistenceEvaluator() if evaluator is None else evaluator).compare(runs)
