"""Step metrics of a sharded training equal those of one process."""

import pytest
import sharded_training
from processes import together

shards = pytest.mark.skipif(
    not sharded_training.SHARDS, reason="torch before 2.9 shards no training on CPUs"
)
KINDS = [
    *(pytest.param(kind, marks=shards) for kind in sharded_training.SHARDED),
    "ddp",
]


@pytest.fixture(scope="module", params=[2, 3])
def results(request):
    """What each of two or three processes measured."""
    return together(sharded_training.everything, request.param)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_every_process_has_the_whole(results, kind, optimizer):
    """Each process has the values of the gathered model, and of one trained alone."""
    for result in results:
        history = result[f"{kind}, {optimizer}"]["history"]
        for key, values in result[f"{kind}, {optimizer}"]["truth"].items():
            assert history[key] == pytest.approx(values, rel=1e-6), key
        for key, values in result[optimizer].items():
            # Sums over processes are taken in another order than those over a batch.
            assert history[key] == pytest.approx(values, rel=1e-4), key


@pytest.mark.parametrize("kind", KINDS)
def test_parts_sum_up(results, kind):
    """Values per parameter are whole too: their squares sum up to the total's."""
    values = results[0][f"{kind}, sgd"]["values"]
    parts = {key: value for key, value in values.items() if key.startswith("parts/")}
    assert len(parts) == 5
    total = sum(value**2 for value in parts.values()) ** 0.5
    assert total == pytest.approx(values["parts"], rel=1e-12)
    assert values["grad_norm"] > 0


@pytest.mark.parametrize("kind", KINDS)
def test_one_collective_a_step(results, kind):
    """All values of a step take one all_reduce; nothing to reduce takes none."""
    expected = 0 if kind == "ddp" else 1
    for result in results:
        assert result[f"{kind}, sgd"]["collectives"] == [expected] * 3
