"""Rendered once for all tests of this folder."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pirt_stages.data.cli import main
from pirt_stages.data.pedestrians.synthesize import synthesize
from pirt_stages.data.standin_images import Extent
from pirt_stages.data.standins import make_standin


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smoke profile with seed 0, to be read only."""
    out = tmp_path_factory.mktemp("smoke") / "people"
    synthesize("smoke", 0, out, workers=1)
    return out


@pytest.fixture
def standin(tmp_path: Path) -> Callable[[str], Path]:
    """Make a stand-in with images of one pixel."""

    def make(name: str) -> Path:
        make_standin(name, tmp_path / name, Extent.SMALL, one_pixel=True, seed=0)
        return tmp_path / name

    return make


@pytest.fixture
def run() -> Callable[..., Result]:
    """Run the program; only exits that a person can mend are let through."""

    def invoke(*arguments: object) -> Result:
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return invoke


@pytest.fixture(scope="session")
def tree_hash() -> Callable[[Path], dict[str, str]]:
    """Map every file below a folder to the hash of its bytes."""

    def hashes(folder: Path) -> dict[str, str]:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    return hashes
