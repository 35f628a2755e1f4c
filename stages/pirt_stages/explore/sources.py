"""What an explorer is made of: evaluations that stand side by side."""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from pirt.core.errors import ReportError, StoreError
from pirt.core.manifest import ImageRow, Manifest
from pirt.ranking.embeddings import Embeddings, open_embeddings
from pirt.ranking.recipe import EMBEDDINGS_FILE, require_made_from
from pirt.ranking.results import METRICS_FILE, Metrics, read_metrics


@dataclass(frozen=True)
class Evaluation:
    """A folder of `pirt-eval`, and the name that tells it from the others."""

    name: str
    embeddings: Embeddings
    metrics: Metrics


def find_evaluations(places: Sequence[Path], variants: Sequence[str], seeds: Collection[int] | None) -> list[Path]:
    """Return the folders of evaluations among `places` and, where one is none itself, below it.

    With `variants` only theirs count, in that order; with `seeds` only runs of these.
    """
    found = [folder for place in places for folder in _below(place)]
    told = {folder: open_embeddings(folder / EMBEDDINGS_FILE).lineage for folder in found}
    if seeds is not None:
        found = [folder for folder in found if told[folder].seed in seeds]
    if variants:
        found = [folder for folder in found if told[folder].variant in variants]
        found.sort(key=lambda folder: (variants.index(str(told[folder].variant)), told[folder].seed))
    if not found:
        asked = f" of variants {', '.join(variants)}" if variants else ""
        raise ReportError(f"no evaluation{asked} in {', '.join(map(str, places))}; `pirt-eval --out` makes one")
    return found


def _below(place: Path) -> list[Path]:
    if not place.is_dir():
        raise ReportError(f"{place} is not a folder; name one that `pirt-eval --out` wrote")
    if (place / EMBEDDINGS_FILE).is_file():
        return [place]
    return sorted(file.parent for file in place.rglob(EMBEDDINGS_FILE))


def open_evaluations(folders: Sequence[Path], manifest: Manifest) -> tuple[Evaluation, ...]:
    """Open evaluations of the images of `manifest`; they must be of the same images in the same order."""
    names = _names(folders)
    found = tuple(_opened(folder, name, manifest) for folder, name in zip(folders, names, strict=True))
    first = found[0].embeddings
    for other in found[1:]:
        if (other.embeddings.keys, other.embeddings.query_count) != (first.keys, first.query_count):
            raise StoreError(
                f"{other.embeddings.path} is of other images than {first.path}, perhaps since stage 1 could not read "
                "some; evaluate both with the same --heatmaps"
            )
    return found


def shown_rows(manifest: Manifest, embeddings: Embeddings) -> list[ImageRow]:
    """Return the manifest's rows in the order of the embeddings."""
    rows = {row.key: row for row in manifest.rows}
    return [rows[key] for key in embeddings.keys]


def _opened(folder: Path, name: str, manifest: Manifest) -> Evaluation:
    embeddings, metrics = open_embeddings(folder / EMBEDDINGS_FILE), read_metrics(folder / METRICS_FILE)
    require_made_from(embeddings, None, manifest)
    if metrics.lineage.checkpoint_sha256 != embeddings.lineage.checkpoint_sha256:
        raise StoreError(
            f"{folder} holds {METRICS_FILE} and {EMBEDDINGS_FILE} of different runs; evaluate again with `pirt-eval`"
        )
    return Evaluation(name, embeddings, metrics)


def _names(folders: Sequence[Path]) -> list[str]:
    """Name folders by where their paths differ."""
    whole = [folder.resolve() for folder in folders]
    if twice := next((folder for place, folder in enumerate(whole) if folder in whole[:place]), None):
        raise ReportError(f"evaluation {twice} is named twice; name different ones")
    if len({folder.name for folder in whole}) == len(whole):
        return [folder.name for folder in whole]
    common = os.path.commonpath(whole)
    return [folder.relative_to(common).as_posix() for folder in whole]
