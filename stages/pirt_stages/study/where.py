"""The recipe of `pirt-report where`: mAP by what is covered, and whether confidence follows it."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import torch

from pirt.core.errors import StoreError
from pirt.core.manifest import ImageRow, Manifest
from pirt.models.part_groups import NamedGroups
from pirt.ranking.embeddings import CONFIDENCE, Embeddings
from pirt.ranking.evaluation import Persons, evaluate
from pirt.ranking.recipe import embeddings_of, persons, require_made_from
from pirt.ranking.results import default_mode
from pirt.visual.rows import Selection
from pirt_stages.study.bins import BODY, Integers, bins_of, whole_pictures
from pirt_stages.study.confidence import correlations
from pirt_stages.study.runs import Run, find_runs, require_comparable
from pirt_stages.study.truth import Floats, Truth
from pirt_stages.study.where_tables import FILES, VariantRow, write_where
from pirt_stages.study.writing import written_analysis


def where(
    places: Sequence[Path],
    selection: Selection | None,
    manifest: Manifest,
    keypoints: Path,
    out: Path,
    device: torch.device,
) -> None:
    """Write tables and a plot of the evaluations in `places` into the folder `out`."""
    runs = find_runs(places, selection)
    require_comparable(runs, [run.variant for run in runs])
    opened = embeddings_of({run.folder: run.metrics for run in runs}, places)
    for one in opened:
        require_made_from(one, None, manifest)
    first = opened[0]
    if other := next((one for one in opened if one.keys != first.keys), None):
        raise StoreError(f"{other.path} holds other images than {first.path}; evaluate both with the same --heatmaps")
    known = {row.key: row for row in manifest.rows}
    # In the order of the embeddings, which lack what stage 1 could not read.
    rows = [known[key] for key in first.keys]
    queries, gallery = rows[: first.query_count], rows[first.query_count :]
    truth = Truth(keypoints)
    whole = whole_pictures(queries, gallery, [one.occluder is None for one in truth.of(gallery)])
    with written_analysis(out, FILES) as folder:
        shares = _visible_shares(truth, queries, opened)
        # Runs come in the order of their rows and variants, as `groupby` needs them.
        found = [
            _row(name, list(chosen), whole, shares, device)
            for name, chosen in groupby(zip(runs, opened, strict=True), key=lambda pair: pair[0].variant)
        ]
        write_where(folder, found, bins_of(truth.of(queries), shares[BODY], whole))


def _visible_shares(
    truth: Truth, queries: Sequence[ImageRow], opened: Sequence[Embeddings]
) -> dict[NamedGroups, Floats]:
    """Return the visible share of each part, Q×G, for every grouping that is used."""
    groupings = {BODY, *(one.lineage.model.part_groups for one in opened if one.has_parts)}
    return {groups: truth.visible(queries, groups) for groups in groupings}


def _row(
    name: str,
    chosen: Sequence[tuple[Run, Embeddings]],
    whole: Integers,
    shares: dict[NamedGroups, Floats],
    device: torch.device,
) -> VariantRow:
    confidence: dict[str, list[tuple[float, float]]] = {}
    for _, embeddings in chosen:
        if embeddings.has_parts:
            told = embeddings.read(CONFIDENCE, embeddings.rows("query")).astype(np.float64)
            pairs = correlations(told, shares[embeddings.lineage.model.part_groups])
            for part, pair in zip((*embeddings.group_names, "all"), pairs, strict=True):
                confidence.setdefault(part, []).append(pair)
    precisions = np.stack([_precisions(run, embeddings, whole, device) for run, embeddings in chosen])
    return VariantRow(name, tuple(run.metrics.seed for run, _ in chosen), precisions, confidence)


def _precisions(run: Run, embeddings: Embeddings, whole: Integers, device: torch.device) -> Floats:
    """Return the average precision of Q queries, then of the whole pictures in their places: 2·Q, NaN where is none."""
    query, gallery = persons(embeddings, "query"), persons(embeddings, "gallery")
    protocol, mode = run.metrics.protocol, default_mode(embeddings)
    found = np.full(2 * len(query), np.nan)

    def of(asked: Persons) -> Floats:
        # NaN says that there is no match; a protocol may count such a query as 0.
        values = evaluate(asked, gallery, protocol, device=device)[mode].average_precisions
        return np.nan_to_num(values) if protocol.unmatched == "zero" else values

    found[: len(query)] = of(query)
    if len(there := np.flatnonzero(whole >= 0)):
        images = whole[there].tolist()
        found[len(query) + there] = of(Persons(gallery.features[images], gallery.pids[images], gallery.camids[images]))
    return found
