"""Run folders of tiny models with random weights, as `pirt-train` leaves them."""

from pathlib import Path

import torch

from pirt.core.manifest import Manifest
from pirt.models import build_pirt
from pirt.runs.params import ModelParams, Params, TrainParams
from pirt.runs.run import RunRecord, save_run

SMALL = ModelParams(
    backbone="resnet18_ibn_a", width=4, strides=(1, 2, 1, 1), bottleneck=8, feedforward=8, inter_layers=1
)
BASELINE = SMALL.model_copy(update={"parts": False, "intra": False, "inter_layers": 0})


def write_run(
    folder: Path,
    model: ModelParams,
    train: TrainParams,
    heatmap_size: tuple[int, int],
    *,
    num_classes: int = 5,
    variant: str | None = "small",
    seed: int = 0,
    manifest: Manifest | None = None,
) -> Path:
    """Save a model of random weights with its record."""
    torch.manual_seed(seed)
    record = RunRecord(
        variant=variant,
        num_classes=num_classes,
        manifest_fingerprint="1" * 64 if manifest is None else manifest.fingerprint,
        heatmaps_fingerprint="2" * 64,
        heatmap_size=heatmap_size if model.parts else None,
        params=Params(seed=seed, model=model, train=train),
    )
    save_run(folder, build_pirt(num_classes, **model.model_dump()), record)
    return folder
