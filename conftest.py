"""Examples in docstrings that need an optional package skip where it is missing."""

from importlib.util import find_spec

import pytest

# By how the name of an example ends: the package, and the line that installs it.
NEEDS = {
    ".BLEU": ("sacrebleu", "pip install 'pretrain-eval[text]'"),
    ".bleu": ("sacrebleu", "pip install 'pretrain-eval[text]'"),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the examples whose package is missing."""
    for item in items:
        if not isinstance(item, pytest.DoctestItem):
            continue
        for ending, (package, line) in NEEDS.items():
            if item.name.endswith(ending) and find_spec(package) is None:
                item.add_marker(pytest.mark.skip(reason=line))
