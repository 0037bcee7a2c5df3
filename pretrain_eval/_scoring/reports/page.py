"""A page in HTML that can be sent: it needs no network, prints, and fits a phone."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from pretrain_eval._version import __version__


class Picture(NamedTuple):
    """A picture of a record.

    Attributes:
        caption: What it shows, for those who cannot see it too.
        png: Its file.
    """

    caption: str
    png: bytes


class Section(NamedTuple):
    """A part of a page.

    Attributes:
        heading: What it is about.
        body: HTML, escaped.
        is_folded: Whether it is opened by a click; print shows it as it stands.
    """

    heading: str
    body: str
    is_folded: bool = False


# Draws the pictures of a record. The room of pictures stands above this one, and says
# here how it draws.
Draw = Callable[[object], Iterable[Picture]]
_DRAWN: list[Draw] = []


def draws(draw: Draw) -> Draw:
    """Let a page have the pictures that a function draws."""
    _DRAWN.append(draw)
    return draw


def pictures_of(record: object) -> tuple[list[Picture], str]:
    """The pictures of a record, and why there is none where that is so."""
    try:
        return [picture for draw in _DRAWN for picture in draw(record)], ""
    except ImportError as error:
        return [], f"Without pictures: {error}"


def page(title: str, lead: str, sections: Sequence[Section], record: object) -> str:
    """The whole page.

    Args:
        title: What it is about.
        lead: The decision, in a sentence.
        sections: Below the pictures.
        record: Whose pictures are drawn.
    """
    pictures, lack = pictures_of(record)
    parts = [f"<h1>{html.escape(title)}</h1>"]
    if lead:
        parts.append(f'<p class="lead">{html.escape(lead)}</p>')
    parts += [_figure(each) for each in pictures]
    if lack:
        parts.append(f"<p>{html.escape(lack)}</p>")
    parts += [_section(each) for each in sections]
    parts.append(f"<footer><p>Made by pretrain_eval {__version__}.</p></footer>")
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # Without an icon of its own a browser would ask the server for one.
        '<link rel="icon" href="data:,">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _figure(picture: Picture) -> str:
    packed = base64.b64encode(picture.png).decode()
    caption = html.escape(picture.caption)
    return (
        f'<figure><img alt="{caption}" src="data:image/png;base64,{packed}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _section(section: Section) -> str:
    heading = html.escape(section.heading)
    if section.is_folded:
        return (
            f"<details><summary><h2>{heading}</h2></summary>"
            f'<div class="wide">{section.body}</div></details>'
        )
    return (
        f'<section><h2>{heading}</h2><div class="wide">{section.body}</div></section>'
    )


_STYLE = """
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0; background: #fff; color: #1b1b1b }
main { max-width: 60rem; margin: auto; padding: 1rem }
p, h1, h2 { overflow-wrap: anywhere }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; display: inline-block; margin: .8rem 0 .3rem }
.lead { font-size: 1.15rem; border-left: .3rem solid #0072b2; padding-left: .8rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
caption { text-align: left; font-weight: 600; padding: .3rem 0 }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #c9c9c9 }
th:first-child, td:first-child { text-align: left }
figure { margin: 1rem 0 } img { max-width: 100%; height: auto; background: #fff }
figcaption { color: #4a4a4a; font-size: .9rem } summary { cursor: pointer }
@media (prefers-color-scheme: dark) {
  body { background: #16181c; color: #ececec } figcaption { color: #bdbdbd }
  th, td { border-color: #4a4a4a }
}
@media print { main { max-width: none } figure, table { break-inside: avoid } }
"""
