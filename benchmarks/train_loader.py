"""How fast training images are loaded, and how long training waits for them.

    python benchmarks/train_loader.py --manifest runs/manifest.csv --heatmaps runs/heatmaps.zarr
    python benchmarks/train_loader.py batches                    this part alone, on drawn images of the paper's size

First bytes in batches against numbers, by turns. Then the loader alone, as a ratio over the plainest one of the same
run: decoding every time, in one process. Last whole trainings by `pirt-train`: the share of an epoch's time that was
spent waiting for data.
"""

import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click
from gpu_parts.machine import FULL
from gpu_parts.trainings import drawn_people, drawn_store

from pirt.core.manifest import read_manifest
from pirt.runs.cache import store_for
from pirt.runs.dataset import Draw, Item, PersonDataset
from pirt.runs.loading import make_loader
from pirt.runs.params import Params, load_params
from pirt.training.sampler import PKSampler
from pirt.training.setup import training_set

PARTS = ("batches", "loaders", "trainings")
_WAIT = re.compile(r"^epoch (\d+)/.*, (\d+) images/s, data wait ([\d.]+)%", re.MULTILINE)


class Finished(PersonDataset):
    """Gives the loader what the model reads, float32 images and heatmaps, as before batches were of bytes."""

    def __getitems__(self, draws: Sequence[int | Draw]) -> list[Item]:
        """Normalise and decode where the items are made."""
        return [self[draw] for draw in draws]


def epochs_of(dataset: PersonDataset, params: Params, workers: int) -> Callable[[], float]:
    """Return what loads one more epoch and tells its images/s; the first one has started the workers."""
    train = params.train
    sampler = PKSampler(
        dataset.labels, by=train.sampler, identities=train.identities, instances=train.instances, seed=0
    )
    loader = make_loader(dataset, sampler, workers, on_gpu=False)
    epoch = 0

    def load() -> float:
        nonlocal epoch
        epoch += 1
        sampler.start(epoch)
        began = time.perf_counter()
        images = sum(len(batch["index"]) for batch in loader)
        return images / (time.perf_counter() - began)

    load()
    return load


def images_per_second(dataset: PersonDataset, params: Params, workers: int, seconds: float) -> float:
    """Load epochs for `seconds`; the median of their speeds."""
    load, began, speeds = epochs_of(dataset, params, workers), time.perf_counter(), []
    while time.perf_counter() - began < seconds:
        speeds.append(load())
    return statistics.median(speeds)


def batches(rounds: int) -> None:
    """Print a table of batches of bytes against batches of numbers, pixels held, at the paper's size."""
    print("| workers | float32 batches, images/s | uint8 batches | ratio |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        manifest = drawn_people(FULL, Path(folder))
        store = drawn_store(FULL, Path(folder) / "heatmaps.zarr", manifest)
        ours = training_set(manifest, store, FULL.params)
        ours.hold_pixels()
        theirs = Finished(ours.manifest, ours.rows, ours.cache, ours.transform)
        theirs.hold_pixels()
        for workers in (0, 1, 2):
            loads = [epochs_of(dataset, FULL.params, workers) for dataset in (theirs, ours)]
            turns = [[load() for load in loads] for _ in range(rounds)]
            before, now = (statistics.median(column) for column in zip(*turns, strict=True))
            ratio = statistics.median(mine / first for first, mine in turns)
            print(f"| {workers} | {before:,.0f} | {now:,.0f} | {ratio:.2f} |", flush=True)


def training(params: Path, variant: str, manifest: Path, heatmaps: Path, options: list[str]) -> tuple[float, float]:
    """Return images/s and the data wait of a training's epochs but the first, which starts the workers: medians."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pirt_stages.train", "--params", str(params), "--variant", variant]
        command += ["--manifest", str(manifest), "--heatmaps", str(heatmaps), "--out", f"{folder}/run", *options]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    epochs = [(float(speed), float(wait)) for number, speed, wait in _WAIT.findall(output) if number != "1"]
    speeds, waits = zip(*epochs, strict=True)
    return statistics.median(speeds), statistics.median(waits)


@click.command(context_settings={"show_default": True})
@click.argument("parts", nargs=-1, type=click.Choice(PARTS))
@click.option("--params", type=click.Path(path_type=Path), default=Path("params.yaml"))
@click.option("--manifest", type=click.Path(path_type=Path), default=Path("runs/manifest.csv"))
@click.option("--heatmaps", type=click.Path(path_type=Path), default=Path("runs/heatmaps.zarr"))
@click.option("--seconds", type=float, default=5.0, help="For each loader.")
@click.option("--epochs", type=click.IntRange(min=2), default=3, help="Of each training.")
@click.option("--rounds", type=click.IntRange(min=1), default=5, help="Of the batches' turns.")
def main(
    parts: tuple[str, ...], params: Path, manifest: Path, heatmaps: Path, seconds: float, epochs: int, rounds: int
) -> None:
    """Print a table for each of PARTS, all by default, as Markdown."""
    if "batches" in (parts or PARTS):
        batches(rounds)
    if "loaders" in (parts or PARTS):
        loaders(load_params(params), manifest, heatmaps, seconds)
    if "trainings" in (parts or PARTS):
        trainings(params, manifest, heatmaps, epochs)


def loaders(chosen: Params, manifest: Path, heatmaps: Path, seconds: float) -> None:
    """Print how fast images are loaded, decoded or held, with 0 to 2 workers."""
    print("\n| images | workers | images/s | over the first |\n|---|---|---|---|")
    first = 0.0
    images = read_manifest(manifest)
    dataset = training_set(images, store_for(heatmaps, images), chosen)
    for held in (False, True):
        if held:
            dataset.hold_pixels()
        for workers in (0, 1, 2):
            speed = images_per_second(dataset, chosen, workers, seconds)
            first = first or speed
            name = "decoded once" if held else "decoded every time"
            print(f"| {name} | {workers} | {speed:,.0f} | {speed / first:.2f} |", flush=True)


def trainings(params: Path, manifest: Path, heatmaps: Path, epochs: int) -> None:
    """Print how long whole trainings wait for data."""
    print("\n| variant | loader | images/s | data wait |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        short = Path(folder) / "params.yaml"
        short.write_text(re.sub(r"(?m)^(train:(?:\n .*)*?\n  epochs:) .*$", rf"\1 {epochs}", params.read_text()))
        plain = ["--workers", "0", "--image-memory", "0"]
        for variant in ("baseline", "pirt"):
            for name, options in {"default": [], "decoding in the training process": plain}.items():
                speed, wait = training(short, variant, manifest, heatmaps, options)
                print(f"| {variant} | {name} | {speed:,.0f} | {wait:.1f} % |", flush=True)


if __name__ == "__main__":
    main()
