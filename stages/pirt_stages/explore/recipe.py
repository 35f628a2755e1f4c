"""The recipe of `pirt-report explore`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from pirt.core.errors import ReportError
from pirt.core.files import is_free, refuse_other_files, written_whole
from pirt.core.manifest import Manifest
from pirt.ranking.results import Metrics
from pirt.runs.cache import store_for
from pirt_stages.explore.failures import Found, overview_of, traits_of
from pirt_stages.explore.pictures import HEATMAPS, THUMBNAILS, write_heatmaps, write_thumbnails
from pirt_stages.explore.retrieval import retrieve, take_apart
from pirt_stages.explore.site import ASSETS, DATA, PAGE, TABLE, write_data, write_page, write_table
from pirt_stages.explore.sources import open_evaluations, shown_rows
from pirt_stages.explore.traits import known_cover


def explore(
    evaluations: Mapping[Path, Metrics],
    places: Sequence[Path],
    manifest: Manifest,
    heatmaps: Path,
    keypoints: Path | None,
    out: Path,
    device: torch.device,
) -> None:
    """Write a folder that shows the evaluations in a browser; `out` is replaced if it is such a folder.

    `places`: where embeddings are searched for that do not lie beside their metrics.
    """
    # What can be refused is refused before rankings are computed, which takes minutes.
    _refuse_foreign(out)
    opened = open_evaluations(evaluations, places, manifest)
    embeddings = opened[0].embeddings
    rows, count = shown_rows(manifest, embeddings), embeddings.query_count
    queries = rows[:count]
    store = store_for(heatmaps, manifest)
    cover = None if keypoints is None else known_cover(keypoints, queries)
    manifest.require_files(rows)
    retrievals = [retrieve(one, device) for one in opened]
    # A pair that one evaluation shows can be looked at in all of them.
    images = [np.unique(np.concatenate([found.images(query) for found in retrievals])) for query in range(count)]
    found = [Found(one, what, take_apart(one, images, device)) for one, what in zip(opened, retrievals, strict=True)]
    shown = np.unique(np.concatenate(images)) + count
    with written_whole(out) as folder:
        folder.mkdir()
        looks = write_thumbnails(folder, manifest, {n: rows[n] for n in [*range(count), *shown.tolist()]}, count)
        write_heatmaps(folder, store, queries)
        traits = traits_of(found, store, queries, looks, cover)
        write_data(folder, found, rows, overview_of(found, traits, embeddings.pids[:count]))
        write_table(folder, found, queries, traits)
        write_page(folder, found)


def _refuse_foreign(out: Path) -> None:
    """Raise when a folder that no explorer made would be replaced."""
    if out.is_dir() and not is_free(out) and not ((out / PAGE).is_file() and (out / TABLE).is_file()):
        raise ReportError(f"{out} was not made by `pirt-report explore` and would be replaced; name another --out")
    forms = (f"{DATA}/*.js", f"{THUMBNAILS}/*/*.webp", f"{HEATMAPS}/*/*.webp")
    refuse_other_files(out, {PAGE, TABLE, *ASSETS}, forms)
