"""The kind of task for an answer in a text: transformers' loss, a twin of SQuAD."""

import copy
from collections import Counter
from functools import partial

import numpy as np
import pytest
import torch
from networks import draw_of
from torch import nn
from torch.utils.data import DataLoader

import pretrain_eval as pe
from pretrain_eval._metrics import seed_all

SGD = partial(torch.optim.SGD, lr=0.1)
FULL = pe.Strategy("full", optimizer=SGD, epochs=2, batch_size=8)
LENGTH = 12


def bert(cls="BertForQuestionAnswering", seed=0):
    transformers = pytest.importorskip(
        "transformers", reason="pip install 'pretrain-eval[transformers]'"
    )
    torch.manual_seed(seed)
    config = transformers.BertConfig(
        vocab_size=20, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=16, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    return getattr(transformers, cls)(config)


def questions(count, seed):
    """Tokens in which the answer stands between two marks."""
    draw = np.random.default_rng(seed)
    samples = []
    for _ in range(count):
        ids = draw.integers(3, 20, LENGTH)
        start = int(draw.integers(1, 8))
        end = start + int(draw.integers(0, 3))
        ids[start - 1], ids[end + 1] = 1, 2
        samples.append(
            {
                "input_ids": torch.as_tensor(ids),
                "attention_mask": torch.ones(LENGTH, dtype=torch.long),
                "start_positions": start,
                "end_positions": end,
            }
        )
    return samples


def answers(train, valid, **options):
    kind = pe.ExtractiveQuestionAnswering(**options)
    return pe.Task("answers", datasets={"d": pe.Splits(train, valid)}, kind=kind)


def test_the_loss_is_the_models_own_and_leaves_out_answers_beyond_the_text():
    """Transformers' loss, where one answer was cut off."""
    batch = next(iter(DataLoader(questions(6, 1), 6)))
    batch["start_positions"][2], batch["end_positions"][2] = LENGTH, LENGTH + 3
    kind, model = pe.ExtractiveQuestionAnswering(), bert().eval()
    with torch.no_grad():
        found = kind.loss(*kind.learn(model, batch))
        assert torch.equal(found, model(**batch).loss)


def test_weights_are_those_of_a_hand_written_loop_to_the_bit():
    """A loop over transformers' own loss moves the weights alike."""
    train, kept = questions(20, 1), []
    task = answers(train, questions(8, 2))
    pe.finetune(
        bert(),
        task,
        FULL,
        on_end=lambda trained, run: kept.append(copy.deepcopy(trained.state_dict())),
        device="cpu",
    )
    twin = bert().train()
    optimizer = SGD(twin.parameters())
    draw = draw_of(task, FULL)
    for epoch in (1, 2):
        seed_all(draw, epoch)
        for batch in DataLoader(train, 8, shuffle=True):
            loss = twin(**batch).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for name, value in twin.state_dict().items():
        assert torch.equal(value, kept[0][name]), name


def searched(start, end, mask):
    """The best span of a row, by looking at all of them."""
    spans = [
        (start[s] + end[e], s, e)
        for s in range(len(start))
        for e in range(s, len(end))
        if mask[s] and mask[e]
    ]
    return max(spans)[1:]


def squad(found, truth):
    """Exact match and F1 of two lists of words, as SQuAD's script computes them."""
    same = sum((Counter(found) & Counter(truth)).values())
    if not same:
        return found == truth, float(found == truth)
    precision, recall = same / len(found), same / len(truth)
    return found == truth, 2 * precision * recall / (precision + recall)


class Given(nn.Module):
    """Scores that were drawn before."""

    def __init__(self, start, end):
        super().__init__()
        self.found = {"start_logits": start, "end_logits": end}

    def forward(self, **inputs):
        return self.found


@pytest.mark.parametrize("seed", range(5))
def test_the_answer_is_the_best_valid_span_and_scored_as_squad_does(seed):
    """Random scores against an exhaustive search; words are the tokens' places."""
    generator = torch.Generator().manual_seed(seed)
    start, end = torch.randn(2, 40, LENGTH, generator=generator)
    mask = torch.rand(40, LENGTH, generator=generator) > 0.3
    targets = torch.randint(0, LENGTH, (40, 2), generator=generator).sort(1).values
    batch = {"context_mask": mask, "labels": targets}
    kind = pe.ExtractiveQuestionAnswering()
    found = pe.validate(
        Given(start, end), [batch], list(kind.metrics()), forward=kind.forward
    )
    pairs = []
    for row in range(40):
        s, e = searched(start[row].tolist(), end[row].tolist(), mask[row].tolist())
        a, b = targets[row].tolist()
        pairs.append(squad(list(range(s, e + 1)), list(range(a, b + 1))))
    exact, f1 = np.mean(pairs, axis=0)
    assert found == pytest.approx({"exact_match": exact, "token_f1": f1}, abs=1e-6)


def test_answers_are_compared_as_texts_where_these_are_known():
    """The same words elsewhere are right, whatever their case and articles."""
    words = ["a", "The", "cat", "CAT", "dog", "."]

    def decode(rows):
        return [" ".join(words[i] for i in row) for row in rows]

    ids = torch.tensor([[1, 2, 5, 3], [4, 2, 3, 5]])
    start = torch.tensor([[0.0, 0, 0, 9], [9, 0, 0, 0]])
    batch = {"input_ids": ids, "labels": torch.tensor([[0, 1], [1, 2]])}
    kind = pe.ExtractiveQuestionAnswering(decode=decode)
    outputs, targets = kind.forward(Given(start, start), batch)
    assert (outputs, targets) == (["CAT", "dog"], ["The cat", "cat CAT"])
    assert kind.outcomes(outputs, targets)[1].tolist() == [True, False]


def test_a_sweep_gives_bare_encoders_a_head_and_resumes(tmp_path):
    """head="new" on the tokens; a model with its own head gets a fresh one too."""
    train, valid = questions(40, 3), questions(20, 4)
    task = answers(train, valid, fresh_head=True)
    encoder = partial(bert, "BertModel")
    models = {
        "bare": pe.Pretrained(encoder, head="new"),
        "own": pe.Pretrained(bert, head="qa_outputs"),
    }
    adam = partial(torch.optim.Adam, lr=1e-2)
    head = pe.Strategy("head", optimizer=adam, epochs=1, trainable="head")
    full = pe.Strategy("full", optimizer=adam, epochs=2, batch_size=8)
    arguments = (models, [task], [head, full])
    runs = pe.sweep(
        *arguments, store=tmp_path / "runs.db", workers=2, progress=False, device="cpu"
    )
    again = pe.sweep(*arguments, store=tmp_path / "runs.db", progress=False)
    assert [run.status for run in runs] == ["completed"] * 4
    assert [run.scores for run in again] == [run.scores for run in runs]
    assert runs[0].cost.num_trainable_parameters == 2 * 16 + 2
    assert {run.outcomes.key for run in runs} == {"exact_match"}
    assert not runs[0].baseline
    assert pe.PersistenceEvaluator().compare(runs).best in models


def test_a_model_with_its_own_head_is_scored_before_training():
    """Nothing is fresh, so it may know something."""
    run = pe.finetune(bert(), answers(questions(8, 1), questions(8, 2)), FULL)
    assert run.baseline.keys() == run.scores.keys() == {"exact_match", "token_f1"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start_positions": 9, "end_positions": 8}, "end at or after its start"),
        ({"start_positions": -1, "end_positions": 8}, "neither below 0"),
        ({"start_positions": 1.5, "end_positions": 8}, "first and last token"),
    ],
)
def test_wrong_answers_are_refused_at_the_door(change, message):
    """An answer has its first token before its last one."""
    good, other = questions(4, 1), questions(4, 2)
    answers(good, other)
    with pytest.raises(ValueError, match=message):
        answers([*good, {**good[0], **change}], other)


def test_one_score_a_sample_is_no_answer():
    """The message says what is expected, and what gives it."""
    kind = pe.ExtractiveQuestionAnswering()
    batch = (torch.zeros(2, 3), torch.tensor([[0, 1], [1, 1]]))
    with pytest.raises(ValueError, match="fresh_head=True gives it a head"):
        kind.loss(*kind.learn(nn.Linear(3, 2), batch))
