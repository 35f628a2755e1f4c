"""The paper's pipelines: their recipe, and what DVC re-runs; the dry run on stand-ins is `make paper-dryrun`."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML
from stubs import copy_with_stubs, dvc, ran

from pirt.core.params import read_yaml
from pirt.core.sizes import without_memory
from pirt.ranking.params import load_evaluate_params
from pirt.runs.params import ModelParams, Params, load_params
from pirt.runs.run import build_model

ROOT = Path(__file__).parents[2]
PIPELINES = ROOT / "pipelines"
FINGERPRINTS = ("network", "weights")
BENCHMARKS = ("occluded_duke", "market1501", "dukemtmc_reid")


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_the_recipe_is_the_papers(benchmark: str) -> None:
    path = PIPELINES / benchmark / "params.yaml"
    found = load_params(path, "pirt")
    assert found.train.backbone_weights is not None
    same = found.train.model_copy(update={"backbone_weights": None})
    # What the parameters leave to the backbone's own defaults.
    resnets = ModelParams(width=64, strides=(1, 2, 2, 1), stem_pool="padded")
    assert found.model_copy(update={"train": same}) == Params(model=resnets)


AUTHORS = {
    "model.stem_pool": ("padded", "ceil"),
    "model.groups": ("paper", "authors"),
    "model.intra_projection": (True, False),
    "train.triplet_weight": (1.0, 0.5),
    "evaluate.coarse": ("sum", "stripe"),
}


GPU = {"train.precision": ("float32", "bfloat16"), "train.compile": (False, True)}


@pytest.mark.parametrize(
    ("benchmark", "name", "expected"),
    [("occluded_duke", "authors", AUTHORS), *((benchmark, "gpu", GPU) for benchmark in BENCHMARKS)],
)
def test_a_recipe_differs_from_the_papers_only_where_it_says(
    benchmark: str, name: str, expected: dict[str, Any]
) -> None:
    folder = PIPELINES / benchmark
    paper, other = (leaves(read_yaml(folder / file)) for file in ("params.yaml", f"{name}.yaml"))
    assert paper.keys() == other.keys()
    assert {name: (paper[name], other[name]) for name in paper if paper[name] != other[name]} == expected
    said = re.findall(r"^ +(\w+): (\S+)  # paper: (\S+)$", (folder / f"{name}.yaml").read_text(), re.MULTILINE)
    differing = [(name.rpartition(".")[2], *values) for name, values in expected.items()]
    assert said == [(name, yaml_text(ours), yaml_text(papers)) for name, papers, ours in differing]


FAST_ROWS = ("baseline", "pirt")
RECIPES = {name: PIPELINES / "occluded_duke" / f"{name}.yaml" for name in ("vit", "swin")}
ROWS = [
    pytest.param(path, variant, id=f"{name}-{variant}", marks=() if variant in FAST_ROWS else pytest.mark.slow)
    for name, path in RECIPES.items()
    for variant in read_yaml(path)["variants"]
]


@pytest.mark.parametrize(("path", "variant"), ROWS)
def test_the_recipes_of_other_backbones_build(path: Path, variant: str) -> None:
    params = load_params(path, variant)
    with without_memory():
        model = build_model(2, params).eval()
    with torch.device("meta"):
        height, width = params.train.image_size
        outputs = model(torch.empty(1, 3, height, width), torch.empty(1, 17, height // 4, width // 4))
    assert outputs[model.global_names[0]].shape == (1, model.feature_channels)
    assert read_yaml(path)["pose"]["extract"]["input_size"] == [height, width]


def test_the_authors_recipe_loads() -> None:
    path = PIPELINES / "occluded_duke" / "authors.yaml"
    for variant in read_yaml(path)["variants"]:
        params = load_params(path, variant)
        assert (params.model.groups, params.train.sampler) == ("authors", "images")
    evaluate = load_evaluate_params(path)
    assert (evaluate.coarse, evaluate.group_distance) == ("stripe", "euclidean")


def leaves(table: dict[str, Any], to: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in table.items():
        found |= leaves(value, f"{to}{name}.") if isinstance(value, dict) else {f"{to}{name}": value}
    return found


def yaml_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


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
    assert pipelines[0] == pipelines[1] == pipelines[2]


def test_what_the_dry_run_reduces_is_there() -> None:
    reduced = read_yaml(PIPELINES / "dryrun.yaml")
    reduced["pose"].pop("train")  # of the small network that stands in for HRNet-W48
    whole = read_yaml(PIPELINES / "occluded_duke" / "params.yaml")

    assert leaves(reduced).keys() <= leaves(whole).keys()


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A DVC repository with one pipeline and programs that do nothing but write their outputs."""
    return copy_with_stubs(tmp_path, "pipelines/market1501")


@pytest.mark.slow
def test_one_changed_seed_reruns_its_runs_and_the_tables_alone(scratch: Path) -> None:
    pipeline = "pipelines/market1501/dvc.yaml"
    first = ran(dvc(scratch, "repro", pipeline))
    assert first == {"import", "extract", "figures", "report", *FINGERPRINTS} | {
        f"{s}@pirt-{n}" for s in ("train", "evaluate") for n in range(3)
    }
    assert ran(dvc(scratch, "repro", pipeline)) == {"import", *FINGERPRINTS}
    params = scratch / "pipelines/market1501/params.yaml"
    yaml = YAML()
    table = yaml.load(params)
    table["seeds"][2] = 7
    yaml.dump(table, params)
    assert ran(dvc(scratch, "repro", pipeline)) == {
        "import",
        *FINGERPRINTS,
        "figures",
        "train@pirt-7",
        "evaluate@pirt-7",
        "report",
    }
