"""What step metrics cost on small networks, beside what a loop does by hand.

`python tests/benchmarks/small_steps.py` prints, in turns and as medians, the
microseconds of a training step without metrics and those that each way adds: torch's
clipping, Lightning's `grad_norm`, a loop that takes both norms with `.item()`, and ours.
"""

import statistics
import time

import torch
import torchvision
from torch import nn

import pretrain_eval as pe

WAYS = (
    "nothing",
    "clip_grad_norm_",
    "Lightning's grad_norm",
    "by hand",
    "GradNorm",
    "+ UpdateRatio",
    "+ Accuracy",
    "both, every=10",
)


def mlp():
    """32-64-64-10, and a batch of 32."""
    torch.manual_seed(0)
    layers = nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU()
    inputs, targets = torch.randn(32, 32), torch.randint(10, (32,))
    return nn.Sequential(*layers, nn.Linear(64, 10)), inputs, targets


def vit_tiny():
    """152 tensors, 5.5 million parameters, and 16 images of 64 pixels."""
    torch.manual_seed(0)
    model = torchvision.models.VisionTransformer(
        image_size=64, patch_size=16, num_layers=12, num_heads=3, hidden_dim=192,
        mlp_dim=768, num_classes=10,
    )  # fmt: skip
    return model, torch.randn(16, 3, 64, 64), torch.randint(10, (16,))


def by_hand(parameters, optimizer):
    """A step with both norms taken one parameter after the other."""
    gradient = sum(p.grad.norm().item() ** 2 for p in parameters) ** 0.5
    before = [p.detach().clone() for p in parameters]
    optimizer.step()
    pairs = list(zip(parameters, before, strict=True))
    update = sum((p - q).detach().norm().item() ** 2 for p, q in pairs) ** 0.5
    size = sum(q.norm().item() ** 2 for q in before) ** 0.5
    return gradient, update / size


def lightning(model, optimizer):
    """`lightning.pytorch.utilities.grad_norm`, as it stands there."""
    norms = {
        f"grad_2_norm/{name}": p.grad.data.norm(2)
        for name, p in model.named_parameters()
        if p.grad is not None
    }
    total = torch.tensor(list(norms.values())).norm(2)
    optimizer.step()
    return total


class Training:
    """A network that is trained in one of the ways."""

    def __init__(self, network, make, way):
        self.model, self.inputs, self.targets = network()
        self.optimizer = make(self.model.parameters(), lr=1e-3)
        self.parameters = list(self.model.parameters())
        self.way, self.counts = way, way == "+ Accuracy"
        members = [pe.GradNorm()]
        if way != "GradNorm":
            members.append(pe.UpdateRatio())
        if self.counts:
            members.append(pe.Accuracy())
        if way[0] in "G+b" and way != "by hand":
            self.metrics = pe.MetricCollection(*members)
            every = 10 if way.endswith("10") else 1
            self.metrics.attach(self.optimizer, every=every)

    def run(self, steps):
        """Microseconds of a step."""
        start = time.perf_counter()
        for _ in range(steps):
            self.optimizer.zero_grad()
            outputs = self.model(self.inputs)
            nn.functional.cross_entropy(outputs, self.targets).backward()
            self._step()
            if self.counts:
                self.metrics.update(outputs.detach(), self.targets)
        return 1e6 * (time.perf_counter() - start) / steps

    def _step(self):
        if self.way == "by hand":
            by_hand(self.parameters, self.optimizer)
        elif self.way.startswith("Lightning"):
            lightning(self.model, self.optimizer)
        else:
            if self.way.startswith("clip"):
                nn.utils.clip_grad_norm_(self.parameters, 1e9)
            self.optimizer.step()


def table(title, network, makes, steps, rounds):
    """Print what each way adds."""
    print(f"\n{title}: µs a step, and what is added to it")
    print(f"  {'':24s}" + "".join(f"{name:>16s}" for name in makes))
    columns = {}
    for name, make in makes.items():
        trainings = {way: Training(network, make, way) for way in WAYS}
        times = {way: [] for way in WAYS}
        for _ in range(rounds):
            for way, training in trainings.items():
                times[way].append(training.run(steps))
        columns[name] = {way: statistics.median(taken) for way, taken in times.items()}
    for way in WAYS:
        cells = []
        for column in columns.values():
            bare = column["nothing"]
            added = column[way] - bare
            told = f"{bare:.0f}" if way == "nothing" else f"+{added:.0f}"
            share = "" if way == "nothing" else f" {100 * added / bare:5.1f} %"
            cells.append(f"{told + share:>16s}")
        print(f"  {way:24s}" + "".join(cells))
    ratios = [
        (column["+ UpdateRatio"] - column["nothing"])
        / (column["by hand"] - column["nothing"])
        for column in columns.values()
    ]
    cells = "".join(f"{ratio:16.2f}" for ratio in ratios)
    print(f"  {'both / by hand':24s}{cells}")


def fused(parameters, lr):
    """AdamW in one kernel."""
    return torch.optim.AdamW(parameters, lr=lr, fused=True)


def main(rounds=60):
    """Print both tables."""
    torch.set_num_threads(1)
    makes = {"AdamW": torch.optim.AdamW, "SGD": torch.optim.SGD, "AdamW, fused": fused}
    table("MLP 32-64-64-10, batch 32", mlp, makes, 40, rounds)
    makes = {"AdamW": torch.optim.AdamW}
    table("ViT-tiny, 16 images of 64 pixels", vit_tiny, makes, 1, max(5, rounds // 4))


if __name__ == "__main__":
    main()
