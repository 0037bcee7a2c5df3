"""Norms are exact for every dtype, layout and size."""

import itertools
import math

import pytest
import torch

from pretrain_eval import functional
from pretrain_eval._steps import norms
from pretrain_eval._steps import snapshot as _snapshot
from pretrain_eval._steps.snapshot import Room, Snapshot


@pytest.fixture(params=[1, 2], autouse=True, ids=["one thread", "two threads"])
def threads(request):
    """Large tensors are divided among threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


def truth(tensor):
    """The sum of squares in float64."""
    wide = tensor.detach()
    wide = wide.to_dense() if wide.layout is not torch.strided else wide
    return float(
        wide.to(torch.complex128 if wide.is_complex() else torch.float64)
        .abs()
        .square()
        .sum()
    )


def random(*shape, dtype=torch.float32, scale=1.0):
    """Normal numbers, the same every time."""
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(shape, generator=generator, dtype=torch.float64) * scale).to(
        dtype
    )


def sparse(*, coalesced):
    """A sparse matrix with an entry given twice."""
    indices = torch.tensor([[0, 3, 3, 7]])
    values = random(4, 5)
    tensor = torch.sparse_coo_tensor(indices, values, (9, 5), check_invariants=True)
    return tensor.coalesce() if coalesced else tensor


TENSORS = {
    "scalar": random(),
    "one row": random(512),
    "a row and a rest": random(513),
    "many windows": random(300_001),
    "constant": torch.full((1_000_003,), 0.73),
    "float64": random(1000, dtype=torch.float64),
    "float64 beyond float32": random(1000, dtype=torch.float64, scale=1e200),
    "float16 beyond its range": torch.full((1_000_000,), 6e4).half(),
    "bfloat16": random(300_000, dtype=torch.bfloat16),
    "complex64": torch.complex(random(700), random(700)),
    "conjugated": torch.complex(random(700), random(700)).conj(),
    "imaginary part": torch.complex(random(700), random(700)).conj().imag,
    "squares underflow in float32": random(5000, scale=1e-25),
    "squares overflow in float32": random(5000, scale=1e25),
    "zero": torch.zeros(3000),
    "channels last": random(8, 16, 3, 3).to(memory_format=torch.channels_last),
    "transposed": random(30, 70).t(),
    "every second": random(1000)[::2],
    "expanded": random(1, 50).expand(20, 50),
    "sparse": sparse(coalesced=True),
    "sparse, uncoalesced": sparse(coalesced=False),
}


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("kernel", ["rows", "foreach"])
def test_square_sum_is_exact(name, kernel, monkeypatch):
    """A sum of squares equals that in float64, whatever the tensor."""
    if kernel == "foreach":
        monkeypatch.setattr(norms, "row_square_sums", norms.foreach_square_sums)
    tensor = TENSORS[name]
    assert float(functional.square_sums([tensor])) == pytest.approx(
        truth(tensor), rel=1e-6
    )


def test_large_tensor_is_exact():
    """On 38 million elements, where torch's own norm is 2e-3 off, it is exact."""
    tensor = random(38_597_376)
    assert float(functional.norm([tensor])) == pytest.approx(
        math.sqrt(truth(tensor)), rel=1e-7
    )


def test_threads_change_no_bit():
    """One thread and three give the same sums to the last bit."""
    tensors = [random(size) for size in (3_000_001, 7, 513, 400_000)]
    moved = [tensor * 1.0001 for tensor in tensors]
    sums = []
    for number in (1, 3):
        torch.set_num_threads(number)
        sums.append((norms.square_sums(tensors), Snapshot(tensors).compare(moved)))
    assert torch.equal(sums[0][0], sums[1][0])
    assert torch.equal(sums[0][1], sums[1][1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_numpy_1_changes_no_bit(dtype, monkeypatch):
    """Without numpy's vecdot, which came with numpy 2, the sums are the same."""
    tensors = [random(size, dtype=dtype) for size in (300_001, 7, 513)]
    sums = norms.square_sums(tensors)
    monkeypatch.setattr(norms, "_vecdot", None)
    assert torch.equal(norms.square_sums(tensors), sums)


def test_an_error_in_a_thread_is_the_callers():
    """What goes wrong in another thread is raised, not lost."""

    def make(_, values):
        if values[0, 0] > 0:
            raise ValueError("this one")
        return [values]

    tensor = torch.zeros(4_000_000)
    assert norms.RowSquares(make, [tensor]).sums().tolist() == [[0.0]]
    tensor[-(1 << 19) :] = 1
    torch.set_num_threads(2)
    with pytest.raises(ValueError, match="this one"):
        norms.RowSquares(make, [tensor]).sums()


def test_sums_keep_the_tensors_order():
    """Mixed dtypes, missing and empty tensors: each sum stands at its tensor's place."""
    tensors = [
        random(3),
        None,
        random(4).double(),
        random(0),
        random(5),
        random(2).half(),
    ]
    expected = [0.0 if tensor is None else truth(tensor) for tensor in tensors]
    assert norms.square_sums(tensors).tolist() == pytest.approx(expected, rel=1e-6)
    assert norms.square_sums([]).shape == (0,)
    assert norms.square_sums([None, None]).tolist() == [0, 0]


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_what_is_not_finite_stays_so(bad):
    """An infinite or undefined entry makes its own tensor's sum so, and no other's."""
    first, second = functional.square_sums(
        [torch.tensor([1.0, bad]), random(3)]
    ).tolist()
    assert first == math.inf if math.isinf(bad) else math.isnan(first)
    assert math.isfinite(second)


STEPS = {
    "small": 1e-5,
    "large": 3.0,
    "tiny": 1e-30,
    "none": 0.0,
}


@pytest.mark.parametrize(
    "dtype",
    [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.complex64],
)
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kernel", ["rows", "foreach"])
def test_comparison_is_exact(dtype, step, kernel, monkeypatch):
    """Movement and size of all tensors equal those of float64 copies."""
    if kernel == "foreach":
        monkeypatch.setattr(_snapshot, "_compare_rows", _snapshot._compare_foreach)
    shapes = [(), (5,), (512,), (40, 7, 3, 3), (300_007,), (0,)]
    before = [random(*shape, dtype=dtype) for shape in shapes]
    before[3] = before[3].to(memory_format=torch.channels_last)
    now = [tensor.clone() for tensor in before]
    snapshot = Snapshot(now)
    for tensor in now:
        tensor += STEPS[step] * torch.randn_like(tensor).sgn()
    moved, were = snapshot.compare(now)
    wide = torch.complex128 if dtype.is_complex else torch.float64
    expected = [
        truth(new.to(wide) - old.to(wide)) for old, new in zip(before, now, strict=True)
    ]
    assert moved.tolist() == pytest.approx(expected, rel=1e-6)
    assert were.tolist() == pytest.approx(
        [truth(tensor) for tensor in before], rel=1e-6
    )


@pytest.mark.parametrize("raises", [True, False])
def test_memory_is_kept_where_it_raised_the_peak(raises, monkeypatch):
    """The next copies lie where these did, if these made the process larger."""
    peaks = iter(range(0, 100 << 20, 10 << 20)) if raises else itertools.repeat(0)
    monkeypatch.setattr(_snapshot, "_peak_memory", lambda: next(peaks))
    room, tensor = Room(), random(1_000_000)
    first = Snapshot([tensor], room)
    (place,) = (copy.data_ptr() for copies in first._copies.values() for copy in copies)
    moved = float(first.compare([tensor + 1])[0])
    assert moved == pytest.approx(1e6, rel=1e-6)
    (kept,) = room._kept.values() if raises else [[torch.empty(0)]]
    assert (kept[0].data_ptr() == place) is raises
    second = Snapshot([tensor], room)
    assert not room._kept
    assert float(second.compare([tensor + 2])[0]) == pytest.approx(4e6, rel=1e-6)


def test_equal_movement_of_all_weights_is_exact():
    """Adam's first step moves every weight alike; rounding errors do not add up."""
    before = torch.zeros(2_000_000)
    after = before + 0.73
    sums = Snapshot([before]).compare([after])
    assert float(sums[0]) == pytest.approx(truth(after), rel=1e-6)


def test_layout_of_memory_may_change():
    """A tensor whose strides change between the two moments is compared by index."""
    before = random(4, 6)
    tensor = before.clone()
    snapshot = Snapshot([tensor])
    tensor.data = (before + 1).t().contiguous().t()
    assert float(snapshot.compare([tensor])[0]) == pytest.approx(24)
