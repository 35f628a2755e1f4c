"""The part groups of section 3.1: which keypoints make up a part.

`model.groups` names one of `GROUPINGS`, or maps names of its own to keypoints; nothing else in the project knows what
groups there are or how many.
"""

import re
import reprlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pirt.core.errors import ParamsError
from pirt.core.keypoints import COCO_KEYPOINTS

NamedGroups = tuple[tuple[str, tuple[int, ...]], ...]
"""G groups in the order of the features: a name and ascending keypoint numbers each. A mapping would be equal to one
of another order."""
Grouping = str | NamedGroups
"""What a checked `model.groups` is."""

_UPPER, _LOWER = ("upper", tuple(range(5, 11))), ("lower", tuple(range(11, 17)))
GROUPINGS: dict[str, NamedGroups] = {
    "paper": (("head", tuple(range(5))), _UPPER, _LOWER),
    # The authors' program also counts the left shoulder to the head.
    "authors": (("head", tuple(range(6))), _UPPER, _LOWER),
}

VISIBLE_FROM = 0.3
"""A keypoint counts as visible where its heatmap's highest value is at least this, as MMPose draws it."""


def visible_groups(scores: NDArray[np.float32], groups: NamedGroups) -> NDArray[np.bool_]:
    """Return in which of n images each part is visible, n×G: at least half of its keypoints are.

    `scores`: n×K, each heatmap's highest value.
    """
    seen = scores >= VISIBLE_FROM
    return np.stack([seen[:, list(group)].mean(axis=1) >= 0.5 for _, group in groups], axis=1)


def named_groups(grouping: object) -> NamedGroups:
    """Return the groups that `grouping` means; see `checked_grouping`."""
    checked = checked_grouping(grouping)
    return GROUPINGS[checked] if isinstance(checked, str) else checked


def checked_grouping(grouping: object) -> Grouping:
    """Return a name of `GROUPINGS` as it is, and a mapping of names to keypoints as `NamedGroups`.

    Keypoints are COCO's, by name or number; one may be in several groups. ParamsError for anything else.
    """
    if isinstance(grouping, str):
        if grouping not in GROUPINGS:
            raise ParamsError(f"unknown grouping {grouping!r}; expected {_expected()}")
        return grouping
    pairs = tuple(grouping.items()) if isinstance(grouping, Mapping) else grouping
    if not isinstance(pairs, tuple) or not pairs:
        raise ParamsError(f"{reprlib.repr(grouping)} is not a grouping; expected {_expected()}")
    return tuple((_name(name), _keypoints(name, keypoints)) for name, keypoints in pairs)


def _expected() -> str:
    return f"{', '.join(GROUPINGS)}, or names with lists of COCO keypoints, as in {{head: [nose, left_eye]}}"


def _name(name: object) -> str:
    # Names stand in pictures, tables and files of others.
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w -]{0,31}", name):
        raise ParamsError(
            f"{reprlib.repr(name)} cannot name a part group; expected 1 to 32 letters, digits, spaces, _ or -"
        )
    return name


def _keypoints(name: str, keypoints: object) -> tuple[int, ...]:
    if isinstance(keypoints, str) or not isinstance(keypoints, Sequence) or not keypoints:
        raise ParamsError(f"part group {name!r} = {reprlib.repr(keypoints)}; expected a list of COCO keypoints")
    # Within a group the order says nothing, so two ways to write it are one grouping.
    numbers = sorted(_number(name, keypoint) for keypoint in keypoints)
    if twice := [number for number in set(numbers) if numbers.count(number) > 1]:
        raise ParamsError(f"part group {name!r} has {COCO_KEYPOINTS[twice[0]]} twice; list each keypoint once")
    return tuple(numbers)


def _number(name: str, keypoint: object) -> int:
    if isinstance(keypoint, str) and keypoint in COCO_KEYPOINTS:
        return COCO_KEYPOINTS.index(keypoint)
    # True is an int.
    if type(keypoint) is int and 0 <= keypoint < len(COCO_KEYPOINTS):
        return keypoint
    raise ParamsError(
        f"part group {name!r}: unknown keypoint {reprlib.repr(keypoint)}; expected 0 to {len(COCO_KEYPOINTS) - 1} or "
        f"one of {', '.join(COCO_KEYPOINTS)}"
    )
