"""A pose network as this program uses it: RGB images in, heatmaps out."""

import copy
import difflib
import hashlib
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pirt.core.errors import ParamsError
from pirt.core.files import pass_on_refusal
from pirt.core.keypoints import COCO_KEYPOINTS, FLIP_ORDER
from pirt.core.params import LONGEST_SIDE
from pirt.core.sizes import require_buildable
from pirt_stages.pose.networks.config_files import config_in
from pirt_stages.pose.networks.openmmlab import (
    HEATMAP_HEADS,
    MODELS,
    PACKAGED_CONFIGS,
    VERSION,
    Config,
    flip_heatmaps,
    init_default_scope,
    revert_sync_batchnorm,
)


class HeatmapNetwork(nn.Module):
    """An MMPose top-down estimator with its own normalisation in front and its last heatmaps behind.

    Args:
        estimator: MMPose's `TopdownPoseEstimator` with a heatmap head.
        peak: What the network was trained to give at a keypoint: 1, or 255 for MegviiHeatmap.
        input_size: Height and width that it was trained with.
        rgb: Whether the estimator was trained on RGB; MMPose reads BGR when its config does not swap.
        shift_flipped: Whether `flip_test` shifts the mirrored heatmaps by one cell, as the config says.
    """

    _flip_order: Tensor

    def __init__(
        self, estimator: nn.Module, *, input_size: tuple[int, int], peak: float, rgb: bool, shift_flipped: bool
    ) -> None:
        super().__init__()
        self.estimator = estimator
        self.input_size = input_size
        self.peak = peak
        self.rgb = rgb
        self.shift_flipped = shift_flipped
        self.dtype = torch.float32
        # On the device: a list as an index would be copied there at each batch, which waits for it.
        self.register_buffer("_flip_order", torch.tensor(FLIP_ORDER), persistent=False)

    def normalised(self, images: Tensor) -> Tensor:
        """Return B×3×Hi×Wi RGB images of 0 to 255 as the estimator wants them."""
        preprocessor: Any = self.estimator.data_preprocessor
        ordered = images if self.rgb else images.flip(1)
        scaled = ordered.float()
        # MMEngine's preprocessor has neither where the config names no mean.
        if hasattr(preprocessor, "mean"):
            scaled = (scaled - preprocessor.mean) / preprocessor.std
        return scaled.to(self.dtype)

    def forward(self, images: Tensor, flip_test: bool = False) -> Tensor:
        """Return raw heatmaps B×K×Hm×Wm of B×3×Hi×Wi RGB images of 0 to 255, averaged with the mirror's on request."""
        normalised = self.normalised(images)
        heatmaps = self._heatmaps(normalised)
        if flip_test:
            mirrored = flip_heatmaps(
                self._heatmaps(normalised.flip(-1)), self._flip_order, shift_heatmap=self.shift_flipped
            )
            heatmaps = (heatmaps + mirrored) * 0.5
        return heatmaps / self.peak if self.peak != 1 else heatmaps

    def _heatmaps(self, normalised: Tensor) -> Tensor:
        estimator: Any = self.estimator
        output = estimator(normalised, None, mode="tensor")
        # Heads of several stages give one tensor per stage, the last of which MMPose itself predicts from.
        while isinstance(output, list | tuple):
            output = output[-1]
        assert isinstance(output, Tensor)
        return output


def read_config(name: str) -> Config:
    """Read an MMPose config from a file, or by the name of one that comes with MMPose.

    A Python config is a program; run only those that you trust. A YAML or JSON config runs nothing.
    """
    path = Path(name)
    if not path.is_file():
        path = _packaged(name)
    try:
        config = config_in(path)
    except ParamsError:
        raise
    except SystemExit as error:  # with 0 it would pass for a success
        raise ParamsError(f"config {path} ends the program (exit code {error.code!r:.80}); remove that line") from error
    except Exception as error:  # a config is a program: anything may come out of it
        pass_on_refusal(error)
        raise ParamsError(f"config {path} cannot be read: {_one_line(error)}") from error
    if not isinstance(config.get("model"), dict):
        raise ParamsError(f"config {path} has no 'model'; pass an MMPose config of a top-down heatmap network")
    return config


def _packaged(name: str) -> Path:
    stems = {path.stem: path for path in sorted(PACKAGED_CONFIGS.rglob("*.py"))}
    if (found := stems.get(Path(name).stem)) is not None and Path(name).parent == Path():
        return found
    near = difflib.get_close_matches(Path(name).stem, stems, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ParamsError(f"config {name!r} is neither a file nor one of MMPose {VERSION}'s configs{hint}")


def build_network(config: Config, name: str) -> HeatmapNetwork:
    """Build the network of `config` with random weights; ParamsError, by `name`, when it gives no COCO heatmaps."""
    require_heatmaps(config, name)
    model = copy.deepcopy(config.model)
    for part in _parts(model):
        # Nothing is downloaded to initialise what a checkpoint overwrites.
        part.pop("init_cfg", None)
    # As MMPose's own `init_model` does.
    model.train_cfg = None
    init_default_scope(config.get("default_scope", "mmpose"))
    try:
        # Without memory first, so that sizes which no machine holds are refused before it is asked for.
        require_buildable(lambda: MODELS.build(copy.deepcopy(model)), f"network {name}")
        # In training, which `pirt-pose adapt` imitates, SyncBatchNorm runs on GPUs only.
        estimator = revert_sync_batchnorm(MODELS.build(model))
    except ParamsError:
        raise
    except Exception as error:  # any part of MMPose may raise anything on its values
        pass_on_refusal(error)
        raise ParamsError(f"network {name} cannot be built with MMPose {VERSION}: {_one_line(error)}") from error
    if not isinstance(estimator.head, HEATMAP_HEADS):
        raise ParamsError(_no_heatmaps(name, type(estimator.head).__name__))
    test = model.get("test_cfg") or {}
    return HeatmapNetwork(
        estimator,
        input_size=own_input_size(config, name),
        peak=255.0 if _decoder(config).get("type") == "MegviiHeatmap" else 1.0,
        rgb=bool((model.get("data_preprocessor") or {}).get("bgr_to_rgb", False)),
        shift_flipped=bool(test.get("shift_heatmap", False)),
    )


def config_sha256(config: Config) -> str:
    """Return the SHA-256 of what decides the heatmaps: the model, and the steps that a test image goes through."""
    decisive = [config.to_dict()["model"], inference_steps(config)]
    try:
        return hashlib.sha256(json.dumps(decisive, sort_keys=True, default=str).encode()).hexdigest()
    except (TypeError, ValueError, RecursionError) as error:  # names that are numbers beside texts, or circles
        raise ParamsError(f"config {config.filename} cannot be written out: {_one_line(error)}") from error


def inference_steps(config: Config) -> list[dict[str, Any]]:
    """Return the steps that a test image goes through; none where the config has no test loader."""
    try:
        steps = (config.to_dict().get("test_dataloader") or {}).get("dataset", {}).get("pipeline") or []
        return [{**step, "type": str(step["type"])} for step in steps]
    except (AttributeError, TypeError, KeyError, ValueError) as error:
        raise ParamsError(
            f"config {config.filename}: test_dataloader.dataset.pipeline is not a list of steps with a type ({error})"
        ) from error


def own_input_size(config: Config, name: str) -> tuple[int, int]:
    """Return height and width that the network was trained with."""
    size = _decoder(config).get("input_size")
    if not size:
        raise ParamsError(f"network {name} does not say its input size in model.head.decoder")
    match size:
        case [int(width), int(height)] if 0 < width <= LONGEST_SIDE and 0 < height <= LONGEST_SIDE:
            return height, width
    raise ParamsError(
        f"network {name} has the input size {size!r:.200} in model.head.decoder, expected a width and a height up to "
        f"{LONGEST_SIDE}"
    )


def _parts(model: Any) -> Iterator[Any]:
    yield model
    for part in ("backbone", "neck", "head"):
        if isinstance(model.get(part), dict):
            yield model[part]


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]


def _decoder(config: Config) -> dict[str, Any]:
    decoder: Any = (config.model.get("head") or {}).get("decoder") or {}
    # Heads of several stages name one decoder a level, the finest last.
    finest: Any = decoder[-1] if isinstance(decoder, list | tuple) and decoder else decoder
    if not isinstance(finest, dict):
        raise ParamsError(f"config {config.filename}: model.head.decoder = {decoder!r:.200}, expected a mapping")
    return finest


def require_heatmaps(config: Config, name: str) -> None:
    """Raise ParamsError, by `name`, when the network of `config` gives no COCO heatmaps or cannot be built here."""
    for place in ("backbone", "neck", "head", "test_cfg", "data_preprocessor"):
        if not isinstance(config.model.get(place) or {}, dict):
            raise ParamsError(f"network {name}: model.{place} = {config.model[place]!r:.200}, expected a mapping")
    kind, head = config.model.get("type"), config.model.get("head") or {}
    if kind != "TopdownPoseEstimator":
        raise ParamsError(f"network {name} is a {kind}, expected a TopdownPoseEstimator with a heatmap head")
    # Such a network gives two maps of offsets beside each heatmap.
    if _decoder(config).get("heatmap_type") == "combined":
        raise ParamsError(_no_heatmaps(name, "UDP offsets"))
    if not any(head.get("type") == known.__name__ for known in HEATMAP_HEADS):
        raise ParamsError(_no_heatmaps(name, head.get("type")))
    shape = head.get("out_shape") or (None,)
    channels = head.get("out_channels") or (shape[0] if isinstance(shape, list | tuple) else shape)
    if channels != len(COCO_KEYPOINTS):
        raise ParamsError(f"network {name} gives {channels} heatmaps, expected COCO's {len(COCO_KEYPOINTS)}")
    for part in _parts(config.model):
        _require_package(part, name)


def _require_package(part: dict[str, Any], name: str) -> None:
    """Raise where a part comes from a package that is not installed, as those of ViTPose and CSPNeXt do."""
    scope, _, kind = str(part.get("type")).rpartition(".")
    package = scope.partition(".")[0] or str(part.get("_scope_") or "mmpose")
    if importlib.util.find_spec(package) is None:
        raise ParamsError(
            f"network {name} needs {kind} of the package {package}, which is not installed and which the lock file "
            "does not have; pass a network of MMPose's own parts, such as td-hm_hrnet-w48_8xb32-210e_coco-256x192"
        )


def _no_heatmaps(name: str, head: Any) -> str:
    return (
        f"network {name} has no heatmaps (its head is {head}); pass one with a heatmap head, "
        "such as td-hm_hrnet-w48_8xb32-210e_coco-256x192"
    )


def channels_last(network: HeatmapNetwork) -> HeatmapNetwork:
    """Return the network with its weights laid out channels last, which is fastest on CPUs and tensor cores."""
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
