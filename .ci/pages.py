#!/usr/bin/env python3
"""What built pages must hold, beyond what their builder checks: .ci/pages.py FOLDER.

Links and anchors within them lead somewhere, no page asks a network for anything,
pictures have words for those who do not see them, and no printed line is cut off.
Links to other sites are counted only: whether they answer is not known offline.
"""

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

WIDEST = 90  # characters that a code block of the theme shows on a wide screen
LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src"}
LOADED = {"stylesheet", "icon", "preload", "prefetch", "manifest"}  # of <link rel=...>


class Page(HTMLParser):
    """The anchors, links, loads and printed lines of one page."""

    def __init__(self, text: str) -> None:
        """Reads the page."""
        super().__init__()
        self.anchors: set[str] = {""}
        self.links: list[str] = []
        self.loads: list[str] = []
        self.mute: list[str] = []
        self.printed = ""
        self._depth = 0
        self._divisions: list[bool] = []  # of each that is open: whether its lines wrap
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes what the tag names."""
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[key] for key in ("id", "name") if key in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "link" and LOADED & set(given.get("rel", "").split()):
            self.loads.append(given.get("href", ""))
        elif tag in LOADS and given.get(LOADS[tag]):
            self.loads.append(given[LOADS[tag]])
        if tag == "img" and not given.get("alt", "").strip():
            self.mute.append(given.get("src", ""))
        self._depth += tag == "pre"
        if tag == "div":
            self._divisions.append("cell_output" in given.get("class", "").split())

    def handle_endtag(self, tag: str) -> None:
        """Ends a printed block."""
        if tag == "pre":
            self._depth -= 1
            self.printed += "\n"
        if tag == "div" and self._divisions:
            self._divisions.pop()

    def handle_data(self, data: str) -> None:
        """Keeps what is printed as it is."""
        if self._depth and not any(self._divisions):
            self.printed += data


def is_remote(address: str) -> bool:
    """Whether another machine is asked."""
    parts = urlsplit(address)
    return bool(parts.netloc) or parts.scheme not in ("", "data", "mailto")


def faults(folder: Path) -> Iterator[str]:
    """What is wrong, a line each."""
    pages = {
        path: Page(path.read_text(encoding="utf-8")) for path in folder.rglob("*.html")
    }
    for path, page in sorted(pages.items()):
        name = path.relative_to(folder)
        for link in filter(lambda link: not is_remote(link), page.links):
            if fault := lost(link, path, pages):
                yield f"{name}: {link} {fault}"
        for load in filter(is_remote, page.loads):
            yield f"{name}: loads {load} from a network"
        for source in page.mute:
            yield f"{name}: picture {source[:60]} has no alternative text"
        if "_modules" not in name.parts:
            for line in page.printed.splitlines():
                if len(line) > WIDEST:
                    yield f"{name}: {len(line)} characters in a line: {line}"
    for path in sorted(folder.rglob("*.css")):
        for address in re.findall(
            r"url\(['\"]?((?:https?:)?//[^)]+)", path.read_text()
        ):
            yield f"{path.relative_to(folder)}: loads {address} from a network"


def lost(link: str, path: Path, pages: dict[Path, Page]) -> str | None:
    """Why a link leads nowhere."""
    parts = urlsplit(link)
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not target.exists():
        return "names no file"
    if target in pages and unquote(parts.fragment) not in pages[target].anchors:
        return "names no place in it"
    return None


def main(folder: Path) -> int:
    """Prints what is wrong; how many faults there are."""
    found = list(faults(folder.resolve()))
    print("\n".join(found) or "links, anchors, loads, pictures and lines are whole")
    return min(len(found), 1)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
