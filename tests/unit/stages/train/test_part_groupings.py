"""Groups of one's own, from the parameter file through every program to the last picture."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click import Command
from click.testing import CliRunner
from matplotlib.colors import to_rgb
from PIL import Image
from tiny_persons import PARAMS, training_arguments

from pirt.core.errors import ParamsError
from pirt.core.manifest import read_manifest
from pirt.ranking.embeddings import open_embeddings
from pirt.ranking.results import read_metrics
from pirt.runs.params import ModelParams, load_params
from pirt.runs.run import load_run, read_record
from pirt.visual.figures import find_sources, write_figures
from pirt.visual.style import GREEN, PURPLE
from pirt_stages.evaluate.cli import main as evaluate
from pirt_stages.export.cli import main as export
from pirt_stages.export.export import metadata_of
from pirt_stages.search.cli import main as search
from pirt_stages.train.cli import main as train

TWO = {"top": ["nose", "left_shoulder", "right_shoulder"], "bottom": [15, 16]}
FOUR = {"left arm": [5, 7, 9], "right arm": ["right_shoulder", 8, 10], "head": [0, 1, 2, 3, 4], "legs": [13, 14]}
GROUPINGS = {"two": TWO, "four": FOUR}
NAMES = ("four", pytest.param("two", marks=pytest.mark.slow))


def params_with(**groupings: dict[str, list[Any]]) -> str:
    """The parameters of tiny persons with a variant for each grouping."""
    lines = [f"  {name}: {json.dumps({'inter_layers': 1, 'groups': groups})}" for name, groups in groupings.items()]
    return PARAMS.replace("variants:", "\n".join(["variants:", *lines]))


def run(program: Command, *arguments: object) -> str:
    ended = CliRunner().invoke(program, [str(argument) for argument in arguments])
    assert ended.exit_code == 0, ended.output
    return ended.output


@pytest.fixture(scope="module")
def evaluated(persons: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Train and evaluate a model with such groups once; the folder has run and evaluation."""
    root = tmp_path_factory.mktemp("groupings")
    (root / "params.yaml").write_text(params_with(**GROUPINGS).replace("epochs: 3", "epochs: 1"))

    def make(name: str) -> Path:
        out = root / name
        if not out.exists():
            data = ("--manifest", persons / "manifest.csv", "--heatmaps", persons / "heatmaps.zarr", "--device", "cpu")
            run(train, "--params", root / "params.yaml", "--variant", name, *data, "--workers", 0, "--out", out / "run")
            run(evaluate, "--run", out / "run", *data, "--workers", 0, "--out", out / "evaluation")
        return out

    return make


@pytest.mark.parametrize("name", NAMES)
def test_names_and_number_travel_with_the_run(name: str, evaluated: Callable[[str], Path]) -> None:
    names = tuple(GROUPINGS[name])
    written = json.loads((evaluated(name) / "run" / "run.json").read_text())["params"]["model"]["groups"]
    assert list(written) == list(names), "a mapping, as in the parameter file"
    model, record = load_run(evaluated(name) / "run")
    assert model.group_names == names
    assert json.loads(metadata_of(model, record, "")["pirt.groups"]) == list(names)
    embeddings = open_embeddings(evaluated(name) / "evaluation" / "embeddings.h5")
    assert embeddings.group_names == names
    assert embeddings.read("confidence", slice(None)).shape == (len(embeddings.keys), len(names))
    metrics = read_metrics(evaluated(name) / "evaluation" / "metrics.json")
    assert metrics.model.part_groups == record.params.model.part_groups
    assert [group for group, _ in metrics.model.part_groups] == list(names)


@pytest.mark.parametrize("name", NAMES)
def test_search_names_every_group(name: str, evaluated: Callable[[str], Path], persons: Path, tmp_path: Path) -> None:
    pytest.importorskip("faiss")
    gallery = evaluated(name) / "evaluation" / "embeddings.h5"
    table = run(search, "--gallery", gallery, "--manifest", persons / "manifest.csv", "--top-k", 2, "--out", tmp_path)
    for found in json.loads((tmp_path / "results.json").read_text()):
        for image in (found, *found["found"]):
            assert list(image["confidence"]) == list(GROUPINGS[name])
            assert sum(image["confidence"].values()) == pytest.approx(1, abs=1e-3)
    assert all(f"  {group} 0." in table for group in GROUPINGS[name])
    assert (tmp_path / "rank_lists.png").exists()


@pytest.mark.parametrize(
    ("name", "colour", "drawn"), [("four", PURPLE, True), pytest.param("two", GREEN, False, marks=pytest.mark.slow)]
)
def test_the_report_draws_the_groups_of_its_runs(
    name: str, colour: str, drawn: bool, evaluated: Callable[[str], Path], persons: Path, tmp_path: Path
) -> None:
    manifest = read_manifest(persons / "manifest.csv")
    write_figures(tmp_path / "figures", find_sources(evaluated(name), (), manifest, persons / "heatmaps.zarr", None))
    with Image.open(tmp_path / "figures" / "heatmaps.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    of_legend = (pixels == np.round(255 * np.array(to_rgb(colour)))).all(axis=1).sum()
    assert (of_legend > 100) == drawn


@pytest.mark.slow
def test_a_network_of_four_groups_is_exported(evaluated: Callable[[str], Path], tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    run(export, "onnx", "--run", evaluated("four") / "run", "--out", tmp_path / "four.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "four.onnx"))
    assert json.loads(session.get_modelmeta().custom_metadata_map["pirt.groups"]) == list(FOUR)
    assert {output.name: output.shape[1:] for output in session.get_outputs()}["confidence"] == [4]


def test_fine_tuning_keeps_the_groups_and_their_order(
    evaluated: Callable[[str], Path], persons: Path, tmp_path: Path
) -> None:
    (tmp_path / "params.yaml").write_text(params_with(four=dict(reversed(FOUR.items()))))
    arguments = training_arguments(persons, tmp_path / "run", "--init-from", str(evaluated("four") / "run"))
    arguments[1], arguments[3] = str(tmp_path / "params.yaml"), "four"
    ended = CliRunner().invoke(train, arguments)
    assert ended.exit_code == 2
    assert "groups is" in ended.output


def test_wrong_groups_are_one_line_of_the_parameter_file(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("model: {groups: {head: [noes]}}\n")
    with pytest.raises(ParamsError, match=r"params.yaml: model.groups: part group 'head': unknown keypoint 'noes'"):
        load_params(tmp_path / "params.yaml")


def test_a_record_gives_back_its_groups(evaluated: Callable[[str], Path]) -> None:
    model = read_record(evaluated("four") / "run").params.model
    assert model == ModelParams.model_validate_json(model.model_dump_json())
    assert model == ModelParams(**model.model_dump())
    assert model.model_copy(update={"parts": False}).part_groups == ()
