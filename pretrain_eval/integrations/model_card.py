"""Runs in the metadata of a model card, as the Hub of Hugging Face shows them.

from pretrain_eval.integrations import model_card
text = model_card.card(runs.filter(model="resnet18"), text=comparison.to_markdown())
Path("README.md").write_text(text)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from pretrain_eval._optional import needs
from pretrain_eval._runs import Run

if TYPE_CHECKING:
    from huggingface_hub import EvalResult


def eval_results(
    runs: Iterable[Run], *, task_types: Mapping[str, str] | None = None
) -> list[EvalResult]:
    """The scores of one model, each the mean over the seeds that completed.

    One a task, dataset, strategy and metric, in the order of the runs; the strategy and
    the number of seeds stand in `metric_config` and `metric_args`.

    Args:
        runs: Of one model.
        task_types: By the name of a task, what the Hub calls its kind, such as
            "image-classification"; by default the name itself.

    Raises:
        ImportError: huggingface_hub is not installed.
        ValueError: No run completed, or the runs are of several models.
    """
    hub, scores = needs("huggingface_hub"), dict[tuple[str, ...], list[float]]()
    for run in _of_one_model(runs):
        for key, value in run.scores.items():
            names = (run.task, run.dataset, run.strategy, key)
            scores.setdefault(names, []).append(value)
    types = task_types or {}
    return [
        hub.EvalResult(
            task_type=types.get(task, task),
            task_name=task,
            dataset_type=dataset,
            dataset_name=dataset,
            metric_type=key,
            metric_name=f"{key}, {strategy}",
            metric_value=float(np.mean(values)),
            metric_config=strategy,
            metric_args={"num_seeds": len(values)},
        )
        for (task, dataset, strategy, key), values in scores.items()
    ]


def card(
    runs: Iterable[Run],
    *,
    text: str = "",
    task_types: Mapping[str, str] | None = None,
) -> str:
    """A model card: the results as metadata, and below them a section of text.

    `huggingface_hub.ModelCard(card(...))` reads it, and other metadata may be added to
    its `data`.

    Args:
        runs: Of one model.
        text: What stands below the heading, such as `comparison.to_markdown()`.
        task_types: As `eval_results` takes it.

    Raises:
        ImportError: huggingface_hub is not installed.
        ValueError: As `eval_results`.
    """
    found = _of_one_model(runs)
    results = eval_results(found, task_types=task_types)
    metadata = needs("huggingface_hub").ModelCardData(
        model_name=found[0].model, eval_results=results
    )
    section = f"\n## Evaluation\n\n{text.strip()}\n" if text.strip() else ""
    return f"---\n{metadata.to_yaml().strip()}\n---\n{section}"


def _of_one_model(runs: Iterable[Run]) -> list[Run]:
    every = list(runs)
    models = sorted({run.model for run in every})
    if len(models) != 1:
        raise ValueError(
            f"a model card is about the runs of one model, got {models};"
            " runs.filter(model=...) keeps those of one"
        )
    completed = [run for run in every if run.status == "completed" and run.scores]
    if not completed:
        raise ValueError(f"no run of {models[0]} has completed with a score")
    return completed
