"""The recipe of `pirt-pose train`: a small HRNet on labelled keypoints, by MMPose's codec and loss in a plain loop."""

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from pirt.core.errors import DataError, DivergenceError, ParamsError
from pirt.core.files import refuse_other_files, require_apart, sha256_of, written_whole
from pirt.core.images import read_image
from pirt.core.manifest import ImageRow, Manifest
from pirt.core.repeatable import deterministic
from pirt.core.texts import is_json_without
from pirt.progress import note, progress, progress_over
from pirt_stages.pose.networks.checkpoints import find_checkpoint, load_checkpoint
from pirt_stages.pose.networks.network import HeatmapNetwork, build_network, channels_last
from pirt_stages.pose.networks.openmmlab import Config, MMLogger
from pirt_stages.pose.training.accuracy import (
    ImageCounts,
    KeypointCounts,
    PoseAccuracy,
    PoseMetrics,
    PoseScores,
    pck,
    visibility_auc,
)
from pirt_stages.pose.training.augment import augment, second_view
from pirt_stages.pose.training.checkpoint import checkpoint_bytes
from pirt_stages.pose.training.labels import OCCLUDED, VISIBLE, Labels, read_keypoints
from pirt_stages.pose.training.params import PoseTrainParams
from pirt_stages.pose.training.small_hrnet import CELL, small_hrnet_config

_FILES = ("config.py", "checkpoint.pth", "metrics.json", "scores.json")
_IGNORED = ".gitignore"
"""DVC's, which says that the files are not Git's."""
_ONE_CELL = (32, 32)
"""The input of which HRNet's coarsest branch sees a single cell."""
_EDGE, _MARGIN, _SLOPE = 0.05, 0.05, 0.1
"""Where a target is below the edge a heatmap should be empty; the loss there has a margin and a slope."""
# With a weight of 0.1 from the first epoch on, left and right became the same (docs/decisions/pose-training.md).
_AGREEMENT, _SOFTNESS = 0.07, 0.05
"""Weight of the part masks' agreement over two views, and how soft these masks are."""


@dataclass(frozen=True)
class Labelled:
    """Images N×3×Hi×Wi (uint8 RGB, at the input size), keypoints N×17×3 in pixels of the input, occluded or not: N."""

    images: Tensor
    keypoints: Tensor
    occluded: NDArray[np.bool_]


def train(manifest: Manifest, keypoints: Path, params: PoseTrainParams, out: Path, device: str) -> PoseMetrics:
    """Train, measure on held-out identities, and write `out`; return what its `metrics.json` holds."""
    if any(side % 32 for side in params.input_size):
        raise ParamsError(f"pose.train.input_size = {params.input_size}: HRNet needs multiples of 32")
    if device == "cuda" and not torch.cuda.is_available():
        raise ParamsError("device cuda is not available here; use --device cpu")
    refuse_other_files(out, (*_FILES, _IGNORED))
    _refuse_other_network(out)
    for name in _FILES:
        require_apart(out / name, params.init_from, keypoints)
    config = small_hrnet_config(params.input_size, params.channels, params.sigma)
    # Before images are read: that weights do not fit is told at once.
    network, initial = initial_network(config, params, device)
    rows = manifest.split("train")
    manifest.require_files(rows)
    learn, hold = _by_identity(rows, params.held_out)
    labels = read_keypoints(keypoints)
    learned = load_labelled(manifest, learn, labels, keypoints, params.input_size)
    held = load_labelled(manifest, hold, labels, keypoints, params.input_size)

    with deterministic(device == "cuda"):
        fit(network, learned, params, device)
    accuracy = dict(accuracy_of(network, held, device))
    parameters = sum(weight.numel() for weight in network.estimator.parameters())
    images = ImageCounts(
        trained=len(learned.images),
        held_out=len(held.images),
        held_out_unoccluded=int((~held.occluded).sum()),
    )
    metrics = PoseMetrics(**accuracy, parameters=parameters, images=images)
    scores = PoseScores(**{name: accuracy[name] for name in PoseScores.model_fields})
    with written_whole(out) as folder:
        folder.mkdir()
        # The folder is replaced whole, and with it what keeps its files out of Git.
        if (out / _IGNORED).is_file():
            shutil.copyfile(out / _IGNORED, folder / _IGNORED)
        config_file, checkpoint_file, *tables = (folder / name for name in _FILES)
        config.dump(str(config_file))
        meta = {"epoch": params.epochs, "seed": params.seed, **initial}
        checkpoint_file.write_bytes(checkpoint_bytes(network.estimator, meta))
        for file, content in zip(tables, (metrics, scores), strict=True):
            file.write_text(content.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return metrics


def _refuse_other_network(out: Path) -> None:
    """Raise DataError when files of our names would be replaced that no training of this kind left."""
    there = [path for name in _FILES if (path := out / name).exists()]
    metrics = out / "metrics.json"
    if there and (metrics not in there or is_json_without("pck_per_keypoint", metrics)):
        raise DataError(f"{there[0]} is not of `pirt-pose train` and would be lost; name another --out")


def initial_network(config: Config, params: PoseTrainParams, device: str) -> tuple[HeatmapNetwork, dict[str, str]]:
    """Return the network that a training starts from, and what the checkpoint is to say of its weights."""
    # MMPose draws initial weights from the global generator.
    torch.manual_seed(params.seed)
    network = channels_last(build_network(config, "small HRNet").to(device))
    MMLogger.get_instance("pirt").setLevel("WARNING")  # init_weights logs a line per tensor
    estimator: Any = network.estimator
    estimator.init_weights()
    initial = {}
    if params.init_from is not None:
        path = find_checkpoint(params.init_from)
        load_checkpoint(estimator, path, f"pose.train with {params.channels} channels")
        initial = {"initial_weights_sha256": sha256_of(path)}
    return network, initial


def _by_identity(rows: Sequence[ImageRow], share: float) -> tuple[list[ImageRow], list[ImageRow]]:
    """Split the images so that every k-th identity is held out; at least one identity stays on each side."""
    identities = sorted({row.pid for row in rows})
    if len(identities) < 2:
        raise DataError(f"the train split has {len(identities)} identity; two are needed, one of them to hold out")
    number = min(max(1, round(len(identities) * share)), len(identities) - 1)
    held = {identities[i * len(identities) // number] for i in range(number)}
    return [row for row in rows if row.pid not in held], [row for row in rows if row.pid in held]


def load_labelled(
    manifest: Manifest,
    rows: Sequence[ImageRow],
    labels: dict[str, Labels],
    source: Path,
    input_size: tuple[int, int],
) -> Labelled:
    """Read the labelled images of `rows` at the input size, and their keypoints with them, into memory."""
    height, width = input_size
    chosen = [row for row in rows if row.path in labels]
    if not chosen:
        raise DataError(
            f"{source} labels none of the {len(rows)} training images such as {rows[0].path!r}; "
            "its file_name must be the manifest's path"
        )
    if left_out := len(rows) - len(chosen):
        note(f"{left_out:,} of {len(rows):,} images of the train split have no keypoints in {source} and are left out")
    # All of them in memory: as float32 they would take four times as much.
    images = torch.empty(len(chosen), 3, height, width, dtype=torch.uint8)
    keypoints = np.stack([labels[row.path].keypoints for row in chosen])
    for index, row in enumerate(progress_over(chosen, "reading", "image")):
        image = read_image(manifest.image_path(row))
        scale = np.array([width / image.width, height / image.height], dtype=np.float32)
        # Pixel centres stay pixel centres when the image is stretched.
        keypoints[index, :, :2] = (keypoints[index, :, :2] + 0.5) * scale - 0.5
        # As extraction resamples.
        stretched = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
        # A copy, since Pillow's memory is read-only, of which torch warns.
        images[index] = torch.from_numpy(stretched.copy()).permute(2, 0, 1)
    occluded = np.array([labels[row.path].occluded for row in chosen])
    return Labelled(images, torch.from_numpy(keypoints), occluded)


def fit(network: HeatmapNetwork, data: Labelled, params: PoseTrainParams, device: str) -> None:
    """Train the network in place; the same data, parameters and machine give the same weights.

    The second half of the epochs sees the images in their own colours, as they will be at extraction, and each of them
    in two views.
    """
    # A batch norm at a single cell needs two images.
    # A batch size of 1 is refused too: both remainders are 0 then.
    if params.input_size == _ONE_CELL and len(data.images) % params.batch_size == 1 % params.batch_size:
        raise ParamsError(
            f"pose.train.batch_size = {params.batch_size} leaves a batch of one of {len(data.images)} images, which at "
            f"input size {params.input_size} cannot be normalised; change one of the two sizes"
        )
    generator = torch.Generator().manual_seed(params.seed)
    steps = math.ceil(len(data.images) / params.batch_size) * params.epochs
    # Fused: PyTorch's plain one divides by MKL's square roots, which processors of different makers round differently.
    optimizer = torch.optim.AdamW(
        network.parameters(), params.learning_rate, weight_decay=params.weight_decay, fused=True
    )
    # OneCycleLR divides by the length of its rise less one step.
    rise = 0.1 if round(0.1 * steps, 6) != 1 else 0.2
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, params.learning_rate, total_steps=steps, pct_start=rise)
    network.train()
    with progress(steps, "training", "batch") as bar:
        for epoch in range(params.epochs):
            # What is learned last should be what extraction will see.
            settled = 2 * epoch >= params.epochs
            order = torch.randperm(len(data.images), generator=generator)
            for batch in torch.split(order, params.batch_size):
                images, keypoints = augment(data.images[batch].float(), data.keypoints[batch], generator, settled)
                loss = (
                    two_views_loss(network, images, keypoints, generator, device)
                    if settled
                    else heatmap_loss(network, predicted(network, images, device), keypoints)
                )
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
                schedule.step()
                if not math.isfinite(value := loss.item()):
                    raise DivergenceError(f"the loss is {value} in epoch {epoch + 1}; lower pose.train.learning_rate")
                bar.update()
                bar.set_postfix_str(f"loss {value:.5f}", refresh=False)


def predicted(network: HeatmapNetwork, images: Tensor, device: str) -> Tensor:
    """Return heatmaps B×K×Hm×Wm of images B×3×Hi×Wi."""
    heatmaps: Tensor = network(images.contiguous(memory_format=torch.channels_last).to(device))
    return heatmaps


def two_views_loss(
    network: HeatmapNetwork, images: Tensor, keypoints: Tensor, generator: torch.Generator, device: str
) -> Tensor:
    """Return the loss of the heatmaps of two views of the images, and of how little these agree.

    Stage 2 mirrors and moves the heatmaps of an image instead of asking the network again, which is right as far as
    the network follows its image. Cells that one of the views does not show do not count.
    """
    moved, places, follow = second_view(images, keypoints, CELL, generator)
    heatmaps = predicted(network, torch.cat([images, moved]), device)
    first, second = torch.split(heatmaps, len(images))
    shown = follow(torch.ones_like(first))
    apart = (soft_mask(follow(first)) - soft_mask(second)).square() * shown
    return heatmap_loss(network, heatmaps, torch.cat([keypoints, places])) + _AGREEMENT * apart.mean()


def soft_mask(heatmaps: Tensor) -> Tensor:
    """Return how far a cell belongs to the mask of eq. 3 with a τ near 0, between 0 and 1."""
    return torch.sigmoid(heatmaps / _SOFTNESS)


def heatmap_loss(network: HeatmapNetwork, heatmaps: Tensor, keypoints: Tensor) -> Tensor:
    """Return MMPose's loss between the network's heatmaps and its codec's targets.

    The target of an occluded keypoint is an empty heatmap, so that a heatmap's height tells visibility; what is not
    labelled does not count. The part mask of eq. 3 is what exceeds a τ near 0, so where the target is 0 the network
    learns to stay `_MARGIN` below: its noise then does not reach τ. Falling deeper costs little, for the store clips
    at 0; the small slope keeps every channel alive. A target below `_EDGE` counts as 0: the codec cuts its peaks to a
    square around the nearest cell, of which a mask's outline would follow the corners and the rounding.
    """
    estimator: Any = network.estimator
    targets, weights = (table.to(heatmaps.device) for table in _targets(estimator.head.decoder, keypoints.numpy()))
    targets = torch.where(targets > _EDGE, targets, 0)
    heatmaps = torch.where(targets > 0, heatmaps, nn.functional.leaky_relu(heatmaps + _MARGIN, _SLOPE))
    loss: Tensor = estimator.head.loss_module(heatmaps, targets, weights)
    return loss


def _targets(codec: Any, keypoints: NDArray[np.float32]) -> tuple[Tensor, Tensor]:
    visible = (keypoints[..., 2] == VISIBLE).astype(np.float32)
    encoded = [
        codec.encode(places[None], shown[None])["heatmaps"]
        for places, shown in zip(keypoints[..., :2], visible, strict=True)
    ]
    weights = (keypoints[..., 2] >= OCCLUDED).astype(np.float32)
    return torch.from_numpy(np.stack(encoded)), torch.from_numpy(weights)


def accuracy_of(network: HeatmapNetwork, data: Labelled, device: str) -> PoseAccuracy:
    """Measure the heatmaps of labelled images."""
    network.eval()
    estimator: Any = network.estimator
    found, scores = [], []
    with torch.inference_mode():
        for images in torch.split(data.images, 64):
            for heatmaps in network(images.to(device)).cpu().numpy():
                place, score = estimator.head.decoder.decode(heatmaps)
                found.append(place[0])
                scores.append(score[0])
    places, heights = np.stack(found), np.stack(scores)
    keypoints = data.keypoints.numpy()
    whole = ~data.occluded
    overall, per_keypoint, number = pck(places, keypoints)
    unoccluded, _, unoccluded_number = pck(places[whole], keypoints[whole])
    return PoseAccuracy(
        pck=overall,
        pck_unoccluded=unoccluded,
        pck_per_keypoint=tuple(per_keypoint),
        visibility_auc=visibility_auc(heights, keypoints),
        keypoints=KeypointCounts(visible=number, on_unoccluded_images=unoccluded_number),
    )
