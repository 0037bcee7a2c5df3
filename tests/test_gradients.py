"""Zeros of gradients, and their products with the parameters."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import pretrain_eval as pe
from pretrain_eval._steps import gradients


def normal(*shape, seed=0, dtype=torch.float32):
    """Random numbers of a seed."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype)


def sparse(values, *, rows=9):
    """Rows 2, 5 and 2 again, never summed."""
    return torch.sparse_coo_tensor(
        torch.tensor([[2, 5, 2]]), values, (rows, *values.shape[1:]), check_invariants=True
    )  # fmt: skip


def pairs():
    """Gradients with their parameters, laid out in every way that torch has."""
    images = normal(4, 3, 5, 5, seed=1)
    first, second = normal(300_000), normal(300_000, seed=1)
    turned = normal(3, 2, dtype=torch.complex64).conj()
    return {
        "longer than a window": (first, second),
        "one value": (torch.full((300_001,), 0.1), torch.full((300_001,), 0.7)),
        "one number": (torch.tensor(2.0), torch.tensor(-3.0)),
        "empty": (torch.zeros(0, 3), torch.zeros(0, 3)),
        "other strides": (
            normal(4, 3, 5, 5), images.to(memory_format=torch.channels_last)
        ),
        "both transposed": (normal(7, 3).T, normal(7, 3, seed=1).T),
        "every second": (normal(10)[::2], normal(10, seed=1)[::2]),
        "half": (1e3 * normal(500).half(), 1e3 * normal(500, seed=1).half()),
        "bfloat16": (normal(500).bfloat16(), normal(500, seed=1).bfloat16()),
        "complex": (turned, normal(3, 2, seed=1, dtype=torch.complex64)),
        "sparse": (sparse(normal(3, 4)), normal(9, 4, seed=1)),
        "sparse that cancels": (
            sparse(torch.tensor([[1.0, 2.0], [0.0, 3.0], [-1.0, 2.0]])),
            normal(9, 2, seed=1),
        ),
        "too large for float32": (1e30 * normal(50), 1e30 * normal(50, seed=1)),
        "too small for float32": (1e-30 * normal(50), 1e-30 * normal(50, seed=1)),
        "mostly zero": (normal(50).where(torch.arange(50) % 9 == 0, 0), normal(50)),
    }  # fmt: skip


def numbers(tensor):
    """The tensor in numpy, in the widest type."""
    array = tensor.to_dense().resolve_conj()
    wide = torch.complex128 if array.is_complex() else torch.float64
    return array.to(wide).numpy()


@pytest.mark.parametrize("name", pairs())
@pytest.mark.parametrize("kernel", ["narrow", "wide"])
def test_product(name, kernel, monkeypatch):
    """Σg·θ is exact to 1e-7 of ‖g‖‖θ‖, also the way that accelerators take it."""
    if kernel == "wide":
        monkeypatch.setattr(gradients, "_product", gradients._wide_product)
    gradient, parameter = pairs()[name]
    found = gradients.products([None, gradient], [torch.ones(3), parameter])
    first, second = numbers(gradient), numbers(parameter)
    assert found.dtype is torch.float64
    assert found[0] == 0
    scale = np.linalg.norm(first) * np.linalg.norm(second)
    expected = np.vdot(first, second).real
    assert float(found[1]) == pytest.approx(expected, rel=0, abs=1e-7 * scale)


@pytest.mark.parametrize("name", pairs())
def test_nonzero_count(name):
    """Counts are numpy's; entries of a sparse gradient are summed before."""
    gradient, _ = pairs()[name]
    found = gradients.nonzero_counts([gradient, None])
    assert found.tolist() == [np.count_nonzero(numbers(gradient)), 0]


def test_nothing_to_read():
    """An optimizer that holds no parameter adds nothing."""
    assert gradients.nonzero_counts([]).shape == (0,)
    assert gradients.products([None], [torch.ones(1)]).tolist() == [0]


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_gradients_that_are_not_finite(value):
    """They are no zeros, and their cosine is undefined."""
    weight = nn.Parameter(torch.ones(4))
    weight.grad = torch.tensor([0.0, value, 1.0, 0.0])
    optimizer = torch.optim.SGD([weight])
    metrics = pe.MetricCollection(pe.ZeroGradShare(), pe.GradParameterCosine())
    with metrics.attach(optimizer):
        optimizer.step()
    values = metrics.compute()
    assert values["zero_grad_share"] == 0.5
    assert math.isnan(values["grad_param_cosine"])


@pytest.mark.parametrize("to_none", [True, False])
def test_weights_that_learn_nothing(to_none):
    """A layer that a batch does not use counts as zero, however gradients are cleared."""
    model = nn.ModuleDict({"used": nn.Linear(3, 1), "unused": nn.Linear(5, 1)})
    metric = pe.ZeroGradShare(per="module")
    optimizer = torch.optim.SGD(model.parameters())
    with metric.attach(optimizer, model):
        for name in ("unused", "used"):
            optimizer.zero_grad(set_to_none=to_none)
            model[name](torch.ones(1, model[name].in_features)).sum().backward()
            optimizer.step()
    history = metric.history
    assert history["zero_grad_share"] == pytest.approx((0.4, 0.6))
    assert history["zero_grad_share/used"] == (1, 0)
    assert history["zero_grad_share/unused"] == (0, 1)


def test_cosine_of_parts():
    """Each part has its own cosine; along the weights it is 1 and no more."""
    weights = {
        name: nn.Parameter(normal(1000, seed=seed)) for seed, name in enumerate("abc")
    }
    optimizer = torch.optim.SGD(weights.items(), lr=0.1)
    weights["a"].grad = 3 * weights["a"].detach()
    weights["b"].grad = -weights["b"].detach()
    weights["c"].grad = torch.zeros(1000)
    with (metric := pe.GradParameterCosine(per="parameter")).attach(optimizer):
        optimizer.step()
    a, b, c = (weight.detach().double() for weight in weights.values())
    a, b = a / 0.7, b / 1.1  # what SGD made of them
    parts = {name: values[0] for name, values in metric.history.items()}
    assert 1 - 1e-7 < parts["grad_param_cosine/a"] <= 1
    assert -1 <= parts["grad_param_cosine/b"] < -1 + 1e-7
    assert math.isnan(parts["grad_param_cosine/c"])
    squares = [float(each.square().sum()) for each in (a, b, c)]
    whole = (3 * squares[0] - squares[1]) / math.sqrt(
        (9 * squares[0] + squares[1]) * sum(squares)
    )
    assert parts["grad_param_cosine"] == pytest.approx(whole, rel=1e-6)


def test_normalised_weights():
    """Before a normalisation, gradients are orthogonal to the weights."""
    layer, norm = nn.Linear(6, 5, bias=False), nn.LayerNorm(5, eps=0)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    with (metric := pe.GradParameterCosine()).attach(optimizer):
        norm(layer(normal(8, 6))).pow(3).sum().backward()
        optimizer.step()
    assert metric.compute() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("fused", [False, True])
def test_scaled_gradients(fused):
    """A gradient scaler changes neither of them."""
    found = {}
    for enabled in (False, True):
        weight = nn.Parameter(normal(40))
        optimizer = torch.optim.SGD([weight], lr=0.1, fused=fused)
        scaler = torch.amp.GradScaler("cpu", enabled=enabled)
        metrics = pe.MetricCollection(pe.ZeroGradShare(), pe.GradParameterCosine())
        with metrics.attach(optimizer):
            scaler.scale(weight.relu().pow(2).sum()).backward()
            scaler.step(optimizer)
        found[enabled] = metrics.compute()
    assert found[True] == pytest.approx(found[False], rel=1e-9)
    assert 0 < found[True]["zero_grad_share"] < 1


def test_threads_change_no_bit():
    """One thread and three give the same products to the last bit."""
    first, second = normal(300_001), normal(300_001, seed=1)
    before = torch.get_num_threads()
    products = []
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            products.append(gradients.products([first], [second]))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*products)
