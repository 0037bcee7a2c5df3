"""Processes that compute together, forked from one that has imported torch once."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed

FORKS = "forkserver" in multiprocessing.get_all_start_methods()
CONTEXT = multiprocessing.get_context("forkserver" if FORKS else "spawn")
if FORKS:
    # What takes seconds to import is imported before the first fork.
    CONTEXT.set_forkserver_preload(
        [
            "pytest",
            "pretrain_eval",
            "torch.distributed.fsdp",
            "torch.distributed.tensor",
        ]
    )


def together(member: Callable[[int, int], Any], world: int) -> list[Any]:
    """What `member(rank, world)` returns in each of `world` processes, by rank."""
    if not distributed.is_available():
        pytest.skip("this torch has no torch.distributed")
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(world, mp_context=CONTEXT) as pool,
    ):
        place = str(Path(folder, "meet"))
        ranks = [pool.submit(_met, member, rank, world, place) for rank in range(world)]
        # Who raises first is heard, not who then waits for it in vain.
        done, _ = wait(ranks, return_when=FIRST_EXCEPTION)
        for rank in done:
            rank.result()
        return [rank.result() for rank in ranks]


def _met(member: Callable[[int, int], Any], rank: int, world: int, place: str) -> Any:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{place}",
        rank=rank,
        world_size=world,
        timeout=timedelta(seconds=30),  # for those whose partner has raised
    )
    result = member(rank, world)
    distributed.barrier()
    # torch 2.6 ends a group without giving up the interpreter's lock, for which a thread
    # of the group may still wait; it has it while this one sleeps.
    time.sleep(0.2)
    distributed.destroy_process_group()
    return result
