import io
from dataclasses import replace
from math import pi

import numpy as np
import pytest
from PIL import Image

from pirt.core.keypoints import COCO_KEYPOINTS
from pirt_stages.data.pedestrians import shot as shot_module
from pirt_stages.data.pedestrians.cameras import PANORAMA, camera_of
from pirt_stages.data.pedestrians.canvas import Brush, Canvas, plain
from pirt_stages.data.pedestrians.figure import Figure, Keypoint
from pirt_stages.data.pedestrians.identity import identity_of
from pirt_stages.data.pedestrians.occluders import THINGS, draw_thing
from pirt_stages.data.pedestrians.shot import LEAST, MOST, Shot, render
from pirt_stages.data.pedestrians.skeleton import Body, Gait, View, walking_joints

BODY = Body(1.0, 1.0, 1.0, 1.0, (200.0, 160.0, 130.0))
GAIT = Gait(phase=1.0, stride=0.4, arm_swing=0.3, arms="swing", head_turn=0.0)


def painted(yaw: float, number: int = 8) -> tuple[Figure, dict[str, Keypoint]]:
    canvas = Canvas(512, 256)
    view = View(yaw, 0.1, 460.0, 128.0, 490.0)
    figure = Figure(identity_of(0, number), GAIT, view, Brush(canvas, view.scale, 0.3, 0.4))
    figure.paint()
    return figure, dict(zip(COCO_KEYPOINTS, figure.keypoints(), strict=True))


def test_front_and_back_are_mirrored() -> None:
    _, front = painted(0.0)
    _, back = painted(pi)
    for joint in ("shoulder", "hip", "ear"):
        assert front[f"left_{joint}"].x > front[f"right_{joint}"].x
        assert back[f"left_{joint}"].x < back[f"right_{joint}"].x


def test_faces_are_seen_from_the_front_only() -> None:
    _, front = painted(0.0)
    _, back = painted(pi)
    for name in ("nose", "left_eye", "right_eye"):
        assert not front[name].hidden
        assert back[name].hidden


@pytest.mark.parametrize(("yaw", "far"), [(pi / 2, "left"), (-pi / 2, "right")])
def test_the_far_side_is_hidden_from_the_side(yaw: float, far: str) -> None:
    _, seen = painted(yaw)
    near = "right" if far == "left" else "left"
    assert seen[f"{far}_shoulder"].hidden
    assert seen[f"{far}_eye"].hidden
    assert not seen[f"{near}_shoulder"].hidden
    assert not seen[f"{near}_eye"].hidden


@pytest.mark.parametrize("yaw", np.linspace(-pi, pi, 9).tolist())
@pytest.mark.parametrize("number", [0, 9, 22, 47])
def test_seen_keypoints_lie_on_the_figure(yaw: float, number: int) -> None:
    figure, seen = painted(yaw, number)
    rows, columns = np.nonzero(figure.brush.canvas.mask)
    for name, point in seen.items():
        if not point.hidden:
            assert np.hypot(columns + 0.5 - point.x, rows + 0.5 - point.y).min() < 6, name


def test_bones_keep_their_length_while_walking() -> None:
    lengths = []
    for phase in np.linspace(0, 2 * pi, 12):
        joints = walking_joints(BODY, replace(GAIT, phase=float(phase)))
        bones = [("left_hip", "left_knee"), ("left_knee", "left_ankle"), ("right_hip", "right_knee")]
        lengths.append([np.linalg.norm(np.subtract(joints[a], joints[b])) for a, b in bones])
        feet = [joints[f"{side}_{end}"][1] for side in ("left", "right") for end in ("heel", "toe")]
        assert min(feet) == pytest.approx(0)
    np.testing.assert_allclose(np.std(lengths, axis=0), 0, atol=2e-3)


def test_a_tube_covers_what_a_loop_over_pixels_says() -> None:
    canvas = Canvas(60, 50)
    start, end, radius = (12.0, 9.0), (33.0, 44.0), 7.0
    Brush(canvas, 50.0, 0.0, 0.4).tube(3, start, end, [(0.0, radius), (1.0, radius)], plain((9, 9, 9)), 0.0)
    axis = np.subtract(end, start)
    for y in range(60):
        for x in range(50):
            offset = np.subtract((x + 0.5, y + 0.5), start)
            t = np.clip(offset @ axis / (axis @ axis), 0, 1)
            distance = np.linalg.norm(offset - t * axis)
            if abs(distance - radius) > 1e-3:
                assert (canvas.owner[y, x] == 3) == (distance < radius), (x, y)


def test_order_and_process_do_not_matter() -> None:
    shots = [Shot(3, 1, 0, True), Shot(3, 1, 1, False), Shot(9, 4, 0, True)]
    forward = [render(0, shot) for shot in shots]
    assert forward == [render(0, shot) for shot in reversed(shots)][::-1]
    assert len({picture.jpeg for picture in forward}) == 3


def test_an_occluder_only_takes_keypoints_away() -> None:
    for number in range(12):
        whole = render(0, Shot(number, number % 6, 0, occluded=False))
        covered = render(0, Shot(number, number % 6, 0, occluded=True))
        assert whole.box == covered.box
        assert LEAST <= covered.occlusion <= MOST
        assert covered.area == pytest.approx(whole.area * (1 - covered.occlusion), abs=2)
        for before, after in zip(whole.keypoints, covered.keypoints, strict=True):
            assert before[:2] == after[:2]
            assert after[2] <= before[2]


UPPER, LOWER = slice(0, 20), slice(-20, None)


def corners(identity: int, camera: int, rows: slice) -> np.ndarray:  # type: ignore[type-arg]
    """Mean colour of the corners of `rows`, where nobody stands."""
    image = Image.open(io.BytesIO(render(0, Shot(identity, camera, 0, False)).jpeg))
    pixels = np.asarray(image, np.float64)
    return np.concatenate([pixels[rows, :8], pixels[rows, -8:]]).mean((0, 1))


def test_pictures_of_one_camera_share_its_scene() -> None:
    means = np.array([[corners(identity, camera, LOWER) for identity in (0, 5, 9)] for camera in range(3)])
    within = np.abs(means - means.mean(1, keepdims=True)).mean()
    between = np.abs(means.mean(1) - means.mean((0, 1))).mean()
    assert between > 4 * within


def test_pictures_of_one_camera_share_its_cast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a grey scene, the ratio of two colours is that of the cast alone: light dims all of them alike."""
    monkeypatch.setattr(shot_module, "scene_of", lambda seed, camera: Image.new("RGB", PANORAMA, (120, 120, 120)))
    for camera in range(4):
        red, green, blue = camera_of(0, camera).cast
        for identity in (0, 5):
            found = corners(identity, camera, UPPER)
            assert found[0] / found[1] == pytest.approx(red / green, rel=0.03)
            assert found[2] / found[1] == pytest.approx(blue / green, rel=0.03)


UPRIGHT = {"pole"}
STANDS = {"box", "pole", "wall"}
HANGS = {"umbrella"}


@pytest.mark.parametrize("name", list(THINGS))
def test_things_cover_something_but_not_all(name: str) -> None:
    layers = [draw_thing(name, np.random.default_rng(seed), 384, 192) for seed in range(12)]
    assert all(0.05 < mask.mean() < 0.7 for _, mask in layers)
    assert all(colour[mask].mean() > 8 and not colour[~mask].any() for colour, mask in layers), (
        "painted, and only there"
    )
    assert len({mask.tobytes() for _, mask in layers}) > 10
    assert all(mask[0].any() == mask.any(1).all() for _, mask in layers), "what reaches the top goes all the way down"
    assert all(mask.any(1).all() for _, mask in layers) == (name in UPRIGHT)
    if name in STANDS | HANGS:
        assert {bool(mask[-1].any()) for _, mask in layers} == {name in STANDS}
