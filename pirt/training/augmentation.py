"""Augmentation of an image and its heatmap codes alike; their shapes are those of `pirt.runs.transforms`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from pirt.core.keypoints import FLIP_ORDER
from pirt.heatmaps.codec import Codes
from pirt.runs.transforms import Colour, EvalTransform, Pixels

# The authors' numbers, which the paper does not give (docs/method.md).
ERASE_AREA = (0.02, 0.4)
ERASE_ASPECT = (0.3, 1 / 0.3)
_ERASE_ATTEMPTS = 100


class Box(NamedTuple):
    """Pixels from `top`, `left` up to and without `bottom`, `right`."""

    top: int
    left: int
    bottom: int
    right: int


@dataclass(frozen=True)
class TrainTransform(EvalTransform):
    """Flip, zero-pad and crop, random erasing, in this order; all chance comes from the seed of the draw."""

    flip: float = 0.5
    pad: int = 10
    erase: float = 0.5
    erase_heatmaps: bool = True

    def augment(self, image: Pixels, codes: Codes, seed: Sequence[int]) -> tuple[Pixels, Codes]:
        """Return an augmented copy of both."""
        chance = np.random.default_rng(seed)
        if chance.random() < self.flip:
            image, codes = flip(image, codes)
        down, right = (int(shift) for shift in chance.integers(-self.pad, self.pad, 2, endpoint=True))
        image, codes = shift(image, codes, down, right)
        if chance.random() < self.erase and (box := draw_box(image.shape[:2], chance)):
            # In place, since `shift` has copied both: image and codes may be held for the whole training.
            erase(image, codes if self.erase_heatmaps else None, box, self.mean)
        return image, codes


def flip(image: Pixels, codes: Codes) -> tuple[Pixels, Codes]:
    """Mirror both; a mirrored left wrist is a right wrist."""
    # NumPy copies backwards a value at a time; torch.flip is ten times as fast.
    mirrored = torch.from_numpy(image).flip(1), torch.from_numpy(codes.take(FLIP_ORDER, axis=0)).flip(2)
    return mirrored[0].numpy(), mirrored[1].numpy()


def shift(image: Pixels, codes: Codes, down: int, right: int) -> tuple[Pixels, Codes]:
    """Move both by whole pixels, heatmaps by the nearest cells; what comes in from outside is 0.

    Zero-padding by p and cropping to the old size at (y, x) is a shift by (p − y, p − x).
    """
    rows, columns = codes.shape[1] / image.shape[0], codes.shape[2] / image.shape[1]
    # Halves go up for every shift, where round() would go to the even cell.
    cells_down, cells_right = math.floor(down * rows + 0.5), math.floor(right * columns + 0.5)
    return _moved(image, 0, down, right), _moved(codes, 1, cells_down, cells_right)


def _moved(grid: NDArray[Any], axis: int, down: int, right: int) -> NDArray[Any]:
    """Move `grid`, of which `axis` is the height and the next one the width."""
    moved = np.zeros(grid.shape, grid.dtype)
    pairs = [_overlap(grid.shape[axis], down), _overlap(grid.shape[axis + 1], right)]
    before = (slice(None),) * axis
    moved[(*before, *(target for target, _ in pairs))] = grid[(*before, *(source for _, source in pairs))]
    return moved


def _overlap(length: int, by: int) -> tuple[slice, slice]:
    return slice(max(by, 0), length + min(by, 0)), slice(max(-by, 0), length + min(-by, 0))


def draw_box(size: tuple[int, ...], chance: np.random.Generator) -> Box | None:
    """Draw an erasing box for an image of `size`; None when no draw lies inside it.

    The aspect (height over width) is drawn uniformly, as the authors do, so that most boxes are taller than wide.
    """
    height, width = size
    for _ in range(_ERASE_ATTEMPTS):
        area = chance.uniform(*ERASE_AREA) * height * width
        aspect = chance.uniform(*ERASE_ASPECT)
        tall, wide = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < tall <= height and 0 < wide <= width:
            top, left = int(chance.integers(height - tall + 1)), int(chance.integers(width - wide + 1))
            return Box(top, left, top + tall, left + wide)
    return None


def erase(image: Pixels, codes: Codes | None, box: Box, mean: Colour) -> None:
    """Fill the box with the mean colour, in place; heatmap cells whose centre lies in the box become 0."""
    image[box.top : box.bottom, box.left : box.right] = np.array([round(255 * channel) for channel in mean], np.uint8)
    if codes is not None:
        rows, columns = codes.shape[1] / image.shape[0], codes.shape[2] / image.shape[1]
        # The centre of cell c lies at c + ½.
        top, bottom = (math.ceil(edge * rows - 0.5) for edge in (box.top, box.bottom))
        left, right = (math.ceil(edge * columns - 0.5) for edge in (box.left, box.right))
        codes[:, top:bottom, left:right] = 0
