"""What `pirt-search` does, from top to bottom."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pirt.core.errors import StoreError
from pirt.core.manifest import Manifest
from pirt.progress import progress
from pirt.ranking.embed import Source, Speed, embed
from pirt.ranking.embeddings import Embeddings, open_embeddings
from pirt.runs.run import weights_sha256
from pirt_stages.search.found import (
    PICTURE_FILE,
    RESULTS_FILE,
    SearchChoice,
    as_table,
    choose_queries,
    draw_results,
    require_same_model,
    search,
    write_results,
)
from pirt_stages.search.index import RECALLED, IndexKind, MadeFor, open_index

QUERIES_FILE = "queries.h5"


@dataclass(frozen=True)
class IndexChoice:
    """The index of the coarse stage, the recall it has to reach, and the folder that keeps it, if any."""

    kind: IndexKind = "flat"
    recall: float = 0.99
    folder: Path | None = None


@dataclass(frozen=True)
class Pictures:
    """Where the images for the picture are, and how many queries it shows; without manifests there is none."""

    queries: Manifest | None
    gallery: Manifest | None
    count: int


def embed_queries(source: Source, gallery: Path, out: Path, speed: Speed) -> Path:
    """Embed the manifest's queries into OUT/queries.h5 with the run that made the gallery."""
    found, expected = weights_sha256(source.run), open_embeddings(gallery).lineage.checkpoint_sha256
    if found != expected:
        raise StoreError(
            f"gallery {gallery} was embedded by another run (checkpoint {expected[:12]}, that of {source.run} is "
            f"{found[:12]}); features of different models cannot be compared"
        )
    embed(source, source.manifest.split("query"), out / QUERIES_FILE, speed)
    return out / QUERIES_FILE


def run_search(
    gallery: Embeddings,
    queries: Embeddings,
    keys: Sequence[str],
    choice: SearchChoice,
    index_choice: IndexChoice,
    pictures: Pictures,
    out: Path,
) -> str:
    """Write the results; return them as a table."""
    require_same_model(gallery, queries)
    rows = choose_queries(queries, keys)
    images = gallery.rows("gallery")
    with progress(images.stop - images.start, "indexing", "image") as bar:
        index = open_index(gallery, index_choice.kind, index_choice.recall, index_choice.folder, bar.update)
    lists = search(gallery, queries, rows, index, choice)
    write_results(lists, out / RESULTS_FILE)
    if pictures.queries is not None and pictures.gallery is not None and pictures.count:
        draw_results(lists[: pictures.count], pictures.queries, pictures.gallery, out / PICTURE_FILE)
    lines = [as_table(lists), f"coarse stage: {described(index.made_for)}"]
    if gallery.has_parts:
        lines.append(
            f"fine stage: nearest {choice.top_n} by parts, {choice.group_distance} distance, confidence {choice.mode}"
        )
    if choice.acceptance is not None:
        point = choice.acceptance.point
        lines.append(
            f"accepted: distance up to {point.threshold:.4f}, which {point.true_positive_rate:.2%} of one person's "
            f"pairs and {point.false_positive_rate:.2%} of all others had where it was measured"
        )
    return "\n".join([*lines, f"wrote {out / RESULTS_FILE}"])


def described(index: MadeFor) -> str:
    """Say what an index can be relied on for."""
    if index.kind == "flat":
        return "flat, exact"
    return f"{index.kind}, effort {index.effort}, recall@{RECALLED} {index.reached:.4f} on a sample"
