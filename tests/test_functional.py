"""The public formulas on tensors."""

import numpy as np
import pytest
import torch
from sklearn import metrics as oracle

from pretrain_eval import functional

SCORES = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
TARGETS = torch.randint(4, (200,), generator=torch.Generator().manual_seed(1))
PREDICTED = SCORES.argmax(1)


@pytest.mark.parametrize("top_k", [1, 2])
def test_accuracy(top_k):
    """It is scikit-learn's, whatever k."""
    expected = oracle.top_k_accuracy_score(TARGETS, SCORES, k=top_k)
    found = functional.accuracy(SCORES, TARGETS, top_k=top_k)
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("average", ["macro", "micro", "weighted", "none"])
@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        (functional.precision, oracle.precision_score),
        (functional.recall, oracle.recall_score),
        (functional.f1_score, oracle.f1_score),
    ],
)
def test_ratios(formula, expected, average):
    """Scores and predicted classes alike have scikit-learn's values."""
    named = None if average == "none" else average
    value = pytest.approx(expected(TARGETS, PREDICTED, average=named), rel=1e-12)
    assert formula(SCORES, TARGETS, average=average) == value
    assert formula(PREDICTED, TARGETS, average=average, num_classes=4) == value


def test_predicted_classes_need_their_number():
    """A highest class that never occurs cannot be guessed from indices."""
    with pytest.raises(ValueError, match="give it: num_classes="):
        functional.precision(PREDICTED, TARGETS)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
def test_norms(dtype):
    """Sums of squares, norm and update ratio are those of float64 twins in numpy."""
    before = [SCORES.to(dtype), SCORES[0].to(dtype)]
    after = [1.25 * before[0], before[1] - 1]
    wide = [
        np.concatenate([t.double().numpy().ravel() for t in each])
        for each in (before, after)
    ]
    squares = [float(t.double().square().sum()) for t in before]
    assert functional.square_sums(before).tolist() == pytest.approx(squares, rel=1e-6)
    size = np.linalg.norm(wide[0])
    assert float(functional.norm(iter(before))) == pytest.approx(size, rel=1e-6)
    ratio = np.linalg.norm(wide[1] - wide[0]) / size
    found = float(functional.update_ratio(before, after))
    assert found == pytest.approx(ratio, rel=1e-6)


def test_update_of_nothing():
    """Zero weights that move have an infinite ratio; those that do not, none."""
    zero = [torch.zeros(3)]
    assert functional.update_ratio(zero, [torch.ones(3)]) == torch.inf
    assert functional.update_ratio(zero, zero).isnan()
