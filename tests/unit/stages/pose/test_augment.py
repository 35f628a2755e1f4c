"""Augmentation moves keypoints as it moves pixels."""

import pytest
import torch

from pirt.core.keypoints import FLIP_ORDER
from pirt_stages.pose.training.augment import _flip, _occlude, _scale_and_shift, augment, second_view


def _dots(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw a white dot at the first keypoint of each black image."""
    places = torch.randint(20, 44, (count, 17, 2), generator=torch.Generator().manual_seed(0)).float()
    images = torch.zeros(count, 3, 64, 64)
    for image, place in zip(images, places[:, 0], strict=True):
        x, y = (int(number) for number in place)
        image[:, y - 2 : y + 3, x - 2 : x + 3] = 255
    return images, torch.cat([places, torch.full((count, 17, 1), 2.0)], dim=-1)


def _centre(image: torch.Tensor) -> torch.Tensor:
    weight = image[0] / image[0].sum()
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    return torch.stack([(weight * x).sum(), (weight * y).sum()])


def test_a_mirrored_left_eye_is_where_the_right_one_was() -> None:
    images, keypoints = _dots(16)
    flipped_images, flipped = _flip(images, keypoints, torch.Generator().manual_seed(0))
    changed = (flipped_images != images).flatten(1).any(dim=1)
    assert 0 < changed.sum() < 16
    for mirrored, before, after in zip(changed, keypoints, flipped, strict=True):
        expected = before[list(FLIP_ORDER)] * torch.tensor([-1, 1, 1]) + torch.tensor([63, 0, 0])
        assert torch.equal(after, expected if mirrored else before)


def test_keypoints_follow_the_pixels_that_are_moved() -> None:
    images, keypoints = _dots(16)
    moved, places = _scale_and_shift(images, keypoints, torch.Generator().manual_seed(0))
    assert not torch.allclose(places, keypoints)
    for image, place in zip(moved, places[:, 0], strict=True):
        assert torch.allclose(_centre(image), place[:2], atol=0.3)


def test_exactly_the_visible_keypoints_under_the_box_turn_occluded() -> None:
    images = torch.zeros(64, 3, 64, 64)
    places = torch.rand(64, 17, 2, generator=torch.Generator().manual_seed(1)) * 63
    keypoints = torch.cat([places, torch.randint(0, 3, (64, 17, 1)).float()], dim=-1)
    covered_images, covered = _occlude(images, keypoints, torch.Generator().manual_seed(0))
    changed = covered[..., 2] != keypoints[..., 2]
    assert changed.any()
    assert torch.equal(covered[..., :2], keypoints[..., :2])
    assert (keypoints[changed][:, 2] == 2).all()
    assert (covered[changed][:, 2] == 1).all()
    for image, place, hidden in zip(covered_images, keypoints, changed, strict=True):
        for (x, y, flag), turned in zip(place.tolist(), hidden.tolist(), strict=True):
            # Boxes of one colour show on black; those filled with another black image do not.
            if flag == 2 and image[:, round(y), round(x)].any() and image.any() and not turned:
                inside = [
                    image[:, int(y) + dy, int(x) + dx].any() for dx in (0, 1) for dy in (0, 1) if y < 63 and x < 63
                ]
                assert not all(inside)


def test_the_same_seed_gives_the_same_batch_and_another_one_not() -> None:
    images, keypoints = _dots(4)
    first, second, other = (
        augment(images, keypoints, torch.Generator().manual_seed(seed), geometry_only=False) for seed in (0, 0, 1)
    )
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0], other[0])
    assert first[0].min() >= 0
    assert first[0].max() <= 255


def test_geometry_alone_invents_no_colour_and_covers_nothing() -> None:
    images, keypoints = _dots(32)
    moved, places = augment(images, keypoints, torch.Generator().manual_seed(0), geometry_only=True)
    assert not torch.equal(moved, images)
    assert torch.equal(moved[:, 0], moved[:, 1])
    assert torch.equal(places[..., 2], keypoints[..., 2])


def _cells(keypoints: torch.Tensor) -> torch.Tensor:
    """Return heatmaps B×17×16×16 that are 1 in the cell of 4 pixels where a keypoint is."""
    heatmaps = torch.zeros(len(keypoints), 17, 16, 16)
    x, y = (keypoints[..., :2] // 4).long().unbind(-1)
    heatmaps[torch.arange(len(keypoints))[:, None], torch.arange(17), y, x] = 1
    return heatmaps


@pytest.mark.parametrize("seed", range(8))
def test_heatmaps_keypoints_and_pixels_agree_in_the_second_view(seed: int) -> None:
    images, keypoints = _dots(4)
    moved, places, follow = second_view(images, keypoints, 4, torch.Generator().manual_seed(seed))
    assert torch.equal(follow(_cells(keypoints)), _cells(places))
    for image, place in zip(moved, places[:, 0], strict=True):
        assert torch.allclose(_centre(image), place[:2], atol=0.01)
    bright, _, _ = second_view(torch.ones_like(images), keypoints, 4, torch.Generator().manual_seed(seed))
    assert torch.equal(follow(torch.ones(4, 17, 16, 16))[:, 0], bright[:, 0, ::4, ::4])


def test_second_views_are_mirrored_and_moved_in_turn() -> None:
    images, keypoints = _dots(1)
    generator = torch.Generator().manual_seed(0)
    kinds = {tuple(second_view(images, keypoints, 4, generator)[1].flatten().tolist()) for _ in range(200)}
    assert len(kinds) == 2 * 3 * 3
