"""Runs the examples of docs/cluster.md as they are written and compares their scores.

Examples of packages that are not installed, or of devices that are not there, are named
and left out.
"""

import os
import re
import tempfile
import time
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "cluster.md"


def main() -> None:
    """Each example, in a folder of its own."""
    text = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"^```py(?:thon)?\n(.*?)^```", text, re.M | re.S)
    given: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(blocks[0], str(PAGE), "exec"), given)
    expected: list[Any] = []
    for block in blocks[1:]:
        if "sweep(" not in block:
            continue
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            start = time.perf_counter()
            title = block.strip().splitlines()[-1].strip()
            try:
                exec(compile(block, str(PAGE), "exec"), given)
            except (ImportError, ValueError) as error:
                print(f"left out: {title}: {error}", flush=True)
                continue
            finally:
                os.chdir("/")
            seconds = time.perf_counter() - start
        scores = [(run.name, run.status, dict(run.scores)) for run in given["runs"]]
        expected = expected or scores
        print(f"{seconds:5.1f} s, equal {scores == expected}: {title}", flush=True)


if __name__ == "__main__":
    main()
