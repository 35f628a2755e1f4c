"""What batch-norm statistics of the images at hand are worth: `pirt-pose adapt` against the checkpoint as it is.

    python benchmarks/adapt.py --manifest runs/manifest.csv --keypoints runs/data/keypoints.json \
        --config runs/pose/config.py --checkpoint runs/pose/checkpoint.pth

The network was trained on rendered pedestrians as they are. Here it looks at them as other cameras would show them.
Its statistics are adapted to the training images so shown, and it is measured on query and gallery, whose people
neither training nor adapting has seen. With --params, Pirt is also trained and measured on the images as the camera
shows them, with the heatmaps of either network. Prints Markdown.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from pirt.core.files import sha256_of
from pirt.core.images import read_image
from pirt.core.manifest import ImageRow, Manifest, read_manifest, write_manifest
from pirt.models.part_groups import named_groups
from pirt_stages.pose.adaptation.adapt import AdaptOptions, adapt
from pirt_stages.pose.extraction.inference import find_network, loaded
from pirt_stages.pose.extraction.params import ExtractParams
from pirt_stages.pose.networks.network import HeatmapNetwork
from pirt_stages.pose.training.labels import VISIBLE, read_keypoints
from pirt_stages.pose.training.train import Labelled, accuracy_of, load_labelled

TAU = 0.001
_EDGE = 0.05
"""Where a label's target is lower, the network was taught to say nothing."""
Pixels = NDArray[np.float32]
CAMERAS: dict[str, Callable[[Pixels], Pixels]] = {
    "as rendered": lambda image: image,
    "dim and bluish": lambda image: image * np.float32([0.3, 0.4, 0.55]),
    "hazy": lambda image: image * 0.35 + 140,
}


def seen_by(camera: Callable[[Pixels], Pixels], manifest: Manifest, rows: list[ImageRow], folder: Path) -> Manifest:
    """Write the images of `rows` as `camera` shows them."""
    changed = []
    for row in rows:
        path = (folder / "data" / row.path).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = camera(np.asarray(read_image(manifest.image_path(row)), np.float32))
        Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8)).save(path, compress_level=1)
        name = path.relative_to(folder / "data").as_posix()
        changed.append(ImageRow(row.key, name, row.split, row.pid, row.camid, sha256_of(path)))
    return write_manifest(folder / "manifest.csv", changed, folder / "data")


def mask_iou(network: HeatmapNetwork, data: Labelled) -> float:
    """Return the mean IoU of the part masks M > τ with those of the visible keypoints' targets, of parts in either."""
    estimator: Any = network.estimator
    encode, shares = estimator.head.decoder.encode, []
    for images, labels in zip(torch.split(data.images, 64), torch.split(data.keypoints, 64), strict=True):
        with torch.inference_mode():
            masks = (network(images) > TAU).numpy()
        for found, keypoints in zip(masks, labels.numpy(), strict=True):
            visible = (keypoints[:, 2] == VISIBLE).astype(np.float32)
            wanted = encode(keypoints[None, :, :2], visible[None])["heatmaps"] > _EDGE
            wanted &= visible[:, None, None] > 0
            for _, group in named_groups("paper"):
                ours, theirs = found[list(group)].any(axis=0), wanted[list(group)].any(axis=0)
                if (ours | theirs).any():
                    shares.append((ours & theirs).sum() / (ours | theirs).sum())
    return float(np.mean(shares))


def measured(config: str, checkpoint: Path, data: Labelled) -> tuple[float, float]:
    """Return PCK@0.2 and mask IoU of a checkpoint."""
    network = loaded(find_network(config, str(checkpoint), "float32", "cpu", flip_test=False)).eval()
    return accuracy_of(network, data, "cpu").pck, mask_iou(network, data)


def mean_average_precision(manifest: Path, config: str, checkpoint: Path, params: Path, size: tuple[int, int]) -> float:
    """Extract heatmaps with `checkpoint`, train the variant `pirt` on them and return its mAP."""
    with tempfile.TemporaryDirectory() as place:
        store, run, out = (str(Path(place) / name) for name in ("heatmaps.zarr", "run", "evaluation"))
        images = ["--manifest", str(manifest)]
        network = ["--config", config, "--checkpoint", str(checkpoint), "--input-size", *map(str, size)]
        _program("pose", "extract", *images, *network, "--out", store)
        given = ["--params", str(params), *images, "--heatmaps", store]
        _program("train", *given, "--variant", "pirt", "--out", run)
        _program("evaluate", *given, "--run", run, "--out", out)
        return float(json.loads((Path(out) / "scores.json").read_text())["mAP"])


def _program(stage: str, *arguments: str) -> None:
    command = [sys.executable, "-m", f"pirt_stages.{stage}", *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


@click.command(context_settings={"show_default": True})
@click.option("--manifest", "manifest_path", type=click.Path(path_type=Path), default=Path("runs/manifest.csv"))
@click.option("--keypoints", type=click.Path(path_type=Path), default=Path("runs/data/keypoints.json"))
@click.option("--config", default="runs/pose/config.py")
@click.option("--checkpoint", type=click.Path(path_type=Path), default=Path("runs/pose/checkpoint.pth"))
@click.option("--input-size", type=int, nargs=2, default=(128, 64), help="Of the network.")
@click.option("--params", "params_file", type=click.Path(path_type=Path), help="Train its variant `pirt`, for mAP.")
def main(
    manifest_path: Path,
    keypoints: Path,
    config: str,
    checkpoint: Path,
    input_size: tuple[int, int],
    params_file: Path | None,
) -> None:
    """Print PCK, mask IoU and mAP with and without adapted statistics, for each camera."""
    manifest, labels = read_manifest(manifest_path), read_keypoints(keypoints)
    params = ExtractParams(config=config, checkpoint=str(checkpoint), input_size=input_size, batch_size=64)
    options = AdaptOptions(skip_bad=False, workers=2, device="cpu")
    rows, unseen = list(manifest.rows), {row.key for row in manifest.rows if row.split != "train"}
    print(f"{len(rows) - len(unseen)} images to adapt to, {len(unseen)} to measure on, input {input_size}\n")
    print("| camera | PCK@0.2 | adapted | mask IoU | adapted | mAP | adapted |\n|---|---:|---:|---:|---:|---:|---:|")
    for name, camera in CAMERAS.items():
        with tempfile.TemporaryDirectory() as place:
            shown = seen_by(camera, manifest, rows, Path(place))
            adapted = Path(place) / "adapted.pth"
            adapt(shown, adapted, params, options)
            at_png = {row.path: labels[old.path] for row, old in zip(shown.rows, rows, strict=True)}
            held = [row for row in shown.rows if row.key in unseen]
            data = load_labelled(shown, held, at_png, keypoints, input_size)
            before, after = (measured(config, path, data) for path in (checkpoint, adapted))
            pairs = [f"{number:.3f}" for pair in zip(before, after, strict=True) for number in pair]
            if params_file:
                table = Path(place) / "manifest.csv"
                for path in (checkpoint, adapted):
                    score = mean_average_precision(table, config, path, params_file, input_size)
                    pairs.append(f"{score:.3f}")
        print(f"| {name} | {' | '.join(pairs + ['–'] * (6 - len(pairs)))} |", flush=True)


if __name__ == "__main__":
    main()
