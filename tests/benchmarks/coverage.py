"""How often intervals hold the truth when there are few seeds, by simulation.

Tasks have a true score μ ~ U(.3, .9) and a spread over seeds σ ~ U(.005, .05); the
scores are normal. Run it with `python tests/benchmarks/coverage.py [simulations]`.
"""

from __future__ import annotations

import itertools
import sys

import numpy as np

import pretrain_eval as pe
from pretrain_eval._scoring.formulas.intervals import percentiles
from pretrain_eval._scoring.formulas.statistics import Array, iqm
from pretrain_eval._scoring.new_examples import macro_scores

NORMAL = np.array([pe_quantile / 1000 for pe_quantile in range(1, 1000)])


def runs_of(scores: Array, model: str = "a") -> list[pe.Run]:
    """Runs with the accuracies of an array (num_runs, num_tasks)."""
    return [
        pe.Run(
            model=model,
            task=f"t{task}",
            dataset="d",
            strategy="full",
            seed=seed,
            scores={"accuracy": accuracy},
            chance={"accuracy": 0.0},
        )
        for seed, row in enumerate(scores.tolist())
        for task, accuracy in enumerate(row)
    ]


def draw(rng: np.random.Generator, num_runs: int, num_tasks: int) -> tuple[Array, ...]:
    """True means, true spreads and the measured scores."""
    means = rng.uniform(0.3, 0.9, num_tasks)
    spreads = rng.uniform(0.005, 0.05, num_tasks)
    scores = rng.normal(means, spreads, (num_runs, num_tasks))
    return means, spreads, np.clip(scores, 0.0, 1.0)


def population_iqm(means: Array, spreads: Array) -> float:
    """The interquartile mean of infinitely many runs."""
    from scipy.special import ndtri

    return iqm(means + spreads * ndtri(NORMAL)[:, None])


def plain_bootstrap(scores: Array, rng: np.random.Generator) -> tuple[float, float]:
    """The percentile bootstrap of the mean without scaled residuals, for contrast."""
    num_runs, num_tasks = scores.shape
    picks = rng.integers(0, num_runs, (2000, num_runs, num_tasks))
    draws = np.take_along_axis(scores[None], picks, axis=1).mean(axis=(1, 2))
    low, high = percentiles(draws, 0.95).tolist()
    return low, high


def coverage_of_mean(num_runs: int, num_tasks: int, simulations: int) -> None:
    """The report's interval, and the plain bootstrap's, for the mean."""
    rng = np.random.default_rng(num_runs * 100 + num_tasks)
    held, plain, width = [], [], []
    for _ in range(simulations):
        means, _, scores = draw(rng, num_runs, num_tasks)
        interval = pe.PersistenceEvaluator().score(runs_of(scores)).interval
        held.append(interval.low <= means.mean() <= interval.high)
        width.append(interval.high - interval.low)
        low, high = plain_bootstrap(scores, rng)
        plain.append(low <= means.mean() <= high)
    print(
        f"mean         {num_runs} seeds × {num_tasks:2} tasks  {np.mean(held):.3f}"
        f"   plain bootstrap {np.mean(plain):.3f}   mean width {np.mean(width):.4f}"
    )


def coverage_of_iqm(num_runs: int, num_tasks: int, simulations: int) -> None:
    """The scaled bootstrap's interval for the interquartile mean."""
    rng = np.random.default_rng(num_runs * 100 + num_tasks)
    held = []
    for _ in range(simulations):
        means, spreads, scores = draw(rng, num_runs, num_tasks)
        low, high = pe.bootstrap_interval(scores, "iqm", replicates=2000)
        held.append(low <= population_iqm(means, spreads) <= high)
    print(f"IQM          {num_runs} seeds × {num_tasks:2} tasks  {np.mean(held):.3f}")


def coverage_of_reusability(num_runs: int, num_tasks: int, simulations: int) -> None:
    """The report's bootstrap interval for R = (M · D)^½ with its worst domain."""
    rng = np.random.default_rng(num_runs * 100 + num_tasks)
    held = []
    for _ in range(simulations):
        means, _, scores = draw(rng, num_runs, num_tasks)
        interval = pe.ReusabilityEvaluator().score(runs_of(scores)).interval
        truth = np.sqrt(means.mean() * (means.mean() + means.min()) / 2)
        held.append(interval.low <= truth <= interval.high)
    print(f"reusability  {num_runs} seeds × {num_tasks:2} tasks  {np.mean(held):.3f}")


def coverage_of_examples(
    num_classes: int, num_examples: int, accuracy: float, simulations: int
) -> None:
    """The interval for new examples of one run: macro recall, precision and F1.

    Classes of unequal size, errors spread unequally over the other classes.
    """
    rng = np.random.default_rng(num_classes * num_examples)
    pairs = np.array(np.divmod(np.arange(num_classes**2), num_classes))
    held: dict[str, list[bool]] = {key: [] for key in ("recall", "precision", "f1")}
    for _ in range(simulations):
        sizes = rng.dirichlet(np.full(num_classes, 5.0))
        errors = rng.dirichlet(np.full(num_classes, 0.5), num_classes)
        table = (1 - accuracy) * errors + accuracy * np.eye(num_classes)
        shares = (sizes[:, None] * table).ravel()
        counts = rng.multinomial(num_examples, shares)
        kept = np.flatnonzero(counts)
        run = pe.Run(
            model="a",
            task="t",
            dataset="d",
            strategy="full",
            seed=0,
            scores={
                key: float(macro_scores(key, pairs, counts.astype(float), num_classes))
                for key in held
            },
            confusion=tuple((*pairs[:, i].tolist(), int(counts[i])) for i in kept),
            settings={"num_classes": num_classes},
        )
        for key in held:
            interval = pe.PersistenceEvaluator(metric=key).score([run]).examples
            truth = macro_scores(key, pairs, shares, num_classes)
            held[key].append(interval.low <= truth <= interval.high)
    words = ", ".join(f"{key} {np.mean(found):.3f}" for key, found in held.items())
    print(
        f"examples     {num_examples:4} of {num_classes:2} classes, {accuracy:.0%}"
        f" or more right: {words}",
        flush=True,
    )


def coverage_of_decision(
    evaluator: pe.Evaluator, num_models: int, gap: float, simulations: int
) -> None:
    """Whether the best model is kept, the regret limit holds, and P(best) can be read.

    With a gap of 0 the true scores are equal, and a pick is right once in as many times
    as there are models.
    """
    rng = np.random.default_rng(num_models)
    kept, limited, sure, right = [], [], [], []
    for _ in range(simulations):
        base = rng.uniform(0.3, 0.8, 4)
        lifts = rng.normal(0, gap, num_models)
        runs = []
        for model, lift in enumerate(lifts):
            spreads = rng.uniform(0.005, 0.05, 4)
            scores = np.clip(rng.normal(base + lift, spreads, (3, 4)), 0.0, 1.0)
            runs += runs_of(scores, f"m{model}")
        found = evaluator.compare(runs)
        names = (found.best, *found.not_separable)
        kept.append(f"m{lifts.argmax()}" in names)
        chosen = int(found.best[1:])
        limited.append(lifts.max() - lifts[chosen] <= found.regret_limit)
        sure.append(found.p_best[found.best])
        right.append(chosen == lifts.argmax() if gap else 1 / num_models)
    certain = np.array(sure) > 0.95
    then = f"{np.array(right)[certain].mean():.2f}" if certain.any() else "–"
    print(
        f"decision     {evaluator.protocol}, {num_models:2} models, 3 seeds × 4 tasks,"
        f" gaps of {gap:.3f}: best kept {np.mean(kept):.3f}, regret limit held"
        f" {np.mean(limited):.3f}, P(best) of the pick {np.mean(sure):.2f}, pick right"
        f" {np.mean(right):.2f}, P(best) > .95 in {certain.mean():.3f}, right then"
        f" {then}",
        flush=True,
    )


def main() -> None:
    """Every cell, one line each."""
    simulations = int(sys.argv[1]) if len(sys.argv) > 1 else 600
    print(f"{simulations} simulations a line, nominal 0.95")
    for num_runs, num_tasks in ((2, 4), (3, 4), (3, 10), (5, 10)):
        coverage_of_mean(num_runs, num_tasks, simulations)
    for num_runs, num_tasks in ((3, 4), (3, 10), (5, 10)):
        coverage_of_iqm(num_runs, num_tasks, simulations)
        coverage_of_reusability(num_runs, num_tasks, simulations)
    for size in ((5, 50, 0.7), (5, 200, 0.8), (10, 200, 0.8), (5, 200, 0.97)):
        coverage_of_examples(*size, simulations)
    for num_models, gap in itertools.product((2, 5, 20), (0.0, 0.005, 0.01, 0.02)):
        coverage_of_decision(pe.PersistenceEvaluator(), num_models, gap, simulations)
    for num_models, gap in itertools.product((2, 5), (0.0, 0.02)):
        coverage_of_decision(pe.ReusabilityEvaluator(), num_models, gap, simulations)


if __name__ == "__main__":
    main()
