"""The plan of the house: which folder may know which, read from the imports alone."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import pretrain_eval

PACKAGE = Path(pretrain_eval.__file__).parent
OPTIONAL = (
    "torchvision",
    "sklearn",
    "scipy",
    "matplotlib",
    "tqdm",
    "pandas",
    "sacrebleu",
)

# What each room may know: rooms below it, by their faces. The towers that measure and
# that score meet in _runs alone; rooms to come stand in their places here.
BELOW = {
    "_version": set(),
    "_optional": set(),
    "_habits": set(),
    "_steps": set(),
    "_metrics": {"_steps", "_optional", "_habits"},
    "_transfer": set(),
    "_runs": {"_optional", "_habits"},
    "_tasks": {"_metrics", "_runs", "_optional"},
    "zoo": {"_metrics", "_optional"},
    "_training": {"_tasks", "zoo", "_metrics", "_runs", "_optional", "_version"},
    "_sweep": {"_training", "_tasks", "zoo", "_metrics", "_runs", "_optional"},
    "_selection": {
        "_metrics",
        "_transfer",
        "_tasks",
        "zoo",
        "_training",
        "_sweep",
        "_runs",
        "_scoring",
        "_optional",
        "_habits",
    },
    "_scoring": {"_runs", "_optional", "_habits", "_version"},
    "plot": {"_scoring", "_runs", "_optional"},
    "functional": {"_steps", "_metrics", "_transfer"},
    "typing": {
        "_steps",
        "_metrics",
        "_transfer",
        "_tasks",
        "zoo",
        "_training",
        "_runs",
        "_scoring",
    },
    "integrations": {
        "_steps",
        "_metrics",
        "_runs",
        "_tasks",
        "_training",
        "_sweep",
        "_optional",
    },
    "demo": set(),  # as a user: the face of the package alone
}
SCORING = ("_runs", "_scoring", "plot")


def _dotted(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {_dotted(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text(encoding="utf-8"))


@cache
def _imports(module: str) -> frozenset[str]:
    """The modules of the package that a module imports anywhere."""
    found = set()
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module in FILES:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                # A face hands on a function of the name of the file that holds it.
                file = inner in FILES and alias.name not in _bound(node.module)
                found.add(inner if file else node.module)
    return frozenset(found & FILES.keys())


@cache
def _bound(module: str) -> frozenset[str]:
    """The names that a module takes from others."""
    return frozenset(
        alias.asname or alias.name
        for node in _tree(module).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if f"{node.module}.{alias.name}" not in FILES or node.module != module
    )


def _room(module: str) -> str:
    """The folder or file at the top of the package that a module lies in."""
    return module.split(".")[1] if "." in module else ""


ROOMS = {module: _room(module) for module in FILES if _room(module) != "__main__"}
INNER = [module for module, room in ROOMS.items() if room]


def _arrows() -> dict[str, set[str]]:
    arrows: dict[str, set[str]] = {ROOMS[module]: set() for module in INNER}
    for module in INNER:
        arrows[ROOMS[module]] |= {ROOMS[each] for each in _imports(module)}
    return {room: known - {room, ""} for room, known in arrows.items()}


def test_every_room_has_its_place() -> None:
    """A new folder of the package is written into the plan above."""
    assert _arrows().keys() == BELOW.keys()


@pytest.mark.parametrize("room", BELOW)
def test_a_room_knows_the_rooms_below_it(room: str) -> None:
    """Arrows between rooms run down, as the plan says."""
    assert _arrows()[room] <= BELOW[room]


def test_rooms_and_floors_are_few() -> None:
    """At most 15 rooms on at most 8 floors, and no circle.

    Three files that every room may know are no rooms.
    """
    arrows, floors = _arrows(), {}
    while waiting := arrows.keys() - floors.keys():
        ready = {room for room in waiting if arrows[room] <= floors.keys()}
        assert ready, f"a circle in {sorted(waiting)}"
        floors |= dict.fromkeys(ready, max(floors.values(), default=0) + 1)
    assert len(floors.keys() - {"_version", "_optional", "_habits"}) <= 15
    assert max(floors.values()) <= 8


@pytest.mark.parametrize("module", INNER)
def test_a_room_is_entered_by_its_face(module: str) -> None:
    """What lies inside another folder is nobody else's to import."""
    faces = {name for name, path in FILES.items() if path.name == "__init__.py"}
    for each in _imports(module):
        if ROOMS[each] != ROOMS[module]:
            assert each in faces or each.count(".") == 1, each


@cache
def _private_names(module: str) -> frozenset[str]:
    """What a module calls its own: functions, classes and attributes."""
    names = set()
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return frozenset(filter(_is_private, names))


@pytest.mark.parametrize("module", INNER)
def test_a_private_name_stays_in_its_file(module: str) -> None:
    """No module reaches for a private name that another one defines."""
    theirs = set().union(*map(_private_names, INNER)) - _private_names(module)
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Attribute):
            assert node.attr not in theirs, node.attr
        if isinstance(node, ast.ImportFrom) and (node.module or "") in ROOMS:
            private = [each.name for each in node.names if _is_private(each.name)]
            assert not private or node.module == "pretrain_eval", private


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


@pytest.mark.parametrize("module", INNER)
def test_no_module_imports_itself_through_others(module: str) -> None:
    """Imports go down only: there are no circles, inside rooms either."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        here = waiting.pop()
        if FILES[here].name == "__init__.py" and here != module:
            continue  # a face hands on what lies below; the rooms are held above
        for each in _imports(here) - seen:
            seen.add(each)
            waiting.append(each)
    assert module not in seen


@pytest.mark.parametrize(
    ("parent", "family"),
    [
        ("_scoring.evaluator", "_scoring.protocols"),
        ("_metrics.metric", "_metrics.predictions"),
    ],
)
def test_a_parent_does_not_know_its_children(parent: str, family: str) -> None:
    """An abstract class is written without its members in mind."""
    known = _imports(f"pretrain_eval.{parent}")
    assert not {m for m in known if m.startswith(f"pretrain_eval.{family}.")}


@pytest.mark.parametrize("module", [m for m in INNER if ROOMS[m] in SCORING])
def test_scores_are_arithmetic_on_records(module: str) -> None:
    """The scoring side imports no torch, whoever imports what."""
    roots = set()
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Import):
            roots |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            roots.add((node.module or "").split(".")[0])
    assert not roots & {"torch", "torchvision"}


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


def test_the_face_imports_torch_and_numpy_only() -> None:
    """Every process and worker pays for it: no triton, no compiler, nothing else."""
    code = (
        "import sys, torch, numpy, typing_extensions; before = set(sys.modules);"
        "import pretrain_eval._sweep.workers;"
        "print(*sorted(set(sys.modules) - before))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    roots = {name.split(".")[0] for name in printed.split()}
    known = {"pretrain_eval", "torch", "numpy", *sys.stdlib_module_names}
    # What Cython compiled, as parts of numpy, shares a module of this name.
    assert not {root for root in roots - known if not root.startswith("_cython_")}
    assert not [name for name in printed.split() if name.startswith("torch._dynamo")]
