"""The part groups of section 3.1: which keypoints make up a part."""

from typing import Literal

GROUP_NAMES: tuple[str, ...] = ("head", "upper", "lower")

Grouping = Literal["paper", "authors"]

GROUPS: dict[Grouping, tuple[tuple[int, ...], ...]] = {
    "paper": (tuple(range(5)), tuple(range(5, 11)), tuple(range(11, 17))),
    # The authors' program also counts the left shoulder to the head.
    "authors": (tuple(range(6)), tuple(range(5, 11)), tuple(range(11, 17))),
}
