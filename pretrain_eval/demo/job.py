"""The main job: which pretrained model should I use for my few labelled examples?

Decides between networks that were really pretrained, on real data, by three questions:
two in which pretraining matters, one in which it need not. Each seed draws the labelled
examples too. Only the public interface is used, so that it reads as an example.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path

import threadpoolctl
import torch

from pretrain_eval import demo
from pretrain_eval.demo import report, small
from pretrain_eval.demo.questions import questions


def run(
    folder: Path, num_seeds: int | None, *, progress: bool, full: bool = False
) -> None:
    """Ask every question, and save what was found.

    Args:
        folder: Where results are kept, and found by the next call.
        num_seeds: Runs of each cell, each on labelled examples of its own; None: as
            many as the question asks for.
        progress: Whether to show it.
        full: Whether to tune whole networks on images too.
    """
    # Unless the user says how many, one for each of two cores; and one for what
    # scikit-learn fits, which is too small to be shared.
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 2)))
    threadpoolctl.threadpool_limits(1, user_api="blas")
    answers = []
    for question in questions(full=full):
        print(f"\n== {question.text}\n{question.setting}", flush=True)
        runs = demo.sweep_draws(
            question.candidates(),
            question.tasks,
            question.strategies,
            range(num_seeds or question.num_seeds),
            store=folder / "runs.db",
            progress=progress,
        )
        answers.append(report.answer(question, runs))
        print(f"\n{answers[-1].text}", flush=True)
    if lacking := demo.missing("clothes"):
        print(f"\nOptional, {', '.join(lacking)}: {demo.install_line('clothes')}")
    print(f"\nSaved in {folder}: {', '.join(report.save(answers, folder))}, runs.db")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job; the exit status is 130 where it was interrupted."""
    parser = argparse.ArgumentParser(
        prog="pretrain-eval demo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("pretrain_eval_results"),
        help="where results are kept, and found by the next call",
    )
    parser.add_argument("--seeds", type=_count, help="runs of each cell; else 3 or 4")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.add_argument(
        "--small",
        action="store_true",
        help="small networks that are pretrained here; needs no further package",
    )
    parser.add_argument(
        "--full",
        action="store_true",
        help="tune the whole networks on images too; a third longer",
    )
    options = parser.parse_args(arguments)
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    lacking = [] if options.small else demo.missing()
    if lacking:
        print(
            f"Not installed: {', '.join(lacking)}. To decide between models that were"
            f" really pretrained:\n    {demo.install_line()}\nThe small job instead:\n"
        )
    progress = not options.quiet
    try:
        if options.small or lacking:
            small.run(folder, options.seeds or 3, progress=progress)
        else:
            run(folder, options.seeds, progress=progress, full=options.full)
    except KeyboardInterrupt:
        print(f"\nStopped; what is done is kept in {folder}. The same call goes on.")
        return 130
    print(f"Done in {time.perf_counter() - start:.0f} s.")
    return 0


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(
            f"expects an integer of at least 1, got {text}"
        )
    return number
