"""What step metrics cost on a network of three small layers, beside a loop by hand.

`python tests/benchmarks/small_steps.py` prints, in turns and as medians, the
microseconds of a step without metrics, and those that are added by a loop that takes
each norm with `.item()`, by `GradNorm` and `UpdateRatio`, and by these in every tenth
step.
"""

import statistics
import time

import torch
from torch import nn

import pretrain_eval as pe

INPUTS = torch.randn(32, 32, generator=torch.Generator().manual_seed(0))
TARGETS = torch.arange(32) % 10
STEPS, ROUNDS = 300, 7


def network():
    """32-64-64-10."""
    torch.manual_seed(0)
    layers = nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU()
    return nn.Sequential(*layers, nn.Linear(64, 10))


def by_hand(model, optimizer):
    """A step with both norms taken one parameter after the other."""
    parameters = list(model.parameters())
    gradient = sum(p.grad.norm().item() ** 2 for p in parameters) ** 0.5
    before = [p.detach().clone() for p in parameters]
    optimizer.step()
    pairs = list(zip(parameters, before, strict=True))
    update = sum((p - q).detach().norm().item() ** 2 for p, q in pairs) ** 0.5
    size = sum(q.norm().item() ** 2 for q in before) ** 0.5
    return gradient, update / size


def microseconds(make, kind):
    """Of one step."""
    model = network()
    optimizer = make(model.parameters(), lr=1e-3)
    metrics = pe.MetricCollection(pe.GradNorm(), pe.UpdateRatio())
    every = {"ours": 1, "every tenth": 10}.get(kind)
    handle = metrics.attach(optimizer, every=every) if every else None
    start = time.perf_counter()
    for _ in range(STEPS):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(INPUTS), TARGETS).backward()
        if kind == "by hand":
            by_hand(model, optimizer)
        else:
            optimizer.step()
    seconds = time.perf_counter() - start
    if handle:
        handle.close()
    return 1e6 * seconds / STEPS


def main():
    """Print a line an optimizer."""
    torch.set_num_threads(1)
    kinds = ("nothing", "by hand", "ours", "every tenth")
    for make in (torch.optim.AdamW, torch.optim.SGD):
        times = {kind: [] for kind in kinds}
        for _ in range(ROUNDS):
            for kind, taken in times.items():
                taken.append(microseconds(make, kind))
        bare, *rest = (statistics.median(taken) for taken in times.values())
        added = [value - bare for value in rest]
        words = ", ".join(
            f"{kind} +{value:.0f}" for kind, value in zip(kinds[1:], added, strict=True)
        )
        print(
            f"{make.__name__}: a step {bare:.0f} µs; {words};"
            f" ours / by hand {added[1] / added[0]:.2f}"
        )


if __name__ == "__main__":
    main()
