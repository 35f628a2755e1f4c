"""How an image and its heatmap codes become what the model reads.

Images are `Hi×Wi×3` uint8, codes `K×Hm×Wm` as the store keeps them; a code of 0 means a heatmap value of 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pirt.heatmaps.codec import Codes

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Colour = tuple[float, float, float]
"""Red, green and blue, each in [0, 1]."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class EvalTransform:
    """Resizing alone, and the mean and deviation of colours that the network was trained with."""

    image_size: tuple[int, int]
    mean: Colour = IMAGENET_MEAN
    std: Colour = IMAGENET_STD

    def resize(self, image: Image.Image) -> Pixels:
        """Return the image at `image_size`, bicubic."""
        height, width = self.image_size
        return np.array(image.resize((width, height), Image.Resampling.BICUBIC))

    def augment(self, image: Pixels, codes: Codes, seed: Sequence[int]) -> tuple[Pixels, Codes]:
        """Return both as they are."""
        return image, codes

    def normalise(self, image: Pixels) -> NDArray[np.float32]:
        """Return `3×Hi×Wi` float32 with the mean taken off and divided by the deviation."""
        std = np.array(self.std, np.float32)
        # Converting while transposing, then in place, is several times as fast as the plain expression.
        normal = np.empty((3, *image.shape[:2]), np.float32)
        np.copyto(normal, image.transpose(2, 0, 1))
        normal *= (1 / (255 * std))[:, None, None]
        normal -= (np.array(self.mean, np.float32) / std)[:, None, None]
        return normal
