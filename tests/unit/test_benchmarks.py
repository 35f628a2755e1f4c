"""The benchmarks run by hand alone; that what they import is still there is noticed here."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mmpose", reason="half of them measure stage 1")

BENCHMARKS = sorted((Path(__file__).parents[2] / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("program", BENCHMARKS, ids=lambda path: path.stem)
def test_a_benchmark_loads(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(program.parent)
    assert callable(runpy.run_path(str(program), run_name="not main")["main"])


# As on the GPU's machine: PyTorch and little else, and no network.
WITHOUT_STAGE_1 = """
import runpy, socket, sys
for name in ("mmpose", "mmcv", "mmengine", "dask", "dvc", "dvclive", "matplotlib", "jinja2", "h5py", "scipy", "cv2"):
    sys.modules[name] = None
def refuse(*_):
    raise OSError("no network")
socket.socket.connect = refuse
sys.path.insert(0, sys.argv[1])
sys.argv = ["gpu.py", "--device", "cpu", "--tiny"]
runpy.run_path(f"{sys.path[0]}/gpu.py", run_name="__main__")
"""


@pytest.mark.slow
def test_the_benchmark_of_gpus_runs_in_small(tmp_path: Path) -> None:
    folder = BENCHMARKS[0].parent
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_STAGE_1, str(folder)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    tables = dict(part.split("\n", 1) for part in done.stdout.split("## ")[1:])
    assert len(tables) == 6
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines() if "|" in line]
    names = {row[0]: row[1:] for row in rows}
    assert {
        "float32",
        "TF32",
        "bfloat16",
        "+ channels-last",
        "+ fused optimizer",
        "the same, not repeatable",
        "+ compiled",
    } <= names.keys()
    assert [row[1] for row in rows if row[1] in ("equal", "differ")] == ["equal"] * 5
    assert names["queries whose first 50 ranks are the same"][0] == "100.00%"
    shares = [float(cell.rstrip("%")) for row in rows if row[0] == "0" for cell in row[3:]]
    assert len(shares) == 4
    assert all(0 <= share <= 100 for share in shares)
    assert not any(tmp_path.iterdir())
