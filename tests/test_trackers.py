"""One line logs every step, and what was logged is read back from where it went."""

import csv
import json
import math
import warnings
from pathlib import Path

import pytest
import torch
from steps_truth import batches, network
from torch.nn.functional import cross_entropy

import pretrain_eval as pe
from pretrain_eval._metrics import telling
from pretrain_eval.integrations import trackers

NUMBER = 7


def trained(log, *, every: int = 1, metrics: pe.MetricCollection | None = None):
    """The collection after a few steps, each of which was logged."""
    metrics = metrics or pe.MetricCollection(
        pe.GradNorm(), ratio=pe.UpdateRatio(), accuracy=pe.Accuracy()
    )
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with metrics.attach(optimizer, model, every=every, log=log):
        for inputs, targets in batches(NUMBER):
            optimizer.zero_grad()
            cross_entropy(model(inputs), targets).backward()
            optimizer.step()
    return metrics


def table(metrics: pe.MetricCollection) -> list[tuple[int, float, float]]:
    history = metrics.history
    return list(
        zip(history["step"], history["grad_norm"], history["ratio"], strict=True)
    )


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("most", [1, 4, 100])
def test_each_measured_step_is_told_once_and_in_order(
    every: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the keys of the collection, however many are fetched together."""
    monkeypatch.setattr(telling, "_MOST", most)
    told = []
    metrics = trained(
        lambda values, step: told.append((step, dict(values))), every=every
    )
    assert [
        (step, values["grad_norm"], values["ratio"]) for step, values in told
    ] == table(metrics)
    assert {frozenset(values) for _, values in told} == {
        frozenset({"grad_norm", "ratio"})
    }
    assert [step for step, _ in told] == list(range(1, NUMBER + 1, every))


def test_parts_are_told_by_their_names() -> None:
    """As in the history."""
    told: list[set[str]] = []
    metrics = pe.MetricCollection(pe.GradNorm(per="parameter"))
    trained(lambda values, step: told.append(set(values)), metrics=metrics)
    assert told[0] == set(metrics.history) - {"step"}


def test_a_metric_alone_is_told_too() -> None:
    """Under its own key."""
    told = []
    weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    with pe.GradNorm().attach(optimizer, log=lambda v, step: told.append((v, step))):
        weight.square().sum().backward()
        optimizer.step()
    assert told == [({"grad_norm": 10.0}, 1)]


def test_a_log_that_fails_ends_no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told nothing more, one warning says so, and weights and history are whole."""
    monkeypatch.setattr(telling, "_MOST", 1)
    told = []

    def log(values, step):
        told.append(step)
        if step == 3:
            raise ConnectionError("no network")

    with pytest.warns(UserWarning, match="ends with step 3.*no network") as seen:
        metrics = trained(log)
    assert len(seen) == 1
    assert told == [1, 2, 3]
    assert len(metrics.history["step"]) == NUMBER
    assert metrics.history == trained(lambda values, step: None).history


def test_what_cannot_be_called_is_refused() -> None:
    """Before the first step, with an example."""
    with pytest.raises(TypeError, match=r"log as a function.*got 'steps.csv'"):
        trained("steps.csv")


def test_a_table_and_lines_hold_every_step(tmp_path: Path) -> None:
    """CSV and JSON lines, exact to the last bit; a second training is written on."""
    log = trackers.several(
        trackers.csv(tmp_path / "steps.csv"), trackers.jsonl(tmp_path / "steps.jsonl")
    )
    metrics = trained(log)
    with (tmp_path / "steps.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [
        (int(row["step"]), float(row["grad_norm"]), float(row["ratio"])) for row in rows
    ] == table(metrics)
    lines = (tmp_path / "steps.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    assert [(x["step"], x["grad_norm"], x["ratio"]) for x in found] == table(metrics)
    trained(trackers.csv(tmp_path / "steps.csv"))
    assert len((tmp_path / "steps.csv").read_text().splitlines()) == 1 + 2 * NUMBER


def test_what_is_not_finite_is_empty_or_null(tmp_path: Path) -> None:
    """And a column that comes later is an error of the log."""
    log = trackers.csv(tmp_path / "a.csv")
    log({"a": math.nan, "b": 1.0}, 1)
    assert (tmp_path / "a.csv").read_text() == "step,a,b\n1,,1.0\n"
    with pytest.raises(ValueError, match=r"none for \['c'\]"):
        log({"c": 1.0}, 2)
    trackers.jsonl(tmp_path / "a.jsonl")({"a": math.inf, "b": 1.0}, 1)
    assert json.loads((tmp_path / "a.jsonl").read_text()) == {
        "step": 1,
        "a": None,
        "b": 1,
    }


def test_a_bar_shows_smoothed_values() -> None:
    """An exponential moving average that begins at the first value."""

    class Bar:
        def set_postfix(self, values):
            self.values = values

    bar = Bar()
    log = trackers.tqdm(bar, smoothing=0.5)
    for step, value in enumerate((1.0, 3.0, math.nan, 4.0), start=1):
        log({"a": value}, step)
    assert bar.values == {"a": "3"}  # 1, 2, 2, 3
    with pytest.raises(ValueError, match="from 0 to below 1"):
        trackers.tqdm(bar, smoothing=1.0)


@pytest.mark.filterwarnings("ignore")  # theirs
def test_any_log_can_be_smoothed() -> None:
    """An exponential moving average, which an infinite value leaves as it was."""
    told: list[tuple[dict[str, float], int]] = []
    log = trackers.smoothed(
        lambda v, step: told.append((dict(v), step)), smoothing=0.75
    )
    for step, value in enumerate((4.0, 8.0, math.inf, math.nan, 1.0), start=1):
        log({"grad_norm": value}, step)
    assert [values["grad_norm"] for values, _ in told] == [4.0, 5.0, 5.0, 5.0, 4.0]
    assert [step for _, step in told] == [1, 2, 3, 4, 5]
    with pytest.raises(ValueError, match="from 0 to below 1"):
        trackers.smoothed(log, smoothing=-0.1)


def test_any_log_can_be_of_medians() -> None:
    """Of the newest values of each key; a spike and what is not finite move nothing."""
    told: list[dict[str, float]] = []
    log = trackers.medians(lambda values, _: told.append(dict(values)), window=3)
    for step, value in enumerate((4.0, 2.0, 900.0, math.nan, 1.0, 1.0), start=1):
        log({"grad_norm": value}, step)
    assert [each["grad_norm"] for each in told] == [4.0, 3.0, 4.0, 4.0, 2.0, 1.0]
    with pytest.raises(ValueError, match="window is at least 1, got 0"):
        trackers.medians(log, window=0)


def test_tensorboard_reads_back_every_step(tmp_path: Path) -> None:
    """By its own reader of events."""
    pytest.importorskip("tensorboard", reason="pip install tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path)) as writer:
        metrics = trained(trackers.tensorboard(writer))
    events = EventAccumulator(str(tmp_path)).Reload()
    for key in ("grad_norm", "ratio"):
        found = [(e.step, e.value) for e in events.Scalars(f"step/{key}")]
        history = metrics.history
        expected = list(zip(history["step"], history[key], strict=True))
        assert [step for step, _ in found] == [step for step, _ in expected]
        assert [v for _, v in found] == pytest.approx(
            [v for _, v in expected], rel=1e-6
        )


@pytest.mark.filterwarnings("ignore")  # theirs
def test_weights_and_biases_offline_has_every_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run's summary is the last step's, on an axis of its own."""
    wandb = pytest.importorskip("wandb", reason="pip install wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    run = wandb.init(mode="offline", project="p", dir=str(tmp_path))
    metrics = trained(trackers.wandb(run))
    summary = dict(run.summary)
    run.finish()
    assert summary["step/number"] == NUMBER
    assert summary["step/grad_norm"] == pytest.approx(metrics.history["grad_norm"][-1])
    assert list(tmp_path.rglob("*.wandb"))
    with pytest.raises(RuntimeError, match=r"call wandb\.init"):
        trackers.wandb()({"a": 1.0}, 1)


@pytest.mark.filterwarnings("ignore")  # theirs
def test_mlflow_has_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read by its client from its own store."""
    mlflow = pytest.importorskip("mlflow", reason="pip install mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    mlflow.create_experiment("e", artifact_location=str(tmp_path / "artifacts"))
    mlflow.set_experiment("e")
    with mlflow.start_run() as run:
        metrics = trained(trackers.mlflow())
    client = mlflow.tracking.MlflowClient()
    found = client.get_metric_history(run.info.run_id, "step/grad_norm")
    assert [(m.step, m.value) for m in sorted(found, key=lambda m: m.step)] == list(
        zip(metrics.history["step"], metrics.history["grad_norm"], strict=True)
    )


def test_runs_go_to_the_same_trackers(tmp_path: Path) -> None:
    """Curves at their steps, histories by their keys, scores at the end."""
    run = pe.Run(
        model="m",
        task="t",
        dataset="d",
        strategy="s",
        seed=0,
        scores={"accuracy": 0.75},
        curve={"step": (0, 2), "accuracy": (0.5, 0.75)},
        history={"step": (1, 2), "grad_norm": (1.0, math.nan)},
    )
    told: list[tuple[str, dict[str, float], int]] = []

    def log_of(run: pe.Run):
        return lambda values, step: told.append((run.model, dict(values), step))

    assert trackers.log_runs([run], log_of) == 1
    assert told == [
        ("m", {"grad_norm": 1.0}, 1),
        ("m", {"valid/accuracy": 0.5}, 0),
        ("m", {"valid/accuracy": 0.75}, 2),
        ("m", {"score/accuracy": 0.75}, 2),
    ]


@pytest.mark.filterwarnings("ignore")  # theirs, of what they import
def test_a_trainer_of_transformers_reports_the_values(tmp_path: Path) -> None:
    """Added first, the callback's values reach those that report."""
    transformers = pytest.importorskip(
        "transformers", reason="pip install transformers"
    )
    pytest.importorskip("accelerate", reason="pip install accelerate")
    from test_integrations import Labelled, samples

    from pretrain_eval.integrations.transformers import StepMetricsCallback

    class Reports(transformers.TrainerCallback):
        seen: list[set[str]] = []  # noqa: RUF012

        def on_log(self, args, state, control, logs=None, **_):
            self.seen.append(set(logs))

    trainer = transformers.Trainer(
        Labelled(),
        transformers.TrainingArguments(
            output_dir=str(tmp_path), max_steps=2, logging_steps=1, report_to=[],
            save_strategy="no", use_cpu=True, disable_tqdm=True,
        ),
        train_dataset=[{"inputs": x, "labels": y} for x, y in samples()],
        callbacks=[Reports()],
    )  # fmt: skip
    callback = StepMetricsCallback(pe.MetricCollection(pe.GradNorm())).add_to(trainer)
    assert isinstance(callback, StepMetricsCallback)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.train()
    assert "step/grad_norm" in Reports.seen[0]
