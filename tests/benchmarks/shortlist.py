"""What a filter by estimates saves and loses, on the table of `choose.py`.

`OMP_NUM_THREADS=1 python tests/benchmarks/shortlist.py [n]` makes the networks of that
table again, estimates them on its tasks, and races with and without the estimates in n
orders of the seeds; some minutes, nearly all of them for estimates.
"""

from __future__ import annotations

import sys

import numpy as np
from choose_table import SEEDS, models, read_table, tasks, truth

import pretrain_eval as pe


def raced(name, runs, estimates, count):
    """A line of regret and cost."""
    rng, level = np.random.default_rng(0), truth(runs)
    rows = []
    for _ in range(count):
        order = rng.permutation(SEEDS).tolist()
        choice = pe.replay(runs, seeds=order, estimates=estimates)
        rows.append((max(level.values()) - level[choice.model], choice.cost_share))
    regret, cost = np.array(rows).T
    print(
        f"{name:<36} regret {regret.mean():.4f} (worst {regret.max():.4f})"
        f"  cost {cost.mean():.1%}"
    )


def main(count=40):
    """Races without estimates, with all of them, and with one name alone."""
    runs, networks = read_table(), models()
    found = [pe.estimate(networks, t, pairs=0, progress=False) for t in tasks()]
    raced("no estimates", runs, (), count)
    raced("mean rank under all names", runs, found, count)
    for name in ("probe_accuracy", "logme", "log_macs", "log_parameters"):
        raced(name, runs, [each.only([name]) for each in found], count)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
