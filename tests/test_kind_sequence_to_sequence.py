"""The kind of task for a text that answers a text: transformers is the oracle."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from networks import draw_of
from torch.utils.data import DataLoader

import pretrain_eval as pe
from pretrain_eval._metrics import seed_all

FULL = pe.Strategy(
    "full", optimizer=partial(torch.optim.SGD, lr=0.1), epochs=2, batch_size=8
)


def decode(rows):
    """Each id a word; 0 fills up and 1 ends."""
    return [" ".join(f"w{i}" for i in row if i > 1) for row in rows]


def t5(width=16, seed=0):
    transformers = pytest.importorskip(
        "transformers", reason="pip install 'pretrain-eval[transformers]'"
    )
    torch.manual_seed(seed)
    config = transformers.T5Config(
        vocab_size=12, d_model=width, d_kv=8, d_ff=16, num_layers=1, num_heads=2,
        dropout_rate=0.0, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
    )  # fmt: skip
    return transformers.T5ForConditionalGeneration(config)


def copies(count, seed):
    """Texts that are to be said again, of several lengths."""
    draw = np.random.default_rng(seed)
    samples = []
    for _ in range(count):
        size = int(draw.integers(1, 5))
        ids = torch.zeros(6, dtype=torch.long)
        ids[:size] = torch.as_tensor(draw.integers(2, 12, size))
        ids[size] = 1
        mask = (torch.arange(6) <= size).long()
        labels = ids.masked_fill(mask == 0, -100)
        samples.append({"input_ids": ids, "attention_mask": mask, "labels": labels})
    return samples


def copying(train, valid, metric="rouge_l", **options):
    kind = pe.SequenceToSequence(metric, decode=decode, **options)
    return pe.Task("copy", datasets={"d": pe.Splits(train, valid)}, kind=kind)


def test_weights_are_those_of_a_hand_written_loop_to_the_bit():
    """A loop over transformers' own loss moves the weights alike."""
    train, kept = copies(20, 1), []
    task = copying(train, copies(6, 2), generate={"max_new_tokens": 4})
    pe.finetune(
        t5(),
        task,
        FULL,
        on_end=lambda trained, run: kept.append(copy.deepcopy(trained.state_dict())),
        device="cpu",
    )
    twin = t5().train()
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.1)
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


def test_scores_are_of_what_the_model_generates():
    """ROUGE-L by hand of texts that generate gives, and the share of equal texts."""
    model, samples = t5().eval(), copies(12, 3)
    kind = pe.SequenceToSequence(decode=decode, generate={"max_new_tokens": 5})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)  # so that texts are not all alike
    scores = pe.validate(
        model, DataLoader(samples, 5), list(kind.metrics()), forward=kind.forward
    )
    batch = next(iter(DataLoader(samples, 12)))
    rows = model.generate(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        max_new_tokens=5,
    ).tolist()
    found, truth = decode(rows), decode(batch["labels"].tolist())
    pairs = [(a.split(), b.split()) for a, b in zip(found, truth, strict=True)]
    rouge = [2 * common(a, b) / (len(a) + len(b)) if a else 0.0 for a, b in pairs]
    exact = [a == b for a, b in pairs]
    assert scores == pytest.approx(
        {"rouge_l": np.mean(rouge), "exact_match": np.mean(exact)}, abs=1e-6
    )
    assert kind.outcomes(found, truth)[1].tolist() == exact


def common(a, b):
    """The length of the longest common subsequence, by its table."""
    table = np.zeros((len(a) + 1, len(b) + 1), int)
    for i, left in enumerate(a, 1):
        for j, right in enumerate(b, 1):
            above = max(table[i - 1, j], table[i, j - 1])
            table[i, j] = table[i - 1, j - 1] + 1 if left == right else above
    return table[-1, -1]


def test_a_sweep_resumes_and_is_scored(tmp_path):
    """Two widths; before training the models are scored as they are."""
    short = {"max_new_tokens": 5}
    task = copying(copies(24, 1), copies(8, 2), "exact_match", generate=short)
    models = {f"width {width}": t5(width) for width in (16, 8)}
    arguments = (models, [task], [FULL])
    runs = pe.sweep(
        *arguments, store=tmp_path / "runs.db", workers=2, progress=False, device="cpu"
    )
    again = pe.sweep(*arguments, store=tmp_path / "runs.db", progress=False)
    assert [run.status for run in runs] == ["completed"] * 2
    assert [run.scores for run in again] == [run.scores for run in runs]
    assert runs[0].baseline.keys() == {"exact_match", "rouge_l"}
    assert runs[0].chance == {"exact_match": 0.0, "rouge_l": 0.0}
    assert runs[0].outcomes.key == "exact_match"
    assert pe.PersistenceEvaluator().compare(runs).best in models


def test_bleu_is_that_of_sacrebleu():
    """Chosen as the first metric, it comes from the package itself."""
    sacrebleu = pytest.importorskip(
        "sacrebleu", reason="pip install 'pretrain-eval[text]'"
    )
    kind = pe.SequenceToSequence("bleu", decode=decode)
    found, truth = ["a b c d e", "x y z w"], ["a b c d f", "x y z w"]
    metric = kind.metrics()[0]
    metric.update(found, truth)
    expected = sacrebleu.corpus_bleu(found, [truth]).score
    assert metric.compute() == pytest.approx(expected, abs=1e-6)
    assert list(kind.chance(None)) == ["bleu", "rouge_l", "exact_match"]


def test_labels_are_ids_of_tokens():
    """Numbers that are none are refused at the door; raw texts wait for a collate."""
    good = copies(4, 1)
    copying(good, copies(3, 2))
    copying([("a", "b")] * 4, [("c", "d"), ("e", "f")])
    with pytest.raises(ValueError, match=r"ids of tokens, got torch\.float32"):
        copying([{**good[0], "labels": torch.rand(6)}], copies(3, 2))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"metric": "meteor", "decode": decode}, ValueError, "metric must be one of"),
        ({"decode": 3}, TypeError, "decode must be callable, got 3"),
    ],
)
def test_wrong_arguments_are_refused(arguments, error, message):
    """A metric is one of three, and a decoder a function."""
    with pytest.raises(error, match=message):
        pe.SequenceToSequence(**arguments)


def test_a_decoder_gives_a_text_a_sample():
    """One that joins all rows is told so."""
    kind = pe.SequenceToSequence(
        decode=lambda rows: ["one"], generate={"max_new_tokens": 3}
    )
    batch = next(iter(DataLoader(copies(3, 1), 3)))
    with pytest.raises(ValueError, match="a text a sample, 3, got"):
        kind.forward(t5().eval(), batch)
