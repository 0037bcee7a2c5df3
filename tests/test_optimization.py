"""Step metrics equal float64 truth under every optimizer and every kind of gradient."""

import inspect

import numpy as np
import pytest
import torch
from steps_truth import Truth, batches, collection, network
from torch import nn
from torch.nn.functional import cross_entropy

import pretrain_eval as pe

CLASSES = {
    name: value
    for name, value in vars(torch.optim).items()
    if inspect.isclass(value)
    and issubclass(value, torch.optim.Optimizer)
    and value is not torch.optim.Optimizer
}
# Those for special gradients or closures have tests of their own.
DENSE = sorted(CLASSES.keys() - {"SparseAdam", "LBFGS", "Muon"})


def test_no_optimizer_is_forgotten():
    """The tables here know every optimizer of this torch."""
    assert set(CLASSES) - {"Muon"} == {*DENSE, "SparseAdam", "LBFGS"}
    assert len(CLASSES) >= 14


def modes(name):
    """The implementations that an optimizer has."""
    signature = inspect.signature(CLASSES[name]).parameters
    return [
        mode
        for mode in ("default", "foreach", "fused")
        if mode == "default" or mode in signature
    ]


CASES = [
    (name, mode, options)
    for name in DENSE
    for mode in modes(name)
    for options in (
        {},
        {"weight_decay": 0.1},
        {"maximize": True},
        {"momentum": 0.9},
        {"momentum": 0.9, "nesterov": True},
    )
    if set(options) <= set(inspect.signature(CLASSES[name]).parameters)
]


def equals(history, table):
    """The history is the table, and the steps are its last column."""
    assert set(table) == set(history)
    assert list(history)[-1] == "step"
    for key, values in table.items():
        assert list(history[key]) == pytest.approx(values, rel=1e-6), key


@pytest.mark.parametrize(("name", "mode", "options"), CASES, ids=str)
def test_optimizer(name, mode, options):
    """Gradient, update, weights and ratio of every step are exact."""
    model, truth, metrics = network(), Truth(), collection()
    parameters = list(model.parameters())
    chosen = {} if mode == "default" else {mode: True}
    optimizer = CLASSES[name](parameters, lr=0.05, **chosen, **options)
    with metrics.attach(optimizer):
        for inputs, targets in batches():
            optimizer.zero_grad()
            cross_entropy(model(inputs), targets).backward()
            truth.before(parameters)
            optimizer.step()
            truth.after(parameters)
    equals(metrics.history, truth.table)
    assert metrics.compute()["update_ratio"] == pytest.approx(
        sum(truth.table["update_ratio"]) / 4
    )


@pytest.mark.parametrize("line_search", [None, "strong_wolfe"])
def test_lbfgs(line_search):
    """LBFGS evaluates its closure often: the gradient is the first one, at θ_t."""
    model, truth, metrics = network(), Truth(), collection()
    parameters = list(model.parameters())
    optimizer = torch.optim.LBFGS(
        parameters, lr=0.1, max_iter=5, line_search_fn=line_search
    )
    with metrics.attach(optimizer):
        for inputs, targets in batches(3):
            evaluations = []

            def closure(inputs=inputs, targets=targets, evaluations=evaluations):
                optimizer.zero_grad()
                loss = cross_entropy(model(inputs), targets)
                loss.backward()
                if not evaluations:
                    truth.before(parameters)
                evaluations.append(loss)
                return loss

            optimizer.step(closure)
            truth.after(parameters)
            assert len(evaluations) > 1
    equals(metrics.history, truth.table)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="needs torch 2.9")
def test_muon():
    """Muon, for matrices, is measured like the others."""
    weight = nn.Parameter(torch.randn(4, 6, generator=torch.Generator().manual_seed(0)))
    truth, metrics = Truth(), collection()
    optimizer = torch.optim.Muon([weight], lr=0.1)
    with metrics.attach(optimizer):
        for _ in range(3):
            optimizer.zero_grad()
            weight.square().sum().backward()
            truth.before([weight])
            optimizer.step()
            truth.after([weight])
    equals(metrics.history, truth.table)


# torch's Adagrad warns of itself.
@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
@pytest.mark.parametrize("name", ["SparseAdam", "SGD", "Adagrad"])
def test_sparse_gradients(name):
    """A row that occurs twice in a batch counts with the sum of its gradients."""
    torch.manual_seed(0)
    embedding = nn.Embedding(50, 8, sparse=True)
    truth, metrics = Truth(), collection()
    optimizer = CLASSES[name](embedding.parameters(), lr=0.1)
    with metrics.attach(optimizer):
        for _ in range(3):
            optimizer.zero_grad()
            embedding(torch.tensor([3, 7, 3, 3])).square().sum().backward()
            truth.before([embedding.weight])
            optimizer.step()
            truth.after([embedding.weight])
    equals(metrics.history, truth.table)


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float64, torch.complex64], ids=str
)
@pytest.mark.parametrize("foreach", [False, True])
def test_dtype(dtype, foreach):
    """Weights of every dtype, small ones that more than double among them."""
    torch.manual_seed(0)
    weights = [
        nn.Parameter(torch.randn(600, 3).to(dtype)),
        nn.Parameter(torch.full((700,), 1e-4, dtype=dtype)),
    ]
    truth, metrics = Truth(), collection()
    optimizer = torch.optim.SGD(weights, lr=0.03, momentum=0.9, foreach=foreach)
    with metrics.attach(optimizer):
        for _ in range(3):
            for weight in weights:
                weight.grad = torch.randn_like(weight)
            truth.before(weights)
            optimizer.step()
            truth.after(weights)
    equals(metrics.history, truth.table)


def test_half_precision_beyond_its_range():
    """A norm above 65504 of a float16 gradient is that, not infinite."""
    weight = nn.Parameter(torch.zeros(10_000, dtype=torch.float16))
    weight.grad = torch.full_like(weight, 6e4)
    optimizer = torch.optim.SGD([weight], lr=1e-5)
    with (metric := pe.GradNorm()).attach(optimizer):
        optimizer.step()
    assert metric.compute() == pytest.approx(float(weight.grad[0]) * 100, rel=1e-6)


def test_scaling_the_loss_scales_the_norm():
    """Twice the loss has twice the gradient norm, and the same ratio under Adam."""
    norms = {}
    for scale in (1.0, 2.0):
        model, metrics = network(), collection()
        optimizer = torch.optim.Adam(model.parameters(), eps=1e-30)
        inputs, targets = batches(1)[0]
        with metrics.attach(optimizer):
            (scale * cross_entropy(model(inputs), targets)).backward()
            optimizer.step()
        norms[scale] = metrics.compute()
    assert norms[2.0]["grad_norm"] == pytest.approx(2 * norms[1.0]["grad_norm"])
    assert norms[2.0]["update_ratio"] == pytest.approx(norms[1.0]["update_ratio"])


def test_odd_parameters():
    """Tied, repeated, frozen, untouched and zero parameters each count once, as held."""
    tied = nn.Parameter(torch.tensor([3.0, 4.0]))
    frozen = nn.Parameter(torch.tensor([1.0]), requires_grad=False)
    frozen.grad = torch.tensor([2.0])  # stale, and the optimizer uses it
    untouched = nn.Parameter(torch.tensor([2.0]))
    zero = nn.Parameter(torch.zeros(2))
    parameters = [tied, frozen, untouched, zero]
    optimizer = torch.optim.SGD([{"params": parameters}], lr=0.1)
    optimizer.param_groups[0]["params"].append(tied)
    truth, metrics = Truth(), collection()
    with metrics.attach(optimizer):
        ((tied + tied).sum() + zero.sum()).backward()
        truth.before(parameters)
        optimizer.step()
        truth.after(parameters)
    equals(metrics.history, truth.table)
    assert metrics.compute()["param_norm"] == pytest.approx(30**0.5)


def test_zero_parameters():
    """A ratio to nothing is infinite, and undefined where nothing moved either."""
    weight = nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    with (metric := pe.UpdateRatio()).attach(optimizer):
        optimizer.step()
        weight.grad = torch.ones(3)
        optimizer.step()
    undefined, infinite = metric.history["update_ratio"]
    assert undefined != undefined
    assert infinite == float("inf")


def test_momentum_moves_without_a_gradient():
    """Weights that coast on momentum are seen to move."""
    weight = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.5)
    with (metrics := collection()).attach(optimizer):
        for gradient in (1.0, 0.0):
            weight.grad = torch.full((3,), gradient)
            optimizer.step()
    assert metrics.history["grad_norm"] == pytest.approx((3**0.5, 0.0))
    assert metrics.history["update_norm"] == pytest.approx(
        (0.1 * 3**0.5, 0.05 * 3**0.5)
    )


def labelled(name):
    """The part that a parameter is counted to."""
    return "head" if name.startswith("4.") else "backbone"


@pytest.mark.parametrize(
    ("per", "parts"),
    [
        ("parameter", {name: [name] for name, _ in network().named_parameters()}),
        ("module", {name: [f"{name}.weight", f"{name}.bias"] for name in "034"}),
        (labelled, {
            "head": ["4.weight", "4.bias"],
            "backbone": ["0.weight", "0.bias", "3.weight", "3.bias"],
        }),
    ],
)  # fmt: skip
@pytest.mark.parametrize("named", ["model", "optimizer"])
def test_parts(per, parts, named):
    """Besides the total, each part's own values, by the parameters' names."""
    model = network()
    metrics = pe.MetricCollection(pe.GradNorm(per=per), pe.UpdateRatio(per=per))
    by_model = named == "model"
    optimizer = torch.optim.Adam(
        model.parameters() if by_model else model.named_parameters()
    )
    inputs, targets = batches(1)[0]
    with metrics.attach(optimizer, model if by_model else None):
        cross_entropy(model(inputs), targets).backward()
        truths = {}
        for part, names in {**parts, "": list(dict(model.named_parameters()))}.items():
            truths[part] = Truth()
            truths[part].before([model.get_parameter(name) for name in names])
        optimizer.step()
    for part, names in {**parts, "": list(dict(model.named_parameters()))}.items():
        truths[part].after([model.get_parameter(name) for name in names])
    expected = {
        f"{key}/{part}" if part else key: truth.rows[0][key]
        for part, truth in truths.items()
        for key in ("grad_norm", "update_ratio")
    }
    assert metrics.compute() == pytest.approx(expected, rel=1e-6)
    assert {key: values[0] for key, values in metrics.history.items()} == pytest.approx(
        expected | {"step": 1}, rel=1e-6
    )


def test_parts_by_group():
    """Groups need no names of parameters; one that has a name is called by it."""
    model = network()
    head, body = list(model[4].parameters()), list(model[0].parameters())
    optimizer = torch.optim.SGD(
        [{"params": head, "name": "head", "lr": 0.5}, {"params": body}], lr=0.1
    )
    metrics = pe.MetricCollection(pe.GradNorm(per="group"), pe.UpdateNorm(per="group"))
    inputs, targets = batches(1)[0]
    with metrics.attach(optimizer):
        cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    values = metrics.compute()
    for part, parameters, rate in (("head", head, 0.5), ("group 1", body, 0.1)):
        norm = float(torch.cat([p.grad.double().flatten() for p in parameters]).norm())
        assert values[f"grad_norm/{part}"] == pytest.approx(norm, rel=1e-6)
        # Weights are rounded to float32.
        assert values[f"update_norm/{part}"] == pytest.approx(rate * norm, rel=1e-4)


def test_parts_need_names():
    """Without a model or named parameters the error says where names come from."""
    model = network()
    inputs, targets = batches(1)[0]
    cross_entropy(model(inputs), targets).backward()
    optimizer = torch.optim.SGD(model.parameters())
    with (
        pe.GradNorm(per="parameter").attach(optimizer),
        pytest.raises(
            ValueError, match=r"per= needs names.*attach\(optimizer, model\)"
        ),
    ):
        optimizer.step()
    with (
        pe.GradNorm(per="parameter").attach(optimizer, network()),
        pytest.raises(ValueError, match="parameters that the model lacks, of shapes"),
    ):
        optimizer.step()


@pytest.mark.parametrize("per", ["parameters", 3, True])
def test_unknown_parts(per):
    """What parts are there is said at once."""
    with pytest.raises(ValueError, match='per must be None, "parameter", "module"'):
        pe.GradNorm(per=per)


@pytest.mark.parametrize(
    ("statistic", "expected"), [("mean", 2.0), ("last", 1.0), ("max", 3.0)]
)
def test_statistic(statistic, expected):
    """The mean, last or largest value of the steps since the last reset."""
    weight = nn.Parameter(torch.zeros(1))
    metric = pe.GradNorm(statistic=statistic)
    optimizer = torch.optim.SGD([weight])
    with metric.attach(optimizer):
        for gradient in (9.0, 2.0, 3.0, 1.0):
            weight.grad = torch.tensor([gradient])
            optimizer.step()
            if gradient == 9.0:
                metric.reset()
    assert metric.compute() == expected
    assert metric.history["grad_norm"] == (9.0, 2.0, 3.0, 1.0)


def test_unknown_statistic():
    """The error lists the statistics."""
    with pytest.raises(
        ValueError, match="one of \\['mean', 'last', 'max', 'std'\\], got 'sum'"
    ):
        pe.GradNorm(statistic="sum")


def test_clipping():
    """Before clipping, after it, and whether it engaged are three keys."""
    weight = nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([weight])
    metrics = pe.MetricCollection(
        pe.GradNorm(), pe.GradNormBeforeClipping(), pe.Clipped()
    )
    with metrics.attach(optimizer) as steps:
        for scale in (1.0, 0.1):
            weight.grad = scale * torch.tensor([3.0, 4.0])
            total = steps.clip_grad_norm_([weight], 1.0)
            assert float(total) == pytest.approx(5 * scale)
            optimizer.step()
        weight.grad = torch.tensor([0.3, 0.4])
        steps.hand_over(2.0, 0.5)
        optimizer.step()
    assert metrics.history["grad_norm_before_clipping"] == pytest.approx((5, 0.5, 2))
    assert metrics.history["grad_norm"] == pytest.approx((1, 0.5, 0.5), rel=1e-5)
    assert metrics.history["clipped"] == (1, 0, 1)


def test_clipping_is_torchs():
    """The drop-in clips to the bit as torch does, and passes its options on."""
    gradients = [torch.randn(30), torch.randn(7)]
    twins = [[nn.Parameter(torch.zeros_like(g)) for g in gradients] for _ in range(2)]
    for twin in twins:
        for parameter, gradient in zip(twin, gradients, strict=True):
            parameter.grad = gradient.clone()
    torch.nn.utils.clip_grad_norm_(twins[0], 1.0)
    with pe.Clipped().attach(torch.optim.SGD(twins[1])) as steps:
        steps.clip_grad_norm_(iter(twins[1]), 1.0)
        for first, second in zip(*twins, strict=True):
            assert torch.equal(first.grad, second.grad)
        twins[1][0].grad[0] = torch.inf
        with pytest.raises(RuntimeError, match="non-finite"):
            steps.clip_grad_norm_(twins[1], 1.0, error_if_nonfinite=True)


def test_clipping_that_nobody_saw():
    """A loop that clips elsewhere, or not at all, goes on with NaN, and is told once."""
    weight = nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([weight])
    metrics = pe.MetricCollection(pe.Clipped(), pe.GradNorm())
    with metrics.attach(optimizer) as steps:
        weight.grad = torch.tensor([3.0, 4.0])
        with pytest.warns(UserWarning, match=r"clipped is NaN.*clip_grad_norm_"):
            optimizer.step()
        optimizer.step()  # without another warning
        steps.clip_grad_norm_([weight], 1.0)
        optimizer.step()
    assert np.isnan(metrics.history["clipped"][:2]).all()
    assert metrics.history["clipped"][2] == 1
    assert metrics.history["grad_norm"][:2] == (5, 5)


@pytest.mark.parametrize(
    ("told", "clipped"),
    [
        ({"max_norm": 4.9}, 1.0),
        ({"max_norm": 5.1}, 0.0),
        ({"max_norm": float("nan")}, float("nan")),
        ({"max_value": 3.9}, 1.0),
        ({"max_value": 4.0}, 0.0),
        ({}, 0.0),
    ],
)
def test_clipping_of_ones_own_can_be_told_before(told, clipped):
    """The gradients are read as they are, by norm, by value, or of unknown fate."""
    weight = nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([weight])
    metrics = pe.MetricCollection(pe.GradNormBeforeClipping(), pe.Clipped())
    with metrics.attach(optimizer) as steps:
        weight.grad = torch.tensor([3.0, -4.0])
        steps.before_clipping([weight], **told)
        weight.grad = weight.grad / 10
        optimizer.step()
    assert metrics.history["grad_norm_before_clipping"] == (5,)
    assert metrics.history["clipped"] == pytest.approx((clipped,), nan_ok=True)


def test_learning_rate():
    """Every group's learning rate as the step used it, schedules included."""
    model = network()
    optimizer = torch.optim.SGD(
        [
            {"params": model[0].parameters()},
            {"params": model[4].parameters(), "lr": 0.5},
        ],
        lr=1.0,
    )
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.1)
    with (metric := pe.LearningRate()).attach(optimizer):
        for _ in range(2):
            optimizer.step()
            schedule.step()
    assert metric.history["learning_rate"] == pytest.approx((1.0, 0.1))
    assert metric.history["learning_rate/group 1"] == pytest.approx((0.5, 0.05))


@pytest.mark.parametrize(
    ("name", "options", "first", "second"),
    [
        ("Adam", {}, "exp_avg", "exp_avg_sq"),
        ("AdamW", {"fused": True}, "exp_avg", "exp_avg_sq"),
        ("NAdam", {"foreach": True}, "exp_avg", "exp_avg_sq"),
        ("RMSprop", {"momentum": 0.9}, "momentum_buffer", "square_avg"),
    ],
)
def test_moments_are_those_of_the_optimizer(name, options, first, second):
    """After each step, in total and per parameter, beside the norms of the step."""
    model = network()
    optimizer = CLASSES[name](model.parameters(), lr=0.01, **options)
    metrics = pe.MetricCollection(
        pe.GradNorm(), pe.UpdateNorm(),
        pe.MomentNorm(per="parameter"), pe.SecondMomentNorm(),
    )  # fmt: skip
    rows = []
    with metrics.attach(optimizer, model):
        for inputs, targets in batches():
            optimizer.zero_grad()
            cross_entropy(model(inputs), targets).backward()
            optimizer.step()
            states = [optimizer.state[p] for p in model.parameters()]
            rows.append(
                [
                    torch.cat([s[key].double().flatten() for s in states]).norm().item()
                    for key in (first, second)
                ]
                + [states[2][first].double().norm().item()]
            )
    keys = "moment_norm", "second_moment_norm", "moment_norm/3.weight"
    found = np.array([metrics.history[key] for key in keys]).T
    assert found == pytest.approx(np.array(rows), rel=1e-6)


def test_an_optimizer_without_moments_is_unknown():
    """NaN with one warning, and the training goes on; no gradient at all counts as 0."""
    weights = [nn.Parameter(torch.ones(2)) for _ in range(2)]
    optimizer = torch.optim.SGD(weights, lr=0.1)
    weights[0].grad = torch.ones(2)
    with (metric := pe.MomentNorm()).attach(optimizer):
        with pytest.warns(UserWarning, match="moment_norm is NaN: SGD keeps no moment"):
            optimizer.step()
        optimizer.step()
    assert np.isnan(metric.history["moment_norm"]).all()
    optimizer = torch.optim.SGD(weights, lr=0.1, momentum=0.9)
    with (metric := pe.MomentNorm()).attach(optimizer):
        optimizer.step()
    assert metric.compute() == pytest.approx(2**0.5)


QUANTILES = (0.0, 0.1, 0.5, 0.9, 0.999, 1.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_quantiles_and_sums_of_absolute_entries_are_those_of_numpy(dtype):
    """Of all entries and of each parameter's, after clipping, to the last bit."""
    model = network().to(dtype)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    members = [pe.GradQuantile(q, per="parameter") for q in QUANTILES]
    metrics = pe.MetricCollection(*members, pe.GradNorm(1, per="parameter"))
    rows = []
    with metrics.attach(optimizer, model):
        for inputs, targets in batches():
            optimizer.zero_grad()
            cross_entropy(model(inputs.to(dtype)), targets).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            named = {
                name: parameter.grad.abs().double().flatten().numpy()
                for name, parameter in model.named_parameters()
            }
            rows.append({"": np.concatenate(list(named.values())), **named})
            optimizer.step()
    for q, member in zip(QUANTILES, members, strict=True):
        for name in rows[0]:
            key = member.key if not name else f"{member.key}/{name}"
            truth = [np.quantile(r[name], q, method="inverted_cdf") for r in rows]
            assert metrics.history[key] == tuple(truth), key
    sums = [row[""].sum() for row in rows]
    assert metrics.history["grad_norm_1"] == pytest.approx(sums, rel=1e-6)
    of_one = [row["3.weight"].sum() for row in rows]
    assert metrics.history["grad_norm_1/3.weight"] == pytest.approx(of_one, rel=1e-6)


def test_entries_count_whatever_kind_of_gradient_they_are_of():
    """None is all zeros, sparse entries are summed, a complex one has its size."""
    none, sparse = nn.Parameter(torch.ones(4)), nn.Parameter(torch.ones(3))
    imaginary = nn.Parameter(torch.ones(1, dtype=torch.complex64))
    sparse.grad = torch.sparse_coo_tensor(
        [[0, 0]], [1.0, 2.0], (3,), check_invariants=True
    )
    imaginary.grad = torch.tensor([3 + 4j])
    weights = [none, sparse, imaginary]
    optimizer = torch.optim.SGD(weights, lr=0.0)
    members = pe.GradQuantile(0.75), pe.GradQuantile(0.76), pe.GradQuantile(1.0)
    metrics = pe.MetricCollection(*members, pe.GradNorm(1))
    with metrics.attach(optimizer):
        optimizer.step()
    assert metrics.compute() == {
        "grad_quantile_75": 0.0,
        "grad_quantile_76": 3.0,
        "grad_quantile_100": 5.0,
        "grad_norm_1": 8.0,
    }


def test_quantiles_of_two_optimizers_are_of_all_entries():
    """Attached as one; each keeps its entries until the last has stepped."""
    first, second = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))
    both = [torch.optim.SGD([each], lr=0.1) for each in (first, second)]
    metrics = pe.MetricCollection(pe.GradQuantile(0.5), pe.GradNorm(1))
    with metrics.attach(both):
        first.grad, second.grad = torch.tensor([9.0, 8.0]), torch.tensor([1.0, 2, 3])
        both[0].step()
        first.grad = None
        both[1].step()
    assert metrics.compute() == {"grad_quantile_50": 3.0, "grad_norm_1": 23.0}


def test_scaled_gradients_of_a_fused_optimizer_are_unscaled():
    """As the optimizer does itself, in its step."""
    weight = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], lr=0.1, fused=True)
    optimizer.grad_scale, optimizer.found_inf = torch.tensor(4.0), None
    metrics = pe.MetricCollection(pe.GradQuantile(1.0), pe.GradNorm(1), pe.GradNorm())
    with metrics.attach(optimizer):
        weight.grad = torch.tensor([4.0, -8.0, 12.0])
        optimizer.step()
    norms = {"grad_norm_1": 6.0, "grad_norm": pytest.approx(14**0.5)}
    assert metrics.compute() == {"grad_quantile_100": 3.0, **norms}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pe.GradQuantile(1.5), "q must be from 0 to 1"),
        (lambda: pe.GradQuantile(float("nan")), "q must be from 0 to 1"),
        (lambda: pe.GradNorm(3), "ord must be 1 or 2"),
    ],
)
def test_no_such_quantile_or_norm(make, message):
    """The message says what is expected."""
    with pytest.raises(ValueError, match=message):
        make()
