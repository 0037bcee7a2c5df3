"""How far a sweep is, as a terminal, a file, a notebook and `logging` show it."""

import io
import logging
import sys
import types

import pytest

import pretrain_eval as pe
from pretrain_eval._sweep import progress as module
from pretrain_eval._sweep.progress import Progress


class Terminal(io.StringIO):
    """Text that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Clock:
    """Seconds that pass when they are told to."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def steps(bar: Progress, clock: Clock, number: int, seconds: float) -> None:
    for step in range(number):
        bar.note(f"step {step}")
        with bar.inner(3, "epochs") as inner:
            inner.advance()
        clock.now += seconds
        bar.advance()


def test_a_file_gets_few_plain_lines(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line every 5 % and no sooner than 10 seconds, with what is left; no return."""
    with Progress(1000, "runs") as bar:
        bar.say("1000 runs: 1000 to do, 0 reused")
        steps(bar, clock, 1000, 2.0)
    printed = capsys.readouterr().err
    assert "\r" not in printed
    assert "\033" not in printed
    lines = printed.splitlines()
    assert len(lines) == 21
    assert lines[1] == "runs: 50 of 1000 (5%), 1:40 min so far, 31:40 min left"
    assert lines[-1] == "runs: 1000 of 1000 (100%), 33:20 min so far"


def test_a_quick_job_prints_no_line_but_what_is_said(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    """A hundred runs in five seconds need no progress."""
    with Progress(100, "runs") as bar:
        bar.say("plan")
        steps(bar, clock, 100, 0.05)
        bar.say("summary")
    assert capsys.readouterr().err == "plan\nsummary\n"


def test_logging_gets_the_lines(
    clock: Clock,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """progress="log" writes to the logger of the package and to nothing else."""
    caplog.set_level(logging.INFO, logger="pretrain_eval")
    with Progress(4, "runs", show="log") as bar:
        bar.say("plan")
        steps(bar, clock, 4, 20.0)
    assert [each.message for each in caplog.records] == [
        "plan",
        "runs: 1 of 4 (25%), 20 s so far, 1:00 min left",
        "runs: 2 of 4 (50%), 40 s so far, 40 s left",
        "runs: 3 of 4 (75%), 1:00 min so far, 20 s left",
        "runs: 4 of 4 (100%), 1:20 min so far",
    ]
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """tqdm's, and lines that stay above it."""
    pytest.importorskip("tqdm", reason='pip install "pretrain-eval[progress]"')
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with Progress(3, "runs") as bar:
        bar.say("plan")
        for _ in range(3):
            bar.advance()
    assert "plan\n" in screen.getvalue()
    assert "3/3" in screen.getvalue()


def test_a_terminal_without_tqdm_gets_lines(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Progress needs no package."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with Progress(2, "runs") as bar:
        steps(bar, clock, 2, 30.0)
    assert screen.getvalue().splitlines()[0].startswith("runs: 1 of 2 (50%)")


def test_a_notebook_gets_one_output_that_is_written_anew(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One display, updated; at the end what was said stays, and nothing is red."""
    shown: list[str] = []

    class Handle:
        def update(self, content: dict[str, str], raw: bool) -> None:
            assert raw
            shown.append(content["text/plain"])

    def display(content: dict[str, str], raw: bool, display_id: bool) -> Handle:
        assert raw
        assert display_id
        shown.append(content["text/plain"])
        return Handle()

    notebook = types.SimpleNamespace(
        get_ipython=lambda: types.SimpleNamespace(kernel=object()),
        display=types.SimpleNamespace(display=display),
    )
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    with Progress(3, "runs") as bar:
        bar.say("plan")
        steps(bar, clock, 3, 1.0)
        bar.say("summary")
    assert shown[0] == "plan"
    assert "plan\nruns: 2 of 3 (67%), 2 s so far, 1 s left" in shown
    assert shown[-1] == "plan\nsummary"
    assert capsys.readouterr() == ("", "")


def test_quiet_is_quiet(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """False shows nothing at all."""
    with Progress(3, "runs", show=False) as bar:
        bar.say("plan")
        steps(bar, clock, 3, 60.0)
    assert capsys.readouterr() == ("", "")


def test_another_word_is_refused_before_work() -> None:
    """What may be given is said."""
    with pytest.raises(ValueError, match="True, False or \"log\", got 'bar'"):
        pe.sweep({}, [], [], progress="bar")  # type: ignore[arg-type]
