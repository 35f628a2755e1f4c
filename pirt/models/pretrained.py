"""Published ImageNet weights for the backbone, from a file or from where they are published."""

from torch import Tensor

from pirt.backbones import Backbone
from pirt.core.errors import CheckpointError
from pirt.core.weights import fetch, named_hash, read_weights

_MOST_NAMED = 8
_COUNTS = ".num_batches_tracked"


def load_imagenet(backbone: Backbone, source: str) -> None:
    """Load weights in the published names (`resnet50_ibn_a-d9d0bb7b.pth`) into `backbone`, in place.

    Args:
        backbone: of the published width, 64.
        source: a file, or a URL whose file name carries the first digits of its SHA-256.

    Raises:
        CheckpointError: The weights cannot be had or read, or a name is missing, unexpected or of another shape.
    """
    # What a run started from is recorded by this name alone.
    if "://" in source and named_hash(source) is None:
        raise CheckpointError(f"{source}: the file name must carry its SHA-256, as in resnet50_ibn_a-d9d0bb7b.pth")
    path = fetch(source)
    weights = {name: value for name, value in read_weights(path).items() if not name.startswith("fc.")}
    expected = backbone.state_dict()
    # Files from before PyTorch 0.4.1 do not count the batches behind their statistics, and nothing reads that number.
    weights = {name: value for name, value in expected.items() if name.endswith(_COUNTS)} | weights
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


def _shape(value: Tensor) -> str:
    return "×".join(map(str, value.shape)) or "scalar"


def _listed(names: object) -> str:
    assert isinstance(names, set | list)
    shown = sorted(names)
    more = f" and {len(shown) - _MOST_NAMED} more" if len(shown) > _MOST_NAMED else ""
    return ", ".join(shown[:_MOST_NAMED]) + more
