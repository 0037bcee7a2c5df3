"""The code that README and docs show runs as it is printed."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as pyplot
import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(
    r"^```(?:python|\{code-cell\} ipython3)\n(?:---\n.*?^---\n)?(.*?)^```", re.M | re.S
)
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(document: Path) -> list[str]:
    """The Python blocks that are no interactive examples; pytest runs those."""
    found = BLOCK.findall(document.read_text(encoding="utf-8"))
    return [block for block in found if ">>>" not in block]


def pictures(num_samples: int, seed: int) -> list[tuple[Image.Image, int]]:
    """Raw images of some size with their labels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (num_samples, 40, 40, 3))
    images = [Image.fromarray(each) for each in pixels.astype(np.uint8)]
    return [(image, i % 3) for i, image in enumerate(images)]


def loader(num_samples: int, seed: int) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(num_samples, 3, 32, 32, generator=generator)
    samples = TensorDataset(images, torch.arange(num_samples) % 3)
    return DataLoader(samples, batch_size=6)


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What the documents take for granted: a model, loaders, downloaded weights."""
    monkeypatch.chdir(tmp_path)
    hub = torch.hub.get_dir()
    torch.hub.set_dir(str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    for name in ("resnet18", "mobilenet_v3_small"):
        url = torchvision.models.get_model_weights(name).DEFAULT.url
        network = torchvision.models.get_model(name, weights=None)
        file = tmp_path / "checkpoints" / url.rsplit("/", 1)[1]
        torch.save(network.state_dict(), file)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 3))
    optimizer, criterion = torch.optim.SGD(model.parameters()), nn.CrossEntropyLoss()

    def train() -> None:
        for inputs, targets in loader(12, 0):
            optimizer.zero_grad()
            criterion(model(inputs), targets).backward()
            optimizer.step()

    yield {
        "model": model,
        "optimizer": optimizer,
        "criterion": criterion,
        "train": train,
        "loader": loader(12, 0),
        "train_loader": loader(12, 1),
        "valid_loader": loader(30, 2),
        "new_loader": loader(9, 5),
        "train_images": pictures(12, 3),
        "valid_images": pictures(9, 4),
        "to_small_tensor": lambda image: torch.tensor(np.asarray(image) / 255).float(),
    }
    torch.hub.set_dir(hub)
    pyplot.close("all")


@pytest.mark.parametrize(
    "document",
    [d for d in DOCUMENTS if blocks(d)],
    ids=lambda document: str(document.relative_to(ROOT)),
)
def test_the_code_of_a_document_runs(document: Path, given: dict[str, Any]) -> None:
    """All blocks in their order, in one namespace."""
    given["__name__"] = "__main__"
    for block in blocks(document):
        exec(compile(block, str(document), "exec"), given)
    assert "pe" in given
