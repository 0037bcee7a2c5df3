"""How a metric becomes a function: all in, the value out, nothing kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from inspect import signature
from typing import Concatenate, ParamSpec, TypeVar, cast

from pretrain_eval._metrics.metric import CountedMetric
from pretrain_eval._metrics.sync import fetch

P = ParamSpec("P")
Given = TypeVar("Given")
Truth = TypeVar("Truth")
V = TypeVar("V")


def of_sums(
    metric: Callable[P, CountedMetric],
) -> Callable[[Callable[[Given, Truth], V]], Callable[Concatenate[Given, Truth, P], V]]:
    """Make a function of all outputs and targets, with the arguments of a metric.

    What the metric declares, a counter and a formula of what it counts, is put one
    after the other: `formula(count(outputs, targets))`. No state is kept.

    Args:
        metric: The class whose arguments, and their defaults, the function takes.
    """

    def declared(
        stub: Callable[[Given, Truth], V],
    ) -> Callable[Concatenate[Given, Truth, P], V]:
        def function(
            outputs: Given, targets: Truth, *args: P.args, **options: P.kwargs
        ) -> V:
            declaration = metric(*args, **options)
            counter = declaration.counter
            batch = counter.batch(outputs, targets, None)  # type: ignore[arg-type]
            (counts,) = fetch([counter.whole(batch)])
            counter.check(counts)
            return cast("V", declaration.reported(counts))

        update_wrapper(function, stub)
        own, theirs = signature(stub), signature(metric)
        parameters = [*own.parameters.values(), *theirs.parameters.values()]
        # What help and editors show, which no decorator can write into a `def`.
        vars(function)["__signature__"] = own.replace(parameters=parameters)
        return cast("Callable[Concatenate[Given, Truth, P], V]", function)

    return declared
