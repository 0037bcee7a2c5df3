"""The weights of trained models in files, and a model from such a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from pretrain_eval._optional import needs
from pretrain_eval._runs import Run
from pretrain_eval._tasks import Place
from pretrain_eval._training.cell import Cell
from pretrain_eval._training.checkpoint import unfinished
from pretrain_eval._training.head import fresh_layer, set_head
from pretrain_eval._training.headed import Headed
from pretrain_eval._training.strategy import Strategy
from pretrain_eval.zoo import Model, build


def heads_of(network: nn.Module, path: str) -> dict[str, Any]:
    """The layers at the path of a head, such that they can be made again."""
    layers: dict[str, Any] = {}
    for one in path.split(",") if path else ():
        layer = network.get_submodule(one)
        if isinstance(layer, nn.Conv2d):
            layers[one] = ["Conv2d", layer.in_channels, layer.out_channels]
        elif isinstance(layer, nn.Linear):
            layers[one] = ["Linear", layer.in_features, layer.out_features]
    place = network.place if isinstance(network, Headed) else None
    return {"layers": layers, "place": place}


def save_weights(
    network: nn.Module, path: Path, cell: Cell, heads: Mapping[str, Any]
) -> None:
    """Write a trained network's weights whole, or nothing.

    Args:
        network: What was scored.
        path: The file, whose folder is made where there is none.
        cell: What was run.
        heads: From `heads_of`, before the strategy prepared the network.
    """
    safetensors = needs("weights")
    about = {
        "model": cell.model if isinstance(cell.model, str) else None,
        "prepared": cell.strategy.prepare is not None,
        **heads,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = unfinished(path)
    try:
        names = {name: str(value) for name, value in cell.names.items()}
        metadata = {"pretrain_eval": json.dumps(about), **names}
        safetensors.save_model(network, str(partial), metadata=metadata)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def load(
    run: Run, model: Model | None = None, *, strategy: Strategy | None = None
) -> nn.Module:
    """The trained model of a run whose weights were kept, in eval mode on the CPU.

    Args:
        run: From `sweep(..., save=folder)`.
        model: The pretrained model, as it was given; not needed where that was the name
            of a torchvision model.
        strategy: The strategy, where it has `prepare`.

    Raises:
        ValueError: The run's weights were not kept, or the model or the strategy is
            another one.
        FileNotFoundError: The file is no longer there.
    """
    if not isinstance(run, Run):
        raise TypeError(f"load expects a Run of a sweep with save=..., got {run!r}")
    if not run.weights:
        raise ValueError(f"{run.name}: its weights were not kept; sweep with save=...")
    path = Path(run.weights)
    if not path.exists():
        raise FileNotFoundError(f"{run.name}: its weights are no longer at {path}")
    safetensors = needs("weights")
    about = _about(path)
    given = about["model"] if model is None else model
    if given is None:
        raise ValueError(
            f"{run.name}: give load the pretrained model, as it was given to the sweep"
        )
    prepare = strategy.prepare if strategy else None
    if about["prepared"] and prepare is None:
        raise ValueError(
            f"{run.name}: strategy {run.strategy!r} prepares its model; give load the"
            " strategy too"
        )
    network = _with_heads(build(given), about["layers"], about["place"])
    network = prepare(network) if prepare else network
    try:
        safetensors.load_model(network, str(path))
    except RuntimeError as error:
        raise ValueError(
            f"{run.name}: the weights at {path} are of another model: {error}"
        ) from error
    return network.eval()


def _about(path: Path) -> Mapping[str, Any]:
    """What the file says of the network."""
    from safetensors import safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            about: Mapping[str, Any] = json.loads(file.metadata()["pretrain_eval"])
    except Exception as error:
        raise ValueError(f"{path} holds no weights of a run: {error}") from error
    return about


def _with_heads(
    network: nn.Module, layers: Mapping[str, Any], place: Place | None
) -> nn.Module:
    """The network as it was when its training began, but for the weights."""
    if place is not None:
        network = Headed(network, place)
    for path, (kind, width, num_outputs) in layers.items():
        layer = fresh_layer(width, num_outputs, by_position=kind == "Conv2d")
        set_head(network, path, layer)
    return network
