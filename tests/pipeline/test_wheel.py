"""What `pip install .` puts on a machine."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = ("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder))
    subprocess.run([sys.executable, "-m", "pip", *build, str(ROOT)], check=True)
    (made,) = folder.glob("*.whl")
    return made


@pytest.mark.slow
def test_only_names_that_begin_with_pirt_are_installed(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names} == {"pirt", "pirt_stages", "pirt-0.1.0.dist-info"}
    assert {"pirt/py.typed", "pirt/__init__.pyi", "pirt_stages/py.typed"} <= set(names)
    assert {f"pirt_stages/train/parameters/{name}.yaml" for name in ("paper", "small")} <= set(names)
    assert any(name.startswith("pirt_stages/explore/") and name.endswith(".js") for name in names)


@pytest.mark.slow
def test_it_runs_where_only_its_requirements_are(wheel: Path, tmp_path: Path) -> None:
    """A new environment whose other packages are this one's, as installing them anew takes gigabytes."""
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    zipfile.ZipFile(wheel).extractall(site)
    # A .pth file is read for its paths alone: the editable install's own hook stays out.
    (site / "requirements.pth").write_text(sysconfig.get_path("purelib") + "\n")
    program = "import pirt, pirt_stages.train.cli; print(pirt.__version__, pirt.__file__)"
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([python, "-c", program], cwd=tmp_path, env=bare, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0.1.0", str(site / "pirt" / "__init__.py")]
