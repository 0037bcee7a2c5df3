"""What README shows is what its script prints, but for numbers that may move."""

import re
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def structure(text: str) -> list[str]:
    """The words of each line, every number in one form."""
    words = " ".join(re.sub(r"[-+]?\d[\d,.]*", "#", text).split())
    return re.sub(r"-{3,}", "---", words).split()


def test_the_printed_decision_is_todays(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The same words in the same order, and a picture comes with it."""
    picture = tmp_path / "readme.png"
    monkeypatch.setattr(sys, "argv", ["readme.py", str(picture)])
    runpy.run_path(str(ROOT / "examples" / "readme.py"), run_name="__main__")
    (shown,) = re.findall(
        r"```text\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S
    )
    assert structure(capsys.readouterr().out) == structure(shown)
    assert picture.stat().st_size > 10_000
    assert (ROOT / "docs" / "readme.png").stat().st_size < 150_000
