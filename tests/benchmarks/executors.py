"""Runs the examples of docs/cluster.md as scripts and compares their runs.

Each example is written to a file of its own, below the page's first block, and started
in a folder of its own. Examples whose packages are not installed, or whose devices are
not there, are named and left out.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "cluster.md"
LEFT_OUT = ("ModuleNotFoundError", "devices that are there")
# Whoever reads the script again, as Dask and MPI do, must not write.
FOOTER = """
if __name__ == "__main__":
    import json, pathlib

    rows = [run.to_dict() for run in runs]
    for row in rows:
        del row["cost"]
    pathlib.Path("out.json").write_text(json.dumps(rows))
"""


def command(block: str, script: Path) -> list[str]:
    """How the page says that the example is started."""
    python = [sys.executable]
    if "mpi4py" in block:
        mpiexec = Path(sys.executable).with_name("mpiexec")
        program = str(mpiexec if mpiexec.exists() else "mpiexec")
        python = [program, "-n", "3", sys.executable, "-m", "mpi4py.futures"]
    return [*python, str(script)]


def ran(setup: str, block: str) -> tuple[str, Any]:
    """What went wrong, and the runs."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "script.py")
        script.write_text(f"{setup}\n{block}\n{FOOTER}", encoding="utf-8")
        done = subprocess.run(
            command(block, script),
            cwd=folder,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "OMP_NUM_THREADS": "1",
                # Three processes on two cores, perhaps in a container.
                "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
                "OMPI_ALLOW_RUN_AS_ROOT": "1",
                "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            return done.stderr.strip(), None
        return "", json.loads(Path(folder, "out.json").read_text())


def main() -> None:
    """Each example, in a process of its own."""
    text = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"^```py(?:thon)?\n(.*?)^```", text, re.M | re.S)
    setup, examples = blocks[0], [each for each in blocks[1:] if "sweep(" in each]
    expected, failed = None, False
    for block in examples:
        title = " ".join(re.search(r"pe\.sweep\(.*", block)[0].split())
        start = time.perf_counter()
        error, runs = ran(setup, block)
        seconds = time.perf_counter() - start
        if runs is None:
            known = any(each in error for each in LEFT_OUT)
            failed |= not known
            reason = error.splitlines()[-1] if known else error
            print(f"{'left out' if known else 'FAILED'}: {title}: {reason}", flush=True)
            continue
        expected = expected or runs
        failed |= runs != expected
        print(f"{seconds:5.1f} s, equal {runs == expected}: {title}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
