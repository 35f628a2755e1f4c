from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from explorer_world import rows_of, write_evaluation, write_store

from pirt.core.manifest import write_manifest
from pirt_stages.report.cli import main


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with manifest.csv, heatmaps.zarr and the evaluations baseline and <b>pirt</b>; not to be changed."""
    root = tmp_path_factory.mktemp("explored")
    manifest = write_manifest(root / "manifest.csv", rows_of(root), root)
    write_store(root / "heatmaps.zarr", manifest)
    write_evaluation(root / "baseline", manifest, parts=False, seed=1)
    write_evaluation(root / "<b>pirt", manifest, parts=True, seed=2)
    return root


@pytest.fixture(scope="session")
def explore(world: Path) -> Callable[..., Result]:
    """Run the program on both evaluations, or on those named."""

    def run(out: Path, *more: object, evaluations: tuple[str, ...] = ("baseline", "<b>pirt")) -> Result:
        inputs = ["--manifest", world / "manifest.csv", "--heatmaps", world / "heatmaps.zarr", "--device", "cpu"]
        arguments = ["explore", *(world / name for name in evaluations), *inputs, "--out", out, *more]
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    return run


@pytest.fixture(scope="session")
def site(world: Path, explore: Callable[..., Result], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the program writes; not to be changed."""
    out = tmp_path_factory.mktemp("site") / "explore"
    ended = explore(out)
    assert ended.exit_code == 0, ended.output
    return out
