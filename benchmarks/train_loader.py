"""How fast training images are loaded, and how long training waits for them.

    python benchmarks/train_loader.py --manifest runs/manifest.csv --heatmaps runs/heatmaps.zarr

First the loader alone, as a ratio over the plainest one of the same run: decoding every time, in one process.
Then whole trainings by `pirt-train`: the share of an epoch's time that was spent waiting for data.
"""

import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from pirt.core.manifest import read_manifest
from pirt.runs.cache import store_for
from pirt.runs.dataset import PersonDataset
from pirt.runs.loading import make_loader
from pirt.runs.params import Params, load_params
from pirt.training.sampler import PKSampler
from pirt.training.setup import training_set

_WAIT = re.compile(r"^epoch (\d+)/.*, (\d+) images/s, data wait ([\d.]+)%", re.MULTILINE)


def images_per_second(dataset: PersonDataset, params: Params, workers: int, seconds: float) -> float:
    """Load epochs for `seconds`, after one that starts the workers."""
    train = params.train
    sampler = PKSampler(
        dataset.labels, by=train.sampler, identities=train.identities, instances=train.instances, seed=0
    )
    loader = make_loader(dataset, sampler, workers, on_gpu=False)
    for _ in loader:
        pass
    images, epoch, began = 0, 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        epoch += 1
        sampler.start(epoch)
        images += sum(len(batch["index"]) for batch in loader)
    return images / (time.perf_counter() - began)


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
@click.option("--params", type=click.Path(path_type=Path), default=Path("params.yaml"))
@click.option("--manifest", type=click.Path(path_type=Path), default=Path("runs/manifest.csv"))
@click.option("--heatmaps", type=click.Path(path_type=Path), default=Path("runs/heatmaps.zarr"))
@click.option("--seconds", type=float, default=5.0, help="For each loader.")
@click.option("--epochs", type=click.IntRange(min=2), default=3, help="Of each training.")
def main(params: Path, manifest: Path, heatmaps: Path, seconds: float, epochs: int) -> None:
    """Print two tables as Markdown."""
    chosen = load_params(params)
    print("| images | workers | images/s | over the first |\n|---|---|---|---|")
    first = 0.0
    images = read_manifest(manifest)
    dataset = training_set(images, heatmaps and store_for(heatmaps, images), chosen)
    for held in (False, True):
        if held:
            dataset.hold_pixels()
        for workers in (0, 1, 2):
            speed = images_per_second(dataset, chosen, workers, seconds)
            first = first or speed
            name = "decoded once" if held else "decoded every time"
            print(f"| {name} | {workers} | {speed:,.0f} | {speed / first:.2f} |", flush=True)

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
