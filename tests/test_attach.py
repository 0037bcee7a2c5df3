"""Watching an optimizer: every loop is measured alike, and none is disturbed."""

import copy
import gc
import itertools
import random
import weakref

import numpy as np
import pytest
import torch
from steps_truth import Truth, batches, collection, network
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, TensorDataset

import pretrain_eval as pe
from pretrain_eval._steps import gradients, log, norms, snapshot


def train(model, optimizer, data=None, before=None, after=None):
    """The plain loop."""
    for inputs, targets in batches() if data is None else data:
        optimizer.zero_grad()
        cross_entropy(model(inputs), targets).backward()
        if before:
            before(list(model.parameters()))
        optimizer.step()
        if after:
            after(list(model.parameters()))


def assert_close(history, expected):
    """Both are the same table, and the steps are its last column."""
    assert list(history) == [*(key for key in expected if key != "step"), "step"]
    for key, values in expected.items():
        assert list(history[key]) == pytest.approx(list(values), rel=1e-6), key


@pytest.fixture
def plain():
    """What the plain loop with Adam measures."""
    model, metrics = network(), collection()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    with metrics.attach(optimizer):
        train(model, optimizer)
    return metrics.history


class Calls(torch.optim.Adam):
    """An optimizer whose step moves weights around its parent's."""

    def step(self, closure=None):
        """Move, let the parent step, move again."""
        with torch.no_grad():
            for parameter in self.param_groups[0]["params"]:
                parameter.mul_(0.9)
        loss = super().step(closure)
        with torch.no_grad():
            for parameter in self.param_groups[0]["params"]:
                parameter.mul_(0.9)
        return loss


def test_subclass_that_calls_its_parent():
    """A step is one step, also where the parent's step fires the hooks again."""
    torch.optim.Adam([nn.Parameter(torch.zeros(1))])  # hooks its own step
    model, metrics, truth = network(), collection(), Truth()
    optimizer = Calls(model.parameters(), lr=0.01)
    with metrics.attach(optimizer):
        train(model, optimizer, before=truth.before, after=truth.after)
    assert_close(metrics.history, truth.table)


@pytest.mark.parametrize("keyword", [True, False])
@pytest.mark.parametrize("subclass", [torch.optim.Adam, Calls])
def test_closure(plain, keyword, subclass):
    """Gradients are read after the closure, not before it, when they are stale."""
    model, metrics, truth = network(), collection(), Truth()
    optimizer = subclass(model.parameters(), lr=0.01)
    with metrics.attach(optimizer):
        for inputs, targets in batches():

            def closure(inputs=inputs, targets=targets):
                optimizer.zero_grad()
                loss = cross_entropy(model(inputs), targets)
                loss.backward()
                truth.before(list(model.parameters()))
                return loss

            loss = (
                optimizer.step(closure=closure) if keyword else optimizer.step(closure)
            )
            assert loss.requires_grad
            truth.after(list(model.parameters()))
    if subclass is torch.optim.Adam:
        assert_close(metrics.history, truth.table)
        assert_close(metrics.history, plain)
    else:  # what it moves before its closure, `test_starts.py` holds
        assert metrics.history["grad_norm"] == pytest.approx(truth.table["grad_norm"])


def test_accumulation(plain):
    """Two half batches count as one step."""
    model, metrics = network(), collection()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    with metrics.attach(optimizer):
        for inputs, targets in batches():
            optimizer.zero_grad()
            for half in (slice(None, 3), slice(3, None)):
                (cross_entropy(model(inputs[half]), targets[half]) / 2).backward()
            optimizer.step()
    for key, values in plain.items():
        assert metrics.history[key] == pytest.approx(values, rel=1e-4)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("unscale", [False, True])
def test_gradient_scaler(plain, fused, unscale):
    """Norms are of unscaled gradients, whoever unscales them and when."""
    model, metrics = network(), collection()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, fused=fused)
    scaler = torch.amp.GradScaler("cpu")
    with metrics.attach(optimizer):
        for inputs, targets in batches():
            optimizer.zero_grad()
            scaler.scale(cross_entropy(model(inputs), targets)).backward()
            if unscale:
                scaler.unscale_(optimizer)
            scaler.step(optimizer)
            scaler.update()
    for key, values in plain.items():
        assert metrics.history[key] == pytest.approx(values, rel=2e-6)


def test_skipped_step():
    """A fused step that overflowed has a row of its own and leaves statistics alone."""
    model = network()
    metrics = pe.MetricCollection(pe.GradNorm(), pe.UpdateNorm(), pe.Skipped())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, fused=True)
    scaler = torch.amp.GradScaler("cpu")
    with metrics.attach(optimizer):
        for number, (inputs, targets) in enumerate(batches()):
            optimizer.zero_grad()
            scaler.scale(cross_entropy(model(inputs), targets)).backward()
            if number == 1:
                model[0].bias.grad[0] = torch.inf
            scaler.step(optimizer)
            scaler.update()
    history = metrics.history
    assert history["skipped"] == (0, 1, 0, 0)
    assert history["update_norm"][1] == 0
    assert history["grad_norm"][1] == torch.inf
    others = [0, 2, 3]
    values = metrics.compute()
    assert values["skipped"] == 0.25
    for key in ("grad_norm", "update_norm"):
        assert values[key] == pytest.approx(np.mean([history[key][n] for n in others]))


@pytest.mark.parametrize("statistic", ["mean", "last", "max"])
def test_window_of_skipped_steps(statistic):
    """Where every step of a window was skipped, its statistic is undefined."""
    weight = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=0.1, fused=True)
    scaler = torch.amp.GradScaler("cpu")
    metric = pe.GradNorm(statistic=statistic)
    with metric.attach(optimizer):
        scaler.scale(weight.sum() * torch.inf).backward()
        scaler.step(optimizer)
    assert np.isnan(metric.compute())


@pytest.mark.filterwarnings("ignore:Guards may run slower:RuntimeWarning")  # 3.13.0
def test_compiled_step():
    """A compiled step is measured alike, and stays one graph."""
    from torch._dynamo.testing import CompileCounter

    graphs = {}
    for attached in (False, True):
        torch._dynamo.reset()
        counter = CompileCounter()
        model, metrics, truth = network(), collection(), Truth()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        handle = metrics.attach(optimizer) if attached else None
        compiled = torch.compile(optimizer.step, backend=counter)
        for inputs, targets in batches():
            optimizer.zero_grad()
            cross_entropy(model(inputs), targets).backward()
            truth.before(list(model.parameters()))
            compiled()
            truth.after(list(model.parameters()))
        graphs[attached] = counter.frame_count
        if handle:
            handle.close()
    assert_close(metrics.history, truth.table)
    assert graphs[True] == graphs[False]


def test_optimizer_in_backward(plain):
    """One optimizer a parameter, stepping inside backward: one row a backward."""
    model, metrics = network(), collection()
    optimizers = {p: torch.optim.Adam([p], lr=0.01) for p in model.parameters()}

    def step(parameter):
        optimizers[parameter].step()
        optimizers[parameter].zero_grad()

    for parameter in optimizers:
        parameter.register_post_accumulate_grad_hook(step)
    with metrics.attach(list(optimizers.values()), model):
        for inputs, targets in batches():
            cross_entropy(model(inputs), targets).backward()
    assert_close(metrics.history, plain)


def test_several_optimizers(plain):
    """Optimizers of parts of a model count together, or each apart."""
    model, both, parts = network(), collection(), [collection(), collection()]
    optimizers = [
        torch.optim.Adam(model[0].parameters(), lr=0.01),
        torch.optim.Adam([*model[3].parameters(), *model[4].parameters()], lr=0.01),
    ]
    handles = [both.attach(optimizers)]
    handles += [part.attach(o) for part, o in zip(parts, optimizers, strict=True)]
    for inputs, targets in batches():
        model.zero_grad()
        cross_entropy(model(inputs), targets).backward()
        for optimizer in optimizers:
            optimizer.step()
    for handle in handles:
        handle.close()
    assert_close(both.history, plain)
    for key in ("grad_norm", "update_norm", "param_norm"):
        squares = np.array([part.history[key] for part in parts]) ** 2
        assert np.sqrt(squares.sum(0)) == pytest.approx(plain[key], rel=1e-6)


def test_optimizers_in_turns():
    """Where one of several steps more often, each of its steps begins a row."""
    first, second = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    optimizers = [torch.optim.SGD([first], lr=0.1), torch.optim.SGD([second], lr=0.1)]
    first.grad = torch.tensor([3.0])
    second.grad = torch.tensor([4.0])
    with (metric := pe.GradNorm()).attach(optimizers):
        optimizers[0].step()
        optimizers[0].step()
        optimizers[1].step()
        optimizers[0].step()
    assert metric.history == {"grad_norm": (3, 5, 3), "step": (1, 2, 3)}


class Wrapper(torch.optim.Optimizer):
    """Like Accelerate's: an Optimizer by class that never initialised itself."""

    def __init__(self, optimizer):
        self.optimizer = optimizer

    @property
    def param_groups(self):
        """Those of the optimizer inside."""
        return self.optimizer.param_groups

    def zero_grad(self):
        """Forget the gradients."""
        self.optimizer.zero_grad()

    def step(self):
        """Let the optimizer inside step."""
        self.optimizer.step()


def test_wrapped_optimizer(plain):
    """What wraps an optimizer and has no hooks is unwrapped."""
    model, metrics = network(), collection()
    optimizer = Wrapper(Wrapper(torch.optim.Adam(model.parameters(), lr=0.01)))
    with metrics.attach(optimizer):
        train(model, optimizer)
    assert_close(metrics.history, plain)


def test_step_that_cannot_be_hooked(plain):
    """An engine's step is measured by the block around it, as the error says."""
    model, metrics = network(), collection()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

    class Engine:
        def step(self):
            optimizer.step()

    with pytest.raises(TypeError, match=r"got Engine;.*with metrics\.step\(model\)"):
        metrics.attach(Engine())
    for inputs, targets in batches():
        optimizer.zero_grad()
        cross_entropy(model(inputs), targets).backward()
        with metrics.step(model):
            Engine().step()
    assert_close(metrics.history, plain)


def test_schedule_free_style():
    """An optimizer that steps and then moves weights itself is measured as a whole."""

    class Lookahead(torch.optim.Optimizer):
        def __init__(self, optimizer):
            super().__init__(optimizer.param_groups, {})
            self.optimizer = optimizer
            self.slow = [
                p.detach().clone() for g in self.param_groups for p in g["params"]
            ]

        @torch.no_grad()
        def step(self, closure=None):
            self.optimizer.step()
            for slow, fast in zip(
                self.slow, self.param_groups[0]["params"], strict=True
            ):
                fast.copy_(slow.lerp_(fast, 0.5))

    model, metrics, truth = network(), collection(), Truth()
    optimizer = Lookahead(torch.optim.SGD(model.parameters(), lr=0.1))
    with metrics.attach(optimizer):
        train(model, optimizer, before=truth.before, after=truth.after)
    assert_close(metrics.history, truth.table)


def test_parameters_added_frozen_and_unfrozen_later():
    """New groups count from when they are added; new columns begin with NaN."""
    model, truth = network(), Truth()
    metrics = pe.MetricCollection(
        pe.GradNorm(per="module"), pe.UpdateRatio(), pe.UpdateNorm(), pe.ParameterNorm(),
        pe.ZeroGradShare(), pe.GradParameterCosine(),
    )  # fmt: skip
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD(model[4].parameters(), lr=0.1, momentum=0.9)
    counted = list(model[4].parameters())
    with metrics.attach(optimizer, model):
        for number, (inputs, targets) in enumerate(batches(4)):
            if number == 2:
                model[0].requires_grad_(True)
                optimizer.add_param_group({"params": list(model[0].parameters())})
                counted += list(model[0].parameters())
            if number == 3:
                model[4].requires_grad_(False)
            optimizer.zero_grad()
            cross_entropy(model(inputs), targets).backward()
            truth.before(counted)
            optimizer.step()
            truth.after(counted)
    history = dict(metrics.history)
    head, body = history.pop("grad_norm/4"), history.pop("grad_norm/0")
    assert_close(history, truth.table)
    assert np.isnan(body[:2]).all()
    assert np.isfinite(body[2:]).all()
    assert head[3] == 0


@pytest.mark.parametrize("every", [1, 2, 3, 10])
def test_every(plain, every):
    """Steps 1, 1 + every, ... are measured, with the numbers they have."""
    model, metrics = network(), collection()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    with metrics.attach(optimizer, every=every):
        train(model, optimizer)
    expected = {key: values[::every] for key, values in plain.items()}
    assert_close(metrics.history, expected)


def test_history_goes_on_over_attachments(plain):
    """Attached anew, and resumed from a checkpoint, the history continues."""
    model, metrics = network(), collection()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    with metrics.attach(optimizer):
        train(model, optimizer, batches()[:1])
    with metrics.attach(optimizer):
        train(model, optimizer, batches()[1:2])
    resumed = collection()
    resumed.load_state_dict(copy.deepcopy(metrics.state_dict()))
    with resumed.attach(optimizer):
        train(model, optimizer, batches()[2:])
    assert_close(resumed.history, plain)
    for key, value in resumed.compute().items():
        assert value == pytest.approx(np.mean(plain[key]))
    pe.Run(
        model="m", task="t", dataset="d", strategy="s", seed=0, history=resumed.history
    )


def test_state_survives_saving(plain, tmp_path):
    """What is saved by torch is loaded without trusting pickles."""
    model, metrics = network(), pe.MetricCollection(pe.GradNorm(per="parameter"))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    with metrics.attach(optimizer, model):
        train(model, optimizer)
    torch.save(metrics.state_dict(), tmp_path / "state.pt")
    loaded = pe.MetricCollection(pe.GradNorm(per="parameter"))
    loaded.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert loaded.history == metrics.history
    assert loaded.compute() == metrics.compute()


def test_long_history_is_thinned(monkeypatch):
    """A full history drops every second row; statistics still count every step."""
    monkeypatch.setattr(log, "CAPACITY", 10)
    monkeypatch.setattr(log, "_FOLD", 7)
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight])
    metrics = pe.MetricCollection(
        pe.GradNorm(),
        largest=pe.GradNorm(statistic="max"),
        last=pe.GradNorm(statistic="last"),
    )
    with metrics.attach(optimizer):
        for number in range(1, 101):
            weight.grad = torch.tensor([float(number)])
            optimizer.step()
    history = metrics.history
    assert history["step"] == tuple(range(1, 101, 16))
    assert history["grad_norm"] == history["step"] == history["largest"]
    assert metrics.compute() == {"grad_norm": 50.5, "largest": 100, "last": 100}


def test_metrics_attached_apart_share_a_table():
    """Columns that lack a step have NaN there."""
    weight = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    norm, rate = pe.GradNorm(), pe.LearningRate()
    weight.grad = torch.ones(1)
    with norm.attach(optimizer):
        optimizer.step()
    with pe.MetricCollection(norm, rate).attach(optimizer):
        optimizer.step()
    history = pe.MetricCollection(norm, rate).history
    assert history["step"] == (1, 2)
    assert history["grad_norm"] == (1, 1)
    assert np.isnan(history["learning_rate"][0])
    assert history["learning_rate"][1] == 1


def test_empty_history():
    """Before any step there is no row, and no value."""
    metrics = collection()
    assert metrics.history == {}
    with pytest.raises(RuntimeError, match="grad_norm has seen no optimizer step"):
        metrics.compute()


PARAMETER = nn.Parameter(torch.ones(1))


@pytest.mark.parametrize(
    ("optimizer", "every", "error", "message"),
    [
        (torch.optim.SGD([PARAMETER]), 1, None, ""),
        (torch.optim.SGD([{"params": []}]), 1, ValueError, "optimizer with parameters, got none"),
        ([], 1, ValueError, "optimizer with parameters, got none"),
        (None, 1, TypeError, "expects a torch.optim.Optimizer or a wrapper"),
        (nn.Linear(1, 1), 1, TypeError, "got Linear"),
        (torch.optim.SGD([PARAMETER]), 0, ValueError, "every to be an int >= 1, got 0"),
        (torch.optim.SGD([PARAMETER]), 1.5, ValueError, "every to be an int >= 1, got 1.5"),
    ],
)  # fmt: skip
def test_what_can_be_attached(optimizer, every, error, message):
    """Bad arguments are refused at once, their valid neighbour is not."""
    if error is None:
        pe.GradNorm().attach(optimizer, every=every).close()
    else:
        with pytest.raises(error, match=message):
            pe.GradNorm().attach(optimizer, every=every)


def test_attached_twice():
    """A metric watches one attachment at a time; closed, it can be attached again."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))])
    metric = pe.GradNorm()
    handle = metric.attach(optimizer)
    with pytest.raises(ValueError, match="attached already; close that handle first"):
        pe.MetricCollection(pe.UpdateRatio(), metric).attach(optimizer)
    with pytest.raises(ValueError, match="attached already"), metric.step([PARAMETER]):
        pass
    handle.close()
    handle.close()
    metric.attach(optimizer).close()
    with pytest.raises(ValueError, match="at least one step metric"):
        pe.MetricCollection(pe.Accuracy()).attach(optimizer)


def test_nothing_is_left():
    """After close, also by an exception, no hook and no snapshot is left."""
    model, metrics = network(), collection()
    optimizer = torch.optim.Adam(model.parameters())

    def interrupted():
        yield from batches()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), metrics.attach(optimizer) as handle:
        train(model, optimizer, interrupted())
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks
    assert len(metrics.history["step"]) == 4
    gone = weakref.ref(handle)
    del handle
    gc.collect()
    assert gone() is None
    train(model, optimizer)
    assert len(metrics.history["step"]) == 4


def test_exception_inside_a_step():
    """A step that an exception ended is no row; the next one is measured right."""
    model, metrics, truth = network(), collection(), Truth()
    optimizer = Calls(model.parameters(), lr=0.01)

    def fails():
        raise MemoryError

    with metrics.attach(optimizer):
        for _ in range(2):
            with pytest.raises(MemoryError):
                optimizer.step(fails)
        train(model, optimizer, before=truth.before, after=truth.after)
    assert_close(metrics.history, truth.table)


def test_exception_after_gradients_were_read():
    """An optimizer that fails in the middle of its step is measured anew."""
    weight = nn.Parameter(torch.ones(1))
    metric = pe.GradNorm()

    class Fails(torch.optim.SGD):
        broken = True

        def step(self, closure=None):
            if self.broken:
                raise MemoryError
            return super().step(closure)

    optimizer = Fails([weight], lr=0.1)
    with metric.attach(optimizer):
        weight.grad = torch.tensor([5.0])
        with pytest.raises(MemoryError):
            optimizer.step()
        optimizer.broken = False
        weight.grad = torch.tensor([2.0])
        optimizer.step()
    assert metric.history == {"grad_norm": (2.0,), "step": (1,)}


def test_metric_of_ones_own():
    """A user's metric reads the step by the same two events."""

    class LargestGradient(pe.StepMetric):
        key = "largest_gradient"

        def before_step(self, step):
            step.keep("gradient")

        def after_step(self, step):
            self.record(step, step.gradient_squares.amax().sqrt())

    weights = [nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(2))]
    optimizer = torch.optim.SGD(weights)
    with (metric := LargestGradient()).attach(optimizer):
        (weights[0].sum() + 3 * weights[1].sum()).backward()
        optimizer.step()
    assert metric.compute() == pytest.approx(18**0.5)


def test_what_was_not_measured():
    """Reading what nobody asked for before the step says what to call."""

    class Forgetful(pe.StepMetric):
        key = "forgetful"

        def after_step(self, step):
            self.record(step, step.update_squares.sum())

    class Late(pe.StepMetric):
        key = "late"

        def after_step(self, step):
            step.keep("update")

    weight = nn.Parameter(torch.ones(1))
    for metric in (Forgetful(), Late()):
        optimizer = torch.optim.SGD([weight])
        with (
            metric.attach(optimizer),
            pytest.raises(RuntimeError, match="in before_step"),
        ):
            optimizer.step()


class Syncs(TorchDispatchMode):
    """Counts operations that would make the host wait for an accelerator."""

    names = (
        "_local_scalar_dense",
        "nonzero",
        "equal",
        "is_nonzero",
        "item",
        "masked_select",
        "unique",
    )

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        name = operation.name().removeprefix("aten::").partition(".")[0]
        self.count += name.lstrip("_") in {each.lstrip("_") for each in self.names}
        return operation(*args, **(kwargs or {}))


@pytest.mark.parametrize("kernel", ["rows", "foreach"])
def test_no_host_sync(kernel, monkeypatch):
    """Training steps never wait for the device; compute fetches once for all."""
    if kernel == "foreach":
        monkeypatch.setattr(norms, "row_square_sums", norms.foreach_square_sums)
        monkeypatch.setattr(snapshot, "_compare_rows", snapshot._compare_foreach)
        monkeypatch.setattr(gradients, "_product", gradients._wide_product)
    model = network()
    metrics = pe.MetricCollection(
        pe.GradNorm(per="parameter"), pe.UpdateRatio(per="module"), pe.UpdateNorm(),
        pe.ParameterNorm(statistic="max"), pe.Skipped(), pe.LearningRate(),
        pe.GradNormBeforeClipping(), pe.Clipped(), pe.ZeroGradShare(per="module"),
        pe.GradParameterCosine(per="parameter"),
    )  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with metrics.attach(optimizer, model) as steps:
        for inputs, targets in batches():
            optimizer.zero_grad()
            cross_entropy(model(inputs), targets).backward()
            steps.clip_grad_norm_(model.parameters(), 1.0)
            with Syncs() as syncs:
                optimizer.step()
            assert syncs.count == 0
    fetches = []
    original = torch.Tensor.cpu
    monkeypatch.setattr(
        torch.Tensor, "cpu", lambda self: fetches.append(1) or original(self)
    )
    with Syncs() as syncs:
        metrics.compute()
    assert syncs.count == 0
    assert len(fetches) == 1


def states(model, optimizer):
    """Everything that training has changed."""
    generators = (torch.get_rng_state(), np.random.get_state(), random.getstate())
    return copy.deepcopy((model.state_dict(), optimizer.state_dict(), generators))


def assert_identical(first, second):
    """Both hold the same to the last bit."""
    assert type(first) is type(second)
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    elif isinstance(first, np.ndarray):
        assert np.array_equal(first, second)
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_identical(first[key], second[key])
    elif isinstance(first, list | tuple):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_identical(one, other)
    else:
        assert first == second


OPTIMIZERS = {
    "adamw fused": lambda p: torch.optim.AdamW(p, fused=True),
    "nesterov foreach": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, foreach=True),
    "lbfgs": lambda p: torch.optim.LBFGS(p, lr=0.3, max_iter=3),
}  # fmt: skip


def everything(name, *, measured, infinite):
    """Train 50 steps with all that draws random numbers; the state afterwards."""
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.3), nn.ReLU(),
        nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 3),
    )  # fmt: skip
    model[5].eval().requires_grad_(False)
    optimizer = OPTIMIZERS[name](model.parameters())
    dataset = TensorDataset(*batches(1, size=80)[0])
    loader = DataLoader(dataset, batch_size=8, shuffle=True)
    held_out = DataLoader(dataset, batch_size=16, shuffle=True)
    metrics = pe.MetricCollection(
        pe.GradNorm(per="parameter"), pe.UpdateRatio(per="module"), pe.UpdateNorm(),
        pe.ParameterNorm(), pe.Skipped(), pe.LearningRate(), pe.ZeroGradShare(),
        pe.GradParameterCosine(per="parameter"),
    )  # fmt: skip
    handle = metrics.attach(optimizer, model) if measured else None
    stream = itertools.chain.from_iterable(iter(loader) for _ in range(5))
    for number, (inputs, targets) in enumerate(stream):

        def closure(inputs=inputs, targets=targets, number=number):
            optimizer.zero_grad()
            loss = cross_entropy(model(inputs), targets)
            loss.backward()
            if infinite and number == 10:
                model[0].bias.grad[0] = torch.inf
            return loss

        if name == "lbfgs":
            optimizer.step(closure)
        else:
            closure()
            optimizer.step()
        if measured and number % 3 == 0:
            if not infinite:  # scores that are NaN are refused
                pe.validate(model, held_out, pe.Accuracy())
            metrics.compute()
    if handle:
        handle.close()
        assert metrics.history["step"] == tuple(range(1, 51))
    return states(model, optimizer)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_measuring_changes_nothing(name):
    """Weights, optimizer state and randomness are bit-identical with and without."""
    assert_identical(
        everything(name, measured=True, infinite=False),
        everything(name, measured=False, infinite=False),
    )


@pytest.mark.filterwarnings("ignore:accuracy is NaN")
@pytest.mark.parametrize("name", ["adamw fused", "nesterov foreach"])
def test_infinite_gradient_spreads_no_further(name):
    """One infinite gradient leaves the weights exactly as it does without metrics."""
    bits = [
        {key: value.numpy().tobytes() for key, value in states_[0].items()}
        for measured in (True, False)
        for states_ in [everything(name, measured=measured, infinite=True)]
    ]
    assert bits[0] == bits[1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ["adamw fused", "nesterov foreach"])
def test_accelerator(name):
    """On a GPU norms are exact too, and a step waits for nothing."""
    model, metrics, truth = network().cuda(), collection(), Truth()
    parameters = list(model.parameters())
    optimizer = OPTIMIZERS[name](parameters)
    with metrics.attach(optimizer, model):
        for inputs, targets in batches():
            optimizer.zero_grad()
            cross_entropy(model(inputs.cuda()), targets.cuda()).backward()
            truth.before(parameters)
            torch.cuda.set_sync_debug_mode("error")
            optimizer.step()
            torch.cuda.set_sync_debug_mode("default")
            truth.after(parameters)
    assert_close(metrics.history, truth.table)


def test_copy_watches_nothing():
    """A copy of an attached metric has its history and can be attached itself."""
    weight = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    with (metric := pe.GradNorm()).attach(optimizer):
        optimizer.step()
        twin = copy.deepcopy(metric)
        optimizer.step()
    assert metric.history["step"] == (1, 2)
    assert twin.history["step"] == (1,)
    twin.attach(optimizer).close()


def test_half_a_joint_step():
    """Closing counts what has stepped so far; an exception leaves it out."""
    weights = [nn.Parameter(torch.ones(1)) for _ in range(2)]
    optimizers = [torch.optim.SGD([weight], lr=0.1) for weight in weights]
    weights[0].grad = torch.tensor([3.0])
    metric = pe.GradNorm()
    with metric.attach(optimizers):
        optimizers[0].step()
    assert metric.history == {"grad_norm": (3.0,), "step": (1,)}
    with pytest.raises(KeyboardInterrupt), metric.attach(optimizers):
        interrupted(optimizers[0])
    assert metric.history["step"] == (1,)


def interrupted(optimizer):
    """A step, then Ctrl-C."""
    optimizer.step()
    raise KeyboardInterrupt
