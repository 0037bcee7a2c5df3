"""What would settle a comparison that is open: in a sentence, and run by run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from pretrain_eval._scoring.reports.difference import Difference
from pretrain_eval._scoring.reports.report import Report
from pretrain_eval._scoring.reports.table import counted, duration, number

Cell = tuple[str, str, str]
Cells = Mapping[str, Sequence[Sequence[int]]]
NextRun = tuple[str, str, str, str, int]

_UNITS = {"seeds": "more seed", "examples": "more example", "tasks": "more task"}


def what_settles(
    gap: Difference | None,
    needed: Mapping[str, int | None],
    growth: float | None,
    reports: Sequence[Report],
) -> str:
    """What would tell two models apart, with its price where runs were timed."""
    if gap is None or not needed:
        return (
            "It is open; new seeds, examples or tasks would say how sure the pick is."
        )
    pair = f"{gap.first} from {gap.second}"
    enough = [
        _worded(name, more, gap, reports)
        for name, more in needed.items()
        if more is not None
    ]
    together = [name for name in needed if name != "tasks"]
    if growth and len(together) > 1 and not any(needed[name] for name in together):
        enough.insert(0, f"{_times(growth)} × as many {' and '.join(together)} at once")
    without = [name for name, more in needed.items() if more is None]
    never = f"No number of {_either(without)} alone will" if without else ""
    if "seeds" in without and not gap.errors["seeds"]:
        never += " (the seeds agree)"
    size = f"if they differ by {number(abs(gap.difference))}"
    if not enough:
        # A source alone is not enough where another one stands between the models.
        tasks = "" if "tasks" in needed else ": more tasks are needed"
        return (
            f"{never or 'Nothing measured would'} tell {pair} with 80 % probability,"
            f" {size}{tasks or '; say with rope= which differences do not matter'}."
        )
    words = f"{_either(enough)} would tell {pair} with 80 % probability, {size}"
    return f"{never}: about {words}." if never else f"About {words}."


def _worded(name: str, more: int, gap: Difference, reports: Sequence[Report]) -> str:
    words = counted(_rounded(more), _UNITS[name])
    if name != "seeds":
        return words
    costs = [each.cost.total_seconds for each in _both(gap, reports)]
    counts = [each.num_runs for each in _both(gap, reports)]
    price = ""
    if all(costs) and all(counts):
        each_run = sum(cost or 0.0 for cost in costs) / sum(counts)
        price = f" ({duration(each_run * 2 * more * gap.num_cells)} of runs)"
    return f"{words} a cell of both{price}"


def _both(gap: Difference, reports: Sequence[Report]) -> list[Report]:
    return [each for each in reports if each.model in (gap.first, gap.second)]


def _rounded(more: int) -> int:
    # Two digits: it is an estimate.
    scale = int(10 ** max(len(str(more)) - 2, 0))
    return round(more / scale) * scale


def _either(words: Sequence[str]) -> str:
    *rest, last = words
    return f"{', '.join(rest)} or {last}" if rest else last


def next_runs(
    cells: Sequence[Cell],
    seeds: Cells,
    spreads: Mapping[str, Sequence[float]],
    best: str | None,
) -> list[NextRun]:
    """Missing runs first, then a new seed where it says most.

    Args:
        cells: Those that some model was run on, crossed.
        seeds: By model, those of each cell that have a result.
        spreads: By model to be told from the best, what each cell adds to the variance
            of their difference.
        best: The pick.
    """
    usual, wanted = _design(seeds)
    found = [
        (model, *cell, seed)
        for model, own in seeds.items()
        for cell, have in zip(cells, own, strict=True)
        for seed in _lacking(have, usual, wanted)
    ]
    fresh = 1 + max(_every(seeds), default=-1)
    new = [
        (model, *cells[place], fresh)
        for rival, place in _by_worth(spreads)
        for model in (best, rival)
        if model is not None
    ]
    return list(dict.fromkeys([*found, *new]))


def _design(seeds: Cells) -> tuple[int, list[int]]:
    # How many seeds a cell has, and which: first those that most cells have, so that
    # models stay paired.
    filled = [own for cells in seeds.values() for own in cells if own]
    if not filled:
        return 0, []
    usual = sorted(map(len, filled))[len(filled) // 2]
    counts = Counter(seed for own in filled for seed in own)
    return usual, sorted(counts, key=lambda seed: (-counts[seed], seed))


def _lacking(have: Sequence[int], usual: int, wanted: Sequence[int]) -> list[int]:
    if len(have) >= usual:
        return []
    return [seed for seed in wanted if seed not in have][: usual - len(have)]


def _every(seeds: Cells) -> set[int]:
    return {seed for cells in seeds.values() for own in cells for seed in own}


def _by_worth(spreads: Mapping[str, Sequence[float]]) -> Iterator[tuple[str, int]]:
    worth = [
        (-spread, place, rival)
        for rival, own in spreads.items()
        for place, spread in enumerate(own)
        if spread > 0
    ]
    for _, place, rival in sorted(worth):
        yield rival, place


def _times(growth: float) -> str:
    """A factor to read: two digits, and no power of ten.

    >>> _times(1.25), _times(283.0)
    ('1.2', '280')
    """
    if growth < 10:
        return f"{growth:.2g}"
    return f"{float(f'{growth:.2g}'):,.0f}"
