"""Queries and a gallery of noise with junk, distractors and a bad image, and their heatmaps."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tiny_stores import noise, write_store

from pirt.core.files import sha256_of
from pirt.core.manifest import ImageRow, Manifest, write_manifest

IMAGE_SIZE, HEATMAP_SIZE = (32, 16), (8, 4)
BAD_IMAGE = "gallery/bad.png"


def write_persons(root: Path) -> Manifest:
    """Five identities: a query, three gallery images on two cameras; two distractors, junk, one bad image."""
    images = [("query", pid, 0) for pid in range(1, 6)]
    images += [("gallery", pid, camid) for pid in range(1, 6) for camid in (0, 1, 1)]
    images += [("gallery", 0, 0), ("gallery", 0, 1), ("gallery", -1, 0)]
    chance = np.random.default_rng(0)
    rows = []
    for number, (split, pid, camid) in enumerate(images):
        name = f"{split}/{number:02}.png"
        (root / split).mkdir(parents=True, exist_ok=True)
        Image.fromarray(chance.integers(0, 255, (*IMAGE_SIZE, 3)).astype(np.uint8)).save(root / name)
        rows.append(ImageRow(name, name, split, pid, camid, sha256_of(root / name)))
    (root / BAD_IMAGE).write_bytes(b"")
    rows.append(ImageRow(BAD_IMAGE, BAD_IMAGE, "gallery", 1, 1, sha256_of(root / BAD_IMAGE)))
    return write_manifest(root / "manifest.csv", rows, root)


def write_heatmaps(
    path: Path, manifest: Manifest, size: tuple[int, int] = HEATMAP_SIZE, skipped: Sequence[str] = (BAD_IMAGE,)
) -> Path:
    return write_store(path, manifest, (IMAGE_SIZE, size), noise(1, size, power=4), skipped=skipped)
