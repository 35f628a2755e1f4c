"""The default `dvc.yaml` on the smoke profile: what runs, what is the same twice, what a change re-runs."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
RAN = re.compile(r"Running stage '([\w@-]+)'")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def dvc(clone: Path, *arguments: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["dvc", *arguments], cwd=clone, env={**os.environ, "PATH": path, "PYTHONPATH": str(clone)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


def edit(clone: Path, change: Callable[[Any], None]) -> None:
    yaml = YAML()
    params = yaml.load(clone / "params.yaml")
    change(params)
    yaml.dump(params, clone / "params.yaml")


def shrink(params: Any) -> None:
    params["data"]["profile"] = "smoke"
    params["pose"]["train"]["epochs"] = 1
    params["train"].update(epochs=1, warmup_epochs=0, cosine_from_epoch=0, identities=4, instances=2)


def clone_into(folder: Path) -> Path:
    subprocess.run(["git", "init", "-q", folder], check=True)
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    (folder / "dvc.lock").unlink(missing_ok=True)
    edit(folder, shrink)
    commit = ["git", "-c", "user.name=test", "-c", "user.email=test@example.org", "commit", "-q", "-m", "Shrink"]
    subprocess.run(["git", "add", "-A"], cwd=folder, check=True)
    subprocess.run(commit, cwd=folder, check=True)
    return folder


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    clone = clone_into(tmp_path_factory.mktemp("first"))
    dvc(clone, "repro")
    return clone


def ran(output: str) -> set[str]:
    """What ran beside the stages that fingerprint weights, which always run."""
    return set(RAN.findall(output)) - {"weights", "pose-weights"}


def test_a_second_repro_runs_nothing(clone: Path) -> None:
    assert ran(dvc(clone, "repro")) == set()


def test_two_clones_give_the_same_bytes(clone: Path, tmp_path: Path) -> None:
    other = clone_into(tmp_path / "second")
    dvc(other, "repro")
    stores = [
        sorted(path.relative_to(c / "runs") for path in (c / "runs/heatmaps.zarr").rglob("*")) for c in (clone, other)
    ]
    assert stores[0] == stores[1]
    files = [Path("manifest.csv"), *(path for path in stores[0] if (clone / "runs" / path).is_file())]
    files += [path.relative_to(clone / "runs") for path in (clone / "runs").rglob("metrics.json")]
    assert len(files) > 5
    for file in files:
        assert (clone / "runs" / file).read_bytes() == (other / "runs" / file).read_bytes(), file


def set_learning_rate(params: Any) -> None:
    params["train"]["learning_rate"] = 1e-4


def set_tau(params: Any) -> None:
    params["pose"]["extract"]["tau"] = 0.002


def set_matching(params: Any) -> None:
    params["evaluate"]["top_n"] = 5


VARIANTS = ("baseline", "parts", "intra", "pirt")
TRAINED = {f"train@{variant}-0" for variant in VARIANTS}
EVALUATED = {f"evaluate@{variant}-0" for variant in VARIANTS}


@pytest.mark.parametrize(
    ("change", "reruns"),
    [
        (set_learning_rate, TRAINED),
        (set_tau, {"extract"}),
        (set_matching, EVALUATED | {"reference"}),
    ],
)
def test_a_parameter_reruns_its_stage_and_none_before_it(
    clone: Path, change: Callable[[Any], None], reruns: set[str]
) -> None:
    # A dry run names the stages that changed themselves; what follows them runs once their outputs differ.
    before = (clone / "params.yaml").read_bytes()
    edit(clone, change)
    try:
        assert ran(dvc(clone, "repro", "--dry")) == reruns
    finally:
        (clone / "params.yaml").write_bytes(before)


def test_the_pose_network_reruns_pose(clone: Path) -> None:
    source = clone / "stages/pirt_stages/pose/training/train.py"
    before = source.read_bytes()
    source.write_bytes(before + b"# changed\n")
    try:
        assert ran(dvc(clone, "repro", "--dry")) == {"pose"}
    finally:
        source.write_bytes(before)


def test_a_comment_in_a_test_reruns_nothing(clone: Path) -> None:
    with (clone / "tests/conftest.py").open("a") as file:
        file.write("# a comment\n")
    assert ran(dvc(clone, "repro", "--dry")) == set()


def test_metrics_plots_and_graph_are_readable(clone: Path) -> None:
    metrics = dvc(clone, "metrics", "show")
    assert "mAP" in metrics
    assert "runs/evaluate/pirt-seed0/scores.json" in metrics
    assert "train@pirt-0" in dvc(clone, "dag")
    dvc(clone, "plots", "show", "--out", "plots")
    assert (clone / "plots/index.html").stat().st_size > 1000
