"""Models of Keras 3 on torch, as modules of torch with a head."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn
from typing_extensions import override

from pretrain_eval._optional import needs
from pretrain_eval.zoo.pretrained import Pretrained


def keras(
    model_or_builder: Any,
    *,
    transform: Callable[[Any], Any] | None = None,
    collate: Callable[[list[Any]], Any] | None = None,
) -> Pretrained:
    """A Keras 3 model on torch, whose last `Dense` layer becomes the head.

    The model is sequential or functional, with one input and one output; an activation
    after its last layer is left out, so that the head gives logits.

    Args:
        model_or_builder: A model (copied), or a function without arguments that
            builds one.
        transform: As in `Pretrained`; models of images read channels last.
        collate: As in `Pretrained`.

    Raises:
        ImportError: Keras is not installed; says the line that installs it.
        ValueError: Keras computes by another backend.
        TypeError: It is neither a model nor a function.
    """
    library = needs("keras")
    if library.backend.backend() != "torch":
        raise ValueError(
            f"zoo.keras needs Keras on torch, got {library.backend.backend()!r}; set"
            " KERAS_BACKEND=torch before Keras is imported"
        )
    if not callable(model_or_builder):
        raise TypeError(
            "zoo.keras expects a model or a function that builds one, got"
            f" {model_or_builder!r}"
        )
    name = getattr(model_or_builder, "__name__", "") or getattr(
        model_or_builder, "name", type(model_or_builder).__name__
    )
    return Pretrained(
        Keras(model_or_builder), transform=transform, collate=collate, name=name
    )


@final
@dataclass(frozen=True)
class Keras:
    """Builds a module of torch from a Keras model."""

    source: Any

    def __call__(self) -> Layers:
        """A copy of the model, taken apart."""
        library = needs("keras")
        if isinstance(self.source, library.Model):
            return taken_apart(cloned(self.source))
        made = self.source()
        if not isinstance(made, library.Model):
            raise TypeError(
                f"the builder must return a Keras model, got {type(made).__name__}"
            )
        return taken_apart(made)


@final
class Layers(nn.Module):
    """All layers of a Keras model but the last one, and a head in its place.

    Args:
        body: A Keras model, whose weights become parameters, and whose other state
            becomes buffers, under numbers, since its names count what was built before.
        head: What reads the body's outputs.
    """

    def __init__(self, body: Any, head: nn.Module) -> None:
        super().__init__()
        self.body: nn.Module = _Body(body)
        self.head: nn.Module = head

    @override
    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.body(inputs))
        return outputs


@final
class _Body(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        # Not as a module, whose parameters would be named by what was built before.
        self._held = (model,)
        self._link()

    def _link(self) -> None:
        """Make the model's state that of this module; they are the same tensors."""
        (model,) = self._held
        for number, variable in enumerate(model.trainable_variables):
            self.register_parameter(f"weight_{number}", variable.value)
        for number, variable in enumerate(model.non_trainable_variables):
            self.register_buffer(f"state_{number}", variable.value.detach())
        self._relink()

    def _relink(self) -> None:
        """Give the model the tensors that this module has."""
        (model,) = self._held
        for number, variable in enumerate(model.trainable_variables):
            variable._value = getattr(self, f"weight_{number}")
        for number, variable in enumerate(model.non_trainable_variables):
            variable._value = getattr(self, f"state_{number}")

    @override
    def forward(self, inputs: Tensor) -> Tensor:
        (model,) = self._held
        outputs: Tensor = model(inputs, training=self.training)
        return outputs

    @override
    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        made = super()._apply(fn, recurse)  # type: ignore[no-untyped-call] # torch's
        self._relink()
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> _Body:
        (model,) = self._held
        made = _Body(cloned(model))
        made.training = self.training
        made.to(next(iter(self.state_dict().values()), torch.empty(0)).device)
        for mine, theirs in zip(self.parameters(), made.parameters(), strict=True):
            theirs.requires_grad_(mine.requires_grad)
        return made

    @override
    def extra_repr(self) -> str:
        """The layers, without names, which count what was built before."""
        (model,) = self._held
        layers = [[type(x).__name__, x.get_config()] for x in model.layers]
        for _, settings in layers:
            settings.pop("name", None)
        return json.dumps(layers, sort_keys=True, default=str)


def cloned(model: Any) -> Any:
    """A copy of a Keras model, whose own one goes through a file."""
    with warnings.catch_warnings():
        # Keras reads the optimizer of a fitted model in a way that numpy deprecates.
        warnings.simplefilter("ignore", DeprecationWarning)
        made = needs("keras").models.clone_model(model)
    with torch.no_grad():
        for mine, theirs in zip(model.variables, made.variables, strict=True):
            theirs.value.copy_(mine.value)
    return made


def taken_apart(model: Any) -> Layers:
    """A Keras model as a body and a head of torch with the same weights.

    Raises:
        ValueError: It does not end in a `Dense` layer, or is not sequential or
            functional, with one input and one output.
    """
    library = needs("keras")
    layers = [x for x in getattr(model, "layers", ()) if not _is_activation(x)]
    plain = isinstance(model, library.Sequential) or getattr(
        model, "_functional", model
    )
    if not layers or not isinstance(layers[-1], library.layers.Dense) or not plain:
        raise ValueError(
            f"zoo.keras needs a sequential or functional model that ends in a Dense"
            f" layer, got {model.name!r}, which ends in"
            f" {type(layers[-1]).__name__ if layers else 'nothing'}"
        )
    last = layers[-1]
    body = library.Model(model.inputs, last.input)
    head = nn.Linear(last.kernel.shape[0], last.units)
    with torch.no_grad():
        head.weight.copy_(last.kernel.value.T)
        if last.bias is None:
            head.bias.zero_()
        else:
            head.bias.copy_(last.bias.value)
    return Layers(body, head)


def _is_activation(layer: Any) -> bool:
    return type(layer).__name__ in ("Activation", "Softmax")
