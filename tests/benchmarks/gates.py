"""How often a gate is sure and wrong where fine-tunings vary with their seed.

Two models on one task of 400 examples, fine-tuned with three seeds; an example is as
hard for both. The gates are given the same bits: statgate and evalsig, which compare two
evaluations example by example, once with the first seed of each and once with all three
as repetitions or means of an example; and a comparison of this library. Each is asked
whether one of the two is better, at 95 % and with a margin of 0. Run it with
`python tests/benchmarks/gates.py [simulations]`; needs `pip install statgate evalsig`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.random import Generator

import pretrain_eval as pe

EXAMPLES, SEEDS, ACCURACY = 400, 3, 0.7
Bits = Any  # (num_models, num_seeds, num_examples) of bool


def draw(rng: Generator, gap: float, spread: float) -> Bits:
    """What each fine-tuning gets right; model 0 is better by the gap in the mean."""
    hard = rng.uniform(size=EXAMPLES)
    means = np.array([ACCURACY + gap, ACCURACY])
    levels = means[:, None] + rng.normal(0, spread, (2, SEEDS))
    luck = rng.uniform(size=(2, SEEDS, EXAMPLES))
    own = rng.uniform(size=luck.shape) < 0.3
    return np.where(own, luck, hard) < levels[..., None]


def here(bits: Bits) -> int | None:
    """The model that a comparison says to use, for new seeds and examples."""
    runs = [
        pe.Run(
            model=str(model),
            task="t",
            dataset="d",
            strategy="full",
            seed=seed,
            scores={"accuracy": float(row.mean())},
            chance={"accuracy": 0.0},
            num_examples=EXAMPLES,
            outcomes=pe.Outcomes.of("accuracy", "t", row.tolist()),
        )
        for model, rows in enumerate(bits)
        for seed, row in enumerate(rows)
    ]
    comparison = pe.PersistenceEvaluator().compare(runs)
    return int(comparison.best) if comparison.verdict == "use" else None


def by_statgate(num_seeds: int) -> Callable[[Bits], int | None]:
    """Its verdict, runs of a case being repetitions; None where it is not installed."""
    from statgate import EvalRecord, GateSettings, evaluate_gate

    settings = GateSettings(margin=0.0, seed=0, resamples=1000, permutations=100)

    def records(rows: Bits) -> list[Any]:
        return [
            EvalRecord(case_id=str(case), score=float(bit), run_index=seed)
            for seed, row in enumerate(rows[:num_seeds])
            for case, bit in enumerate(row)
        ]

    def decide(bits: Bits) -> int | None:
        report = evaluate_gate(records(bits[1]), records(bits[0]), settings)
        return {"SHIP": 0, "BLOCK": 1}.get(report.verdict.name)

    return decide


def by_evalsig(num_seeds: int) -> Callable[[Bits], int | None]:
    """Its paired comparison of the means over seeds of each item."""
    from evalsig.compare.compare import compare
    from evalsig.types import ItemResult, RunFrame

    def frame(name: str, rows: Bits) -> Any:
        means = rows[:num_seeds].mean(axis=0).tolist()
        items = [ItemResult(str(item), each) for item, each in enumerate(means)]
        return RunFrame(name, name, "t", "accuracy", items)

    def decide(bits: Bits) -> int | None:
        found = compare(frame("1", bits[1]), frame("0", bits[0]), n_resamples=1000)
        if not found.significant:
            return None
        return 0 if found.delta > 0 else 1

    return decide


def gates() -> dict[str, Callable[[Bits], int | None]]:
    """Those that are installed."""
    found = {"pretrain_eval, 3 seeds": here}
    for name, make in (("statgate", by_statgate), ("evalsig", by_evalsig)):
        try:
            found |= {f"{name}, 1 seed": make(1), f"{name}, 3 seeds": make(SEEDS)}
        except ImportError:
            print(f"{name} is skipped: pip install {name}")
    return found


def main() -> None:
    """A line a world and gate."""
    simulations = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    print(f"{simulations} simulations a line, {EXAMPLES} examples, asked at 95 %")
    for gap, spread in ((0.0, 0.0), (0.0, 0.02), (0.01, 0.02), (0.05, 0.02)):
        rng = np.random.default_rng(0)
        worlds = [draw(rng, gap, spread) for _ in range(simulations)]
        print(f"true gap {gap:.2f}, seeds spread by {spread:.2f}")
        for name, decide in gates().items():
            said = [decide(bits) for bits in worlds]
            wrong = [each == 1 or (each == 0 and gap == 0) for each in said]
            right = [each == 0 and gap > 0 for each in said]
            print(
                f"  {name:24} sure and wrong {np.mean(wrong):.3f},"
                f" sure and right {np.mean(right):.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
