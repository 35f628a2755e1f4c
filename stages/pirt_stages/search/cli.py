"""`pirt-search`: parse, embed new queries if there are any, search, show."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import get_args

import click

from pirt.core.errors import ParamsError
from pirt.core.manifest import read_manifest
from pirt.ranking.embed import Source, choose_speed
from pirt.ranking.embeddings import open_embeddings
from pirt.ranking.matching import CONFIDENCE_MODES, DEFAULT_MODE, ConfidenceMode, GroupDistance
from pirt.ranking.results import METRICS_FILE, read_metrics
from pirt.runs.cache import store_for
from pirt_stages.command import Command, printable
from pirt_stages.options import (
    BATCH_SIZE,
    DEVICE,
    FILE,
    FOLDER,
    ROOT,
    WORKERS,
    Number,
    count,
    heatmaps_option,
    manifest_option,
    out_option,
)
from pirt_stages.search.found import SearchChoice, ThresholdName, choose_acceptance
from pirt_stages.search.index import IndexKind
from pirt_stages.search.output import refuse_other_results
from pirt_stages.search.recipe import IndexChoice, Pictures, embedded_queries, run_search

_COUNT = count()


@click.command(cls=Command)
@click.option("--gallery", type=FILE, required=True, help="embeddings.h5 of pirt-eval.")
@click.option("--queries", type=FILE, help="embeddings.h5 with the queries, if they are not in the gallery's file.")
@click.option("--run", type=FOLDER, help="Embed new queries with this run folder, which must be the gallery's.")
@manifest_option("Manifest of the queries (split query).", required=False)
@heatmaps_option()
@ROOT
@click.option("--gallery-manifest", type=FILE, help="Manifest of the gallery, if it is not --manifest.")
@click.option("--gallery-root", type=FOLDER, help="As --root, for --gallery-manifest.")
@click.option("--key", "keys", multiple=True, help="Only search for this query; may be repeated.")
@out_option("Folder for results.json and rank_lists.png.")
@click.option("--top-k", type=_COUNT, default=10, help="Images to find for each query.")
@click.option("--top-n", type=_COUNT, default=100, help="Images whose parts are compared.")
@click.option(
    "--confidence", type=click.Choice(CONFIDENCE_MODES), default=DEFAULT_MODE, help="Whose confidences weigh the parts."
)
@click.option(
    "--group-distance",
    type=click.Choice(get_args(GroupDistance)),
    default="euclidean",
    help="Distance between two parts.",
)
@click.option("--index", "kind", type=click.Choice(["flat", "ivf", "hnsw"]), default="flat", help="flat is exact.")
@click.option("--index-at", type=FOLDER, help="Folder that keeps the index for the next search.")
@click.option(
    "--recall",
    type=Number(0, 1, min_open=True),
    default=0.99,
    help="Share of the truly nearest 100 images that an ivf or hnsw index must find; it is measured.",
)
@click.option(
    "--threshold",
    type=click.Choice(get_args(ThresholdName)),
    help="Mark which images are accepted as the same person: at equal error rates, or at this rate of false positives.",
)
@click.option(
    "--metrics", "metrics_file", type=FILE, help="metrics.json with the thresholds, if it is not beside the gallery."
)
@click.option("--pictured", type=count(0), default=10, help="Queries shown in the picture.")
@DEVICE
@BATCH_SIZE
@WORKERS
def main(
    gallery: Path,
    queries: Path | None,
    run: Path | None,
    manifest_file: Path | None,
    heatmaps: Path | None,
    root: Path | None,
    gallery_manifest: Path | None,
    gallery_root: Path | None,
    keys: tuple[str, ...],
    out: Path,
    top_k: int,
    top_n: int,
    confidence: ConfidenceMode,
    group_distance: GroupDistance,
    kind: IndexKind,
    index_at: Path | None,
    recall: float,
    threshold: ThresholdName | None,
    metrics_file: Path | None,
    pictured: int,
    device: str,
    batch_size: int | None,
    workers: int | None,
) -> None:
    """Find the gallery images nearest to each query: a table, OUT/results.json and OUT/rank_lists.png.

    The picture needs the images: --manifest (and --gallery-manifest where the gallery has another one).

    \b
    Examples:
      pirt-search --gallery runs/embeddings/pirt-seed0/embeddings.h5 --manifest runs/manifest.csv --out runs/found
      pirt-search --gallery runs/embeddings/pirt-seed0/embeddings.h5 --threshold 0.001 \\
        --metrics runs/evaluate/pirt-seed0/metrics.json --out runs/accepted
      pirt-search --gallery runs/embeddings/pirt-seed0/embeddings.h5 --run runs/train/pirt-seed0 \\
        --manifest runs/manifest.csv --heatmaps runs/heatmaps.zarr --index ivf --index-at runs/index --out runs/new

    The first one searches for the queries that pirt-eval embedded with the gallery. The second one accepts one wrong
    person in a thousand pairs. The third one searches for new images with a manifest and heatmaps of their own; an ivf
    index suits galleries of millions.
    """
    if run is None and heatmaps is not None:
        raise ParamsError("--heatmaps are for new queries; pass --run, or leave them out")
    if manifest_file is None and (root is not None or gallery_manifest is not None):
        raise ParamsError("--root and --gallery-manifest need --manifest, the manifest of the queries")
    if gallery_manifest is None and gallery_root is not None:
        raise ParamsError("--gallery-root needs --gallery-manifest; the root of --manifest is --root")
    if threshold is None and metrics_file is not None:
        raise ParamsError("--metrics holds thresholds; say which one with --threshold")
    if index_at is not None and out.resolve().is_relative_to(index_at.resolve()):
        raise ParamsError("--out is --index-at or lies in it, and would be replaced by the index; name another --out")
    opened = open_embeddings(gallery)
    acceptance = None
    if threshold is not None:
        measured = read_metrics(gallery.parent / METRICS_FILE if metrics_file is None else metrics_file)
        acceptance = choose_acceptance(threshold, measured, opened, confidence, group_distance)
    manifest = None if manifest_file is None else read_manifest(manifest_file, root)
    shown = manifest if gallery_manifest is None else read_manifest(gallery_manifest, gallery_root)
    if run is not None and (manifest is None or queries is not None):
        raise ParamsError("new queries need --run and --manifest; leave out --queries")
    refuse_other_results(out)  # before queries are embedded and an index is built
    known: AbstractContextManager[Path] = nullcontext(gallery if queries is None else queries)
    if run is not None and manifest is not None:
        store = None if heatmaps is None else store_for(heatmaps, manifest)
        speed = choose_speed(device, batch_size, workers)
        known = embedded_queries(Source(run, manifest, store), keys, opened, out, speed)
    with known as place:
        table = run_search(
            opened,
            open_embeddings(place),
            keys,
            SearchChoice(top_k, top_n, confidence, group_distance, acceptance),
            IndexChoice(kind, recall, index_at),
            Pictures(manifest, shown, pictured),
            out,
        )
    click.echo(printable(table))
