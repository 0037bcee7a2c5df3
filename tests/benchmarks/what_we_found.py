"""What the table of real fine-tunings says: each section of docs/what_we_found.md.

    python tests/benchmarks/what_we_found.py            prints all sections
    python tests/benchmarks/what_we_found.py gains      prints one; see `SECTIONS`
    python tests/benchmarks/what_we_found.py write      brings the page up to date
    python tests/benchmarks/what_we_found.py draw FILE  draws the curves of `labels`

Everything is computed from `real_table.jsonl` and `real_estimates.jsonl`, which
`real_table.py` has made; no package of the demo is needed. A head that is fitted to the
end ("probe") is what models are compared by, unless a section says otherwise.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from real_table import BASE, MORE_SEEDS, TASKS, TWIN, read_estimates, read_runs

import pretrain_eval as pe

PAGE = Path(__file__).parents[2] / "docs" / "what_we_found.md"


@cache
def scores() -> dict[tuple[str, str, str], dict[str, dict[int, float]]]:
    """Accuracy by task, dataset and strategy, then by model and seed."""
    found: dict[tuple[str, str, str], dict[str, dict[int, float]]] = {}
    for run in read_runs():
        cell = found.setdefault((run.task, run.dataset, run.strategy), {})
        value = run.scores.get("accuracy", run.chance.get("accuracy", np.nan))
        cell.setdefault(run.model, {})[run.seed] = value
    return found


def runs_of(task: str, strategy: str, seeds: Iterable[int]) -> list[pe.Run]:
    """The runs on a task's base."""
    kept = set(seeds)
    return [run for run in _runs() if _place(run) == (task, BASE[task], strategy) and run.seed in kept]  # fmt: skip


@cache
def _runs() -> tuple[pe.Run, ...]:
    return tuple(read_runs())


def _place(run: pe.Run) -> tuple[str, str, str]:
    return run.task, run.dataset, run.strategy


def table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def gains() -> str:
    """When pretraining helped: the best pretrained model against its random twin."""
    rows = []
    for task in TASKS:
        runs = runs_of(task, "probe", range(MORE_SEEDS))
        comparison = pe.PersistenceEvaluator().compare(runs)
        twins = [each.model for each in comparison.reports if TWIN in each.model]
        order = [each.model for each in comparison.reports if each.model not in twins]
        best, twin = order[0], twins[0]
        own = {each.model: each.score for each in comparison.reports}
        alike = sum(
            pe.PersistenceEvaluator()
            .compare([run for run in runs if run.model in (best, other)])
            .not_separable
            != ()
            for other in order[1:]
        )
        low, high = _interval(comparison, best, twin)
        rows.append(
            (
                task,
                BASE[task].replace("per class", "a class"),
                f"{best} {own[best]:.3f}",
                f"{own[twin]:.3f}",
                f"{own[best] - own[twin]:+.3f} ({low:+.3f} to {high:+.3f})",
                f"{alike} of {len(order) - 1}",
            )
        )
    heading = ("task", "labels", "best", "random", "gain", "others as good")
    return table(heading, rows)


def _interval(
    comparison: pe.Comparison, first: str, second: str
) -> tuple[float, float]:
    gap = comparison.difference(first, second)
    if gap is None or gap.interval is None:
        return float("nan"), float("nan")
    sign = 1 if gap.first == first else -1
    low, high = sorted((sign * gap.interval.low, sign * gap.interval.high))
    return low, high


def labels() -> str:
    """How many labels until models separate: three seeds, by the number of labels."""
    rows = []
    for task, asked in TASKS.items():
        for number in asked.per_class:
            cell = scores()[task, f"{number} per class", "probe"]
            real = [model for model in cell if TWIN not in model]
            means = {
                model: np.mean([cell[model][s] for s in range(5)]) for model in cell
            }
            best = max(real, key=lambda model: means[model])
            twin = max((m for m in cell if TWIN in m), key=lambda model: means[model])
            pairs = list(itertools.combinations(real, 2))
            apart = sum(_apart(cell, *pair, seeds=range(3)) for pair in pairs)
            rows.append(
                (
                    task,
                    str(number),
                    f"{means[best]:.3f}",
                    f"{means[twin]:.3f}",
                    f"{np.mean([np.std([*cell[m].values()], ddof=1) for m in real]):.3f}",
                    f"{apart} of {len(pairs)}",
                )
            )
    heading = ("task", "labels a class", "best", "random", "sd of draws", "pairs apart")
    return table(heading, rows)


def _apart(
    cell: dict[str, dict[int, float]], first: str, second: str, seeds: Iterable[int]
) -> bool:
    """Whether a paired t-test at 95 % over the seeds tells two models apart."""
    gaps = np.array([cell[first][s] - cell[second][s] for s in seeds])
    return bool(abs(gaps.mean()) > _half_width(gaps))


def _half_width(gaps: np.ndarray) -> float:
    from scipy.stats import t

    error = gaps.std(ddof=1) / np.sqrt(len(gaps))
    return float(t.ppf(0.975, len(gaps) - 1) * error)


def seeds() -> str:
    """What one more seed buys: the pick of k seeds, judged by the mean over all ten."""
    rows = []
    for number in range(1, 6):
        regrets, widths = [], []
        for task in TASKS:
            cell = scores()[task, BASE[task], "probe"]
            level = {m: np.mean([*cell[m].values()]) for m in cell}
            for chosen in _subsets(number):
                own = {m: np.mean([cell[m][s] for s in chosen]) for m in cell}
                first, second = sorted(own, key=lambda model: -own[model])[:2]
                regrets.append(max(level.values()) - level[first])
                if number > 1:
                    gaps = [cell[first][s] - cell[second][s] for s in chosen]
                    widths.append(_half_width(np.array(gaps)))
        rows.append(
            (
                str(number),
                f"{np.mean(regrets):.4f}",
                f"{np.quantile(regrets, 0.95):.3f}",
                f"±{np.mean(widths):.3f}" if widths else "unknown",
            )
        )
    heading = ("seeds", "mean regret", "95 % of regrets", "interval, first to second")
    return table(heading, rows)


def _subsets(number: int) -> list[tuple[int, ...]]:
    """Twenty draws of so many of ten seeds, the same for all tasks."""
    rng = np.random.default_rng(number)
    return [tuple(rng.permutation(MORE_SEEDS)[:number].tolist()) for _ in range(20)]


def sureness() -> str:
    """How sure three seeds were: what a comparison said, against the other seven."""
    rows = []
    for kind in ("images", "texts", "speech"):
        said, right, held, inside, told = [], [], [], [], []
        for task in (name for name, asked in TASKS.items() if asked.kind == kind):
            cell = scores()[task, BASE[task], "probe"]
            for chosen in _subsets(3):
                rest = [s for s in range(MORE_SEEDS) if s not in chosen]
                level = {m: float(np.mean([cell[m][s] for s in rest])) for m in cell}
                comparison = pe.PersistenceEvaluator().compare(
                    runs_of(task, "probe", chosen)
                )
                best = comparison.best or ""
                regret = max(level.values()) - level[best]
                said.append(comparison.p_best[best])
                right.append(regret == 0)
                held.append(regret <= (comparison.regret_limit or 0.0) + 1e-9)
                for gap in comparison.differences:
                    if gap.interval is None:
                        continue
                    real = level[gap.first] - level[gap.second]
                    inside.append(gap.interval.low <= real <= gap.interval.high)
                    if gap.interval.low > 0:
                        told.append(real > 0)
        rows.append(
            (
                kind,
                f"{np.mean(said):.2f}",
                f"{np.mean(right):.2f}",
                f"{np.mean(held):.2f}",
                f"{np.mean(inside):.3f}",
                f"{np.mean(told):.3f} of {len(told)}",
            )
        )
    heading = ("kind", "P(best) said", "was best", "limit held", "intervals held", "said better, was")  # fmt: skip
    return table(heading, rows)


def estimates() -> str:
    """What estimators and static baselines were worth: weighted τ and regret."""
    rows = []
    judged = {
        "images, head": [t for t, a in TASKS.items() if a.kind == "images"],
        "images, whole": [
            t for t, a in TASKS.items() if a.kind == "images" and a.tuned
        ],
        "texts, head": [t for t, a in TASKS.items() if a.kind == "texts"],
    }
    found = {
        column: _agreement(tasks, "full" if "whole" in column else "probe")
        for column, tasks in judged.items()
    }
    names = sorted(found["images, head"], key=lambda n: found["images, head"][n][1])
    for name in names:
        pairs = [found[column].get(name) for column in judged]
        rows.append(
            (
                f"`{name}`",
                *(
                    "–" if pair is None else f"{pair[0]:+.2f}, {pair[1]:.3f}"
                    for pair in pairs
                ),
            )
        )
    return table(("estimator", *(f"{column}: τ, regret" for column in judged)), rows)


def _agreement(tasks: Sequence[str], strategy: str) -> dict[str, tuple[float, float]]:
    """By estimator, means over tasks and draws of labels; what is defined on all."""
    found: dict[str, list[tuple[float, float]]] = {}
    lines = list(read_estimates())
    draws = sorted({line["seed"] for line in lines})
    for task, draw in itertools.product(tasks, draws):
        own = [ln for ln in lines if ln["task"] == task and ln["seed"] == draw]
        values = tuple(
            pe.Estimate(
                **{
                    key: ln[key]
                    for key in ("model", "task", "dataset", "name", "better")
                },
                value=np.nan if ln["value"] is None else ln["value"],
            )
            for ln in own
        )
        # Of other draws of the labels, since an estimator has seen this one.
        others = [s for s in range(5) if s != draw]
        sheet = pe.Estimates(estimates=values, seconds={}).agreement(
            runs_of(task, strategy, others)
        )
        for row in sheet.rows():
            if row["tau"] is not None:
                pair = float(row["tau"]), float(row["regret"])
                found.setdefault(str(row["estimator"]), []).append(pair)
    return {
        name: (
            float(np.mean([p[0] for p in pairs])),
            float(np.mean([p[1] for p in pairs])),
        )
        for name, pairs in found.items()
        if len(pairs) == len(tasks) * len(draws)
    }


def tuning() -> str:
    """What full tuning costs against a probe: the same labels and seeds."""
    rows = []
    for task in (name for name, asked in TASKS.items() if asked.tuned):
        whole = runs_of(task, "full", range(5))
        seeds_of_all = sorted({run.seed for run in whole})
        heads = runs_of(task, "probe", seeds_of_all)
        for model in sorted({run.model for run in whole if "px" not in run.model}):
            pair = [[r for r in runs if r.model == model] for runs in (heads, whole)]
            accuracy = np.array([[r.scores["accuracy"] for r in runs] for runs in pair])
            gaps = accuracy[1] - accuracy[0]
            width = _half_width(gaps)
            seconds = [np.mean([r.cost.seconds or 0.0 for r in runs]) for runs in pair]
            rows.append(
                (
                    task,
                    model,
                    str(len(seeds_of_all)),
                    *(f"{mean:.3f}" for mean in accuracy.mean(1)),
                    f"{gaps.mean():+.3f} ± {width:.3f}",
                    _word(gaps.mean(), width),
                    *(f"{each:.1f} s" for each in seconds),
                )
            )
    heading = ("task", "model", "seeds", "probe", "full", "difference", "", "probe", "full")  # fmt: skip
    return table(heading, rows)


def _word(gap: float, width: float) -> str:
    return "not separable" if abs(gap) <= width else "better" if gap > 0 else "worse"


SECTIONS = {
    each.__name__: each for each in (gains, labels, seeds, sureness, estimates, tuning)
}


def written(text: str) -> str:
    """The page with the tables of its sections as the file gives them now."""
    for name, section in SECTIONS.items():
        command = f"`python tests/benchmarks/what_we_found.py {name}`"
        pattern = rf"({re.escape(command)}[^\n]*\n\n)(?:\|[^\n]*\n)*\n*"
        body = section()
        text = re.sub(pattern, lambda m, body=body: m[1] + body + "\n\n", text)
    return text.rstrip() + "\n"


def draw(file: str) -> None:
    """Accuracy by the number of labels, a panel a task, in one picture."""
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(2, 5, figsize=(14, 5), sharey=True)
    for panel, (task, asked) in zip(panels.flat, TASKS.items(), strict=False):
        cells = [scores()[task, f"{n} per class", "probe"] for n in asked.per_class]
        for model in (m for m in cells[0] if "px" not in m):
            line = [np.mean([c[model][s] for s in range(5)]) for c in cells]
            style = "k--" if model == TWIN else "-"
            panel.plot(asked.per_class, line, style, label=model)
        panel.set(title=task, xscale="log", xlabel="labels a class")
        panel.set_xticks(
            asked.per_class, [str(n) for n in asked.per_class], minor=False
        )
        panel.minorticks_off()
    for panel in panels.flat[[0, 3, 7]]:
        panel.legend(fontsize=6)
    panels[0, 0].set_ylabel("accuracy")
    figure.tight_layout()
    figure.savefig(file, dpi=120)


if __name__ == "__main__":
    command, *files = sys.argv[1:] or [""]
    if command == "draw":
        draw(*files)
    elif command == "write":
        PAGE.write_text(written(PAGE.read_text("utf-8")), "utf-8")
    else:
        for name in [command] if command else SECTIONS:
            print(f"{name}: {SECTIONS[name].__doc__}\n\n{SECTIONS[name]()}\n")
