"""One process of a distributed training, and what its step metrics measure."""

import torch
from steps_truth import Truth, collection
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

import pretrain_eval as pe

# On CPUs, which torch before 2.9 cannot shard: it fails or forgets to divide gradients.
SHARDS = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 9)
SHARDED = ["all sharded", "plain beside", "second mesh", "replicated"]

OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.1),
}


class Net(nn.Module):
    """Weights whose rows no number of processes divides, some fewer than processes."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Linear(4, 7)
        self.head = nn.Linear(7, 1)
        self.scale = nn.Parameter(torch.tensor([1.5, 0.5, 1.0, 2.0, 0.25]))

    def forward(self, inputs):
        """A number a sample, times a number that depends on `scale`."""
        scale = self.scale
        if isinstance(scale, DTensor):
            scale = scale.full_tensor()
        return self.head(self.body(inputs).relu()) * scale.square().sum()


def sharded(kind, world):
    """The network spread over the processes in one of several ways."""
    model = Net()
    mesh = init_device_mesh("cpu", (world,))
    if kind == "ddp":
        return nn.parallel.DistributedDataParallel(model)
    if kind == "second mesh":
        other = init_device_mesh("cpu", (1, world), mesh_dim_names=("all", "some"))
        placements = [Replicate(), Shard(0)]
        tensor = distribute_tensor(model.scale.detach(), other, placements)
        model.scale = nn.Parameter(tensor)
    if kind == "replicated":
        tensor = distribute_tensor(model.scale.detach(), mesh, [Replicate()])
        model.scale = nn.Parameter(tensor)
    if kind == "all sharded":
        return fully_shard(model, mesh=mesh)
    # `scale` stays beside, as a plain parameter where the kind did not change it.
    fully_shard(model.body, mesh=mesh)
    fully_shard(model.head, mesh=mesh)
    return model


def train(model, optimizer, before=None, after=None):
    """Three steps on the same batches in every process."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        inputs = torch.randn(6, 4, generator=generator)
        optimizer.zero_grad()
        model(inputs).square().mean().backward()
        if before:
            before()
        optimizer.step()
        if after:
            after()


def truth(optimizer):
    """What one process alone measures, by its own clones."""
    model, measured = Net(), Truth()
    parameters = list(model.parameters())
    train(
        model,
        OPTIMIZERS[optimizer](parameters),
        lambda: measured.before(parameters),
        lambda: measured.after(parameters),
    )
    return measured.table


def gathered(model):
    """Copies of all whole parameters with their whole gradients."""
    copies = []
    for parameter in model.parameters():
        copies.append(nn.Parameter(full(parameter)))
        copies[-1].grad = full(parameter.grad)
    return copies


def full(tensor):
    """The whole of a tensor that lies in shards."""
    tensor = tensor.detach()
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).clone()


def measured(kind, optimizer, world):
    """The history, the parts' last values and the collectives a step."""
    model = sharded(kind, world)
    metrics = collection()
    parts = pe.GradNorm(per="parameter", statistic="last")
    stepper = OPTIMIZERS[optimizer](model.parameters())
    counts = []
    original = distributed.all_reduce

    def counting(*args, **kwargs):
        counts[-1] += 1
        return original(*args, **kwargs)

    whole = Truth()

    def before():
        counts.append(0)
        whole.before(gathered(model))

    together = pe.MetricCollection(*(metrics[key] for key in metrics), parts=parts)
    distributed.all_reduce = counting
    with together.attach(stepper, model):
        train(model, stepper, before, lambda: whole.after(gathered(model)))
    distributed.all_reduce = original
    # Other processes may be far away by now: computing must not wait for them.
    values = together.compute() if distributed.get_rank() == 0 else {}
    return {
        "history": together.history,
        "truth": whole.table,
        "values": values,
        "collectives": counts,
    }


def everything(rank, world):
    """What every kind measures with every optimizer, and one process alone."""
    kinds = ["ddp", *(SHARDED if SHARDS else ())]
    results = {
        f"{kind}, {optimizer}": measured(kind, optimizer, world)
        for kind in kinds
        for optimizer in OPTIMIZERS
    }
    return results | {optimizer: truth(optimizer) for optimizer in OPTIMIZERS}
