"""Cost and error of step metrics, beside torch's own operations and other formulas.

Run: python tests/benchmarks/steps.py [--threads 1] [--rounds 15] [--only ratios]
Everything is interleaved, so that a busy machine slows all alike; ratios are of the
fastest rounds.
"""

from __future__ import annotations

import argparse
import ctypes
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import small_steps
import torch
import torchvision
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import pretrain_eval as pe
from pretrain_eval import functional
from pretrain_eval._steps.snapshot import Room, Snapshot


def gpt2_shapes() -> list[tuple[int, ...]]:
    """GPT-2 small: 124 million parameters in 148 tensors."""
    width = 768
    block = [
        (width,), (width,), (3 * width, width), (3 * width,), (width, width), (width,),
        (width,), (width,), (4 * width, width), (4 * width,), (width, 4 * width), (width,),
    ]  # fmt: skip
    return [(50257, width), (1024, width), *(block * 12), (width,), (width,)]


def shapes_of(name: str) -> list[tuple[int, ...]]:
    """The shapes of a model's parameters."""
    if name == "GPT-2 small":
        return gpt2_shapes()
    return [tuple(p.shape) for p in torchvision.models.resnet18().parameters()]


def parameters_of(name: str) -> list[nn.Parameter]:
    """Parameters with gradients."""
    generator = torch.Generator().manual_seed(0)
    parameters = []
    for shape in shapes_of(name):
        values = torch.randn(shape, generator=generator) * 0.02
        parameters.append(nn.Parameter(values))
        parameters[-1].grad = torch.randn(shape, generator=generator) * 0.01
    return parameters


class Clock:
    """Times of several things, taken in turns."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {}

    def __call__(self, name: str, run: Callable[[], object]) -> None:
        """Run once and note the time."""
        start = time.perf_counter()
        run()
        self.times.setdefault(name, []).append(time.perf_counter() - start)

    def fastest(self, name: str) -> float:
        """Milliseconds of the fastest round."""
        return 1e3 * min(self.times[name])


def ratios(name: str, rounds: int) -> None:
    """The norms against torch's own operations on the same bytes."""
    parameters = parameters_of(name)
    gradients = [p.grad for p in parameters]
    weights = [p.detach() for p in parameters]
    copies = [weight.clone() for weight in weights]
    # Gradient read; weights read, copied and read again, copies read: five times.
    moved = torch.empty(5 * sum(w.numel() for w in weights) // 2)
    target = torch.empty_like(moved)
    optimizer = torch.optim.AdamW(parameters, fused=True)
    clock, room = Clock(), Room()
    for _ in range(rounds + 1):
        clock("copy of the bytes that move", lambda: target.copy_(moved))
        clock("copy of the weights", lambda: torch._foreach_copy_(copies, weights))
        clock("get_total_norm", lambda: nn.utils.get_total_norm(gradients))
        clock("gradient norm", lambda: functional.norm(gradients))
        held: list[Snapshot] = []
        clock("snapshot", lambda held=held: held.append(Snapshot(weights, room)))
        clock("AdamW, fused", optimizer.step)
        clock("update", lambda held=held: held[0].compare(weights, sizes=False))
        clock("update and weights", lambda held=held: held[0].compare(weights))
        held.clear()
    ms = {key: clock.fastest(key) for key in clock.times}
    update = ms["snapshot"] + ms["update"]
    everything = ms["gradient norm"] + ms["snapshot"] + ms["update and weights"]
    print(f"\n{name}, {torch.get_num_threads()} threads; milliseconds, fastest round")
    for key, value in ms.items():
        print(f"  {key:30s} {value:8.2f}")
    print(
        f"  gradient norm / get_total_norm            {ms['gradient norm'] / ms['get_total_norm']:.2f}"
    )
    print(
        f"  update norm / AdamW                       {update / ms['AdamW, fused']:.2f}"
    )
    print(
        f"  all norms / AdamW                         {everything / ms['AdamW, fused']:.2f}"
    )
    print(
        f"  all norms / copy of the bytes that move   {everything / ms['copy of the bytes that move']:.2f}"
    )


# The formulas of others, as their documentation and code have them in 2026.


def composer(parameters: list[nn.Parameter], optimizer: torch.optim.Optimizer) -> dict:
    """Composer's OptimizerMonitor: the update from Adam's state, a norm a tensor."""
    group = optimizer.param_groups[0]
    (beta1, beta2), lr, eps = group["betas"], group["lr"], group["eps"]
    gradient = moment = 0.0
    for parameter in parameters:
        gradient += torch.linalg.vector_norm(parameter.grad).item() ** 2
        state = optimizer.state.get(parameter)
        if state:
            t = float(state["step"])
            denominator = (state["exp_avg_sq"] / (1 - beta2**t)).sqrt().add_(eps)
            step = state["exp_avg"] / (1 - beta1**t) / denominator * lr
            moment += torch.linalg.vector_norm(step).item() ** 2
    return {"grad_norm": gradient**0.5, "update_norm": moment**0.5}


def lightning(parameters: list[nn.Parameter], _: torch.optim.Optimizer) -> dict:
    """Lightning's `grad_norm`: a norm a tensor, each fetched."""
    norms = torch.tensor([parameter.grad.norm(2).item() for parameter in parameters])
    return {"grad_norm": norms.norm(2).item()}


class Cockpit:
    """Cockpit's update size: weights copied before and after, each fetched."""

    def __init__(self) -> None:
        self.before: list[torch.Tensor] = []

    def __call__(
        self, parameters: list[nn.Parameter], _: torch.optim.Optimizer
    ) -> dict:
        """Gradient norm and update size of one step."""
        after = [parameter.data.clone() for parameter in parameters]
        update = sum(
            (new - old).norm(2).item() ** 2
            for old, new in zip(self.before or after, after, strict=True)
        )
        self.before = after
        gradient = sum(p.grad.norm(2).item() ** 2 for p in parameters)
        return {"grad_norm": gradient**0.5, "update_norm": update**0.5}


def proxy(parameters: list[nn.Parameter], optimizer: torch.optim.Optimizer) -> dict:
    """The source document's formulas: total norm, and lr·‖g‖ for the update."""
    total = sum(parameter.grad.norm().item() ** 2 for parameter in parameters) ** 0.5
    return {"grad_norm": total, "update_norm": optimizer.param_groups[0]["lr"] * total}


class Syncs(TorchDispatchMode):
    """Counts the scalars that are fetched from the device."""

    count = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        """Run the operation."""
        self.count += operation.name().startswith("aten::_local_scalar_dense")
        return operation(*args, **(kwargs or {}))


def ours(
    parameters: list[nn.Parameter], optimizer: torch.optim.Optimizer
) -> Callable[..., dict]:
    """Our two norms, attached."""
    metrics = pe.MetricCollection(pe.GradNorm(), pe.UpdateNorm())
    handle = metrics.attach(optimizer)

    def formula(*_: object) -> dict:
        kept = handle._plans.room._kept.values()
        formula.before = [copy for copies in kept for copy in copies]
        return {key: values[-1] for key, values in metrics.history.items()}

    return formula


class Training:
    """Parameters under AdamW, and what one formula says of each step."""

    def __init__(self, formula: Callable[..., dict] | None) -> None:
        self.parameters = parameters_of("ResNet-18")
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=1e-3, weight_decay=0.1, fused=True
        )
        if formula is ours:
            formula = ours(self.parameters, self.optimizer)
        self._formula = formula
        self.got: dict = {}

    def step(self) -> None:
        """One step and its numbers."""
        self.optimizer.step()
        if self._formula:
            self.got = self._formula(self.parameters, self.optimizer)

    def errors(self) -> list[float | None]:
        """Of the numbers of one step, against float64 clones."""
        before = torch.cat([p.detach().double().flatten() for p in self.parameters])
        self.step()
        after = torch.cat([p.detach().double().flatten() for p in self.parameters])
        gradient = torch.cat([p.grad.double().flatten() for p in self.parameters])
        truth = {"grad_norm": gradient.norm(), "update_norm": (after - before).norm()}
        return [
            abs(self.got[key] - float(true)) / float(true) if key in self.got else None
            for key, true in truth.items()
        ]

    def fetches(self) -> int:
        """Scalars that a step waits for."""
        with Syncs() as syncs:
            self.step()
        return syncs.count

    def memory(self) -> float:
        """What a formula keeps and a step adds to it, in sizes of the parameters."""
        kept = sum(tensor.nbytes for tensor in getattr(self._formula, "before", ()))
        ctypes.CDLL(None).malloc_trim(0)  # what is free goes back to the system
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = resident("VmRSS")
        self.step()
        size = sum(p.numel() * p.element_size() for p in self.parameters)
        return (kept + resident("VmHWM") - before) / size


def resident(what: str) -> int:
    """Bytes of the process's memory, now (VmRSS) or at most (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    line = next(line for line in lines if line.startswith(what))
    return int(line.split()[1]) * 1024


def others(rounds: int) -> None:
    """Error, fetches, time and memory of a step of ResNet-18 under AdamW."""
    trainings = {
        "no formula": Training(None), "ours": Training(ours),
        "Composer": Training(composer), "Lightning": Training(lightning),
        "Cockpit": Training(Cockpit()), "lr times g": Training(proxy),
    }  # fmt: skip
    clock = Clock()
    for _ in range(max(5, rounds)):
        for name, training in trainings.items():
            clock(name, training.step)
    print("\nResNet-18, AdamW lr 1e-3 and weight decay 0.1; a formula more than none")
    print(
        f"  {'':12s}{'gradient':>10s}{'update':>10s}{'fetches':>9s}{'ms':>8s}{'memory':>8s}"
    )
    bare = clock.fastest("no formula")
    for name, training in trainings.items():
        if name == "no formula":
            continue
        cells = ["–" if e is None else f"{e:.0e}" for e in training.errors()]
        print(
            f"  {name:12s}{cells[0]:>10s}{cells[1]:>10s}{training.fetches():9d}"
            f"{clock.fastest(name) - bare:8.1f}{training.memory():8.2f}"
        )


def training(rounds: int) -> None:
    """A ResNet-18 training step on CIFAR-sized images, every tenth step measured."""
    torch.manual_seed(0)
    model = torchvision.models.resnet18(num_classes=10)
    model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    model.maxpool = nn.Identity()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    inputs, targets = torch.randn(64, 3, 32, 32), torch.randint(10, (64,))
    metrics = pe.MetricCollection(pe.GradNorm(), pe.UpdateRatio())
    steps, measured, idle = [], [], []

    def step() -> float:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        start = time.perf_counter()
        optimizer.step()
        return time.perf_counter() - start

    for _ in range(max(3, rounds // 3)):
        start = time.perf_counter()
        bare = step()
        steps.append(time.perf_counter() - start)
        with metrics.attach(optimizer, every=10):
            measured.append(step() - bare)
            idle.append(step() - bare)
    cost = max(0.0, statistics.median(measured)) + 9 * max(0.0, statistics.median(idle))
    share = cost / 10 / statistics.median(steps)
    print(f"\nResNet-18 on 64 CIFAR images: a step takes {1e3 * min(steps):.0f} ms;")
    print(f"  measured every 10 steps: {100 * share:.2f} % of it")


PEAK = """
import sys, torch, torchvision
import pretrain_eval as pe
torch.manual_seed(0)
torch.set_num_threads(1)
kind, every = sys.argv[1], int(sys.argv[2])
class GPT2(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.places = (torch.nn.Embedding(n, 768) for n in (50257, 1024))
        layer = torch.nn.TransformerEncoderLayer(
            768, 12, 3072, 0.0, "gelu", batch_first=True, norm_first=True)
        self.blocks = torch.nn.TransformerEncoder(
            layer, 12, torch.nn.LayerNorm(768), enable_nested_tensor=False)
    def forward(self, words):
        hidden = self.words(words) + self.places(torch.arange(words.shape[1]))
        return self.blocks(hidden) @ self.words.weight.T
if kind == "weights":
    model, inputs = GPT2(), torch.randint(50257, (1, 16))
else:
    model = torchvision.models.resnet18(num_classes=10)
    model.maxpool = torch.nn.Identity()
    inputs = torch.randn(32, 3, 64, 64)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
metrics = pe.MetricCollection(pe.GradNorm(), pe.UpdateRatio())
handle = metrics.attach(optimizer, every=every) if every else None
for _ in range(3):
    optimizer.zero_grad()
    model(inputs).square().mean().backward()
    optimizer.step()
size = sum(p.numel() * p.element_size() for p in model.parameters())
with open("/proc/self/status") as status:  # since the process began, unlike ru_maxrss
    peak = next(line for line in status if line.startswith("VmHWM")).split()[1]
print(int(peak) * 1024, size)
"""


def memory() -> None:
    """The process's peak, with and without metrics, in units of the parameters."""
    print("\npeak memory above a run without metrics, in sizes of the parameters;")
    print("  medians of five processes, which differ by an allocator's luck")
    names = {"weights": "GPT-2 small, 16 words", "activations": "ResNet-18, 32 images"}
    for kind, name in names.items():
        peaks = {}
        for every in (0, 1, 2):
            command = [sys.executable, "-c", PEAK, kind, str(every)]
            outputs = [
                subprocess.run(command, capture_output=True, text=True, check=True)
                for _ in range(5)
            ]
            found = [tuple(map(int, each.stdout.split())) for each in outputs]
            size = found[0][1]
            peaks[every] = statistics.median(peak for peak, _ in found)
        for every in (1, 2):
            added = (peaks[every] - peaks[0]) / size
            share = 100 * (peaks[every] - peaks[0]) / peaks[0]
            print(f"  {name}, every={every}: {added:+.2f} ({share:+.1f} % of the peak)")


def main() -> None:
    """Print every table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=15)
    tables = ("ratios", "small", "others", "training", "memory")
    parser.add_argument("--only", choices=tables)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    chosen = [arguments.only] if arguments.only else tables
    if "ratios" in chosen:
        ratios("ResNet-18", arguments.rounds)
        ratios("GPT-2 small", max(3, arguments.rounds // 3))
    if "small" in chosen:
        small_steps.main(4 * arguments.rounds)
    if "others" in chosen:
        others(arguments.rounds)
    if "training" in chosen:
        training(arguments.rounds)
    if "memory" in chosen:
        memory()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    main()
