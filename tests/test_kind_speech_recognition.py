"""The kind of task for speech: CTC by hand, jiwer, transformers' own loss."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from networks import draw_of
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.utils.data import DataLoader

import pretrain_eval as pe
from pretrain_eval._metrics import seed_all

VOCABULARY = "_ab c"
KIND = pe.SpeechRecognition(VOCABULARY)
ADAM = partial(torch.optim.Adam, lr=0.03)
FULL = pe.Strategy("full", optimizer=ADAM, epochs=2, batch_size=8)


class Reader(nn.Module):
    """A recurrent network that reads a padded or a packed batch."""

    def __init__(self, width=8):
        super().__init__()
        torch.manual_seed(width)
        self.body = nn.GRU(4, width, batch_first=True)
        self.head = nn.Linear(width, len(VOCABULARY))

    def forward(self, inputs, lengths=None):
        if lengths is not None:
            inputs = pack_padded_sequence(
                inputs, lengths.cpu(), batch_first=True, enforce_sorted=False
            )
        hidden, lengths = pad_packed_sequence(self.body(inputs)[0], batch_first=True)
        return self.head(hidden), lengths


def spoken(count, seed):
    """Sounds of three moments a character, each a direction with noise."""
    draw = np.random.default_rng(seed)
    samples = []
    for _ in range(count):
        target = torch.as_tensor(draw.integers(1, 5, int(draw.integers(2, 5))))
        sound = F.one_hot(target - 1, 4).float().repeat_interleave(3, 0)
        noise = draw.normal(0, 0.1, tuple(sound.shape))
        samples.append((sound + torch.as_tensor(noise).float(), target))
    return samples


def four(samples):
    """A batch as torch's own tutorial of CTC has it."""
    inputs, targets = zip(*samples, strict=True)
    return (
        pad_sequence(inputs, batch_first=True),
        torch.tensor([len(one) for one in inputs]),
        pad_sequence(targets, batch_first=True),
        torch.tensor([len(one) for one in targets]),
    )


def packed(samples):
    """A batch of one packed sequence, and its targets as a list."""
    inputs, lengths, *_ = four(samples)
    sequence = pack_padded_sequence(
        inputs, lengths, batch_first=True, enforce_sorted=False
    )
    return sequence, [target for _, target in samples]


def pair(samples):
    """Inputs with their lengths, and targets filled up with -100."""
    inputs, lengths, *_ = four(samples)
    targets = pad_sequence([t for _, t in samples], True, -100)
    return (inputs, lengths), targets


def speech(train, valid, **options):
    kind = pe.SpeechRecognition(VOCABULARY, **options)
    return pe.Task("speech", datasets={"d": pe.Splits(train, valid)}, kind=kind)


@pytest.mark.parametrize("collate", [four, packed, pair])
def test_the_loss_is_ctc_by_hand_in_each_form_of_a_batch(collate):
    """Torch's loss of one sample at a time; a target that is too long costs nothing."""
    samples = [*spoken(6, 1), (torch.randn(2, 4), torch.tensor([1, 2, 3]))]
    model = Reader()
    with torch.no_grad():
        found = KIND.loss(*KIND.learn(model, collate(samples)))
        losses = [
            F.ctc_loss(
                model(sound[None], torch.tensor([len(sound)]))[0][0].log_softmax(-1),
                target,
                torch.tensor([len(sound)]),
                torch.tensor([len(target)]),
                reduction="sum",
            )
            / len(target)
            for sound, target in samples
        ]
    assert losses[-1].isinf()
    assert float(found) == pytest.approx(sum(losses[:-1]).item() / 7, rel=1e-6)


def test_weights_are_those_of_a_hand_written_loop_to_the_bit():
    """The loop of torch's tutorial, with the logarithm of the softmax."""
    train, kept = spoken(20, 1), []
    model = pe.Pretrained(Reader, collate=four)
    task = speech(train, spoken(8, 2))
    pe.finetune(
        model,
        task,
        FULL,
        on_end=lambda trained, run: kept.append(copy.deepcopy(trained.state_dict())),
        device="cpu",
    )
    twin = Reader()
    optimizer = ADAM(twin.parameters())
    draw = draw_of(task, FULL)
    for epoch in (1, 2):
        seed_all(draw, epoch)
        for batch in DataLoader(train, 8, shuffle=True, collate_fn=four):
            sounds, lengths, targets, target_lengths = batch
            scores, lengths = twin(sounds, lengths)
            places = torch.arange(targets.shape[1]) < target_lengths[:, None]
            loss = F.ctc_loss(
                scores.log_softmax(-1).transpose(0, 1),
                targets[places],
                lengths,
                target_lengths,
                zero_infinity=True,
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for name, value in twin.state_dict().items():
        assert torch.equal(value, kept[0][name]), name


def test_error_rates_are_those_of_jiwer():
    """Decoded by hand, repeats once and blanks not at all."""
    jiwer = pytest.importorskip("jiwer", reason="pip install jiwer")
    samples, model = spoken(30, 5), Reader()
    found, truth = [], []
    for sound, target in samples:
        with torch.no_grad():
            best = model(sound[None], torch.tensor([len(sound)]))[0][0].argmax(-1)
        runs = torch.unique_consecutive(best).tolist()
        found.append("".join(VOCABULARY[c] for c in runs if c))
        truth.append("".join(VOCABULARY[c] for c in target.tolist()))
    scores = pe.validate(
        model,
        DataLoader(samples, 7, collate_fn=four),
        list(KIND.metrics()),
        forward=KIND.forward,
    )
    kept = [i for i, text in enumerate(truth) if text.strip()]
    assert len(kept) == len(truth)
    expected = {"wer": jiwer.wer(truth, found), "cer": jiwer.cer(truth, found)}
    assert scores == pytest.approx(expected, abs=1e-6)


def test_a_repeated_character_needs_a_blank_between():
    """What CTC says of repeats."""
    assert KIND.text([1, 1, 0, 1, 2, 2, 0, 0, 3, 4]) == "aab c"
    assert KIND.text([]) == ""
    assert pe.SpeechRecognition("ab_", blank=2).text([0, 0, 2, 0, 1]) == "aab"


def wav2vec2(cls="Wav2Vec2ForCTC", seed=0):
    transformers = pytest.importorskip(
        "transformers", reason="pip install 'pretrain-eval[transformers]'"
    )
    torch.manual_seed(seed)
    config = transformers.Wav2Vec2Config(
        vocab_size=len(VOCABULARY), hidden_size=16, num_hidden_layers=1,
        num_attention_heads=2, intermediate_size=16, conv_dim=(8, 8),
        conv_kernel=(10, 4), conv_stride=(5, 4), num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2, num_feat_extract_layers=2,
        feat_extract_norm="layer", do_stable_layer_norm=True, pad_token_id=0,
        ctc_loss_reduction="mean", ctc_zero_infinity=True, hidden_dropout=0.0,
        attention_dropout=0.0, activation_dropout=0.0, feat_proj_dropout=0.0,
        final_dropout=0.0, layerdrop=0.0, mask_time_prob=0.0,
    )  # fmt: skip
    return getattr(transformers, cls)(config)


def waves(count, seed):
    """Waves of several lengths with a mask, as a processor gives them."""
    draw = np.random.default_rng(seed)
    samples = []
    for _ in range(count):
        length = int(draw.integers(200, 401))
        wave = torch.as_tensor(draw.normal(size=400)).float()
        mask = (torch.arange(400) < length).long()
        target = torch.full((4,), -100)
        size = int(draw.integers(2, 5))
        target[:size] = torch.as_tensor(draw.integers(1, 5, size))
        samples.append(
            {"input_values": wave * mask, "attention_mask": mask, "labels": target}
        )
    return samples


def test_the_loss_of_wav2vec2_is_its_own():
    """Output lengths are what the model makes of the attention mask."""
    model, batch = wav2vec2().eval(), next(iter(DataLoader(waves(6, 1), 6)))
    with torch.no_grad():
        assert torch.equal(KIND.loss(*KIND.learn(model, batch)), model(**batch).loss)
        (_, lengths), _ = KIND.learn(model, batch)
    assert len(set(lengths.tolist())) > 1


def test_a_sweep_resumes_and_reads_error_rates_as_lower_is_better(tmp_path):
    """A wide and a narrow reader; chance is an empty answer."""
    task = speech(spoken(40, 1), spoken(20, 2))
    models = {
        f"width {width}": pe.Pretrained(partial(Reader, width), collate=four)
        for width in (16, 2)
    }
    long = pe.Strategy("full", optimizer=ADAM, epochs=15, batch_size=8)
    arguments = (models, [task], [long])
    runs = pe.sweep(
        *arguments, store=tmp_path / "runs.db", workers=2, progress=False, device="cpu"
    )
    again = pe.sweep(*arguments, store=tmp_path / "runs.db", progress=False)
    assert [run.status for run in runs] == ["completed"] * 2
    assert [run.scores for run in again] == [run.scores for run in runs]
    assert runs[0].chance == {"wer": 1.0, "cer": 1.0}
    assert runs[0].scores["cer"] < runs[0].baseline["cer"]
    assert pe.PersistenceEvaluator(metric="cer").compare(runs).best == "width 16"


def test_bare_encoders_get_a_head_on_their_moments():
    """head="new" on wav2vec2 without one; lengths are still the encoder's."""
    task = speech(waves(16, 1), waves(8, 2), fresh_head=True)
    model = pe.Pretrained(partial(wav2vec2, "Wav2Vec2Model"), head="new")
    head = pe.Strategy("head", optimizer=ADAM, epochs=1, trainable="head")
    run = pe.finetune(model, task, head)
    assert run.cost.num_trainable_parameters == 16 * 5 + 5
    assert not run.baseline
    assert run.scores.keys() == {"wer", "cer"}


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            torch.tensor([1, 5]),
            r"classes of 0\.\.4 other than the blank, 0, got \[1, 5\]",
        ),
        (torch.tensor([0, 1]), "other than the blank"),
        (torch.tensor([1.0]), "targets are expected as classes"),
    ],
)
def test_wrong_targets_are_refused_at_the_door(target, message):
    """Classes of the vocabulary, and never the blank."""
    good = spoken(4, 1)
    speech(good, spoken(3, 2))
    with pytest.raises(ValueError, match=message):
        speech([*good, (torch.zeros(6, 4), target)], spoken(3, 2))


def test_a_vocabulary_has_a_class_beside_its_blank():
    """The blank is one of its classes."""
    with pytest.raises(ValueError, match="a class beside the blank, 3, got 2"):
        pe.SpeechRecognition("_a", blank=3)


def test_shortened_scores_without_lengths_are_refused():
    """Padding would be learned from; the message says what the model should return."""

    class Halved(nn.Module):
        def forward(self, inputs, lengths):
            return torch.zeros(len(inputs), inputs.shape[1] // 2, 5)

    with pytest.raises(ValueError, match=r"return \(logits, lengths\)"):
        KIND.learn(Halved(), four(spoken(6, 1)))
