"""What `pirt-search` does, from top to bottom."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pirt.core.errors import DataError, StoreError
from pirt.core.files import refuse_folder, written_whole
from pirt.core.manifest import Manifest
from pirt.ranking.embed import Source, Speed, embed
from pirt.ranking.embeddings import Embeddings, refuse_other_embeddings
from pirt.runs.cache import without_skipped
from pirt.runs.run import weights_sha256
from pirt_stages.search.found import SearchChoice, choose_queries, require_same_model, search
from pirt_stages.search.index import RECALLED, IndexKind, MadeFor, open_index
from pirt_stages.search.output import RESULTS_FILE, as_table, draw_results, write_results

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

    def require_of(self, queries: Embeddings, gallery: Embeddings) -> None:
        """Raise StoreError where other images would be shown than were embedded, under the same keys."""
        for shown, embedded in ((self.queries, queries), (self.gallery, gallery)):
            if self.count and shown is not None and shown.fingerprint != embedded.lineage.manifest_fingerprint:
                raise StoreError(
                    f"embeddings {embedded.path} come from another manifest than the images of the picture; name "
                    "theirs with --manifest and --gallery-manifest, or pass --pictured 0"
                )


@contextmanager
def embedded_queries(
    source: Source, keys: Sequence[str], gallery: Embeddings, out: Path, speed: Speed
) -> Iterator[Path]:
    """Embed the manifest's queries, `keys` among them, with the run that made the gallery.

    They become OUT/queries.h5 when the block ends well, so that those of an earlier search stay with its results.
    """
    found, expected = weights_sha256(source.run), gallery.lineage.checkpoint_sha256
    if found != expected:
        raise StoreError(
            f"gallery {gallery.path} was embedded by another run (checkpoint {expected[:12]}, that of {source.run} is "
            f"{found[:12]}); features of different models cannot be compared"
        )
    queries = source.manifest.split("query")
    # Before they are embedded, which may take long.
    known = [query.key for query in without_skipped(source.heatmaps, queries)]
    if unknown := [key for key in keys if key not in known]:
        raise DataError(f"the manifest has no readable query {unknown[0]!r}; it has {next(iter(known), 'none')!r}")
    refuse_folder(out / QUERIES_FILE)
    refuse_other_embeddings(out / QUERIES_FILE)
    with written_whole(out / QUERIES_FILE) as beside:
        embed(source, queries, beside, speed)
        yield beside


def run_search(
    gallery: Embeddings,
    queries: Embeddings,
    keys: Sequence[str],
    choice: SearchChoice,
    coarse: IndexChoice,
    pictures: Pictures,
    out: Path,
) -> str:
    """Write the results, and the picture where there is one; return them as a table."""
    require_same_model(gallery, queries)
    pictures.require_of(queries, gallery)
    rows = choose_queries(queries, keys)
    # Whatever is refused in here leaves the index that is kept too.
    with open_index(gallery, coarse.kind, coarse.recall, coarse.folder) as index:
        lists = search(gallery, queries, rows, index, choice)
        drawn = None
        if pictures.queries is not None and pictures.gallery is not None and pictures.count:
            # Before anything is written, so that an image that is missing leaves the earlier results.
            drawn = draw_results(lists[: pictures.count], pictures.queries, pictures.gallery)
        write_results(lists, drawn, out)
    lines = [as_table(lists), f"coarse stage: {described(index.made_for)}"]
    if gallery.has_parts:
        lines.append(
            f"fine stage: nearest {choice.top_n} by parts, {choice.group_distance} distance, confidence {choice.mode}"
        )
    if choice.acceptance is not None:
        point = choice.acceptance.point
        lines.append(
            f"accepted: distance up to {point.threshold:.4f}; where it was measured, {point.true_positive_rate:.2%} of "
            f"the pairs of one person and {point.false_positive_rate:.2%} of all others were that near"
        )
    return "\n".join([*lines, f"wrote {out / RESULTS_FILE}"])


def described(index: MadeFor) -> str:
    """Say how far an index can be relied on."""
    if index.kind == "flat":
        return "flat, exact"
    return f"{index.kind}, effort {index.effort}, recall@{RECALLED} {index.reached:.4f} on a sample"
