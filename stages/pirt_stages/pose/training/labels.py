"""Keypoint labels from COCO keypoints JSON."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, FiniteFloat, ValidationError

from pirt.core.errors import DataError
from pirt.core.keypoints import COCO_KEYPOINTS
from pirt.core.params import first_problem
from pirt.core.texts import LARGEST_LABELS, bytes_within

OCCLUDED, VISIBLE = 1, 2
"""COCO's visibility flags of a labelled keypoint; 0 is not labelled."""
_FARTHEST = 1_000_000
"""Pixels from an image's corner, which no label of an image reaches."""


class _Image(BaseModel):
    id: int
    file_name: str


class _Annotation(BaseModel):
    image_id: int
    keypoints: list[FiniteFloat]
    area: FiniteFloat | None = None
    bbox: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat] | None = None
    occluded: bool | None = None

    @property
    def size(self) -> float | None:
        """The person's area, or else that of the box around."""
        return self.bbox[2] * self.bbox[3] if self.area is None and self.bbox else self.area


class _Labels(BaseModel):
    images: list[_Image]
    annotations: list[_Annotation]


@dataclass(frozen=True)
class Labels:
    """Of one image: `keypoints` 17×3 (x, y in pixels, COCO's flag), and whether something stands before the person."""

    keypoints: NDArray[np.float32]
    occluded: bool


def read_keypoints(path: Path) -> dict[str, Labels]:
    """Read COCO keypoints JSON: file name → labels.

    `occluded` of an annotation tells an occluder from a person's own body; without it, an image counts as occluded
    when any keypoint does.

    Of an image with several people only the largest counts, who in a crop of a person is that person.
    """
    table = _parsed(path)
    names: dict[int, str] = {}
    for image in table.images:
        # As when files were put together: it would not be known whose keypoints these are.
        if names.setdefault(image.id, image.file_name) != image.file_name:
            raise DataError(f"{path}: {names[image.id]} and {image.file_name} both have the id {image.id}")
    people: dict[str, list[_Annotation]] = {}
    for annotation in table.annotations:
        if annotation.image_id not in names:
            raise DataError(f"{path}: an annotation names image {annotation.image_id}, which is not listed")
        people.setdefault(names[annotation.image_id], []).append(annotation)
    return {name: _labels_of(_largest(of_image, name, path), name, path) for name, of_image in people.items()}


def _largest(people: list[_Annotation], name: str, path: Path) -> _Annotation:
    sizes = [person.size for person in people]
    if len(people) > 1 and None in sizes:
        raise DataError(f"{path}: {name} has {len(people)} people; to tell the largest, each needs an area or bbox")
    # Of equally large ones the last.
    return max(reversed(people), key=lambda person: person.size or 0)


def _labels_of(person: _Annotation, name: str, path: Path) -> Labels:
    if len(person.keypoints) != 3 * len(COCO_KEYPOINTS):
        raise DataError(
            f"{path}: {name} has {len(person.keypoints)} keypoint numbers, expected {3 * len(COCO_KEYPOINTS)} (x, y, "
            "visibility for COCO's 17)"
        )
    keypoints = np.array(person.keypoints).reshape(-1, 3)
    if not np.isin(keypoints[:, 2], (0, OCCLUDED, VISIBLE)).all() or np.abs(keypoints).max() > _FARTHEST:
        raise DataError(
            f"{path}: {name} has a keypoint whose visibility is not 0, 1 or 2, or that lies beyond {_FARTHEST:,} pixels"
        )
    hidden = bool((keypoints[:, 2] == OCCLUDED).any())
    return Labels(keypoints.astype(np.float32), hidden if person.occluded is None else person.occluded)


def _parsed(path: Path) -> _Labels:
    try:
        return _Labels.model_validate_json(bytes_within(path, LARGEST_LABELS))
    except OSError as error:
        raise DataError(f"keypoints {path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise DataError(f"{path} is not COCO keypoints JSON: {first_problem(error)}") from error
    except ValueError as error:
        raise DataError(f"{path} is not COCO keypoints JSON: {error}") from error
