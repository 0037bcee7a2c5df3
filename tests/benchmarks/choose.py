"""What a race decides on tables of real fine-tunings, beside other ways to spend less.

    python tests/benchmarks/choose.py table       makes choose.jsonl; see choose_table.py
    python tests/benchmarks/choose.py             replays all ways 1,000 times on every
        table and writes choose_results.jsonl; some minutes
    python tests/benchmarks/choose.py NAME [n]    the same of one section: peers, tasks or promise
    python tests/benchmarks/choose.py write       brings docs/choose_measured.md up to
        date with choose_results.jsonl

A replay draws the order of models and seeds, five seeds of those that there are, and in
`peers` which half of the models or more there are. Each way sees the same validation
curves; a pick's regret is how far its accuracy on the reported split, a mean over all
blocks and all seeds of the table, is below that of the best candidate. Costs are
optimizer steps, as shares of the grid of these models and five seeds.
Optuna's pruners need optuna: pip install optuna
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import choose_optuna
import numpy as np
from choose_grids import Grid, alike, clear, read_results, single_grids, whole_grids
from choose_peers import BEFORE, RACES, WAYS, Pick, Way, race
from choose_table import make_table

HERE = Path(__file__).parent
RESULTS = HERE / "choose_results.jsonl"
PAGE = HERE.parents[1] / "docs" / "choose_measured.md"
COUNT = 1000
# Wilcoxon's test is redone from the start at each report, which takes a second a replay.
SLOW = {"Optuna's Wilcoxon pruner": 4}
CALLED = {
    "digits": "16 networks, digits",
    "images": "10 networks, images",
    "texts": "4 encoders, texts",
    "tuned": "10 networks, whole, textures",
}
Row = dict[str, Any]


def replayed(grid: Grid, way: Way, count: int, *, subsets: bool) -> list[Row]:
    """A row a replay; of every way the same draws."""
    rows = []
    for number in range(count):
        rng = np.random.default_rng((number, 0))
        drawn = grid.drawn(rng, subsets=subsets)
        rows.append(_judged(drawn, way(drawn, rng)))
    return rows


def _judged(grid: Grid, pick: Pick) -> Row:
    """What a pick has lost, and whether what was said of it is true."""
    covered = [i for i in range(len(grid.models)) if i not in pick.beyond]
    found: Row = {
        "regret": grid.levels.max() - grid.levels[pick.model],
        "cost": pick.cost,
        "said": pick.said,
        "limit": pick.limit,
    }
    for name, truth in (("reported", grid.levels), ("seeds", grid.expected)):
        lost = truth[covered].max() - truth[pick.model]
        found[f"held_{name}"] = float(lost <= pick.limit + 1e-9)
        ahead = np.flatnonzero(truth[covered] >= truth[covered].max() - 1e-9)
        found[f"was_{name}"] = (lost <= 1e-9) / len(ahead)
    return found


def summary(section: str, grid: str, way: str, rows: Iterable[Row]) -> Row:
    """Means over the replays of one way on one grid."""
    rows = list(rows)
    column = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    found = {
        "section": section,
        "grid": grid,
        "way": way,
        "count": len(rows),
        "regret": column["regret"].mean(),
        "regret_95": np.quantile(column["regret"], 0.95),
        "worst": column["regret"].max(),
        "cost": column["cost"].mean(),
    }
    if np.isfinite(column["limit"]).any():
        known = np.isfinite(column["limit"])
        said = ("limit", "held_reported", "held_seeds", "said")
        said = (*said, "was_reported", "was_seeds")
        found |= {key: column[key][known].mean() for key in said}
    return {
        k: v if isinstance(v, str | int) else round(float(v), 5)
        for k, v in found.items()
    }


def peers(count: int) -> list[Row]:
    """Every way on every table, over subsets of the models."""
    known = [*WAYS.items(), *BEFORE.items(), *choose_optuna.ways().items()]
    found = []
    for name, grid in whole_grids().items():
        for way, called in [(f, n) for n, f in (*RACES.items(), *known)]:
            if called in BEFORE and not _is_known(grid, way):
                continue
            number = min(count, SLOW.get(called, count))
            rows = replayed(grid, way, number, subsets=True)
            found.append(_said(summary("peers", name, called, rows)))
    return found


def _is_known(grid: Grid, way: Way) -> bool:
    try:
        way(grid, np.random.default_rng(0))
    except KeyError:
        return False
    return True


def tasks(count: int) -> list[Row]:
    """The race and two peers on single tasks, all models."""
    found = []
    for name, grid in single_grids().items():
        shown = RACES | {
            key: WAYS[key]
            for key in ("one seed of the grid", "successive halving, one seed")
        }
        for called, way in shown.items():
            rows = replayed(grid, way, count, subsets=False)
            found.append(_said(summary("tasks", name, called, rows)))
    return found


def promise(count: int) -> list[Row]:
    """The race on whole tables and on the two ends, all models."""
    whole = whole_grids()
    digits = whole["digits"]
    best = digits.models[int(np.argmax(digits.levels))]
    grids = [*whole.values(), clear(digits), alike(digits, best)]
    found = []
    for grid in grids:
        for tolerance in (0.005, 0.01, 0.02):
            rows = replayed(
                grid, partial(race, tolerance=tolerance), count, subsets=False
            )
            found.append(
                _said(summary("promise", grid.name, f"tolerance {tolerance}", rows))
            )
    return found


def _said(row: Row) -> Row:
    kept = "  ".join(f"{k} {v:.4f}" for k, v in row.items() if isinstance(v, float))
    print(f"{row['grid']:<26} {row['way']:<38} {kept}", flush=True)
    return row


SECTIONS = {each.__name__: each for each in (peers, tasks, promise)}


def table(section: str) -> str:
    """A table in Markdown of what the file of results holds."""
    rows = [r for r in read_results(RESULTS) if r["section"] == section]
    heading = ["table", "way", "regret", "95 % of regrets", "cost", "limit held: reported, new seeds", "P(best) said, was best"]  # fmt: skip
    lines = [heading, ["---"] * len(heading)]
    for row in rows:
        said = "held_seeds" in row
        lines.append(
            [
                CALLED.get(row["grid"], row["grid"]),
                row["way"],
                f"{row['regret']:.4f}",
                f"{row['regret_95']:.4f}",
                f"{row['cost']:.1%}",
                f"{row['held_reported']:.3f}, {row['held_seeds']:.3f}" if said else "",
                f"{row['said']:.2f}, {row['was_seeds']:.2f}" if said else "",
            ]
        )
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def written(text: str) -> str:
    """The page with the tables as the file of results gives them."""
    for name in SECTIONS:
        command = f"`python tests/benchmarks/choose.py {name}`"
        pattern = rf"({re.escape(command)}[^\n]*\n\n)(?:\|[^\n]*\n)*\n*"
        body = table(name)
        text = re.sub(pattern, lambda m, body=body: m[1] + body + "\n\n", text)
    return text.rstrip() + "\n"


def main(names: Iterable[str], count: int) -> None:
    """Replay sections and keep their results beside those of the others."""
    if not choose_optuna.ways():
        print("Optuna's pruners skipped: pip install optuna")
    for name in names:
        rows = SECTIONS[name](count)
        kept = read_results(RESULTS) if RESULTS.exists() else []
        rows += [row for row in kept if row["section"] != name]
        rows.sort(key=lambda row: list(SECTIONS).index(row["section"]))
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        RESULTS.write_text(lines, encoding="utf-8")


if __name__ == "__main__":
    command, *numbers = sys.argv[1:] or [""]
    if command == "table":
        make_table()
    elif command == "write":
        PAGE.write_text(written(PAGE.read_text("utf-8")), "utf-8")
    else:
        main([command] if command else SECTIONS, *map(int, numbers or [COUNT]))
