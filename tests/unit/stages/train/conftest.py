from pathlib import Path

import pytest
from tiny_persons import training_arguments


@pytest.fixture
def arguments(persons: Path, tmp_path: Path) -> list[str]:
    """What a whole training is called with; it writes `tmp_path/run`."""
    return training_arguments(persons, tmp_path / "run")
