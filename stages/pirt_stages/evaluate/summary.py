"""What `pirt-eval` prints about an evaluation."""

from pathlib import Path

from pirt.ranking.embeddings import Embeddings
from pirt.ranking.results import METRICS_FILE, Metrics, Scores

_COLUMNS = ("mAP", "mINP", "rank-1", "rank-5", "rank-10")


def metrics_summary(metrics: Metrics, out: Path) -> str:
    """Say what was measured and what was left out."""
    counts, origin = metrics.counts, metrics.lineage
    junk = f"{counts.junk} junk images"
    kept, dropped = (f", {junk}", "") if metrics.protocol.junk == "keep" else ("", f"{junk}, ")
    lines = [
        f"{counts.queries} queries ({counts.skipped} skipped, without a valid match), {counts.gallery} "
        f"gallery images ({counts.distractors} distractors{kept}); left out: {dropped}"
        f"{counts.same_camera_pairs} same-camera pairs, {counts.unreadable} unreadable images",
        f"cameras: {metrics.protocol.cameras}",
        f"{'':16}{''.join(f'{column:>8}' for column in _COLUMNS)}",
    ]
    same_data = origin.trained_on_manifest == origin.manifest_fingerprint
    # On other images another store is a matter of course.
    if same_data and origin.trained_on_heatmaps != origin.heatmaps_fingerprint:
        lines.insert(2, "heatmaps: from another store than the one that the run was trained with")
    # A model without parts has no modes: it is ranked by the global distance alone.
    shown: list[tuple[str, Scores]] = [*metrics.confidence_modes.items()] or [("global", metrics)]
    for name, scores in shown:
        values = scores.model_dump(by_alias=True)
        lines.append(f"{name:16}{''.join(f'{100 * values[column]:8.2f}' for column in _COLUMNS)}")
    return "\n".join([*lines, f"wrote {out / METRICS_FILE}"])


def embeddings_summary(embeddings: Embeddings) -> str:
    """Say how many images were embedded."""
    unreadable = len(embeddings.lineage.unreadable)
    return f"wrote {embeddings.path}: {len(embeddings.keys)} images, left out {unreadable} unreadable ones"
