"""What frameworks clip, and what a resumed Trainer continues."""

import logging
import math

import pytest
import torch
from steps_truth import batches, collection, network
from test_integrations import COUNT, Labelled, plain, samples, sgd
from torch import nn
from torch.nn.functional import cross_entropy

import pretrain_eval as pe


def truth(clip, *, by_value=False, accumulate=2):
    """Norms before clipping, and whether it engaged, of the plain loop."""
    model = network()
    optimizer, norms, engaged = sgd(model), [], []
    for number, (inputs, targets) in enumerate(batches(COUNT), start=1):
        (cross_entropy(model(inputs), targets) / accumulate).backward()
        if number % accumulate == 0:
            flat = torch.cat([p.grad.flatten() for p in model.parameters()]).double()
            norms.append(float(flat.norm()))
            if clip is None:
                engaged.append(0.0)
            elif by_value:
                engaged.append(float(flat.abs().max() > clip))
                nn.utils.clip_grad_value_(model.parameters(), clip)
            else:
                engaged.append(float(flat.norm() > clip))
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            optimizer.zero_grad()
    return norms, engaged


def by_lightning(tmp_path, metrics, module_of=None, **options):
    """Train with Lightning, accumulating two batches."""
    pytest.importorskip("lightning", reason="pip install lightning")
    from lightning import pytorch as lightning

    from pretrain_eval.integrations.lightning import StepMetricsCallback

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = network()

        def training_step(self, batch, index):
            return cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self):
            return sgd(self)

    class Own(Module):
        def configure_gradient_clipping(self, optimizer, *_, **__):
            self.clip_gradients(
                optimizer, gradient_clip_val=0.1, gradient_clip_algorithm="norm"
            )

    trainer = lightning.Trainer(
        max_epochs=1, accumulate_grad_batches=2, accelerator="cpu",
        callbacks=[StepMetricsCallback(metrics)], logger=False,
        enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path, **options,
    )  # fmt: skip
    loader = torch.utils.data.DataLoader(samples(), batch_size=6)
    trainer.fit(Own() if module_of == "own" else Module(), loader)


def clipping():
    return pe.MetricCollection(pe.GradNormBeforeClipping(), pe.Clipped(), pe.GradNorm())


@pytest.mark.filterwarnings("ignore")  # Lightning's, of workers
@pytest.mark.parametrize(
    ("options", "clip", "by_value"),
    [
        ({"gradient_clip_val": 1.0}, 1.0, False),
        ({"gradient_clip_val": 1e6}, 1e6, False),
        ({}, None, False),
        (
            {"gradient_clip_val": 0.05, "gradient_clip_algorithm": "value"},
            0.05,
            True,
        ),
    ],
    ids=["clips", "never reached", "none", "by value"],
)
def test_lightning_shows_the_norm_before_it_clips(tmp_path, options, clip, by_value):
    """The accumulated gradient, before the Trainer's own clipping, to 1e-6."""
    metrics = clipping()
    by_lightning(tmp_path, metrics, **options)
    norms, engaged = truth(clip, by_value=by_value)
    history = metrics.history
    assert history["grad_norm_before_clipping"] == pytest.approx(norms, rel=1e-5)
    assert history["clipped"] == pytest.approx(engaged)
    if clip == 1.0:
        assert max(history["grad_norm"]) <= 1.0 + 1e-5


@pytest.mark.filterwarnings("ignore")  # as above
def test_whether_a_clipping_of_ones_own_engaged_is_not_guessed(tmp_path):
    """The norm before it is known, the rest is NaN."""
    metrics = clipping()
    by_lightning(tmp_path, metrics, module_of="own")
    norms, _ = truth(0.1)
    assert metrics.history["grad_norm_before_clipping"] == pytest.approx(
        norms, rel=1e-5
    )
    assert all(map(math.isnan, metrics.history["clipped"]))


def test_a_scaler_of_timm_ends_no_training():
    """It clips out of sight: NaN, and one warning."""
    timm = pytest.importorskip("timm", reason='pip install "pretrain-eval[timm]"')
    from timm.utils import NativeScaler

    assert timm is not None
    model, metrics = network(), clipping()
    optimizer, scaler = sgd(model), NativeScaler(device="cpu")

    def train() -> None:
        with metrics.attach(optimizer):
            for inputs, targets in batches(3):
                optimizer.zero_grad()
                loss = cross_entropy(model(inputs), targets)
                scaler(loss, optimizer, clip_grad=1.0, parameters=model.parameters())

    with pytest.warns(UserWarning, match="is NaN: no clipping was seen") as told:
        train()
    assert len([each for each in told if "is NaN" in str(each.message)]) == 2
    assert all(map(math.isnan, metrics.history["grad_norm_before_clipping"]))
    assert max(metrics.history["grad_norm"]) <= 1.0 + 1e-5


@pytest.mark.filterwarnings("ignore")  # theirs, of what they import
@pytest.mark.parametrize("is_lost", [False, True])
def test_a_resumed_trainer_continues_the_history(tmp_path, is_lost):
    """Four steps, and four more from the checkpoint, are the eight of one training."""
    transformers = pytest.importorskip(
        "transformers", reason="pip install transformers"
    )
    pytest.importorskip("accelerate", reason="pip install accelerate")
    from pretrain_eval.integrations.transformers import StepMetricsCallback

    class Sequential(transformers.Trainer):
        def _get_train_sampler(self, *_):
            return None

    def trained(steps, resume=None):
        model, metrics = Labelled(), collection()
        trainer = Sequential(
            model,
            transformers.TrainingArguments(
                output_dir=str(tmp_path), per_device_train_batch_size=6,
                max_steps=steps, max_grad_norm=1.0, logging_steps=1, report_to=[],
                save_strategy="steps", save_steps=4, use_cpu=True, disable_tqdm=True,
                lr_scheduler_type="constant",
            ),
            train_dataset=[{"inputs": x, "labels": y} for x, y in samples()],
            optimizers=(sgd(model), None),
            callbacks=[StepMetricsCallback(metrics)],
        )  # fmt: skip
        trainer.train(resume_from_checkpoint=resume)
        return metrics.history

    expected = plain(clip=1.0)
    trained(4)
    checkpoint = tmp_path / "checkpoint-4"
    assert torch.load(checkpoint / "step_metrics.pt", weights_only=True)
    if is_lost:
        (checkpoint / "step_metrics.pt").unlink()
        with pytest.warns(UserWarning, match="the history of its step metrics begins"):
            history = trained(8, str(checkpoint))
        assert len(history["step"]) == 4
        return
    history = trained(8, str(checkpoint))
    assert history["step"] == tuple(range(1, 9))
    for key, values in expected.items():
        assert history[key] == pytest.approx(values, rel=1e-5), key
