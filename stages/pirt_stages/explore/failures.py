"""Where it fails: mean average precision by trait, and how evaluations differ."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pirt.core.manifest import ImageRow
from pirt.heatmaps.reader import HeatmapStore
from pirt.ranking.intervals import bootstrap
from pirt_stages.explore.pictures import Look
from pirt_stages.explore.retrieval import RANKED, Pairs, Retrieval
from pirt_stages.explore.sources import Evaluation
from pirt_stages.explore.traits import Trait, by_camera, by_cover, by_parts, by_quarter, visible_parts

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Found:
    """An evaluation, what it finds for the queries, and the pairs that can be looked at."""

    evaluation: Evaluation
    retrieval: Retrieval
    pairs: list[Pairs]

    @property
    def precisions(self) -> Floats:
        """Average precision by query; NaN where the protocol counts none."""
        # NaN says that there is no match; a protocol may count such a query as 0.
        values = self.retrieval.rankings[RANKED].average_precisions
        return np.nan_to_num(values) if self.evaluation.metrics.protocol.unmatched == "zero" else values


def traits_of(
    found: Sequence[Found], store: HeatmapStore, rows: Sequence[ImageRow], looks: Sequence[Look], cover: Floats | None
) -> list[Trait]:
    """Group the queries `rows` in every way that is known; `cover` is their covered share, where it is known."""
    visible, hidden = visible_parts(store, rows)
    traits = [by_parts(visible), by_cover(hidden if cover is None else cover, cover is not None)]
    for one in found:
        if one.retrieval.confidence is not None:
            lowest = one.retrieval.confidence[0].min(axis=1)
            count = len(one.evaluation.embeddings.group_names)
            note = f"as {one.evaluation.name} sees it; {count} equal parts have {1 / count:.2f} each"
            # Of the first model with parts: the queries have to fall into the same groups for all evaluations.
            traits.append(by_quarter("confidence", "Lowest confidence of a part", note, lowest, "", 2))
            break
    return [
        *traits,
        by_camera(np.array([row.camid for row in rows])),
        by_quarter("size", "Height of the image", "", np.array([float(look.height) for look in looks]), " px"),
        by_quarter(
            "light", "Brightness of the image", "0 is black, 255 white", np.array([x.brightness for x in looks]), ""
        ),
    ]


def overview_of(found: Sequence[Found], traits: Sequence[Trait], pids: NDArray[np.int64]) -> dict[str, Any]:
    """Return the means that the overview shows: over all queries, by trait and by camera pair."""
    return {
        "all": _compared(found, pids, np.ones(len(pids), bool)),
        "traits": [
            {
                "name": trait.name,
                "title": trait.title,
                "note": trait.note,
                "labels": trait.labels,
                "bins": trait.bins.tolist(),
                "means": [_compared(found, pids, trait.bins == place) for place in range(len(trait.labels))],
            }
            for trait in traits
        ],
        "cameraPairs": [_camera_pairs(one, pids) for one in found],
    }


def _compared(found: Sequence[Found], pids: NDArray[np.int64], chosen: NDArray[np.bool_]) -> dict[str, Any]:
    """Return each evaluation's mean over `chosen`, and the others' differences from the first."""
    first = found[0].precisions[chosen]
    # Over persons, not queries: the queries of one person fail together.
    means = [bootstrap(one.precisions[chosen], pids[chosen]) for one in found]
    differences = [bootstrap(one.precisions[chosen] - first, pids[chosen]) for one in found[1:]]
    return {
        "queries": int(np.count_nonzero(~np.isnan(first))),
        "mAP": [None if mean is None else asdict(mean) for mean in means],
        "difference": [None if difference is None else asdict(difference) for difference in differences],
    }


def _camera_pairs(one: Found, pids: NDArray[np.int64]) -> dict[str, Any] | None:
    retrieval, camids = one.retrieval, one.evaluation.embeddings.camids[: len(pids)]
    if not retrieval.cameras:
        return None
    cells = []
    for camera in (asking := np.unique(camids).tolist()):
        values = retrieval.by_camera[camids == camera]
        known = ~np.isnan(values)
        sums, counts = np.where(known, values, 0).sum(axis=0), known.sum(axis=0)
        cells.append([[s / n if n else None, int(n)] for s, n in zip(sums.tolist(), counts.tolist(), strict=True)])
    return {"queries": asking, "gallery": retrieval.cameras, "cells": cells}


def known_or_none(values: Floats) -> list[float | None]:
    """Return numbers as JSON has them."""
    return [None if np.isnan(value) else round(value, 5) for value in values.tolist()]
