"""The network that made a store, for computing some of its images anew."""

from pathlib import Path

import torch

from pirt.core.errors import CheckpointError, ParamsError
from pirt.core.manifest import Manifest
from pirt.heatmaps.reader import open_store
from pirt_stages.pose.extraction.inference import find_geometry, find_network
from pirt_stages.pose.live import heatmaps_of_files
from pirt_stages.pose.stores.verify import Recompute


def recompute_with(path: Path, manifest: Manifest, config: str | None, checkpoint: str | None) -> Recompute:
    """Find the network of the store at `path` and return what computes heatmaps of images of `manifest`.

    It runs where the store was made, or on the CPU of a machine without that device.
    """
    made_by = open_store(path).attributes
    device = made_by.device if torch.cuda.is_available() else "cpu"
    source = find_network(config, checkpoint, made_by.precision, device, flip_test=made_by.flip_test)
    if source.config_sha256 != made_by.config_sha256:
        raise ParamsError(
            f"config {source.config} is not the one that made {path} (network {made_by.network}); pass that one"
        )
    if source.weights_sha256 != made_by.weights_sha256:
        raise CheckpointError(
            f"checkpoint {source.checkpoint} (SHA-256 {source.weights_sha256[:12]}) is not the one that made {path} "
            f"({made_by.weights_sha256[:12]}, network {made_by.network}); pass that one"
        )
    geometry = find_geometry(source, made_by.geometry, made_by.input_size)

    # In the store's batches, whose length decides a heatmap's last bits.
    heatmaps = heatmaps_of_files(source, geometry, made_by.batch_size)
    return lambda rows: heatmaps([manifest.image_path(row) for row in rows])
