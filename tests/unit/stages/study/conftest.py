"""Evaluations of random features on pictures of the smoke benchmark; of the gallery only the truth is made up."""

import json
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch

from pirt.core.keypoints import COCO_KEYPOINTS
from pirt.core.manifest import ImageRow, Manifest, write_manifest
from pirt.ranking.embeddings import EmbeddingsLineage, write_embeddings
from pirt.ranking.params import EvaluateParams
from pirt.ranking.recipe import evaluate_embeddings
from pirt.runs.params import ModelParams, TrainParams
from pirt_stages.data.pedestrians.coco import coco_keypoints
from pirt_stages.data.pedestrians.plan import GALLERY, PROFILES, QUERY, PlannedImage, plan
from pirt_stages.data.pedestrians.shot import Picture, render

SEED, CHANNELS = 0, 6
VARIANTS = {"baseline": {"parts": False, "intra": False, "inter_layers": 0}, "pirt": {}}


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with manifest.csv, keypoints.json and evaluate/{baseline,pirt}-seed{0,1}; not to be changed."""
    root = tmp_path_factory.mktemp("rendered")
    entries = [entry for entry in plan(PROFILES["smoke"], SEED) if entry.path.startswith((QUERY, GALLERY))]
    pictures = [(entry, _picture(entry)) for entry in entries]
    (root / "keypoints.json").write_text(json.dumps(coco_keypoints("smoke", SEED, pictures)))
    manifest = write_manifest(root / "manifest.csv", [_row(entry) for entry in entries], root)
    for variant, model in VARIANTS.items():
        for seed in range(2):
            _evaluate(root / f"evaluate/{variant}-seed{seed}", manifest, variant, ModelParams(**model), seed)
    return root


@pytest.fixture(scope="session")
def evaluate_as() -> Callable[..., None]:
    """Write random features into a folder, and what they measure."""
    return _evaluate


def _picture(entry: PlannedImage) -> Picture:
    if entry.path.startswith(QUERY):
        return render(SEED, entry.shot)
    bare = Picture(b"", ((0.0, 0.0, 0),) * len(COCO_KEYPOINTS), (0, 0, 0, 0), 0, 0.0, None)
    return replace(bare, occluder="box", occlusion=0.5) if entry.shot.occluded else bare


def _row(entry: PlannedImage) -> ImageRow:
    split = "query" if entry.path.startswith(QUERY) else "gallery"
    key = f"{split}/{Path(entry.path).name}"
    return ImageRow(key, entry.path, split, entry.pid, entry.shot.camera, sha256(key.encode()).hexdigest())


def _evaluate(
    folder: Path, manifest: Manifest, variant: str, model: ModelParams, seed: int, **protocol: object
) -> None:
    chance = np.random.default_rng([seed, len(variant)])
    pids = np.array([row.pid for row in manifest.rows])

    def features(*shape: int) -> torch.Tensor:
        people = chance.normal(size=(pids.max() + 2, *shape, CHANNELS))
        return torch.from_numpy(people[pids + 1] + 1.5 * chance.normal(size=(len(pids), *shape, CHANNELS)))

    batch = {"global": features()}
    if model.parts:
        confidence = torch.from_numpy(chance.dirichlet([2, 2, 2], size=len(pids)))
        batch = {"stripe": features(), "patch": features(), "groups": features(3), "confidence": confidence}
    lineage = EmbeddingsLineage(
        variant=variant,
        seed=seed,
        model=model,
        train=TrainParams(),
        checkpoint_sha256=f"{seed}" * 64,
        trained_on_manifest=manifest.fingerprint,
        trained_on_heatmaps=None,
        initial_weights_sha256=None,
        manifest_fingerprint=manifest.fingerprint,
        heatmaps_fingerprint=None,
        image_size=(128, 64),
    )
    write_embeddings(folder / "embeddings.h5", manifest.rows, lineage, [batch])
    params = EvaluateParams().model_copy(update=protocol)
    evaluate_embeddings(folder / "embeddings.h5", None, manifest, params, folder, torch.device("cpu"))
