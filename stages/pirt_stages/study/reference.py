"""The recipe of `pirt-report reference`: how far one comes on a benchmark with colours alone, or with nothing."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pirt.core.images import read_image
from pirt.core.manifest import ImageRow, Manifest, Rows
from pirt.heatmaps.reader import HeatmapStore
from pirt.models.part_groups import named_groups
from pirt.progress import progress
from pirt.ranking.embeddings import EMBEDDED_SPLITS
from pirt.ranking.evaluation import Persons, evaluate
from pirt.ranking.matching import DEFAULT_MODE, Features, make_features
from pirt.ranking.params import EvaluateParams
from pirt.ranking.results import Scores, scores_of
from pirt.runs.cache import note_skipped, require_masks, without_skipped
from pirt.runs.params import ModelParams
from pirt_stages.study.writing import TextTable, as_csv, written_analysis

FILES = TABLE, NUMBERS = "reference.md", "reference.csv"
LEVELS = 8
"""Of each of red, green and blue: a histogram has their cube."""
_RANDOM, _BLOCK = 128, 256

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]


def reference(manifest: Manifest, store: HeatmapStore, model: ModelParams, protocol: EvaluateParams, out: Path) -> None:
    """Measure random features and histograms of colours as models are measured, and write `FILES` into `out`."""
    require_masks(store, model.tau)
    splits = []
    for split in EMBEDDED_SPLITS:
        rows = without_skipped(store, manifest.split(split))
        note_skipped(split, manifest.split(split), rows)
        manifest.require_files(rows)
        splits.append(rows)
    with written_analysis(out, FILES) as folder:
        found = [_features(manifest, store, model, rows, seed) for seed, rows in enumerate(splits)]
        table = {}
        for name in found[0]:
            asked, searched = (_persons(one[name], rows) for one, rows in zip(found, splits, strict=True))
            metrics = evaluate(asked, searched, protocol)
            table[name] = scores_of(metrics[DEFAULT_MODE if asked.features.groups is not None else "none"])
        _write(folder, table)


def _persons(features: Features, images: Sequence[ImageRow]) -> Persons:
    rows = Rows.of(images)
    return Persons(features, rows.pids, rows.camids)


def _features(
    manifest: Manifest, store: HeatmapStore, model: ModelParams, rows: Sequence[ImageRow], seed: int
) -> dict[str, Features]:
    """Return the features of n images for each reference row."""
    # A seed for each split: with one for both, each query would find the gallery image of its own number.
    noise = np.random.default_rng(seed).standard_normal((len(rows), _RANDOM), np.float32)
    whole, masked, weighted, scores = [], [], [], []
    for pixels, heatmaps in _images(manifest, store, rows):
        codes = colour_codes(pixels)
        groups = np.stack([heatmaps[list(group)].max(axis=0) for _, group in named_groups(model.groups)])
        # Cells to pixels, not pixels to cells: a histogram counts every pixel.
        groups = stretched(groups, codes.shape)
        whole.append(histogram(codes, np.ones(codes.shape)))
        masked.append([histogram(codes, group > model.tau) for group in groups])
        weighted.append([histogram(codes, group) for group in groups])
        scores.append(groups.max(axis=(1, 2)))
    colours = torch.from_numpy(np.array(whole))
    confidence = torch.from_numpy(shared_out(np.array(scores)))
    by_part = {"+ colours under the part masks": masked, "+ colours weighted by the part heatmaps": weighted}
    return {
        "random features": make_features([torch.from_numpy(noise)]),
        "colours": make_features([colours]),
        **{n: make_features([colours], torch.from_numpy(np.array(v)), confidence) for n, v in by_part.items()},
    }


def _images(manifest: Manifest, store: HeatmapStore, rows: Sequence[ImageRow]) -> Iterator[tuple[Pixels, Floats]]:
    places = store.indices_of(rows)
    with progress(len(rows), "colours", "image") as bar:
        for start in range(0, len(rows), _BLOCK):
            block = slice(start, start + _BLOCK)
            for row, heatmaps in zip(rows[block], store.read(places[block]), strict=True):
                yield np.asarray(read_image(manifest.image_path(row))), heatmaps
                bar.update()


def colour_codes(pixels: Pixels) -> NDArray[np.int64]:
    """Return which of LEVELS³ colours each pixel has: H×W×3 uint8 -> H×W."""
    # Wide first: 255·LEVELS does not fit into 8 bits.
    red, green, blue = np.moveaxis(pixels.astype(np.int64) * LEVELS // 256, -1, 0)
    codes: NDArray[np.int64] = (red * LEVELS + green) * LEVELS + blue
    return codes


def histogram(codes: NDArray[np.int64], weights: NDArray[Any]) -> Floats:
    """Return the root of each colour's share of the `weights`, so that a cosine is the overlap of two histograms.

    Where all weights are 0, so is the histogram.
    """
    counts = np.bincount(codes.ravel(), weights.ravel(), LEVELS**3)
    shares: Floats = np.sqrt(counts / max(counts.sum(), np.finfo(float).tiny)).astype(np.float32)
    return shares


def stretched(maps: Floats, size: tuple[int, ...]) -> Floats:
    """Bring maps G×Hm×Wm to an image's H×W: each pixel has the value of the cell that it lies in."""
    down, right = (
        ((np.arange(length) + 0.5) * cells / length).astype(np.int64)
        for length, cells in zip(size, maps.shape[1:], strict=True)
    )
    return maps[:, down[:, None], right]


def shared_out(scores: Floats) -> Floats:
    """Turn scores n×G into confidences that sum to 1, equal ones where all are 0."""
    total = scores.sum(axis=1, keepdims=True)
    even = np.full_like(scores, 1 / scores.shape[1])
    return np.divide(scores, total, out=even, where=total > 0)


def _write(folder: Path, table: Mapping[str, Scores]) -> None:
    named = {name: score.model_dump(by_alias=True) for name, score in table.items()}
    metrics = list(next(iter(named.values())))
    rows = [(name, *(f"{100 * score[metric]:.2f}" for metric in metrics)) for name, score in named.items()]
    text = TextTable("Reference rows", ("ranked by", *metrics), rows).as_markdown()
    (folder / TABLE).write_text(text, encoding="utf-8", newline="")
    (folder / NUMBERS).write_text(as_csv(("ranked by", *metrics), rows), encoding="utf-8", newline="")
