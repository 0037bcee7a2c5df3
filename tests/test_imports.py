"""Which module may know which."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import pretrain_eval

PACKAGE = Path(pretrain_eval.__file__).parent
MODULES = {
    ".".join(("pretrain_eval", *path.relative_to(PACKAGE).with_suffix("").parts)): path
    for path in PACKAGE.rglob("*.py")
    if path.name not in ("__init__.py", "__main__.py")
}
SCORING = ("_records", "_statistics", "_evaluator", "_evaluators", "plot")
OPTIONAL = ("torchvision", "sklearn", "scipy", "matplotlib", "tqdm", "pandas")


def _imports(path: Path) -> set[str]:
    """The modules of the package that a file imports anywhere."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{a.name}" for a in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {name for name in names if name in MODULES}
    return found


GRAPH = {module: _imports(path) for module, path in MODULES.items()}


def _reachable(module: str) -> set[str]:
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        for each in GRAPH[waiting.pop()] - seen:
            seen.add(each)
            waiting.append(each)
    return seen


@pytest.mark.parametrize("module", sorted(MODULES))
def test_no_module_imports_itself_through_others(module: str) -> None:
    """Imports go down only: there are no circles."""
    assert module not in _reachable(module)


@pytest.mark.parametrize(
    ("parent", "family"),
    [("_evaluator", "_evaluators"), ("_metric", "_metrics")],
)
def test_a_parent_does_not_know_its_children(parent: str, family: str) -> None:
    """An abstract class is written without its members in mind."""
    reached = _reachable(f"pretrain_eval.{parent}")
    assert not {m for m in reached if m.startswith(f"pretrain_eval.{family}.")}


@pytest.mark.parametrize(
    "module",
    [m for m in sorted(MODULES) if m.split(".")[1] in SCORING],
)
def test_scores_are_arithmetic_on_records(module: str) -> None:
    """The scoring side imports neither torch nor anything that measures."""
    for each in {module} | _reachable(module):
        tree = ast.parse(MODULES[each].read_text(encoding="utf-8"))
        roots = {
            name.split(".")[0]
            for node in ast.walk(tree)
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        }
        assert not roots & {"torch", "torchvision"}, each


@pytest.mark.parametrize(
    "module", [m for m in sorted(MODULES) if m.startswith("pretrain_eval._metrics.")]
)
def test_metrics_know_no_task_and_no_run(module: str) -> None:
    """Metrics are usable alone, in any loop."""
    forbidden = {
        f"pretrain_eval.{name}"
        for name in ("_task", "_records", "_finetune", "_sweep", "_store")
    }
    assert not _reachable(module) & forbidden


def test_the_face_imports_no_optional_package() -> None:
    """`import pretrain_eval` adds no optional package to what torch imports."""
    # torch.hub itself imports tqdm where that is installed.
    code = (
        "import sys, torch, numpy, typing_extensions; before = set(sys.modules);"
        "import pretrain_eval;"
        f"print([m for m in {OPTIONAL!r} if m in set(sys.modules) - before])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert printed.strip() == "[]"
