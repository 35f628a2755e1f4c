"""A few tiny persons: colour tells them apart, and a blob wanders over their heatmaps."""

from pathlib import Path

import numpy as np
from PIL import Image
from tiny_stores import noise, write_store

from pirt.core.files import sha256_of
from pirt.core.manifest import ImageRow, Manifest, write_manifest

IDENTITIES, IMAGES = 6, 4
IMAGE_SIZE, HEATMAP_SIZE = (64, 32), (16, 8)

PARAMS = """\
seed: 3
model:
  backbone: resnet18_ibn_a
  width: 8
  strides: [1, 2, 1, 1]
  bottleneck: 8
  feedforward: 16
  confidence_hidden: 8
variants:
  pirt: {inter_layers: 1}
  parts: {intra: false, inter_layers: 0}
  baseline: {parts: false, intra: false, inter_layers: 0}
train:
  image_size: [64, 32]
  epochs: 3
  identities: 4
  instances: 2
  warmup_epochs: 1
  cosine_from_epoch: 2
  augment: {pad: 4}
"""


def write_persons(root: Path, identities: int = IDENTITIES, images: int = IMAGES) -> Manifest:
    """Write images and a manifest, `root/manifest.csv`."""
    chance = np.random.default_rng(0)
    rows = []
    for pid in range(1, identities + 1):
        colour = chance.integers(60, 200, 3)
        for number in range(images):
            for split, camid in (("train", number % 2), ("query", 0), ("gallery", 1)):
                if split != "train" and number:
                    continue
                name = f"{split}/{pid:04d}_{number}.png"
                pixels = np.clip(colour + chance.integers(-40, 40, (*IMAGE_SIZE, 3)), 0, 255).astype(np.uint8)
                (root / split).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(root / name)
                rows.append(ImageRow(name, name, split, pid, camid, sha256_of(root / name)))
    return write_manifest(root / "manifest.csv", rows, root)


def write_heatmaps(path: Path, manifest: Manifest, size: tuple[int, int] = HEATMAP_SIZE, skipped=()) -> Path:
    """Write a store of random blobs for every row of the manifest."""
    values = noise(1, size, power=8)
    return write_store(path, manifest, (IMAGE_SIZE, size), values, shard_size=16, skipped=skipped)


def training_arguments(persons: Path, out: Path, *more: str) -> list[str]:
    """Return the command line of a training on one process."""
    return [
        *("--params", str(persons / "params.yaml"), "--variant", "pirt", "--manifest", str(persons / "manifest.csv")),
        *("--heatmaps", str(persons / "heatmaps.zarr"), "--out", str(out), "--device", "cpu", "--workers", "0"),
        *more,
    ]
