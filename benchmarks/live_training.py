"""What the cache costs in mAP: heatmaps that the pose network makes of each augmented image in training, as the
authors' program does, against cached ones that are moved along.

    python benchmarks/live_training.py --params params.yaml --manifest runs/manifest.csv --heatmaps runs/heatmaps.zarr \
        --config runs/pose/config.py --checkpoint runs/pose/checkpoint.pth --variant pirt --seed 0 --seed 1

Both have the same seed, weights to start from, batches, augmentation and steps; both are evaluated with the cached
heatmaps, since nothing is augmented there. Prints Markdown. A run that is finished in --out is not made again.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean, stdev

import click
import numpy as np
import torch
from cached_vs_live import recompute
from numpy.typing import NDArray

from pirt.core.manifest import read_manifest
from pirt.core.repeatable import deterministic
from pirt.heatmaps.codec import CodecName, encode
from pirt.ranking.embed import Source, choose_speed
from pirt.ranking.params import load_evaluate_params
from pirt.ranking.recipe import evaluate_run
from pirt.runs.cache import store_for
from pirt.runs.dataset import Draw, Item, PersonDataset
from pirt.runs.params import load_params
from pirt.runs.precision import tf32
from pirt.training.processes import launch
from pirt.training.recipe import Job, Listener, Training
from pirt.training.resume import is_finished
from pirt.training.setup import record_of, training_set
from pirt.training.stopping import stop_on_signals
from pirt_stages.pose.extraction.inference import find_geometry, find_network, load_network

HeatmapsOf = Callable[[list[NDArray[np.uint8]]], NDArray[np.float32]]
"""Returns the heatmaps n×K×Hm×Wm in [0, 1] of n images Hi×Wi×3."""


class LiveDataset(PersonDataset):
    """The images of another data set, augmented alike; a batch's heatmaps are made of what came out."""

    def __init__(self, cached: PersonDataset, heatmaps_of: HeatmapsOf, codec: CodecName, tau: float) -> None:
        super().__init__(cached.manifest, cached.rows, cached.cache, cached.transform)
        self._heatmaps_of, self._codec, self._tau = heatmaps_of, codec, tau

    def __getitems__(self, draws: Sequence[int | Draw]) -> list[Item]:
        """Return items for the loader."""
        items = super().__getitems__(draws)
        heatmaps = self._heatmaps_of([item["image"].numpy() for item in items])
        # As the store would hold them, so that only where they come from differs.
        for item, codes in zip(items, encode(heatmaps, self._codec, self._tau), strict=True):
            item["heatmaps"] = torch.from_numpy(codes)
        return items


def train(job: Job, heatmaps_of: HeatmapsOf | None) -> None:
    """Train as `pirt-train` does, with heatmaps of `heatmaps_of` where it is given."""
    assert job.heatmaps is not None
    dataset = training_set(job.manifest, job.heatmaps, job.params)
    record = record_of(dataset, job.params, job.variant, None, None)
    if is_finished(job.out, record):
        return
    if heatmaps_of is not None:
        made_by = job.heatmaps.attributes
        dataset = LiveDataset(dataset, heatmaps_of, made_by.codec, made_by.tau)
    fabric = launch(job.device, job.params.train.precision)
    on_gpu = fabric.device.type == "cuda"
    with stop_on_signals() as stop, deterministic(on_gpu), tf32(allowed=job.params.train.tf32):
        Training(job, fabric, stop, dataset, record, Listener(), None).run()


@click.command(context_settings={"show_default": True})
@click.option("--params", "params_file", type=click.Path(path_type=Path), default=Path("params.yaml"))
@click.option("--manifest", "manifest_path", type=click.Path(path_type=Path), default=Path("runs/manifest.csv"))
@click.option("--heatmaps", "store_path", type=click.Path(path_type=Path), default=Path("runs/heatmaps.zarr"))
@click.option("--config", default="runs/pose/config.py")
@click.option("--checkpoint", default="runs/pose/checkpoint.pth")
@click.option("--variant", default="pirt")
@click.option("--seed", "seeds", type=int, multiple=True, default=(0, 1, 2))
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/bench/live-training"))
def main(
    params_file: Path,
    manifest_path: Path,
    store_path: Path,
    config: str,
    checkpoint: str,
    variant: str,
    seeds: Sequence[int],
    out: Path,
) -> None:
    """Print mAP with cached and with live heatmaps, for each seed."""
    manifest, protocol = read_manifest(manifest_path), load_evaluate_params(params_file)
    store, params = store_for(store_path, manifest), load_params(params_file, variant)
    source = find_network(config, checkpoint, "float32", "cpu", flip_test=False)
    network, geometry = load_network(source), find_geometry(source, "resize", params.train.image_size)
    kinds: dict[str, HeatmapsOf | None] = {
        "cached": None,
        "live": lambda images: recompute(network, geometry, images),
    }
    print("| seed | cached | live | live − cached |\n|---|---:|---:|---:|")
    gains = []
    for seed in seeds:
        found = []
        for kind, heatmaps_of in kinds.items():
            run = out / f"{variant}-seed{seed}-{kind}"
            # In this process, which has the network.
            job = Job(params.model_copy(update={"seed": seed}), variant, manifest, store, run, workers=0)
            train(job, heatmaps_of)
            metrics = evaluate_run(Source(run, manifest, store), protocol, run / "evaluation", choose_speed("auto"))
            found.append(100 * metrics.mean_ap)
        gains.append(found[1] - found[0])
        print(f"| {seed} | {found[0]:.2f} | {found[1]:.2f} | {gains[-1]:+.2f} |", flush=True)
    if len(gains) > 1:
        print(f"| mean | | | {fmean(gains):+.2f} ± {stdev(gains):.2f} |")


if __name__ == "__main__":
    main()
