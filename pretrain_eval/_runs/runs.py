"""Several runs as one sequence: shown in a few lines, filtered, sliced, tabulated."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol, SupportsIndex, TypeVar, overload

from typing_extensions import override

from pretrain_eval._habits import refusal
from pretrain_eval._optional import needs
from pretrain_eval._runs.export import flat_rows
from pretrain_eval._runs.run import Run, Status, given_columns

if TYPE_CHECKING:
    import pandas

Answer = TypeVar("Answer", covariant=True)

_SHOWN = 10  # rows, of which a notebook's cell holds twice as many
_NAMES = ("model", "task", "dataset", "strategy", "seed")
# Dark enough on white, and told apart in grey by their words.
_COLOURS = {"completed": "#1a6b3c", "pruned": "#5f5f5f"}
_FAILED = "#b02418"


class Compares(Protocol[Answer]):
    """What ranks runs, such as an evaluator."""

    def compare(self, runs: Runs, /) -> Answer:
        """The answer."""
        ...


class Runs(tuple[Run, ...]):
    """Runs in a fixed order: a tuple that prints short, filters and makes tables.

    `sweep`, `choose` and `RunStore.runs` give one; a slice is one again.

    >>> names = {"task": "t", "dataset": "d", "strategy": "full"}
    >>> runs = Runs(Run(model=m, seed=s, **names) for m in "ab" for s in range(3))
    >>> runs
    Runs(6 of 2 models, 1 task, 1 dataset, 1 strategy, 3 seeds: 6 completed)
    >>> len(runs.filter(model="a")), len(runs[:2])
    (3, 2)
    """

    __slots__ = ()

    def __new__(cls, runs: Iterable[Run] = ()) -> Runs:
        """The runs, in the order given."""
        made = super().__new__(cls, runs)
        for each in made:
            if not isinstance(each, Run):
                raise TypeError(f"Runs are made of Run records, got {each!r:.80}")
        return made

    if not TYPE_CHECKING:
        __getattr__ = refusal("runs")

    @overload
    def __getitem__(self, index: SupportsIndex, /) -> Run: ...
    @overload
    def __getitem__(self, index: slice, /) -> Runs: ...
    @override
    def __getitem__(self, index: SupportsIndex | slice, /) -> Run | Runs:
        if not isinstance(index, SupportsIndex | slice):
            raise TypeError(
                f"runs[0] is a run, runs[:5] are several, got [{index!r:.40}]:"
                " runs.filter(model=...) keeps some, runs.to_pandas() has columns"
            )
        found = super().__getitem__(index)
        return found if isinstance(found, Run) else Runs(found)

    def __add__(self, others: object, /) -> Runs:
        """Those of both, in turn."""
        if not isinstance(others, tuple):
            return NotImplemented
        return Runs((*self, *others))

    def __repr__(self) -> str:
        if not self:
            return "Runs(none)"
        counts = [
            _counted(len({getattr(run, name) for run in self}), name) for name in _NAMES
        ]
        return f"Runs({len(self)} of {', '.join(counts)}: {self._statuses()})"

    def _statuses(self) -> str:
        found = Counter(run.status for run in self).most_common()
        return ", ".join(f"{count} {status}" for status, count in found)

    def __str__(self) -> str:
        lines = [_words(run) for run in self[:_SHOWN]]
        if len(self) > _SHOWN:
            lines.append(f"… and {len(self) - _SHOWN} more")
        return "\n".join([repr(self), *lines])

    def _repr_html_(self) -> str:
        """A table of the first rows, the statuses in colour."""
        key = next((name for run in self for name in run.scores), "score")
        head = "".join(f"<th>{html.escape(word)}</th>" for word in _header(key))
        rows = "".join(_html_row(run, key) for run in self[: 2 * _SHOWN])
        more = len(self) - 2 * _SHOWN
        rest = f"<p>… and {more} more</p>" if more > 0 else ""
        return (
            f"<div><p>{html.escape(repr(self))}</p><table><thead><tr>{head}</tr></thead>"
            f"<tbody>{rows}</tbody></table>{rest}</div>"
        )

    def filter(
        self,
        *,
        model: str | None = None,
        task: str | None = None,
        dataset: str | None = None,
        strategy: str | None = None,
        seed: int | None = None,
        status: Status | None = None,
    ) -> Runs:
        """The runs that agree with every name given, in their order.

        Args:
            model: Only runs of this model; likewise the other names.
            task: See `model`.
            dataset: See `model`.
            strategy: See `model`.
            seed: See `model`.
            status: See `model`.
        """
        wanted = given_columns(model, task, dataset, strategy, seed, status)
        return Runs(
            run
            for run in self
            if all(getattr(run, name) == value for name, value in wanted.items())
        )

    def compare(self, evaluator: Compares[Answer]) -> Answer:
        """The models ranked by an evaluator: `runs.compare(PersistenceEvaluator())`."""
        return evaluator.compare(self)

    def to_pandas(self) -> pandas.DataFrame:
        """One row a run, with columns such as `scores.accuracy` and `cost.macs`.

        Raises:
            ImportError: pandas is not installed.
        """
        rows = flat_rows(("", run) for run in self)
        for row in rows:
            del row["key"]
        frame: pandas.DataFrame = needs("pandas").DataFrame(rows)
        return frame


def _counted(number: int, noun: str) -> str:
    plural = {"strategy": "strategies"}.get(noun, f"{noun}s")
    return f"{number} {noun if number == 1 else plural}"


def _header(key: str) -> tuple[str, ...]:
    return (*_NAMES, "status", key, "seconds")


def _html_row(run: Run, key: str) -> str:
    names = [str(getattr(run, name)) for name in _NAMES]
    colour = _COLOURS.get(run.status, _FAILED)
    score = f"{run.scores[key]:.3f}" if key in run.scores else "–"
    seconds = "–" if run.cost.seconds is None else f"{run.cost.seconds:.1f}"
    cells: list[tuple[str, Any]] = [(name, "") for name in names]
    cells.append((run.status, f" style='color:{colour}' title={_quoted(run.message)}"))
    cells += [(score, ""), (seconds, "")]
    return f"<tr>{''.join(f'<td{how}>{html.escape(word)}</td>' for word, how in cells)}</tr>"


def _quoted(text: str) -> str:
    return f'"{html.escape(text[:200])}"'


def _words(run: Run) -> str:
    """A run in one line."""
    scores = ", ".join(f"{key} {value:.3f}" for key, value in [*run.scores.items()][:1])
    what = scores if run.status == "completed" else f"{run.status} {run.message}"[:60]
    return f"  {run.name}: {what or 'no score'}"
