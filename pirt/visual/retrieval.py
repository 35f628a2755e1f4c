"""Figure 5: what several models find for the same queries."""

from collections.abc import Sequence

from PIL import Image

from pirt.core.errors import StoreError
from pirt.core.images import read_image
from pirt.core.manifest import ImageRow, Manifest
from pirt.core.pids import same_person
from pirt.ranking.embeddings import Embeddings
from pirt.visual.nearest import rank_gallery
from pirt.visual.rank_list import QueryRow, Shown, draw_rank_lists, verdict_of


def draw_retrieval(
    models: Sequence[tuple[str, Embeddings]], manifest: Manifest, query_keys: Sequence[str], top_k: int = 10
) -> Image.Image:
    """Draw the `top_k` nearest gallery images of each query, the models side by side under their titles.

    Images of the query's own camera are shown and marked, as in the paper.
    """
    for _, embeddings in models:
        if embeddings.lineage.manifest_fingerprint != manifest.fingerprint:
            raise StoreError(f"embeddings {embeddings.path} are of another manifest than the images to be shown")
    rows = {row.key: row for row in manifest.rows}
    found = [_nearest_keys(embeddings, query_keys, top_k) for _, embeddings in models]
    return draw_rank_lists(
        [title for title, _ in models],
        [
            QueryRow(
                Shown(read_image(manifest.image_path(rows[key])), "query"),
                tuple(tuple(_shown(manifest, rows[key], rows[other]) for other in lists[place]) for lists in found),
            )
            for place, key in enumerate(query_keys)
        ],
    )


def spread_queries(embeddings: Embeddings, count: int) -> tuple[str, ...]:
    """Choose queries evenly over the whole list, whatever is found for them."""
    total = embeddings.query_count
    count = min(count, total)
    return tuple(embeddings.keys[number * total // count] for number in range(count))


def _nearest_keys(embeddings: Embeddings, query_keys: Sequence[str], top_k: int) -> list[list[str]]:
    place = {key: row for row, key in enumerate(embeddings.keys[: embeddings.query_count])}
    asked = embeddings.features("query")[[place[key] for key in query_keys]]
    ranked = rank_gallery(asked, embeddings.features("gallery"), top_k)
    keys = embeddings.keys[embeddings.query_count :]
    return [[keys[image] for image in row] for row in ranked.images.tolist()]


def _shown(manifest: Manifest, query: ImageRow, other: ImageRow) -> Shown:
    return Shown(
        read_image(manifest.image_path(other)),
        verdict_of(same_person(query.pid, other.pid)),
        same_camera=other.camid == query.camid,
    )
