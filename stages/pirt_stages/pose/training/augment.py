"""Augmentation of a batch of images and their keypoints: flip, scale and shift, colour, occluders; a second view."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from pirt.core.keypoints import FLIP_ORDER
from pirt_stages.pose.training.labels import OCCLUDED, VISIBLE


def augment(images: Tensor, keypoints: Tensor, generator: Generator, geometry_only: bool) -> tuple[Tensor, Tensor]:
    """Return changed copies.

    Args:
        images: B×3×Hi×Wi, float, 0 to 255.
        keypoints: B×K×3, x and y in pixels of the image, COCO's visibility flag.
        generator: Source of all randomness.
        geometry_only: Leave colours as they are and cover nothing.
    """
    images, keypoints = _flip(images, keypoints, generator)
    images, keypoints = _scale_and_shift(images, keypoints, generator)
    if geometry_only:
        return images, keypoints
    images = _colour(images, generator)
    return _occlude(images, keypoints, generator)


def second_view(
    images: Tensor, keypoints: Tensor, cell: int, generator: Generator
) -> tuple[Tensor, Tensor, Callable[[Tensor], Tensor]]:
    """Mirror or not, and move by up to a heatmap cell of `cell` pixels; what comes in from outside is 0.

    Returns:
        Images and keypoints, and what turns heatmaps B×K×Hm×Wm of the first view into heatmaps of this one.
    """
    # One draw for the whole batch, so that one operation takes its heatmaps along.
    mirrored = bool(torch.rand((), generator=generator) < 0.5)
    down, right = torch.randint(-1, 2, (2,), generator=generator).tolist()

    def moved(grid: Tensor, size: int) -> Tensor:
        # A negative margin cuts off on one side what the other one gains.
        across, along = right * size, down * size
        return nn.functional.pad(grid.flip(-1) if mirrored else grid, (across, -across, along, -along))

    places, flags = keypoints[..., :2], keypoints[..., 2:]
    if mirrored:
        places, flags = places[:, list(FLIP_ORDER)], flags[:, list(FLIP_ORDER)]
        places = torch.cat([images.shape[-1] - 1 - places[..., :1], places[..., 1:]], dim=-1)
    places = places + cell * torch.tensor([right, down])
    order = list(FLIP_ORDER) if mirrored else slice(None)
    return moved(images, cell), torch.cat([places, flags], dim=-1), lambda heatmaps: moved(heatmaps[:, order], 1)


def _between(low: float, high: float, shape: tuple[int, ...], generator: Generator) -> Tensor:
    return torch.empty(shape).uniform_(low, high, generator=generator)


def _flip(images: Tensor, keypoints: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    chosen = torch.rand(len(images), generator=generator) < 0.5
    mirrored = keypoints[:, list(FLIP_ORDER)]
    x = images.shape[-1] - 1 - mirrored[..., :1]
    mirrored = torch.cat([x, mirrored[..., 1:]], dim=-1)
    return (
        torch.where(chosen[:, None, None, None], images.flip(-1), images),
        torch.where(chosen[:, None, None], mirrored, keypoints),
    )


def _scale_and_shift(images: Tensor, keypoints: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Scale and shift; what comes in from outside is black in half of the images, as stage 2 pads before it crops."""
    B, _, H, W = images.shape
    zoom = _between(0.88, 1.15, (B,), generator)
    shift = _between(-0.1, 0.1, (B, 2), generator)  # of width and height
    black = torch.rand((B, 1, 1, 1), generator=generator) < 0.5
    # affine_grid asks where each output pixel comes from, in [-1, 1] across the image.
    theta = torch.zeros(B, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = 1 / zoom
    theta[:, :, 2] = -2 * shift / zoom[:, None]
    grid = nn.functional.affine_grid(theta, [B, 3, H, W], align_corners=False)
    continued, blackened = (
        nn.functional.grid_sample(images, grid, padding_mode=outside, align_corners=False)
        for outside in ("border", "zeros")
    )
    moved = torch.where(black, blackened, continued)
    size = torch.tensor([W, H], dtype=torch.float32)
    centred = (keypoints[..., :2] + 0.5) / size - 0.5
    placed = (centred * zoom[:, None, None] + shift[:, None] + 0.5) * size - 0.5
    return moved, torch.cat([placed, keypoints[..., 2:]], dim=-1)


def _colour(images: Tensor, generator: Generator) -> Tensor:
    """Change colours; in half of the images differently above and below a random row, as other garments would."""
    B, _, H, _ = images.shape
    row = _between(0.2, 0.8, (B, 1, 1, 1), generator) * H
    above = (torch.arange(H)[:, None] < row) & (torch.rand(B, 1, 1, 1, generator=generator) < 0.5)
    return torch.where(above, _recoloured(images, generator), _recoloured(images, generator))


def _recoloured(images: Tensor, generator: Generator) -> Tensor:
    B = len(images)
    gain = _between(0.7, 1.3, (B, 1, 1, 1), generator) * _between(0.85, 1.15, (B, 3, 1, 1), generator)
    contrast = _between(0.7, 1.3, (B, 1, 1, 1), generator)
    exchanged = (torch.rand(B, generator=generator) < 0.33)[:, None, None, None]
    images = torch.where(exchanged, images[:, torch.randperm(3, generator=generator)], images)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return (((images - mean) * contrast + mean) * gain).clamp(0, 255)


def _occlude(images: Tensor, keypoints: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Cover a third of the images with a box of another image or of one colour; covered keypoints turn occluded."""
    B, _, H, W = images.shape
    corner = torch.stack([_between(-0.3, 0.9, (B,), generator), _between(-0.3, 0.9, (B,), generator)], dim=1)
    size = torch.stack([_between(0.2, 0.9, (B,), generator), _between(0.15, 0.6, (B,), generator)], dim=1)
    chosen = torch.rand(B, generator=generator) < 0.33
    scale = torch.tensor([W, H], dtype=torch.float32)
    low, high = corner * scale, (corner + size) * scale  # B×2, x and y
    x, y = torch.arange(W), torch.arange(H)
    inside_x = (x >= low[:, :1]) & (x < high[:, :1])
    inside_y = (y >= low[:, 1:]) & (y < high[:, 1:])
    box = (inside_y[:, None, :, None] & inside_x[:, None, None, :]) & chosen[:, None, None, None]
    plain = _between(0, 255, (B, 3, 1, 1), generator).expand_as(images)
    other = images[torch.randperm(B, generator=generator)]
    filling = torch.where(torch.rand(B, 1, 1, 1, generator=generator) < 0.5, plain, other)
    place = keypoints[..., :2]
    covered = ((place >= low[:, None]) & (place < high[:, None])).all(-1) & chosen[:, None]
    # What is not labelled stays so: as occluded it would be asked for an empty heatmap.
    covered &= keypoints[..., 2] == VISIBLE
    visibility = torch.where(covered, torch.full_like(keypoints[..., 2], OCCLUDED), keypoints[..., 2])
    return torch.where(box, filling, images), torch.cat([place, visibility[..., None]], dim=-1)
