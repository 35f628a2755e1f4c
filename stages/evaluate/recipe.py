"""What `pirt-eval` does, from top to bottom."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pirt.data.manifest import ImageRow, Manifest
from pirt.embeddings import Embeddings, open_embeddings
from pirt.errors import StoreError
from pirt.files import sha256_of
from pirt.params import EvaluateParams
from pirt.run import WEIGHTS_FILE, read_record
from stages.evaluate.embed import Source, Speed, choose_device, choose_speed, embed, rows_to_embed, rows_to_measure
from stages.evaluate.measure import METRICS_FILE, SCORES_FILE, measure, write_metrics

EMBEDDINGS_FILE = "embeddings.h5"


def evaluate_run(
    source: Source, params: EvaluateParams, out: Path, device_name: str, batch_size: int, workers: int | None
) -> str:
    """Write `embeddings.h5` and `metrics.json` into `out`; return a summary for people."""
    speed = choose_speed(device_name, batch_size, workers)
    _embed(source, rows_to_measure(source), out, speed)
    metrics = measure(open_embeddings(out / EMBEDDINGS_FILE), params, speed.device)
    write_metrics(metrics, out)
    return summary(metrics, out)


def embed_run(source: Source, out: Path, device_name: str, batch_size: int, workers: int | None) -> str:
    """Write `embeddings.h5` of whatever queries and gallery images there are; return a summary for people."""
    _embed(source, rows_to_embed(source.manifest), out, choose_speed(device_name, batch_size, workers))
    embeddings = open_embeddings(out / EMBEDDINGS_FILE)
    unreadable = len(embeddings.lineage.unreadable)
    return f"wrote {embeddings.path}: {len(embeddings.keys)} images, left out {unreadable} unreadable ones"


def _embed(source: Source, rows: Sequence[ImageRow], out: Path, speed: Speed) -> None:
    """Write `embeddings.h5`; what was measured of earlier ones goes."""
    embed(source, rows, out / EMBEDDINGS_FILE, speed)
    for measured in (METRICS_FILE, SCORES_FILE):
        (out / measured).unlink(missing_ok=True)


def evaluate_embeddings(
    path: Path, run: Path | None, manifest: Manifest | None, params: EvaluateParams, out: Path, device_name: str
) -> str:
    """Write `metrics.json` from embeddings that are there; return a summary for people."""
    embeddings = open_embeddings(path)
    require_made_from(embeddings, run, manifest)
    if (out / EMBEDDINGS_FILE).exists() and not path.samefile(out / EMBEDDINGS_FILE):
        raise StoreError(
            f"{out} holds the metrics of its own {EMBEDDINGS_FILE}; name another --out for those of {path}"
        )
    metrics = measure(embeddings, params, choose_device(device_name))
    write_metrics(metrics, out)
    return summary(metrics, out)


def require_made_from(embeddings: Embeddings, run: Path | None, manifest: Manifest | None) -> None:
    """Raise when the embeddings are of another run or manifest than those given."""
    lineage = embeddings.lineage
    if run is not None:
        read_record(run)
        if (found := sha256_of(run / WEIGHTS_FILE)) != lineage.checkpoint_sha256:
            raise StoreError(
                f"embeddings {embeddings.path} are of another run (checkpoint {lineage.checkpoint_sha256[:12]}, that "
                f"of {run} is {found[:12]}); make them again with `pirt-eval --run {run}`"
            )
    if manifest is not None and manifest.fingerprint != lineage.manifest_fingerprint:
        raise StoreError(
            f"embeddings {embeddings.path} are of another manifest (fingerprint {lineage.manifest_fingerprint[:12]}, "
            f"this one is {manifest.fingerprint[:12]}); make them again with `pirt-eval --run`"
        )


def summary(metrics: dict[str, Any], out: Path) -> str:
    """Say what came out and what was left out."""
    counts, origin = metrics["counts"], metrics["lineage"]
    lines = [
        f"{counts['queries']} queries ({counts['skipped']} skipped, without a valid match), {counts['gallery']} "
        f"gallery images ({counts['distractors']} distractors); left out: {counts['junk']} junk images, "
        f"{counts['same_camera_pairs']} same-camera pairs, {counts['unreadable']} unreadable images",
        f"cameras: {metrics['protocol']['cameras']}",
        f"{'':16}{'mAP':>8}{'mINP':>8}{'rank-1':>8}{'rank-5':>8}{'rank-10':>8}",
    ]
    if (
        origin["trained_on_manifest"] == origin["manifest_fingerprint"]
        and origin["trained_on_heatmaps"] != origin["heatmaps_fingerprint"]
    ):
        lines.insert(2, "heatmaps: of another store than the one that the run was trained with")
    for name, scores in (metrics["confidence_modes"] or {"global": metrics}).items():
        shown = (f"{100 * scores[column]:8.2f}" for column in ("mAP", "mINP", "rank-1", "rank-5", "rank-10"))
        lines.append(f"{name:16}{''.join(shown)}")
    return "\n".join([*lines, f"wrote {out / METRICS_FILE}"])
