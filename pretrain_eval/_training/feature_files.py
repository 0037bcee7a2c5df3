"""Features of a frozen backbone in memory, or in files that processes map and share."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import re
import shutil
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

try:
    import fcntl
except ImportError:  # Windows: two processes may compute the same, and the last counts
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger("pretrain_eval")

# Inputs and targets, batch by batch.
Batches = Generator[tuple[Tensor, Tensor]]

# Features of fewer bytes stay in memory where no other process needs them.
LARGE = 2**30

_PIECE = 2**24
_COLUMNS = ("inputs", "targets")

# The names of all files that are written here; a partial one holds its process's number.
_OURS = re.compile(r"[0-9a-f]{32}\.(inputs|targets|json|lock)(\.[0-9]+\.partial)?")


@dataclass(frozen=True)
class Features:
    """What the head reads of each sample of one split.

    Attributes:
        inputs: As the backbone gives them, `(num_samples, ...)`.
        targets: `(num_samples, ...)`.
        seconds: What reading them took.
    """

    inputs: Tensor
    targets: Tensor
    seconds: float


def check_folder(folder: Path) -> None:
    """Refuse a folder for features that holds anything else.

    Raises:
        FileExistsError: It does, or is no folder.
    """
    if not folder.exists():
        return
    what = "is no folder" if not folder.is_dir() else ""
    if not what:
        foreign = sorted(
            f.name for f in folder.iterdir() if not _OURS.fullmatch(f.name)
        )
        what = f"holds {foreign[:3]}, {len(foreign)} in all," if foreign else ""
    if what:
        raise FileExistsError(
            f"{folder} is where a sweep keeps features, but {what} which no sweep has"
            " written; move it away, or name another store"
        )


def remove_folder(folder: Path) -> None:
    """Remove the features in a folder, and the folder where nothing else is in it."""
    with suppress(OSError):  # what cannot be removed is in nobody's way
        for file in folder.iterdir():
            if _OURS.fullmatch(file.name):
                file.unlink(missing_ok=True)
        folder.rmdir()


def in_memory(batches: Batches) -> Features:
    """The batches as one."""
    return _joined(batches, time.perf_counter())


def _joined(batches: Iterable[tuple[Tensor, Tensor]], start: float) -> Features:
    inputs, targets = map(torch.cat, zip(*batches, strict=True))
    return Features(inputs, targets, time.perf_counter() - start)


@dataclass(frozen=True)
class FeatureFiles:
    """Features of one model and dataset in files of a folder.

    A file is named by the content of model and samples and gets its name when it is
    whole. It is believed only where its checksum is right, and computed anew otherwise.

    Attributes:
        folder: Made when it is needed.
        content: Tells what the features are of.
        shared: Whether other processes need them too.
    """

    folder: Path
    content: str
    shared: bool

    def features(
        self,
        part: str,
        num_samples: int,
        device: torch.device,
        compute: Callable[[], Batches],
    ) -> Features:
        """Those of one split, from their files, or computed.

        Args:
            part: The split's name.
            num_samples: About how many it has.
            device: Where they are computed, and given.
            compute: Gives them.
        """
        # What may round in another way has files of its own.
        rounding = device.type, torch.get_num_threads(), str(torch.__version__)
        stem = self.folder / _checksum([self.content, part, *rounding])
        try:
            with self._alone(stem):
                features = _read(stem) or self._computed(stem, num_samples, compute)
        except OSError as error:
            log.warning("features stay in memory: %s", error)
            features = in_memory(compute())
        inputs, targets = features.inputs.to(device), features.targets.to(device)
        return Features(inputs, targets, features.seconds)

    @contextmanager
    def _alone(self, stem: Path) -> Iterator[None]:
        """Let others that need the same wait, and find it done."""
        if not self.shared:
            yield
            return
        self.folder.mkdir(exist_ok=True)
        with stem.with_suffix(".lock").open("w") as file:
            if fcntl is not None:
                # The system gives it up for a process that dies.
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _computed(
        self, stem: Path, num_samples: int, compute: Callable[[], Batches]
    ) -> Features:
        start = time.perf_counter()
        with closing(compute()) as batches:
            first = next(batches)
            size = sum(tensor.nbytes for tensor in first) * num_samples // len(first[0])
            batches_again = chain([first], batches)
            if not self.shared and size < LARGE:
                return _joined(batches_again, start)
            self.folder.mkdir(exist_ok=True)
            self._check_room(size)
            _write(stem, batches_again, start)
        features = _read(stem)
        if features is None:
            raise OSError(f"{stem}: what was just written cannot be read")
        return features

    def _check_room(self, size: int) -> None:
        free = shutil.disk_usage(self.folder).free
        if size > free // 2:  # the runs need room too
            raise OSError(
                f"{self.folder}: they need {size / 1e6:.0f} MB, the disk has"
                f" {free / 1e6:.0f} MB left"
            )


def _write(stem: Path, batches: Iterable[tuple[Tensor, Tensor]], start: float) -> None:
    """Write a file of each tensor, then the one that describes them."""
    with ExitStack() as stack:
        columns = [stack.enter_context(_Column(stem, name)) for name in _COLUMNS]
        for batch in batches:
            for column, tensor in zip(columns, batch, strict=True):
                column.add(tensor)
    record: dict[str, Any] = {column.name: column.keep() for column in columns}
    record["seconds"] = time.perf_counter() - start
    path = _partial(stem.with_suffix(".json"))
    path.write_text(json.dumps({"record": record, "checksum": _checksum(record)}))
    path.replace(stem.with_suffix(".json"))


def _read(stem: Path) -> Features | None:
    """The features, mapped into memory; None where they are not there or not whole."""
    path = stem.with_suffix(".json")
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text())
        record = content["record"]
        if content["checksum"] != _checksum(record):
            raise ValueError("its checksum is wrong")
        inputs, targets = (
            _mapped(_column(stem, name), **record[name]) for name in _COLUMNS
        )
    except (OSError, ValueError, TypeError, KeyError) as error:
        log.warning("%s is damaged and computed anew: %s", path, error)
        return None
    return Features(inputs, targets, record["seconds"])


class _Column:
    """One tensor on its way into a file, batch by batch."""

    def __init__(self, stem: Path, name: str) -> None:
        self.name, self._path = name, _column(stem, name)
        self._digest = hashlib.blake2b(digest_size=16)
        self._length, self._like = 0, torch.empty(0)

    def __enter__(self) -> Self:
        self._file = _partial(self._path).open("wb")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, tensor: Tensor) -> None:
        """Append a batch."""
        self._length, self._like = self._length + len(tensor), tensor[:1]
        for piece in _pieces(tensor.cpu().contiguous()):
            self._file.write(piece)
            self._digest.update(piece)

    def keep(self) -> dict[str, object]:
        """Give the file its name; what must be known to map it."""
        _partial(self._path).replace(self._path)
        return {
            "dtype": str(self._like.dtype).removeprefix("torch."),
            "shape": [self._length, *self._like.shape[1:]],
            "digest": self._digest.hexdigest(),
        }


def _mapped(path: Path, *, dtype: str, shape: list[int], digest: str) -> Tensor:
    """The tensor in a file, whose pages come into memory when they are read."""
    kind = getattr(torch, dtype)
    size = math.prod(shape) * kind.itemsize
    if path.stat().st_size != size:
        raise ValueError(f"{path} has {path.stat().st_size} bytes instead of {size}")
    # Through bytes, since there is no file of numpy's for bfloat16.
    content = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)
    content_digest = hashlib.blake2b(digest_size=16)
    for piece in _pieces(content):
        content_digest.update(piece)
    if content_digest.hexdigest() != digest:
        raise ValueError(f"{path} was altered")
    return content.view(kind).reshape(shape)


def _pieces(tensor: Tensor) -> Iterator[memoryview]:
    content = tensor.reshape(-1).view(torch.uint8).numpy()
    for start in range(0, len(content), _PIECE):
        yield content[start : start + _PIECE].data


def _column(stem: Path, name: str) -> Path:
    return stem.with_suffix(f".{name}")


def _partial(path: Path) -> Path:
    return path.with_name(f"{path.name}.{os.getpid()}.partial")


def _checksum(record: object) -> str:
    text = json.dumps(record, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
