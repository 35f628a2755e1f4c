"""Run `pipelines/paper` on stand-ins of the data sets, with a small network and few epochs, in a folder of its own.

    python pipelines/dryrun.py [FOLDER]     (default: runs/paper-dryrun)

It proves every import, stage, table and figure without any data; `dryrun.yaml` says what is reduced. The folder gets
a DVC repository of its own, so that neither the lock files nor the parameters of this one change. Run again, it goes
on where it stopped.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

HOME = Path(__file__).resolve().parent.parent
REDUCED = HOME / "pipelines" / "dryrun.yaml"
BENCHMARKS = ("occluded_duke", "market1501", "dukemtmc_reid")
IN_PIPELINES = ("occluded_dukemtmc", "market1501", "dukemtmc_reid")
IMPORTED_ONLY = ("occluded_reid", "partial_reid", "partial_ilids", "p_dukemtmc_reid", "msmt17")


def main(folder: Path) -> None:
    """Make the stand-ins and the pose network, reduce the parameters, run everything and print the tables."""
    copy_project(folder)
    for name in (*IN_PIPELINES, *IMPORTED_ONLY):
        make_standin(folder, name)
    train_pose_network(folder)
    for benchmark in BENCHMARKS:
        reduce_params(folder / "pipelines" / benchmark / "params.yaml")
    run(folder, "dvc", "repro", "pipelines/paper/dvc.yaml")
    run(folder, "pirt-report", "show", str(folder / "pipelines" / "paper" / "runs" / "report"))


def copy_project(folder: Path) -> None:
    """Copy what the pipelines depend on; their outputs in the folder stay."""
    # DVC reads every dvc.yaml in its repository, and other pipelines' ask for files that are not here.
    for name in (*(f"pipelines/{pipeline}" for pipeline in ("paper", *BENCHMARKS)), "pirt", "stages"):
        # What the pipelines made stays behind; `runs` is a room of the library too.
        made = ["runs", "dvc.lock"] if name.startswith("pipelines") else []
        ignore = shutil.ignore_patterns("__pycache__", *made)
        shutil.copytree(HOME / name, folder / name, ignore=ignore, dirs_exist_ok=True)
    shutil.copyfile(HOME / ".dvcignore", folder / ".dvcignore")
    if not (folder / ".dvc").exists():
        run(folder, "dvc", "init", "--quiet", "--no-scm")


def make_standin(folder: Path, name: str) -> None:
    """Write a stand-in; those that no pipeline reads are imported and checked here."""
    if not (folder / "data" / name).exists():
        run(folder, "pirt-data", "standin", name, "--out", f"data/{name}")
    if name in IMPORTED_ONLY:
        run(folder, "pirt-data", "import", f"data/{name}", "--layout", name, "--out", f"manifests/{name}.csv")


def train_pose_network(folder: Path) -> None:
    """Train the small HRNet on rendered pedestrians."""
    if (folder / "pose" / "checkpoint.pth").exists():
        return
    run(folder, "pirt-data", "synthesize", "--profile", "smoke", "--out", "data/rendered")
    run(folder, "pirt-data", "import", "data/rendered", "--out", "manifests/rendered.csv")
    labels = ("--manifest", "manifests/rendered.csv", "--keypoints", "data/rendered/keypoints.json")
    run(folder, "pirt-pose", "train", *labels, "--params", str(REDUCED), "--out", "pose")


def reduce_params(path: Path) -> None:
    """Lay `dryrun.yaml` over a parameter file."""
    yaml = YAML()
    yaml.width = 200
    params = yaml.load(path)
    lay_over(params, yaml.load(REDUCED))
    yaml.dump(params, path)


def lay_over(table: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Replace the leaves that both have; not every benchmark has every one."""
    for name, value in changes.items():
        if isinstance(value, Mapping) and isinstance(table.get(name), dict):
            lay_over(table[name], value)
        elif name in table:
            table[name] = value


def run(folder: Path, *command: str) -> None:
    """Run a program of this project in `folder`; when it fails, end with its exit code."""
    programs = str(Path(sys.executable).parent)
    environment = os.environ | {"PIRT_DATA": str(folder / "data"), "PATH": f"{programs}:{os.environ['PATH']}"}
    print("+", *command, flush=True)
    if code := subprocess.run(command, cwd=folder, env=environment, check=False).returncode:
        raise SystemExit(code)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else HOME / "runs" / "paper-dryrun").resolve())
