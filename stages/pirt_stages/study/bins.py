"""What queries have in common: how much of a person is covered, by what, and which part."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pirt.core.manifest import ImageRow
from pirt.models.part_groups import GROUPINGS
from pirt_stages.study.truth import Annotation, Floats

BODY = GROUPINGS["paper"]
"""The parts that the bins speak of, whatever groups a model has."""
# The renderer covers 20 to 70 % of a person.
_EDGES = (0.3, 0.4, 0.5, 0.6)
_LABELS = ("up to 30 %", "30–40 %", "40–50 %", "50–60 %", "over 60 %")

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Bin:
    """Some of 2·Q samples: the Q queries, and after them, where there is one, a whole picture in place of each."""

    trait: str
    label: str
    samples: Integers


def whole_pictures(queries: Sequence[ImageRow], gallery: Sequence[ImageRow], whole: Sequence[bool]) -> Integers:
    """Return for each query the first `whole` gallery image of the same person and camera, −1 where there is none.

    In the query's place it has the same matches: the protocol leaves out what shares person and camera.
    """
    first: dict[tuple[int, int], int] = {}
    for place, (row, covered_by_nothing) in enumerate(zip(gallery, whole, strict=True)):
        if covered_by_nothing:
            first.setdefault((row.pid, row.camid), place)
    return np.array([first.get((row.pid, row.camid), -1) for row in queries], np.int64)


def bins_of(told: Sequence[Annotation], visible: Floats, whole: Integers) -> list[Bin]:
    """Sort Q queries by each trait; `visible` are the visible shares of `BODY`, Q×G, `whole` their whole pictures."""
    # Only queries that have a whole picture: both bins are then of the same persons and cameras.
    both = np.flatnonzero(whole >= 0)
    pair = [Bin("picture", "covered", both), Bin("picture", "whole", both + len(whole))]
    # "left": a share of exactly 30 % is still "up to 30 %".
    places = np.searchsorted(_EDGES, [one.cover for one in told], "left")
    # NaN, a part that the person's own body hides, is not less and counts as not covered.
    hidden = [[name for (name, _), seen in zip(BODY, line, strict=True) if seen < 0.5] for line in visible]
    return [
        *(pair if len(both) else []),
        *_by_label("body covered", [_LABELS[place] for place in places], _LABELS),
        *_by_label("covered by", [one.occluder or "nothing" for one in told]),
        *_by_label("more than half covered", [" + ".join(names) or "none" for names in hidden]),
    ]


def _by_label(trait: str, labels: Sequence[str], order: Sequence[str] = ()) -> list[Bin]:
    return [
        Bin(trait, label, np.flatnonzero([one == label for one in labels]))
        for label in (order or sorted(set(labels), key=lambda label: (label != "none", label.count("+"), label)))
        if label in labels
    ]
