"""What the quality of the heatmaps is worth in mAP: the network's as they are, spoilt in three ways, and the truth.

    python benchmarks/heatmap_quality.py --manifest runs/manifest.csv --heatmaps runs/heatmaps.zarr \
        --keypoints runs/data/keypoints.json --params params.yaml --variant parts --variant pirt --seed 0 --seed 1

Writes a store of each kind, trains and evaluates each variant on each with each seed, and prints Markdown. What is
finished in --out is not made again.
"""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean, stdev

import click
import numpy as np
from numpy.typing import NDArray

from pirt.core.files import sha256_of
from pirt.core.keypoints import COCO_KEYPOINTS
from pirt.core.manifest import ImageRow, Manifest, read_manifest
from pirt.heatmaps.reader import HeatmapStore
from pirt.heatmaps.schema import StoreAttributes
from pirt.models.part_groups import named_groups
from pirt.runs.cache import store_for
from pirt.training.augmentation import shift
from pirt_stages.pose.extraction.writer import create_store
from pirt_stages.pose.training.labels import OCCLUDED, VISIBLE, read_keypoints

Heatmaps = NDArray[np.float32]
Spoil = Callable[[Heatmaps, np.random.Generator], Heatmaps]
"""K×Hm×Wm of one image, and its own chance, to K×Hm×Wm."""


def drawn(keypoints: NDArray[np.float32], image: tuple[int, int], size: tuple[int, int], sigma: float,
          heights: dict[int, float]) -> Heatmaps:  # fmt: skip
    """Draw a Gaussian around each keypoint 17×3 (x, y in pixels of `image`, flag): 17×Hm×Wm.

    `sigma` in cells of `size`; `heights` by flag, where a flag that is not there gives nothing. Cell j is the image's
    pixel j·side/cells, as in a network's store.
    """
    rows, columns = np.ogrid[: size[0], : size[1]]
    heatmaps = np.zeros((len(keypoints), *size), np.float32)
    for heatmap, (x, y, flag) in zip(heatmaps, keypoints, strict=True):
        if height := heights.get(int(flag)):
            far = (rows - y * size[0] / image[0]) ** 2 + (columns - x * size[1] / image[1]) ** 2
            heatmap[:] = height * np.exp(-far / (2 * sigma**2))
    return heatmaps


def moved(sigma: float) -> Spoil:
    """Move each keypoint's heatmap by whole cells, of deviation `sigma` down and across."""

    def spoil(heatmaps: Heatmaps, chance: np.random.Generator) -> Heatmaps:
        blank = np.zeros((*heatmaps.shape[1:], 3), np.uint8)  # of the heatmaps' size, so that a pixel is a cell
        steps = np.rint(chance.normal(0, sigma, (len(heatmaps), 2))).astype(int)
        return np.concatenate([shift(blank, heatmaps[[k]], *step)[1] for k, step in enumerate(steps.tolist())])

    return spoil


def without_parts(share: float) -> Spoil:
    """Take each part of the body away with probability `share`."""

    def spoil(heatmaps: Heatmaps, chance: np.random.Generator) -> Heatmaps:
        kept = heatmaps.copy()
        for _, group in named_groups("paper"):
            if chance.random() < share:
                kept[list(group)] = 0
        return kept

    return spoil


def with_stranger(strangers: Callable[[np.random.Generator], Heatmaps]) -> Spoil:
    """Lay another person's heatmaps beside the own ones, where a stranger would walk; the higher one counts."""

    def spoil(heatmaps: Heatmaps, chance: np.random.Generator) -> Heatmaps:
        aside = int(chance.choice((-1, 1))) * round(heatmaps.shape[2] * float(chance.uniform(0.1, 0.4)))
        blank = np.zeros((*heatmaps.shape[1:], 3), np.uint8)
        return np.maximum(heatmaps, shift(blank, strangers(chance), 0, aside)[1])

    return spoil


def write_truth(
    path: Path, manifest: Manifest, like: HeatmapStore, keypoints: Path, image: tuple[int, int], sigma: float,
    heights: dict[int, float],
) -> None:  # fmt: skip
    """Write a store as that of a network which finds every keypoint."""
    labels, size = read_keypoints(keypoints), like.attributes.heatmap_size
    values = {"network": "truth", "weights_sha256": sha256_of(keypoints)}
    attributes = _attributes(like, f"σ {sigma}, heights {heights}", **values)

    def make(row: ImageRow, number: int) -> Heatmaps:
        return drawn(labels[row.path].keypoints, image, size, sigma, heights)

    _write(path, manifest, like, attributes, make)


def write_spoilt(
    path: Path, manifest: Manifest, base: HeatmapStore, name: str, spoil: Callable[[ImageRow], Spoil | None]
) -> None:
    """Write `base` with the heatmaps of each image spoilt; those for which `spoil` has nothing stay."""
    attributes = _attributes(base, f"{base.fingerprint}, {name}", network=f"{base.attributes.network}, {name}")

    def make(row: ImageRow, number: int) -> Heatmaps:
        heatmaps, change = base.read(base.indices_of([row]))[0], spoil(row)
        return heatmaps if change is None else change(heatmaps, np.random.default_rng([7, number]))

    _write(path, manifest, base, attributes, make)


def _attributes(like: HeatmapStore, made_by: str, **changes: str) -> StoreAttributes:
    digest = hashlib.sha256(made_by.encode()).hexdigest()
    return like.attributes.model_copy(update={"config_sha256": digest, "skipped": (), **changes})


def _write(
    path: Path, manifest: Manifest, like: HeatmapStore, attributes: StoreAttributes,
    make: Callable[[ImageRow, int], Heatmaps],
) -> None:  # fmt: skip
    writer = create_store(path, manifest.rows, attributes, like.layout.shard_size)
    for shard in writer.pending():
        writer.write(shard, np.stack([make(manifest.rows[number], number) for number in writer.rows(shard)]))
    writer.seal()


def write_stores(
    out: Path, manifest: Manifest, network: HeatmapStore, keypoints: Path, image: tuple[int, int], sigma: float
) -> None:
    """Write a store of each kind but the network's own into the folder `out`."""
    labels = json.loads(keypoints.read_text())
    files = {one["id"]: one["file_name"] for one in labels["images"]}
    occluders = {files[one["image_id"]]: one["occluder"] for one in labels["annotations"]}
    whole = [place for place, row in zip(network.indices_of(manifest.rows), manifest.rows, strict=True)
             if occluders[row.path] is None]  # fmt: skip

    def stranger(chance: np.random.Generator) -> Heatmaps:
        return network.read([whole[int(chance.integers(len(whole)))]])[0]

    heights = {VISIBLE: 0.9, OCCLUDED: 0.3}
    write_truth(out / "truth.zarr", manifest, network, keypoints, image, sigma, heights)
    beside = with_stranger(stranger)
    of_row: dict[str, Callable[[ImageRow], Spoil | None]] = {
        "moved": lambda row: moved(1.5),
        "parts missing": lambda row: without_parts(0.3),
        "stranger": lambda row: beside if occluders[row.path] == "pedestrian" else None,
    }
    for name, spoil in of_row.items():
        write_spoilt(out / f"{name.replace(' ', '-')}.zarr", manifest, network, name, spoil)


def mean_average_precision(params: Path, manifest: Path, store: Path, out: Path, variant: str, seed: int) -> float:
    """Train and evaluate one variant with one seed on a store, unless that is done; return its mAP in percent."""
    run, evaluation = out / f"{variant}-seed{seed}", out / f"{variant}-seed{seed}-evaluation"
    given = ["--params", params, "--manifest", manifest, "--heatmaps", store]
    _program("train", *given, "--variant", variant, "--seed", seed, "--out", run)
    if not (evaluation / "scores.json").is_file():
        _program("evaluate", *given, "--run", run, "--out", evaluation)
    return 100 * float(json.loads((evaluation / "scores.json").read_text())["mAP"])


def _program(stage: str, *arguments: object) -> None:
    command = [sys.executable, "-m", f"pirt_stages.{stage}", *map(str, arguments)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


@click.command(context_settings={"show_default": True})
@click.option("--params", "params_file", type=click.Path(path_type=Path), default=Path("params.yaml"))
@click.option("--manifest", "manifest_path", type=click.Path(path_type=Path), default=Path("runs/manifest.csv"))
@click.option("--heatmaps", type=click.Path(path_type=Path), default=Path("runs/heatmaps.zarr"))
@click.option("--keypoints", type=click.Path(path_type=Path), default=Path("runs/data/keypoints.json"))
@click.option("--image-size", type=int, nargs=2, default=(128, 64), help="Of the files, which keypoints are told in.")
@click.option("--sigma", type=float, default=1.0, help="Of the true heatmaps, in cells; HRNet's is 1/32 of the height.")
@click.option("--variant", "variants", multiple=True, default=("parts", "intra", "pirt"))
@click.option("--seed", "seeds", type=int, multiple=True, default=(0, 1, 2))
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/bench/heatmap-quality"))
def main(
    params_file: Path,
    manifest_path: Path,
    heatmaps: Path,
    keypoints: Path,
    image_size: tuple[int, int],
    sigma: float,
    variants: Sequence[str],
    seeds: Sequence[int],
    out: Path,
) -> None:
    """Print the mAP of each variant on each kind of heatmaps."""
    manifest = read_manifest(manifest_path)
    network = store_for(heatmaps, manifest)
    assert network.attributes.keypoints == COCO_KEYPOINTS
    write_stores(out, manifest, network, keypoints, image_size, sigma)
    print(f"| heatmaps | {' | '.join(variants)} |\n|---|{'---:|' * len(variants)}")
    for store in (heatmaps, *sorted(out.glob("*.zarr"))):
        name = "network" if store == heatmaps else store.stem
        cells = []
        for variant in variants:
            found = [mean_average_precision(params_file, manifest_path, store, out / name, variant, s) for s in seeds]
            cells.append(f"{fmean(found):.2f}" + (f" ± {stdev(found):.2f}" if len(found) > 1 else ""))
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
