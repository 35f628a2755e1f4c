"""The recipe of `pirt-pose stats`: a store's heatmaps in numbers, before anyone trains on them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pirt.core.errors import StoreError
from pirt.heatmaps.codec import decode
from pirt.heatmaps.reader import HeatmapStore
from pirt.models.part_groups import NamedGroups
from pirt.progress import progress_over

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
CONFIDENT = 0.3
"""The score from which MMPose draws a keypoint."""
RARE = 0.25
"""A part that is confident in a smaller share of the images is hardly ever seen, however occluded the people are."""


@dataclass(frozen=True)
class Spread:
    """The distribution of a number over the images."""

    name: str
    mean: float
    quantiles: tuple[float, ...]
    above_tau: float
    """Share of images where the score is over τ."""
    confident: float
    """Share of images where the score is at least `CONFIDENT`."""


@dataclass(frozen=True)
class StoreStatistics:
    """Numbers over all images that were not skipped."""

    images: int
    skipped: int
    keypoints: tuple[Spread, ...]
    groups: tuple[Spread, ...]
    coverage: dict[str, tuple[float, ...]]
    """For each part group the share of cells in its mask M > τ: mean and `QUANTILES` over the images."""
    no_part_above_tau: float
    """Share of images without any cell over τ, which the model sees as no person at all."""
    no_part_confident: float
    """Share of images without any keypoint of score `CONFIDENT`."""

    @property
    def hardly_seen(self) -> tuple[str, ...]:
        """The part groups that are confident in hardly any image."""
        return tuple(spread.name for spread in self.groups if spread.confident < RARE)

    def as_table(self) -> dict[str, Any]:
        """Return the numbers as JSON takes them."""
        return {
            "images": self.images,
            "skipped": self.skipped,
            "no_part_above_tau": self.no_part_above_tau,
            "no_part_confident": self.no_part_confident,
            "hardly_seen": list(self.hardly_seen),
            "scores": {spread.name: vars(spread) for spread in self.keypoints},
            "parts": {spread.name: vars(spread) for spread in self.groups},
            "coverage": self.coverage,
        }


def statistics_of(store: HeatmapStore, groups: NamedGroups) -> StoreStatistics:
    """Read the whole store once, a shard at a time; its keypoints are summed up by the part `groups`."""
    kept = np.array([row not in store.skipped_rows for row in range(store.layout.count)])
    if not kept.any():
        raise StoreError(f"{store.path}: all {len(kept)} images were skipped, nothing is left to measure")
    scores = store.scores[kept]
    grouped = np.stack([scores[:, list(group)].max(axis=1) for _, group in groups], axis=1)
    covered = np.concatenate(list(_coverage(store, groups)))[kept]
    tau = store.attributes.tau
    return StoreStatistics(
        images=len(scores),
        skipped=len(store.skipped_rows),
        keypoints=tuple(_spreads(store.attributes.keypoints, scores, tau)),
        groups=tuple(_spreads([name for name, _ in groups], grouped, tau)),
        coverage={
            name: (float(shares.mean()), *np.quantile(shares, QUANTILES).tolist())
            for (name, _), shares in zip(groups, covered.T, strict=True)
        },
        no_part_above_tau=float((scores.max(axis=1) <= np.float32(tau)).mean()),
        no_part_confident=float((scores.max(axis=1) < CONFIDENT).mean()),
    )


def _coverage(store: HeatmapStore, groups: NamedGroups) -> Iterator[NDArray[np.float64]]:
    """Yield for each shard the share of cells in each group's mask, n×G."""
    for shard in progress_over(range(store.layout.shards), "reading", "shard"):
        values = decode(store.read_shard(shard), store.attributes.codec, store.attributes.tau)
        # Compared in float32, as the model does; τ is not exact in it.
        masks = values > np.float32(store.attributes.tau)
        yield np.stack([masks[:, list(group)].any(axis=1).mean(axis=(1, 2)) for _, group in groups], axis=1)


def _spreads(names: Sequence[str], scores: NDArray[np.float32], tau: float) -> Iterator[Spread]:
    for name, column in zip(names, scores.T, strict=True):
        yield Spread(
            name,
            mean=float(column.mean(dtype=np.float64)),
            quantiles=tuple(np.quantile(column, QUANTILES).tolist()),
            above_tau=float((column > np.float32(tau)).mean()),
            confident=float((column >= CONFIDENT).mean()),
        )


def as_text(statistics: StoreStatistics, tau: float) -> str:
    """Lay the numbers out as tables of plain text, and warn of parts that are hardly ever seen."""
    quantiles = [f"{quantile:.0%}" for quantile in QUANTILES]
    head = ["score", "mean", *quantiles, f"> τ {tau:g}", f">= {CONFIDENT:g}"]
    lines = [_score_line(spread) for spread in (*statistics.keypoints, *statistics.groups)]
    masks = [[name, *(f"{share:.1%}" for share in shares)] for name, shares in statistics.coverage.items()]
    return "\n".join(
        [
            f"{statistics.images} images, {statistics.skipped} skipped",
            "",
            *_aligned([head, *lines[: len(statistics.keypoints)]]),
            "",
            *_aligned([["part (its best)", *head[1:]], *lines[len(statistics.keypoints) :]]),
            "",
            *_aligned([["mask coverage", "mean", *quantiles], *masks]),
            "",
            f"no part over τ {tau:g}: {statistics.no_part_above_tau:.2%} of images",
            f"no keypoint of {CONFIDENT:g} or more: {statistics.no_part_confident:.2%} of images",
            *_warnings(statistics),
        ]
    )


def _warnings(statistics: StoreStatistics) -> Iterator[str]:
    if statistics.hardly_seen:
        parts = " or ".join(statistics.hardly_seen)
        yield (
            f"warning: fewer than {RARE:.0%} of the images show {parts} at {CONFIDENT:g} or more; look with "
            "`pirt-pose show`, and compare input_size with trained_size in `pirt-pose info`"
        )


def _score_line(spread: Spread) -> list[str]:
    numbers = [f"{number:.3f}" for number in (spread.mean, *spread.quantiles)]
    return [spread.name, *numbers, f"{spread.above_tau:.1%}", f"{spread.confident:.1%}"]


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(text.rjust(width) if place else text.ljust(width) for place, (text, width) in enumerate(pairs))
        for pairs in (list(zip(line, widths, strict=True)) for line in lines)
    ]
