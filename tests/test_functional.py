"""The public formulas on tensors."""

import inspect
import math
import re

import numpy as np
import pytest
import torch
from sklearn import metrics as oracle
from torchmetrics import functional as judge

import pretrain_eval as pe
from pretrain_eval import _transfer, functional

SCORES = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
TARGETS = torch.randint(4, (200,), generator=torch.Generator().manual_seed(1))
PREDICTED = SCORES.argmax(1)
CHANCES = SCORES.double().softmax(1)
ONE, HITS = SCORES[:, 0], (TARGETS == 0).long()
LABELS = (SCORES.flip(0) > 0.3).long()
NUMBERS = SCORES[:, :2].double(), SCORES[:, 2:].double()
IMAGES = SCORES.reshape(5, 40, 4).movedim(2, 1).reshape(5, 4, 8, 5)
REGIONS = TARGETS.reshape(5, 8, 5)

METRICS = {
    "accuracy": pe.Accuracy,
    "auroc": pe.AUROC,
    "average_precision": pe.AveragePrecision,
    "balanced_accuracy": pe.BalancedAccuracy,
    "bits_per_byte": pe.BitsPerByte,
    "calibration_error": pe.CalibrationError,
    "cohen_kappa": pe.CohenKappa,
    "confusion_matrix": pe.ConfusionMatrix,
    "dice_score": pe.DiceScore,
    "f1_score": pe.F1Score,
    "log_loss": pe.LogLoss,
    "matthews_corrcoef": pe.MatthewsCorrCoef,
    "mean_absolute_error": pe.MeanAbsoluteError,
    "mean_iou": pe.MeanIoU,
    "mean_squared_error": pe.MeanSquaredError,
    "perplexity": pe.Perplexity,
    "precision": pe.Precision,
    "r2_score": pe.R2Score,
    "recall": pe.Recall,
    "hit_rate": pe.HitRate,
    "mean_absolute_percentage_error": pe.MeanAbsolutePercentageError,
    "mean_reciprocal_rank": pe.MeanReciprocalRank,
    "ndcg": pe.NDCG,
    "pearson_corrcoef": pe.PearsonCorrCoef,
    "recall_at_k": pe.RecallAtK,
    "retrieval_map": pe.RetrievalMAP,
    "root_mean_squared_error": pe.RootMeanSquaredError,
    "spearman_corrcoef": pe.SpearmanCorrCoef,
    "top_k_accuracy": pe.TopKAccuracy,
    "bleu": pe.BLEU,
    "char_error_rate": pe.CharErrorRate,
    "entity_f1": pe.EntityF1,
    "exact_match": pe.ExactMatch,
    "rouge_l": pe.RougeL,
    "token_f1": pe.TokenF1,
    "word_error_rate": pe.WordErrorRate,
}
SPOKEN = ["the cat sat on a mat", "no dog is here", "a b c d e"]
WRITTEN = ["the cat is on the mat", "no dog", "e d c b a"]
LONGER = ["now the cat is on the mat", *SPOKEN[1:]]
SQUAD = [
    (
        {"prediction_text": found, "id": str(place)},
        {"answers": {"text": [truth], "answer_start": [0]}, "id": str(place)},
    )
    for place, (found, truth) in enumerate(zip(SPOKEN, WRITTEN, strict=True))
]
TAGS = ["O", "B-X", "I-X"]
SCORED = {"scores": "logits"}
BINARY = {"task": "binary", "scores": "logits"}
BY_LABEL = {"task": "multilabel", "scores": "logits"}
MANY = {"task": "multiclass", "scores": "logits"}
# Function, outputs, targets, options, and the value of somebody else's library.
CASES = [
    ("accuracy", SCORES, TARGETS, {}, oracle.accuracy_score(TARGETS, PREDICTED)),
    ("accuracy", ONE, HITS, BINARY, oracle.accuracy_score(HITS, ONE > 0)),
    (
        "accuracy",
        SCORES,
        LABELS,
        {**BY_LABEL, "per_label": True},
        ((SCORES > 0) == LABELS).double().mean(0),
    ),
    (
        "balanced_accuracy",
        SCORES,
        TARGETS,
        {},
        oracle.balanced_accuracy_score(TARGETS, PREDICTED),
    ),
    (
        "cohen_kappa",
        PREDICTED,
        TARGETS,
        {"num_classes": 4},
        oracle.cohen_kappa_score(TARGETS, PREDICTED),
    ),
    (
        "matthews_corrcoef",
        ONE,
        HITS,
        BINARY,
        oracle.matthews_corrcoef(HITS, ONE > 0),
    ),
    *(
        (
            "confusion_matrix",
            SCORES,
            TARGETS,
            {"normalize": normalize},
            oracle.confusion_matrix(TARGETS, PREDICTED, normalize=normalize),
        )
        for normalize in (None, "true", "pred", "all")
    ),
    (
        "calibration_error",
        SCORES,
        TARGETS,
        SCORED,
        judge.classification.multiclass_calibration_error(CHANCES, TARGETS, 4, 15),
    ),
    ("log_loss", SCORES, TARGETS, SCORED, oracle.log_loss(TARGETS, CHANCES)),
    ("log_loss", ONE, HITS, BINARY, oracle.log_loss(HITS, ONE.sigmoid())),
    (
        "bits_per_byte",
        SCORES[None],
        TARGETS[None],
        {"bytes_per_token": 3.0},
        oracle.log_loss(TARGETS, CHANCES) / math.log(2) / 3,
    ),
    (
        "perplexity",
        SCORES[None],
        TARGETS[None],
        {},
        math.exp(oracle.log_loss(TARGETS, CHANCES)),
    ),
    *(
        (name, outputs, targets, options, theirs)
        for name, judged in (
            ("auroc", oracle.roc_auc_score),
            ("average_precision", oracle.average_precision_score),
        )
        for outputs, targets, options, theirs in (
            (ONE, HITS, {"task": "binary"}, judged(HITS, ONE)),
            (
                SCORES,
                TARGETS,
                MANY,
                judged(np.eye(4)[TARGETS], CHANCES),
            ),
            (
                SCORES,
                LABELS,
                {"task": "multilabel", "average": "none"},
                judged(LABELS, SCORES, average=None),
            ),
        )
    ),
    ("mean_squared_error", *NUMBERS, {}, oracle.mean_squared_error(*NUMBERS)),
    ("mean_absolute_error", *NUMBERS, {}, oracle.mean_absolute_error(*NUMBERS)),
    (
        "r2_score",
        *NUMBERS,
        {},
        oracle.r2_score(NUMBERS[1], NUMBERS[0]),
    ),
    (
        "root_mean_squared_error",
        *NUMBERS,
        {},
        oracle.root_mean_squared_error(*NUMBERS),
    ),
    (
        "mean_absolute_percentage_error",
        *NUMBERS,
        {},
        oracle.mean_absolute_percentage_error(NUMBERS[1], NUMBERS[0]),
    ),
    ("pearson_corrcoef", *NUMBERS, {}, judge.pearson_corrcoef(*NUMBERS).mean()),
    ("spearman_corrcoef", *NUMBERS, {}, judge.spearman_corrcoef(*NUMBERS).mean()),
    (
        "top_k_accuracy",
        SCORES,
        TARGETS,
        {"k": 2},
        oracle.top_k_accuracy_score(TARGETS, SCORES, k=2),
    ),
    ("ndcg", SCORES, LABELS, {"k": 3}, oracle.ndcg_score(LABELS, SCORES, k=3)),
    *(
        (
            name,
            SCORES,
            LABELS,
            options,
            np.mean(
                [
                    float(theirs(row.sigmoid(), truth, **tops))
                    for row, truth in zip(SCORES, LABELS, strict=True)
                ]
            ),
        )
        for name, theirs, options, tops in (
            ("hit_rate", judge.retrieval.retrieval_hit_rate, {"k": 2}, {"top_k": 2}),
            ("recall_at_k", judge.retrieval.retrieval_recall, {"k": 2}, {"top_k": 2}),
            ("mean_reciprocal_rank", judge.retrieval.retrieval_reciprocal_rank, {}, {}),
            ("retrieval_map", judge.retrieval.retrieval_average_precision, {}, {}),
        )
    ),
    (
        "word_error_rate",
        SPOKEN,
        WRITTEN,
        {},
        judge.text.word_error_rate(SPOKEN, WRITTEN),
    ),
    (
        "char_error_rate",
        SPOKEN,
        WRITTEN,
        {},
        judge.text.char_error_rate(SPOKEN, WRITTEN),
    ),
    ("exact_match", [*SPOKEN, "a"], [*WRITTEN, "a"], {}, 0.25),
    (
        "token_f1",
        SPOKEN,
        WRITTEN,
        {},
        judge.text.squad(*zip(*SQUAD, strict=True))["f1"] / 100,
    ),
    (
        "rouge_l",
        SPOKEN,
        WRITTEN,
        {},
        judge.text.rouge_score(SPOKEN, WRITTEN, rouge_keys="rougeL")["rougeL_fmeasure"],
    ),
    (
        "entity_f1",
        torch.tensor([[1, 2, 0, 1]]),
        torch.tensor([[1, 2, 0, 0]]),
        {"labels": TAGS},
        2 / 3,
    ),
    (
        "bleu",
        LONGER,
        WRITTEN,
        {},
        100 * judge.text.bleu_score(LONGER, [[each] for each in WRITTEN]),
    ),
    *(
        (
            name,
            IMAGES,
            REGIONS,
            {"average": average},
            theirs(
                REGIONS.reshape(-1),
                IMAGES.argmax(1).reshape(-1),
                average=None if average == "none" else average,
            ),
        )
        for average in ("macro", "micro", "weighted", "none")
        for name, theirs in (
            ("mean_iou", oracle.jaccard_score),
            ("dice_score", oracle.f1_score),
        )
    ),
    (
        "dice_score",
        IMAGES,
        REGIONS,
        {"average": "micro"},
        judge.classification.multiclass_f1_score(IMAGES, REGIONS, 4, "micro"),
    ),
    (
        "mean_iou",
        IMAGES,
        REGIONS,
        {},
        judge.classification.multiclass_jaccard_index(IMAGES, REGIONS, 4),
    ),
]


@pytest.mark.parametrize(("name", "outputs", "targets", "options", "theirs"), CASES)
def test_another_library_and_the_class_agree(name, outputs, targets, options, theirs):
    """The value of a function is another library's, and the class's to the bit."""
    if name == "bleu":
        pytest.importorskip("sacrebleu", reason="pip install 'pretrain-eval[text]'")
    found = getattr(functional, name)(outputs, targets, **options)
    # torch and torchmetrics compute in float32.
    assert np.allclose(found, theirs, rtol=1e-6, atol=1e-12)
    metric = METRICS[name](**options)
    metric.update(outputs, targets)
    assert found == metric.compute()
    assert found == getattr(functional, name)(
        targets=targets, outputs=outputs, **options
    )


def test_a_function_for_every_formula():
    """Every metric of predictions has one, but for criteria, boxes and functions."""
    steps = {"norm", "square_sums", "update_ratio"}
    own = {"Array", "Rows", "as_array", "folds"}
    transfer = set(_transfer.__all__) - own
    assert set(functional.__all__) == METRICS.keys() | steps | transfer
    assert {case[0] for case in CASES} | {"precision", "recall", "f1_score"} == set(
        METRICS
    )
    families = {
        value
        for value in vars(pe).values()
        if inspect.isclass(value)
        and issubclass(value, pe.Metric)
        and value.__module__.startswith("pretrain_eval._metrics.predictions")
    }
    assert families - set(METRICS.values()) == {
        pe.FunctionMetric,
        pe.Loss,
        pe.MeanAveragePrecision,
        pe.MedianRank,
        pe.PairRecall,
    }


def arguments(text):
    """What a docstring says of each argument."""
    section = re.search(r"Args:\n(.*?)(?:\n\n|\Z)", inspect.cleandoc(text), re.S)
    found = re.findall(r"^    (\w+): (.*(?:\n     .*)*)", section[1], re.M)
    return {name: " ".join(said.split()) for name, said in found}


@pytest.mark.parametrize("name", METRICS)
def test_a_function_takes_what_the_class_takes(name):
    """Arguments, defaults and what is said of them are the class's, word for word."""
    function, metric = getattr(functional, name), METRICS[name]
    outputs, targets, *options = inspect.signature(function).parameters.values()
    assert (outputs.name, targets.name) == ("outputs", "targets")
    assert options == list(inspect.signature(metric).parameters.values())
    optional = [option for option in options if option.default is not option.empty]
    assert all(option.kind is option.KEYWORD_ONLY for option in optional)
    said = arguments(function.__doc__)
    assert list(said) == ["outputs", "targets", *(option.name for option in options)]
    if options:
        of_class = arguments(metric.__doc__)
        assert of_class == {key: said[key] for key in of_class}
        assert len(of_class) == len(options)


def test_nothing_is_kept():
    """A function has no memory: one call is another's no batch before it."""
    first = functional.accuracy(SCORES[:9], TARGETS[:9])
    functional.accuracy(SCORES, TARGETS)
    assert functional.accuracy(SCORES[:9], TARGETS[:9]) == first


def test_what_is_wrong_raises_and_what_is_unknown_is_nan():
    """A function refuses and warns as the class does, at the caller's line."""
    with pytest.raises(ValueError, match=r"0\.\.3, got 9"):
        functional.accuracy(SCORES, TARGETS.where(TARGETS != 0, 9))
    with pytest.raises(TypeError, match=r"Precision takes average, .* got averag"):
        functional.precision(SCORES, TARGETS, averag="none")
    with pytest.raises(ValueError, match="counted no sample"):
        functional.mean_squared_error(torch.zeros(0), torch.zeros(0))
    diverged = SCORES.clone()
    diverged[0, 0] = math.nan
    with pytest.warns(UserWarning, match="accuracy is NaN: 1 of the model's") as seen:
        value = functional.accuracy(diverged, TARGETS)
    assert math.isnan(value)
    assert seen[0].filename == __file__
    with pytest.warns(UserWarning, match="kappa is undefined"):
        assert math.isnan(
            functional.cohen_kappa(
                torch.ones(3).long(), torch.ones(3).long(), num_classes=2
            )
        )


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
