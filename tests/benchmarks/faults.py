"""Faults, injected at random: what was tried, what survived and what was lost.

`python tests/benchmarks/faults.py` kills processes and workers, at random and while they
make a store, write features or a checkpoint; damages stores, takes one away while it is
swept, lets processes of two machines share one while clocks jump, and fills its disk. It
ends with 1 where anything was lost. Needs `os.fork`; the numbers of each kind are
options, and what the machine cannot do is skipped with a reason.
"""

import argparse
import sys
import time

import torch
from grounds import damages, full_disks, machines, moves, sharing
from killing import aimed, feature_kills, kills, worker_kills
from tally import HEADER


def main() -> None:
    """Inject all faults and print what they have cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--aimed", type=int, default=25, help="at each of four moments")
    parser.add_argument("--worker-kills", type=int, default=60)
    parser.add_argument("--feature-kills", type=int, default=40)
    parser.add_argument("--damages", type=int, default=1000)
    parser.add_argument("--moves", type=int, default=20)
    parser.add_argument("--shares", type=int, default=5)
    parser.add_argument("--machines", type=int, default=10)
    parser.add_argument("--full-disks", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=100)
    options = parser.parse_args()
    torch.set_num_threads(1)
    seeds, start = options.seeds, time.monotonic()
    print(HEADER)
    tried = lost = 0
    for tallies in (
        kills(options.kills, seeds),
        aimed(options.aimed),
        worker_kills(options.worker_kills, seeds),
        feature_kills(options.feature_kills),
        damages(options.damages),
        moves(options.moves, seeds),
        sharing(options.shares, seeds),
        machines(options.machines, seeds),
        full_disks(options.full_disks, seeds),
    ):
        for tally in tallies:
            print(tally, flush=True)
            tried += tally.tried
            lost += sum(tally.costs.values())
    took = time.monotonic() - start
    print(f"{tried} faults in {took:.0f} s, of which {lost} cost anything")
    sys.exit(lost > 0)


if __name__ == "__main__":
    main()
