"""A run with random weights, a manifest of noise with junk, distractors and a bad image, and its heatmaps."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from tiny_runs import BASELINE, SMALL, write_run
from tiny_stores import noise, write_store

from pirt.core.manifest import ImageRow, Manifest, write_manifest
from pirt.runs.params import TrainParams
from pirt_stages.evaluate.cli import main

IMAGE_SIZE, HEATMAP_SIZE = (32, 16), (8, 4)
BAD_IMAGE = "gallery/bad.png"


def write_persons(root: Path, query_camid: int = 0) -> Manifest:
    """Five identities: a query, three gallery images on two cameras; two distractors, junk, one bad image."""
    images = [("query", pid, query_camid) for pid in range(1, 6)]
    images += [("gallery", pid, camid) for pid in range(1, 6) for camid in (0, 1, 1)]
    images += [("gallery", 0, 0), ("gallery", 0, 1), ("gallery", -1, 0)]
    chance = np.random.default_rng(0)
    rows = []
    for number, (split, pid, camid) in enumerate(images):
        name = f"{split}/{number:02}.png"
        (root / split).mkdir(parents=True, exist_ok=True)
        Image.fromarray(chance.integers(0, 255, (*IMAGE_SIZE, 3)).astype(np.uint8)).save(root / name)
        rows.append(ImageRow(name, name, split, pid, camid, "0" * 64))
    (root / BAD_IMAGE).write_bytes(b"")
    rows.append(ImageRow(BAD_IMAGE, BAD_IMAGE, "gallery", 1, 1, "0" * 64))
    return write_manifest(root / "manifest.csv", rows, root)


def write_heatmaps(
    path: Path, manifest: Manifest, size: tuple[int, int] = HEATMAP_SIZE, skipped: Sequence[str] = (BAD_IMAGE,)
) -> Path:
    return write_store(path, manifest, (IMAGE_SIZE, size), noise(1, size, power=4), skipped=skipped)


@pytest.fixture
def store_without() -> Callable[[Path, Manifest, Sequence[str]], Path]:
    """Write a store of which images of some keys were skipped."""
    return lambda path, manifest, keys: write_heatmaps(path, manifest, skipped=keys)


@pytest.fixture(scope="session")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with run, baseline, manifest.csv and heatmaps.zarr; not to be changed."""
    root = tmp_path_factory.mktemp("evaluated")
    write_heatmaps(root / "heatmaps.zarr", write_persons(root))
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
