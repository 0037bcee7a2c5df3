"""A speaker encoder, its random twin, mean spectra, and prompts that people spoke."""

from __future__ import annotations

import functools
import wave
from functools import partial
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset
from typing_extensions import override

from pretrain_eval import Pretrained
from pretrain_eval.demo.packages import files_of, folder_of, imported

SPEECH_MODELS = ("speaker encoder", "mean spectrum", "random twin")
LANGUAGES = ("en", "es", "fr", "it", "ru")
# Two languages have one speaker, so that who speaks is not quite which language.
SPEAKERS = {"en": 0, "es": 0, "fr": 1, "it": 2, "ru": 3}
RATE = 16_000  # samples a second that the encoder was trained on
_FRAMES = 160  # of 10 ms each, as it was trained on
_NUM_MELS = 40


def speech_model(name: str) -> Pretrained:
    """One of `SPEECH_MODELS`, which reads raw samples in its own way.

    The random twin is the encoder's architecture with weights that each seed draws; the
    mean spectrum has no weights, and is what a look at the sound itself is worth.

    Args:
        name: Of the model.

    Raises:
        ValueError: There is no such model.
        ImportError: Its package is not installed.
    """
    if name not in SPEECH_MODELS:
        raise ValueError(f"speech_model expects one of {SPEECH_MODELS}, got {name!r}")
    if name == "mean spectrum":
        return Pretrained(MeanSpectrum, head="new", transform=spectrum, name=name)
    build = partial(speaker_encoder, pretrained=name == "speaker encoder")
    return Pretrained(build, head="new", transform=spectrum, name=name)


def spectrum(samples: Tensor) -> Tensor:
    """Mel power in 160 frames of 25 ms, 10 ms apart, as the encoder was trained on.

    Speech is brought to −30 dB of full scale where it is softer, and cut or filled up
    with silence to 1.6 seconds from its middle.

    Args:
        samples: In [−1, 1], `(num_samples,)`, 16,000 a second.

    Returns:
        `(160, 40)`.
    """
    loudness = samples.square().mean().sqrt().clamp(min=1e-8)
    loud = samples * (10 ** (-30 / 20) / loudness).clamp(min=1)
    size = RATE * _FRAMES // 100
    start = max(0, (len(loud) - size) // 2)
    part = F.pad(loud[start : start + size], (0, max(0, size - len(loud))))
    window = torch.hann_window(RATE // 40)
    frames = torch.stft(
        part, len(window), RATE // 100, window=window, pad_mode="constant",
        return_complex=True,
    )  # fmt: skip
    return (_mel_filters() @ frames.abs().square()).T[:_FRAMES]


@functools.cache
def _mel_filters() -> Tensor:
    """Slaney's filters, `(40, 201)`."""
    audio = imported("transformers.audio_utils", "transformers", "speech")
    filters = audio.mel_filter_bank(
        num_frequency_bins=RATE // 80 + 1,
        num_mel_filters=_NUM_MELS,
        min_frequency=0.0,
        max_frequency=RATE / 2,
        sampling_rate=RATE,
        norm="slaney",
        mel_scale="slaney",
    )
    return torch.from_numpy(filters.T).float()


@final
class SpeakerEncoder(nn.Module):
    """Three recurrent layers, the last state of which says who speaks."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm: nn.LSTM = nn.LSTM(_NUM_MELS, 256, 3, batch_first=True)
        self.linear: nn.Linear = nn.Linear(256, 256)

    @override
    def forward(self, frames: Tensor) -> Tensor:
        """Directions `(num_samples, 256)` of frames `(num_samples, num_frames, 40)`."""
        _, (states, _) = self.lstm(frames)
        return F.normalize(F.relu(self.linear(states[-1])), dim=1)


@final
class MeanSpectrum(nn.Module):
    """The logarithm of each frequency's mean power: no weights at all."""

    @override
    def forward(self, frames: Tensor) -> Tensor:
        """`(num_samples, 40)` of frames `(num_samples, num_frames, 40)`."""
        return torch.log(frames.mean(1) + 1e-8)


def speaker_encoder(*, pretrained: bool) -> nn.Module:
    """Resemblyzer's encoder of voices, with its weights or random ones."""
    network = SpeakerEncoder()
    if pretrained:
        file = folder_of("resemblyzer") / "pretrained.pt"
        weights = torch.load(file, "cpu", weights_only=True)["model_state"]
        network.load_state_dict({name: weights[name] for name in network.state_dict()})
    return network


@final
class Prompts(Dataset[tuple[Tensor, int]]):
    """Raw samples and a class."""

    def __init__(self, files: list[Path], labels: np.ndarray) -> None:
        self.files: list[Path] = files
        self.labels: np.ndarray = labels

    def __len__(self) -> int:
        return len(self.files)

    @override
    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return _samples(self.files[index]), int(self.labels[index])


def prompts(ask: str) -> tuple[Prompts, np.ndarray]:
    """Telephone prompts of at least 1.6 seconds, in five languages by four speakers.

    Voice, language and recording go together but for one speaker of two languages, so
    that an answer to either question is partly one to the others.

    Args:
        ask: "speaker" or "language", which is the class.

    Raises:
        ValueError: It is neither.
        ImportError: A language's package is not there.
    """
    if ask not in ("speaker", "language"):
        raise ValueError(f"prompts expects 'speaker' or 'language', got {ask!r}")
    files, labels = [], []
    for place, language in enumerate(LANGUAGES):
        for file in files_of(f"asterisk-core-sounds-{language}-wav"):
            with wave.open(str(file)) as sound:
                long_enough = 100 * sound.getnframes() >= _FRAMES * sound.getframerate()
            if long_enough:
                files.append(file)
                labels.append(place if ask == "language" else SPEAKERS[language])
    return Prompts(files, np.array(labels)), np.array(labels)


@functools.lru_cache(maxsize=2048)
def _samples(file: Path) -> Tensor:
    """In [−1, 1], 16,000 a second."""
    from scipy.signal import resample_poly

    with wave.open(str(file)) as sound:
        rate = sound.getframerate()
        content = np.frombuffer(sound.readframes(sound.getnframes()), "<i2")
    raised = resample_poly(content / 2**15, RATE, rate)
    return torch.from_numpy(raised.astype(np.float32))
