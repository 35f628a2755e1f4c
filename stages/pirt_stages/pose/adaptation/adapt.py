"""The recipe of `pirt-pose adapt`: a network's batch-norm statistics, estimated anew on the images that it will see.

COCO's statistics are not those of re-ID crops. The paper's program leaves its pose network in training mode, so that
each batch is normalised by its own statistics; here they are estimated once, over all training images, before
extraction. No labels are needed and no weights change.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np
import torch

from pirt.core.errors import DataError, ParamsError
from pirt.core.files import refuse_folder, refuse_unlike, require_apart, written_whole
from pirt.core.manifest import Manifest
from pirt.heatmaps.schema import SkippedImage
from pirt.progress import note, progress
from pirt_stages.pose.adaptation.statistics import MomentsByName, normalising_by_batch, write_statistics
from pirt_stages.pose.extraction.extract import BATCH_SIZE
from pirt_stages.pose.extraction.geometry import Geometry, other_size
from pirt_stages.pose.extraction.inference import Device, find_geometry, find_network, loaded
from pirt_stages.pose.extraction.params import ExtractParams
from pirt_stages.pose.extraction.reading import Inputs, Reader, find_bad_images, require_enough
from pirt_stages.pose.extraction.running import BatchThreads
from pirt_stages.pose.networks.network import HeatmapNetwork, channels_last
from pirt_stages.pose.training.checkpoint import checkpoint_bytes


@dataclass(frozen=True)
class AdaptOptions:
    """The options of `pirt-pose adapt` beside the network; the number of workers changes no byte."""

    skip_bad: bool
    workers: int
    device: Device


@dataclass(frozen=True)
class Adaptation:
    """What was done: over how many images, for how many batch norms, and without which images."""

    images: int
    norms: int
    skipped: tuple[SkippedImage, ...]


def adapt(manifest: Manifest, out: Path, params: ExtractParams, options: AdaptOptions) -> Adaptation:
    """Write `out`, the network's checkpoint with the batch-norm statistics of the manifest's training images.

    The same images, network, sizes and machine give the same bytes, on any number of threads.
    """
    refuse_folder(out)
    require_apart(out, params.config, params.checkpoint)
    refuse_unlike(out, _is_checkpoint, "a checkpoint")
    source = find_network(params.config, params.checkpoint, "float32", options.device, flip_test=False)
    batch_size = params.batch_size or BATCH_SIZE[options.device]
    if batch_size < 2:
        raise ParamsError(f"batch size {batch_size}: a batch of one image has no statistics; take 2 or more")
    geometry = find_geometry(source, params.geometry, params.input_size)
    if said := other_size(source.name, source.trained_size, geometry.input_size):
        note(said)
    # Not the network that extraction runs, whose batch norms are folded into its convolutions.
    network = channels_last(loaded(source).to(source.device))
    train = replace(manifest, rows=manifest.split("train"))
    bad = find_bad_images(train, geometry, options.workers)
    require_enough(bad, len(train.rows), skip_bad=options.skip_bad)
    skipped = {image.key for image in bad}
    paths = [train.image_path(row) for row in train.rows if row.key not in skipped]
    if len(paths) < 2:
        raise DataError("the train split has a single image, and statistics need two; pass a manifest with more")
    batches = _batches(paths, batch_size)
    moments = _moments(network, geometry, batches, options.workers, source.device)
    # Into the network as it was: what gathered them reads no statistics.
    adapted = loaded(source)
    write_statistics(adapted, moments, len(batches))
    meta = {
        "adapted_from": {"network": source.name, "weights_sha256": source.weights_sha256},
        "adapted_on": {"manifest_fingerprint": manifest.fingerprint, "images": len(paths)},
        "adapted_with": {
            "geometry": geometry.name,
            "input_size": list(geometry.input_size),
            "batch_size": batch_size,
            "device": source.device,
        },
    }
    with written_whole(out) as beside:
        beside.write_bytes(checkpoint_bytes(adapted.estimator, meta))
    return Adaptation(len(paths), len(moments), bad)


def _is_checkpoint(path: Path) -> bool:
    """Tell PyTorch's zips from those of data or documents."""
    try:
        with ZipFile(path) as packed:
            return any(name.endswith("/data.pkl") for name in packed.namelist())
    except BadZipFile:
        return False


def _batches(paths: Sequence[Path], batch_size: int) -> list[list[Path]]:
    """Cut the images, in an order drawn once and for all, into batches of `batch_size` or a few more.

    In the manifest's order a batch would hold few persons, and so less variance than there is over all. No batch is
    smaller, since one image alone has no variance where the grid has a single cell.
    """
    order = np.random.default_rng(0).permutation(len(paths))
    parts = np.array_split(order, max(1, len(paths) // batch_size))
    return [[paths[index] for index in part] for part in parts]


def _moments(
    network: HeatmapNetwork, geometry: Geometry, batches: Sequence[Sequence[Path]], workers: int, device: Device
) -> MomentsByName:
    moments_of = normalising_by_batch(network)

    def gather(given: Inputs) -> tuple[int, MomentsByName]:
        images = torch.from_numpy(given.images).to(device).permute(0, 3, 1, 2)
        return len(images), moments_of(images)

    total: MomentsByName = {}
    with (
        progress(sum(map(len, batches)), "adapting", "image") as bar,
        Reader(geometry, workers) as reader,
        BatchThreads(device) as threads,
    ):
        # In the batches' order, so that the sums are rounded alike on any number of threads.
        for count, found in threads.each(gather, reader.ahead(iter(batches))):
            total = {name: total[name] + part if name in total else part for name, part in found.items()}
            bar.update(count)
    return total
