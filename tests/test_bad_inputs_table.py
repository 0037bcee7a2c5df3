"""Bad inputs at the public doors, more than seven hundred, refused in words before work.

A case is a door, the argument that is wrong, and the wrong value. What is raised must be
an error of this package's own wording: it says what came, by its value, its type or its
name, and what is expected instead. An error from inside torch or Python, or silence, is
a defect.
"""

from __future__ import annotations

import math
import re
import traceback
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from networks import Small, points, three_classes

import pretrain_eval as pe
from pretrain_eval import functional, plot, zoo

NAN, INF = math.nan, math.inf
SGD = partial(torch.optim.SGD, lr=0.1)
SPLITS = three_classes().datasets["points"]
TASK = three_classes()
FULL = pe.Strategy("full", optimizer=SGD, epochs=1)
PACKAGE = str(Path(pe.__file__).parent)


class Case(NamedTuple):
    """One bad input.

    Attributes:
        door: What is called.
        wrong: The argument and its value, in words.
        call: Does it.
        tokens: What the message may name what came by.
    """

    door: str
    wrong: str
    call: Callable[[], Any]
    tokens: tuple[str, ...]


CASES: list[Case] = []


def told(value: Any) -> tuple[str, ...]:
    """How a message may name a value."""
    words = [repr(value), str(value), type(value).__name__]
    if isinstance(value, dict):
        value = [each for pair in value.items() for each in pair]
    for each in value if isinstance(value, list | tuple | set) else [value]:
        words += [repr(each), type(each).__name__, str(getattr(each, "name", ""))]
        words += [str(getattr(each, "model", ""))]
    if isinstance(value, torch.Tensor):
        words += [str(tuple(value.shape)), str(value.dtype)]
    found = [word for word in words if word.strip("'\"")]
    # An empty text is told by its quotes.
    quotes = ["got ''", "in ''", "got 0: []"] if "''" in words else []
    return (*found, *quotes)


def bad(
    door: str,
    make: Callable[..., Any],
    argument: str,
    values: Iterable[Any],
    /,
    *also: str,
    **rest: Any,
) -> None:
    """A case for each wrong value of one argument, the others being right."""
    for value in values:
        empty = ("empty", "none", "no ", "got ''") if value in ("", [], (), {}) else ()
        CASES.append(
            Case(
                door,
                f"{argument}={value!r:.40}",
                partial(make, **{**rest, argument: value}),
                (*told(value), *empty, *also),
            )
        )


def case(door: str, wrong: str, call: Callable[[], Any], *tokens: str) -> None:
    CASES.append(Case(door, wrong, call, tokens))


COUNTS = (0, -1, 1.5, "3", True, NAN)
NAMES = ("", None, 3)

# --- the problem

bad("Task", pe.Task, "name", NAMES, datasets={"d": SPLITS}, num_classes=3)
bad(
    "Task",
    pe.Task,
    "num_classes",
    (0, 1, -3, 2.0, "3"),
    name="t",
    datasets={"d": SPLITS},
)
bad("Task", pe.Task, "num_classes", (2,), "2", name="t", datasets={"d": SPLITS})
bad("Task", pe.Task, "num_outputs", (0, -1, 1.5, "1"), name="t", datasets={"d": SPLITS})
bad(
    *(
        "Task",
        pe.Task,
        "datasets",
        ({}, None, [SPLITS], {"": SPLITS}, {"d": 3}, {3: SPLITS}),
    ),
    name="t",
    num_classes=3,
)
bad(
    "Task",
    pe.Task,
    "kind",
    (3, "classes", pe.Classification),
    name="t",
    datasets={"d": SPLITS},
)
bad(
    "Task",
    pe.Task,
    "metrics",
    (3, "accuracy", [], [3]),
    name="t",
    datasets={"d": SPLITS},
    num_classes=3,
)
bad(
    "Task", pe.Task, "loss", (3, "mse"), name="t", datasets={"d": SPLITS}, num_classes=3
)
bad("Task", pe.Task, "forward", (3,), name="t", datasets={"d": SPLITS}, num_classes=3)
case(
    "Task",
    "two kinds",
    lambda: pe.Task("t", datasets={"d": SPLITS}, num_classes=3, num_outputs=1),
    "num_classes",
    "num_outputs",
)
case("Task", "no kind", lambda: pe.Task("t", datasets={"d": SPLITS}), "num_classes")
bad(
    "Splits",
    pe.Splits,
    "train",
    (None, 3, "data", [], {}, iter([1])),
    valid=points(9, 2),
)
bad("Splits", pe.Splits, "valid", (None, 3, "data", []), train=points(9, 1))
bad(
    "Splits", pe.Splits, "test", (3, "data", []), train=points(9, 1), valid=points(9, 2)
)
case(
    "Splits",
    "train as valid",
    lambda: pe.Splits(points(9, 1), points(9, 1)),
    "train",
    "valid",
)
case(
    "Splits",
    "target of no entry",
    lambda: pe.Splits([{"a": 1, "b": 2}], [{"a": 2, "b": 2}], target="c").train[0],
    "'c'",
)
case(
    "Splits",
    "target of no place",
    lambda: pe.Splits([(1, 2)], [(2, 3)], target=5).train[0],
    "5",
)
bad("Stream", pe.Stream, "source", (3, None, iter([1])), num_samples=1, version="1")
bad("Stream", pe.Stream, "num_samples", COUNTS, source=[1], version="1")
bad("Stream", pe.Stream, "version", ("", None, 3), source=[1], num_samples=1)
bad("Stream", pe.Stream, "buffer", (0, -1, 2.5), source=[1], num_samples=1, version="1")
for Kind, name in (
    (pe.Classification, "num_classes"),
    (pe.MultiLabel, "num_labels"),
    (pe.TokenClassification, "num_classes"),
    (pe.Segmentation, "num_classes"),
    (pe.Detection, "num_classes"),
    (pe.Regression, "num_outputs"),
):
    bad(Kind.__name__, Kind, name, (0, -1, 1.5, "3"))
bad("Recommendation", pe.Recommendation, "num_items", (0, -1, 2.5, "9"))
bad("Recommendation", pe.Recommendation, "k", (0, -1, 1.5), num_items=9)
bad("Recommendation", pe.Recommendation, "loss_of_pairs", ("ce", 3), num_items=9)
bad("Recommendation", pe.Recommendation, "num_negatives", (0, -1, 1.5), num_items=9)
bad("Retrieval", pe.Retrieval, "k", ((), (0,), (1.5,), 3))
bad("Retrieval", pe.Retrieval, "temperature", (0.0, -1.0, NAN, "warm"))
bad("Segmentation", pe.Segmentation, "aux_weight", (-1.0, NAN, "much"), num_classes=3)
bad("SequenceToSequence", pe.SequenceToSequence, "metric", ("rouge", 3), decode=str)
bad("SequenceToSequence", pe.SequenceToSequence, "decode", (3, None))
bad("SpeechRecognition", pe.SpeechRecognition, "vocabulary", ([], "", 3))
bad(
    "SpeechRecognition",
    pe.SpeechRecognition,
    "blank",
    (5, -1, 0.5),
    vocabulary=["_", "a"],
)
bad("LanguageModelling", pe.LanguageModelling, "bytes_per_token", (0.0, -1.0, NAN, "4"))

# --- the model's side

bad("Pretrained", pe.Pretrained, "build", (3, None, ""))
bad("Pretrained", pe.Pretrained, "head", (3, ""), build=Small)
bad("Pretrained", pe.Pretrained, "transform", (3, "resize"), build=Small)
bad("Pretrained", pe.Pretrained, "collate", (3, "pad"), build=Small)
bad("zoo.torchvision", zoo.torchvision, "model", ("resnet1000", 3, ""))
case(
    "zoo.torchvision",
    "weights of no name",
    lambda: zoo.torchvision("resnet18", "BEST"),
    "'BEST'",
)
bad("zoo.state_dict", zoo.state_dict, "path", ("nowhere.pt",), model=Small)
bad("zoo.torch_hub", zoo.torch_hub, "repo_or_dir", ("",), name="net")

# --- the strategy

bad("Strategy", pe.Strategy, "name", NAMES, optimizer=SGD, epochs=1)
bad("Strategy", pe.Strategy, "epochs", (*COUNTS, None), name="s", optimizer=SGD)
bad("Strategy", pe.Strategy, "batch_size", COUNTS, name="s", optimizer=SGD, epochs=1)
bad("Strategy", pe.Strategy, "accumulate", COUNTS, name="s", optimizer=SGD, epochs=1)
bad(
    "Strategy",
    pe.Strategy,
    "patience",
    (0, -1, 1.5, "2"),
    name="s",
    optimizer=SGD,
    epochs=1,
)
bad(
    "Strategy",
    pe.Strategy,
    "ema",
    (0.0, 1.0, -0.5, 2, NAN, "high"),
    name="s",
    optimizer=SGD,
    epochs=1,
)
bad(
    "Strategy",
    pe.Strategy,
    "max_grad_norm",
    (0, -1.0, NAN, "1"),
    name="s",
    optimizer=SGD,
    epochs=1,
)
bad("Strategy", pe.Strategy, "optimizer", (None, 3, "sdg"), name="s", epochs=1)
bad(
    "Strategy",
    pe.Strategy,
    "lr",
    (-0.1, NAN, "0.1", True),
    name="s",
    optimizer="sgd",
    epochs=1,
)
bad(
    "Strategy",
    pe.Strategy,
    "trainable",
    ("heads", 3.5, [], {}, -1),
    name="s",
    optimizer=SGD,
    epochs=1,
)
bad(
    "Strategy",
    pe.Strategy,
    "schedule",
    (3, "cosine"),
    name="s",
    optimizer=SGD,
    epochs=1,
)
bad("Strategy", pe.Strategy, "loss", (3, "ce"), name="s", optimizer=SGD, epochs=1)
bad("Strategy", pe.Strategy, "amp", ("fp8", 16), name="s", optimizer=SGD, epochs=1)
bad("Strategy", pe.Strategy, "prepare", (3,), name="s", optimizer=SGD, epochs=1)
bad("Strategy", pe.Strategy, "penalty", (0.1,), name="s", optimizer=SGD, epochs=1)
bad("Strategy", pe.Strategy, "train", (3, "mine"), name="s")
bad("probe", pe.probe, "penalties", ((), (0.0,), (-1.0,), (NAN,)))
bad("nearest_neighbours", pe.nearest_neighbours, "k", COUNTS)

# --- one run and the grid


def tune(**given: Any) -> Any:
    asked = {"model": Small(), "task": TASK, "strategy": FULL, **given}
    return pe.finetune(**asked)


def swept(**given: Any) -> Any:
    asked: dict[str, Any] = {
        "models": {"m": Small()},
        "tasks": [TASK],
        "strategies": [FULL],
        "progress": False,
        **given,
    }
    return pe.sweep(**asked)


def raced(**given: Any) -> Any:
    asked: dict[str, Any] = {
        "models": {"a": Small(2), "b": Small(3)},
        "tasks": [TASK],
        "strategies": [pe.Strategy("full", optimizer=SGD, epochs=2)],
        "seeds": (0, 1),
        "progress": False,
        **given,
    }
    return pe.choose(**asked)


bad("finetune", tune, "model", (3, None, "no_such_net", []))
bad("finetune", tune, "task", (3, None, "digits"))
bad("finetune", tune, "strategy", (3, None, "full"))
bad("finetune", tune, "seed", (-1, 1.5, "0", None, 2**63, True))
bad("finetune", tune, "dataset", ("other", 3))
bad("finetune", tune, "name", ("", 3))
bad("finetune", tune, "head", ("nowhere", 3))
bad("finetune", tune, "device", ("tpu9", "gpu", 3.5))
bad("finetune", tune, "draws", ("both", None, 3))
bad("finetune", tune, "checkpoint", ("no/such/folder/run.pt",))
bad("finetune", tune, "on_epoch", (3,))
bad("finetune", tune, "on_end", (3,))
bad(
    "sweep",
    swept,
    "models",
    ({}, [], None, {"": Small()}, {"m": 3}, "resnet18", ["nonet"]),
)
bad("sweep", swept, "tasks", ([], None, [3], TASK, [TASK, TASK]))
bad("sweep", swept, "strategies", ([], None, [3], FULL, [FULL, FULL]))
bad("sweep", swept, "seeds", ((), (-1,), (0, 0), (1.5,), ("0",), (2**63,), 3))
bad("sweep", swept, "heads", ({"other": "head"}, {"m": "nowhere"}, "head"))
bad("sweep", swept, "workers", (0, -1, 1.5, "2"))
bad("sweep", swept, "timeout", (0, -1.0, NAN, "60"))
bad("sweep", swept, "retry", (("completed",), ("crash",), "error", 3))
bad("sweep", swept, "device", ("tpu9", [], 3.5))
bad("sweep", swept, "store", ("no/such/folder/runs.db", 3, "sqlite:///runs.db"))
bad("sweep", swept, "executor", (3, "ray"))
bad("sweep", swept, "progress", ("bar", 3, None))
bad("sweep", swept, "draws", ("both",))
bad("sweep", swept, "keep", ("best",), save="x")
bad("sweep", swept, "keep", (bool,), "save")
bad("choose", raced, "models", ({"a": Small()}, {}, None))
bad("choose", raced, "seeds", ((0,), (), (0, 0), (-1, 0)))
bad("choose", raced, "confidence", (0, 1, 1.5, -0.5, NAN, "0.95"))
bad("choose", raced, "tolerance", (-0.1, NAN, "small"))
bad("choose", raced, "budget", (0, -1, NAN, "all", 1e-6))
bad("choose", raced, "short", (0, -0.5, 1.5, NAN, "short"))
bad("choose", raced, "keep", (0, -0.5, 1.5, NAN, "all"))
bad("choose", raced, "metric", ("f7", 3))
bad("choose", raced, "strategies", ([], [pe.probe()], [3]))
bad(
    "estimate",
    partial(pe.estimate, progress=False),
    "models",
    ({}, None, {"m": 3}),
    task=TASK,
)
bad(
    "estimate",
    partial(pe.estimate, progress=False),
    "task",
    (3, None),
    models={"m": Small()},
)
bad(
    "estimate",
    partial(pe.estimate, progress=False),
    "by",
    (["magic"], 3),
    models={"m": Small()},
    task=TASK,
)
bad(
    "estimate",
    partial(pe.estimate, progress=False),
    "num_samples",
    (0, -1, 1.5),
    models={"m": Small()},
    task=TASK,
)
bad(
    "estimate",
    partial(pe.estimate, progress=False),
    "runs",
    ("typo.db",),
    models={"m": Small()},
    task=TASK,
)

# --- records


def record(**given: Any) -> pe.Run:
    names = {"model": "m", "task": "t", "dataset": "d", "strategy": "s", "seed": 0}
    return pe.Run(**{**names, **given})


RUNS = [
    record(model=m, seed=s, scores={"accuracy": a + s / 50}, chance={"accuracy": 0.1})
    for m, a in {"a": 0.6, "b": 0.8}.items()
    for s in range(2)
]
for name in ("model", "task", "dataset", "strategy"):
    bad("Run", record, name, ("", None, 3))
bad("Run", record, "seed", (-1, 1.5, "0", None, 2**63, True))
bad("Run", record, "status", ("done", None, 3))
bad("Run", record, "message", (None, 3))
for name in ("scores", "baseline", "chance"):
    bad("Run", record, name, ({"a": "high"}, {"a": NAN}, {3: 0.5}, [0.5], None))
for value in (7.0, -0.5):
    run = record(scores={"accuracy": value})
    case(
        "score",
        f"accuracy {value}",
        lambda r=run: pe.PersistenceEvaluator().score([r]),
        f"is {value:g}",
    )
bad(
    "Run",
    record,
    "curve",
    ({"a": (1.0,), "b": (1.0, 2.0)}, {"a": 3}, [1], {"a": ("x",)}),
)
bad("Run", record, "history", ({"a": (1.0,), "b": ()}, {"a": "x"}, 3))
bad("Run", record, "cost", ({"seconds": 1}, 3, None))
bad("Run", record, "num_examples", (0, -1, 1.5, "9"))
bad("Run", record, "confusion", (((0, 0),), ((0, 0, 0),), ((-1, 0, 1),), "x"))
bad("Run", record, "scales", ({"a": "higher"}, 3))
for name in ("num_parameters", "macs", "peak_memory", "num_samples"):
    bad("Cost", pe.Cost, name, (-1, 1.5, "9", NAN))
for name in ("seconds", "total_seconds"):
    bad("Cost", pe.Cost, name, (-1.0, "9", NAN, INF))
bad("Scale", pe.Scale, "better", ("up", None, 1))
bad("Scale", pe.Scale, "low", ("0", NAN), better="higher")
case(
    "Scale",
    "upside down",
    lambda: pe.Scale(better="higher", low=1.0, high=0.0),
    "1.0",
    "0.0",
)
bad("Runs", pe.Runs, "runs", ("a", [3], [None]))
bad(
    "Run.from_json",
    lambda text: pe.Run.from_json(text),
    "text",
    ("{", "[]", "3", '{"model": "m"}', '{"x": 1}'),
)
bad(
    "Report.from_json",
    lambda text: pe.Report.from_json(text),
    "text",
    ("{", "[]", "3", '{"x": 1}'),
    "'x'",
)
bad("Run.from_dict", pe.Run.from_dict, "fields", ({}, {"x": 1}, [1], None))
bad("RunStore", pe.RunStore, "path", (":memory:", "no/such/folder/runs.db"))

# --- scores

for Evaluator in (
    pe.PersistenceEvaluator,
    pe.OptimizabilityEvaluator,
    pe.UsabilityEvaluator,
    pe.VariabilityEvaluator,
    pe.ReusabilityEvaluator,
):
    door = Evaluator.__name__
    bad(door, Evaluator, "confidence", (0, 1, 1.5, NAN, "0.95"))
    bad(door, Evaluator, "rope", (-0.1, NAN, "small"))
    bad(door, Evaluator, "diverged", ("ignore", None))
    bad(door, Evaluator, "over", ((), ("models",), "seeds"))
    bad(door, Evaluator, "seeds", ("paired", 3))
    bad(door, Evaluator, "better", ("up", 3))
    bad(door, Evaluator, "seed", (-1, 1.5, "0"))
bad("OptimizabilityEvaluator", pe.OptimizabilityEvaluator, "time", ("sqrt", 3))
bad("compare", pe.compare, "runs", ([], "typo.db", [3], "sqlite:///x.db", RUNS[:1] * 2))
bad("compare", partial(pe.compare, RUNS), "evaluator", (3, "persistence"))
case(
    "compare",
    "a class",
    lambda: pe.compare(RUNS, pe.PersistenceEvaluator),
    "PersistenceEvaluator",
)
bad("scorecard", pe.scorecard, "runs", ([], "typo.db", [3]))
bad("scorecard", partial(pe.scorecard, RUNS), "decided_by", ("mean", 3))
bad("scorecard", partial(pe.scorecard, RUNS), "metric", ("f7",))
bad("scorecard", partial(pe.scorecard, RUNS), "scratch", ("nobody",))
for name in ("parameters", "macs", "peak_memory", "seconds"):
    bad("Budget", pe.Budget, name, ((0, 1), (2, 1), (1,), 5, (NAN, 1), (1, 1)))
bad("replay", pe.replay, "runs", ([], RUNS, [3]))

# --- metrics

OUTPUTS, TARGETS = torch.randn(6, 3), torch.randint(3, (6,))
bad("Accuracy", pe.Accuracy, "task", ("classes", 3))
bad("Accuracy", pe.Accuracy, "top_k", (0, -1, 1.5, "2"))
bad("Accuracy", pe.Accuracy, "num_classes", (0, -1, 1.5))
bad("F1Score", pe.F1Score, "average", ("mean", 3))
bad("F1Score", pe.F1Score, "absent", ("skip", 3))
bad("AUROC", pe.AUROC, "average", ("micro", 3), task="multiclass")
bad("AUROC", pe.AUROC, "num_bins", (0, 1, -1, 2.5), task="binary", scores="logits")
bad("CalibrationError", pe.CalibrationError, "num_bins", (0, -1, 1.5), scores="logits")
bad("CalibrationError", pe.CalibrationError, "scores", ("raw", 3))
bad("NDCG", pe.NDCG, "k", (0, -1, 1.5))
bad("HitRate", pe.HitRate, "k", (0, -1, 1.5))
bad("Loss", pe.Loss, "criterion", (3, "ce"))
bad("BitsPerByte", pe.BitsPerByte, "bytes_per_token", (0, -1, NAN, "4"))
bad("TopKAccuracy", pe.TopKAccuracy, "k", (0, -1, 1.5))
bad("R2Score", pe.R2Score, "average", ("macro", 3))
bad("FunctionMetric", pe.FunctionMetric, "function", (3, "f1"), better="higher")
bad("FunctionMetric", partial(pe.FunctionMetric, max), "better", ("up", 3))
bad("GradNorm", pe.GradNorm, "statistic", ("sum", 3, None))
bad("GradNorm", pe.GradNorm, "per", ("layer", 3))
for Metric in (pe.Accuracy, pe.ConfusionMatrix, partial(pe.F1Score, num_classes=3)):
    door = f"{getattr(Metric, '__name__', 'F1Score')}.update"
    for wrong, outputs, targets in (
        ("fewer targets", OUTPUTS, TARGETS[:4]),
        ("a class beyond", OUTPUTS, TARGETS + 3),
        ("a class below", OUTPUTS, TARGETS - 9),
        ("numbers as targets", OUTPUTS, TARGETS.float()),
        ("no tensor", [1, 2], TARGETS),
        ("targets of strings", OUTPUTS, ["a"] * 6),
        ("three dimensions", OUTPUTS[None, None], TARGETS),
    ):
        tokens = (
            *told(outputs),
            *told(targets),
            "6 targets lie",
            "got 3",
            "got 4",
            "got 5",
            "got -",
        )
        case(
            door,
            wrong,
            lambda m=Metric, o=outputs, t=targets: m().update(o, t),
            *tokens,
        )
for function in (functional.r2_score, functional.mean_squared_error):
    door = f"functional.{function.__name__}"
    case(
        door, "other shapes", lambda f=function: f(torch.ones(3), torch.ones(4)), "(3,)"
    )
    case(door, "no tensor", lambda f=function: f([1.0], torch.ones(1)), "list")
    case(
        door,
        "complex",
        lambda f=function: f(torch.ones(2) * 1j, torch.ones(2)),
        "complex",
    )
for formula in (
    functional.logme,
    functional.h_score,
    functional.knn_accuracy,
    functional.gbc,
):
    door = f"functional.{formula.__name__}"
    case(
        door, "fewer targets", lambda f=formula: f(torch.randn(6, 2), [0, 1]), "6", "2"
    )
    case(door, "one dimension", lambda f=formula: f(torch.randn(6), [0, 1] * 3), "(6,)")
    case(
        door,
        "NaN",
        lambda f=formula: f(torch.full((6, 2), NAN), [0, 1] * 3),
        "NaN",
        "nan",
        "finite",
    )
    case(door, "no sample", lambda f=formula: f(torch.zeros(0, 2), []), "0", "(0, 2)")
bad(
    "MetricCollection",
    lambda **g: pe.MetricCollection(g["metrics"]),
    "metrics",
    (3, "accuracy", [], [3], {"": pe.Accuracy()}),
)
case("MetricCollection", "nothing", pe.MetricCollection, "none")
case(
    "MetricCollection",
    "one key twice",
    lambda: pe.MetricCollection(pe.Accuracy(), pe.Accuracy()),
    "'accuracy'",
)
case(
    "MetricCollection",
    "kinds of steps alone",
    lambda: pe.MetricCollection(pe.GradNorm()).compute(),
    "grad_norm",
)
MODEL = Small()
OPTIMIZER = SGD(MODEL.parameters())
bad("attach", lambda **g: pe.GradNorm().attach(**g), "optimizer", (MODEL, 3, None, []))
bad(
    "attach",
    partial(lambda o, **g: pe.GradNorm().attach(o, **g), OPTIMIZER),
    "every",
    COUNTS,
)
bad(
    "attach",
    partial(lambda o, **g: pe.GradNorm().attach(o, **g), OPTIMIZER),
    "log",
    (3, "steps.csv"),
)
case(
    "attach",
    "no step metric",
    lambda: pe.MetricCollection(pe.Accuracy()).attach(OPTIMIZER),
    "accuracy",
    "step metric",
)
LOADER = torch.utils.data.DataLoader(points(9, 1), 3)
bad(
    "validate",
    partial(pe.validate, loader=LOADER, metrics=pe.Accuracy()),
    "model",
    (3, None, "net"),
)
bad(
    "validate",
    partial(pe.validate, MODEL, metrics=pe.Accuracy()),
    "loader",
    (3, None, []),
)
bad("validate", partial(pe.validate, MODEL, LOADER), "metrics", (3, "accuracy", []))
bad(
    "validate",
    partial(pe.validate, MODEL, LOADER, pe.Accuracy()),
    "forward",
    (3, "call"),
)
bad("validate", partial(pe.validate, MODEL, LOADER, pe.Accuracy()), "device", ("tpu9",))
bad("load", pe.load, "run", (record(), 3), "m on t/d")

# --- pictures

CARD = pe.scorecard(RUNS)
bad("plot.scores", plot.scores, "comparison", (3, None, RUNS))
bad("plot.scorecard", plot.scorecard, "card", (3, RUNS))
bad("plot.curves", plot.curves, "runs", ([], [3], RUNS), "'accuracy'")
bad("plot.grid", plot.grid, "runs", (RUNS, []))
bad(
    "plot.history",
    plot.history,
    "source",
    (3, {}, {"step": (1,)}, {"step": (1, 2), "a": (1.0,)}),
)
bad(
    "plot.confusion_matrix",
    plot.confusion_matrix,
    "matrix",
    ([[1, 2]], record()),
    "(1, 2)",
)
bad("plot.per_class", plot.per_class, "values", ([], [[1.0]]))
bad(
    "plot.cost",
    partial(plot.cost, CARD["persistence"]),
    "against",
    ("time", "parameters"),
)

ASKS = re.compile(
    r"expect|must|give|use |uses|need|choose|name |says?\b|one of|want|cannot|has no|have no"
    r"|there (is|are)|of these|reads|takes|are made of|is not|make|write|hold|no such|draw"
    r"|no run has|sweep with|is read from|is defined|attach it|does not know|with a|lie outside|is square|for \d"
    r"|at least|is no|does not|are no|empty|has the|below|between|asks?\b|differ|mean",
    re.IGNORECASE,
)


# Python's own words, which say nothing of what a user did.
RAW = re.compile(
    r"not supported between|has no attribute|unsupported operand|required positional"
    r"|unexpected keyword|object is not|not subscriptable|must be real number|invalid literal"
)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "one", CASES, ids=[f"{each.door} {i}" for i, each in enumerate(CASES)]
)
def test_a_bad_input_is_refused_in_words(
    one: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that says what came and what is expected, worded by this package."""
    monkeypatch.chdir(tmp_path)
    try:
        one.call()
    except Exception as error:
        found, message = error, str(error)
    else:
        pytest.fail(f"{one.door} took {one.wrong} in silence")
    raised = traceback.extract_tb(found.__traceback__)[-1].filename
    assert raised.startswith(PACKAGE), f"{one.wrong}: raised in {raised}: {message}"
    assert not RAW.search(message), f"{one.wrong}: {message}"
    assert any(token in message for token in one.tokens), f"{one.wrong}: {message}"
    assert ASKS.search(message), f"{one.wrong}: {message}"
    assert not list(tmp_path.rglob("*.db")), "work had begun"


def test_the_table_is_as_long_as_promised() -> None:
    """Seven hundred inputs at seventy doors or more."""
    assert len(CASES) >= 700
    assert len({each.door for each in CASES}) >= 70
