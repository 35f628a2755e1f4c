"""How an image becomes the network's input, and how its heatmaps become heatmaps of the image.

In both geometries cell (i, j) of a stored heatmap is the same place of the image. MMPose's codecs say where that is:
cell j is input pixel `stride·j`, with pixel centres at whole numbers.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from pirt.core.errors import DataError, ParamsError
from pirt.core.params import LONGEST_SIDE
from pirt_stages.pose.networks.network import inference_steps, own_input_size
from pirt_stages.pose.networks.openmmlab import Config, get_udp_warp_matrix, get_warp_matrix

GeometryName = Literal["resize", "topdown"]
# Height and width to which the paper resizes its images; the heatmaps are then 96×32.
PAPER_INPUT = (384, 128)
_LONGEST_WARPED = 32_766
"""OpenCV counts in 16 bits."""


@dataclass(frozen=True)
class Geometry:
    """`resize` stretches the whole image to the input; `topdown` is MMPose's affine around the whole image as box.

    Attributes:
        name: Which of the two.
        input_size: Height and width of the network's input.
        padding: Of topdown's box, MMPose's 1.25 unless the config says otherwise.
        udp: Whether the config maps pixel to cell by UDP's unbiased factors.
    """

    name: GeometryName
    input_size: tuple[int, int]
    padding: float
    udp: bool

    def prepare(self, image: Image.Image) -> NDArray[np.uint8]:
        """Return the input of an RGB image, Hi×Wi×3."""
        height, width = self.input_size
        if self.name == "resize":
            # Bicubic and smoothed when shrinking, as stage 2 sees the image.
            return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
        matrix = self._to_input(image.width, image.height)
        # Not smoothed, as MMPose's own step is not: the network was trained behind that one.
        warped = cv2.warpAffine(np.asarray(image), matrix, (width, height), flags=cv2.INTER_LINEAR)
        return np.asarray(warped, dtype=np.uint8)

    def require_usable(self, image: Image.Image, path: Path) -> None:
        """Raise DataError for an image, read from `path`, that `prepare` cannot take."""
        if self.name == "topdown" and max(image.size) > _LONGEST_WARPED:
            raise DataError(
                f"image {path} has a side of {max(image.size)} pixels, topdown takes up to {_LONGEST_WARPED}; "
                "use --geometry resize"
            )

    def restore(self, heatmaps: Tensor, image_sizes: NDArray[np.int64]) -> Tensor:
        """Map heatmaps B×K×Hm×Wm back so that they span their images, whose B×2 widths and heights are given."""
        if self.name == "resize":
            return heatmaps
        grids = torch.stack([self._grid(int(w), int(h), *heatmaps.shape[-2:]) for w, h in image_sizes])
        # With align_corners −1 and 1 are the centres of the outermost cells, as `_grid` counts.
        places = sent(grids.to(heatmaps.dtype), heatmaps.device)
        return nn.functional.grid_sample(heatmaps, places, padding_mode="border", align_corners=True)

    def _to_input(self, width: int, height: int) -> NDArray[np.float64]:
        """Return the 2×3 matrix from image pixels to input pixels, as MMPose makes it for the box of the image."""
        in_height, in_width = self.input_size
        # In float32, as MMPose has boxes, so that both come to the same matrix.
        size = np.array([width, height], dtype=np.float32)
        scale = size * np.float32(self.padding)
        aspect = in_width / in_height
        w, h = scale
        scale = np.array([w, w / aspect] if w > h * aspect else [h * aspect, h], dtype=np.float32)
        warp = get_udp_warp_matrix if self.udp else get_warp_matrix
        matrix: NDArray[np.float64] = warp(size * np.float32(0.5), scale, 0.0, output_size=(in_width, in_height))
        return matrix

    def _grid(self, width: int, height: int, rows: int, columns: int) -> Tensor:
        """Return Hm×Wm×2 places, in [-1, 1] across the heatmap, of the cells that span the image."""
        count = np.array([columns, rows], dtype=np.float64)
        in_size = np.array([self.input_size[1], self.input_size[0]], dtype=np.float64)
        # UDP's outermost cells lie on the input's outermost pixels; with other codecs each cell has an equal share.
        stride = (in_size - 1) / (count - 1) if self.udp else in_size / count
        cell = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1)
        # Pixel centres are at whole numbers, so an image's edge is half a pixel outside of the first one.
        pixel = (cell * stride + 0.5) * (np.array([width, height]) / in_size) - 0.5
        matrix = self._to_input(width, height)
        place = (pixel @ matrix[:, :2].T + matrix[:, 2]) / stride
        return torch.from_numpy(2 * place / (count - 1) - 1)


def sent(values: Tensor, device: torch.device) -> Tensor:
    """Return `values` of the host on `device`; a GPU fetches them from pinned memory while the host goes on."""
    return (values.pin_memory() if device.type == "cuda" else values).to(device, non_blocking=True)


def default_input_size(config: Config, name: GeometryName, network: str) -> tuple[int, int]:
    """Return the network's own size for `topdown`, and for one that was trained on whole images; else the paper's.

    A network that MMPose trained on padded boxes has no size of its own for a stretched image.
    """
    whole = _padding(config) == 1
    return own_input_size(config, network) if whole or name == "topdown" else PAPER_INPUT


def geometry_of(config: Config, name: GeometryName, input_size: tuple[int, int], network: str) -> Geometry:
    """Read from the config's test pipeline what MMPose itself does to an image."""
    # HRNet's coarsest branch has a 32nd of the input's side, and its branches are added up.
    if any(side % 32 or not 0 < side <= LONGEST_SIDE for side in input_size):
        raise ParamsError(
            f"input size {input_size[0]} {input_size[1]}: networks need multiples of 32, up to {LONGEST_SIDE}"
        )
    named = _named_steps(config)
    if name == "topdown" and "TopdownAffine" not in named:
        raise ParamsError(f"network {network} has no TopdownAffine in its test pipeline; use --geometry resize")
    return Geometry(
        name,
        input_size,
        padding=_padding(config),
        udp=bool(named.get("TopdownAffine", {}).get("use_udp", False)),
    )


def other_size(network: str, trained: tuple[int, int] | None, used: tuple[int, int]) -> str | None:
    """Return a line with both sizes, height first, of a network that does not run at the size it was trained at."""
    if trained is None or trained == used:
        return None
    shape = "of the same shape" if trained[0] * used[1] == trained[1] * used[0] else "of another shape"
    return (
        f"network {network} was trained at {trained[0]}x{trained[1]} and runs at {used[0]}x{used[1]}, {shape}; "
        f"--input-size {trained[0]} {trained[1]} is its own"
    )


def _padding(config: Config) -> float:
    """Return the size of the box around the image as a multiple of the image's."""
    padding = _named_steps(config).get("GetBBoxCenterScale", {}).get("padding", 1.25)
    if not isinstance(padding, int | float) or not 0.1 <= padding <= 10:
        raise ParamsError(
            f"config {config.filename}: GetBBoxCenterScale has padding {padding!r:.200}, expected a number from 0.1 "
            "to 10"
        )
    return float(padding)


def _named_steps(config: Config) -> dict[str, dict[str, Any]]:
    return {step["type"]: step for step in inference_steps(config)}
