"""Bits per byte: what compares language models whose tokenizers differ."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import pretrain_eval as pe
from pretrain_eval import zoo

transformers = pytest.importorskip(
    "transformers", reason='pip install "pretrain-eval[transformers]"'
)
tokenizers = pytest.importorskip(
    "tokenizers", reason='pip install "pretrain-eval[transformers]"'
)

TRAIN = ["the café opens → at nine", "nine ducks swim", "at the café ducks wait"] * 4
VALID = ["ducks open the café", "nine → nine", "wait  at nine", "café"]
FULL = pe.Strategy(
    "full", optimizer=partial(torch.optim.AdamW, lr=1e-2), epochs=2, batch_size=4
)


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True, raising=False)


def saved(folder, model, pre_tokenizer, trainer):
    """A causal model and its tokenizer in a folder."""
    made = tokenizers.Tokenizer(model)
    made.pre_tokenizer = pre_tokenizer
    made.train_from_iterator(TRAIN, trainer)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        unk_token="<unk>",
        pad_token="<pad>",
        # Before transformers 5 kinds of tokens too, which GPT-2 would add up.
        model_input_names=["input_ids", "attention_mask"],
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(len(tokenizer))
    settings = transformers.GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=16,
        n_layer=1,
        n_head=2,
        n_positions=48,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=1,
    )
    transformers.GPT2LMHeadModel(settings).save_pretrained(folder)
    return folder


def words(folder):
    special = ["<unk>", "<pad>"]
    return saved(
        folder,
        tokenizers.models.WordLevel(unk_token="<unk>"),
        tokenizers.pre_tokenizers.WhitespaceSplit(),
        tokenizers.trainers.WordLevelTrainer(special_tokens=special),
    )


def pieces(folder):
    special = ["<unk>", "<pad>"]
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    return saved(
        folder,
        tokenizers.models.BPE(unk_token="<unk>"),
        tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False),
        tokenizers.trainers.BpeTrainer(
            special_tokens=special, vocab_size=280, initial_alphabet=alphabet
        ),
    )


def models(tmp_path):
    made = {"words": words(tmp_path / "words"), "pieces": pieces(tmp_path / "pieces")}
    causal = partial(zoo.transformers, auto_class="AutoModelForCausalLM")
    return made, {name: causal(folder) for name, folder in made.items()}


def task():
    kind = pe.LanguageModelling(by_byte=True)
    return pe.Task("cafe", datasets={"d": pe.Splits(TRAIN, VALID)}, kind=kind)


def by_hand(folder, first_bytes):
    """Σ −log₂ p of the tokens after the first, by the bytes after the first token's."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    bits, num_bytes = 0.0, 0
    for text, first in zip(VALID, first_bytes, strict=True):
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        with torch.no_grad():
            log_p = model(ids).logits.double().log_softmax(-1)[0, :-1]
        bits -= float(log_p.gather(1, ids[0, 1:, None]).sum()) / math.log(2)
        num_bytes += len(text.encode()) - first
    return bits / num_bytes


def test_bits_per_byte_of_two_tokenizers_are_those_of_a_hand_computation(tmp_path):
    """Each text alone, without padding; bytes counted by eye of the first token."""
    folders, both = models(tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folders["pieces"])
    firsts = [tokenizer.tokenize(text)[0] for text in VALID]
    assert all(first.isascii() for first in firsts)  # a letter of it is a byte
    first_bytes = {
        # "ducks", "nine", "wait", "café", of which é has two bytes
        "words": [5, 4, 4, 5],
        "pieces": [len(first) for first in firsts],
    }
    assert sum(first_bytes["pieces"]) != sum(first_bytes["words"])
    for name, model in both.items():
        run = pe.finetune(model, task(), FULL, device="cpu")
        expected = by_hand(folders[name], first_bytes[name])
        assert run.baseline["bits_per_byte"] == pytest.approx(expected, rel=1e-5)
        assert next(iter(run.scores)) == "bits_per_byte"
        assert run.num_examples == len(VALID)


def test_what_is_cut_off_is_not_counted(tmp_path):
    """A text of which three tokens are read costs by the bytes of these."""
    collate = zoo.transformers(
        words(tmp_path / "w"), "AutoModelForCausalLM", max_length=3
    ).collate
    batch = collate(["the café opens at nine", "ducks", ""])
    assert batch["input_ids"].shape == (3, 3)
    # " café opens" in UTF-8; nothing is predicted of a single word, or of none
    assert batch["num_bytes"].tolist() == [12, 0, 0]


def test_other_scores_are_those_per_token(tmp_path):
    """Perplexity and token accuracy do not change by what stands beside them."""
    _, both = models(tmp_path)
    plain = pe.Task(
        "cafe",
        datasets={"d": pe.Splits(TRAIN, VALID)},
        kind=pe.LanguageModelling(),
    )
    for model in both.values():
        counted = pe.finetune(model, task(), FULL, device="cpu")
        run = pe.finetune(model, plain, FULL, device="cpu")
        for key in ("perplexity", "token_accuracy"):
            assert counted.scores[key] == pytest.approx(run.scores[key], rel=1e-6)
        assert "bits_per_byte" not in run.scores


def test_chance_knows_how_often_each_byte_stands_in_the_texts():
    """Alike for every tokenizer."""
    text = list("".join(VALID).encode())
    shares = np.array([text.count(each) for each in set(text)]) / len(text)
    expected = -(shares * np.log2(shares)).sum()
    assert task().chance["d"] == pytest.approx({"bits_per_byte": expected})


def test_a_sweep_compares_them_stored_and_in_workers(tmp_path):
    """Five protocols score both; a second call trains nothing."""
    _, both = models(tmp_path)
    sweep = partial(pe.sweep, both, [task()], [FULL], range(2), progress=False)
    runs = sweep(store=tmp_path / "runs.db", workers=2)
    assert [run.status for run in runs] == ["completed"] * 4
    assert sweep(store=tmp_path / "runs.db") == runs
    assert all(run.scales["bits_per_byte"].better == "lower" for run in runs)
    evaluator = pe.PersistenceEvaluator(ceiling=0.0)
    assert set(evaluator.compare(runs).p_best) == {"words", "pieces"}


def test_what_cannot_be_counted_is_said():
    """Batches that name no bytes, and two ways at once."""
    kind = pe.LanguageModelling(by_byte=True)
    model = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 5))
    with pytest.raises(ValueError, match="under 'num_bytes' how many bytes"):
        kind.forward(model, torch.tensor([[1, 2, 3]]))
    with pytest.raises(ValueError, match="got both"):
        pe.LanguageModelling(by_byte=True, bytes_per_token=2.0)
