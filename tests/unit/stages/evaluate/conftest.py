"""A run with random weights, a manifest of noise with junk, distractors and a bad image, and its heatmaps."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from pirt.core.keypoints import COCO_KEYPOINTS
from pirt.core.manifest import ImageRow, Manifest, write_manifest
from pirt.heatmaps.schema import SkippedImage, StoreAttributes
from pirt.models import build_pirt
from pirt.runs.params import ModelParams, Params, TrainParams
from pirt.runs.run import RunRecord, save_run
from pirt_stages.evaluate.cli import main
from pirt_stages.pose.extraction.writer import create_store

IMAGE_SIZE, HEATMAP_SIZE = (32, 16), (8, 4)
BAD_IMAGE = "gallery/bad.png"
SMALL = ModelParams(
    backbone="resnet18_ibn_a", width=4, strides=(1, 2, 1, 1), bottleneck=8, feedforward=8, inter_layers=1
)
BASELINE = SMALL.model_copy(update={"parts": False, "intra": False, "inter_layers": 0})


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
    attributes = StoreAttributes(
        keypoints=COCO_KEYPOINTS,
        codec="tau8",
        tau=0.001,
        input_size=IMAGE_SIZE,
        heatmap_size=size,
        geometry="resize",
        network="test",
        config_sha256="0" * 64,
        weights_sha256="0" * 64,
        manifest_fingerprint=manifest.fingerprint,
        precision="float32",
        flip_test=False,
        batch_size=1,
        skipped=tuple(SkippedImage(key=key, reason="zero bytes") for key in skipped),
    )
    writer = create_store(path, manifest.keys, attributes, shard_size=8)
    chance = np.random.default_rng(1)
    for shard in writer.pending():
        count = len(writer.rows(shard))
        writer.write(shard, chance.random((count, len(COCO_KEYPOINTS), *size), np.float32) ** 4)
    return writer.seal()


def write_run(folder: Path, model: ModelParams, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    record = RunRecord(
        variant="small",
        num_classes=5,
        manifest_fingerprint="1" * 64,
        heatmaps_fingerprint="2" * 64,
        heatmap_size=HEATMAP_SIZE if model.parts else None,
        params=Params(seed=seed, model=model, train=TrainParams(image_size=IMAGE_SIZE)),
    )
    save_run(folder, build_pirt(5, **model.model_dump()), record)
    return folder


@pytest.fixture
def store_without() -> Callable[[Path, Manifest, Sequence[str]], Path]:
    """Write a store of which images of some keys were skipped."""
    return lambda path, manifest, keys: write_heatmaps(path, manifest, skipped=keys)


@pytest.fixture(scope="session")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with run, baseline, manifest.csv and heatmaps.zarr; not to be changed."""
    root = tmp_path_factory.mktemp("evaluated")
    write_heatmaps(root / "heatmaps.zarr", write_persons(root))
    write_run(root / "run", SMALL)
    write_run(root / "baseline", BASELINE)
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
