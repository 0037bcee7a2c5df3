"""At the public doors a wrong value is refused by a message that names it."""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import pytest
import torch
from networks import Small, three_classes
from scoring import make_run

import pretrain_eval as pe

SGD = partial(torch.optim.SGD, lr=0.1)
FULL = pe.Strategy("full", optimizer=SGD, epochs=1)
TASK, NET = three_classes(), Small()
EXPECTS = re.compile(
    r"expect|must|need|got|has no|give|not |unknown|missing|one of|choose|cannot"
)

NO_NUMBER: tuple[Any, ...] = ("three", [1], {"a": 1}, object)
NO_COUNT = (*NO_NUMBER, -3, 1.5, True, float("nan"))
NO_NAME: tuple[Any, ...] = ("", "  ", 7, None, ["a"], "\ud800")
NO_FLAG: tuple[Any, ...] = ("maybe", 3, [True], object)

WRONG: tuple[tuple[str, Callable[..., Any], Mapping[str, tuple[Any, ...]]], ...] = (
    (
        "Strategy",
        partial(pe.Strategy, optimizer=SGD, epochs=1),
        {
            "name": NO_NAME,
            "optimizer": ("sdg", 3, [SGD], {"lr": 1}),
            "epochs": (*NO_COUNT, 0),
            "batch_size": (*NO_COUNT, 0),
            "accumulate": (*NO_COUNT, 0),
            "patience": NO_COUNT,
            "trainable": ("haed", 3.5, {"a": 1}),
            "amp": NO_FLAG,
            "compile": NO_FLAG,
            "channels_last": NO_FLAG,
            "ema": (*NO_NUMBER, -1.0, 2.0, float("nan")),
            "penalty": ("l2", 3, [1]),
            "prepare": ("lora", 3, [1]),
            "schedule": ("cosine", 3, [1]),
        },
    ),
    (
        "finetune",
        partial(pe.finetune, NET, TASK, FULL),
        {
            "seed": (*NO_COUNT, 2**63, None),
            "name": ("", "  ", 7, ["a"], "\ud800"),
            "on_epoch": (3, "print", [1]),
            "device": ("cudda", 3.5, ["x"], "cuda:99"),
        },
    ),
    (
        "sweep",
        partial(pe.sweep, {"net": NET}, [TASK], [FULL], progress=False),
        {
            "seeds": ([-1], ["1"], [1.5], [True], [0, 0], [], [2**63]),
            "workers": (*NO_COUNT,),
            "store": (3.5, ["a"], {"a": 1}),
            "device": ("cudda", 3.5, "cuda:99"),
        },
    ),
    (
        "Cost",
        pe.Cost,
        {
            "seconds": (*NO_NUMBER, -1.0, float("nan"), True),
            "num_parameters": NO_COUNT,
        },
    ),
    (
        "Run",
        make_run,
        {
            "model": NO_NAME,
            "task": NO_NAME,
            "seed": NO_COUNT,
            "message": (3, ["a"], {"a": 1}),
            "status": ("done", 3, ["a"]),
            "scores": ({"accuracy": "x"}, {"": 0.5}, 3),
        },
    ),
    (
        "Interval",
        partial(pe.Interval, low=0, high=1, confidence=0.9, over="seeds", method="t"),
        {
            "low": (*NO_NUMBER, True),
            "high": (*NO_NUMBER, True),
            "confidence": (*NO_NUMBER, True),
            "over": NO_NAME,
            "method": NO_NAME,
        },
    ),
    (
        "Report",
        partial(pe.Report, protocol="p", model="a", score=0.5),
        {
            "protocol": NO_NAME,
            "model": NO_NAME,
            "score": (*NO_NUMBER, True),
            "num_runs": NO_COUNT,
            "num_missing": NO_COUNT,
        },
    ),
)


def cases() -> Iterator[Any]:
    """Each door with one argument wrong, all others right."""
    for door, call, arguments in WRONG:
        for name, values in arguments.items():
            for place, value in enumerate(values):
                label = f"{door}-{name}-{place}-{type(value).__name__}"
                yield pytest.param(call, name, value, id=label)


@pytest.mark.parametrize(("call", "name", "value"), list(cases()))
def test_a_wrong_value_is_refused_in_words(
    call: Callable[..., Any], name: str, value: Any
) -> None:
    """A ValueError or TypeError that says what came and what is expected."""
    given = {"name": "full", name: value} if call is WRONG[0][1] else {name: value}
    with pytest.raises((ValueError, TypeError)) as refused:
        call(**given)
    words = str(refused.value)
    assert EXPECTS.search(words), words
    came = value[0] if isinstance(value, list) and value else value
    named = name.rstrip("s") in words or repr(came)[:20] in words or str(came) in words
    assert named, words
    last = refused.traceback[-1].path
    assert "pretrain_eval" in str(last), f"raised in {last}"
