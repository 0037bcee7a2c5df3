"""How often a monitor cries wolf in a year of weeks, and how soon it sees a drop.

    python tests/benchmarks/monitoring.py --replicates 1000

Each world draws a reference and weeks, and goes through `pretrain_eval.monitor` as a user
would. The first table holds the share of years, 52 looks in which nothing changes, with
any alarm of any signal: at most 5 % is promised. The second holds the share of drops
that are seen within four looks, where no alarm came before; asked for is 80 % of drops
of .05 with 400 examples a week.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from numpy.random import Generator

import pretrain_eval as pe

WEEKS = 52
Draw = Callable[[Generator, int], dict[str, np.ndarray]]


def bits(share: float) -> Draw:
    """Right or wrong, independent."""
    return lambda rng, size: {"values": rng.random(size) < share}


def lognormal(sigma: float) -> Draw:
    """Errors with a heavy right tail."""
    return lambda rng, size: {"values": rng.lognormal(0.0, sigma, size)}


def classified(rng: Generator, size: int) -> dict[str, np.ndarray]:
    """Logits, targets and skewed features of ten classes."""
    targets = rng.integers(0, 10, size)
    outputs = 1.5 * rng.standard_normal((size, 10))
    outputs[np.arange(size), targets] += 3.0
    mixed = rng.standard_gamma(0.5, (size, 32)) @ _MIXING
    return {"outputs": outputs, "targets": targets, "features": mixed}


_MIXING = np.random.default_rng(7).standard_normal((32, 64))


def year(
    draw: Draw, num_reference: int, sizes: list[int], seed: int, **settings: str
) -> pe.Monitor:
    """A reference and its weeks, all alike."""
    rng = np.random.default_rng(seed)
    weeks = {f"W{week:02d}": draw(rng, size) for week, size in enumerate(sizes, 1)}
    return pe.monitor(draw(rng, num_reference), weeks, **settings)


def false_alarms(replicates: int) -> None:
    """The share of unchanged years with an alarm."""
    wild = np.random.default_rng(1).integers(5, 800, WEEKS).tolist()
    error = {"metric": "mse"}
    worlds: dict[str, tuple[Draw, int, list[int], dict[str, str]]] = {
        "accuracy .90, reference 2,000, 400 a week": (
            bits(0.9), 2000, [400] * WEEKS, {}),
        "accuracy .70, reference 500, 400 a week": (
            bits(0.7), 500, [400] * WEEKS, {}),
        "accuracy .99, reference 200, 50 a week": (
            bits(0.99), 200, [50] * WEEKS, {}),
        "accuracy .90, reference 1,000, 5 to 800 a week": (
            bits(0.9), 1000, wild, {}),
        "error, lognormal (0, 1), reference 1,000, 100 a week": (
            lognormal(1.0), 1000, [100] * WEEKS, error),
        "error, lognormal (0, .5), reference 200, 30 a week": (
            lognormal(0.5), 200, [30] * WEEKS, error),
        "accuracy, confidence, skewed features, 1,000, 100 a week": (
            classified, 1000, [100] * WEEKS, {}),
    }  # fmt: skip
    print(
        f"any alarm in {WEEKS} unchanged looks, share of {replicates}; promised: .050"
    )
    for name, (draw, size, sizes, settings) in worlds.items():
        found = [
            year(draw, size, sizes, seed, **settings).exit_code > 0
            for seed in range(replicates)
        ]
        print(f"  {name:58s} {np.mean(found):.3f}", flush=True)


def power(replicates: int) -> None:
    """The share of drops of .05 that are seen within four looks of 400."""
    print(f"\na drop of .05 seen within 4 looks of 400 examples, share of {replicates}")
    starts = (1, 5, 20, 40)
    print("  reference, accuracy " + "".join(f"  from W{w:02d}" for w in starts))
    for num_reference in (1000, 2000, 5000, 20000):
        for share in (0.7, 0.8, 0.9, 0.95):
            row = []
            for start in starts:
                seen = [
                    _is_seen(num_reference, share, start, seed)
                    for seed in range(replicates)
                ]
                row.append(np.mean([each for each in seen if each is not None]))
            told = "".join(f"{value:9.2f}" for value in row)
            print(f"  {num_reference:9,d}  {share:.2f}    {told}", flush=True)


def _is_seen(num_reference: int, share: float, start: int, seed: int) -> bool | None:
    """None where an alarm came before the drop."""
    rng = np.random.default_rng(seed)
    reference = bits(share)(rng, num_reference)
    weeks = {}
    for week in range(1, start + 4):
        now = share if week < start else share - 0.05
        weeks[f"W{week:02d}"] = bits(now)(rng, 400)
    alarm = pe.monitor(reference, weeks)["accuracy"].alarm
    if alarm is None:
        return False
    return None if int(alarm.look[1:]) < start else True


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--only", choices=("alarms", "power"))
    options = parser.parse_args()
    if options.only != "power":
        false_alarms(options.replicates)
    if options.only != "alarms":
        power(options.replicates)
