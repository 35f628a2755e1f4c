"""What several folders look at, made once: persons to train on, and a run with what it is evaluated on."""

from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_gallery
import tiny_persons
from click.testing import CliRunner
from tiny_gallery import HEATMAP_SIZE, IMAGE_SIZE
from tiny_runs import BASELINE, SMALL, write_run

from pirt.runs.params import TrainParams
from pirt_stages.evaluate.cli import main


@pytest.fixture(scope="session")
def persons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with manifest.csv, heatmaps.zarr and params.yaml; not to be changed."""
    root = tmp_path_factory.mktemp("persons")
    tiny_persons.write_heatmaps(root / "heatmaps.zarr", tiny_persons.write_persons(root))
    (root / "params.yaml").write_text(tiny_persons.PARAMS)
    return root


@pytest.fixture(scope="session")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with run, baseline, manifest.csv and heatmaps.zarr; not to be changed."""
    root = tmp_path_factory.mktemp("evaluated")
    tiny_gallery.write_heatmaps(root / "heatmaps.zarr", tiny_gallery.write_persons(root))
    write_run(root / "run", SMALL, TrainParams(image_size=IMAGE_SIZE), HEATMAP_SIZE)
    write_run(root / "baseline", BASELINE, TrainParams(image_size=IMAGE_SIZE), HEATMAP_SIZE)
    return root


@pytest.fixture(scope="session")
def arguments_for(evaluated: Path) -> Callable[..., list[str]]:
    """The command line of a whole evaluation that writes `out`."""

    def arguments(out: Path, run: str = "run") -> list[str]:
        return [
            *("--run", str(evaluated / run), "--manifest", str(evaluated / "manifest.csv"), "--out", str(out)),
            *("--heatmaps", str(evaluated / "heatmaps.zarr"), "--device", "cpu", "--workers", "0"),
            *("--batch-size", "8"),
        ]

    return arguments


@pytest.fixture(scope="session")
def embeddings_file(evaluated: Path, arguments_for: Callable[..., list[str]]) -> Path:
    """`embeddings.h5` of the run; not to be changed."""
    ended = CliRunner().invoke(main, arguments_for(evaluated / "eval"))
    assert ended.exit_code == 0, ended.output
    return evaluated / "eval" / "embeddings.h5"
