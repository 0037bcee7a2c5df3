"""Other frameworks' loops measure what the plain loop measures, and log it."""

import logging

import pytest
import torch
from steps_truth import batches, collection, network
from torch import nn
from torch.nn.functional import cross_entropy

import pretrain_eval as pe

COUNT = 8


def sgd(model):
    """The optimizer of every loop here."""
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)


def plain(*, accumulate=1, clip=None):
    """The history of the plain loop."""
    model, metrics = network(), collection()
    optimizer = sgd(model)
    with metrics.attach(optimizer):
        for number, (inputs, targets) in enumerate(batches(COUNT), start=1):
            (cross_entropy(model(inputs), targets) / accumulate).backward()
            if number % accumulate == 0:
                if clip is not None:
                    nn.utils.clip_grad_norm_(model.parameters(), clip)
                optimizer.step()
                optimizer.zero_grad()
    return metrics.history


def assert_same(metrics, expected):
    """The same table to 1e-6."""
    assert metrics.history.keys() == expected.keys()
    for key, values in expected.items():
        assert metrics.history[key] == pytest.approx(values, rel=1e-6), key


def assert_logged(logged, expected):
    """What was logged, step by step, is the history."""
    for key, values in expected.items():
        if key != "step":
            got = [values[f"step/{key}"] for values in logged]
            assert got == pytest.approx(list(values), rel=1e-6), key


def samples():
    """All batches' samples one by one."""
    return [
        (image, label)
        for inputs, targets in batches(COUNT)
        for image, label in zip(inputs, targets, strict=True)
    ]


class Labelled(nn.Module):
    """A model as the Trainer of transformers wants it."""

    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, inputs, labels):
        """The loss and the logits."""
        logits = self.net(inputs)
        return {"loss": cross_entropy(logits, labels), "logits": logits}


# The Trainer and what it imports warn of their own changes to come.
@pytest.mark.filterwarnings("ignore")
def test_transformers(tmp_path):
    """Accumulating and clipping, the Trainer logs the exact norms beside its own."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from pretrain_eval.integrations.transformers import StepMetricsCallback

    class Sequential(transformers.Trainer):
        def _get_train_sampler(self, *_):
            return None

    model, metrics = Labelled(), collection()
    callback = StepMetricsCallback(metrics)
    trainer = Sequential(
        model,
        transformers.TrainingArguments(
            output_dir=str(tmp_path), per_device_train_batch_size=6, num_train_epochs=1,
            gradient_accumulation_steps=2, max_grad_norm=1.0, logging_steps=1,
            report_to=[], save_strategy="no", use_cpu=True, disable_tqdm=True,
            lr_scheduler_type="constant",
        ),
        train_dataset=[{"inputs": image, "labels": label} for image, label in samples()],
        optimizers=(sgd(model), None),
        callbacks=[callback],
    )  # fmt: skip
    trainer.train()
    expected = plain(accumulate=2, clip=1.0)
    assert_same(metrics, expected)
    logged = [log for log in trainer.state.log_history if "loss" in log]
    assert_logged(logged, expected)
    # The Trainer's own is the norm before clipping.
    assert logged[0]["grad_norm"] != pytest.approx(logged[0]["step/grad_norm"])
    assert not trainer.optimizer.optimizer._optimizer_step_pre_hooks
    # An exception leaves the hooks until the callback is closed.
    trainer.train_dataset = [*trainer.train_dataset[:12], None]
    with pytest.raises((TypeError, AttributeError, ValueError)):
        trainer.train()
    callback.close()
    assert not trainer.optimizer.optimizer._optimizer_step_pre_hooks


@pytest.mark.filterwarnings("ignore")  # as above
@pytest.mark.parametrize("fails", [False, True])
def test_lightning(tmp_path, fails):
    """Accumulating and clipping inside of the closure, Lightning logs the norms."""
    pytest.importorskip("lightning")
    from lightning import pytorch as lightning

    from pretrain_eval.integrations.lightning import StepMetricsCallback

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = network()

        def training_step(self, batch, index):
            if fails and index == COUNT - 1:
                raise MemoryError
            return cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self):
            return sgd(self)

    class Logger(lightning.loggers.logger.DummyLogger):
        def __init__(self):
            super().__init__()
            self.logged = []

        def log_metrics(self, metrics, step=None):
            self.logged.append(metrics)

    metrics, logger, module = collection(), Logger(), Module()
    callback = StepMetricsCallback(metrics)
    trainer = lightning.Trainer(
        max_epochs=1, accumulate_grad_batches=2, gradient_clip_val=1.0, accelerator="cpu",
        callbacks=[callback], logger=logger, log_every_n_steps=1,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=tmp_path,
    )  # fmt: skip
    loader = torch.utils.data.DataLoader(samples(), batch_size=6)
    expected = plain(accumulate=2, clip=1.0)
    if fails:
        with pytest.raises(MemoryError):
            trainer.fit(module, loader)
        expected = {key: values[:3] for key, values in expected.items()}
    else:
        trainer.fit(module, loader)
        logged = [values for values in logger.logged if "step/grad_norm" in values]
        assert_logged(logged, expected)
    assert_same(metrics, expected)
    for optimizer in trainer.optimizers:
        assert not optimizer._optimizer_step_pre_hooks
    resumed = StepMetricsCallback(collection())
    resumed.load_state_dict(callback.state_dict())
    assert resumed.metrics.history == metrics.history


@pytest.mark.parametrize("fails", [False, True])
def test_ignite(fails):
    """An accumulating engine has the norms in its metrics, at the event asked for."""
    pytest.importorskip("ignite")
    from ignite.engine import Engine, Events, create_supervised_trainer

    from pretrain_eval.integrations.ignite import attached

    model, metrics, logged = network(), collection(), []
    optimizer = sgd(model)
    trainer = create_supervised_trainer(
        model, optimizer, cross_entropy, gradient_accumulation_steps=2
    )
    expected = plain(accumulate=2)
    every_step = Events.ITERATION_COMPLETED(every=2)
    with attached(metrics, trainer, optimizer, model, event=every_step):

        @trainer.on(every_step)
        def keep(engine: Engine):
            logged.append(dict(engine.state.metrics))
            if fails and len(logged) == 3:
                raise MemoryError

        if fails:
            with pytest.raises(MemoryError):
                trainer.run(batches(COUNT))
            expected = {key: values[:3] for key, values in expected.items()}
        else:
            trainer.run(batches(COUNT))
    assert_same(metrics, expected)
    assert_logged(logged, expected)
    assert not optimizer._optimizer_step_pre_hooks


def test_values_since_the_last_log():
    """Each log has the steps since the one before it, and none where there was none."""
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight])
    metrics = pe.MetricCollection(pe.GradNorm(), pe.Accuracy())
    with metrics.attach(optimizer):
        for gradient in (1.0, 3.0):
            weight.grad = torch.tensor([gradient])
            optimizer.step()
        assert metrics.step_values("a/") == {"a/grad_norm": 2.0}
        assert metrics.step_values() == {}
