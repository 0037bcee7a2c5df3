"""How long 10,000 runs of 20 models take to be scored and compared: under 2 seconds.

All five protocols, one after the other and as a scorecard. Processor time, the shortest
of five; run it with `OMP_NUM_THREADS=1 python tests/benchmarks/scoring_speed.py`.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

import pretrain_eval as pe

BUDGET = pe.Budget(
    parameters=(1e5, 1e7), macs=(1e7, 1e9), seconds=(0.1, 10), peak_memory=(1e6, 1e9)
)


def make_runs(num_models: int = 20) -> list[pe.Run]:
    """Runs of 5 tasks × 5 datasets × 4 strategies × 5 seeds a model."""
    rng = np.random.default_rng(0)
    keys = ("accuracy", "precision", "recall", "f1")
    runs = []
    for place in itertools.product(
        range(num_models), range(5), range(5), range(4), range(5)
    ):
        model, task, dataset, strategy, seed = place
        accuracy = float(np.clip(0.6 + 0.01 * model + rng.normal(0, 0.02), 0, 1))
        runs.append(
            pe.Run(
                model=f"m{model}",
                task=f"t{task}",
                dataset=f"d{dataset}",
                strategy=f"s{strategy}",
                seed=seed,
                scores=dict.fromkeys(keys, accuracy),
                baseline=dict.fromkeys(keys, 0.4),
                chance=dict.fromkeys(keys, 0.1),
                num_examples=500,
                curve={
                    "step": (0, 10, 20, 30, 40),
                    "accuracy": (0.1, 0.3, 0.4, 0.5, accuracy),
                },
                history={
                    "step": tuple(range(1, 11)),
                    "grad_norm": tuple(rng.uniform(1, 2, 10)),
                    "update_ratio": tuple(rng.uniform(0.01, 0.02, 10)),
                },
                cost=pe.Cost(
                    num_parameters=10**6,
                    num_trainable_parameters=10**5,
                    macs=10**8,
                    seconds=1.0 + rng.uniform(),
                    peak_memory=10**8,
                    num_samples=100,
                ),
                settings={"trainable": "all" if strategy else "head", "epochs": 4},
            )
        )
    return runs


def seconds(work: Callable[[], object]) -> float:
    """The shortest of five."""
    times = []
    for _ in range(5):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def main() -> None:
    """One line a protocol, then all five: one after the other, and as a scorecard."""
    runs = make_runs()
    evaluators: tuple[pe.Evaluator, ...] = (
        pe.OptimizabilityEvaluator(),
        pe.UsabilityEvaluator(budget=BUDGET),
        pe.VariabilityEvaluator(),
        pe.ReusabilityEvaluator(budget=BUDGET),
        pe.PersistenceEvaluator(),
    )
    print(f"{len(runs)} runs of {len({run.model for run in runs})} models")
    for evaluator in evaluators:
        taken = seconds(lambda each=evaluator: each.compare(runs))  # type: ignore[misc]
        print(f"{evaluator.protocol:15} {taken:.2f} s")
    every = seconds(lambda: [evaluator.compare(runs) for evaluator in evaluators])
    card = seconds(lambda: pe.scorecard(runs, budget=BUDGET))
    print(f"all five, one after the other: {every:.2f} s; as a scorecard: {card:.2f} s")
    code = (
        "import sys, pretrain_eval._scoring.scorecard, pretrain_eval.plot;"
        "sys.exit('torch' in sys.modules)"
    )
    # The package's face imports torch; the scoring side alone does not.
    print("without the face, torch is imported:", end=" ")
    stub = "import sys, types; m = types.ModuleType('pretrain_eval');"
    stub += f"m.__path__ = [{pe.__path__[0]!r}]; sys.modules['pretrain_eval'] = m;"
    print(
        bool(
            subprocess.run([sys.executable, "-c", stub + code], check=False).returncode
        )
    )


if __name__ == "__main__":
    main()
