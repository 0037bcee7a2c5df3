"""Schedules of torch and of timm: stepped alike, or refused before work."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import TensorDataset

import pretrain_eval as pe


def points(num, seed):
    """Points of two classes."""
    inputs = torch.randn(num, 4, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(inputs, (inputs.sum(1) > 0).long())


SPLITS = pe.Splits(points(24, 1), points(8, 2))
TASK = pe.Task("t", datasets={"d": SPLITS}, num_classes=2)


class Net(nn.Module):
    """Two layers."""

    def __init__(self):
        super().__init__()
        self.body, self.fc = nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, inputs):
        """Logits."""
        return self.fc(torch.relu(self.body(inputs)))


NETWORK = Net()


class Halving:
    """Written as timm's are: told how many steps were made, with scales of groups."""

    newest = None

    def __init__(self, optimizer, t_in_epochs=False):
        Halving.newest = self
        self.optimizer, self.t_in_epochs = optimizer, t_in_epochs
        self.base = [group["lr"] for group in optimizer.param_groups]
        self.told = []
        self._set(0)

    def _set(self, steps):
        for base, group in zip(self.base, self.optimizer.param_groups, strict=True):
            group["lr"] = base * 0.5**steps * group.get("lr_scale", 1.0)

    def step(self, epoch, metric=None):
        raise AssertionError("counts steps, not epochs")

    def step_update(self, num_updates, metric=None):
        self.told.append(num_updates)
        self._set(num_updates)

    def state_dict(self):
        return {"told": self.told}

    def load_state_dict(self, state_dict):
        self.told = state_dict["told"]


def layered(model, scale=0.1):
    """Groups with a note of their scale, as timm's layer decay leaves them."""
    first, second = (list(layer.parameters()) for layer in (model.body, model.fc))
    groups = [{"params": first, "lr_scale": scale}, {"params": second, "lr_scale": 1.0}]
    return torch.optim.SGD(groups, lr=0.4)


def strategy(**fields):
    """Two epochs of three steps."""
    given = {"optimizer": layered, "epochs": 2, "batch_size": 8} | fields
    return pe.Strategy("s", **given)


def halving(optimizer, num_steps):
    """What a strategy takes as its schedule."""
    return Halving(optimizer)


def test_a_schedule_like_timms_is_told_the_number_of_steps():
    """From one, over all epochs, and it has applied the scales."""
    run = pe.finetune(NETWORK, TASK, strategy(schedule=halving))
    assert run.status == "completed"
    assert Halving.newest.told == [1, 2, 3, 4, 5, 6]
    first, second = Halving.newest.optimizer.param_groups
    assert first["lr"] == pytest.approx(0.1 * second["lr"])


def test_it_goes_on_from_a_checkpoint_where_it_was(tmp_path):
    """The paused run's weights and count are those of the one that was never left."""
    kept = {}

    def keep(name):
        return lambda model, run: kept.update({name: model.state_dict()})

    def leave(epoch):
        raise KeyboardInterrupt

    once = partial(pe.finetune, NETWORK, TASK, strategy(schedule=halving))
    once(on_end=keep("whole"))
    path = tmp_path / "run.pt"
    with pytest.raises(KeyboardInterrupt):
        once(checkpoint=path, on_epoch=leave)
    once(checkpoint=path, on_end=keep("paused"))
    assert Halving.newest.told == [1, 2, 3, 4, 5, 6]
    whole, paused = kept["whole"], kept["paused"]
    assert all(torch.equal(whole[name], paused[name]) for name in whole)


def test_layer_decay_that_nothing_applies_is_refused():
    """A note in the groups changes no learning rate; saying nothing would be wrong."""
    plain = torch.optim.lr_scheduler.CosineAnnealingLR
    for schedule in (None, plain):
        with pytest.raises(
            ValueError, match=r"lr_scale \(layer decay\), but one learn"
        ):
            pe.finetune(NETWORK, TASK, strategy(schedule=schedule))
    with pytest.raises(ValueError, match="lr_scale"):
        pe.sweep({"net": NETWORK}, [TASK], [strategy()], [0])


def test_scales_that_somebody_applied_and_scales_of_one_are_taken():
    """By the optimizer's function, or where there is nothing to apply."""

    def applied(model):
        optimizer = layered(model)
        for group in optimizer.param_groups:
            group["lr"] *= group["lr_scale"]
        return optimizer

    for optimizer in (applied, partial(layered, scale=1.0)):

        def named(model, optimizer=optimizer):
            return optimizer(model)

        assert (
            pe.finetune(NETWORK, TASK, strategy(optimizer=named)).status == "completed"
        )


@pytest.mark.parametrize(
    ("schedule", "error", "words"),
    [
        (
            lambda optimizer, _: Halving(optimizer, t_in_epochs=True),
            ValueError,
            "must count optimizer steps, but Halving counts epochs; make it with",
        ),
        (
            lambda optimizer, _: ReduceLROnPlateau(optimizer),
            TypeError,
            r"ReduceLROnPlateau\.step\(\) needs metrics; use a schedule of the number",
        ),
        (
            lambda optimizer, _: (Halving(optimizer), 2),
            TypeError,
            r"schedule must return a scheduler with step\(\), got tuple",
        ),
    ],
)
def test_a_schedule_that_cannot_be_stepped_is_refused_before_work(
    schedule, error, words
):
    """By a single run and by the check before a grid."""
    plain = partial(torch.optim.SGD, lr=0.1)
    for optimizer in (plain, layered):
        bad = strategy(optimizer=optimizer, schedule=schedule)
        with pytest.raises(error, match=words):
            pe.finetune(NETWORK, TASK, bad)
        with pytest.raises(ValueError, match=words):  # with the cell's names before it
            pe.sweep({"net": NETWORK}, [TASK], [bad], [0])


def test_layer_decay_of_timm_moves_each_layer_by_its_rate():
    """Weights equal those of timm's own loop, and differ from those without decay."""
    pytest.importorskip("timm", reason='pip install "pretrain-eval[timm]"')
    from timm.optim import create_optimizer_v2
    from timm.scheduler import create_scheduler_v2

    class Blocks(nn.Module):
        """Layers in the order in which timm counts them."""

        def __init__(self):
            super().__init__()
            self.stem, self.blocks = nn.Linear(4, 6), nn.Linear(6, 6)
            self.head = nn.Linear(6, 2)

        def forward(self, inputs):
            return self.head(torch.relu(self.blocks(torch.relu(self.stem(inputs)))))

        def group_matcher(self, coarse=False):
            return {"stem": "^stem", "blocks": "^blocks"}

    def schedule(optimizer, _):
        return create_scheduler_v2(
            optimizer,
            sched="cosine",
            num_epochs=2,
            warmup_epochs=1,
            step_on_epochs=False,
            updates_per_epoch=3,
        )[0]

    def optimizer_of(decay):
        return lambda model: create_optimizer_v2(
            model, opt="sgd", lr=0.5, weight_decay=0.0, layer_decay=decay
        )

    torch.manual_seed(0)
    network, moved = Blocks(), {}
    for decay in (0.5, None):
        seen = []

        def watched(optimizer, steps, seen=seen):
            made = schedule(optimizer, steps)
            update = made.update_groups

            def noted(values):
                update(values)
                seen.append([group["lr"] for group in optimizer.param_groups])

            made.update_groups = noted
            return made

        how = strategy(optimizer=optimizer_of(decay), schedule=watched)
        pe.finetune(network, TASK, how)
        own = optimizer_of(decay)(network)
        twin, expected = schedule(own, 6), []
        for step in range(1, 7):
            twin.step_update(step)
            expected.append([group["lr"] for group in own.param_groups])
        moved[decay] = seen
        assert seen == expected
    assert len({tuple(row) for row in moved[0.5]}) == 6
    assert len(set(moved[0.5][2])) == 3  # three layers, three rates
    assert len(set(moved[None][2])) == 1
