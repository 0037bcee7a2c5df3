"""The pictures of a page about a comparison or a scorecard."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

from pretrain_eval._optional import needs
from pretrain_eval._scoring.monitoring import Monitor
from pretrain_eval._scoring.reports import Comparison, Picture, Scorecard, draws
from pretrain_eval.plot._monitor import monitor
from pretrain_eval.plot._scores import differences, scorecard, scores, tasks


@draws
def pictures(record: object) -> Iterator[Picture]:
    """What shows a record at a glance; nothing where no picture does."""
    if isinstance(record, Monitor):
        for signal in record.signals:
            if signal.points:
                caption = f"The {signal.name} over the looks, with limits."
                yield _drawn(caption, monitor, record, signal.name)
    if isinstance(record, Scorecard):
        caption = "The scores under the protocols, and what the runs cost."
        yield Picture(caption, _png(scorecard(record)))
        record = record[record.decided_by]
    elif isinstance(record, Comparison) and record.best is not None:
        yield _drawn("Scores with their intervals, best on top.", scores, record)
    if not isinstance(record, Comparison) or record.best is None:
        return
    if any(record.difference(record.best, r.model) for r in record.reports[1:]):
        yield _drawn("Differences from the best.", differences, record)
    if len({task for own in record.tasks.values() for task in own}) > 1:
        yield _drawn("Scores by task.", tasks, record)


def _drawn(caption: str, draw: Callable[..., Any], *drawn: object) -> Picture:
    pyplot = needs("plot")
    with pyplot.style.context("default"):  # a page is white, whatever the user draws on
        figure = draw(*drawn).figure
        png = _png(figure)
    pyplot.close(figure)
    return Picture(caption, png)


def _png(figure: Any) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=150)
    return content.getvalue()
