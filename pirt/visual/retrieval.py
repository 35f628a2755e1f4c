"""Figure 5: what several models find for the same queries."""

from collections.abc import Sequence

from PIL import Image

from pirt.core.errors import StoreError
from pirt.core.images import read_image
from pirt.core.manifest import ImageRow, Manifest
from pirt.ranking.embeddings import Embeddings
from pirt.ranking.evaluation import Ranker
from pirt.ranking.params import EvaluateParams
from pirt.ranking.results import default_mode
from pirt.visual.rank_list import QueryRow, Shown, draw_rank_lists, match_of, verdict_of


def draw_retrieval(
    models: Sequence[tuple[str, Embeddings, EvaluateParams]],
    manifest: Manifest,
    query_keys: Sequence[str],
    top_k: int = 10,
) -> Image.Image:
    """Draw the `top_k` nearest gallery images of each query, the models side by side under their titles.

    Each model's are in the order that its evaluation ranked them in. Images of the query's own camera are shown and
    marked, as in the paper.
    """
    for _, embeddings, _ in models:
        if embeddings.lineage.manifest_fingerprint != manifest.fingerprint:
            raise StoreError(f"embeddings {embeddings.path} come from another manifest than the images to show")
    rows = {row.key: row for row in manifest.rows}
    found = [_nearest_keys(embeddings, protocol, query_keys, top_k) for _, embeddings, protocol in models]
    return draw_rank_lists(
        [title for title, _, _ in models],
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


def _nearest_keys(
    embeddings: Embeddings, protocol: EvaluateParams, query_keys: Sequence[str], top_k: int
) -> list[list[str]]:
    place = {key: row for row, key in enumerate(embeddings.keys[: embeddings.query_count])}
    query, gallery = embeddings.features("query"), embeddings.features("gallery")
    ranker = Ranker(query, gallery, protocol)
    keys = embeddings.keys[embeddings.query_count :]
    found = []
    for asked in query_keys:
        # One query after another: the few that are shown need no blocks.
        row = slice(place[asked], place[asked] + 1)
        ranking = ranker.rankings(row, ranker.base(row), [default_mode(embeddings)])
        # Stable, for the metrics rank equal distances in the gallery's order.
        order = next(ranking)[0].argsort(stable=True)[:top_k]
        found.append([keys[image] for image in order.tolist()])
    return found


def _shown(manifest: Manifest, query: ImageRow, other: ImageRow) -> Shown:
    return Shown(
        read_image(manifest.image_path(other)),
        verdict_of(match_of(query.pid, other.pid)),
        same_camera=other.camid == query.camid,
    )
