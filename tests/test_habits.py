"""What users of other libraries type: it works, or one sentence says what to write.

The habits are taken from the documents of torchmetrics, scikit-learn, Optuna and pandas.
"""

import copy
import pickle
import sys
from functools import partial

import pytest
import torch

import pretrain_eval as pe
from pretrain_eval._habits import WORDS


def run(model: str, seed: int, lead: float) -> pe.Run:
    return pe.Run(
        model=model,
        task="t",
        dataset="d",
        strategy="full",
        seed=seed,
        scores={"accuracy": 0.5 + lead + seed / 100},
        settings={"epochs": 5},
        cost=pe.Cost(seconds=2.0, num_parameters=7),
    )


LEADS = {"resnet50": 0.3, "vit": 0.1}


@pytest.fixture
def names(tmp_path, request):
    """All that the code of a habit may name."""
    if "pandas" in request.node.name:
        pytest.importorskip("pandas", reason='pip install "pretrain-eval[pandas]"')
    runs = pe.Runs(run(m, s, lead) for m, lead in LEADS.items() for s in range(3))
    metric, metrics = (
        pe.Accuracy(),
        pe.MetricCollection([pe.Accuracy(), pe.BalancedAccuracy()]),
    )
    outputs = torch.tensor([[0.1, 0.9], [0.8, 0.2]])
    targets = torch.tensor([1, 1])
    metric.update(outputs, targets)
    metrics.update(outputs, targets)
    evaluator = pe.PersistenceEvaluator(rope=0.01)
    comparison = evaluator.compare(runs)
    choice = pe.Choice(
        model="vit",
        p_best={"vit": 1.0},
        regret_limit=0.0,
        confidence=0.95,
        cost_share=0.5,
        not_separable=(),
        stopped="one is left",
        rounds=(),
        runs=runs,
    )
    with pe.RunStore(tmp_path / "runs.db") as store:
        for each in runs:
            store.add(each.name, each)
        yield {
            "pe": pe,
            "torch": torch,
            "partial": partial,
            "copy": copy,
            "pickle": pickle,
            "metric": metric,
            "metrics": metrics,
            "outputs": outputs,
            "targets": targets,
            "evaluator": evaluator,
            "comparison": comparison,
            "report": comparison.reports[0],
            "card": pe.scorecard(runs),
            "choice": choice,
            "runs": runs,
            "run": runs[0],
            "store": store,
            "watch": pe.monitor({"values": [True, False] * 20}),
            "path": store.path,
            "pandas": sys.modules.get("pandas"),
        }


# The code, and what is true of what it gives, which is `it`.
WORKS = {
    # torchmetrics
    "metric.compute()": "it == 0.5",
    "metric.reset()": "it is None",
    "metric.update(outputs, targets)": "it is None and metric.compute() == 0.5",
    "metric(outputs, targets)": "it == 0.5",
    "metric.clone()": "it is not metric and it.compute() == 0.5",
    "metric.higher_is_better": "it is True",
    "metric.state_dict()": "it",
    "copy.deepcopy(metric)": "it.compute() == 0.5",
    "pickle.loads(pickle.dumps(metric))": "it.compute() == 0.5",
    "repr(pe.Accuracy(top_k=2))": "it == 'Accuracy(top_k=2)'",
    "pe.Accuracy(task='multiclass', num_classes=2)": "it.key == 'accuracy'",
    "pe.F1Score(task='multiclass', num_classes=2, average=None)": "it.key == 'f1'",
    "pe.AUROC(task='binary')": "it.key == 'auroc'",
    "pe.MetricCollection([pe.Accuracy(), pe.F1Score()])": "len(it) == 2",
    "pe.MetricCollection({'a': pe.Accuracy(), 'b': pe.F1Score()})": "list(it) == ['a', 'b']",
    "pe.MetricCollection(train=[pe.Accuracy()])": "list(it) == ['train/accuracy']",
    "metrics(outputs, targets)": "it['accuracy'] == 0.5",
    "metrics.compute()['accuracy']": "it == 0.5",
    "metrics['accuracy'].compute()": "it == 0.5",
    "metrics.clone(prefix='val_')": "it.compute().keys() == {'val_accuracy', 'val_balanced_accuracy'}",
    "metrics.clone(postfix='/val')": "'accuracy/val' in it and len(metrics) == 2",
    "list(metrics.items())": "[key for key, _ in it] == ['accuracy', 'balanced_accuracy']",
    "pe.functional.accuracy(outputs, targets)": "it == 0.5",
    # scikit-learn
    "evaluator.get_params()": "it['rope'] == 0.01 and it['confidence'] == 0.95",
    "metric.get_params()": "it['top_k'] == 1",
    "type(evaluator)(**evaluator.get_params())": "it == evaluator",
    "evaluator.score(runs.filter(model='vit'))": "it.model == 'vit'",
    "repr(evaluator)": "it.startswith('PersistenceEvaluator(')",
    "pe.functional.f1_score(outputs, targets)": "it == pe.functional.f1_score(outputs, targets)",
    # Optuna
    "pe.RunStore(path)": "it.runs() == runs and it.close() is None",
    "len(store)": "it == 6",
    "run.status": "it == 'completed'",
    "choice.runs.to_pandas().shape": "it[0] == 6",
    "pe.Strategy('s', optimizer='adamw', lr=1e-3, epochs=1)": "it.lr == 1e-3",
    # pandas
    "runs[0]": "it.model == 'resnet50'",
    "runs[1:3]": "len(it) == 2 and isinstance(it, pe.Runs)",
    "runs[-1].seed": "it == 2",
    "len(runs)": "it == 6",
    "run in runs": "it",
    "sorted(runs, key=lambda run: run.seed)[0].seed": "it == 0",
    "runs.filter(model='vit', seed=0)": "[each.name for each in it] == [runs[3].name]",
    "runs.to_pandas()['scores.accuracy'].max()": "round(it, 9) == 0.82",
    "runs.to_pandas().groupby('model')['scores.accuracy'].mean()['vit']": "round(it, 9) == 0.61",
    "pandas.DataFrame(runs)['model'].tolist()": "it == [each.model for each in runs]",
    "pandas.DataFrame(comparison)['score'].max()": "it == comparison.reports[0].score",
    "runs._repr_html_()": "'<table>' in it",
    "comparison['resnet50'].score": "round(it, 9) == 0.81",
    "[each.model for each in comparison]": "it == ['resnet50', 'vit']",
    "len(comparison)": "it == 2",
    "'vit' in comparison": "it",
    "'bert' in comparison": "not it",
    "comparison.to_pandas().sort_values('score').iloc[0]['model']": "it == 'vit'",
    "comparison.to_html()": "'<table>' in it",
    "comparison.to_markdown()": "it.startswith('| model |')",
    "comparison.to_latex(caption='c')": "'toprule' in it and 'caption' in it",
    "comparison.best": "it == 'resnet50'",
    "card['persistence'].best": "it == 'resnet50'",
    "[each.protocol for each in card]": "'persistence' in it",
    "'persistence' in card": "it",
    "store.to_pandas().shape[0]": "it == 6",
    "runs[0].name in store": "it",
}  # fmt: skip

# The code, and words of the sentence that refuses it.
SAYS = {
    # torchmetrics
    "metric.forward(outputs, targets)": "metric(outputs, targets)",
    "metric.to('cpu')": "nothing to move",
    "metric.cuda()": "nothing to move",
    "metric.device": "nothing to move",
    "metric.plot()": "plot.confusion_matrix",
    "pe.Accuracy('multiclass')": "Accuracy(task='multiclass')",
    "pe.Accuracy(average='macro')": "BalancedAccuracy",
    "pe.Accuracy(num_labels=3)": "num_classes=",
    "pe.F1Score(validate_args=False)": "always checked",
    "pe.MetricCollection([pe.Accuracy()], prefix='val_')": "metrics.clone(prefix='valid_')",
    "pe.MetricCollection([pe.Accuracy()], postfix='_val')": "metrics.clone(postfix=",
    "pe.MetricCollection([pe.Accuracy()], compute_groups=False)": "counted once",
    "metrics.forward(outputs, targets)": "metrics(outputs, targets)",
    "metrics.to('cpu')": "nothing to move",
    "metrics.add_metrics(pe.AUROC())": "MetricCollection(metrics, more)",
    "metrics['acc']": "['accuracy', 'balanced_accuracy']",
    "pe.JaccardIndex": "MeanIoU",
    "pe.Dice": "DiceScore",
    "pe.MulticlassAccuracy": "Accuracy()",
    "pe.MetricTracker": "RunStore",
    # scikit-learn
    "evaluator.fit(runs)": "compare(runs)",
    "evaluator.predict(runs)": "score(runs)",
    "evaluator.set_params(rope=0.1)": "dataclasses.replace(evaluator, rope=0.01)",
    "evaluator.cv_results_": "compare(runs).to_pandas()",
    "evaluator.best_estimator_": "compare(runs).best",
    "evaluator.score(runs)": "compare()",
    "metric.set_params(top_k=2)": "metric.get_params()",
    "pe.accuracy_score": "functional.accuracy",
    "pe.cross_val_score": "sweep(models, tasks, strategies",
    "pe.GridSearchCV": "choose",
    "pe.train_test_split": "Splits(train, valid, test)",
    "pe.classification_report": "F1Score(average=None)",
    # Optuna
    "pe.create_study()": "choose(models, tasks, strategies",
    "pe.load_study": "RunStore('runs.db')",
    "pe.RunStore('sqlite:///runs.db')": "'runs.db'",
    "choice.best_trial": "model is the one to use",
    "choice.best_params": "model is the one to use",
    "choice.best_value": "p_best",
    "choice.trials": "runs are all trainings",
    "choice.trials_dataframe()": "runs.to_pandas()",
    "choice.optimize": "choose(models, tasks, strategies, store=",
    "comparison.best_trial": "reports[0]",
    "comparison.best_value": "score",
    "store.trials": "runs()",
    "store.best_trial": "compare(store).best",
    "run.value": "run.scores",
    "run.params": "run.settings",
    "run.state": "run.status",
    "run.user_attrs": "run.settings",
    # pandas
    "runs.head()": "runs[:5]",
    "runs.iloc[0]": "runs[0]",
    "runs.loc[0]": "runs.filter(",
    "runs['model']": "runs.to_pandas()",
    "runs.sort_values('seed')": "to_pandas()",
    "runs.groupby('model')": "to_pandas()",
    "runs.query('seed == 0')": "runs.filter(",
    "runs.to_csv('runs.csv')": "to_pandas().to_csv(path)",
    "runs.columns": "to_pandas()",
    "runs.shape": "to_pandas()",
    "runs.append(run)": "runs + [run]",
    "comparison[0]": "reports[0]",
    "comparison['bert']": "['resnet50', 'vit']",
    "comparison.to_frame()": "to_pandas()",
    "comparison.head()": "reports[:5]",
    "comparison.iloc[0]": "to_pandas()",
    "comparison.sort_values('score')": "to_pandas()",
    "comparison.groupby('model')": "to_pandas()",
    "comparison.plot()": "pretrain_eval.plot.scores(comparison)",
    "comparison.ranking": "reports",
    "report.to_frame()": "to_pandas()",
    "report.confidence_interval": "interval.low",
    "card.plot()": "plot.scorecard(card)",
    "store.to_parquet('runs.parquet')": "write_parquet(path)",
    "watch.update(1)": "look(name, predictions)",
    "watch.alert": "dropped, drifted and exit_code",
    "watch.plot()": "pretrain_eval.plot.monitor",
    "store[0]": "store.runs()[0]",
    "store.keys()": "items()",
    "store.df": "to_pandas()",
    "store.head()": "runs()[:5]",
    "store.query('seed == 0')": "filter(",
    "pe.compare(runs.to_pandas())": "got a data frame",
}  # fmt: skip


@pytest.mark.parametrize("code", WORKS)
def test_a_habit_works(code, names):
    """What is typed as elsewhere gives what is meant."""
    assert eval(WORKS[code], {**names, "it": eval(code, names)})


@pytest.mark.parametrize("code", SAYS)
def test_a_habit_is_refused_in_one_sentence(code, names):
    """The error names what to write."""
    with pytest.raises((AttributeError, KeyError, TypeError, ValueError)) as caught:
        eval(code, names)
    said = str(caught.value.args[0])
    assert SAYS[code] in said
    assert "\n" not in said
    assert len(said) < 260


def test_the_habits_are_enough():
    """Seventy-three at least."""
    assert len(WORKS) + len(SAYS) >= 73


def test_a_word_that_nobody_uses_is_refused_plainly(names):
    """As Python says it; and who asks whether there is one is told no."""
    for name in (
        "metric",
        "metrics",
        "evaluator",
        "comparison",
        "runs",
        "run",
        "store",
    ):
        with pytest.raises(AttributeError, match=r"has no attribute 'nonsense'$"):
            names[name].nonsense  # noqa: B018
        assert not hasattr(names[name], "boxplot")
    with pytest.raises(AttributeError, match=r"pretrain_eval has no 'nonsense'$"):
        pe.nonsense  # noqa: B018


def test_no_word_of_the_table_is_there_already(names):
    """An attribute that exists is never asked for in the table."""
    kinds = {
        "metric": "metric",
        "collection": "metrics",
        "evaluator": "evaluator",
        "comparison": "comparison",
        "report": "report",
        "scorecard": "card",
        "choice": "choice",
        "monitor": "watch",
        "runs": "runs",
        "run": "run",
        "store": "store",
    }
    assert {*kinds, "arguments", "package"} == WORDS.keys()
    for kind, name in kinds.items():
        assert not [word for word in WORDS[kind] if hasattr(names[name], word)]
    assert not [word for word in WORDS["package"] if hasattr(pe, word)]


EVALUATORS = [
    pe.OptimizabilityEvaluator(),
    pe.UsabilityEvaluator(budget=pe.Budget(parameters=(10**6, 10**7))),
    pe.VariabilityEvaluator(metric="accuracy"),
    pe.ReusabilityEvaluator(scratch="random"),
    pe.PersistenceEvaluator(metric={"t": "accuracy"}, confidence=0.9),
]
METRICS = [
    pe.Accuracy(top_k=2),
    pe.F1Score(task="multilabel", num_classes=3),
    pe.GradNorm(statistic="max", per="module"),
    pe.CalibrationError(scores="probabilities"),
    pe.Loss(torch.nn.functional.cross_entropy),
    pe.FunctionMetric(torch.nn.functional.mse_loss, better="lower", reduction="mean"),
]


@pytest.mark.parametrize(
    "made", [*EVALUATORS, *METRICS], ids=lambda x: type(x).__name__
)
def test_scikit_learn_clones_it(made):
    """By `get_params`, which scikit-learn also holds to what was given."""
    base = pytest.importorskip("sklearn.base", reason="pip install scikit-learn")
    twin = base.clone(made)
    assert twin is not made
    assert type(twin) is type(made)
    assert twin.get_params(deep=False).keys() == made.get_params().keys()
    assert repr(twin) == repr(base.clone(twin))
    if made in EVALUATORS:
        assert twin == made


def test_a_metric_of_ones_own_without_arguments_has_none():
    """A class that takes nothing is cloned as well."""

    class Count(pe.Metric):
        key = "count"
        count = 0

        def update(self, outputs, targets):
            self.count += len(targets)

        def compute(self):
            return float(self.count)

        def reset(self):
            self.count = 0

    assert Count().get_params() == {}
    with pytest.raises(TypeError, match="Count takes no arguments, got average"):
        Count(average="macro")
