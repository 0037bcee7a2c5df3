"""Entity F1 against seqeval, and what it refuses."""

import math

import pytest
import torch

import pretrain_eval as pe

LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "E-LOC", "S-PER"]


def named(rows, targets):
    """Tags of each sequence by name, without the positions that are ignored."""
    return [
        [LABELS[one] for one, target in zip(row, wanted, strict=True) if target >= 0]
        for row, wanted in zip(rows.tolist(), targets.tolist(), strict=True)
    ]


@pytest.mark.parametrize("seed", range(20))
def test_it_is_seqevals(seed):
    """On random tags, most of which no scheme allows, in batches of uneven length."""
    seqeval = pytest.importorskip(
        "seqeval.metrics", reason="needs seqeval: pip install seqeval"
    )
    generator = torch.Generator().manual_seed(seed)
    metric, found, wanted = pe.EntityF1(LABELS), [], []
    for length in (1, 5, 9):
        targets = torch.randint(0, len(LABELS), (6, length), generator=generator)
        noise = torch.rand(6, length, generator=generator)
        others = torch.randint(0, len(LABELS), (6, length), generator=generator)
        outputs = torch.where(noise < 0.7, targets, others)
        targets[torch.rand(6, length, generator=generator) < 0.2] = -100
        scores = torch.nn.functional.one_hot(outputs, len(LABELS)).float()
        metric.update(scores, targets)
        found += named(outputs, targets)
        wanted += named(targets, targets)
    expected = seqeval.f1_score(wanted, found)
    assert metric.compute() == pytest.approx(expected, abs=1e-12)


def test_classes_may_be_given_and_batches_may_be_merged():
    """Worked by hand: two of three entities, and of four predicted."""
    targets = torch.tensor([[1, 2, 0, 3], [0, 0, 1, -100]])
    outputs = torch.tensor([[1, 2, 1, 3], [0, 0, 3, 3]])
    whole, first, second = (pe.EntityF1(LABELS) for _ in range(3))
    whole.update(outputs, targets)
    first.update(outputs[:1], targets[:1])
    second.update(outputs[1:], targets[1:])
    first.merge(second)
    assert whole.compute() == first.compute() == pytest.approx(2 * 2 / (4 + 3))


def test_without_entities_it_is_zero():
    """As seqeval says, and a batch of nothing but ignored positions counts none."""
    metric = pe.EntityF1(LABELS)
    metric.update(torch.zeros(2, 3).long(), torch.full((2, 3), -100))
    metric.update(torch.zeros(2, 3).long(), torch.zeros(2, 3).long())
    assert metric.compute() == 0.0


def test_a_model_that_diverged_has_none():
    """NaN at a counted position makes NaN, at an ignored one nothing."""
    scores = torch.zeros(1, 2, len(LABELS))
    scores[0, 1] = torch.nan
    metric = pe.EntityF1(LABELS)
    metric.update(scores, torch.tensor([[1, -100]]))
    assert metric.compute() == 0.0
    metric.update(scores, torch.tensor([[1, 1]]))
    with pytest.warns(UserWarning, match="NaN or infinite"):
        assert math.isnan(metric.compute())


WRONG = [
    (torch.zeros(2, 3, 7), torch.zeros(2, 3).long() + 7, "lie outside 0..6"),
    (torch.zeros(2, 3, 5), torch.zeros(2, 3).long(), "one for each token and label"),
    (torch.zeros(2, 7, 3), torch.zeros(2, 3).long(), "got \\(2, 7, 3\\)"),
    (torch.zeros(2, 7), torch.zeros(2).long(), "\\(num_sequences, length\\)"),
]


@pytest.mark.parametrize(("outputs", "targets", "message"), WRONG)
def test_wrong_batches_are_refused(outputs, targets, message):
    """Shapes and classes that do not fit are named."""
    with pytest.raises(ValueError, match=message):
        pe.EntityF1(LABELS).update(outputs, targets)


@pytest.mark.parametrize("label", ["PER", "X-PER", "O-PER", ""])
def test_labels_have_a_tag(label):
    """A name that says neither begin nor inside would be counted wrong."""
    with pytest.raises(ValueError, match="labels are expected to be"):
        pe.EntityF1(["O", label])
