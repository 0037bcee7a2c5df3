"""What `import pretrain_eval` adds to `import torch`, measured in turns.

`python tests/benchmarks/imports.py [turns]` starts fresh processes, one of each kind a
turn, and prints the processor time that the import adds as a share of torch's own, by
the medians and by the least times, which other work on the machine disturbs least.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

KINDS = {
    "nothing": "pass",
    "torch": "import torch",
    "pretrain_eval": "import pretrain_eval",
    "a worker's part": "import pretrain_eval._sweep.workers",
}


def seconds(code: str) -> float:
    """Processor time of a fresh process that runs the code."""
    before = os.times()
    subprocess.run([sys.executable, "-c", code], check=True)
    after = os.times()
    user = after.children_user - before.children_user
    return user + after.children_system - before.children_system


def main() -> None:
    """Measure in turns and print the shares."""
    turns = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    for code in KINDS.values():
        seconds(code)  # the files are read and compiled
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(turns):
        for kind, code in KINDS.items():
            times[kind].append(seconds(code))
    for name, middle in (("median", statistics.median), ("least", min)):
        of = {kind: middle(each) for kind, each in times.items()}
        torch = of["torch"] - of["nothing"]
        added = of["pretrain_eval"] - of["torch"]
        worker = of["a worker's part"] - of["torch"]
        print(
            f"{name}: torch {torch:.2f} s; pretrain_eval adds {added / torch:.2f},"
            f" and a worker {worker / torch:.2f} of that"
        )


if __name__ == "__main__":
    main()
