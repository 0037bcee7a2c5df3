"""Words of other libraries that are not ours, and what is written here instead."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

_FRAME = {
    name: f"to_pandas().{name} is the data frame's"
    for name in (
        *("apply", "columns", "describe", "drop", "dtypes", "groupby", "iloc", "loc"),
        *("pivot_table", "query", "sample", "shape", "sort_values", "tail"),
    )
}
_TABLE = _FRAME | {
    "df": "to_pandas() is the data frame",
    "to_frame": "to_pandas() is the data frame",
    "to_dataframe": "to_pandas() is the data frame",
    "to_parquet": "to_pandas().to_parquet(path) writes it",
    "to_string": "str(...) is the printed table",
}
_MOVED = "there is nothing to move: sums lie where the outputs of the batches lie"
_DRAWN = (
    "pretrain_eval.plot draws: plot.confusion_matrix, plot.reliability, plot.history"
)
_FROZEN = (
    "it is frozen: dataclasses.replace(evaluator, rope=0.01), or"
    " type(evaluator)(**(evaluator.get_params() | {'rope': 0.01})), makes another"
)
_SCORES = "score(runs) scores one model, compare(runs) ranks several: nothing is fitted"

# By what was asked, then by the word.
WORDS: Mapping[str, Mapping[str, str]] = {
    "metric": {
        "forward": "call it: metric(outputs, targets)",
        "to": _MOVED,
        "cuda": _MOVED,
        "cpu": _MOVED,
        "device": _MOVED,
        "plot": _DRAWN,
        "set_params": "make another: type(metric)(**(metric.get_params() | {...}))",
        "score": "update(outputs, targets) counts a batch, compute() gives the value",
        "add": "update(outputs, targets) counts a batch",
        "add_batch": "update(outputs, targets) counts a batch",
        "result": "compute() gives the value",
        "value": "compute() gives the value",
        "merge_state": "merge(other) counts what another one has counted",
        "sync": "compute() sums over processes; compute(sync=False) does not",
    },
    "collection": {
        "forward": "call it: metrics(outputs, targets)",
        "to": _MOVED,
        "cuda": _MOVED,
        "cpu": _MOVED,
        "add_metrics": "MetricCollection(metrics, more) makes one of both",
        "prefix": "metrics.clone(prefix='valid_') has such keys",
        "postfix": "metrics.clone(postfix='_valid') has such keys",
        "compute_groups": "what members count alike is always counted once",
        "log": "compute() gives the values by key",
    },
    "evaluator": {
        "fit": _SCORES,
        "predict": _SCORES,
        "transform": _SCORES,
        "fit_transform": _SCORES,
        "evaluate": _SCORES,
        "rank": _SCORES,
        "set_params": _FROZEN,
        "best_estimator_": "compare(runs).best names the model",
        "best_params_": "compare(runs).best names the model",
        "best_score_": "compare(runs).reports[0].score",
        "cv_results_": "compare(runs).to_pandas() is the table",
    },
    "comparison": _TABLE
    | {
        "plot": "pretrain_eval.plot.scores(comparison), and ranks, cost or differences",
        "head": "reports[:5] are the first",
        "best_model": "best names the model",
        "best_score": "reports[0].score, comparison[comparison.best].score",
        "best_trial": "reports[0] is the best model's report; best names it",
        "best_params": "best names the model",
        "best_value": "reports[0].score, comparison[comparison.best].score",
        "winner": "best names the model",
        "ranking": "reports are the models, best first",
        "models": "[each.model for each in comparison] are the models, best first",
        "scores": "{each.model: each.score for each in comparison}",
        "p_value": "pairwise() holds p, also adjusted by Holm",
        "pvalue": "pairwise() holds p, also adjusted by Holm",
    },
    "report": _TABLE
    | {
        "plot": "pretrain_eval.plot.scores(evaluator.compare(runs)) draws several",
        "value": "score is the value",
        "mean": "score is the value",
        "std": "interval.low and interval.high say how sure it is",
        "ci": "interval.low and interval.high",
        "confidence_interval": "interval.low and interval.high",
        "metrics": "parts make the score, details stand beside it",
    },
    "scorecard": _TABLE
    | {
        "plot": "pretrain_eval.plot.scorecard(card) draws it",
        "best_model": "best names the model",
        "best_trial": "best names the model",
        "protocols": "[each.protocol for each in card.comparisons]",
    },
    "monitor": {
        "update": "look(name, predictions) gives the monitor after one more look",
        "add": "look(name, predictions) gives the monitor after one more look",
        "observe": "look(name, predictions) gives the monitor after one more look",
        "fit": "monitor(reference) makes one",
        "run": "monitor(reference, looks) makes one; look(name, predictions) goes on",
        "calculate": "monitor(reference, looks) makes one; verdict says what it found",
        "alert": "dropped, drifted and exit_code say it; signals have the alarms",
        "plot": "pretrain_eval.plot.monitor(monitor) draws it",
    },
    "choice": {
        "best": "model is the one to use",
        "best_model": "model is the one to use",
        "best_params": "model is the one to use",
        "best_trial": "model is the one to use, runs are all trainings",
        "best_trials": "model is the one to use, not_separable stand beside it",
        "best_value": "p_best[choice.model], and regret_limit",
        "trials": "runs are all trainings",
        "trials_dataframe": "runs.to_pandas() is the table",
        "get_trials": "runs are all trainings; runs.filter(status='pruned') some",
        "optimize": "choose(models, tasks, strategies, store=...) goes on where it ended",
        "to_pandas": "runs.to_pandas() is the table",
        "history": "report() is the trail, round by round",
    },
    "runs": _TABLE
    | {
        "head": "runs[:5] are the first",
        "tail": "runs[-5:] are the last",
        "iloc": "runs[0] is one, runs[:5] are several",
        "loc": "runs.filter(model=...)",
        "query": "runs.filter(model=..., task=..., seed=..., status=...)",
        "append": "runs + [run] are more: they never change",
        "best": "runs.compare(pretrain_eval.PersistenceEvaluator()).best",
        "trials": "these are the runs: runs[0]",
        "to_csv": "runs.to_pandas().to_csv(path), or RunStore.write_csv(path)",
        "model": "[run.model for run in runs], or runs.filter(model=...)",
        "scores": "[run.scores for run in runs]",
        "plot": "pretrain_eval.plot.curves(runs), grid(runs) or profiles(runs)",
        "to_html": "to_pandas().to_html(); a notebook shows them by itself",
    },
    "run": {
        "accuracy": "run.scores['accuracy']",
        "loss": "run.curve and run.scores hold what was measured, by metric",
        "score": "run.scores holds one value a metric",
        "value": "run.scores holds one value a metric",
        "values": "run.scores holds one value a metric",
        "metrics": "run.scores holds one value a metric",
        "params": "run.settings holds all that the strategy sets",
        "config": "run.settings holds all that the strategy sets",
        "user_attrs": "run.settings holds all that the strategy sets",
        "summary": "run.scores holds one value a metric",
        "state": "run.status says how it ended",
        "number": "run.seed is its seed; runs have keys in a store, and no numbers",
        "duration": "run.cost.seconds are those of the training",
        "num_params": "run.cost.num_parameters",
        "asdict": "run.to_dict()",
    },
    "store": _FRAME
    | {
        "df": "to_pandas() is the data frame",
        "to_frame": "to_pandas() is the data frame",
        "head": "runs()[:5] are the first",
        "tail": "runs()[-5:] are the last",
        "iloc": "runs()[0] is one",
        "keys": "statuses() has them, and items() gives keys with runs",
        "values": "runs() are all of them",
        "trials": "runs() are all of them",
        "get_trials": "runs() are all of them, filter(status=...) some",
        "best_trial": "pretrain_eval.compare(store).best names the model",
        "query": "filter(model=..., task=..., seed=..., status=...)",
        "select": "filter(model=..., task=..., seed=..., status=...)",
        "to_csv": "write_csv(path) writes one row a run",
        "to_parquet": "write_parquet(path) writes one row a run",
        "to_json": "write_jsonl(path) writes them exactly",
        "load": "runs() are all of them",
        "save": "every add is kept at once; backup(path) copies the store",
        "commit": "every add is kept at once",
    },
    "arguments": {
        "average": "Accuracy counts samples; BalancedAccuracy is the mean over classes",
        "num_labels": "num_classes= is the number of labels too",
        "dim": "class_dim= says where the classes lie",
        "mdmc_average": "every entry of a batch counts as a sample",
        "multidim_average": "every entry of a batch counts as a sample",
        "validate_args": "what is given is always checked, and costs no wait",
        "dist_sync_on_step": "metric(outputs, targets) is of the batch of this process",
        "sync_on_compute": "compute(sync=False) is of this process alone",
        "compute_on_cpu": "sums lie where the outputs lie, and are fetched once",
        "squared": "RootMeanSquaredError is the root",
        "labels": "num_classes= says how many there are",
        "pos_label": "task='binary' is about class 1",
        "zero_division": "a class that nobody names counts as its page says",
        "sample_weight": "update(outputs, targets, weights=...)",
        "name": "MetricCollection(my_name=metric) names it",
    },
    "package": {
        "AUC": "AUROC",
        "BinaryAccuracy": "Accuracy(task='binary')",
        "MulticlassAccuracy": "Accuracy()",
        "MulticlassF1Score": "F1Score(num_classes=...)",
        "MultilabelF1Score": "F1Score(task='multilabel')",
        "Dice": "DiceScore",
        "F1": "F1Score",
        "JaccardIndex": "MeanIoU",
        "MeanMetric": "FunctionMetric, or a SumMetric of your own",
        "MetricTracker": "runs in a RunStore, or plot.history(metrics)",
        "CrossEntropyLoss": "LogLoss(scores='logits'), or Loss(torch.nn.functional.cross_entropy)",
        "accuracy_score": "functional.accuracy(outputs, targets)",
        "f1_score": "functional.f1_score(outputs, targets)",
        "classification_report": "F1Score(average=None), Precision and Recall",
        "confusion_matrix": "ConfusionMatrix, or functional.confusion_matrix",
        "cross_val_score": "sweep(models, tasks, strategies, seeds=range(5))",
        "cross_validate": "sweep(models, tasks, strategies, seeds=range(5))",
        "train_test_split": "Splits(train, valid, test)",
        "GridSearchCV": "sweep runs the grid, choose races through it",
        "RandomizedSearchCV": "choose(models, tasks, strategies)",
        "create_study": "choose(models, tasks, strategies, store='runs.db')",
        "load_study": "RunStore('runs.db')",
        "Study": "RunStore keeps runs, Choice is what choose decides",
        "load_runs": "RunStore('runs.db').runs()",
        "evaluate": "validate(model, loader, metrics), or an Evaluator",
        "fit": "finetune(model, task, strategy)",
        "train": "finetune(model, task, strategy)",
        "Trainer": "finetune(model, task, strategy)",
        "Dataset": "Task(name, datasets={label: Splits(train, valid)})",
        "load_model": "zoo, or load(run, model) for what a run has kept",
        "set_seed": "every function takes seed= or seeds=",
    },
}


def refusal(kind: str) -> Callable[[Any, str], Any]:
    """What a class says, as its `__getattr__`, of a word that others use.

    Where it stands, types are told nothing of it: to a type checker the word is unknown.
    """

    def __getattr__(self: object, name: str) -> Any:
        instead = WORDS[kind].get(name)
        said = f": {instead}" if instead else ""
        raise AttributeError(
            f"{type(self).__name__!r} object has no attribute {name!r}{said}",
            name=name,
            obj=self,
        )

    return __getattr__


def unknown_arguments(
    what: str, known: Sequence[str], args: Sequence[object], names: Iterable[str]
) -> TypeError:
    """What a metric says of arguments that it does not take.

    Args:
        what: The name of its class.
        known: The names of what it takes.
        args: What was given without a name.
        names: Of what was given by name.
    """
    strange = [name for name in names if name not in known]
    if args and not strange:
        shown = f"{known[0]}={args[0]!r}" if known else ""
        return TypeError(f"{what} takes its arguments by name: {what}({shown})")
    told = [f"; {WORDS['arguments'][n]}" for n in strange if n in WORDS["arguments"]]
    takes = ", ".join(known) or "no arguments"
    return TypeError(f"{what} takes {takes}, got {', '.join(strange)}{''.join(told)}")


def no_such_name(name: str) -> AttributeError:
    """What the package says of a name that it has not."""
    instead = WORDS["package"].get(name)
    said = f": {instead}" if instead else ""
    return AttributeError(f"pretrain_eval has no {name!r}{said}", name=name)
