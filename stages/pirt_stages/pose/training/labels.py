"""Keypoint labels from COCO keypoints JSON."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from pirt.core.errors import DataError
from pirt.core.keypoints import COCO_KEYPOINTS
from pirt.core.params import first_problem
from pirt.core.texts import LARGEST_LABELS, bytes_within

OCCLUDED, VISIBLE = 1, 2
"""COCO's visibility flags of a labelled keypoint; 0 is not labelled."""


class _Image(BaseModel):
    id: int
    file_name: str


class _Annotation(BaseModel):
    image_id: int
    keypoints: list[float]
    area: float = 0.0
    occluded: bool | None = None


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
    names = {image.id: image.file_name for image in table.images}
    labels: dict[str, Labels] = {}
    # The smallest first: of one image each replaces the one before.
    for annotation in sorted(table.annotations, key=lambda annotation: annotation.area):
        if annotation.image_id not in names:
            raise DataError(f"{path}: an annotation names image {annotation.image_id}, which is not listed")
        if len(annotation.keypoints) != 3 * len(COCO_KEYPOINTS):
            raise DataError(
                f"{path}: {names[annotation.image_id]} has {len(annotation.keypoints)} keypoint numbers, "
                f"expected {3 * len(COCO_KEYPOINTS)} (x, y, visibility for COCO's 17)"
            )
        keypoints = np.array(annotation.keypoints, dtype=np.float32).reshape(-1, 3)
        hidden = bool((keypoints[:, 2] == OCCLUDED).any())
        occluded = hidden if annotation.occluded is None else annotation.occluded
        labels[names[annotation.image_id]] = Labels(keypoints, occluded)
    return labels


def _parsed(path: Path) -> _Labels:
    try:
        return _Labels.model_validate_json(bytes_within(path, LARGEST_LABELS))
    except OSError as error:
        raise DataError(f"keypoints {path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise DataError(f"{path} is not COCO keypoints JSON: {first_problem(error)}") from error
    except ValueError as error:
        raise DataError(f"{path} is not COCO keypoints JSON: {error}") from error
