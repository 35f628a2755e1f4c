"""COCO keypoints JSON is read as it is, and what is wrong with it is told in one line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pirt.core.errors import DataError
from pirt_stages.pose.training.labels import read_keypoints


def _write(path: Path, annotations: list[dict[str, Any]]) -> Path:
    path.write_text(json.dumps({"images": [{"id": 7, "file_name": "a.jpg"}], "annotations": annotations}))
    return path


def test_keypoints_are_keyed_by_file_name(tmp_path: Path) -> None:
    numbers = [0.0, 1.0, 2.0, 3.0, 4.0, 1.0, *[0.0] * 45]
    labels = read_keypoints(_write(tmp_path / "k.json", [{"image_id": 7, "keypoints": numbers}]))
    assert np.array_equal(labels["a.jpg"].keypoints[1], [3, 4, 1])


def test_of_several_people_the_largest_counts(tmp_path: Path) -> None:
    sizes = ({"area": 5}, {"area": 9, "bbox": [0, 0, 1, 1]}, {"bbox": [0, 0, 4, 2]})
    people = [{"image_id": 7, "keypoints": [n, 0, 0] * 17, **size} for n, size in enumerate(sizes)]
    assert read_keypoints(_write(tmp_path / "k.json", people))["a.jpg"].keypoints[0, 0] == 1
    with pytest.raises(DataError, match=r"a\.jpg has 2 people; to tell the largest, each needs an area or bbox"):
        read_keypoints(_write(tmp_path / "k.json", [people[0], {"image_id": 7, "keypoints": [0] * 51}]))


def test_two_images_of_one_number_are_refused(tmp_path: Path) -> None:
    images = [{"id": 7, "file_name": name} for name in ("a.jpg", "b.jpg")]
    (tmp_path / "k.json").write_text(json.dumps({"images": images, "annotations": []}))
    with pytest.raises(DataError, match=r"a\.jpg and b\.jpg both have the id 7"):
        read_keypoints(tmp_path / "k.json")


@pytest.mark.parametrize(("flags", "said", "occluded"), [(2, None, False), (1, None, True), (1, False, False)])
def test_an_image_is_occluded_as_it_says_or_when_a_keypoint_is(
    tmp_path: Path, flags: int, said: bool | None, occluded: bool
) -> None:
    person = {"image_id": 7, "keypoints": [1, 1, flags] * 17, **({} if said is None else {"occluded": said})}
    assert read_keypoints(_write(tmp_path / "k.json", [person]))["a.jpg"].occluded is occluded


@pytest.mark.parametrize(
    ("annotations", "said"),
    [
        ([{"image_id": 8, "keypoints": [0] * 51}], "image 8, which is not listed"),
        ([{"image_id": 7, "keypoints": [0] * 50}], "a.jpg has 50 keypoint numbers, expected 51"),
        ([{"image_id": 7, "keypoints": [1, 1, 7] * 17}], "whose visibility is not 0, 1 or 2"),
        ([{"image_id": 7, "keypoints": [1e300, 1, 2] * 17}], "lies beyond 1,000,000 pixels"),
        ([{"image_id": 7, "keypoints": [float("nan"), 1, 2] * 17}], "finite number"),
        ([{"image_id": 7}], r"annotations\.0\.keypoints: Field required"),
    ],
)
def test_wrong_files_are_told_in_one_line(tmp_path: Path, annotations: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_keypoints(_write(tmp_path / "k.json", annotations))


def test_missing_and_broken_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_keypoints(tmp_path / "none.json")
    (tmp_path / "k.json").write_text("{")
    with pytest.raises(DataError, match="is not COCO keypoints JSON"):
        read_keypoints(tmp_path / "k.json")
