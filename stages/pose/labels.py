"""Keypoint labels from COCO keypoints JSON."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from pirt.errors import DataError
from pirt.keypoints import COCO_KEYPOINTS

OCCLUDED, VISIBLE = 1, 2
"""COCO's visibility flags of a labelled keypoint; 0 is not labelled."""


class _Image(BaseModel):
    id: int
    file_name: str


class _Annotation(BaseModel):
    image_id: int
    keypoints: list[float]
    area: float = 0.0


class _Labels(BaseModel):
    images: list[_Image]
    annotations: list[_Annotation]


def read_keypoints(path: Path) -> dict[str, NDArray[np.float32]]:
    """Read COCO keypoints JSON: file name → 17×3 array of x, y in pixels and COCO's visibility flag.

    An image with several people keeps the largest one, which in a person crop is the one that it is about.
    """
    labels = _parsed(path)
    names = {image.id: image.file_name for image in labels.images}
    keypoints: dict[str, NDArray[np.float32]] = {}
    for annotation in sorted(labels.annotations, key=lambda annotation: annotation.area):
        if annotation.image_id not in names:
            raise DataError(f"{path}: an annotation is of image {annotation.image_id}, which is not listed")
        if len(annotation.keypoints) != 3 * len(COCO_KEYPOINTS):
            raise DataError(
                f"{path}: {names[annotation.image_id]} has {len(annotation.keypoints)} keypoint numbers, "
                f"expected {3 * len(COCO_KEYPOINTS)} (x, y, visibility for COCO's 17)"
            )
        table = np.array(annotation.keypoints, dtype=np.float32).reshape(-1, 3)
        keypoints[names[annotation.image_id]] = table
    return keypoints


def _parsed(path: Path) -> _Labels:
    try:
        return _Labels.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"keypoints {path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{path} is not COCO keypoints JSON: {where or 'file'}: {first['msg']}") from error
