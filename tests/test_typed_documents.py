"""What README, documents and examples show passes two type checkers."""

import ast
import doctest
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(
    r"^```(?:python|\{code-cell\} ipython3)\n(?:---\n.*?^---\n)?(.*?)^```", re.M | re.S
)
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))

# What documents take for granted, as tests/test_documents.py gives it.
HEAD = """\
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader
"""
GIVEN = {
    "model": "nn.Module",
    "optimizer": "torch.optim.Optimizer",
    "criterion": "nn.Module",
    "train": "Callable[[], None]",
    **dict.fromkeys(
        ("loader", "train_loader", "valid_loader", "new_loader"), "DataLoader[Any]"
    ),
    **dict.fromkeys(("train_images", "valid_images"), "list[tuple[Any, int]]"),
    "to_small_tensor": "Callable[[Any], torch.Tensor]",
}
# Functions of a page are shown as they are typed in a notebook: without annotations.
LENIENT = ("--allow-untyped-defs", "--allow-incomplete-defs", "--allow-any-generics")
# Of torch's own functions and modules some have no types, or give Any.
TORCH = ("--allow-untyped-calls", "--no-warn-return-any")


def code_of(document: Path) -> str:
    """All Python blocks of a document in their order, examples without their output."""
    parser, parts = doctest.DocTestParser(), []
    for block in BLOCK.findall(document.read_text(encoding="utf-8")):
        is_example = ">>>" in block
        examples = parser.get_examples(block) if is_example else ()
        parts.append("".join(each.source for each in examples) or block)
    return "\n".join(parts)


def typed(code: str) -> str:
    """The code after an import of what it takes for granted."""
    made = {
        node.id
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    made |= {n.name for n in ast.walk(ast.parse(code)) if hasattr(n, "name")}
    taken = ", ".join(name for name in GIVEN if name not in made)
    return "\n".join([HEAD, f"from given import {taken}", "", code])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code of every document, and the types of what it takes for granted."""
    made = tmp_path_factory.mktemp("typed")
    given = [f"{name}: {kind}" for name, kind in GIVEN.items()]
    (made / "given.pyi").write_text("\n".join([HEAD, *given]), encoding="utf-8")
    for document in DOCUMENTS:
        if code := code_of(document):
            (made / name_of(document)).write_text(typed(code), encoding="utf-8")
    return made


def checked(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Mypy with the settings of this project."""
    # One cache for all of a session.
    return subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--no-warn-unused-ignores"),
            *(
                "--config-file",
                ROOT / "pyproject.toml",
                "--cache-dir",
                folder.parent / "types",
            ),
            *arguments,
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "MYPYPATH": str(ROOT)},
    )


@pytest.fixture(scope="module")
def said(folder: Path) -> dict[str, str]:
    """What mypy says of each document, by its name."""
    pytest.importorskip("mypy", reason='pip install "pretrain-eval[test]"')
    files = sorted(folder.glob("*.py"))
    result = checked(folder, *LENIENT, *TORCH, "--allow-redefinition", *files)
    assert result.returncode in (0, 1), result.stdout + result.stderr
    lines = result.stdout.splitlines()
    return {
        file.name: "\n".join(line for line in lines if line.startswith(file.name))
        for file in files
    }


def name_of(document: Path) -> str:
    parts = document.relative_to(ROOT).with_suffix("").parts
    return f"{'_'.join(parts).replace('-', '_')}.py"


@pytest.mark.parametrize(
    "document",
    [each for each in DOCUMENTS if code_of(each)],
    ids=lambda each: str(each.relative_to(ROOT)),
)
def test_a_document_has_the_types_that_it_uses(document: Path, said: dict[str, str]):
    """Whoever copies it into a checked program meets no error."""
    assert said[name_of(document)] == ""


def test_the_examples_pass_strictly(tmp_path: Path):
    """With annotations and all; a package that only one example needs may be missing."""
    pytest.importorskip("mypy", reason='pip install "pretrain-eval[test]"')
    # Whose arrays may leave their types out.
    pytest.importorskip("numpy", "2.3", reason="numpy 2.3, of Python 3.11 and newer")
    missing = "--disable-error-code=import-not-found"
    result = checked(tmp_path, *TORCH, missing, *EXAMPLES)
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_wrong_type_is_seen(tmp_path: Path):
    """The checker reads this package's types, not Any."""
    pytest.importorskip("mypy", reason='pip install "pretrain-eval[test]"')
    file = tmp_path / "wrong.py"
    file.write_text("import pretrain_eval as pe\npe.Accuracy(top_k='two').nothing\n")
    result = checked(tmp_path, file)
    assert 'has incompatible type "str"; expected "int"' in result.stdout
    assert '"Accuracy" has no attribute "nothing"' in result.stdout


def test_pyright_accepts_documents_and_examples(folder: Path):
    """The checker of VS Code and its kin, at its standard strictness."""
    pytest.importorskip("pyright", reason="pip install 'pyright[nodejs]'")
    settings = {
        "include": [str(folder), *map(str, EXAMPLES)],
        "extraPaths": [str(ROOT)],
        "typeCheckingMode": "standard",
        "reportMissingImports": False,
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    result = subprocess.run(
        [
            *(sys.executable, "-m", "pyright", "--project", folder, "--outputjson"),
            *("--pythonpath", sys.executable, "--level", "error"),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    found = json.loads(result.stdout[result.stdout.index("{") :])
    assert found["summary"]["filesAnalyzed"] > len(EXAMPLES)
    wrong = [
        f"{each['file']}: {each['message']}" for each in found["generalDiagnostics"]
    ]
    assert not wrong, "\n".join(wrong)


def test_pyright_knows_the_type_of_every_public_name(tmp_path: Path):
    """Complete, as `--verifytypes` counts it: no name is unknown or may be guessed."""
    pytest.importorskip("pyright", reason="pip install 'pyright[nodejs]'")
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    python = Path(sys.executable)
    result = subprocess.run(
        [
            *(sys.executable, "-m", "pyright", "--verifytypes", "pretrain_eval"),
            *("--ignoreexternal", "--outputjson", "--pythonpath", python),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        # Pyright asks the first python of the path for what is installed.
        env={
            **os.environ,
            "PYTHONPATH": path,
            "PATH": os.pathsep.join([str(python.parent), os.environ["PATH"]]),
        },
    )
    found = json.loads(result.stdout[result.stdout.index("{") :])["typeCompleteness"]
    wrong = [
        (each["name"], each["diagnostics"][0]["message"])
        for each in found["symbols"]
        if each["isExported"] and not each["isTypeKnown"] and each["diagnostics"]
    ]
    assert found["exportedSymbolCounts"]["withKnownType"] > 600
    assert wrong == []
