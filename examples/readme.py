"""The picture and the decision that README shows, from runs that were really made.

`tests/benchmarks/real_table.jsonl` holds 2,425 fine-tunings of pretrained models; these
are its text encoders on four domains of sentiment, ten seeds, the head alone.

    python examples/readme.py docs/readme.png
"""

import json
import sys
from pathlib import Path

import pretrain_eval as pe

TABLE = Path(__file__).parent.parent / "tests" / "benchmarks" / "real_table.jsonl"
DOMAINS = ("movies", "tweets", "products", "editorials")


def runs() -> pe.Runs:
    """What README decides about."""
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    found = pe.Runs(pe.Run.from_dict(json.loads(line)) for line in lines)
    return pe.Runs(
        run
        for run in found.filter(strategy="frozen")
        if run.task in DOMAINS and run.dataset == "40 per class"
    )


def main() -> None:
    """Print the decision; draw it where a file is named."""
    # Two points of accuracy do not matter here.
    comparison = pe.compare(runs(), pe.PersistenceEvaluator(rope=0.02))
    print(comparison)
    if len(sys.argv) > 1:
        from matplotlib.figure import Figure  # an extra, which a picture needs

        ax = pe.plot.scores(comparison)
        figure = ax.figure
        assert isinstance(figure, Figure)  # and no part of one
        figure.savefig(sys.argv[1], dpi=110)


if __name__ == "__main__":
    main()
