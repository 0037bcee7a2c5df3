"""What surrounds the package says what is so: CI, hooks, pages, the reference."""

import dataclasses
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

import pretrain_eval as pe

ROOT = Path(__file__).parent.parent
SCRIPT = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
FILES = [
    ".ci/oldest",
    ".ci/pythons",
    ".github/CONTRIBUTING.md",
    ".github/ISSUE_TEMPLATE/bug.yml",
    ".github/ISSUE_TEMPLATE/idea.yml",
    ".github/PULL_REQUEST_TEMPLATE.md",
    ".github/workflows/ci.yml",
    ".github/SECURITY.md",
    ".pre-commit-config.yaml",
    ".readthedocs.yaml",
]


def text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def settings(path: str) -> Any:
    return yaml.safe_load(text(path))


def as_number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


@pytest.mark.parametrize("path", FILES)
def test_a_file_that_others_look_for_is_there(path: str) -> None:
    """It has content, and YAML can be read."""
    assert text(path).strip()
    if Path(path).suffix in (".yml", ".yaml"):
        assert isinstance(settings(path), dict)


def test_ci_runs_on_every_python_that_is_named() -> None:
    """The workflow's versions are the classifiers', from requires-python on."""
    jobs = settings(".github/workflows/ci.yml")["jobs"]
    tried = jobs["everything"]["strategy"]["matrix"]["python"]
    assert tried == re.findall(r'"Programming Language :: Python :: (3\.\d+)"', PROJECT)
    (lowest,) = re.findall(r'^requires-python = ">=(.*)"$', PROJECT, re.M)
    minors = [as_number(version)[1] for version in tried]
    assert tried[0] == lowest
    assert minors == list(range(minors[0], minors[0] + len(minors)))
    oldest = jobs["oldest"]["steps"]
    assert [step["with"]["python-version"] for step in oldest if "with" in step] == [
        lowest
    ]


def test_ci_runs_what_a_contributor_runs() -> None:
    """The commands are scripts of this repository, which bash can read."""
    jobs = settings(".github/workflows/ci.yml")["jobs"]
    commands = {
        name: [step["run"] for step in job["steps"] if "run" in step]
        for name, job in jobs.items()
    }
    assert commands == {"everything": ["bash .ci/run"], "oldest": ["bash .ci/oldest"]}
    for script in ("run", "oldest"):
        subprocess.run(["bash", "-n", ROOT / ".ci" / script], check=True)


def test_an_interpreter_that_is_not_there_is_skipped_with_a_reason() -> None:
    """The tests on every Python of a machine say which they left out, and why."""
    command = ["bash", ROOT / ".ci" / "pythons", "3.99"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    last = said.splitlines()[-1]
    assert last == "3.99: skipped, as this machine has no python3.99"


def test_hooks_call_the_tools_of_ci() -> None:
    """Every hook before a commit is a line of .ci/run."""
    (local,) = settings(".pre-commit-config.yaml")["repos"]
    entries = [hook["entry"] for hook in local["hooks"]]
    assert len(entries) == 3
    assert set(entries) <= set(map(str.strip, SCRIPT.splitlines()))


def test_hosted_documentation_is_built_as_ci_builds_it() -> None:
    """The same extra is installed, and a warning is an error."""
    hosted = settings(".readthedocs.yaml")
    (install,) = hosted["python"]["install"]
    assert install["extra_requirements"] == ["docs"]
    assert '".[docs]"' in SCRIPT
    assert hosted["sphinx"]["fail_on_warning"] is ("sphinx-build -W" in SCRIPT)
    assert (ROOT / hosted["sphinx"]["configuration"]).exists()


def test_contributors_are_told_the_command_that_is_run() -> None:
    """The guide's command is the README's, which .ci/run takes too."""
    (command,) = re.findall(r"^python3 -m venv .*pytest$", text("README.md"), re.M)
    assert command in text(".github/CONTRIBUTING.md").splitlines()


def test_contributors_are_sent_to_files_that_exist() -> None:
    """A path that the guide names is in the repository."""
    guide = text(".github/CONTRIBUTING.md")
    paths = re.findall(r"`((?:docs|tests|pretrain_eval)/[\w/.]+)`", guide)
    assert len(paths) > 10
    assert not [path for path in paths if not (ROOT / path).exists()]


def test_the_citation_has_the_version() -> None:
    """What the README tells to cite is what is installed."""
    assert f"version = {{{pe.__version__}}}" in text("README.md")


def described() -> Counter[str]:
    """The full names that the pages of the reference describe."""
    module, found = "pretrain_eval", Counter[str]()
    pages = [ROOT / "docs" / "api.md", *sorted((ROOT / "docs/reference").glob("*.md"))]
    directive = re.compile(r"^\.\. (currentmodule|auto\w+|py:data):: ([\w.]+)$", re.M)
    for page in pages:
        for kind, name in directive.findall(page.read_text(encoding="utf-8")):
            if kind == "currentmodule":
                module = name
            else:
                found[name if "." in name else f"{module}.{name}"] += 1
    return found


def test_the_reference_has_every_public_name_once() -> None:
    """docs/reference groups by hand; a new name needs its place there."""
    found, names = described(), {f"pretrain_eval.{name}" for name in pe.__all__}
    top = {name for name in found if name.count(".") == 1}
    missing, unknown = sorted(names - top), sorted(top - names)
    twice = sorted(name for name, count in found.items() if count > 1)
    assert not missing, f"add to a page of docs/reference: {missing}"
    assert not unknown, f"docs/reference has names that are not public: {unknown}"
    assert not twice, f"docs/reference has more than once: {twice}"


def test_the_reference_lists_its_pages() -> None:
    """Each stands in the table of docs/api.md, and in its contents."""
    page = text("docs/api.md")
    for file in (ROOT / "docs" / "reference").glob("*.md"):
        assert f"](reference/{file.name})" in page
        assert f"\nreference/{file.stem}\n" in page


def test_the_architecture_names_every_room() -> None:
    """Each folder and module at the top of the package has a line."""
    rows = set(re.findall(r"^\| `(\w+)` \|", text("docs/architecture.md"), re.M))
    package = Path(pe.__file__).parent
    modules = [*package.glob("[!_]*.py"), *package.glob("_[!_]*.py")]
    folders = [face.parent for face in package.glob("*/__init__.py")]
    missing = sorted({path.stem for path in (*modules, *folders)} - rows)
    assert not missing, f"add to the rooms of docs/architecture.md: {missing}"


@pytest.mark.parametrize("record", [pe.Run, pe.Cost])
def test_the_architecture_explains_every_number(record: Any) -> None:
    """Each field of a record that a store keeps has its meaning."""
    page = text("docs/architecture.md")
    cells = " ".join(re.findall(r"^\| (`[^|]*`) \|", page, re.M))
    named = set(re.findall(r"`(\w+)`", cells))
    missing = [f.name for f in dataclasses.fields(record) if f.name not in named]
    assert not missing, f"add to the tables of docs/architecture.md: {missing}"
