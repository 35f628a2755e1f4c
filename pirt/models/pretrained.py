"""Published weights for the backbone, from a file or from where they are published."""

from torch import Tensor

from pirt.core.errors import CheckpointError
from pirt.core.weights import fetch, leave_out, named_hash, read_weights, url_name
from pirt.models.backbone import Backbone

_MOST_NAMED = 8
_COUNTS = ".num_batches_tracked"
_OWNERS = ("backbone.", "encoder_q.", "base.")
"""What pre-training (DINO, MoCo) and re-identification (TransReID) call the backbone among their other networks."""
_BESIDE = ("encoder_k.", "queue", "bottleneck.", "classifier.", "head.")
"""Those other networks: MoCo's second encoder and its memory, necks and classifiers, projections."""


def load_published(backbone: Backbone, source: str) -> list[str]:
    """Load weights in the names that they are published in into `backbone`, in place; return what was made of them.

    Args:
        backbone: of the published width and depth.
        source: a file, or a URL whose file name carries the first digits of its SHA-256.

    Returns:
        Lines: which names were left out, and what was resampled.

    Raises:
        CheckpointError: The weights cannot be had or read, or a name is missing, unexpected or of another shape.
    """
    # What a run started from is recorded by this name alone.
    if "://" in source and named_hash(url_name(source)) is None:
        raise CheckpointError(f"{source}: the file name must carry its SHA-256, as in resnet50_ibn_a-d9d0bb7b.pth")
    path = fetch(source)
    mine, beside = own_names(read_weights(path))
    try:
        adapted = backbone.adapt(mine)
    except CheckpointError as error:
        raise CheckpointError(f"{path} {error}") from error
    weights = adapted.weights
    expected = backbone.state_dict()
    # Files from before PyTorch 0.4.1 do not count the batches behind their statistics, and nothing reads that number.
    weights = {name: value for name, value in expected.items() if name.endswith(_COUNTS)} | weights
    reshaped = [
        f"{name} ({_shape(weights[name])} instead of {_shape(expected[name])})"
        for name in weights.keys() & expected.keys()
        if weights[name].shape != expected[name].shape
    ]
    # Any of them is an error: many loaders take a file with half of the keys and only warn, if at all.
    problems = {
        "missing": expected.keys() - weights.keys(),
        "unexpected": weights.keys() - expected.keys(),
        "of another shape": reshaped,
    }
    if any(problems.values()):
        listed = "; ".join(f"{kind}: {_listed(names)}" for kind, names in problems.items() if names)
        raise CheckpointError(f"{path} does not fit the backbone: {listed}")
    backbone.load_state_dict(weights)
    left_out = [*beside, *adapted.left_out]
    return [f"left out {_listed(left_out)}"] * bool(left_out) + adapted.notes


def own_names(weights: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Take off what a training calls its backbone, and leave out the networks beside it, by name."""
    for owner in _OWNERS:
        if any(name.startswith(owner) for name in weights):
            kept, beside = leave_out(weights, _BESIDE)
            return {name.removeprefix(owner): value for name, value in kept.items()}, beside
    return weights, []


def _shape(value: Tensor) -> str:
    return "×".join(map(str, value.shape)) or "scalar"


def _listed(names: object) -> str:
    assert isinstance(names, set | list)
    shown = sorted(names)
    more = f" and {len(shown) - _MOST_NAMED} more" if len(shown) > _MOST_NAMED else ""
    return ", ".join(shown[:_MOST_NAMED]) + more
