"""Heatmaps of image files on the fly, for `pirt.live_heatmaps` and for checking a store."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pirt_stages.pose.extraction.geometry import Geometry
from pirt_stages.pose.extraction.inference import Device, NetworkSource, find_geometry, find_network
from pirt_stages.pose.extraction.reading import Reader
from pirt_stages.pose.extraction.running import NetworkThreads

HeatmapsOf = Callable[[Sequence[Path]], NDArray[np.float32]]
_THREADS = 2
_BATCH_SIZE = 16


def heatmaps_of_files(source: NetworkSource, geometry: Geometry, batch_size: int) -> HeatmapsOf:
    """Return what computes the heatmaps, n×K×Hm×Wm in [0, 1], of n image files."""

    def heatmaps(paths: Sequence[Path]) -> NDArray[np.float32]:
        batches = (paths[start : start + batch_size] for start in range(0, len(paths), batch_size))
        with Reader(geometry, _THREADS) as reader, NetworkThreads(source, geometry) as network:
            # Clipped as the store's writer does, for what a network gives may lie outside.
            return np.concatenate(list(network.heatmaps(reader.ahead(batches)))).clip(0, 1)

    return heatmaps


def live_heatmaps(config: str | None, checkpoint: str | None, input_size: tuple[int, int] | None) -> HeatmapsOf:
    """Return what makes heatmaps as `pirt-pose extract` does by default, on a GPU if there is one."""
    device: Device = "cuda" if torch.cuda.is_available() else "cpu"
    source = find_network(config, checkpoint, "float32", device, flip_test=False)
    return heatmaps_of_files(source, find_geometry(source, "resize", input_size), _BATCH_SIZE)
