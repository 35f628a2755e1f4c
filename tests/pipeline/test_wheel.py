"""What `pip install .` puts on a machine."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from tiny_gallery import HEATMAP_SIZE, IMAGE_SIZE, write_heatmaps, write_persons
from tiny_runs import SMALL, write_run

from pirt.runs.params import TrainParams

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


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment whose other packages are this one's, as installing them again takes gigabytes."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    site = next((folder / "venv" / "lib").glob("python*/site-packages"))
    zipfile.ZipFile(wheel).extractall(site)
    # A .pth file is read for its paths alone: the editable install's own hook stays out.
    (site / "requirements.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "venv" / "bin" / "python"


def printed(python: Path, program: str, folder: Path) -> str:
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [python, "-c", program], cwd=folder, env=bare, stdout=subprocess.PIPE, text=True, check=True
    ).stdout


@pytest.mark.slow
def test_it_runs_where_only_its_requirements_are(python: Path, tmp_path: Path) -> None:
    program = "import pirt, pirt_stages.train.cli; print(pirt.__version__, pirt.__file__)"
    version, file = printed(python, program, tmp_path).split()
    assert version == "0.1.0"
    assert python.parents[1] in Path(file).parents


@pytest.mark.slow
def test_the_api_page_runs_there(python: Path, tmp_path: Path) -> None:
    """A function makes the heatmaps of the first block, where the page has a network of the pose extra."""
    manifest = write_persons(tmp_path)
    write_heatmaps(tmp_path / "heatmaps.zarr", manifest)
    write_run(tmp_path / "run", SMALL, TrainParams(image_size=IMAGE_SIZE), HEATMAP_SIZE)
    shutil.copytree(tmp_path / "query", tmp_path / "people")
    page = (ROOT / "docs" / "api.md").read_text()
    made = f"heatmaps = lambda files: np.full((len(files), 17, *{HEATMAP_SIZE}), 0.5, np.float32)\n"
    first, second = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    first, replaced = re.subn(r"heatmaps = pirt\.live_heatmaps\(.*\)\n", made, first)
    assert replaced == 1
    said = printed(python, f"import numpy as np\n{first}print(matrix.shape)\n{second}", tmp_path)
    assert re.fullmatch(r"\(2, 3\)\nmAP \d+\.\d%, rank-1 \d+\.\d%, hardest query query/\d\d\.png\n", said)
    assert (tmp_path / "found.png").exists()
