"""The answer to a question: what is printed, drawn and written."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pretrain_eval as pe
from pretrain_eval.demo.questions import TWIN, Question


@dataclass(frozen=True)
class Answer:
    """What the runs say to a question.

    Attributes:
        question: What was asked.
        card: The five scores, and the sentence.
        gains: What pretraining was worth on each data set.
    """

    question: Question
    card: pe.Scorecard
    gains: tuple[str, ...]

    @property
    def text(self) -> str:
        """As it is printed."""
        return "\n".join([str(self.card), "", *self.gains])


def answer(question: Question, runs: Sequence[pe.Run]) -> Answer:
    """The five scores of the runs, and what pretraining was worth.

    Args:
        question: What was asked.
        runs: Those of its grid.
    """
    card = pe.scorecard(runs, scratch=TWIN, budget=question.budget)
    heading = f"Against the {TWIN}, for new seeds (with their labels) and examples:"
    return Answer(question, card, (heading, *gains(runs)))


def gains(runs: Sequence[pe.Run]) -> list[str]:
    """On each data set, and by each training, what models have over the random twin."""
    lines = []
    for task, dataset, strategy in sorted(
        {(run.task, run.dataset, run.strategy) for run in runs}
    ):
        place = (task, dataset, strategy)
        here = [run for run in runs if (run.task, run.dataset, run.strategy) == place]
        lines.append(f"  {task}/{dataset}, {strategy}:")
        comparison = pe.PersistenceEvaluator().compare(here)
        for report in comparison.reports:
            if report.model != TWIN:
                lines.append(f"    {_gain(comparison, report.model)}")
    return lines


def _gain(comparison: pe.Comparison, model: str) -> str:
    """One model's gain in P(M), with its interval and what it allows to say."""
    gap = comparison.difference(model, TWIN)
    if gap is None or gap.interval is None:
        return f"{model}: unknown"
    # The better-ranked model stands first.
    sign = 1 if gap.first == model else -1
    low, high = sorted((sign * gap.interval.low, sign * gap.interval.high))
    words = "better" if low > 0 else "worse" if high < 0 else "not separable"
    return f"{model}: {sign * gap.difference:+.3f} ({low:+.3f} to {high:+.3f}), {words}"


def save(answers: Sequence[Answer], folder: Path) -> list[str]:
    """Write tables, pictures where matplotlib is, and a page; the names of the files.

    Args:
        answers: To all questions.
        folder: Where the files go; those of an earlier call are replaced.
    """
    files = []
    sections = []
    for each in answers:
        name, figure = each.question.name, _picture(each.card)
        tables = {
            f"{name}.csv": each.card.to_csv(),
            f"{name}.json": each.card.to_json(),
        }
        for file, text in tables.items():
            (folder / file).write_text(text, encoding="utf-8")
        if figure is not None:
            (folder / f"{name}.png").write_bytes(figure)
            files.append(f"{name}.png")
        files += tables
        sections.append(_section(each, figure))
    title = "Which pretrained model?"
    page = f"<!doctype html>\n<meta charset='utf-8'>\n<title>{title}</title>\n"
    style = "<style>body{font:16px sans-serif;max-width:60em;margin:2em auto}"
    style += (
        "pre{white-space:pre-wrap}img{max-width:100%}td,th{padding:.2em .6em}</style>"
    )
    page += style + f"\n<h1>{title}</h1>\n" + "\n".join(sections)
    (folder / "report.html").write_text(page, encoding="utf-8")
    return ["report.html", *files]


def _section(each: Answer, figure: bytes | None) -> str:
    question = each.question
    parts = [f"<h2>{html.escape(question.text)}</h2>"]
    parts.append(f"<p>{html.escape(question.setting)}</p>")
    if figure is not None:
        packed = base64.b64encode(figure).decode()
        parts.append(f"<img alt='the decision' src='data:image/png;base64,{packed}'>")
    parts.append(f"<pre>{html.escape(each.text)}</pre>")
    return "\n".join(parts)


def _picture(card: pe.Scorecard) -> bytes | None:
    try:
        figure: Any = pe.plot.scorecard(card)
    except ImportError as error:
        print(f"No picture: {error}")
        return None
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=150)
    return content.getvalue()
