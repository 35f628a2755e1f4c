"""The keypoints' truth as an ordinary COCO keypoints file."""

from collections.abc import Iterable
from typing import Any

from pirt.core.keypoints import COCO_KEYPOINTS, SKELETON
from pirt_stages.data.pedestrians.plan import PlannedImage
from pirt_stages.data.pedestrians.shot import HEIGHT, WIDTH, Picture

MAKER = "pirt-data synthesize"
RENDERER = 1
"""Raised when the same profile and seed come to give other pictures."""


def coco_keypoints(profile: str, seed: int, pictures: Iterable[tuple[PlannedImage, Picture]]) -> dict[str, Any]:
    """Return the COCO tables: one annotation per image, with the truth about occlusion beside the usual fields.

    Keypoints are x, y in pixels (the first pixel's centre is 0) and v: 0 outside of the image, 1 covered by an
    occluder or the own body, 2 visible. `occlusion` is the fraction of the person that something covers.
    """
    images, annotations = [], []
    for number, (entry, picture) in enumerate(pictures, 1):
        images.append({"id": number, "file_name": entry.path, "height": HEIGHT, "width": WIDTH})
        annotations.append({"id": number, "image_id": number, **_annotation(entry, picture)})
    return {
        "info": {
            "description": "rendered pedestrians",
            "maker": MAKER,
            "version": RENDERER,
            "profile": profile,
            "seed": seed,
        },
        "images": images,
        "annotations": annotations,
        "categories": [
            {
                "id": 1,
                "name": "person",
                "supercategory": "person",
                "keypoints": list(COCO_KEYPOINTS),
                # COCO counts keypoints from 1 here.
                "skeleton": [[start + 1, end + 1] for start, end in SKELETON],
            }
        ],
    }


def _annotation(entry: PlannedImage, picture: Picture) -> dict[str, Any]:
    return {
        "category_id": 1,
        "keypoints": [value for point in picture.keypoints for value in point],
        "num_keypoints": sum(visibility > 0 for _, _, visibility in picture.keypoints),
        "bbox": list(picture.box),
        "area": picture.area,
        "iscrowd": 0,
        "pid": entry.pid,
        "camera": entry.shot.camera + 1,
        "occluded": entry.shot.occluded,
        "occlusion": picture.occlusion,
        "occluder": picture.occluder,
    }
