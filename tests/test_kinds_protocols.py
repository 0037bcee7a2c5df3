"""Every kind of task under each of the five protocols, as docs/kinds.md has it."""

import re
from functools import partial
from pathlib import Path

import pytest
import torch
from networks import Small, three_classes
from test_kind_detection import ssd as detector
from test_kind_detection import task as boxes
from test_kind_language_modelling import Bigrams, ids, language
from test_kind_question_answering import answers, bert, questions
from test_kind_recommendation import Factors
from test_kind_recommendation import task as market
from test_kind_retrieval import Towers
from test_kind_retrieval import task as pairs
from test_kind_sequence_to_sequence import copies, copying, t5
from test_kind_speech_recognition import Reader, four, speech, spoken
from torch import nn
from torch.utils.data import TensorDataset

import pretrain_eval as pe

LR = partial(torch.optim.SGD, lr=0.05)
BUDGET = pe.Budget(parameters=(1.0, 1e12), macs=(1.0, 1e12), seconds=(1e-6, 1e6))
PROTOCOLS = {
    "optimizability": pe.OptimizabilityEvaluator,
    "usability": partial(pe.UsabilityEvaluator, budget=BUDGET),
    "variability": pe.VariabilityEvaluator,
    "reusability": partial(pe.ReusabilityEvaluator, budget=BUDGET),
    "persistence": pe.PersistenceEvaluator,
}


def random_task(kind, shape, targets):
    """Random inputs of a shape, and targets that a function makes of them."""
    parts = [
        torch.randn(n, *shape, generator=torch.Generator().manual_seed(n))
        for n in (24, 16)
    ]
    splits = pe.Splits(*(TensorDataset(x, targets(x)) for x in parts))
    return pe.Task("random", datasets={"d": splits}, kind=kind)


def classification():
    return Small, three_classes()


def regression():
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 9))
    return pe.Pretrained(net, head="2"), random_task(
        pe.Regression(2), (4,), lambda x: x[:, :2]
    )


def multilabel():
    net = pe.Pretrained(nn.Linear(4, 6), head="new")
    return net, random_task(pe.MultiLabel(3), (4,), lambda x: (x[:, :3] > 0).long())


def tokens():
    net = pe.Pretrained(nn.Linear(4, 6), head="new")
    kind = pe.TokenClassification(2)
    return net, random_task(kind, (5, 4), lambda x: (x.sum(2) > 0).long())


def segmentation():
    net = pe.Pretrained(nn.Conv2d(3, 6, 3, padding=1), head="new")
    kind = pe.Segmentation(2)
    return net, random_task(kind, (3, 8, 8), lambda x: (x.sum(1) > 0).long())


def detection():
    pytest.importorskip("pycocotools", reason='pip install "pretrain-eval[detection]"')
    return detector, boxes()


def language_modelling():
    return Bigrams(8), language(ids(16, 1), ids(12, 2))


def sequence_to_sequence():
    return t5(), copying(copies(16, 1), copies(8, 2), generate={"max_new_tokens": 4})


def question_answering():
    return bert(), answers(questions(16, 1), questions(8, 2))


def speech_recognition():
    task = speech(spoken(16, 1), spoken(8, 2))
    return pe.Pretrained(Reader(), collate=four), task


def recommendation():
    return Factors(), market()


def retrieval():
    return Towers(), pairs()


KINDS = {
    "Classification": classification,
    "Regression": regression,
    "MultiLabel": multilabel,
    "TokenClassification": tokens,
    "Segmentation": segmentation,
    "Detection": detection,
    "LanguageModelling": language_modelling,
    "SequenceToSequence": sequence_to_sequence,
    "ExtractiveQuestionAnswering": question_answering,
    "SpeechRecognition": speech_recognition,
    "Recommendation": recommendation,
    "Retrieval": retrieval,
}
# Where the first score has no worst value, so that shares need the best one stated.
UNBOUNDED = {"LanguageModelling": 1.0, "SpeechRecognition": 0.0}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_scored_by_the_five_protocols(kind):
    """With a ceiling where the first score has none, and a budget for usability."""
    model, task = KINDS[kind]()
    strategies = [
        pe.Strategy("slow", optimizer=LR, epochs=1, batch_size=8),
        pe.Strategy("fast", optimizer=LR, epochs=2, batch_size=8),
    ]
    runs = pe.sweep({"a": model}, [task], strategies, progress=False)
    assert {run.status for run in runs} == {"completed"}
    for name, protocol in PROTOCOLS.items():
        if kind in UNBOUNDED and name != "persistence":
            with pytest.raises(ValueError, match="ceiling"):
                protocol().score(runs)
        report = protocol(ceiling=UNBOUNDED.get(kind)).score(runs)
        assert report.score is not None, (kind, name)
        assert report.num_missing == 0, (kind, name)
    assert pe.UsabilityEvaluator(ceiling=UNBOUNDED.get(kind)).score(runs).score is None


def test_a_fresh_head_of_answers_has_no_variability():
    """It knows nothing before training, so that nothing is scored there."""
    model = pe.Pretrained(partial(bert, "BertModel"), head="new")
    task = answers(questions(16, 1), questions(8, 2), fresh_head=True)
    head = pe.Strategy("head", optimizer=LR, epochs=1, trainable="head")
    runs = pe.sweep({"a": model}, [task], [head], progress=False)
    assert pe.PersistenceEvaluator().score(runs).score is not None
    with pytest.raises(ValueError, match="which no run of a has"):
        pe.VariabilityEvaluator().score(runs)


@pytest.mark.parametrize("kind", ["Recommendation", "Retrieval"])
def test_pairs_are_run_by_workers_and_resumed(kind, tmp_path):
    """The same numbers as one process, and nothing is run twice."""
    model, task = KINDS[kind]()
    full = pe.Strategy("full", optimizer=LR, epochs=1, batch_size=8)
    sweep = partial(pe.sweep, {"a": model}, [task], [full], range(2), progress=False)
    runs = sweep(workers=2, store=tmp_path / "runs.db")
    assert [run.status for run in runs] == ["completed"] * 2
    assert sweep(store=tmp_path / "runs.db") == runs
    for run, alone in zip(runs, sweep(), strict=True):
        assert (run.scores, run.baseline) == (alone.scores, alone.baseline)


def test_the_tables_of_the_docs_name_every_kind():
    """Each in what it says, what it reports and what it leaves out."""
    text = (Path(__file__).parent.parent / "docs" / "kinds.md").read_text()
    for kind in KINDS:
        rows = re.findall(rf"^\| `{kind}\b[^|]*\|", text, re.MULTILINE)
        assert len(rows) == 3, (kind, rows)
