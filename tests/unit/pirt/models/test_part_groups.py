import pytest

from pirt.core.errors import ParamsError
from pirt.core.keypoints import COCO_KEYPOINTS
from pirt.models.part_groups import checked_grouping, named_groups


def test_the_named_groupings_are_the_papers_and_the_authors() -> None:
    paper = dict(named_groups("paper"))
    assert list(paper) == ["head", "upper", "lower"]
    assert sorted(number for group in paper.values() for number in group) == list(range(17))
    names = {name: {COCO_KEYPOINTS[number] for number in group} for name, group in paper.items()}
    assert names["head"] == {"nose", "left_eye", "right_eye", "left_ear", "right_ear"}
    assert {name.split("_")[1] for name in names["upper"]} == {"shoulder", "elbow", "wrist"}
    assert {name.split("_")[1] for name in names["lower"]} == {"hip", "knee", "ankle"}
    authors = dict(named_groups("authors"))
    assert authors == paper | {"head": (*paper["head"], COCO_KEYPOINTS.index("left_shoulder"))}


def test_names_and_numbers_mean_the_same_keypoints_in_any_order() -> None:
    by_name = {"legs": ["right_ankle", "left_hip"], "face": ["nose"]}
    assert checked_grouping(by_name) == checked_grouping({"legs": [11, 16], "face": [0]})
    assert named_groups(by_name) == (("legs", (11, 16)), ("face", (0,)))


def test_groups_in_another_order_are_other_groups() -> None:
    legs, face = {"legs": [11]}, {"face": [0]}
    assert checked_grouping(legs | face) != checked_grouping(face | legs)


@pytest.mark.parametrize(
    ("grouping", "message"),
    [
        ("halves", "unknown grouping 'halves'; expected paper, authors, or names with lists"),
        ({}, "{} is not a grouping"),
        ([[0, 1]], "is not a grouping"),
        (3, "3 is not a grouping"),
        ({"head": []}, r"part group 'head' = \[\]; expected a list of COCO keypoints"),
        ({"head": "nose"}, "part group 'head' = 'nose'; expected a list"),
        ({"head": ["noes"]}, "part group 'head': unknown keypoint 'noes'; expected 0 to 16 or one of nose, left_eye"),
        ({"head": [17]}, "unknown keypoint 17"),
        ({"head": [-1]}, "unknown keypoint -1"),
        ({"head": [True]}, "unknown keypoint True"),
        ({"head": [0, "nose"]}, "part group 'head' has nose twice"),
        ({1: [0]}, "1 cannot name a part group"),
        ({"": [0]}, "'' cannot name a part group"),
        ({"$x$": [0]}, "cannot name a part group"),
        ({"a\nb": [0]}, "cannot name a part group"),
        ({"a" * 33: [0]}, "cannot name a part group"),
    ],
)
def test_what_is_not_a_grouping_is_named(grouping: object, message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        named_groups(grouping)
