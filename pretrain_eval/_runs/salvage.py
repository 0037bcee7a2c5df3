"""What is still whole in a damaged store, read page by page without its indexes.

SQLite refuses a file whose tree of pages is broken, though most pages are intact. The
layout read here is the one that sqlite.org/fileformat2.html fixes for all versions.
What a page yields is believed only where its checksum agrees.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pretrain_eval._runs.file import COLUMNS, checksum

_FILE_HEADER = 100  # bytes, on the first page
_LOG_HEADER, _FRAME_HEADER = 32, 24
_TABLE_LEAF = 0x0D
_LEAF_HEADER = 8
_INTEGER_SIZES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_CONSTANTS = {0: None, 8: 0, 9: 1}  # values that take no byte


class _Pages(NamedTuple):
    """The pages by number, the newest version of each, and a page's usable bytes."""

    by_number: Mapping[int, bytes]
    usable: int


def salvaged(path: Path) -> Iterator[tuple[str, str, str]]:
    """Key, record and history of each run that is whole, in the order of keys."""
    runs: dict[str, dict[str, Any]] = {}
    histories = {"": "{}"}
    for values in _rows(_pages(path)):
        if len(values) == 1 + len(COLUMNS) and checksum(*values[1:-1]) == values[-1]:
            row = dict(zip(COLUMNS, values[1:], strict=True))
            # An abandoned page may still hold the result of an earlier attempt.
            other = runs.get(row["key"])
            if other is None or other["attempts"] < row["attempts"]:
                runs[row["key"]] = row
        elif len(values) == 3 and isinstance(values[2], str):
            _, key, history = values
            histories[checksum(key, history)] = history
    for key, row in sorted(runs.items()):
        if row["history"] in histories:
            yield key, row["record"], histories[row["history"]]


def _pages(path: Path) -> _Pages:
    log = path.with_name(path.name + "-wal")
    # Of a store that is gone its log may be left.
    content = b"" if log.exists() and not path.exists() else path.read_bytes()
    size, reserved = _page_size(content)
    starts = range(0, len(content), size)
    pages = {
        number: content[start : start + size]
        for number, start in enumerate(starts, start=1)
    }
    pages.update(_logged_pages(log, size))
    return _Pages(pages, size - reserved)


def _page_size(content: bytes) -> tuple[int, int]:
    """Bytes of a page, and those at its end that SQLite leaves alone."""
    if len(content) <= 20:
        return 4096, 0
    size, reserved = _integer(content, 16, 2), content[20]
    size = 65536 if size == 1 else size
    is_power_of_2 = size & (size - 1) == 0
    if size < 512 or not is_power_of_2:  # the header itself is damaged
        return 4096, 0
    return size, reserved


def _logged_pages(log: Path, size: int) -> Iterator[tuple[int, bytes]]:
    """Pages that wait in the log to be written into the file, oldest first."""
    content = log.read_bytes() if log.exists() else b""
    salts = content[16:24]
    for start in range(_LOG_HEADER, len(content), _FRAME_HEADER + size):
        body = start + _FRAME_HEADER
        page = content[body : body + size]
        # The log's salts change when it starts anew; older frames are left over.
        is_current = content[start + 8 : start + 16] == salts
        if is_current and len(page) == size:
            yield _integer(content, start, 4), page


def _rows(pages: _Pages) -> Iterator[list[Any]]:
    """The values of each row that can be decoded on any leaf of any table."""
    for number, page in pages.by_number.items():
        start = _FILE_HEADER if number == 1 else 0
        if len(page) < start + _LEAF_HEADER or page[start] != _TABLE_LEAF:
            continue
        num_cells = _integer(page, start + 3, 2)
        first = start + _LEAF_HEADER
        for pointer in range(first, first + 2 * num_cells, 2):
            try:
                offset = _integer(page, pointer, 2)
                yield _values(_payload(pages, page, offset))
            except (ValueError, IndexError, KeyError):
                continue  # garbage where a row should be


def _payload(pages: _Pages, page: bytes, offset: int) -> bytes:
    """The bytes of a row: those on its page, and those on a chain of further pages."""
    size, offset = _varint(page, offset)
    _, offset = _varint(page, offset)  # the row's number
    if size > len(pages.by_number) * pages.usable:
        raise ValueError("no row is larger than the file")
    local = _local_size(size, pages.usable)
    end = offset + local
    payload = bytearray(page[offset:end])
    link = page[end : end + 4]
    while len(payload) < size:
        follower = pages.by_number[_integer(link, 0, 4)]
        link, body = follower[:4], follower[4 : pages.usable]
        part = body[: size - len(payload)]
        if not part:
            raise ValueError("the chain of pages is broken")
        payload += part
    return bytes(payload)


def _local_size(size: int, usable: int) -> int:
    """How many of a row's bytes lie on its own page."""
    most = usable - 35
    if size <= most:
        return size
    least = (usable - 12) * 32 // 255 - 23
    local = least + (size - least) % (usable - 4)  # the further pages are full then
    return local if local <= most else least


def _values(payload: bytes) -> list[Any]:
    """The columns of a row: their types come first, then their bytes."""
    end, position = _varint(payload, 0)
    values: list[Any] = []
    body = end
    while position < end:
        kind, position = _varint(payload, position)
        is_text = kind >= 13 and kind % 2 == 1
        size = (kind - 13) // 2 if is_text else _INTEGER_SIZES.get(kind, 0)
        content = payload[body : body + size]
        body += size
        if is_text:
            values.append(content.decode())
        elif size:
            values.append(int.from_bytes(content, "big", signed=True))
        elif kind in _CONSTANTS:
            values.append(_CONSTANTS[kind])
        else:
            raise ValueError("a run store has no such column")
    return values


def _integer(source: bytes, offset: int, size: int) -> int:
    """An unsigned number of so many bytes."""
    content = source[offset : offset + size]
    if len(content) < size:
        raise ValueError("the page ends too early")
    return int.from_bytes(content, "big")


def _varint(source: bytes, offset: int) -> tuple[int, int]:
    """A number in one to nine bytes of seven bits each, and where it ends."""
    value = 0
    for place in range(offset, offset + 8):
        byte = source[place]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, place + 1
    return value << 8 | source[offset + 8], offset + 9
