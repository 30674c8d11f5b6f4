"""The wheel is whole: built from the sdist, installed into a new venv elsewhere, used from there.

No network: the new venv borrows the libraries of this one by a path line, and only those; `tmcli`
itself comes from the wheel, which the test checks first.
"""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import orjson
import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT],
        check=True,
        capture_output=True,
    )
    [path] = folder.glob("tmcli-*.whl")
    return path


@pytest.fixture(scope="module")
def home(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new venv with the wheel in it."""
    folder = tmp_path_factory.mktemp("elsewhere") / "venv"
    venv.create(folder, with_pip=False, symlinks=True)
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--quiet",
         "--no-deps", "--no-index", wheel],
        check=True,
    )  # fmt: skip
    # A path line makes the libraries importable without running the .pth files there, so the
    # checkout (an editable install is such a file) stays out of reach.
    site = sysconfig.get_path("purelib", vars={"base": str(folder)})
    (Path(site) / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def shell(command: str, home: Path, cwd: Path) -> str:
    clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    clean["PATH"] = f"{home / 'bin'}:{clean['PATH']}"
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command], cwd=cwd, env=clean, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_wheel_holds_package_toolboxes_and_licence(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    due = {
        f"{inside}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, inside in (("tmcli", "tmcli"), ("toolspecs", "tmcli/_toolspecs"))
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert due <= names
    rest = {name for name in names - due if ".dist-info/" not in name}
    assert not rest, "files that are neither package nor toolbox"
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_wheel_is_what_runs(wheel: Path, home: Path, tmp_path: Path) -> None:
    code = "import tmcli, tmcli.protocol as p; print(tmcli.__file__); print(p.prompt('trial'))"
    place, prompt = shell(f'python -c "{code}"', home, tmp_path).split("\n", 1)
    assert Path(place).is_relative_to(home)
    assert "<answer>" in prompt
    assert wheel.name.split("-")[1] in shell("tm --version", home, tmp_path)


def test_toolboxes_are_found(home: Path, tmp_path: Path) -> None:
    code = "from tmcli import toolbox; print(*sorted(toolbox.names())); print(toolbox.load('library').folder)"
    names, folder = shell(f'python -c "{code}"', home, tmp_path).strip().split("\n")
    assert names.split() == sorted(path.parent.name for path in ROOT.glob("toolspecs/*/tools.json"))
    assert Path(folder).is_relative_to(home)


def test_synth_to_filter(home: Path, tmp_path: Path) -> None:
    lines = shell("tm synth -n 4 --drift none,stale | tm filter", home, tmp_path).splitlines()
    assert lines
    assert {orjson.loads(line)["kind"] for line in lines} == {"trajectory"}
