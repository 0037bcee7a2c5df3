"""One model, data, seed and optimizer: every loop measures the same, to 1e-6."""

import itertools
import logging
from functools import cache, partial

import pytest
import torch
from steps_truth import Truth, batches, collection, network
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

# Two make a step. Their inputs are large enough for clipping to engage in some steps.
MICRO_BATCHES = [(1.5 * inputs, targets) for inputs, targets in batches(12)]
OPTIMIZERS = {
    "sgd": partial(torch.optim.SGD, lr=0.05, momentum=0.9),
    # A compiled step takes 1 − βᵗ in float32: with these betas it is exact there.
    "adamw": partial(
        torch.optim.AdamW, lr=0.01, betas=(0.875, 0.9375), weight_decay=0.1
    ),
}

# Of what other frameworks import, some warns of its own changes to come.
pytestmark = pytest.mark.filterwarnings("ignore")


def samples():
    """All micro-batches' samples one by one."""
    return [
        (image, label)
        for inputs, targets in MICRO_BATCHES
        for image, label in zip(inputs, targets, strict=True)
    ]


def train(model, optimizer, clip, *, step=None, scaler=None, before=None):
    """The plain loop; other ways to step are handed in."""
    scaler = scaler or torch.amp.GradScaler("cpu", enabled=False)
    step = step or (lambda: scaler.step(optimizer))
    for number, (inputs, targets) in enumerate(MICRO_BATCHES, start=1):
        scaler.scale(cross_entropy(model(inputs), targets) / 2).backward()
        if number % 2 == 0:
            if clip:
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            if before:
                before()
            step()
            scaler.update()
            optimizer.zero_grad()


@cache
def truth(optimizer, clip):
    """What the plain loop itself takes from its own float64 clones."""
    model, measured = network(), Truth()
    parameters = list(model.parameters())
    stepper = OPTIMIZERS[optimizer](parameters)

    def step():
        stepper.step()
        measured.after(parameters)

    train(model, stepper, clip, step=step, before=lambda: measured.before(parameters))
    return measured.table


def plain(metrics, make, clip, _):
    """Nothing but torch."""
    model = network()
    optimizer = make(model.parameters())
    with metrics.attach(optimizer):
        train(model, optimizer, clip)


def fused_and_scaled(metrics, make, clip, _):
    """Where nobody clips, the optimizer unscales gradients inside of its step."""
    model = network()
    optimizer = make(model.parameters(), fused=True)
    with metrics.attach(optimizer):
        train(model, optimizer, clip, scaler=torch.amp.GradScaler("cpu"))


def compiled(metrics, make, clip, _):
    """The step alone is compiled."""
    model = network()
    optimizer = make(model.parameters())
    with metrics.attach(optimizer):
        step = torch.compile(optimizer.step, backend="eager")
        train(model, optimizer, clip, step=step)


def in_backward(metrics, make, clip, _):
    """One optimizer a parameter, which steps before the whole gradient has a norm."""
    assert clip is None
    model = network()
    optimizers = {parameter: make([parameter]) for parameter in model.parameters()}
    passes = {parameter: itertools.count(1) for parameter in optimizers}

    def step(parameter):
        if next(passes[parameter]) % 2 == 0:
            optimizers[parameter].step()
            optimizers[parameter].zero_grad()

    for parameter in optimizers:
        parameter.register_post_accumulate_grad_hook(step)
    with metrics.attach(list(optimizers.values())):
        for inputs, targets in MICRO_BATCHES:
            (cross_entropy(model(inputs), targets) / 2).backward()


def lightning(metrics, make, clip, folder):
    """Automatic optimization: forward, backward and clipping inside of the step."""
    pytest.importorskip("lightning")
    from lightning.pytorch import LightningModule, Trainer

    from pretrain_eval.integrations.lightning import StepMetricsCallback

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Module(LightningModule):
        def __init__(self):
            super().__init__()
            self.net = network()

        def training_step(self, batch, index):
            return cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self):
            return make(self.parameters())

    Trainer(
        max_epochs=1, accumulate_grad_batches=2, gradient_clip_val=clip, logger=False,
        accelerator="cpu", callbacks=[StepMetricsCallback(metrics)],
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=folder,
    ).fit(Module(), DataLoader(samples(), batch_size=6))  # fmt: skip


class Labelled(nn.Module):
    """The network as the Trainer of transformers wants it."""

    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, inputs, labels):
        """The loss."""
        return {"loss": cross_entropy(self.net(inputs), labels)}


def transformers(metrics, make, clip, folder):
    """Trainer."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from pretrain_eval.integrations.transformers import StepMetricsCallback

    class Sequential(transformers.Trainer):
        def _get_train_sampler(self, *_):
            return None

    model = Labelled()
    Sequential(
        model,
        transformers.TrainingArguments(
            output_dir=str(folder), per_device_train_batch_size=6, num_train_epochs=1,
            gradient_accumulation_steps=2, max_grad_norm=clip or 0, report_to=[],
            save_strategy="no", use_cpu=True, disable_tqdm=True, logging_strategy="no",
            lr_scheduler_type="constant",
        ),
        train_dataset=[{"inputs": image, "labels": label} for image, label in samples()],
        optimizers=(make(model.parameters()), None),
        callbacks=[StepMetricsCallback(metrics)],
    ).train()  # fmt: skip


def ignite(metrics, make, clip, _):
    """Its trainer clips nothing: a hook of the optimizer does, which came before ours."""
    pytest.importorskip("ignite")
    from ignite.engine import create_supervised_trainer

    from pretrain_eval.integrations.ignite import attached

    model = network()
    optimizer = make(model.parameters())
    if clip:

        def clip_before(*_):
            nn.utils.clip_grad_norm_(model.parameters(), clip)

        optimizer.register_step_pre_hook(clip_before)
    trainer = create_supervised_trainer(
        model, optimizer, cross_entropy, gradient_accumulation_steps=2
    )
    with attached(metrics, trainer, optimizer):
        trainer.run(MICRO_BATCHES)


def accelerate(metrics, make, clip, _):
    """A prepared optimizer steps only where it does not accumulate."""
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    model = network()
    model, optimizer, loader = accelerator.prepare(
        model, make(model.parameters()), DataLoader(samples(), batch_size=6)
    )
    with metrics.attach(optimizer):
        for inputs, targets in loader:
            with accelerator.accumulate(model):
                accelerator.backward(cross_entropy(model(inputs), targets))
                if clip and accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(model.parameters(), clip)
                optimizer.step()
                optimizer.zero_grad()


def skorch(metrics, make, clip, _):
    """Accumulates by a `train_step` of one's own."""
    skorch = pytest.importorskip("skorch")

    class Net(skorch.NeuralNet):
        def get_loss(self, *args, **kwargs):
            return super().get_loss(*args, **kwargs) / 2

        def train_step(self, batch, **_):
            done = self.train_step_single(batch)
            if len(self.history[-1, "batches"]) % 2 == 0:
                if clip:
                    nn.utils.clip_grad_norm_(self.module_.parameters(), clip)
                self.optimizer_.step()
                self.optimizer_.zero_grad()
            return done

    net = Net(
        network(), nn.CrossEntropyLoss, optimizer=make.func, batch_size=6, verbose=0,
        iterator_train__shuffle=False, max_epochs=1, train_split=None,
        **{f"optimizer__{key}": value for key, value in make.keywords.items()},
    ).initialize()  # fmt: skip
    inputs, targets = (torch.cat(parts) for parts in zip(*MICRO_BATCHES, strict=True))
    with metrics.attach(net.optimizer_):
        net.partial_fit(inputs, targets)


LOOPS = {
    loop.__name__: loop
    for loop in (
        plain, fused_and_scaled, compiled, in_backward, lightning, transformers,
        ignite, accelerate, skorch,
    )
}  # fmt: skip


@pytest.mark.parametrize(
    ("loop", "clip"),
    [(loop, clip) for loop in LOOPS for clip in (1.0, None)
     if (loop, clip) != ("in_backward", 1.0)],
)  # fmt: skip
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_one_answer(loop, clip, optimizer, tmp_path):
    """Accumulating 2, clipping at 1 or not, each loop has the plain one's float64 truth."""
    metrics = collection()
    LOOPS[loop](metrics, OPTIMIZERS[optimizer], clip, tmp_path)
    expected = truth(optimizer, clip)
    assert metrics.history.keys() == expected.keys()
    for key, values in expected.items():
        # Near zero, a cosine's rounding is that of its two vectors, whose scale is 1.
        rounding = 1e-6 if key == "grad_param_cosine" else 0
        assert metrics.history[key] == pytest.approx(values, 1e-6, rounding), key


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_clipping_engages(optimizer):
    """At 1, some of the steps are clipped and others are not."""
    clipped, free = truth(optimizer, 1.0), truth(optimizer, None)
    assert max(free["grad_norm"]) > 1.2
    assert max(clipped["grad_norm"]) == pytest.approx(1.0, rel=1e-5)
    assert min(clipped["grad_norm"]) < 0.99
