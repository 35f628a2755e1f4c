"""Both geometries put a place of the image into the same cell."""

import numpy as np
import pytest
import torch
from PIL import Image

from pirt.core.errors import ParamsError
from pirt_stages.pose.extraction.geometry import (
    Geometry,
    GeometryName,
    default_input_size,
    geometry_of,
    other_size,
)
from pirt_stages.pose.networks.network import read_config
from pirt_stages.pose.networks.openmmlab import Config
from pirt_stages.pose.training.small_hrnet import small_hrnet_config

W32 = "td-hm_hrnet-w32_8xb64-210e_coco-256x192"
SIZES = [(64, 128), (128, 64), (50, 190), (100, 75)]


def _geometry(name: GeometryName, udp: bool = False) -> Geometry:
    return Geometry(name, input_size=(256, 192), padding=1.25, udp=udp)


def _seen(geometry: Geometry, image: Image.Image) -> torch.Tensor:
    """Return the heatmap of a network that sees brightness: each cell is the input at its place, 1×1×64×48."""
    pixels = torch.from_numpy(geometry.prepare(image).copy())[..., 0].float()[None, None]
    rows, columns = torch.meshgrid(torch.arange(64) * 4.0, torch.arange(48) * 4.0, indexing="ij")
    if geometry.udp:
        rows, columns = rows * 255 / 252, columns * 191 / 188
    grid = torch.stack([2 * columns / 191 - 1, 2 * rows / 255 - 1], dim=-1)[None]
    return torch.nn.functional.grid_sample(pixels, grid, align_corners=True)


@pytest.mark.parametrize("udp", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_topdown_mapped_back_shows_what_resize_shows(size: tuple[int, int], udp: bool) -> None:
    coarse = np.random.default_rng(0).integers(0, 256, (4, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).convert("RGB")
    resize, topdown = _geometry("resize", udp), _geometry("topdown", udp)
    sizes = np.array([size])
    stretched = resize.restore(_seen(resize, image), sizes)
    mapped = topdown.restore(_seen(topdown, image), sizes)
    inside = (..., slice(2, -2), slice(2, -2))
    assert (stretched[inside] - mapped[inside]).abs().mean() < 3
    assert (stretched - _seen(topdown, image))[inside].abs().mean() > 10  # unmapped, it does not align


def test_each_image_of_a_batch_is_mapped_by_its_own_size() -> None:
    heatmaps = torch.rand(2, 17, 64, 48, generator=torch.Generator().manual_seed(0))
    sizes = np.array([(64, 128), (200, 100)])
    together = _geometry("topdown").restore(heatmaps, sizes)
    for index in range(2):
        alone = _geometry("topdown").restore(heatmaps[index : index + 1], sizes[index : index + 1])
        assert torch.equal(together[index], alone[0])


def test_an_image_of_one_pixel_passes() -> None:
    pixel = Image.new("RGB", (1, 1), (9, 8, 7))
    for name in ("resize", "topdown"):
        geometry = _geometry(name)
        assert geometry.prepare(pixel).shape == (256, 192, 3)
        assert geometry.restore(torch.rand(1, 17, 64, 48), np.array([(1, 1)])).isfinite().all()


def test_the_configs_own_padding_and_udp_are_used() -> None:
    udp = read_config("td-hm_hrnet-w32_udp-8xb64-210e_coco-256x192")
    assert geometry_of(udp, "topdown", (256, 192), "udp") == _geometry("topdown", udp=True)
    tight = Config({"test_dataloader": {"dataset": {"pipeline": [
        {"type": "GetBBoxCenterScale", "padding": 1.0}, {"type": "TopdownAffine", "input_size": (192, 256)},
    ]}}})  # fmt: skip
    assert geometry_of(tight, "topdown", (256, 192), "tight").padding == 1.0


def test_sizes_and_configs_that_do_not_fit_are_told() -> None:
    with pytest.raises(ParamsError, match="input size 100 64: networks need multiples of 32"):
        geometry_of(Config({}), "resize", (100, 64), "net")
    with pytest.raises(ParamsError, match="no TopdownAffine"):
        geometry_of(Config({}), "topdown", (64, 64), "net")


def test_a_network_that_was_trained_on_whole_images_runs_at_its_own_size() -> None:
    own, paper = small_hrnet_config((128, 64), channels=4, sigma=1.0), read_config(W32)
    assert default_input_size(own, "resize", "own") == (128, 64)
    assert default_input_size(own, "topdown", "own") == (128, 64)
    assert default_input_size(paper, "resize", W32) == (384, 128)
    assert default_input_size(paper, "topdown", W32) == (256, 192)


def test_another_size_is_said_in_one_line() -> None:
    assert other_size("net", (128, 64), (128, 64)) is None
    assert other_size("net", None, (128, 64)) is None  # of a store that does not know
    line = "network net was trained at 128x64 and runs at {}; --input-size 128 64 is its own"
    assert other_size("net", (128, 64), (256, 128)) == line.format("256x128, of the same shape")
    assert other_size("net", (128, 64), (384, 128)) == line.format("384x128, of another shape")
