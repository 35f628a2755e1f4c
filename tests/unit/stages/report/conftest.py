import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pirt.ranking.params import EvaluateParams
from pirt.runs.params import ModelParams, TrainParams

VARIANTS: dict[str, dict[str, Any]] = {
    "baseline": {"parts": False, "intra": False, "inter_layers": 0},
    "parts": {"intra": False, "inter_layers": 0},
    "intra": {"inter_layers": 0},
    "pirt": {},
    "pirt-n1": {"inter_layers": 1},
    "pirt-n2": {"inter_layers": 2},
    "pirt-n4": {"inter_layers": 4},
}


def scores(mean_ap: float) -> dict[str, float]:
    return {"mAP": mean_ap, "mINP": mean_ap / 2, "rank-1": mean_ap + 0.1, "rank-5": 0.8, "rank-10": 0.9}


def metrics(variant: str, seed: int, mean_ap: float) -> dict[str, Any]:
    """What pirt-eval writes."""
    model = ModelParams(**VARIANTS[variant])
    modes = {"query-gallery": 0.0, "query": 0.01, "gallery": 0.02, "none": 0.03, "even": 0.015}
    return {
        "variant": variant,
        "seed": seed,
        "model": model.model_dump(mode="json"),
        "train": TrainParams().model_dump(mode="json"),
        "protocol": {**EvaluateParams().model_dump(), "cameras": "labelled"},
        "counts": {
            "queries": 2210,
            "skipped": 0,
            "gallery": 17661,
            "junk": 0,
            "distractors": 0,
            "same_camera_pairs": 0,
            "unreadable": 0,
        },
        **scores(mean_ap),
        "cmc": [mean_ap + 0.1, *[0.8] * 8, 0.9],
        "confidence_modes": {m: scores(mean_ap - less) for m, less in modes.items()} if model.parts else {},
        "lineage": {
            "checkpoint_sha256": f"{variant}{seed}",
            "manifest_fingerprint": "m" * 64,
            "trained_on_manifest": "m" * 64,
            "trained_on_heatmaps": "h" * 64 if model.parts else None,
            "initial_weights_sha256": None,
            "heatmaps_fingerprint": "h" * 64 if model.parts else None,
        },
    }


@pytest.fixture
def write_metrics(tmp_path: Path) -> Callable[..., Path]:
    """Write one run's metrics.json under `tmp_path / "evaluate"` and return that folder."""

    def write(row: str, seed: int, mean_ap: float, **changes: Any) -> Path:
        table = metrics(row, seed, mean_ap)
        for name, value in changes.items():
            table[name] = {**table[name], **value} if isinstance(value, dict) else value
        path = tmp_path / "evaluate" / f"{row}-seed{seed}" / "metrics.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(table))
        return tmp_path / "evaluate"

    return write
