"""How well heatmaps find keypoints, whether their height tells visible from occluded, and the file that says so."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pirt.core.params import Fraction, Frozen
from pirt_stages.pose.networks.openmmlab import keypoint_pck_accuracy
from pirt_stages.pose.training.labels import OCCLUDED, VISIBLE

_SHOULDERS, _HIPS = [5, 6], [11, 12]


class KeypointCounts(Frozen):
    """How many visible keypoints were measured."""

    visible: int
    on_unoccluded_images: int


class PoseScores(Frozen):
    """`scores.json`: the headline, for `dvc metrics show`."""

    pck: Fraction | None
    """PCK@0.2 of the torso, over visible keypoints; None without any."""
    pck_unoccluded: Fraction | None
    visibility_auc: Fraction | None
    """None without both visible and occluded keypoints."""


class PoseAccuracy(PoseScores):
    """The accuracy of a network on labelled images."""

    pck_per_keypoint: tuple[Fraction | None, ...]
    """In COCO's order; None where no image shows it."""
    pck_normalised_by: str = "0.2 of the distance from mid-shoulder to mid-hip"
    keypoints: KeypointCounts


class ImageCounts(Frozen):
    """How many images were trained on, and how many of other identities were measured on."""

    trained: int
    held_out: int
    held_out_unoccluded: int


class PoseMetrics(PoseAccuracy):
    """`metrics.json` of a pose training."""

    format_version: Literal[1] = 1
    parameters: int
    images: ImageCounts


def torso_length(keypoints: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return N distances from mid-shoulder to mid-hip, in pixels, of N×17×3 labels; 0 where one is not labelled."""
    labelled = (keypoints[:, _SHOULDERS + _HIPS, 2] > 0).all(axis=1)
    middle = keypoints[:, _SHOULDERS, :2].mean(axis=1) - keypoints[:, _HIPS, :2].mean(axis=1)
    length: NDArray[np.float32] = np.where(labelled, np.linalg.norm(middle, axis=1), 0).astype(np.float32)
    return length


def pck(
    found: NDArray[np.float32], keypoints: NDArray[np.float32], threshold: float = 0.2
) -> tuple[float | None, list[float | None], int]:
    """Return PCK@`threshold` of the visible keypoints, normalised by torso length.

    Args:
        found: N×17×2, pixels of the image.
        keypoints: N×17×3, x, y and COCO's visibility flag.
        threshold: Share of the torso length within which a keypoint counts as found.

    Returns:
        Share over all visible keypoints, share per keypoint, number of keypoints; a share of none is None.
    """
    torso = torso_length(keypoints)
    counted = (keypoints[..., 2] == VISIBLE) & (torso > 0)[:, None]
    if not counted.any():
        return None, [None] * keypoints.shape[1], 0
    norm = np.repeat(np.maximum(torso, 1e-6)[:, None], 2, axis=1)
    shares, _, _ = keypoint_pck_accuracy(found, keypoints[..., :2], counted, threshold, norm)
    numbers = counted.sum(axis=0)
    # MMPose gives −1 for a keypoint that no image shows.
    overall = float((np.maximum(shares, 0) * numbers).sum() / numbers.sum())
    return overall, [None if n == 0 else float(s) for s, n in zip(shares, numbers, strict=True)], int(numbers.sum())


def visibility_auc(scores: NDArray[np.float32], keypoints: NDArray[np.float32]) -> float | None:
    """Return the probability that a visible keypoint scores above an occluded one; None without both.

    Args:
        scores: N×17, highest value of each heatmap.
        keypoints: N×17×3.
    """
    visible = np.sort(scores[keypoints[..., 2] == VISIBLE])
    occluded = np.sort(scores[keypoints[..., 2] == OCCLUDED])
    if not len(visible) or not len(occluded):
        return None
    # Sorted lists count all pairs without making them; a tie is half a pair.
    below = np.searchsorted(occluded, visible, side="left").sum()
    ties = np.searchsorted(occluded, visible, side="right").sum() - below
    return float((below + 0.5 * ties) / (len(visible) * len(occluded)))
