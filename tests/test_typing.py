"""Whoever extends the library can name every type that its signatures name."""

import builtins
import collections.abc
import inspect
import re
import typing as standard
from pathlib import Path

import pytest
import typing_extensions

import pretrain_eval as pe
from pretrain_eval import typing


def functions():
    """Every public function, and every public method of a public class."""
    for home in (pe, pe.functional, pe.plot):
        for name in home.__all__:
            value = getattr(home, name)
            if not inspect.isclass(value):
                yield from [value] if callable(value) else []
                continue
            # Nobody makes a step or an attachment but `attach`, a trial but a sweep.
            if value not in (pe.Step, pe.Attachment, pe.Trial):
                yield from filter(inspect.isfunction, [value.__init__])
            for key in dir(value):
                member = inspect.getattr_static(value, key)
                member = member.fget if isinstance(member, property) else member
                member = getattr(member, "__func__", member)
                if not key.startswith("_") and inspect.isfunction(member):
                    yield member


def named(function):
    """The names in the annotations of a function, with what they stand for."""
    signature = inspect.signature(function)
    annotations = [each.annotation for each in signature.parameters.values()]
    annotations.append(signature.return_annotation)
    text = " ".join(each for each in annotations if isinstance(each, str))
    words = re.findall(r"(?<![\w.])[A-Za-z_]\w*", re.sub(r"(['\"]).*?\1", "", text))
    known = inspect.unwrap(function).__globals__
    return {word: known[word] for word in words if word in known}


def is_ours(name, value):
    """Whether the package defines it, and does not hand it on at its top."""
    if name in pe.__all__ or hasattr(builtins, name) or inspect.ismodule(value):
        return False
    if isinstance(value, standard.TypeVar):
        return False
    if inspect.isclass(value):
        return value.__module__.startswith("pretrain_eval")
    homes = (standard, typing_extensions, collections.abc)
    return not any(hasattr(home, name) for home in homes)


def test_every_type_of_a_signature_is_public():
    """A type that a public signature names is a public class, or stands in typing."""
    found = [named(function) for function in functions()]
    ours = {name for names in found for name, v in names.items() if is_ours(name, v)}
    assert {"Value", "Step", "Model", "Per"} - set(pe.__all__) <= ours
    assert ours <= set(typing.__all__)


def test_every_type_is_explained():
    """Each name stands in the reference, and is the type that signatures name."""
    page = Path(__file__).parents[1].joinpath("docs/reference/typing.md")
    table = page.read_text("utf-8")
    for name in typing.__all__:
        assert f"`{name}`" in table
        assert getattr(typing, name, None) is not None


@pytest.mark.parametrize("name", ["Step", "Attachment"])
def test_what_step_metrics_read_stands_at_the_top(name):
    """They are what every step metric of one's own names, so the face has them too."""
    assert getattr(pe, name) is getattr(typing, name)
