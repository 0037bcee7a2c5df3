"""Optional packages: imported where they are used, or an error that installs them."""

from importlib import import_module
from typing import Any, NamedTuple


class _Need(NamedTuple):
    """Who needs which modules, and what brings them.

    Attributes:
        sentence: Who needs what.
        modules: The last one is used; those before it are imported by that one, later.
        package: What pip installs where no extra of this package does.
    """

    sentence: str
    modules: tuple[str, ...]
    package: str = ""


# By extra of this package, or by package where no extra holds it.
_NEEDS = {
    "completion": _Need("completion of commands needs shtab", ("shtab",)),
    "detection": _Need(
        "mean average precision needs torchmetrics and pycocotools",
        ("pycocotools", "torchmetrics.detection"),
    ),
    "huggingface_hub": _Need(
        "a model card needs huggingface_hub",
        ("huggingface_hub",),
        package="huggingface_hub",
    ),
    "ignite": _Need(
        "as_ignite needs ignite", ("ignite.metrics",), package="pytorch-ignite"
    ),
    "keras": _Need("zoo.keras needs Keras 3", ("keras",)),
    "mlflow": _Need("a tracker of MLflow needs mlflow", ("mlflow",), package="mlflow"),
    "parquet": _Need("Parquet needs pandas and pyarrow", ("pyarrow", "pandas")),
    "pandas": _Need("to_pandas needs pandas", ("pandas",)),
    "plot": _Need("pictures need matplotlib", ("matplotlib.pyplot",)),
    "progress": _Need("a progress bar needs tqdm", ("tqdm.auto",)),
    "ray": _Need("RayExecutor needs Ray", ("ray",)),
    "sentence-transformers": _Need(
        "zoo.sentence_transformers needs sentence-transformers",
        ("sentence_transformers",),
    ),
    "submitit": _Need("SubmititExecutor needs submitit", ("submitit.core.utils",)),
    "text": _Need("BLEU needs sacrebleu", ("sacrebleu",)),
    "timm": _Need("zoo.timm needs timm", ("timm",)),
    "torchmetrics": _Need(
        "as_torchmetrics needs torchmetrics", ("torchmetrics",), package="torchmetrics"
    ),
    "transformers": _Need("zoo.transformers needs transformers", ("transformers",)),
    "trackio": _Need(
        "a tracker of trackio needs trackio", ("trackio",), package="trackio"
    ),
    "wandb": _Need("a tracker of W&B needs wandb", ("wandb",), package="wandb"),
    "weights": _Need("kept weights need safetensors", ("safetensors.torch",)),
    "workers": _Need("workers and executors need cloudpickle", ("cloudpickle",)),
}


def needs(name: str) -> Any:
    """The module that an optional package gives.

    Args:
        name: An extra of this package, such as "plot".

    Raises:
        ImportError: It is not installed; says who needs it and the line that installs it.

    >>> needs("plot").__name__
    'matplotlib.pyplot'
    """
    sentence, modules, package = _NEEDS[name]
    try:
        return [import_module(module) for module in modules][-1]
    except ImportError as error:
        line = package or f'"pretrain-eval[{name}]"'
        raise ImportError(f"{sentence}: pip install {line}") from error
