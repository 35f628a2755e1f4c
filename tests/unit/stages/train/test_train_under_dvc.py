"""An interrupted `dvc repro` goes on, although DVC deletes a stage's outputs before it runs the stage."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

STAGE = """\
stages:
  train:
    cmd: >-
      python train.py --params params.yaml --variant pirt --manifest manifest.csv --heatmaps heatmaps.zarr
      --out runs/pirt
    params: [model, train]
    outs: [runs/pirt]
"""
KILLED_ONCE = """
import os, signal, sys
from pathlib import Path
from pirt.training import recipe
from pirt_stages.train.cli import main

seed_step, killed = recipe.seed_step, Path("killed")

def killed_once(seed, step, rank):
    if step == 5 and not killed.exists():
        killed.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    seed_step(seed, step, rank)

recipe.seed_step, recipe.SAVE_SECONDS = killed_once, 0
main(sys.argv[1:])
"""


@pytest.mark.slow
def test_an_interrupted_repro_goes_on(persons, tmp_path):
    folder = tmp_path / "project"
    shutil.copytree(persons, folder)
    (folder / "dvc.yaml").write_text(STAGE)
    (folder / "train.py").write_text(KILLED_ONCE)

    def dvc(*arguments):
        paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = os.environ | {"PATH": paths, "OMP_NUM_THREADS": "1", "PIRT_DEVICE": "cpu", "PIRT_WORKERS": "0"}
        command = [sys.executable, "-m", "dvc", *arguments]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)

    assert dvc("init", "--no-scm", "--quiet").returncode == 0
    interrupted = dvc("repro")
    assert interrupted.returncode != 0
    assert "exited with -9" in interrupted.stderr
    assert (folder / "runs/pirt.resume/state.pt").exists()
    again = dvc("repro")
    assert again.returncode == 0, again.stderr
    assert "going on after step 5, epoch 2" in again.stdout
    assert "epoch 1/3" not in again.stdout
    assert sorted(path.name for path in (folder / "runs").iterdir()) in (["pirt"], [".gitignore", "pirt"])
    assert "didn't change" in dvc("repro").stdout
