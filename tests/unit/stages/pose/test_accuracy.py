"""PCK and the visibility score against plain loops."""

import itertools

import numpy as np
import pytest

from pirt_stages.pose.training.accuracy import pck, torso_length, visibility_auc


def _people(count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(count)
    keypoints = np.dstack([rng.uniform(0, 100, (count, 17, 2)), rng.integers(0, 3, (count, 17))]).astype(np.float32)
    keypoints[:, [5, 6, 11, 12], 2] = np.maximum(keypoints[:, [5, 6, 11, 12], 2], 1)
    return (keypoints[..., :2] + rng.normal(0, 5, (count, 17, 2))).astype(np.float32), keypoints


def test_pck_equals_a_loop_over_keypoints() -> None:
    found, keypoints = _people(9)
    hits = []
    for person, places in zip(keypoints, found, strict=True):
        torso = np.hypot(*((person[5, :2] + person[6, :2]) / 2 - (person[11, :2] + person[12, :2]) / 2))
        hits += [
            np.hypot(*(place - point[:2])) < 0.2 * torso
            for point, place in zip(person, places, strict=True)
            if point[2] == 2
        ]
    share, per_keypoint, number = pck(found, keypoints)
    assert number == len(hits)
    assert share == pytest.approx(np.mean(hits))
    assert len(per_keypoint) == 17


def test_people_without_a_labelled_torso_do_not_count() -> None:
    found, keypoints = _people(2)
    keypoints[0, 5, 2] = 0
    assert torso_length(keypoints)[0] == 0
    assert pck(found, keypoints) == pck(found[1:], keypoints[1:])


def test_nothing_visible_is_no_division_by_zero() -> None:
    found, keypoints = _people(2)
    keypoints[..., 2] = 1
    assert pck(found, keypoints) == (None, [None] * 17, 0)


def test_visibility_auc_equals_all_pairs() -> None:
    _, keypoints = _people(4)
    scores = np.random.default_rng(1).integers(0, 5, (4, 17)).astype(np.float32)
    visible, occluded = scores[keypoints[..., 2] == 2], scores[keypoints[..., 2] == 1]
    pairs = [float(v > o) + 0.5 * float(v == o) for v, o in itertools.product(visible, occluded)]
    assert visibility_auc(scores, keypoints) == pytest.approx(np.mean(pairs))
    assert visibility_auc(scores, np.zeros_like(keypoints)) is None
