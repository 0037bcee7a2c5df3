"""Callables as plain text that is equal where they would act equally."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import types
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def describe(value: Any) -> str:
    """`value` as text: qualified names, arguments, and a digest of anonymous code.

    >>> from functools import partial
    >>> describe(partial(round, ndigits=2))
    'builtins.round(ndigits=2)'
    """
    if isinstance(value, functools.partial):
        given = [describe(argument) for argument in value.args]
        given += [f"{name}={describe(v)}" for name, v in value.keywords.items()]
        return f"{describe(value.func)}({', '.join(given)})"
    if isinstance(value, types.FunctionType):
        return _function(value)
    if isinstance(value, types.MethodType):
        return f"{describe(value.__self__)}.{value.__name__}"
    if isinstance(value, nn.Module):
        return f"{_qualified(type(value))}:{value!r}:{_state(value)}"
    if isinstance(value, type | types.BuiltinFunctionType):
        return _qualified(value)
    if isinstance(value, Tensor):
        return f"tensor:{tuple(value.shape)}:{_digest(tensor_bytes(value))}"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(describe, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{k!r}: {describe(v)}' for k, v in value.items())}}}"
    if isinstance(value, str | int | float | complex | bytes | None):
        return repr(value)
    fields = getattr(value, "__dict__", {})
    apart = _left_out(value)
    decisive = {k: v for k, v in fields.items() if k not in apart}
    return f"{_qualified(type(value))}{describe(decisive)}"


def _left_out(value: Any) -> set[str]:
    """What a dataclass says to leave out where two of it are compared."""
    if not dataclasses.is_dataclass(value):
        return set()
    return {f.name for f in dataclasses.fields(value) if not f.compare}


def _qualified(value: Callable[..., Any]) -> str:
    return f"{value.__module__}.{value.__qualname__}"


def _function(function: types.FunctionType) -> str:
    # The code decides, so that an edited function is another one.
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    given = [cells, function.__defaults__, function.__kwdefaults__]
    code = _code(function.__code__) + describe(given).encode()
    return f"{_qualified(function)}#{_digest(code)}"


def _constant(value: object) -> str:
    # A set's order changes from one process to the next.
    return (
        str(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)
    )


def describe_class(cls: type) -> str:
    """The class's name and a digest of the code of its own methods."""
    functions = [
        value.__code__
        for _, value in sorted(vars(cls).items())
        if isinstance(value, types.FunctionType)
    ]
    return f"{_qualified(cls)}#{_digest(b'|'.join(map(_code, functions)))}"


def _code(code: types.CodeType) -> bytes:
    constants = [
        _code(c) if isinstance(c, types.CodeType) else _constant(c).encode()
        for c in code.co_consts
    ]
    return b"|".join([code.co_code, repr(code.co_names).encode(), *constants])


def _state(module: nn.Module) -> str:
    text = "".join(f"{k}={describe(v)}" for k, v in module.state_dict().items())
    return _digest(text.encode())


def tensor_bytes(tensor: Tensor) -> memoryview:
    """The tensor's elements in their order, however they lie in memory."""
    plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    # As bytes, since numpy has no bfloat16.
    return plain.reshape(-1).view(torch.uint8).numpy().data


def _digest(content: Any) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()
