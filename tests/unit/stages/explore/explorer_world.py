"""Two evaluations of random features: matches, own cameras, distractors, junk, names that look like markup."""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from pirt.core.files import sha256_of
from pirt.core.keypoints import COCO_KEYPOINTS
from pirt.core.manifest import ImageRow, Manifest
from pirt.heatmaps.schema import StoreAttributes
from pirt.ranking.embeddings import EmbeddingsLineage, write_embeddings
from pirt.ranking.params import EvaluateParams
from pirt.ranking.recipe import evaluate_embeddings
from pirt.runs.params import ModelParams, TrainParams
from pirt_stages.pose.extraction.writer import create_store

EVIL = "<img src=x onerror=document.title='pwned'>.png"
PEOPLE, CHANNELS, TOP_N = 12, 6, 9
CPU = torch.device("cpu")


def rows_of(root: Path) -> list[ImageRow]:
    chance = np.random.default_rng(0)
    images = [("query", pid, pid % 3) for pid in range(1, PEOPLE + 1)]
    images += [("gallery", pid, camid) for pid in range(1, PEOPLE + 1) for camid in (0, 1, 1, 2)]
    images += [("gallery", 0, 0), ("gallery", 0, 1), ("gallery", -1, 2), ("gallery", -1, 0)]
    rows = []
    for number, (split, pid, camid) in enumerate(images):
        name = EVIL if number in (0, PEOPLE) else f"{number:03}.png"
        (root / split).mkdir(parents=True, exist_ok=True)
        pixels = chance.integers(0, 200, (32 + number % 3, 16, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(root / split / name, "PNG")
        digest = sha256_of(root / split / name)
        rows.append(ImageRow(f"{split}/{name}", f"{split}/{name}", split, pid, camid, digest))
    return rows


def write_store(path: Path, manifest: Manifest) -> Path:
    attributes = StoreAttributes(
        keypoints=COCO_KEYPOINTS,
        codec="tau8",
        tau=0.001,
        input_size=(32, 16),
        heatmap_size=(8, 4),
        geometry="resize",
        network="test",
        config_sha256="0" * 64,
        weights_sha256="0" * 64,
        precision="float32",
        flip_test=False,
        batch_size=1,
    )
    writer = create_store(path, manifest.rows, attributes, shard_size=64)
    chance = np.random.default_rng(1)
    for shard in writer.pending():
        size = (len(writer.rows(shard)), len(COCO_KEYPOINTS), 8, 4)
        writer.write(shard, chance.random(size, np.float32) ** 8)
    return writer.seal()


def write_evaluation(folder: Path, manifest: Manifest, *, parts: bool, seed: int, **how: object) -> Path:
    """`embeddings.h5` and `metrics.json` of features that know a little of who is who."""
    chance = np.random.default_rng(seed)
    pids = np.array([row.pid for row in manifest.rows])

    def features(*shape: int) -> torch.Tensor:
        people = chance.normal(size=(PEOPLE + 2, *shape, CHANNELS))
        return torch.from_numpy(people[pids + 1] + 1.5 * chance.normal(size=(len(pids), *shape, CHANNELS)))

    batch = {"global": features()}
    if parts:
        confidence = torch.from_numpy(chance.dirichlet([2, 2, 2], size=len(pids)))
        batch = {"stripe": features(), "patch": features(), "groups": features(3), "confidence": confidence}
    lineage = EmbeddingsLineage(
        variant=folder.name,
        seed=seed,
        model=ModelParams() if parts else ModelParams(parts=False, intra=False, inter_layers=0),
        train=TrainParams(),
        checkpoint_sha256=f"{seed}" * 64,
        trained_on_manifest=manifest.fingerprint,
        trained_on_heatmaps=None,
        initial_weights_sha256=None,
        manifest_fingerprint=manifest.fingerprint,
        heatmaps_fingerprint=None,
        image_size=(32, 16),
    )
    write_embeddings(folder / "embeddings.h5", manifest.rows, lineage, [batch])
    params = EvaluateParams(top_n=TOP_N).model_copy(update=how)
    evaluate_embeddings(folder / "embeddings.h5", None, manifest, params, folder, CPU)
    return folder


def data_of(site: Path, name: str) -> dict:
    """What a piece of data holds."""
    text = (site / "data" / f"{name}.js").read_text()
    return json.loads(text.removeprefix(f'pirt.receive("{name}",').removesuffix(");\n"))
