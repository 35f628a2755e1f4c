"""What the cache gives up: heatmaps of the augmented image, recomputed, against cached ones augmented alike.

    python benchmarks/cached_vs_live.py --manifest runs/manifest.csv --heatmaps runs/heatmaps.zarr \
        --config runs/pose/config.py --checkpoint runs/pose/checkpoint.pth

The part mask of a group is where any of its keypoints' heatmaps exceeds τ. It is compared on the heatmaps' own grid
and, max-pooled as by eq. 1, on the features' grid. Prints Markdown.
"""

from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray

from pirt.core.images import read_image
from pirt.core.manifest import read_manifest
from pirt.models.part_groups import named_groups
from pirt.models.part_masks import pool_heatmaps
from pirt.runs.cache import load_heatmaps, store_for
from pirt.runs.transforms import EvalTransform
from pirt.training.augmentation import Box, draw_box, erase, flip, shift
from pirt_stages.pose.extraction.geometry import Geometry
from pirt_stages.pose.extraction.inference import find_geometry, find_network, load_network, spanning_heatmaps
from pirt_stages.pose.networks.network import HeatmapNetwork

Change = Callable[[NDArray[np.uint8], NDArray[np.uint8]], tuple[NDArray[np.uint8], NDArray[np.uint8]]]


def changes(size: tuple[int, int], pad: int, chance: np.random.Generator) -> dict[str, Change]:
    """Draw one augmentation of each kind."""
    down, right = (int(step) for step in chance.integers(-pad, pad, 2, endpoint=True))
    box = draw_box(size, chance) or Box(0, 0, 1, 1)

    def erased(image: NDArray[np.uint8], codes: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        image, codes = image.copy(), codes.copy()
        erase(image, codes, box)
        return image, codes

    return {
        "none": lambda image, codes: (image, codes),
        "flip": flip,
        "pad and crop": lambda image, codes: shift(image, codes, down, right),
        "erase": erased,
    }


def part_masks(heatmaps: NDArray[np.float32], tau: float, grid: tuple[int, int] | None) -> NDArray[np.bool_]:
    """Return G×H×W masks of heatmaps K×Hm×Wm, on their own grid or max-pooled to `grid`."""
    tensor = torch.from_numpy(heatmaps)
    pooled = tensor if grid is None else pool_heatmaps(tensor[None], grid)[0]
    return np.stack([(pooled[list(group)] > tau).any(dim=0).numpy() for _, group in named_groups("paper")])


def ious(cached: NDArray[np.bool_], live: NDArray[np.bool_]) -> list[float]:
    """Return the IoU of each part that either has."""
    union = (cached | live).sum(axis=(1, 2))
    both = (cached & live).sum(axis=(1, 2))
    return [float(b / u) for b, u in zip(both, union, strict=True) if u]


def recompute(network: HeatmapNetwork, geometry: Geometry, images: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Return clipped heatmaps of images that already have the input size."""
    sizes = np.array([image.shape[1::-1] for image in images])
    return spanning_heatmaps(network, geometry, np.stack(images), sizes, flip_test=False).clip(0, 1)


@click.command(context_settings={"show_default": True})
@click.option("--manifest", "manifest_path", type=click.Path(path_type=Path), default=Path("runs/manifest.csv"))
@click.option("--heatmaps", "store", type=click.Path(path_type=Path), default=Path("runs/heatmaps.zarr"))
@click.option("--config", default="runs/pose/config.py")
@click.option("--checkpoint", default="runs/pose/checkpoint.pth")
@click.option("--input-size", type=int, nargs=2, default=(128, 64), help="Of network and training alike.")
@click.option("--grid", type=int, nargs=2, default=(16, 8), help="Of the features.")
@click.option("--pad", type=int, default=4, help="Of pad and crop, in pixels.")
@click.option("--tau", type=float, default=0.001)
@click.option("--images", type=int, default=256)
def main(
    manifest_path: Path,
    store: Path,
    config: str,
    checkpoint: str,
    input_size: tuple[int, int],
    grid: tuple[int, int],
    pad: int,
    tau: float,
    images: int,
) -> None:
    """Print mean part-mask IoU for each augmentation."""
    manifest = read_manifest(manifest_path)
    train = manifest.split("train")
    rows = [train[i] for i in np.linspace(0, len(train) - 1, min(images, len(train))).astype(int)]
    cache = load_heatmaps(store_for(store, manifest), rows)
    source = find_network(config, checkpoint, "float32", "cpu", flip_test=False)
    network, geometry = load_network(source), find_geometry(source, "resize", input_size)
    chance = np.random.default_rng(0)
    fine: dict[str, list[float]] = {}
    coarse: dict[str, list[float]] = {}
    for row, codes in zip(rows, cache.codes.numpy(), strict=True):
        image = EvalTransform(input_size).resize(read_image(manifest.image_path(row)))
        drawn = {name: change(image, codes) for name, change in changes(input_size, pad, chance).items()}
        live = recompute(network, geometry, [changed for changed, _ in drawn.values()])
        for (name, (_, kept)), fresh in zip(drawn.items(), live, strict=True):
            cached = cache.decode(torch.from_numpy(np.ascontiguousarray(kept))).numpy()
            for shares, size in ((fine, None), (coarse, grid)):
                masks = part_masks(cached, tau, size), part_masks(fresh, tau, size)
                shares.setdefault(name, []).extend(ious(*masks))
    print(f"{len(rows)} images, network {source.name}, input {input_size[0]}×{input_size[1]}, pad {pad}, τ = {tau}\n")
    print(f"| augmentation | IoU on {cache.size[0]}×{cache.size[1]} | IoU on {grid[0]}×{grid[1]} |\n|---|---:|---:|")
    for name in fine:
        print(f"| {name} | {np.mean(fine[name]):.3f} | {np.mean(coarse[name]):.3f} |")


if __name__ == "__main__":
    main()
