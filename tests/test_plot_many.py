"""Pictures of 2, 5 and 30 models with long names, in light and dark: nothing collides."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

import pretrain_eval as pe
from pretrain_eval import plot
from pretrain_eval.plot._axes import ink, luminance

mpl.use("agg")

TASKS = ("textures", "faces of many people", "digits", "leaves")
WAYS = ("full fine-tuning", "head only")
LONG = "vit_base_patch16_clip_224.laion2b_ft_in1k"  # 41 characters


def runs_of(num_models: int, decades: float = 4) -> pe.Runs:
    """Models whose names share both ends, and whose costs differ by decades."""
    rng = np.random.default_rng(num_models)
    runs = []
    for number in range(num_models):
        name = f"{LONG[:20]}{number:02d}{LONG[22:]}"
        level = 0.9 - 0.4 * number / max(num_models - 1, 1)
        for task, way, seed in itertools.product(TASKS, WAYS, range(3)):
            noise = float(rng.normal(0, 0.02))
            score = min(0.999, level + 0.05 * TASKS.index(task) - 0.1 + noise)
            curve = [score * (1 - 0.6**k) for k in range(5)]
            runs.append(
                pe.Run(
                    model=name,
                    task=task,
                    dataset="d",
                    strategy=way,
                    seed=seed,
                    scores={"accuracy": score},
                    baseline={"accuracy": 0.4},
                    chance={"accuracy": 0.25},
                    curve={"step": (0, 1, 2, 3, 4), "accuracy": tuple(curve)},
                    cost=pe.Cost(
                        num_parameters=int(10 ** (5 + decades * number / num_models)),
                        macs=int(10 ** (6 + 4 * number / num_models)),
                        seconds=1.0 + number,
                        total_seconds=2.0 + number,
                    ),
                )
            )
    return pe.Runs(runs)


def sizes_of(runs: pe.Runs) -> pe.Estimates:
    """The number of parameters, here the fewer the better, as evidence of a race."""
    sizes = {run.model: float(run.cost.num_parameters or 0) for run in runs}
    found = [
        pe.Estimate(model=m, task="digits", dataset="d", name="size", value=-value)
        for m, value in sizes.items()
    ]
    return pe.Estimates(estimates=tuple(found), seconds={})


def watch_of(num_looks: int) -> pe.Monitor:
    """Looks with long names, of which the last third drops and drifts."""
    rng = np.random.default_rng(num_looks)

    def week(number: int, size: int) -> dict[str, Any]:
        late = number > 2 * num_looks / 3
        right = rng.random(size) < 0.9 - 0.2 * late
        return {"values": right, "features": rng.normal(late, 1, (size, 4))}

    names = [f"{LONG[:20]}{number:02d}{LONG[22:]}" for number in range(num_looks)]
    looks = {name: week(number, 200) for number, name in enumerate(names)}
    return pe.monitor(week(0, 1000), looks)


def confusions_of(num_classes: int) -> np.ndarray:
    """Counts of thousands on the diagonal, and of every size beside it."""
    rng = np.random.default_rng(num_classes)
    table = rng.integers(0, 900, (num_classes, num_classes))
    return table + np.diag(rng.integers(1000, 99999, num_classes))


def recalls_of(num_classes: int) -> list[float]:
    """One value a class, the last of which is not known."""
    return [*np.linspace(0.99, 0.05, num_classes - 1), float("nan")]


def bins_of(num_bins: int) -> dict[str, Any]:
    """Bins of growing size, which claim more than they keep."""
    middle = (np.arange(num_bins) + 0.5) / num_bins
    sizes = 1 + np.arange(num_bins) ** 2
    return {"num_samples": sizes, "confidence": middle, "accuracy": middle**1.5}


BUDGET = pe.Budget(parameters=(1e5, 1e10), macs=(1e6, 1e11))
RUNS = {number: runs_of(number) for number in (2, 5, 30)}
CARDS = {n: pe.scorecard(runs, budget=BUDGET) for n, runs in RUNS.items()}
ROPED = {n: pe.compare(r, pe.PersistenceEvaluator(rope=0.02)) for n, r in RUNS.items()}

RACES = {
    2: pe.replay(RUNS[2], tolerance=0.0),
    5: pe.replay(RUNS[5], tolerance=0.0),
    30: pe.replay(RUNS[30], tolerance=0.0, estimates=sizes_of(RUNS[30])),
}

CLASSES = {n: [f"{LONG[:20]}{k:02d}{LONG[22:]}" for k in range(n)] for n in RUNS}
TABLES = {number: confusions_of(number) for number in RUNS}
WATCHES = {number: watch_of(number) for number in (2, 5, 30)}

PICTURES: dict[str, Callable[[int], Any]] = {
    "scores": lambda n: plot.scores(CARDS[n]["persistence"]),
    "scorecard": lambda n: plot.scorecard(CARDS[n]),
    "tasks": lambda n: plot.tasks(CARDS[n]["persistence"]),
    "differences": lambda n: plot.differences(ROPED[n]),
    "critical_difference": lambda n: plot.critical_difference(CARDS[n]["persistence"]),
    "cost": lambda n: plot.cost(CARDS[n]["usability"]),
    "ranks": lambda n: plot.ranks(CARDS[n]["usability"]),
    "curves": lambda n: plot.curves(RUNS[n]),
    "profiles": lambda n: plot.profiles(RUNS[n]),
    "grid": lambda n: plot.grid(RUNS[n].filter(model=RUNS[n][0].model)),
    "before_after": lambda n: plot.before_after(RUNS[n].filter(model=RUNS[n][0].model)),
    "history": lambda n: plot.history(STEPS),
    "race": lambda n: plot.race(RACES[n]),
    "monitor": lambda n: plot.monitor(WATCHES[n]),
    "monitor, features": lambda n: plot.monitor(WATCHES[n], "features"),
    "confusion_matrix": lambda n: plot.confusion_matrix(TABLES[n], labels=CLASSES[n]),
    "confusion_matrix, cells": lambda n: plot.confusion_matrix(confusions_of(20)),
    "confusion_matrix, many": lambda n: plot.confusion_matrix(confusions_of(10 * n)),
    "per_class, many": lambda n: plot.per_class(recalls_of(50 * n)),
    "per_class": lambda n: plot.per_class(recalls_of(n), labels=CLASSES[n]),
    "reliability": lambda n: plot.reliability(bins_of(n)),
}
STEPS = {
    "step": tuple(range(1, 61)),
    "grad_norm": tuple(10.0 * 0.93**k for k in range(60)),
    "grad_norm_before_clipping": tuple(12.0 * 0.93**k for k in range(60)),
    "update_ratio": tuple(0.003 + 0.0001 * (k % 7) for k in range(60)),
    "clipped": tuple(float(k < 9) for k in range(60)),
    "skipped": tuple(float(k in (3, 30)) for k in range(60)),
}


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    """No figure is left open."""
    import matplotlib.pyplot as plt

    yield
    plt.close("all")


def drawn(name: str, number: int) -> tuple[Figure, list[tuple[Text, Any]]]:
    """The figure, and every text that is seen with its box in pixels."""
    made = PICTURES[name](number)
    figure = made if isinstance(made, Figure) else made.figure
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    texts = []
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text().strip():
            box = text.get_window_extent(renderer)
            if box.width > 0 and _is_seen(text, figure):
                texts.append((text, box))
    return figure, texts


def _is_seen(text: Text, figure: Figure) -> bool:
    """Not a tick beyond the limits of its axis, which is kept but not drawn."""
    for ax in figure.axes:
        for axis, limits in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
            low, high = sorted(limits)
            ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
            for tick in ticks:
                if text in (tick.label1, tick.label2):
                    shown = tick.label1 if tick.label1.get_visible() else tick.label2
                    # Of each limit its own: a logarithmic axis has two of unlike size.
                    low, high = low - 1e-9 * abs(low), high + 1e-9 * abs(high)
                    inside = low <= tick.get_loc() <= high
                    return text is shown and inside
    return True


@pytest.mark.parametrize("number", RUNS)
@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_no_text_leaves_the_figure_or_covers_another(
    name: str, number: int, style: str
) -> None:
    """By bounding boxes; and each stands out from what is behind it by 4.5 : 1."""
    with mpl.style.context(style):
        figure, texts = drawn(name, number)
        frame = figure.bbox
        for text, box in texts:
            words = text.get_text()
            assert box.x0 >= frame.x0 - 1, words
            assert box.x1 <= frame.x1 + 1, words
            assert box.y0 >= frame.y0 - 1, words
            assert box.y1 <= frame.y1 + 1, words
        upright = [pair for pair in texts if pair[0].get_rotation() in (0.0, 90.0)]
        for (one, first), (two, second) in itertools.combinations(upright, 2):
            width = min(first.x1, second.x1) - max(first.x0, second.x0)
            height = min(first.y1, second.y1) - max(first.y0, second.y0)
            assert width < 1.5 or height < 1.5, (one.get_text(), two.get_text())
        page = to_rgb(figure.get_facecolor())
        in_cells = name.split(",")[0] in ("grid", "tasks", "confusion_matrix")
        for text, _ in texts:
            if in_cells and text in figure.axes[0].texts:
                continue  # on a colour of its own, tested below
            assert contrast(to_rgb(text.get_color()), page) >= 4.5, text.get_text()


def test_every_picture_is_looked_at() -> None:
    """A new one is drawn here too, of 2, 5 and 30 models or classes."""
    assert {name.split(",")[0] for name in PICTURES} == set(plot.__all__)


@pytest.mark.parametrize("decades", [0.0, 0.001, 0.3, 1.2, 1.3, 1.5, 2.0, 3.0, 8.0])
def test_costs_of_any_range_have_words_that_stay_apart(
    decades: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between 10 and 100 times, minor ticks of a logarithmic axis once met."""
    usability = pe.UsabilityEvaluator(budget=BUDGET)
    comparison = usability.compare(runs_of(5, decades))
    monkeypatch.setitem(PICTURES, "cost", lambda _: plot.cost(comparison))
    figure, _ = drawn("cost", 5)
    test_no_text_leaves_the_figure_or_covers_another("cost", 5, "default")
    axis = figure.axes[0].xaxis
    low, high = figure.axes[0].get_xlim()
    places = [x for x in axis.get_majorticklocs() if low <= x <= high]
    words = axis.get_major_formatter().format_ticks(places)
    assert len(set(words)) == len(words) >= 2
    assert not axis.get_offset_text().get_text()
    assert not any("mathdefault" in word or "−" in word for word in words)


def contrast(first: tuple[float, ...], second: tuple[float, ...]) -> float:
    """As WCAG 2 defines it."""
    one, other = sorted((luminance(first), luminance(second)))
    return (other + 0.05) / (one + 0.05)


def test_what_is_written_on_a_colour_stands_out() -> None:
    """Black or white on every colour of the maps that are used."""
    for name in ("cividis", "Blues"):
        for share in np.linspace(0, 1, 101):
            color = mpl.colormaps[name](share)[:3]
            assert contrast(to_rgb(ink(color)), color) >= 4.5


def test_names_of_one_beginning_and_end_stay_apart() -> None:
    """A name is shortened where all stay different."""
    words = plot._axes.labels([run.model for run in RUNS[30]])
    assert len(set(words)) == 30
    assert max(map(len, words)) <= 41
    assert plot._axes.labels(["a" * 60, "b"])[0].count("…") == 1


def test_of_many_models_six_are_named() -> None:
    """The others are grey, and have one entry in the legend."""
    ax = plot.curves(RUNS[30])
    words = [text.get_text() for text in ax.get_legend().get_texts()]
    assert len(words) == 7
    assert words[-1] == "24 others"
    assert words[0].startswith("vit_base")


def test_a_forest_shows_the_differences() -> None:
    """Each bar is a difference from the best, with its sign, and the rope is shaded."""
    comparison = ROPED[5]
    ax = plot.differences(comparison)
    dots = [x for x in ax.lines if x.get_marker() in "oDs" and len(x.get_xdata()) == 1]
    others = [report.model for report in comparison.reports[1:]]
    gaps = [
        comparison.difference(comparison.best, model).difference for model in others
    ]
    assert [float(dot.get_xdata()[0]) for dot in dots] == [-gap for gap in gaps]
    rope = ax.patches[0].get_extents().transformed(ax.transData.inverted())
    assert rope.x0 == pytest.approx(-0.02)


def test_a_race_shows_who_was_dropped_when() -> None:
    """Means over cost, a cross where a line ends, bars of what tests compared."""
    choice = RACES[30]
    ax = plot.race(choice)
    crosses = [x for x in ax.lines if x.get_marker() == "x" and len(x.get_xdata())]
    dropped = {m: r for r in choice.rounds for m in r.dropped}
    ends = sorted(float(cross.get_ydata()[0]) for cross in crosses)
    assert ends == pytest.approx(sorted(r.means[m] for m, r in dropped.items()))
    bars = [
        x for x in ax.lines if len(x.get_xdata()) == 2 and len(set(x.get_xdata())) == 1
    ]
    assert len(bars) == sum(len(each.reach) for each in choice.rounds)
    words = [text.get_text() for text in ax.get_legend().get_texts()]
    assert words[0].endswith(": use")
    assert "15 filtered, not trained" in words
    assert any(word.endswith("dropped after a short round, by rank") for word in words)
    with pytest.raises(TypeError, match="draws a Choice, got Runs"):
        plot.race(RUNS[2])


def test_a_bar_below_the_leader_is_who_was_dropped() -> None:
    """What the picture shows is what the race has decided by."""
    for choice in RACES.values():
        for each in choice.rounds:
            for model, reach in each.reach.items():
                behind = each.means[each.leader] - each.means[model] > reach
                assert behind == (model in each.dropped)


def test_critical_differences_are_those_of_the_table() -> None:
    """Mean ranks by scipy, and groups within Nemenyi's distance."""
    stats = pytest.importorskip("scipy.stats", reason="pip install scipy")
    comparison = CARDS[5]["persistence"]
    table = np.array([list(own.values()) for own in comparison.tasks.values()])
    means = stats.rankdata(-table, axis=0).mean(1)
    ax = plot.critical_difference(comparison)
    dots = [x for x in ax.lines if x.get_marker() in "oDs" and len(x.get_xdata()) == 1]
    found = sorted(float(dot.get_xdata()[0]) for dot in dots)
    assert found == pytest.approx(sorted(means))
    q = stats.studentized_range.ppf(0.95, 5, np.inf) / np.sqrt(2)
    reach = q * np.sqrt(5 * 6 / (6 * len(TASKS)))
    assert f"a critical difference {reach:.2f}" in ax.get_xlabel()


def test_a_history_is_taken_from_who_holds_it() -> None:
    """A run, a metric or columns; small values have an axis of their own, marks none."""
    run = pe.Run(model="m", task="t", dataset="d", strategy="s", seed=0, history=STEPS)
    for source in (run, STEPS):
        ax = plot.history(source)
        assert len(ax.figure.axes) == 2
        assert ax.figure.axes[1].get_ylabel() == "update_ratio"
        words = [text.get_text() for text in ax.get_legend().get_texts()]
        assert "clipped (9 of 60 steps)" in words
        assert "skipped (2 of 60 steps)" in words
    with pytest.raises(TypeError, match="draws a metric, a collection, a run"):
        plot.history(3)


def test_pictures_take_the_metric_itself() -> None:
    """What it computes need not be asked for."""
    import torch

    outputs = torch.tensor([[2.0, 1.0], [0.5, 1.5], [3.0, 0.0]])
    targets = torch.tensor([0, 1, 1])
    for metric, draw in (
        (pe.ConfusionMatrix(), plot.confusion_matrix),
        (pe.CalibrationError(scores="logits"), plot.reliability),
        (pe.F1Score(average="none"), plot.per_class),
    ):
        metric.update(outputs, targets)
        assert draw(metric).figure is not None


def test_a_scorecard_is_no_figure_of_pyplot() -> None:
    """A notebook draws what is returned, and pyplot's once more."""
    import matplotlib.pyplot as plt

    plot.scorecard(CARDS[2])
    assert plt.get_fignums() == []
