"""The wheel holds everything: installed away from the source, the program starts and runs its demo."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("connector", "adapters", "mappings")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a clean environment: our wheel, and the locked dependencies of this one."""
    home = tmp_path_factory.mktemp("installed")
    venv.create(home, symlinks=True)
    python = home / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(pip, check=True, capture_output=True)
    # A line in a .pth file adds our dependencies, but not the editable install beside them: nested ones are not read.
    libraries = next((home / "lib").glob("python*")) / "site-packages"
    (libraries / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return home / "bin"


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=180, check=False)


def test_every_file_of_the_packages_is_in_the_wheel(wheel: Path) -> None:
    there = {
        str(file.relative_to(ROOT))
        for package in PACKAGES
        for file in (ROOT / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert there == inside
    assert {"connector/config.example.toml", "mappings/exactonline.toml"} <= inside
    assert any(name.startswith("connector/store/migrations/versions/") for name in inside)


def test_the_installed_program_starts(installed: Path, tmp_path: Path) -> None:
    where = run([str(installed / "python"), "-c", "import connector; print(connector.__file__)"], tmp_path)
    assert where.stdout.startswith(str(installed.parent))
    shown = run([str(installed / "connector"), "--help"], tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "demo" in shown.stdout


def test_the_installed_demo_ends_with_an_equal_mirror(installed: Path, tmp_path: Path) -> None:
    sizes = ["--customers", "20", "--invoices", "60", "--seed", "1"]
    shown = run([str(installed / "connector"), "demo", *sizes], tmp_path)
    assert shown.returncode == 0, shown.stdout + shown.stderr
