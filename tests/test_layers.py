"""The floors of the house hold: import-linter, with the contracts of pyproject.toml."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """`lint-imports` on the package in `folder`, not on the installed one."""
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [program, "--no-logo", "--no-cache"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy to break."""
    shutil.copytree(ROOT / "tmcli", tmp_path / "tmcli", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_floors_hold() -> None:
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("records.py", "import tmcli.io", "A module imports only from floors below"),
        ("steps/synth.py", "import tmcli.steps.rollout", "Steps never import each other"),
        ("commands/synth.py", "import tmcli.commands.rollout", "Commands never import each other"),
        ("errors.py", "import tmcli.records", "No two neighbours need each other"),
    ],
)
def test_a_breach_is_found(house: Path, module: str, line: str, contract: str) -> None:
    broken = house / "tmcli" / module
    broken.write_text(broken.read_text() + f"\n{line}\n")
    result = lint(house)
    assert result.returncode == 1, result.stdout + result.stderr
    assert f"{contract} BROKEN" in result.stdout


def test_a_new_module_needs_a_floor(house: Path) -> None:
    (house / "tmcli" / "helpers.py").touch()
    result = lint(house)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "helpers" in result.stdout
