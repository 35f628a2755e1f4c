"""The paper's pipelines: their recipe, and what DVC re-runs; the dry run on stand-ins is `make paper-dryrun`."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pirt.core.params import read_yaml
from pirt.runs.params import Params, load_params

ROOT = Path(__file__).parents[2]
PIPELINES = ROOT / "pipelines"
BENCHMARKS = ("occluded_duke", "market1501", "dukemtmc_reid")
RAN = re.compile(r"Running stage '(?:[\w./]+:)?([\w@-]+)'")


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_the_recipe_is_the_papers(benchmark: str) -> None:
    path = PIPELINES / benchmark / "params.yaml"
    found = load_params(path, "pirt")
    assert found.train.backbone_weights is not None
    same = found.train.model_copy(update={"backbone_weights": None})
    assert found.model_copy(update={"train": same}) == Params()


def test_the_variants_are_the_rows_of_tables_3_and_4() -> None:
    path = PIPELINES / "occluded_duke" / "params.yaml"
    models = [load_params(path, name).model for name in read_yaml(path)["variants"]]
    rows = {(model.parts, model.intra, model.inter_layers) for model in models}
    table_3 = {(False, False, 0), (True, False, 0), (True, True, 0), (True, True, 3)}
    assert rows == table_3 | {(True, True, layers) for layers in range(1, 5)}


def test_benchmarks_differ_in_data_and_name_alone() -> None:
    pipelines = [read_yaml(PIPELINES / benchmark / "dvc.yaml")["stages"] for benchmark in BENCHMARKS]
    for stages in pipelines:
        stages["import"].pop("cmd")
        stages["report"]["cmd"][0] = re.sub(r"--benchmark \S+", "", stages["report"]["cmd"][0])
    assert pipelines[0] == pipelines[1] == pipelines[2]


def test_what_the_dry_run_reduces_is_there() -> None:
    reduced = read_yaml(PIPELINES / "dryrun.yaml")
    reduced["pose"].pop("train")  # of the small network that stands in for HRNet-W48
    whole = read_yaml(PIPELINES / "occluded_duke" / "params.yaml")

    def leaves(table: dict[str, Any], to: str = "") -> set[str]:
        parts = [leaves(v, f"{to}{k}.") if isinstance(v, dict) else {f"{to}{k}"} for k, v in table.items()]
        return set().union(*parts)

    assert leaves(reduced) <= leaves(whole)


STUB = """\
import sys
from pathlib import Path

words = sys.argv[1:]
outs = {
    "train": ["model.safetensors", "run.json", "logs/plots/loss.tsv"],
    "eval": ["embeddings.h5", "metrics.json", "scores.json"],
    "extract": ["zarr.json"],
    "tables": ["tables/report.json"],
    "figures": ["figures/curves.png"],
}
name = words[0] if words[0] in ("train", "eval") else words[1]
if name == "html":
    made = [Path(words[2]) / "report.html"]
elif "--out" in words:
    out = Path(words[words.index("--out") + 1])
    made = [out / part for part in outs[name]] if name in outs else [out]
else:
    made = []
for path in made:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(" ".join(words) if path.suffix != ".json" else "{}")
"""


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A DVC repository with one pipeline and programs that do nothing but write their outputs."""
    for name in ("pipelines/market1501", "pirt", "stages"):
        ignore = shutil.ignore_patterns("__pycache__", "runs", "dvc.lock")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignore)
    (tmp_path / "stub.py").write_text(STUB)
    for program in ("data", "pose", "train", "eval", "report"):
        script = tmp_path / "bin" / f"pirt-{program}"
        script.parent.mkdir(exist_ok=True)
        script.write_text(f'#!/bin/sh\nexec {sys.executable} {tmp_path}/stub.py {program} "$@"\n')
        script.chmod(0o755)
    dvc(tmp_path, "init", "--quiet", "--no-scm")
    return tmp_path


def dvc(folder: Path, *arguments: str, data: str | None = "/nowhere") -> str:
    path = os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {name: value for name, value in os.environ.items() if name != "PIRT_DATA"} | {"PATH": path}
    environment |= {"PIRT_DATA": data} if data else {}
    command = ["dvc", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return done.stdout


@pytest.mark.slow
def test_one_changed_seed_reruns_its_runs_and_the_tables_alone(scratch: Path) -> None:
    pipeline = "pipelines/market1501/dvc.yaml"
    first = set(RAN.findall(dvc(scratch, "repro", pipeline)))
    assert first == {"import", "extract", "report"} | {f"{s}@pirt-{n}" for s in ("train", "evaluate") for n in range(3)}
    assert RAN.findall(dvc(scratch, "repro", pipeline)) == ["import"]
    params = scratch / "pipelines/market1501/params.yaml"
    yaml = YAML()
    table = yaml.load(params)
    table["seeds"][2] = 7
    yaml.dump(table, params)
    assert set(RAN.findall(dvc(scratch, "repro", pipeline))) == {
        "import",
        "train@pirt-7",
        "evaluate@pirt-7",
        "report",
    }


@pytest.mark.slow
def test_other_data_are_noticed(scratch: Path) -> None:
    pipeline = "pipelines/market1501/dvc.yaml"
    dvc(scratch, "repro", f"{pipeline}:extract")
    assert RAN.findall(dvc(scratch, "repro", f"{pipeline}:extract", data="/elsewhere")) == ["import", "extract"]


@pytest.mark.slow
def test_without_data_one_line_says_what_to_set(scratch: Path) -> None:
    said = dvc(scratch, "repro", "pipelines/market1501/dvc.yaml", data=None)
    assert "PIRT_DATA: set it to the folder with your data sets, see pipelines/README.md" in said
    assert "Traceback" not in said
