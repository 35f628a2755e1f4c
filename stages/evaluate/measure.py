"""From `embeddings.h5` to `metrics.json`."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from pirt.data.manifest import Split
from pirt.embeddings import Embeddings
from pirt.evaluation import Persons, evaluate
from pirt.files import written_whole
from pirt.matching import DEFAULT_MODE
from pirt.metrics import JUNK_PID, RankMetrics
from pirt.params import EvaluateParams

METRICS_FILE, SCORES_FILE = "metrics.json", "scores.json"
HEADLINE = ("mAP", "mINP", "rank-1", "rank-5", "rank-10")
_DISTRACTOR_PID = 0
_ORIGINS = {
    "checkpoint_sha256",
    "trained_on_manifest",
    "trained_on_heatmaps",
    "initial_weights_sha256",
    "manifest_fingerprint",
    "heatmaps_fingerprint",
}


def measure(embeddings: Embeddings, params: EvaluateParams, device: torch.device) -> dict[str, Any]:
    """Rank the gallery for every query; return what `metrics.json` says."""
    query, gallery = persons(embeddings, "query"), persons(embeddings, "gallery")
    with tqdm(total=len(query), desc="matching", unit="query", disable=None) as bar:
        found = evaluate(query, gallery, **dict(params), device=device, progress=bar.update)
    default = found[DEFAULT_MODE] if embeddings.has_parts else found["none"]
    lineage = embeddings.lineage
    return {
        "variant": lineage.variant,
        "seed": lineage.seed,
        **scores(default),
        "cmc": default.cmc.tolist(),
        "confidence_modes": {mode: scores(metrics) for mode, metrics in found.items()} if embeddings.has_parts else {},
        "counts": counts(embeddings, query, gallery, default),
        "protocol": {**params.model_dump(), "cameras": cameras(query, gallery)},
        "model": lineage.model.model_dump(),
        "train": lineage.train.model_dump(),
        "lineage": lineage.model_dump(include=_ORIGINS),
    }


def persons(embeddings: Embeddings, split: Split) -> Persons:
    """Read one split of the file."""
    rows = embeddings.rows(split)
    return Persons(embeddings.features(split), embeddings.pids[rows], embeddings.camids[rows])


def scores(metrics: RankMetrics) -> dict[str, float]:
    """Return the numbers that tables show, as fractions."""
    cmc = metrics.cmc
    ranks = {f"rank-{rank}": float(cmc[min(rank, len(cmc)) - 1]) for rank in (1, 5, 10)}
    return {"mAP": metrics.mAP, "mINP": metrics.mINP, **ranks}


def counts(embeddings: Embeddings, query: Persons, gallery: Persons, metrics: RankMetrics) -> dict[str, int]:
    """Return how many images were used and how many were not, and why."""
    junk = int(np.count_nonzero(gallery.pids == JUNK_PID))
    views = Counter(zip(gallery.pids.tolist(), gallery.camids.tolist(), strict=True))
    return {
        "queries": metrics.num_queries,
        "skipped": metrics.num_skipped,
        "gallery": len(gallery) - junk,
        "junk": junk,
        "distractors": int(np.count_nonzero(gallery.pids == _DISTRACTOR_PID)),
        "same_camera_pairs": sum(views[view] for view in zip(query.pids.tolist(), query.camids.tolist(), strict=True)),
        "unreadable": len(embeddings.lineage.unreadable),
    }


def cameras(query: Persons, gallery: Persons) -> str:
    """Say whether the data set has camera labels, or the stand-ins that `pirt-data` gives it without."""
    unlabelled = set(query.camids.tolist()) == {0} and set(gallery.camids.tolist()) == {1}
    return "none: queries are camera 0, the gallery camera 1" if unlabelled else "labelled"


def write_metrics(metrics: dict[str, Any], folder: Path) -> None:
    """Write `metrics.json`, and its five headline numbers as `scores.json` for `dvc metrics show`.

    The same metrics give the same bytes.
    """
    for name, content in ((METRICS_FILE, metrics), (SCORES_FILE, {name: metrics[name] for name in HEADLINE})):
        with written_whole(folder / name) as beside:
            beside.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
