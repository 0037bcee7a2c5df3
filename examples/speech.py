"""Which pretraining helps to read digits from tones?

Each digit is spoken as a telephone does, by two tones at once, with noise, in a row of
two to four. Two recurrent networks are pretrained on the spot, one on clean tones and
one on clean tones under other names; a scratch twin is not. A tiny
wav2vec2 reads the same sounds in its own way, from the wave itself.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

import pretrain_eval as pe

RATE, TONE, FRAME = 4000, 400, 100
# Rows and columns of a telephone's keys, in Hz; a digit is one of each.
ROWS, COLUMNS = (697, 770, 852, 941), (1209, 1336, 1477)
KEYS = {d: (ROWS[(d - 1) // 3], COLUMNS[(d - 1) % 3]) for d in range(1, 10)}
KEYS[0] = (ROWS[3], COLUMNS[1])
VOCABULARY = ["", *(f"{digit} " for digit in range(10))]  # class 0 is the blank
Sample = tuple[torch.Tensor, torch.Tensor]


def spoken(count: int, seed: int, noise: float = 0.5) -> list[Sample]:
    """Waves of several digits, and their classes."""
    draw = np.random.default_rng(seed)
    samples = []
    for _ in range(count):
        digits = draw.integers(0, 10, int(draw.integers(2, 5)))
        time = np.arange(TONE) / RATE
        tones = [sum(np.sin(2 * np.pi * f * time) for f in KEYS[d]) for d in digits]
        pauses = [np.zeros(int(draw.integers(100, 300))) for _ in digits]
        wave = np.concatenate(
            [part for pair in zip(pauses, tones, strict=True) for part in pair]
        )
        wave = wave + draw.normal(0, noise, len(wave))
        samples.append((torch.as_tensor(wave).float(), torch.as_tensor(digits + 1)))
    return samples


def frames(samples: list[Sample]) -> tuple[torch.Tensor, ...]:
    """A batch for the recurrent network: the spectrum of each moment, and lengths."""
    waves, targets = zip(*samples, strict=True)
    cut = [wave[: len(wave) // FRAME * FRAME].view(-1, FRAME) for wave in waves]
    spectra = [torch.fft.rfft(moments).abs().log1p() for moments in cut]
    return (
        pad_sequence(spectra, batch_first=True),
        torch.tensor([len(one) for one in spectra]),
        pad_sequence(list(targets), batch_first=True),
        torch.tensor([len(one) for one in targets]),
    )


def named(samples: list[Sample]) -> dict[str, torch.Tensor]:
    """A batch for wav2vec2: the waves, a mask of what is sound, labels."""
    waves, targets = zip(*samples, strict=True)
    return {
        "input_values": pad_sequence(list(waves), batch_first=True),
        "attention_mask": pad_sequence(
            [torch.ones(len(wave), dtype=torch.long) for wave in waves],
            batch_first=True,
        ),
        "labels": pad_sequence(list(targets), True, -100),
    }


class Recurrent(nn.Module):
    """Spectra in, a score a class and moment out."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.GRU(FRAME // 2 + 1, 48, batch_first=True, bidirectional=True)
        self.head = nn.Linear(96, len(VOCABULARY))

    def forward(self, spectra: torch.Tensor, lengths: torch.Tensor) -> object:
        """Scores `(N, T, V)`, and how many moments of each sample count."""
        return self.head(self.body(spectra)[0]), lengths


def wav2vec2() -> nn.Module:
    """A configuration of two layers, whose weights each run draws."""
    config = Wav2Vec2Config(
        vocab_size=len(VOCABULARY), hidden_size=32, num_hidden_layers=1,
        num_attention_heads=2, intermediate_size=32, conv_dim=(32, 32),
        conv_kernel=(20, 10), conv_stride=(10, 10), num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2, pad_token_id=0,
        feat_extract_norm="layer", do_stable_layer_norm=True, mask_time_prob=0.0,
        layerdrop=0.0,
    )  # fmt: skip
    return Wav2Vec2ForCTC(config)


def pretrained(noise: float, permuted: bool = False) -> nn.Module:
    """A recurrent network that has learned tones of so much noise, or other names."""
    torch.manual_seed(0)
    model, kind = Recurrent(), pe.SpeechRecognition(VOCABULARY)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    samples = spoken(512, 100, noise)
    if permuted:
        samples = [(wave, 11 - target) for wave, target in samples]
    for step in range(200):
        batch = frames(samples[step * 16 % 512 :][:16])
        loss = kind.loss(*kind.learn(model, batch))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def main() -> None:
    """Pretrain, adapt, compare."""
    kind = pe.SpeechRecognition(VOCABULARY)
    splits = pe.Splits(spoken(64, 1), spoken(48, 2), spoken(48, 3))
    task = pe.Task("digits", datasets={"telephone": splits}, kind=kind)
    recurrent = partial(pe.Pretrained, collate=frames)
    models = {
        "clean tones": recurrent(pretrained(0.1)),
        "other names": recurrent(pretrained(0.1, permuted=True)),
        "scratch": recurrent(Recurrent),
        "wav2vec2, scratch": pe.Pretrained(wav2vec2, collate=named),
    }
    adam = partial(torch.optim.Adam, lr=5e-3)
    full = pe.Strategy("full", optimizer=adam, epochs=8, batch_size=8)
    runs = pe.sweep(models, [task], [full], range(2), progress=False)
    for run in runs:
        before, after = run.baseline["wer"], run.scores["wer"]
        print(f"{run.model:18} word error rate {before:.3f} -> {after:.3f}")
    print(pe.PersistenceEvaluator().compare(runs))


if __name__ == "__main__":
    main()
