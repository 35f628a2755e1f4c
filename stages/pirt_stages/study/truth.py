"""What the renderer knows of its pictures: what stands before a person, and what of each part can be seen."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pirt.core.errors import DataError
from pirt.core.keypoints import COCO_KEYPOINTS
from pirt.core.manifest import ImageRow
from pirt.core.texts import LARGEST_LABELS, json_in
from pirt.models.part_groups import NamedGroups
from pirt_stages.data.pedestrians.plan import PROFILES, plan
from pirt_stages.data.pedestrians.rendering import render_all

_SEEN = 2

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Annotation:
    """Of one picture: the share of the person that is covered, by what (None is nothing), and 17×3 keypoints."""

    cover: float
    occluder: str | None
    keypoints: NDArray[np.float64]


class Truth:
    """The keypoints.json of rendered pedestrians."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            table = json_in(path, LARGEST_LABELS)
            self.profile, self.seed = str(table["info"]["profile"]), int(table["info"]["seed"])
            files = {image["id"]: image["file_name"] for image in table["images"]}
            self._known = {files[one["image_id"]]: _annotation(one) for one in table["annotations"]}
        except FileNotFoundError:
            raise DataError(f"keypoints {path} do not exist; `pirt-data synthesize` writes them") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} is not a keypoints.json of `pirt-data synthesize`") from error

    def of(self, rows: Sequence[ImageRow]) -> list[Annotation]:
        """Return what is known of each image."""
        if missing := [row.path for row in rows if row.path not in self._known]:
            raise DataError(f"{self.path} does not know {missing[0]!r} and {len(missing) - 1} others of the manifest")
        return [self._known[row.path] for row in rows]

    def visible(self, rows: Sequence[ImageRow], groups: NamedGroups) -> Floats:
        """Return the visible share of each part of n images, n×G: of its keypoints, those that no occluder covers.

        Keypoints that the person's own body hides do not count; a part without any others is NaN. Which these are shows
        when the covered pictures are drawn once more without their occluders.
        """
        told = self.of(rows)
        seen = np.array([one.keypoints[:, 2] == _SEEN for one in told])
        bare = seen.copy()
        covered = [place for place, one in enumerate(told) if one.occluder is not None]
        # The picture drawn anew must be the one that was annotated, but for the occluder.
        for place, keypoints in zip(covered, self._uncovered([rows[place] for place in covered]), strict=True):
            there = told[place].keypoints
            if not np.array_equal(keypoints[:, :2], there[:, :2]) or (seen[place] > (keypoints[:, 2] == _SEEN)).any():
                raise DataError(f"{self.path} was written by another version of the renderer; render the images again")
            bare[place] = keypoints[:, 2] == _SEEN
        counts = [[mask[:, list(group)].sum(axis=1) for _, group in groups] for mask in (seen, bare)]
        ours, theirs = np.array(counts, np.float64).transpose(0, 2, 1)
        shares: Floats = np.divide(ours, theirs, out=np.full_like(ours, np.nan), where=theirs > 0)
        return shares

    def _uncovered(self, rows: Sequence[ImageRow]) -> list[Floats]:
        if self.profile not in PROFILES:
            raise DataError(f"{self.path} has the unknown profile {self.profile!r}; expected one of {sorted(PROFILES)}")
        shots = {entry.path: entry.shot for entry in plan(PROFILES[self.profile], self.seed)}
        if unplanned := [row.path for row in rows if row.path not in shots]:
            raise DataError(f"{self.path}: profile {self.profile!r} has no picture {unplanned[0]!r}")
        # The same seed, person, camera and frame give the same pose and view, with an occluder and without.
        drawn = render_all(self.seed, [replace(shots[row.path], occluded=False) for row in rows], None)
        return [np.array(picture.keypoints) for picture in drawn]


def _annotation(table: Any) -> Annotation:
    keypoints = np.array(table["keypoints"], np.float64).reshape(len(COCO_KEYPOINTS), 3)
    occluder = table["occluder"]
    return Annotation(float(table["occlusion"]), None if occluder is None else str(occluder), keypoints)
