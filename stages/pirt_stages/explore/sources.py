"""What an explorer is made of: evaluations that stand side by side."""

import os
from collections.abc import Sequence
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
    if not folder.is_dir():
        raise ReportError(f"{folder} is not a folder; name one that `pirt-eval --out` wrote")
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
