"""How an image and its heatmap codes become what the model reads.

Images are `Hi×Wi×3` uint8, codes `K×Hm×Wm` as the store keeps them; a code of 0 means a heatmap value of 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Pixels = NDArray[np.uint8]
Codes = NDArray[Any]


@dataclass(frozen=True)
class EvalTransform:
    """Resizing alone."""

    image_size: tuple[int, int]

    def resize(self, image: Image.Image) -> Pixels:
        """Return the image at `image_size`, bicubic."""
        height, width = self.image_size
        return np.array(image.resize((width, height), Image.Resampling.BICUBIC))

    def augment(self, image: Pixels, codes: Codes, seed: Sequence[int]) -> tuple[Pixels, Codes]:
        """Return both as they are."""
        return image, codes


def normalise(image: Pixels) -> NDArray[np.float32]:
    """Return `3×Hi×Wi` float32 with ImageNet's mean and deviation."""
    # Converting while transposing, then in place, is several times as fast as the plain expression.
    normal = np.empty((3, *image.shape[:2]), np.float32)
    np.copyto(normal, image.transpose(2, 0, 1))
    normal *= _SCALE
    normal -= _OFFSET
    return normal


_SCALE = (1 / (255 * np.array(IMAGENET_STD, np.float32)))[:, None, None]
_OFFSET = (np.array(IMAGENET_MEAN, np.float32) / np.array(IMAGENET_STD, np.float32))[:, None, None]
