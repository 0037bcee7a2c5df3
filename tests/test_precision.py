"""How a strategy has networks computed: in 16 bits, with channels last, compiled."""

import copy
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import Small, points, three_classes
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

import pretrain_eval as pe
from pretrain_eval._training.features import Backbone

SGD = partial(torch.optim.SGD, lr=0.1, momentum=0.9)
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


class Caught:
    """An optimizer's maker that keeps the trained weights, as they were and are."""

    def __init__(self, make: Callable[..., torch.optim.Optimizer] = SGD) -> None:
        self.make = make

    def __call__(self, given: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        held = list(given)
        if not held[0].is_meta:  # the cost is counted on the meta device
            self.weights = held
            self.before = [p.detach().clone() for p in held]
        return self.make(held)


def strategy(name: str = "s", **changes: Any) -> pe.Strategy:
    return pe.Strategy(name, **{"optimizer": SGD, "epochs": 3} | changes)


class Images(nn.Module):
    """A convolution that remembers how its inputs lay in memory."""

    seen: set[bool]

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4 * 4 * 4, 5)

    def forward(self, inputs: Tensor) -> Tensor:
        last = inputs.is_contiguous(memory_format=torch.channels_last)
        self.__dict__.setdefault("seen", set()).add(last)
        Images.seen = self.seen
        scores: Tensor = self.head(self.body(inputs).relu().flatten(1))
        return scores


def images(num: int, seed: int) -> TensorDataset:
    """Images of 6 × 6 pixels in two classes."""
    inputs = torch.randn(num, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(inputs, (inputs.mean((1, 2, 3)) > 0).long())


def image_task() -> pe.Task:
    splits = pe.Splits(images(24, 1), images(20, 2))
    return pe.Task("t", datasets={"d": splits}, num_classes=2)


def measured(run: pe.Run) -> dict[str, Any]:
    """All that a run says, without the seconds it took."""
    fields = run.to_dict()
    for name in ("seconds", "total_seconds"):
        fields["cost"].pop(name)
    return fields


# --- 16 bits


@pytest.mark.parametrize("amp", ["bfloat16", "float16"])
def test_a_run_in_16_bits_is_that_of_a_hand_written_loop(amp: Any) -> None:
    """Autocast, a scaled loss in float16, clipping: equal weights and norms."""
    train = points(16, 1)
    splits = pe.Splits(train, points(40, 2))
    task = pe.Task("t", datasets={"d": splits}, num_classes=3)
    body = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
    body.head = nn.Linear(8, 3)
    caught = Caught()
    chosen = strategy(optimizer=caught, amp=amp, batch_size=16, max_grad_norm=0.4)
    run = pe.finetune(body, task, chosen, device="cpu")

    twin = copy.deepcopy(body)
    with torch.no_grad():
        for own, initial in zip(twin.parameters(), caught.before, strict=True):
            own.copy_(initial)
    optimizer, norms = SGD(twin.parameters()), []
    scaler = torch.amp.GradScaler("cpu", enabled=amp == "float16")
    for _ in range(3):
        optimizer.zero_grad()
        with torch.autocast("cpu", getattr(torch, amp)):
            loss = F.cross_entropy(twin(train.tensors[0]), train.tensors[1])
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(twin.parameters(), 0.4)
        flat = torch.cat([p.grad.flatten() for p in twin.parameters()])
        norms.append(float(flat.double().norm()))
        scaler.step(optimizer)
        scaler.update()
    # One batch holds all samples, in another order, which changes rounding alone.
    assert run.history["grad_norm"] == pytest.approx(norms, rel=2e-3)
    for own, other in zip(caught.weights, twin.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=2e-3, atol=1e-4)
        assert own.dtype == torch.float32
    assert run.settings["amp"] == amp


def test_outputs_of_16_bits_reach_the_loss_in_32() -> None:
    """What autocast computed in 16 bits is rounded so, and widened after."""
    seen: list[Tensor] = []

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        seen.append(outputs.detach())
        return F.cross_entropy(outputs, targets)

    pe.finetune(Small, three_classes(), strategy(loss=loss, amp="bfloat16"))
    pe.finetune(Small, three_classes(), strategy(loss=loss))
    low, full = seen[: len(seen) // 2], seen[len(seen) // 2 :]
    assert all(torch.equal(each, each.bfloat16().float()) for each in low)
    assert not all(torch.equal(each, each.bfloat16().float()) for each in full)


def test_validation_and_scores_are_computed_in_the_same_precision() -> None:
    """Before, curve and after see outputs of 16 bits, as the training does."""
    dtypes: set[tuple[bool, torch.dtype]] = set()

    class Watched(Small):
        def forward(self, inputs: Tensor) -> Tensor:
            hidden = self.body[0](inputs)
            dtypes.add((torch.is_grad_enabled(), hidden.dtype))
            return super().forward(inputs)

    pe.finetune(Watched, three_classes(), strategy(amp="bfloat16"), device="cpu")
    assert {
        (True, torch.bfloat16),
        (False, torch.bfloat16),
    } <= dtypes
    # The cost is counted on the meta device, in the weights' own precision.
    plain = pe.finetune(Small, three_classes(), strategy(), device="cpu")
    low = pe.finetune(Small, three_classes(), strategy(amp="bfloat16"), device="cpu")
    assert low.cost.macs == plain.cost.macs


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.filterwarnings("ignore:.* is NaN")
def test_a_step_that_overflows_is_skipped_by_the_schedule_too(fused: bool) -> None:
    """A loss that is too large for float16 at first: scales fall, then it trains."""
    rates: list[float] = []

    def schedule(optimizer: Any, num_steps: int) -> Any:
        made = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
        step = made.step

        def watched() -> None:
            step()
            rates.append(made.get_last_lr()[0])

        made.step = watched  # type: ignore[method-assign]
        return made

    def loud(outputs: Tensor, targets: Tensor) -> Tensor:
        return 30 * F.cross_entropy(outputs, targets)

    caught = Caught(partial(torch.optim.SGD, lr=0.01, fused=fused))
    chosen = strategy(
        optimizer=caught, amp="float16", loss=loud, schedule=schedule, epochs=4
    )
    run = pe.finetune(Small, three_classes(), chosen, device="cpu")
    # 48 samples in batches of 32 are 2 batches an epoch.
    assert run.status == "completed"
    assert run.curve["step"] == (0, 2, 4, 6, 8)
    moved = [value for value in run.history["update_ratio"] if value]
    assert 0 < len(moved) < 8
    assert len(rates) == len(moved)
    assert any(
        not torch.equal(now, then)
        for now, then in zip(caught.weights, caught.before, strict=True)
    )
    assert all(weight.isfinite().all() for weight in caught.weights)


def test_gradients_that_are_never_finite_are_a_divergence() -> None:
    """A finite loss with infinite gradients does not pass for a training."""

    def broken(outputs: Tensor, targets: Tensor) -> Tensor:
        return (0 * outputs).sqrt().sum()  # its gradient is 0 · ∞

    chosen = strategy(amp="float16", loss=broken, batch_size=4)
    run = pe.finetune(Small, three_classes(), chosen, device="cpu")
    assert run.status == "diverged"
    assert "gradients were not finite in epoch" in run.message


def test_a_pause_keeps_the_scale_of_the_loss(tmp_path: Path) -> None:
    """A float16 run left after any epoch continues to the same bits."""

    def loud(outputs: Tensor, targets: Tensor) -> Tensor:
        return 30 * F.cross_entropy(outputs, targets)

    chosen = strategy(amp="float16", loss=loud, epochs=4)
    model, path = Small(), tmp_path / "run.pt"
    whole = pe.finetune(model, three_classes(), chosen, seed=2)

    def stop(epoch: int) -> None:
        raise InterruptedError

    for _ in range(4):
        with pytest.raises(InterruptedError):
            pe.finetune(
                model, three_classes(), chosen, seed=2, checkpoint=path, on_epoch=stop
            )
    continued = pe.finetune(model, three_classes(), chosen, seed=2, checkpoint=path)
    assert measured(continued) == measured(whole)


# --- heads on features


@pytest.mark.parametrize(
    "switches",
    [{"amp": "bfloat16"}, {"amp": "float16"}, {"channels_last": True}],
    ids=str,
)
def test_features_are_computed_as_the_strategy_says(
    switches: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A head trained on features equals the network in the loop, in any precision."""
    torch.manual_seed(0)
    model, head = Images(), strategy(trainable="head", **switches)
    quick = pe.finetune(model, image_task(), head, seed=3, device="cpu")
    monkeypatch.setattr(Backbone, "suffices", lambda *_: False)
    slow = pe.finetune(model, image_task(), head, seed=3, device="cpu")
    assert quick.scores == slow.scores
    assert quick.baseline == slow.baseline
    assert quick.history["grad_norm"] == pytest.approx(
        slow.history["grad_norm"], rel=1e-3
    )


def test_strategies_of_different_precision_share_no_features() -> None:
    """In a grid each run equals the run alone."""
    torch.manual_seed(0)
    model = Images()
    strategies = [
        strategy("32", trainable="head"),
        strategy("16", trainable="head", amp="bfloat16"),
        strategy("last", trainable="head", channels_last=True),
    ]
    runs = pe.sweep(
        {"m": model}, [image_task()], strategies, device="cpu", progress=False
    )
    for run, each in zip(runs, strategies, strict=True):
        alone = pe.finetune(model, image_task(), each, name="m", device="cpu")
        assert measured(run) == measured(alone)
    assert runs[0].history["grad_norm"] != runs[1].history["grad_norm"]


# --- channels last


def test_channels_last_lays_out_a_copy_and_changes_no_number() -> None:
    """Weights and inputs are laid out so; the run is the plain one to rounding."""
    torch.manual_seed(0)
    model, caught = Images(), Caught()
    plain = pe.finetune(model, image_task(), strategy(), device="cpu")
    assert Images.seen == {False}
    chosen = strategy(optimizer=caught, channels_last=True)
    run = pe.finetune(model, image_task(), chosen, device="cpu")
    # A single input, which is read to make the head, is not laid out.
    assert True in Images.seen
    assert caught.weights[0].is_contiguous(memory_format=torch.channels_last)
    assert model.body.weight.is_contiguous()
    assert run.scores == plain.scores
    assert run.cost.macs == plain.cost.macs
    for name in ("grad_norm", "update_ratio"):
        assert run.history[name] == pytest.approx(plain.history[name], rel=1e-4)


def test_points_have_no_channels() -> None:
    """Inputs that are no images are left as they are."""
    run = pe.finetune(Small, three_classes(), strategy(channels_last=True))
    plain = pe.finetune(Small, three_classes(), strategy())
    assert run.scores == plain.scores
    assert run.history == plain.history


def test_a_model_that_does_not_bear_a_layout_is_refused_before_any_run() -> None:
    """`view` on channels-last features is found with the first batch of a grid."""

    class Viewing(Images):
        def forward(self, inputs: Tensor) -> Tensor:
            hidden = self.body(inputs)
            scores: Tensor = self.head(hidden.view(len(inputs), -1))
            return scores

    def sweep(**switches: Any) -> tuple[pe.Run, ...]:
        strategies = [strategy("plain"), strategy("s", **switches)]
        return pe.sweep(
            {"m": Viewing()}, [image_task()], strategies, device="cpu", progress=False
        )

    with pytest.raises(ValueError, match="model 'm' does not fit t/d: view size"):
        sweep(channels_last=True)
    assert {run.status for run in sweep(amp="bfloat16")} == {"completed"}


# --- the compiler


@pytest.mark.filterwarnings("ignore:Guards may run slower:RuntimeWarning")  # 3.13.0
def test_a_compiled_run_is_the_plain_one_and_can_be_paused(tmp_path: Path) -> None:
    """Compiled on this CPU: equal to rounding, the same names, paused to the bit."""
    splits = pe.Splits(points(32, 1), points(32, 2))
    task = pe.Task("t", datasets={"d": splits}, num_classes=3)
    model = nn.Sequential(nn.Linear(4, 8))
    model.head = nn.Linear(8, 3)
    caught, path = Caught(), tmp_path / "run.pt"
    chosen = strategy(compile=True, epochs=2)
    run = pe.finetune(model, task, chosen, device="cpu")
    plain = pe.finetune(model, task, strategy(optimizer=caught, epochs=2), device="cpu")
    assert run.scores == plain.scores
    assert run.cost.macs == plain.cost.macs
    assert run.cost.num_parameters == plain.cost.num_parameters
    for name in ("grad_norm", "update_ratio"):
        assert run.history[name] == pytest.approx(plain.history[name], rel=1e-4)
    assert not hasattr(model, "_orig_mod")

    def stop(epoch: int) -> None:
        state = torch.load(path, weights_only=True)
        assert set(state["network"]) == set(model.state_dict())
        raise InterruptedError

    with pytest.raises(InterruptedError):
        pe.finetune(model, task, chosen, device="cpu", checkpoint=path, on_epoch=stop)
    continued = pe.finetune(model, task, chosen, device="cpu", checkpoint=path)
    assert measured(continued) == measured(run)


# --- GPUs


@CUDA
@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("amp", ["bfloat16", "float16"])
@pytest.mark.parametrize("channels_last", [True, False])
def test_a_gpu_trains_in_16_bits(amp: Any, fused: bool, channels_last: bool) -> None:
    """Norms are those of full precision, to rounding, also with a fused optimizer."""
    model = Images()
    make = partial(SGD, fused=fused)
    chosen = strategy(optimizer=make, amp=amp, channels_last=channels_last)
    run = pe.finetune(model, image_task(), chosen, device="cuda")
    plain = pe.finetune(model, image_task(), strategy(), device="cuda")
    assert run.status == "completed"
    low, full = run.history["grad_norm"], plain.history["grad_norm"]
    assert low[-1] == pytest.approx(full[-1], rel=0.2)
