"""The frozen network as extraction runs it: fused, in one precision, the same bits for the same batch."""

import copy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pirt.core.errors import CheckpointError, ParamsError
from pirt.core.files import sha256_of
from pirt_stages.pose.extraction.geometry import Geometry, GeometryName, default_input_size, geometry_of, sent
from pirt_stages.pose.networks.checkpoints import find_checkpoint, load_checkpoint
from pirt_stages.pose.networks.network import (
    HeatmapNetwork,
    build_network,
    channels_last,
    config_sha256,
    own_input_size,
    read_config,
    require_heatmaps,
)

Precision = Literal["float32", "bfloat16", "float16"]
Device = Literal["cpu", "cuda"]

DEFAULT_CONFIG = "td-hm_hrnet-w48_8xb32-210e_coco-256x192"
# The digits before the date begin the file's SHA-256, and are compared with it.
DEFAULT_CHECKPOINT = (
    "https://download.openmmlab.com/mmpose/v1/body_2d_keypoint/topdown_heatmap/coco/"
    "td-hm_hrnet-w48_8xb32-210e_coco-256x192-0e67c616_20220913.pth"
)
_LOADING = Lock()


@dataclass(frozen=True)
class NetworkSource:
    """Where a network comes from and how it runs; small enough to send to other machines."""

    config: str
    """Name or absolute path."""
    config_sha256: str
    trained_size: tuple[int, int]
    """Height and width of the input that it was trained with."""
    checkpoint: Path
    weights_sha256: str
    precision: Precision
    device: Device
    flip_test: bool

    @property
    def name(self) -> str:
        """The config's name, without folders."""
        return Path(self.config).stem


def find_network(
    config: str | None, checkpoint: str | None, precision: Precision, device: Device, *, flip_test: bool
) -> NetworkSource:
    """Find config and weights, by default those of the paper's network; a URL is fetched."""
    name = config or DEFAULT_CONFIG
    if Path(name).is_file():
        # Workers of a cluster have working folders of their own.
        name = str(Path(name).absolute())
    read, short = read_config(name), Path(name).stem
    # Before anything is fetched for it.
    require_heatmaps(read, short)
    # The default network may be named without its weights, which are known.
    if (config is None) != (checkpoint is None) and config != DEFAULT_CONFIG:
        raise ParamsError("--config and --checkpoint belong together; pass both, or neither for HRNet-W48")
    size = own_input_size(read, short)
    path = find_checkpoint(checkpoint or DEFAULT_CHECKPOINT).absolute()
    return NetworkSource(name, config_sha256(read), size, path, sha256_of(path), precision, device, flip_test)


def find_geometry(source: NetworkSource, name: GeometryName, input_size: tuple[int, int] | None) -> Geometry:
    """Return how images become inputs; without `input_size`, at the size that suits the network."""
    config = read_config(source.config)
    return geometry_of(config, name, input_size or default_input_size(config, name, source.name), source.name)


def load_network(source: NetworkSource) -> HeatmapNetwork:
    """Load the network once in a process, however many threads ask for it, ready to run."""
    # The cache alone lets two threads that come at the same time both load.
    with _LOADING:
        return _load_network(source)


@lru_cache(maxsize=1)
def _load_network(source: NetworkSource) -> HeatmapNetwork:
    # The authors' program leaves the network in training mode, where each batch is normalised by its own statistics. A
    # cached heatmap must not depend on the batch; `pirt-pose adapt` fits the statistics beforehand.
    network = loaded(source).eval().requires_grad_(False)
    return prepared(network, source.precision, source.device)


def loaded(source: NetworkSource) -> HeatmapNetwork:
    """Return the network on the CPU, with its weights as the checkpoint has them."""
    # Workers load it later than the run was begun, and the store has recorded what was there then.
    if sha256_of(source.checkpoint) != source.weights_sha256:
        raise CheckpointError(
            f"checkpoint {source.checkpoint} is not the one that this run began with; run the same command again"
        )
    if source.device == "cuda" and not torch.cuda.is_available():
        raise ParamsError("device cuda is not available here; use --device cpu")
    config = read_config(source.config)
    if config_sha256(config) != source.config_sha256:
        raise ParamsError(f"config {source.config} is not the one that this run began with; run the same command again")
    network = build_network(config, source.name)
    load_checkpoint(network.estimator, source.checkpoint, source.name)
    return network


def prepared(network: HeatmapNetwork, precision: Precision, device: Device) -> HeatmapNetwork:
    """Fold batch norms into convolutions, lay out channels last, move to precision and device."""
    # First: whether batch norms are folded must not depend on precision or device.
    network = _folded(network)
    network.dtype = getattr(torch, precision)
    estimator: Any = network.estimator
    # Not its preprocessor, which normalises in float32.
    for part in (estimator.backbone, getattr(estimator, "neck", None), estimator.head):
        if part is not None:
            part.to(network.dtype)
    return channels_last(network.to(device))


def _folded(network: HeatmapNetwork) -> HeatmapNetwork:
    """Fold batch norms where that leaves the network what it is.

    Folding assumes that layers run in the order in which they are defined; a network that is built otherwise comes out
    different and is left as it was.
    """
    folded = copy.deepcopy(network)
    _fold_into_convolutions(folded.estimator)
    height, width = network.input_size
    # A fixed picture in pixel values: the choice must fall alike on every machine that works on a store.
    probe = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0)) * 255
    with torch.inference_mode():
        before, after = network(probe), folded(probe)
    if not before.isfinite().all():
        raise CheckpointError("the network gives NaN or infinity; its weights are damaged, take another checkpoint")
    same = torch.allclose(before, after, rtol=1e-3, atol=1e-4 * float(before.abs().max()))
    return folded if same else network


def _fold_into_convolutions(module: nn.Module) -> None:
    """Fold each batch norm into the convolution that is defined before it, in place.

    MMCV's function for this takes MKL's square roots, which processors of different makers round differently.
    """
    before: tuple[str, nn.Conv2d] | None = None
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d):
            before = name, child
        elif not isinstance(child, nn.modules.batchnorm._BatchNorm):
            _fold_into_convolutions(child)
        elif before is not None:
            # What may lie between the two is not looked at; `_folded` compares what comes out.
            place, convolution = before
            setattr(module, place, fuse_conv_bn_eval(convolution, child))
            setattr(module, name, nn.Identity())
            before = None


@dataclass(frozen=True)
class Coming:
    """Heatmaps B×K×Hm×Wm that may still be on their way from a GPU."""

    on_cpu: Tensor
    copied: torch.cuda.Event | None
    """When they have come."""

    def arrived(self) -> NDArray[np.float32]:
        """Wait for them."""
        if self.copied is not None:
            self.copied.synchronize()
        return self.on_cpu.numpy()


def spanning_heatmaps(
    network: HeatmapNetwork,
    geometry: Geometry,
    inputs: NDArray[np.uint8],
    image_sizes: NDArray[np.int64],
    flip_test: bool,
) -> NDArray[np.float32]:
    """Return raw heatmaps B×K×Hm×Wm that span their images.

    Args:
        network: As `load_network` returns it.
        geometry: What made `inputs`.
        inputs: B×Hi×Wi×3 RGB.
        image_sizes: B×2, width and height of the images.
        flip_test: Whether to average with the mirrored image's heatmaps.
    """
    return coming_heatmaps(network, geometry, inputs, image_sizes, flip_test).arrived()


@torch.inference_mode()
def coming_heatmaps(
    network: HeatmapNetwork,
    geometry: Geometry,
    inputs: NDArray[np.uint8],
    image_sizes: NDArray[np.int64],
    flip_test: bool,
) -> Coming:
    """Return what `spanning_heatmaps` does without waiting for a GPU, which can be given the next batch meanwhile."""
    device = next(network.parameters()).device
    # Seen as B×3×Hi×Wi this is channels last already, as the weights are; nothing is copied.
    images = sent(torch.from_numpy(inputs), device).permute(0, 3, 1, 2)
    heatmaps: Tensor = network(images, flip_test).float()
    # PyTorch takes pinned memory for what comes from a GPU in this way.
    on_cpu, copied = geometry.restore(heatmaps, image_sizes).to("cpu", non_blocking=True), None
    if heatmaps.is_cuda:
        copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        copied.record()
    return Coming(on_cpu, copied)
