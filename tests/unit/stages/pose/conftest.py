"""A tiny HRNet with random weights and a handful of people, for the tests of stage 1."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pirt.core.files import sha256_of
from pirt.core.manifest import ImageRow, Manifest, write_manifest
from pirt_stages.pose.networks.network import build_network
from pirt_stages.pose.training.small_hrnet import small_hrnet_config

INPUT_SIZE = (64, 32)


@dataclass(frozen=True)
class TinyNetwork:
    config: Path
    checkpoint: Path


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyNetwork:
    """Save config and checkpoint of a tiny HRNet whose heatmaps are around 0.1."""
    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    config = small_hrnet_config(INPUT_SIZE, channels=4, sigma=1.0)
    network = build_network(config, "tiny")
    torch.nn.init.constant_(network.estimator.head.final_layer.bias, 0.1)
    config.dump(str(folder / "tiny.py"))
    torch.save({"meta": {}, "state_dict": network.estimator.state_dict()}, folder / "tiny.pth")
    return TinyNetwork(folder / "tiny.py", folder / "tiny.pth")


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


@pytest.fixture
def people(tmp_path: Path) -> People:
    return make_people(tmp_path / "people")
