"""Models of transformers and sentence-transformers, each with what reads for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from torch import Tensor, nn
from typing_extensions import override

from pretrain_eval._optional import needs
from pretrain_eval.zoo.pretrained import Pretrained
from pretrain_eval.zoo.tokens import (
    Captioned,
    Heard,
    ProcessedImage,
    Tokenized,
    digest_of,
)


def transformers(
    name_or_path: str | Path,
    auto_class: str = "AutoModel",
    *,
    pretrained: bool = True,
    max_length: int | None = None,
) -> Pretrained:
    """A model of transformers with its tokenizer, image processor or extractor.

    Texts, and pairs of texts, become a batch by name with an attention mask; a
    tokenizer without a token to pad by pads with its end of text, of which the model is
    told. Images become pixel values, waveforms what the feature extractor makes of
    them; a model of images and texts reads pairs. A body (`AutoModel`) gets a new head.

    Args:
        name_or_path: As `from_pretrained` takes it; a folder needs no network.
        auto_class: The class in transformers that builds it, such as
            "AutoModelForSequenceClassification".
        pretrained: Whether weights are loaded; otherwise a scratch twin of the same
            configuration, drawn by the seed of a run.
        max_length: Tokens beyond which texts are cut off; by default as many as the
            model has places for.

    Raises:
        ImportError: transformers is not installed; says the line that installs it.
        ValueError: transformers has no such class, or the tokenizer no token to pad by.
    """
    library, source = needs("transformers"), str(name_or_path)
    maker = getattr(library, auto_class, None)
    if not hasattr(maker, "from_pretrained"):
        raise ValueError(
            f"transformers has no model class {auto_class!r}; for example"
            " 'AutoModelForSequenceClassification'"
        )
    settings = library.AutoConfig.from_pretrained(source)
    text: Tokenized | None = None
    collate: Tokenized | Captioned | Heard | None = None
    transform: ProcessedImage | None = None
    reads = getattr(_class_of(maker, settings), "main_input_name", "input_ids")
    if hasattr(settings, "text_config") and hasattr(settings, "vision_config"):
        text = _text(library, source, max_length, settings)
        collate = Captioned(_image(library, source), text)
    elif reads == "pixel_values":
        transform = _image(library, source)
    elif reads == "input_ids":
        collate = text = _text(library, source, max_length, settings)
    else:
        extractor = library.AutoFeatureExtractor.from_pretrained(source)
        collate = Heard(extractor, digest=digest_of(extractor))
    pad = None if text is None else text.tokenizer.pad_token_id
    name = Path(source).name
    return Pretrained(
        Transformers(source, auto_class, pretrained, pad),
        head="new" if auto_class in ("AutoModel", "AutoBackbone") else None,
        transform=transform,
        collate=collate,
        name=name if pretrained else f"{name} from scratch",
    )


def sentence_transformers(
    name_or_path: str | Path, *, max_length: int | None = None
) -> Pretrained:
    """A model of sentence-transformers: its embedding of a text, and a new head on it.

    Args:
        name_or_path: As `SentenceTransformer` takes it; a folder needs no network.
        max_length: Tokens beyond which texts are cut off; by default the model's own.

    Raises:
        ImportError: sentence-transformers is not installed; says what installs it.
    """
    build = Sentences(str(name_or_path))
    model = build().body
    tokenizer = _padding(model.tokenizer)
    text = Tokenized(
        tokenizer,
        max_length=max_length or model.max_seq_length,
        digest=digest_of(tokenizer),
    )
    return Pretrained(build, head="new", collate=text, name=Path(name_or_path).name)


@final
@dataclass(frozen=True)
class Transformers:
    """Builds a model of transformers."""

    source: str
    auto_class: str
    pretrained: bool
    pad_token_id: int | None

    def __call__(self) -> nn.Module:
        """A model with its weights, or with ones that torch draws."""
        library = needs("transformers")
        maker = getattr(library, self.auto_class)
        if self.pretrained:
            made: nn.Module = maker.from_pretrained(self.source)
        else:
            settings = library.AutoConfig.from_pretrained(self.source)
            make = getattr(maker, "from_config", None) or maker._from_config
            made = make(settings)
        told: Any = made.config
        if self.pad_token_id is not None and getattr(told, "pad_token_id", 0) is None:
            told.pad_token_id = self.pad_token_id
        return made


@final
@dataclass(frozen=True)
class Sentences:
    """Builds a model of sentence-transformers."""

    source: str

    def __call__(self) -> SentenceEmbedding:
        """A model with its weights."""
        library = needs("sentence-transformers")
        return SentenceEmbedding(library.SentenceTransformer(self.source, device="cpu"))


@final
class SentenceEmbedding(nn.Module):
    """A model of sentence-transformers that is called as others are.

    Args:
        body: A `SentenceTransformer`.
    """

    def __init__(self, body: Any) -> None:
        super().__init__()
        self.body = body

    @override
    def forward(self, **features: Tensor) -> Tensor:
        embedding: Tensor = self.body(features)["sentence_embedding"]
        return embedding


def _class_of(maker: Any, settings: Any) -> Any:
    """The class that an auto class builds for a configuration."""
    mapping = getattr(maker, "_model_mapping", None)
    if mapping is None:
        return maker
    found = mapping.get(type(settings), None)
    return found[0] if isinstance(found, tuple) else found


def _image(library: Any, source: str) -> ProcessedImage:
    processor = library.AutoImageProcessor.from_pretrained(source)
    return ProcessedImage(processor, digest=digest_of(processor))


def _text(library: Any, source: str, length: int | None, settings: Any) -> Tokenized:
    tokenizer = _padding(library.AutoTokenizer.from_pretrained(source))
    own = getattr(settings, "text_config", settings)
    places = [tokenizer.model_max_length, getattr(own, "max_position_embeddings", None)]
    known = [n for n in places if isinstance(n, int) and 0 < n < 10**9]
    most = length or min(known, default=None)
    return Tokenized(tokenizer, max_length=most, digest=digest_of(tokenizer))


def _padding(tokenizer: Any) -> Any:
    """The tokenizer, with a token to pad by."""
    if tokenizer.pad_token is None:
        end = tokenizer.eos_token or tokenizer.unk_token
        if end is None:
            raise ValueError(
                f"{type(tokenizer).__name__} has no token to pad by and no end of text;"
                " give it a pad_token and save it beside the model"
            )
        tokenizer.pad_token = end
    return tokenizer
