"""What is shipped."""

import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import pretrain_eval

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "build",
            "--wheel",
            "--no-isolation",
            "-o",
            folder,
            ROOT,
        ],
        check=True,
        capture_output=True,
    )
    (built,) = folder.glob("*.whl")
    return built


def test_the_version_is_stated_once_in_effect() -> None:
    """The module's version is the one that is released."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.findall(r'^version = "(.*)"$', text, re.M) == [pretrain_eval.__version__]


def test_the_wheel_holds_the_package_alone(wheel: Path) -> None:
    """The wheel ships every module, the types marker and the licence, and no tests."""
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {
        str(path.relative_to(ROOT)) for path in (ROOT / "pretrain_eval").rglob("*.py")
    }
    assert modules | {"pretrain_eval/py.typed"} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [
        name for name in names if name.startswith(("tests", "examples", "docs"))
    ]


def test_the_wheel_imports_in_a_clean_environment(wheel: Path, tmp_path: Path) -> None:
    """Installed from the wheel alone, the package imports from there and runs."""
    venv.create(tmp_path / "venv", with_pip=True, system_site_packages=False)
    python = tmp_path / "venv" / "bin" / "python"
    # The dependencies, which take minutes to install, are lent by this environment.
    site = next(path for path in sys.path if path.endswith("site-packages"))
    lent = subprocess.run(
        [python, "-c", "import site; print(site.getsitepackages()[0])"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    (Path(lent) / "zz_lent.pth").write_text(site)
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel],
        check=True,
    )
    code = (
        "import pretrain_eval as pe; print(pe.__file__);"
        "print(pe.PersistenceEvaluator().score([pe.Run(model='m', task='t',"
        "dataset='d', strategy='s', seed=0, scores={'accuracy': 0.5})]).score)"
    )
    where, score = subprocess.run(
        [python, "-I", "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()
    assert where.startswith(lent)
    assert float(score) == 0.5
