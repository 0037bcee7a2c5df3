"""The kind of task for the next token: transformers' own loss is the oracle."""

import copy
import math
from functools import partial

import numpy as np
import pytest
import torch
from networks import draw_of
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import pretrain_eval as pe
from pretrain_eval._metrics import seed_all

SGD = partial(torch.optim.SGD, lr=0.1)
FULL = pe.Strategy("full", optimizer=SGD, epochs=2, batch_size=8)
VOCABULARY = 13


def gpt2(seed=0):
    """A tiny causal model without dropout, so that two losses can be compared."""
    transformers = pytest.importorskip(
        "transformers", reason="pip install 'pretrain-eval[transformers]'"
    )
    torch.manual_seed(seed)
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY, n_embd=16, n_layer=1, n_head=2, n_positions=16,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config)


class Bigrams(nn.Module):
    """The next token from the last one alone."""

    def __init__(self, width):
        super().__init__()
        torch.manual_seed(width)
        self.embedding = nn.Embedding(VOCABULARY, width)
        self.scores = nn.Linear(width, VOCABULARY)

    def forward(self, ids):
        return self.scores(self.embedding(ids))


def ids(count, seed, length=9):
    """Sequences in which a token is mostly the one before it plus 1."""
    draw = np.random.default_rng(seed)
    steps = draw.choice([1, 1, 1, 2], size=(count, length)).cumsum(1)
    return torch.as_tensor(steps % VOCABULARY)


def padded(count, seed):
    """Rows as a tokenizer gives them: ids and a mask, of several lengths."""
    lengths = np.random.default_rng(seed).integers(3, 10, count)
    mask = torch.arange(9)[None] < torch.as_tensor(lengths)[:, None]
    rows = ids(count, seed).masked_fill(~mask, 0)
    return [
        {"input_ids": row, "attention_mask": kept.long()}
        for row, kept in zip(rows, mask, strict=True)
    ]


def language(train, valid, **options):
    splits = pe.Splits(train, valid)
    kind = pe.LanguageModelling(**options)
    return pe.Task("text", datasets={"d": splits}, kind=kind)


def labelled(batch):
    """A batch with the labels that DataCollatorForLanguageModeling makes."""
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    return {**batch, "labels": labels}


def own_loss(model, batches):
    """Transformers' own losses, weighed by the tokens that each is the mean of."""
    total = count = 0.0
    with torch.no_grad():
        for batch in batches:
            kept = int((batch["labels"][:, 1:] != -100).sum())
            total += float(model.eval()(**batch).loss.double()) * kept
            count += kept
    return total / count


@pytest.mark.parametrize("with_labels", [False, True])
def test_perplexity_is_that_of_the_models_own_loss(with_labels):
    """Pads are left out and labels shifted, whether or not they are given."""
    rows = padded(20, 3)
    if with_labels:
        rows = [labelled(row) for row in rows]
    batches = list(DataLoader(rows, 6))
    model = gpt2()
    found = pe.validate(
        model, batches, pe.Perplexity(), forward=pe.LanguageModelling().forward
    )
    expected = math.exp(own_loss(model, [labelled(batch) for batch in batches]))
    assert found["perplexity"] == pytest.approx(expected, rel=1e-6)


def test_weights_are_those_of_a_hand_written_loop_to_the_bit():
    """A loop over transformers' own loss moves the weights alike."""
    train, model = padded(20, 1), gpt2()
    kept = []
    task = language(train, padded(10, 2))
    pe.finetune(
        model,
        task,
        FULL,
        on_end=lambda trained, run: kept.append(copy.deepcopy(trained.state_dict())),
        device="cpu",
    )
    twin = gpt2().train()
    optimizer = SGD(twin.parameters())
    draw = draw_of(task, FULL)
    for epoch in (1, 2):
        seed_all(draw, epoch)
        for batch in DataLoader(train, 8, shuffle=True):
            loss = twin(**labelled(batch)).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for name, value in twin.state_dict().items():
        assert torch.equal(value, kept[0][name]), name


def test_scores_of_plain_ids_are_those_of_a_numpy_twin():
    """Perplexity, bits per byte and token accuracy, worked out in float64."""
    valid, model = ids(12, 5), Bigrams(6)
    task = language(
        TensorDataset(ids(16, 4)), TensorDataset(valid), bytes_per_token=2.5
    )
    run = pe.finetune(model, task, FULL, device="cpu")
    with torch.no_grad():
        scores = model(valid[:, :-1]).double().numpy()
    log_p = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
    nats = -np.take_along_axis(log_p, valid[:, 1:, None].numpy(), 2).mean()
    right = (scores.argmax(-1) == valid[:, 1:].numpy()).mean()
    assert run.baseline == pytest.approx(
        {
            "perplexity": np.exp(nats),
            "bits_per_byte": nats / np.log(2) / 2.5,
            "token_accuracy": right,
        },
        rel=1e-6,
    )
    assert run.scores["perplexity"] < run.baseline["perplexity"]
    assert next(iter(run.scores)) == "perplexity"


def test_chance_knows_how_often_tokens_stand_in_the_reported_split():
    """The unigram predictor's perplexity; a hundred sure tokens are no surprise."""
    train = torch.tensor([[0, 1, 1, 2]])
    task = language(TensorDataset(train), TensorDataset(torch.tensor([[9, 1, 1, 2]])))
    shares = np.array([2, 1]) / 3  # the first token is not predicted
    entropy = -(shares * np.log(shares)).sum()
    assert task.chance["d"] == pytest.approx(
        {"perplexity": np.exp(entropy), "token_accuracy": 2 / 3}
    )


def test_masked_tokens_are_scored_where_they_stand():
    """With masked=True labels are not shifted, and must be given."""
    tokens = ids(8, 6)
    labels = tokens.masked_fill(torch.rand(tokens.shape) < 0.7, -100)
    labels[:, 0] = tokens[:, 0]
    rows = [
        {"input_ids": t, "labels": own} for t, own in zip(tokens, labels, strict=True)
    ]
    batch = next(iter(DataLoader(rows, 8)))
    model = nn.Module()
    model.forward = lambda input_ids: nn.functional.one_hot(input_ids, VOCABULARY) * 1.0
    kind = pe.LanguageModelling(masked=True)
    outputs, targets = kind.forward(model, batch)
    expected = nn.functional.cross_entropy(
        outputs.transpose(1, 2), labels, ignore_index=-100
    )
    assert torch.isclose(kind.loss(outputs, targets), expected)
    with pytest.raises(ValueError, match="masked tokens are named by labels"):
        language(TensorDataset(tokens), TensorDataset(ids(4, 1)), masked=True)


def test_a_sweep_resumes_runs_in_workers_and_is_scored(tmp_path):
    """Two models of plain ids, kept in a store; protocols read perplexity."""
    task = language(TensorDataset(ids(24, 7)), TensorDataset(ids(16, 8)))
    models = {"wide": Bigrams(12), "narrow": Bigrams(2)}
    arguments = (models, [task], [FULL], range(2))
    runs = pe.sweep(
        *arguments, store=tmp_path / "runs.db", workers=2, progress=False, device="cpu"
    )
    again = pe.sweep(*arguments, store=tmp_path / "runs.db", progress=False)
    assert [run.status for run in runs] == ["completed"] * 4
    assert [run.scores for run in again] == [run.scores for run in runs]
    comparison = pe.PersistenceEvaluator(ceiling=1.0).compare(runs)
    assert comparison.best == "wide"
    for evaluator in (pe.OptimizabilityEvaluator, pe.VariabilityEvaluator):
        assert math.isfinite(evaluator(ceiling=1.0).score(runs[:2]).score)
    usable = pe.UsabilityEvaluator(ceiling=1.0).score(runs[:2])
    assert math.isfinite(usable.parts["performance"])


def test_raw_texts_are_cut_into_tokens_by_the_model():
    """A collate function makes the ids; chance is not known then."""

    def letters(texts):
        width = max(map(len, texts))
        rows = [[ord(c) % VOCABULARY for c in text.ljust(width)] for text in texts]
        mask = [[1] * len(text) + [0] * (width - len(text)) for text in texts]
        return {"ids": torch.tensor(rows), "mask": torch.tensor(mask)}

    def named(texts):
        made = letters(texts)
        return {"input_ids": made["ids"], "attention_mask": made["mask"]}

    task = language(["one two", "three", "four four"] * 4, ["five", "six six"])
    run = pe.finetune(pe.Pretrained(gpt2, collate=named), task, FULL, device="cpu")
    assert run.status == "completed"
    assert run.chance == {}


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (torch.rand(4, 5), "ids of tokens are expected, got torch.float32"),
        (torch.zeros(4, 1, dtype=torch.long), "train has no token to predict"),
    ],
)
def test_wrong_samples_are_refused_at_the_door(train, message):
    """What is no sequence of tokens, or leaves nothing to predict."""
    with pytest.raises(ValueError, match=message):
        language(TensorDataset(train), TensorDataset(ids(4, 1)))
    language(TensorDataset(ids(4, 2)), TensorDataset(ids(4, 1)))


def test_labels_are_as_long_as_the_ids():
    """One label a token."""
    rows = [{"input_ids": torch.arange(4), "labels": torch.arange(3)}]
    with pytest.raises(ValueError, match=r"as input_ids are, \(4,\), got \(3,\)"):
        language(rows, padded(4, 1))


def test_the_head_alone_cannot_be_trained_where_there_is_none():
    """The model keeps its own head, which trainable="head" does not know."""
    head = pe.Strategy("head", optimizer=SGD, epochs=1, trainable="head")
    task = language(TensorDataset(ids(8, 7)), TensorDataset(ids(4, 8)))
    with pytest.raises(ValueError, match="trains the head alone, but this task gives"):
        pe.finetune(Bigrams(4), task, head)


def test_validate_without_forward_refuses_a_causal_model():
    """Its labels would be counted unshifted; the message says what to give."""
    batches = [labelled(batch) for batch in DataLoader(padded(8, 3), 4)]
    model = gpt2()
    with pytest.raises(ValueError, match=r"forward=LanguageModelling\(\)\.forward"):
        pe.validate(model, batches, pe.Perplexity())


def test_validate_without_forward_takes_a_model_of_labels_that_stand():
    """A token classifier's labels are those of the positions themselves."""
    transformers = pytest.importorskip(
        "transformers", reason="pip install 'pretrain-eval[transformers]'"
    )
    config = transformers.BertConfig(
        vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=1, num_labels=3,
        num_attention_heads=2, intermediate_size=16, max_position_embeddings=16,
    )  # fmt: skip
    model = transformers.BertForTokenClassification(config)
    tokens = ids(8, 2)
    batch = {"input_ids": tokens, "labels": tokens % 3}
    found = pe.validate(model, [batch], pe.LogLoss(scores="logits", class_dim=-1))
    expected = float(model.eval()(**batch).loss.detach())
    assert found["log_loss"] == pytest.approx(expected, rel=1e-6)
