"""A tiny HRNet's files and a handful of people, for the tests of stage 1."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pirt.core.files import sha256_of
from pirt.core.manifest import ImageRow, Manifest, write_manifest

INPUT_SIZE = (64, 32)


@dataclass(frozen=True)
class TinyNetwork:
    config: Path
    checkpoint: Path


@dataclass(frozen=True)
class People:
    manifest: Manifest
    manifest_path: Path
    keypoints: Path


def make_people(folder: Path, identities: int = 3, images: int = 4) -> People:
    """Draw noise images of several sizes with random keypoints, `images` an identity."""
    rng = np.random.default_rng(0)
    rows, coco = [], {"images": [], "annotations": []}
    (folder / "data").mkdir(parents=True)
    for index in range(identities * images):
        name, size = f"{index:04d}.png", (int(rng.integers(20, 60)), int(rng.integers(40, 120)))
        coarse = Image.fromarray(rng.integers(0, 256, (8, 4, 3), dtype=np.uint8))
        coarse.resize(size, Image.Resampling.BICUBIC).save(folder / "data" / name)
        digest = sha256_of(folder / "data" / name)
        rows.append(ImageRow(f"train/{name}", name, "train", index // images + 1, 1, digest))
        places = np.c_[rng.uniform(0, 1, (17, 2)) * size, rng.integers(0, 3, 17)]
        coco["images"].append({"id": index, "file_name": name})
        coco["annotations"].append({"image_id": index, "keypoints": places.ravel().tolist()})
    (folder / "keypoints.json").write_text(json.dumps(coco))
    manifest = write_manifest(folder / "manifest.csv", rows, folder / "data")
    return People(manifest, folder / "manifest.csv", folder / "keypoints.json")
