"""What is still whole in a damaged store, read page by page without its indexes.

SQLite refuses a file whose tree of pages is broken, though most pages are intact. The
layout read here is the one that sqlite.org/fileformat2.html fixes for all versions.
What a page yields is believed only where its checksum agrees.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pretrain_eval._runs.file import COLUMNS, checksum

_TABLE_LEAF = 0x0D
_INTEGER_SIZES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}


def salvaged(path: Path) -> Iterator[tuple[str, str, str]]:
    """Key, record and history of each run that is whole, in the order of keys."""
    runs: dict[str, dict[str, Any]] = {}
    histories = {"": "{}"}
    for values in _records(*_pages(path)):
        if len(values) == 1 + len(COLUMNS) and checksum(*values[1:-1]) == values[-1]:
            row = dict(zip(COLUMNS, values[1:], strict=True))
            # An abandoned page may still hold the result of an earlier attempt.
            known = runs.get(row["key"])
            if known is None or known["attempts"] < row["attempts"]:
                runs[row["key"]] = row
        elif len(values) == 3 and isinstance(values[2], str):
            histories[checksum(*values[1:])] = values[2]
    for key, row in sorted(runs.items()):
        if row["history"] in histories:
            yield key, row["record"], histories[row["history"]]


def _pages(path: Path) -> tuple[Mapping[int, bytes], int]:
    """The pages by number, the newest version of each, and a page's usable bytes."""
    content = path.read_bytes()
    size, reserved = 4096, 0
    if len(content) > 20:
        (size,), reserved = struct.unpack(">H", content[16:18]), content[20]
        size = 65536 if size == 1 else size
    if size < 512 or size & (size - 1):  # the header itself is damaged
        size, reserved = 4096, 0
    pages = {
        number: content[start : start + size]
        for number, start in enumerate(range(0, len(content), size), start=1)
    }
    log = path.with_name(path.name + "-wal")
    frames = log.read_bytes() if log.exists() else b""
    for start in range(32, len(frames), 24 + size):
        page = frames[start + 24 : start + 24 + size]
        # The log's salts change when it starts anew; older frames are left over.
        if frames[start + 8 : start + 16] == frames[16:24] and len(page) == size:
            pages[struct.unpack(">I", frames[start : start + 4])[0]] = page
    return pages, size - reserved


def _records(pages: Mapping[int, bytes], usable: int) -> Iterator[list[Any]]:
    """The values of each row that can be decoded on any leaf of any table."""
    for number, page in pages.items():
        start = 100 if number == 1 else 0  # the file's header
        if len(page) < start + 8 or page[start] != _TABLE_LEAF:
            continue
        (num_cells,) = struct.unpack(">H", page[start + 3 : start + 5])
        for cell in range(num_cells):
            pointer = start + 8 + 2 * cell
            try:
                (offset,) = struct.unpack(">H", page[pointer : pointer + 2])
                yield _values(_payload(pages, usable, page, offset))
            except (ValueError, IndexError, KeyError, struct.error):
                continue  # garbage where a row should be


def _payload(
    pages: Mapping[int, bytes], usable: int, page: bytes, offset: int
) -> bytes:
    size, offset = _varint(page, offset)
    _, offset = _varint(page, offset)  # the row's number
    local = size
    if size > usable - 35:
        least = (usable - 12) * 32 // 255 - 23
        local = least + (size - least) % (usable - 4)
        local = least if local > usable - 35 else local
    parts = [page[offset : offset + local]]
    rest, link = size - local, page[offset + local : offset + local + 4]
    while rest > 0:
        follower = pages[struct.unpack(">I", link)[0]]
        part = follower[4 : 4 + min(rest, usable - 4)]
        if not part:
            raise ValueError("the chain of pages is broken")
        parts.append(part)
        rest, link = rest - len(part), follower[:4]
    return b"".join(parts)


def _values(payload: bytes) -> list[Any]:
    end, position = _varint(payload, 0)
    values: list[Any] = []
    body = end
    while position < end:
        kind, position = _varint(payload, position)
        if kind >= 13 and kind % 2:
            size = (kind - 13) // 2
            values.append(payload[body : body + size].decode())
        elif kind in _INTEGER_SIZES:
            size = _INTEGER_SIZES[kind]
            values.append(
                int.from_bytes(payload[body : body + size], "big", signed=True)
            )
        elif kind in (0, 8, 9):
            size = 0
            values.append({0: None, 8: 0, 9: 1}[kind])
        else:
            raise ValueError("a run store has no such column")
        body += size
    return values


def _varint(source: bytes, offset: int) -> tuple[int, int]:
    """A number in one to nine bytes of seven bits each, and where it ends."""
    value = 0
    for place in range(offset, offset + 8):
        value = value << 7 | source[place] & 0x7F
        if source[place] < 0x80:
            return value, place + 1
    return value << 8 | source[offset + 8], offset + 9
