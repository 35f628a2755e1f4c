"""How an image and its heatmap codes become what the model reads.

Images are `Hi×Wi×3` uint8, codes `K×Hm×Wm` as the store keeps them; a code of 0 means a heatmap value of 0.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

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
        # Stretched whatever its aspect, as stage 1 stretches it: so the heatmaps lie on the image.
        return np.array(image.resize((width, height), Image.Resampling.BICUBIC))

    def augment(self, image: Pixels, codes: Codes, seed: Sequence[int]) -> tuple[Pixels, Codes]:
        """Return both as they are."""
        return image, codes

    def normalise(self, pixels: Tensor) -> Tensor:
        """…×Hi×Wi×3 uint8 -> …×3×Hi×Wi float32 with the mean taken off and divided by the deviation.

        On a GPU the channels stay last in memory, as its convolutions want them.
        """
        return self.normaliser(pixels.device)(pixels)

    def normaliser(self, device: torch.device) -> Callable[[Tensor], Tensor]:
        """Return `normalise` for many tensors on `device`."""
        std = np.array(self.std, np.float32)
        constants = (1 / (255 * std), np.array(self.mean, np.float32) / std)
        # Once: the host waits for a GPU, and all that it has in hand, whenever it copies something of its own there.
        scale, offset = (torch.from_numpy(values[:, None, None]).to(device) for values in constants)

        def normalise(pixels: Tensor) -> Tensor:
            channels_first = pixels.movedim(-1, -3)
            normal = (channels_first.contiguous() if device.type == "cpu" else channels_first).float()
            return normal.mul_(scale).sub_(offset)

        return normalise
