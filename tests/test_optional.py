"""What is said where an optional package is missing."""

import re
import sys
from pathlib import Path

import pytest

from pretrain_eval import _optional

PROJECT = (Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "detection",
            "mean average precision needs torchmetrics and pycocotools:"
            ' pip install "pretrain-eval[detection]"',
        ),
        ("ignite", "as_ignite needs ignite: pip install pytorch-ignite"),
        ("keras", 'zoo.keras needs Keras 3: pip install "pretrain-eval[keras]"'),
        (
            "sentence-transformers",
            "zoo.sentence_transformers needs sentence-transformers:"
            ' pip install "pretrain-eval[sentence-transformers]"',
        ),
        ("timm", 'zoo.timm needs timm: pip install "pretrain-eval[timm]"'),
        (
            "transformers",
            "zoo.transformers needs transformers:"
            ' pip install "pretrain-eval[transformers]"',
        ),
        ("pandas", 'to_pandas needs pandas: pip install "pretrain-eval[pandas]"'),
        (
            "huggingface_hub",
            "a model card needs huggingface_hub: pip install huggingface_hub",
        ),
        (
            "parquet",
            'Parquet needs pandas and pyarrow: pip install "pretrain-eval[parquet]"',
        ),
        ("plot", 'pictures need matplotlib: pip install "pretrain-eval[plot]"'),
        (
            "progress",
            'a progress bar needs tqdm: pip install "pretrain-eval[progress]"',
        ),
        ("ray", 'RayExecutor needs Ray: pip install "pretrain-eval[ray]"'),
        (
            "submitit",
            'SubmititExecutor needs submitit: pip install "pretrain-eval[submitit]"',
        ),
        ("text", 'BLEU needs sacrebleu: pip install "pretrain-eval[text]"'),
        (
            "torchmetrics",
            "as_torchmetrics needs torchmetrics: pip install torchmetrics",
        ),
        (
            "workers",
            'workers and executors need cloudpickle: pip install "pretrain-eval[workers]"',
        ),
    ],
)
def test_a_missing_package_is_an_error_that_installs_it(
    name: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says who needs what, and the line that installs it."""
    for module in _optional._NEEDS[name].modules:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=f"^{re.escape(message)}$"):
        _optional.needs(name)


@pytest.mark.parametrize("name", _optional._NEEDS)
def test_an_extra_that_is_named_exists(name: str) -> None:
    """The line that installs a package is one that pip understands."""
    extras = re.search(r"optional-dependencies\]\n(.*?)\n\[", PROJECT, re.S)
    assert extras
    defined = re.findall(r"^([\w-]+) = \[", extras[1], re.M)
    assert (name in defined) == (not _optional._NEEDS[name].package)


def test_every_guard_of_a_package_is_the_one() -> None:
    """No module has a line of its own that says what to install."""
    package = Path(_optional.__file__).parent
    lines = {
        path.name
        for path in package.rglob("*.py")
        if re.search(r"[:\"] pip install", path.read_text(encoding="utf-8"))
    }
    assert lines == {"_optional.py"}
