"""How models of transformers read texts, images and sounds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from pretrain_eval.zoo.images import as_image


@final
@dataclass(frozen=True)
class Tokenized:
    """Makes a batch by name of texts, each with its target.

    A sample is `(text, target)`, `((first, second), target)` for a pair of texts, or a
    mapping from names to one text or two and to `labels` or `label`. Texts alone, for
    language modelling, come with `num_bytes`: how many bytes of each, in UTF-8, are
    spelled by the tokens after the first, which nothing predicts.

    Args:
        tokenizer: Of transformers, with a token to pad by.
        max_length: Tokens beyond which a text is cut off; None: never.
        digest: What tells its content, from `digest_of`.
    """

    # It changes where it is called, so its digest stands for it.
    tokenizer: Any = field(compare=False, repr=False)
    _: KW_ONLY
    max_length: int | None
    digest: str

    def __call__(self, samples: Sequence[Any]) -> dict[str, Tensor]:
        """Ids, attention mask, whatever the tokenizer gives more, and labels."""
        if all(isinstance(sample, str) for sample in samples):
            return self._alone(list(samples))
        read = [labelled(sample) for sample in samples]
        texts = [_texts(inputs) for inputs, _ in read]
        if len({len(each) for each in texts}) > 1:
            raise ValueError("a batch holds texts or pairs of texts, got both")
        batch = self._read(*map(list, zip(*texts, strict=True)))
        return {**batch, "labels": stacked([target for _, target in read])}

    def _alone(self, texts: list[str]) -> dict[str, Tensor]:
        """Ids and mask of texts, and how many bytes their scored tokens spell."""
        if not self.tokenizer.is_fast:  # it does not know where its tokens stand
            return self._read(texts)
        batch = self._read(texts, return_offsets_mapping=True)
        places = batch.pop("offset_mapping").tolist()
        masks = batch["attention_mask"].tolist()
        found = [_num_bytes(*each) for each in zip(texts, places, masks, strict=True)]
        return {**batch, "num_bytes": torch.tensor(found)}

    def _read(self, *texts: list[str], **options: Any) -> dict[str, Tensor]:
        """A padded batch."""
        return dict(
            self.tokenizer(
                *texts,
                padding=True,
                truncation=self.max_length is not None,
                max_length=self.max_length,
                return_tensors="pt",
                return_attention_mask=True,
                **options,
            )
        )


@final
@dataclass(frozen=True)
class ProcessedImage:
    """An image of any form, as a model's image processor reads it.

    Args:
        processor: Of transformers.
        digest: What tells its content.
    """

    processor: Any = field(compare=False, repr=False)
    _: KW_ONLY
    digest: str

    def __call__(self, image: Any) -> Tensor:
        """Pixel values, `(3, H, W)`."""
        image = as_image(image)
        # Floats in [0, 1] are scaled already.
        scaled = {"do_rescale": False} if isinstance(image, Tensor) else {}
        read = self.processor(image, return_tensors="pt", **scaled)
        pixels: Tensor = read["pixel_values"][0]
        return pixels


@final
@dataclass(frozen=True)
class Heard:
    """Makes a batch by name of waveforms, each with its target.

    A sample is `(waveform, target)`, the waveform `(num_samples,)` at the rate of the
    feature extractor.

    Args:
        extractor: A feature extractor of transformers.
        digest: What tells its content.
    """

    extractor: Any = field(compare=False, repr=False)
    _: KW_ONLY
    digest: str

    def __call__(self, samples: Sequence[Any]) -> dict[str, Tensor]:
        """Features, attention mask and labels."""
        read = [labelled(sample) for sample in samples]
        batch = self.extractor(
            [np.asarray(waveform) for waveform, _ in read],
            sampling_rate=self.extractor.sampling_rate,
            padding=True,
            return_tensors="pt",
            return_attention_mask=True,
        )
        return {**batch, "labels": stacked([target for _, target in read])}


@final
@dataclass(frozen=True)
class Captioned:
    """Makes a batch by name of pairs of an image and a text.

    Args:
        image: Reads an image.
        text: Reads texts.
    """

    image: ProcessedImage
    text: Tokenized

    def __call__(self, samples: Sequence[Any]) -> dict[str, Tensor]:
        """Pixel values, ids and attention mask; labels count the pairs."""
        images, texts = zip(*(_pair(sample) for sample in samples), strict=True)
        batch = self.text(list(zip(texts, range(len(texts)), strict=True)))
        return {"pixel_values": torch.stack([*map(self.image, images)]), **batch}


def digest_of(content: Any) -> str:
    """32 hexadecimal digits of a tokenizer's or a processor's content."""
    if hasattr(content, "to_json_string"):
        read = json.loads(content.to_json_string())
        for name in ("_name_or_path", "_processor_class", "processor_class"):
            read.pop(name, None)
    else:
        read = _tokenizer_content(content)
    text = json.dumps(read, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _tokenizer_content(tokenizer: Any) -> dict[str, Any]:
    """What decides the ids of a text."""
    content: dict[str, Any] = {
        "special": {k: str(v) for k, v in tokenizer.special_tokens_map.items()},
        "sides": [tokenizer.padding_side, tokenizer.truncation_side],
        "names": list(tokenizer.model_input_names),
    }
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        own = [type(tokenizer).__qualname__, tokenizer.get_vocab()]
        return {**content, "own": own}
    read = json.loads(backend.to_str())
    # What the last call has asked for.
    return {
        **content,
        **{k: read[k] for k in read if k not in ("truncation", "padding")},
    }


def labelled(sample: Any) -> tuple[Any, Any]:
    """Inputs and target of a sample."""
    if isinstance(sample, Mapping):
        found = [name for name in ("labels", "label") if name in sample]
        if not found:
            raise ValueError(
                f"a sample by name needs its target under 'labels', got {list(sample)};"
                " say which with Splits(..., target=...)"
            )
        others = {k: v for k, v in sample.items() if k != found[0]}
        return others, sample[found[0]]
    if not isinstance(sample, Sequence) or isinstance(sample, str) or len(sample) < 2:
        raise ValueError(f"a sample is expected with its target, got {sample!r}")
    *inputs, target = sample
    return inputs[0] if len(inputs) == 1 else tuple(inputs), target


def _texts(inputs: Any) -> tuple[str, ...]:
    """One text, or two."""
    parts: Any = inputs.values() if isinstance(inputs, Mapping) else inputs
    texts = (inputs,) if isinstance(inputs, str) else tuple(parts)
    if len(texts) not in (1, 2) or not all(isinstance(text, str) for text in texts):
        raise ValueError(
            f"a text or a pair of texts is expected, got {inputs!r:.60}; choose fields"
            " of a table before it becomes a split"
        )
    return texts


def _num_bytes(text: str, places: list[list[int]], mask: list[int]) -> int:
    """How many bytes of a text are spelled by the tokens that are predicted.

    From the end of what stands first in the batch, which nothing predicts, to the end
    of the last token that was read. A character that the first token shares with the
    next, as cuts between bytes leave it, is the first's.
    """
    begin = places[0][1] if mask[0] else 0
    ends = (stop for (_, stop), kept in zip(places, mask, strict=True) if kept)
    end = max(ends, default=0)
    return len(text[begin:end].encode(errors="surrogatepass"))


def _pair(sample: Any) -> tuple[Any, Any]:
    values = tuple(sample.values()) if isinstance(sample, Mapping) else tuple(sample)
    if len(values) != 2:
        raise ValueError(
            f"a pair of image and text is expected, got {len(values)} parts"
        )
    first, second = values
    return (second, first) if isinstance(first, str) else (first, second)


def stacked(targets: Sequence[Any]) -> Tensor:
    """Targets of samples as one tensor."""
    try:
        return torch.stack([torch.as_tensor(np.asarray(target)) for target in targets])
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            "targets of a batch are expected to be numbers of one shape, got"
            f" {targets[0]!r:.40} and others; give Pretrained a collate=... of your own"
        ) from error
