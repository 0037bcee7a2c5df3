"""A head for a backbone that has none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from pretrain_eval._metrics import evaluating
from pretrain_eval._tasks import Place

# Where models of transformers keep their features.
_TOKENS = ("last_hidden_state", "encoder_last_hidden_state", "logits")


@final
class Headed(nn.Module):
    """A backbone, its features pooled, and a place for a head on them.

    Features of a sample are the mean over the positions of a map `(N, C, H, W)`, over
    the tokens of a sequence `(N, T, C)` that the attention mask keeps, or what the
    backbone has pooled itself. Of several maps the last one counts.

    Args:
        body: The backbone.
        place: What a row of outputs is of: a sample, a token, or a pixel, whose scores
            are interpolated to the size of the image.
    """

    def __init__(self, body: nn.Module, place: Place) -> None:
        super().__init__()
        self.body, self.place = body, place
        self.head: nn.Module = nn.Identity()

    @override
    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        found = self.body(*args, **kwargs)
        if self.place == "sample":
            features = pooled(found, kwargs.get("attention_mask"))
        else:
            features = _positions(found, 4 if self.place == "pixel" else 3, self.place)
        outputs: Tensor = self.head(features)
        if self.place == "pixel":
            image = args[0] if args else next(iter(kwargs.values()))
            outputs = F.interpolate(outputs, image.shape[-2:], mode="bilinear")
        return outputs


def width_of(
    model: nn.Module, layer: nn.Module, run: Callable[[nn.Module], Any]
) -> int:
    """How many features a layer that changes nothing gets.

    Args:
        model: Read in eval mode, left as it was.
        layer: One of its layers.
        run: Puts a batch through.
    """
    outputs: list[Tensor] = []
    handle = layer.register_forward_hook(lambda _m, _a, output: outputs.append(output))
    with handle, evaluating(model), torch.no_grad():
        run(model)
    by_pixel = isinstance(model, Headed) and model.place == "pixel"
    return int(outputs[0].shape[1 if by_pixel else -1])


def pooled(found: Any, mask: Tensor | None) -> Tensor:
    """One vector a sample."""
    pooled = _entry(found, ("pooler_output",))
    features = _tensor(found if pooled is None else pooled)
    if features.ndim == 3 and mask is not None and mask.shape == features.shape[:2]:
        weights = mask[:, :, None].to(features.dtype)
        return (features * weights).sum(1) / weights.sum(1).clamp(min=1)
    if features.ndim == 3:
        return features.mean(1)
    return features.flatten(2).mean(2) if features.ndim > 3 else features


def _positions(found: Any, ndim: int, place: Place) -> Tensor:
    features = _tensor(found)
    if features.ndim != ndim:
        raise ValueError(
            f"a head for each {place} reads features of {ndim} dimensions, the model"
            f" gives {tuple(features.shape)}"
        )
    return features


def _tensor(found: Any) -> Tensor:
    """The features in what a backbone returns."""
    named = _entry(found, _TOKENS)
    if named is not None:
        found = named
    if isinstance(found, Mapping):
        found = list(found.values())
    while isinstance(found, tuple | list) and found:
        found = found[-1]
    if not isinstance(found, Tensor):
        raise ValueError(
            "a backbone is expected to return features as a tensor, several, or an"
            f" object with last_hidden_state, got {type(found).__name__}"
        )
    return found


def _entry(found: Any, names: tuple[str, ...]) -> Any:
    for name in names:
        value = found.get(name) if isinstance(found, Mapping) else None
        value = getattr(found, name, None) if value is None else value
        if value is not None:
            return value
    return None
