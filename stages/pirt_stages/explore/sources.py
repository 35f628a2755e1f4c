"""The evaluations that an explorer shows side by side."""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pirt.core.errors import ReportError, StoreError
from pirt.core.manifest import ImageRow, Manifest
from pirt.ranking.embeddings import Embeddings
from pirt.ranking.recipe import embeddings_of, measured_in, require_made_from
from pirt.ranking.results import Metrics


@dataclass(frozen=True)
class Evaluation:
    """An evaluation of `pirt-eval`, and the name that tells it from the others."""

    name: str
    embeddings: Embeddings
    metrics: Metrics


def find_evaluations(
    places: Sequence[Path], variants: Sequence[str], seeds: Collection[int] | None
) -> dict[Path, Metrics]:
    """Return the evaluations in and below `places`, by folder.

    With `variants` only theirs count, in that order, and each must have one; with `seeds` only runs of these.
    """
    found = list(measured_in(places).items())
    if seeds is not None:
        found = [(folder, metrics) for folder, metrics in found if metrics.seed in seeds]
    if variants:
        found = [(folder, metrics) for folder, metrics in found if metrics.variant in variants]
        found.sort(key=lambda one: (variants.index(str(one[1].variant)), one[1].seed))
    absent = [name for name in variants if name not in {metrics.variant for _, metrics in found}]
    if absent or not found:
        asked = f" of variants {', '.join(absent)}" if absent else ""
        raise ReportError(f"no evaluation{asked} in {', '.join(map(str, places))}; `pirt-eval --out` makes one")
    return dict(found)


def open_evaluations(
    evaluations: Mapping[Path, Metrics], places: Sequence[Path], manifest: Manifest
) -> tuple[Evaluation, ...]:
    """Open evaluations of the images of `manifest`; they must be of the same images in the same order.

    `places`: where embeddings are searched for that do not lie beside their metrics.
    """
    opened = embeddings_of(evaluations, places)
    first = opened[0]
    for embeddings in opened:
        require_made_from(embeddings, None, manifest)
        if (embeddings.keys, embeddings.query_count) != (first.keys, first.query_count):
            raise StoreError(
                f"{embeddings.path} holds other images than {first.path}, perhaps because stage 1 could not read some; "
                "evaluate both with the same --heatmaps"
            )
    found = zip(_names(list(evaluations)), opened, evaluations.values(), strict=True)
    return tuple(Evaluation(*one) for one in found)


def shown_rows(manifest: Manifest, embeddings: Embeddings) -> list[ImageRow]:
    """Return the manifest's rows in the order of the embeddings."""
    rows = {row.key: row for row in manifest.rows}
    return [rows[key] for key in embeddings.keys]


def _names(folders: Sequence[Path]) -> list[str]:
    """Name folders by the part of their paths that differs."""
    # Resolved, since `.` has no name.
    whole = [folder.resolve() for folder in folders]
    if len({folder.name for folder in whole}) == len(whole):
        return [folder.name for folder in whole]
    common = os.path.commonpath(whole)
    return [folder.relative_to(common).as_posix() for folder in whole]
