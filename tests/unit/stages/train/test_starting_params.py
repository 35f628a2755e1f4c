"""`pirt-train --init-params`: files to start from, and nothing of the user's replaced."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pirt.core.params import read_yaml
from pirt.ranking.params import EvaluateParams, load_evaluate_params
from pirt.runs.params import ModelParams, TrainParams, load_params
from pirt_stages.train.cli import main

PIPELINE = Path(__file__).parents[4] / "pipelines" / "occluded_duke" / "params.yaml"


def init_params(path: Path) -> Result:
    return CliRunner().invoke(main, ["--init-params", str(path)])


def test_the_papers_set_is_that_of_its_pipeline(tmp_path: Path) -> None:
    told = init_params(tmp_path / "own.yaml")
    assert told.exit_code == 0, told.output
    assert [line.partition(":")[0] for line in told.output.splitlines()] == [
        str(tmp_path / "own.yaml"),
        str(tmp_path / "own-small.yaml"),
    ]
    written, pipeline = read_yaml(tmp_path / "own.yaml"), read_yaml(PIPELINE)
    for section in ("pose", "model", "train", "evaluate"):
        assert written[section] == pipeline[section]
    assert written["variants"].items() <= pipeline["variants"].items()
    params = load_params(tmp_path / "own.yaml", "pirt")
    weights = params.train.backbone_weights
    assert params.train == TrainParams(backbone_weights=weights)
    assert params.model == ModelParams(width=64, strides=(1, 2, 2, 1), stem_pool="padded")
    assert load_evaluate_params(tmp_path / "own.yaml") == EvaluateParams()


@pytest.mark.parametrize("variant", ["baseline", "pirt"])
def test_the_small_set_is_one_that_fits_together(tmp_path: Path, variant: str) -> None:
    assert init_params(tmp_path / "own.yaml").exit_code == 0
    params = load_params(tmp_path / "own-small.yaml", variant)
    extract = read_yaml(tmp_path / "own-small.yaml")["pose"]["extract"]
    # The network's heatmaps have a quarter of its input's size, and must cover the backbone's grid.
    assert extract["input_size"] == list(params.train.image_size) == [256, 128]
    assert params.train.epochs > params.train.cosine_from_epoch > params.train.warmup_epochs
    assert load_evaluate_params(tmp_path / "own-small.yaml") == EvaluateParams()


@pytest.mark.parametrize("there", ["own.yaml", "own-small.yaml"])
def test_what_is_there_stays_and_nothing_is_written_beside_it(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("mine")
    refused = init_params(tmp_path / "own.yaml")
    assert refused.exit_code == 2
    assert f"{there} exists and would be replaced" in refused.output
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [(there, "mine")]


def test_neither_is_written_where_one_is_refused(tmp_path: Path) -> None:
    refused = init_params(tmp_path / f"{'n' * 228}.yaml")
    assert refused.exit_code == 2
    assert "File name too long" in refused.output
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_not_of_a_parameter_file_is_refused(tmp_path: Path) -> None:
    refused = init_params(tmp_path / "own.txt")
    assert refused.exit_code == 2
    assert "pass a name such as params.yaml" in refused.output
    assert not list(tmp_path.iterdir())
