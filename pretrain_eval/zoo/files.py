"""Models from files: a hub repository or folder of torch, and weights alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from pretrain_eval._optional import needs
from pretrain_eval.zoo.pretrained import Pretrained, build, model_name


def torch_hub(
    repo_or_dir: str | Path,
    name: str,
    *,
    head: str | None = None,
    transform: Callable[[Any], Any] | None = None,
    collate: Callable[[list[Any]], Any] | None = None,
    **options: Any,
) -> Pretrained:
    """A model that a `hubconf.py` builds.

    Args:
        repo_or_dir: `"owner/name"` on GitHub, or a folder, which needs no network.
        name: Of the function in its `hubconf.py`.
        head: As in `Pretrained`.
        transform: As in `Pretrained`; hubs bring none.
        collate: As in `Pretrained`.
        options: Given to that function.

    Raises:
        ValueError: The folder has no `hubconf.py`.
    """
    source = str(repo_or_dir)
    folder = Path(source)
    if folder.is_dir() and not (folder / "hubconf.py").is_file():
        raise ValueError(f"torch_hub expects a hubconf.py in {source!r}")
    return Pretrained(
        TorchHub(source, name, options),
        head=head,
        transform=transform,
        collate=collate,
        name=name,
    )


def state_dict(
    path: str | Path,
    model: nn.Module | Callable[[], nn.Module],
    *,
    head: str | None = None,
    transform: Callable[[Any], Any] | None = None,
    collate: Callable[[list[Any]], Any] | None = None,
) -> Pretrained:
    """A model whose weights lie in a file of safetensors or of `torch.save`.

    No code in the file is run. A checkpoint with other entries beside `state_dict` or
    `model` is read, and the prefix `module.` of a parallel training dropped.

    Args:
        path: The file.
        model: A module (copied), or a function without arguments that builds one.
        head: As in `Pretrained`.
        transform: As in `Pretrained`.
        collate: As in `Pretrained`.

    Raises:
        FileNotFoundError: There is no such file.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"state_dict expects a file of weights, got {path}")
    return Pretrained(
        StateDict(str(path), model),
        head=head,
        transform=transform,
        collate=collate,
        name=Path(path).stem or model_name(model),
    )


@final
@dataclass(frozen=True)
class TorchHub:
    """Builds a model by a `hubconf.py`."""

    source: str
    name: str
    options: Mapping[str, Any]

    def __call__(self) -> nn.Module:
        """What its function makes."""
        where = "local" if Path(self.source).is_dir() else "github"
        made: nn.Module = torch.hub.load(  # type: ignore[no-untyped-call] # torch's
            self.source, self.name, source=where, **self.options
        )
        return made


@final
@dataclass(frozen=True)
class StateDict:
    """Builds a model and gives it the weights of a file."""

    path: str
    model: nn.Module | Callable[[], nn.Module]

    def __call__(self) -> nn.Module:
        """The model with the file's weights.

        Raises:
            ValueError: The file holds no weights, or those of another model.
        """
        made: nn.Module = build(self.model)
        try:
            made.load_state_dict(weights_in(self.path))
        except RuntimeError as error:
            raise ValueError(
                f"{self.path} holds the weights of another model than"
                f" {type(made).__name__}: {error}"
            ) from error
        return made


def weights_in(path: str) -> Mapping[str, Tensor]:
    """The tensors of a file by name.

    Raises:
        ValueError: It holds something else.
    """
    if path.endswith(".safetensors"):
        found: Any = needs("weights").load_file(path)
    else:
        found = torch.load(path, map_location="cpu", weights_only=True)
    for name in ("state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
    if not isinstance(found, Mapping) or not found:
        raise ValueError(f"{path} holds no weights by name, got {type(found).__name__}")
    if all(name.startswith("module.") for name in found):
        return {name.removeprefix("module."): value for name, value in found.items()}
    return found
