from pathlib import Path

import pytest
from tiny_persons import PARAMS, training_arguments, write_heatmaps, write_persons


@pytest.fixture(scope="session")
def persons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with manifest.csv, heatmaps.zarr and params.yaml; not to be changed."""
    root = tmp_path_factory.mktemp("persons")
    write_heatmaps(root / "heatmaps.zarr", write_persons(root))
    (root / "params.yaml").write_text(PARAMS)
    return root


@pytest.fixture
def arguments(persons: Path, tmp_path: Path) -> list[str]:
    """What a whole training is called with; it writes `tmp_path/run`."""
    return training_arguments(persons, tmp_path / "run")
