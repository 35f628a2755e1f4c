"""Heatmap stores for tests: attributes that any store may have, and writing one whole."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pirt.core.keypoints import COCO_KEYPOINTS
from pirt.core.manifest import Manifest
from pirt.heatmaps.reader import open_unsealed
from pirt.heatmaps.schema import SkippedImage, StoreAttributes
from pirt_stages.pose.extraction.writer import create_store


def store_attributes(
    input_size: tuple[int, int],
    heatmap_size: tuple[int, int],
    keypoints: tuple[str, ...] = COCO_KEYPOINTS,
) -> StoreAttributes:
    """Attributes of a tau8 store; `model_copy(update=…)` changes any of them."""
    return StoreAttributes(
        keypoints=keypoints,
        codec="tau8",
        tau=0.001,
        input_size=input_size,
        heatmap_size=heatmap_size,
        geometry="resize",
        network="test",
        config_sha256="0" * 64,
        weights_sha256="0" * 64,
        precision="float32",
        flip_test=False,
        batch_size=1,
    )


def write_store(
    path: Path,
    manifest: Manifest,
    sizes: tuple[tuple[int, int], tuple[int, int]],
    values: Callable[[int], NDArray[np.float32]],
    *,
    shard_size: int = 8,
    skipped: Sequence[str] = (),
) -> Path:
    """Write and seal a store of `values(n)`, n×17×Hm×Wm, shard by shard; `sizes` are those of input and heatmaps."""
    left_out = tuple(SkippedImage(key=key, reason="zero bytes") for key in skipped)
    attributes = store_attributes(*sizes).model_copy(update={"skipped": left_out})
    writer = create_store(path, manifest.rows, attributes, shard_size)
    for shard in writer.pending():
        writer.write(shard, values(len(writer.rows(shard))))
    return writer.seal()


def make_version_2(store: Path, manifest: Manifest) -> None:
    """Turn a sealed store into what version 2 wrote: its manifest's fingerprint instead of its images' SHA-256."""
    shutil.rmtree(store / "image_sha256")
    table = json.loads((store / "zarr.json").read_text())
    del table["attributes"]["digests"], table["attributes"]["sha256"]
    table["attributes"]["pirt_heatmaps"] |= {"format_version": 2, "manifest_fingerprint": manifest.fingerprint}
    (store / "zarr.json").write_text(json.dumps(table))
    seal = open_unsealed(store).layout.seal_of(store)
    table["attributes"]["contents_sha256"] = seal.contents_sha256
    (store / "zarr.json").write_text(json.dumps(table))


def noise(seed: int, size: tuple[int, int], power: int) -> Callable[[int], NDArray[np.float32]]:
    """Draw heatmaps n×17×Hm×Wm in [0, 1], the lower the higher the `power`."""
    chance = np.random.default_rng(seed)
    return lambda count: chance.random((count, len(COCO_KEYPOINTS), *size), np.float32) ** power
