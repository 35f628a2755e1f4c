"""A pose network's weights, under MMPose's names of today or those of older and other files."""

from pathlib import Path

from torch import Tensor, nn

from pirt.core.errors import CheckpointError
from pirt.core.weights import fetch, read_weights, require_named_hash

_PARTS = ("backbone.", "neck.", "head.", "keypoint_head.")
_OF_THE_HEAD = ("final_layer.", "deconv_layers.")


def find_checkpoint(name: str) -> Path:
    """Return the file of a path or URL, checked by the digits of its SHA-256 that OpenMMLab puts into names."""
    path = fetch(name)
    require_named_hash(path)
    return path


def load_checkpoint(network: nn.Module, path: Path, name: str) -> None:
    """Load a checkpoint's weights into MMPose's estimator; any name or shape that differs is an error.

    MMPose itself renames what its versions 0.x wrote, such as `keypoint_head.`.
    """
    weights = mmpose_names(read_weights(path))
    try:
        # Not strictly, for not every unexpected name is an error.
        missing, unexpected = network.load_state_dict(weights, strict=False)
    except RuntimeError as error:  # a shape differs
        # PyTorch's first line only says that something differs, the second one what.
        line = str(error).splitlines()[1].strip()
        raise CheckpointError(f"checkpoint {path} is not of network {name}: {line}") from error
    # MMPose keeps its normalisation in the config; older files hold it here too.
    unexpected = [key for key in unexpected if not key.startswith("data_preprocessor.")]
    for keys, what in ((missing, "lacks"), (unexpected, "has besides")):
        if keys:
            raise CheckpointError(
                f"checkpoint {path} is not of network {name}: it {what} {len(keys)} weights, such as {keys[0]}"
            )


def mmpose_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weights by the names of MMPose's estimator.

    The authors of HRNet and SimpleBaseline publish theirs without parts: `conv1.weight` and `final_layer.weight`, as in
    pose_hrnet_w48_256x192.pth.
    """
    if any(name.startswith(_PARTS) for name in weights):
        return weights
    return {
        f"{'head' if name.startswith(_OF_THE_HEAD) else 'backbone'}.{name}": value for name, value in weights.items()
    }
