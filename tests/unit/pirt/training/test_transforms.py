import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pirt.core.keypoints import COCO_KEYPOINTS
from pirt.runs.transforms import IMAGENET_MEAN, IMAGENET_STD, EvalTransform
from pirt.training.augmentation import ERASE_AREA, ERASE_ASPECT, Box, TrainTransform, draw_box, erase, flip, shift

GRIDS = st.sampled_from([((32, 16), (8, 4)), ((24, 16), (9, 8)), ((12, 6), (12, 6))])


def person(size, grid, seed=0):
    chance = np.random.default_rng(seed)
    image = chance.integers(1, 256, (*size, 3), np.uint8)
    return image, chance.integers(1, 256, (len(COCO_KEYPOINTS), *grid), np.uint8)


@settings(deadline=None)
@given(GRIDS)
def test_flipping_twice_changes_nothing(sizes):
    image, codes = person(*sizes)
    back_image, back_codes = flip(*flip(image, codes))
    np.testing.assert_array_equal(back_image, image)
    np.testing.assert_array_equal(back_codes, codes)


def test_a_mirrored_left_keypoint_is_a_right_one():
    image, codes = person((8, 4), (8, 4))
    mirrored_image, mirrored = flip(image, codes)
    for name in COCO_KEYPOINTS:
        other = name.replace("left", "X").replace("right", "left").replace("X", "right")
        own, others = COCO_KEYPOINTS.index(name), COCO_KEYPOINTS.index(other)
        for x in range(4):
            np.testing.assert_array_equal(mirrored[own, :, x], codes[others, :, 3 - x])
            np.testing.assert_array_equal(mirrored_image[:, x], image[:, 3 - x])


def padded_and_cropped(grid, pad, top, left, channels_last):
    """Zero-pad and crop back to the old size, cell by cell."""
    height, width = grid.shape[:2] if channels_last else grid.shape[1:]
    cropped = np.zeros_like(grid)
    for y in range(height):
        for x in range(width):
            from_y, from_x = y + top - pad[0], x + left - pad[1]
            if 0 <= from_y < height and 0 <= from_x < width:
                if channels_last:
                    cropped[y, x] = grid[from_y, from_x]
                else:
                    cropped[:, y, x] = grid[:, from_y, from_x]
    return cropped


@settings(deadline=None)
@given(GRIDS, st.integers(-5, 5), st.integers(-5, 5))
def test_shift_is_zero_padding_and_cropping_of_both(sizes, down, right):
    image, codes = person(*sizes)
    moved_image, moved_codes = shift(image, codes, down, right)
    np.testing.assert_array_equal(moved_image, padded_and_cropped(image, (5, 5), 5 - down, 5 - right, True))
    (Hi, Wi), (Hm, Wm) = sizes
    cells_down, cells_right = math.floor(down * Hm / Hi + 0.5), math.floor(right * Wm / Wi + 0.5)
    expected = padded_and_cropped(codes, (0, 0), -cells_down, -cells_right, False)
    np.testing.assert_array_equal(moved_codes, expected)


@settings(deadline=None)
@given(GRIDS, st.data())
def test_erasing_fills_the_box_and_the_cells_whose_centre_it_covers(sizes, data):
    (Hi, Wi), (Hm, Wm) = sizes
    top, left = data.draw(st.integers(0, Hi - 1)), data.draw(st.integers(0, Wi - 1))
    box = Box(top, left, data.draw(st.integers(top + 1, Hi)), data.draw(st.integers(left + 1, Wi)))
    image, codes = person(*sizes)
    erased_image, erased_codes = image.copy(), codes.copy()
    erase(erased_image, erased_codes, box, (0.5, 0.25, 1.0))
    for y in range(Hi):
        for x in range(Wi):
            if box.top <= y < box.bottom and box.left <= x < box.right:
                image[y, x] = 128, 64, 255
    for y in range(Hm):
        for x in range(Wm):
            centre_y, centre_x = (y + 0.5) * Hi / Hm, (x + 0.5) * Wi / Wm
            if box.top <= centre_y < box.bottom and box.left <= centre_x < box.right:
                codes[:, y, x] = 0
    np.testing.assert_array_equal(erased_image, image)
    np.testing.assert_array_equal(erased_codes, codes)


def test_erased_boxes_keep_to_area_and_aspect():
    chance = np.random.default_rng(0)
    boxes = [box for _ in range(500) if (box := draw_box((384, 128), chance))]
    assert len(boxes) > 450
    sides = [(box.bottom - box.top, box.right - box.left) for box in boxes]
    assert all(0 <= box.top < box.bottom <= 384 and 0 <= box.left < box.right <= 128 for box in boxes)
    areas = np.array([tall * wide for tall, wide in sides]) / (384 * 128)
    aspects = np.array([tall / wide for tall, wide in sides])
    assert ERASE_AREA[0] * 0.95 < areas.min() < 0.03
    assert 0.3 < areas.max() < ERASE_AREA[1] * 1.05
    assert ERASE_ASPECT[0] * 0.9 < aspects.min() < 0.4
    assert 2.7 < aspects.max() < ERASE_ASPECT[1] * 1.1


def test_erased_boxes_are_as_large_and_as_tall_as_the_authors():
    chance = np.random.default_rng(0)
    boxes = [draw_box((384, 128), chance) for _ in range(20_000)]
    sides = np.array([(box.bottom - box.top, box.right - box.left) for box in boxes if box is not None])
    assert len(sides) == len(boxes)
    assert sides.prod(axis=1).mean() / (384 * 128) == pytest.approx(0.196, abs=0.003)
    assert (sides[:, 0] > sides[:, 1]).mean() == pytest.approx(0.86, abs=0.01)


def test_no_box_is_drawn_where_none_fits():
    # 200 pixels or more, at most 3.3 times as wide as tall, are at least 8 pixels tall.
    assert draw_box((1, 10_000), np.random.default_rng(0)) is None
    image, codes = person((1, 10_000), (1, 8))
    same_image, same_codes = TrainTransform((1, 10_000), flip=0, pad=0, erase=1).augment(image, codes, (0,))
    np.testing.assert_array_equal(same_image, image)
    np.testing.assert_array_equal(same_codes, codes)


def test_augmentation_follows_from_the_seed_alone():
    transform = TrainTransform((32, 16), pad=3)
    image, codes = person((32, 16), (8, 4))
    before = image.copy(), codes.copy()
    outcomes = [transform.augment(image, codes, (0, 1, 2, draw)) for draw in range(30)]
    again = [transform.augment(image, codes, (0, 1, 2, draw)) for draw in range(30)]
    for (one, one_codes), (two, two_codes) in zip(outcomes, again, strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one_codes, two_codes)
    assert len({one.tobytes() for one, _ in outcomes}) > 25
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(codes, before[1])


@pytest.mark.parametrize("erase_heatmaps", [True, False])
def test_heatmaps_are_erased_only_on_request(erase_heatmaps):
    transform = TrainTransform((32, 16), flip=0, pad=0, erase=1, erase_heatmaps=erase_heatmaps)
    image, codes = person((32, 16), (32, 16))
    erased_image, erased_codes = transform.augment(image, codes, (0,))
    assert (erased_image != image).any()
    assert (erased_codes == 0).any() == erase_heatmaps


def test_each_chance_is_taken_as_often_as_asked():
    image, codes = person((32, 16), (32, 16))
    for name in ("flip", "erase"):
        only = {"flip": 0.0, "erase": 0.0} | {name: 0.5}
        transform = TrainTransform((32, 16), pad=0, **only)
        changed = [(transform.augment(image, codes, (0, draw))[0] != image).any() for draw in range(200)]
        assert 70 < sum(changed) < 130


def test_evaluation_only_resizes():
    transform = EvalTransform((32, 16))
    image, codes = person((32, 16), (8, 4))
    assert transform.resize(Image.fromarray(person((50, 40), (8, 4))[0])).shape == (32, 16, 3)
    same_image, same_codes = transform.augment(image, codes, (0,))
    np.testing.assert_array_equal(same_image, image)
    np.testing.assert_array_equal(same_codes, codes)


@pytest.mark.parametrize(("mean", "std"), [(IMAGENET_MEAN, IMAGENET_STD), ((0.5, 0.4, 0.3), (0.5, 0.6, 0.7))])
def test_normalising_takes_off_the_mean_and_divides_by_the_deviation(mean, std):
    image, _ = person((4, 3), (8, 4))
    normal = EvalTransform((4, 3), mean, std).normalise(torch.from_numpy(image))
    assert (normal.dtype, normal.is_contiguous()) == (torch.float32, True)
    for channel in range(3):
        expected = (image[..., channel] / 255 - mean[channel]) / std[channel]
        np.testing.assert_allclose(normal[channel], expected, atol=1e-6)


def test_normalised_images_lie_channels_last_on_a_gpu():
    images = EvalTransform((4, 3)).normalise(torch.empty(2, 4, 3, 3, dtype=torch.uint8, device="meta"))
    assert (images.shape, images.dtype) == ((2, 3, 4, 3), torch.float32)
    assert images.is_contiguous(memory_format=torch.channels_last)
