"""Where two completed runs of one key disagree, though the key decides the result."""

from __future__ import annotations

from pretrain_eval._runs.run import Run

# What a key decides; names, cost and versions may differ.
_RESULTS = (
    "scores",
    "baseline",
    "num_examples",
    "confusion",
    "outcomes",
    "curve",
    "history",
)
_MOST_CHARACTERS = 80


def conflict(kept: Run, other: Run) -> str:
    """In what the results of two completed runs differ first; empty where in nothing."""
    if kept.status != "completed" or other.status != "completed":
        return ""
    for name in _RESULTS:
        ours, theirs = getattr(kept, name), getattr(other, name)
        if ours != theirs:
            return f"{kept.name}: {name} is {_short(ours)} here, {_short(theirs)} there"
    return ""


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"
