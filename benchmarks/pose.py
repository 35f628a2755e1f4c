"""How fast stage 1 extracts, and what narrow precision costs.

    python benchmarks/pose.py                                             speed, HRNet-W32 256x192, random weights
    python benchmarks/pose.py --trained runs/pose --manifest runs/manifest.csv      and bfloat16's cost as well

All contenders of a table take turns in one process; ratios are medians over the turns. The whole pipeline checks,
reads and decodes every image, runs the network, encodes, writes and seals. Prints Markdown.
"""

import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from pirt.core.files import sha256_of
from pirt.core.manifest import ImageRow, Manifest, read_manifest, write_manifest
from pirt_stages.pose.extraction.extract import BATCH_SIZE, ExtractOptions, extract
from pirt_stages.pose.extraction.inference import (
    Device,
    NetworkSource,
    Precision,
    find_geometry,
    find_network,
    load_network,
    spanning_heatmaps,
)
from pirt_stages.pose.extraction.params import ExtractParams
from pirt_stages.pose.extraction.reading import Inputs, Reader
from pirt_stages.pose.extraction.running import NetworkThreads
from pirt_stages.pose.networks.network import build_network, read_config

W32 = "td-hm_hrnet-w32_8xb64-210e_coco-256x192"
INPUT_SIZE = (256, 192)
TAU = 0.001
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
Turn = Callable[[], int]
"""Does its work once and returns the number of images."""
LOOP_IMAGES = 64


def draw_images(folder: Path, count: int) -> Manifest:
    """Write `count` JPEGs of 128×64 as re-ID data sets have them."""
    chance = np.random.default_rng(0)
    rows = []
    for index in range(count):
        coarse = Image.fromarray(chance.integers(0, 256, (16, 8, 3), dtype=np.uint8))
        file = folder / f"{index:05d}.jpg"
        coarse.resize((64, 128), Image.Resampling.BICUBIC).save(file, quality=90)
        rows.append(ImageRow(f"train/{file.name}", file.name, "train", 1, 1, sha256_of(file)))
    return write_manifest(folder / "manifest.csv", rows, folder)


def save_random_weights(config: str, path: Path) -> Path:
    """Save `config`'s network with random weights as an MMPose checkpoint."""
    torch.manual_seed(0)
    torch.save({"meta": {}, "state_dict": build_network(read_config(config), config).estimator.state_dict()}, path)
    return path


def mmpose_loop(source: NetworkSource, manifest: Manifest) -> Turn:
    """Return the baseline: MMPose's `inference_topdown`, an image a call, without flip test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mmpose.apis import inference_topdown, init_model

        config = read_config(source.config)
        config.model.test_cfg = {**config.model.test_cfg, "flip_test": False, "output_heatmaps": True}
        model: Any = init_model(config, str(source.checkpoint), device=source.device)

    def turn() -> int:
        for row in manifest.rows[:LOOP_IMAGES]:
            inference_topdown(model, str(manifest.image_path(row)))
        return len(manifest.rows[:LOOP_IMAGES])

    return turn


def bare_network(source: NetworkSource, manifest: Manifest, batch_size: int) -> Turn:
    """Return the prepared network alone, on images that lie in memory, at the pipeline's settings."""
    geometry = find_geometry(source, "resize", INPUT_SIZE)
    with Reader(geometry, threads=2) as reader:
        given = reader.read([manifest.image_path(row) for row in manifest.rows])
    parts = [slice(start, start + batch_size) for start in range(0, len(given.images), batch_size)]

    def turn() -> int:
        with NetworkThreads(source, geometry) as network:
            batches = (Inputs(given.images[part], given.sizes[part]) for part in parts)
            return sum(len(heatmaps) for heatmaps in network.heatmaps(batches))

    return turn


def plain_network(source: NetworkSource, manifest: Manifest, batch_size: int) -> Turn:
    """Return MMPose's network as it is built, float32, batched, on images that lie in memory."""
    network = build_network(read_config(source.config), source.name).to(source.device).eval()
    geometry = find_geometry(source, "resize", INPUT_SIZE)
    with Reader(geometry, threads=2) as reader:
        given = reader.read([manifest.image_path(row) for row in manifest.rows[:LOOP_IMAGES]])
    images = torch.from_numpy(given.images).permute(0, 3, 1, 2).contiguous().to(source.device)

    @torch.inference_mode()
    def turn() -> int:
        for batch in torch.split(images, batch_size):
            network(batch).cpu()
        return len(images)

    return turn


def whole_pipeline(source: NetworkSource, manifest: Manifest, batch_size: int, folder: Path) -> Turn:
    """Return `pirt-pose extract`, the network's loading apart."""
    params = ExtractParams(
        config=source.config,
        checkpoint=str(source.checkpoint),
        input_size=INPUT_SIZE,
        tau=TAU,
        precision=source.precision,
        batch_size=batch_size,
    )
    options = ExtractOptions(skip_bad=False, restart=True, workers=2, device=source.device)

    def turn() -> int:
        extract(manifest, folder / "h.zarr", params, options)
        return len(manifest.rows)

    return turn


def in_turns(contenders: dict[str, Turn], rounds: int) -> dict[str, list[float]]:
    """Return images/s of each contender, a number a round, after one round that warms up."""
    speeds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, turn in contenders.items():
            began = time.perf_counter()
            images = turn()
            if number:
                speeds[name].append(images / (time.perf_counter() - began))
    return speeds


def ratio(speeds: dict[str, list[float]], name: str, baseline: str) -> float:
    """Return the median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(speeds[name], speeds[baseline], strict=True))


def speed(images: int, rounds: int, batch_size: int, device: Device) -> None:
    """Print images/s and ratios."""
    print(f"{images} images, batches of {batch_size}, {rounds} rounds, {torch.get_num_threads()} threads, {device}\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifest = draw_images(folder, images)
        weights = str(save_random_weights(W32, folder / "w32.pth"))
        wide = find_network(W32, weights, "float32", device, flip_test=False)
        loop, plain = mmpose_loop(wide, manifest), plain_network(wide, manifest, batch_size)
        print("| contender | images/s | over inference_topdown | over the bare network |")
        print("|---|---:|---:|---:|")
        # A precision at a time, for only one network stays loaded.
        for precision in PRECISIONS:
            source = replace(wide, precision=precision)
            contenders = {"inference_topdown": loop}
            if precision == "float32":
                contenders["MMPose's network, batched"] = plain
            contenders[f"bare network, {precision}"] = bare_network(source, manifest, batch_size)
            contenders[f"whole pipeline, {precision}"] = whole_pipeline(source, manifest, batch_size, folder)
            print_speeds(in_turns(contenders, rounds))


def print_speeds(speeds: dict[str, list[float]]) -> None:
    """Print the rows of one precision."""
    for contender, numbers in speeds.items():
        bare = contender.replace("whole pipeline", "bare network")
        over_bare = f"{ratio(speeds, contender, bare):.2f}" if bare != contender else "–"
        over_loop = ratio(speeds, contender, "inference_topdown")
        print(f"| {contender} | {statistics.median(numbers):.1f} | {over_loop:.2f} | {over_bare} |")


def heatmaps(
    manifest: Manifest, trained: Path, size: tuple[int, int], precision: Precision, count: int
) -> NDArray[np.float32]:
    """Return clipped heatmaps of an even spread of `count` images."""
    config, weights = str(trained / "config.py"), str(trained / "checkpoint.pth")
    source = find_network(config, weights, precision, "cpu", flip_test=False)
    geometry = find_geometry(source, "resize", size)
    rows = [manifest.rows[i] for i in np.linspace(0, len(manifest.rows) - 1, count).astype(int)]
    with Reader(geometry, threads=2) as reader:
        given = reader.read([manifest.image_path(row) for row in rows])
    return spanning_heatmaps(load_network(source), geometry, given.images, given.sizes, flip_test=False).clip(0, 1)


def narrow_cost(manifest: Manifest, trained: Path, size: tuple[int, int], count: int) -> None:
    """Print what bfloat16 changes of masks and of keypoints."""
    wide = heatmaps(manifest, trained, size, "float32", count)
    narrow = heatmaps(manifest, trained, size, "bfloat16", count)
    masks, narrow_masks = wide > TAU, narrow > TAU
    union = (masks | narrow_masks).sum(axis=(2, 3))
    iou = (masks & narrow_masks).sum(axis=(2, 3))[union > 0] / union[union > 0]
    seen = wide.max(axis=(2, 3)) > 0.2
    places = [np.stack(np.unravel_index(h.reshape(*h.shape[:2], -1).argmax(-1), h.shape[2:])) for h in (wide, narrow)]
    apart = np.hypot(*(places[0] - places[1]))[seen]
    print(f"\nbfloat16 against float32, {count} images, trained network, input {size[0]}×{size[1]}\n")
    print("| measure | value |\n|---|---:|")
    print(f"| mask IoU at τ = {TAU}, mean over keypoints | {iou.mean():.4f} |")
    print(f"| arg-max in another cell, keypoints scoring > 0.2 | {(apart > 0).mean():.2%} |")
    print(f"| mean arg-max shift, cells | {apart.mean():.4f} |")
    print(f"| mean absolute difference of heatmaps | {np.abs(wide - narrow).mean():.1e} |")


@click.command(context_settings={"show_default": True})
@click.option("--images", type=click.IntRange(min=1), default=1024)
@click.option("--rounds", type=click.IntRange(min=1), default=3)
@click.option("--batch-size", type=click.IntRange(min=1), help="[default: the program's own]")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu")
@click.option("--trained", type=click.Path(path_type=Path), help="Folder of `pirt-pose train`.")
@click.option("--manifest", type=click.Path(path_type=Path), help="Images for the trained network.")
@click.option("--input-size", type=int, nargs=2, default=(128, 64), help="Of the trained network.")
def main(
    images: int,
    rounds: int,
    batch_size: int | None,
    device: Device,
    trained: Path | None,
    manifest: Path | None,
    input_size: tuple[int, int],
) -> None:
    """Print tables as Markdown."""
    print(f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}")
    speed(images, rounds, batch_size or BATCH_SIZE[device], device)
    if trained is not None and manifest is not None:
        narrow_cost(read_manifest(manifest), trained, input_size, count=min(200, len(read_manifest(manifest).rows)))


if __name__ == "__main__":
    main()
