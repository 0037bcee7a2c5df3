"""Tables that papers print: winners by task, all pairs, mean ranks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from pretrain_eval._scoring.formulas.power import holm
from pretrain_eval._scoring.formulas.ranking import friedman, nemenyi, task_ranks
from pretrain_eval._scoring.reports.difference import Difference
from pretrain_eval._scoring.reports.table import Row, Sheet, counted

Tasks = Mapping[str, Mapping[str, float]]


def winners(protocol: str, tasks: Tasks) -> Sheet:
    """The best model of each task with its score and its lead, best first on ties."""
    names = dict.fromkeys(task for own in tasks.values() for task in own)
    rows: list[Row] = []
    for task in sorted(names):
        values = {model: own[task] for model, own in tasks.items() if task in own}
        best = max(values, key=values.__getitem__)
        others = [value for model, value in values.items() if model != best]
        lead = values[best] - max(others) if others else None
        rows.append({"task": task, "model": best, "score": values[best], "lead": lead})
    return Sheet(f"{protocol}, best by task", tuple(rows))


def pairwise(
    protocol: str, differences: Sequence[Difference], over: Sequence[str]
) -> Sheet:
    """All pairs, with two-sided p-values of the joint draws, Holm-adjusted."""
    known = [each.p_value for each in differences if each.p_value is not None]
    adjusted = iter(holm(known))
    rows: list[Row] = []
    for each in differences:
        interval = each.interval
        rows.append(
            {
                "first": each.first,
                "second": each.second,
                "difference": each.difference,
                "low": None if interval is None else interval.low,
                "high": None if interval is None else interval.high,
                "p_better": each.p_better,
                "p_equal": each.p_equal,
                "p_worse": each.p_worse,
                "p": each.p_value,
                "p_holm": None if each.p_value is None else next(adjusted),
            }
        )
    notes = []
    if known:
        notes.append(
            f"For new {' and '.join(over)}; p is two-sided, of joint draws, of which it"
            " is at least one over their number (1/2000 = 0.0005); p_holm is adjusted"
            f" for {counted(len(known), 'pair')}."
        )
    return Sheet(f"{protocol}, all pairs", tuple(rows), tuple(notes))


def ranks(protocol: str, tasks: Tasks, confidence: float) -> Sheet:
    """Mean rank of each model over the tasks of all, with a critical difference."""
    common = set.intersection(*(set(own) for own in tasks.values())) if tasks else set()
    if len(common) < 2 or len(tasks) < 2:
        raise ValueError(
            "ranks expects two models or more with two common tasks or more, got"
            f" {counted(len(tasks), 'model')} and {counted(len(common), 'common task')}"
        )
    table = np.array([[own[task] for task in sorted(common)] for own in tasks.values()])
    placed = task_ranks(table)
    means = placed.mean(axis=1)
    statistic, p_value = friedman(placed)
    critical = nemenyi(len(tasks), len(common), confidence)
    order = sorted(range(len(means)), key=lambda i: (means[i], i))
    names, lowest = list(tasks), float(means.min())
    rows: list[Row] = [
        {
            "model": names[i],
            "mean_rank": float(means[i]),
            "within_critical_difference": "yes"
            if means[i] - lowest <= critical
            else "no",
        }
        for i in order
    ]
    chance = "–" if math.isnan(p_value) else f"{p_value:.2g}"
    notes = (
        f"Ranks over {counted(len(common), 'task')}, ties averaged. Friedman:"
        f" χ² = {statistic:.2f}, p = {chance}. Critical difference of Nemenyi at"
        f" {100 * confidence:g} %: {critical:.3f}.",
    )
    return Sheet(f"{protocol}, mean ranks", tuple(rows), notes)
