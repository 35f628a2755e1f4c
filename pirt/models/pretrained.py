"""Published ImageNet weights for the backbone, from a file or from where they are published."""

import pickle
import re
from pathlib import Path

import torch
from torch import Tensor

from pirt.backbones import Backbone
from pirt.core.errors import CheckpointError
from pirt.core.files import sha256_of

_MOST_NAMED = 8


def load_imagenet(backbone: Backbone, source: str) -> None:
    """Load weights in the published names (`resnet50_ibn_a-d9d0bb7b.pth`) into `backbone`, in place.

    Args:
        backbone: of the published width, 64.
        source: a file, or a URL whose file name carries the first digits of its SHA-256.

    Raises:
        CheckpointError: The weights cannot be had or read, or a name is missing, unexpected or of another shape.
    """
    path = _fetch(source) if "://" in source else Path(source)
    weights = {name: value for name, value in _read(path).items() if not name.startswith("fc.")}
    expected = backbone.state_dict()
    reshaped = [
        f"{name} ({_shape(weights[name])} instead of {_shape(expected[name])})"
        for name in weights.keys() & expected.keys()
        if weights[name].shape != expected[name].shape
    ]
    problems = {
        "missing": expected.keys() - weights.keys(),
        "unexpected": weights.keys() - expected.keys(),
        "of another shape": reshaped,
    }
    if any(problems.values()):
        listed = "; ".join(f"{kind}: {_listed(names)}" for kind, names in problems.items() if names)
        raise CheckpointError(f"{path} does not fit the backbone: {listed}")
    backbone.load_state_dict(weights)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"backbone weights {path} do not exist; give a file or a URL") from None
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path} cannot be read as weights: {_first_line(error)}") from error
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise CheckpointError(f"{path} must hold a state dict, names to tensors")
    return weights


def _fetch(url: str) -> Path:
    """Return the file behind `url` in PyTorch's own cache, downloaded if need be and checked against its name."""
    name = url.rsplit("/", 1)[-1]
    digits = re.search(r"-([0-9a-f]{8,64})\.", name)
    if digits is None:
        raise CheckpointError(f"{url}: the file name must carry its SHA-256, as in resnet50_ibn_a-d9d0bb7b.pth")
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), digits[1])
        except (OSError, RuntimeError) as error:  # no network, or not the bytes that the name promises
            reason = _first_line(error)
            raise CheckpointError(
                f"cannot download {url} ({reason}); fetch it elsewhere and put it at {path}"
            ) from error
    if not sha256_of(path).startswith(digits[1]):
        raise CheckpointError(f"{path} does not match the SHA-256 in its name; remove it and try again")
    return path


def _shape(value: Tensor) -> str:
    return "×".join(map(str, value.shape)) or "scalar"


def _listed(names: object) -> str:
    assert isinstance(names, set | list)
    shown = sorted(names)
    more = f" and {len(shown) - _MOST_NAMED} more" if len(shown) > _MOST_NAMED else ""
    return ", ".join(shown[:_MOST_NAMED]) + more


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
