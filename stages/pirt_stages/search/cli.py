"""`pirt-search`: parse, embed new queries if there are any, search, show."""

from pathlib import Path
from typing import get_args

import click

from pirt.core.errors import ParamsError
from pirt.core.manifest import read_manifest
from pirt.ranking.embed import Source
from pirt.ranking.embeddings import open_embeddings
from pirt.ranking.matching import CONFIDENCE_MODES, DEFAULT_MODE, ConfidenceMode
from pirt.ranking.results import METRICS_FILE, read_metrics
from pirt_stages.command import Command
from pirt_stages.search.found import SearchChoice, ThresholdName, choose_acceptance
from pirt_stages.search.index import IndexKind
from pirt_stages.search.recipe import IndexChoice, Pictures, embed_queries, run_search

_PATH = click.Path(path_type=Path)
_COUNT = click.IntRange(min=1)


@click.command(cls=Command, context_settings={"show_default": True})
@click.option("--gallery", type=_PATH, required=True, help="embeddings.h5 of pirt-eval.")
@click.option("--queries", type=_PATH, help="embeddings.h5 with the queries, if not those of the gallery's file.")
@click.option("--run", type=_PATH, help="Embed new queries with this run folder, the one of the gallery.")
@click.option("--manifest", "manifest_file", type=_PATH, help="Manifest of the queries (split query).")
@click.option("--heatmaps", type=_PATH, help="Heatmap store made for that manifest.")
@click.option("--root", type=_PATH, help="Data root of the queries, instead of the manifest's.")
@click.option("--gallery-manifest", type=_PATH, help="Manifest of the gallery, if it is not --manifest.")
@click.option("--gallery-root", type=_PATH, help="Data root of the gallery, instead of its manifest's.")
@click.option("--key", "keys", multiple=True, help="Search for this query alone; may be given several times.")
@click.option("--out", type=_PATH, required=True, help="Folder for results.json and rank_lists.png.")
@click.option("--top-k", type=_COUNT, default=10, help="Images found for each query.")
@click.option("--top-n", type=_COUNT, default=100, help="Images that parts are compared for.")
@click.option("--confidence", type=click.Choice(CONFIDENCE_MODES), default=DEFAULT_MODE, help="Weights of the parts.")
@click.option("--index", "kind", type=click.Choice(["flat", "ivf", "hnsw"]), default="flat", help="flat is exact.")
@click.option("--index-at", type=_PATH, help="Folder that keeps the index for the next search.")
@click.option(
    "--recall",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.99,
    help="Share of the truly nearest 100 images that an ivf or hnsw index has to find; it is measured.",
)
@click.option(
    "--threshold",
    type=click.Choice(get_args(ThresholdName)),
    help="Say which images are accepted as the same person: at equal error rates, or at this rate of false positives.",
)
@click.option("--metrics", "metrics_file", type=_PATH, help="metrics.json with the thresholds, if not the gallery's.")
@click.option("--pictured", type=click.IntRange(min=0), default=10, help="Queries in the picture.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", envvar="PIRT_DEVICE")
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
    kind: IndexKind,
    index_at: Path | None,
    recall: float,
    threshold: ThresholdName | None,
    metrics_file: Path | None,
    pictured: int,
    device: str,
) -> None:
    """Find the gallery images nearest to each query: a table, OUT/results.json and OUT/rank_lists.png.

    The picture needs the images: --manifest (and --gallery-manifest where the gallery has another one).

    \b
    The queries that pirt-eval embedded with the gallery:
      pirt-search --gallery runs/eval/pirt-seed0/embeddings.h5 --manifest runs/manifest.csv --out found
    New images, with heatmaps of `pirt-pose extract`, in a gallery of millions:
      pirt-search --gallery gallery.h5 --gallery-manifest gallery.csv --index ivf --index-at gallery.index \\
        --run runs/train/pirt-seed0 --manifest new.csv --heatmaps new.zarr --out found
    Who is it, if it is anybody? One wrong person in a thousand pairs is accepted:
      pirt-search --gallery runs/eval/pirt-seed0/embeddings.h5 --threshold 0.001 --out found
    """
    if run is None and heatmaps is not None:
        raise ParamsError("--heatmaps are for new queries; pass --run, or leave them out")
    if manifest_file is None and (root is not None or gallery_manifest is not None):
        raise ParamsError("--root and --gallery-manifest need --manifest, the manifest of the queries")
    if gallery_manifest is None and gallery_root is not None:
        raise ParamsError("--gallery-root needs --gallery-manifest; the root of --manifest is --root")
    if threshold is None and metrics_file is not None:
        raise ParamsError("--metrics holds thresholds; say which one with --threshold")
    opened = open_embeddings(gallery)
    acceptance = None
    if threshold is not None:
        measured = read_metrics(gallery.parent / METRICS_FILE if metrics_file is None else metrics_file)
        acceptance = choose_acceptance(threshold, measured, opened, confidence)
    manifest = None if manifest_file is None else read_manifest(manifest_file, root)
    if run is not None:
        if manifest is None or queries is not None:
            raise ParamsError("new queries need --run and --manifest, and --queries has no place beside them")
        queries = embed_queries(Source(run, manifest, heatmaps), gallery, out, device)
    shown = manifest if gallery_manifest is None else read_manifest(gallery_manifest, gallery_root)
    table = run_search(
        opened,
        open_embeddings(gallery if queries is None else queries),
        keys,
        SearchChoice(top_k, top_n, confidence, acceptance),
        IndexChoice(kind, recall, index_at),
        Pictures(manifest, shown, pictured),
        out,
    )
    click.echo(table)


if __name__ == "__main__":
    main()
