"""Checkpoints: found or fetched, checked by hash, and read without running the code that pickles can carry."""

import hashlib
import pickle
import re
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from pirt.core.errors import CheckpointError
from pirt.core.files import sha256_of

_URL = re.compile(r"https?://")
# A date, such as 20220913, is no hash.
_HASH = re.compile(r"-(?!20\d\d[01]\d[0-3]\d)([0-9a-f]{8})[_.]")


def find_checkpoint(name: str) -> Path:
    """Return the file of a path or URL; a URL is fetched once into torch's folder of checkpoints.

    OpenMMLab's file names carry the first 8 digits of the file's SHA-256, which are checked whenever they are there.
    """
    fetched = _URL.match(name)
    path = _fetched_path(name) if fetched else Path(name)
    if not path.is_file():
        if not fetched:
            raise CheckpointError(f"checkpoint {name} does not exist; pass a file or URL")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(name, str(path))
        except (OSError, HTTPException, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise CheckpointError(
                f"{name} cannot be fetched ({reason}); fetch it elsewhere, put it at {path}"
            ) from error
    expected = _HASH.search(path.name)
    if expected and not sha256_of(path).startswith(expected[1]):
        raise CheckpointError(
            f"{path} is damaged: its SHA-256 does not begin with {expected[1]}; delete it and fetch it again, or give "
            "it a name without these digits if it is another file"
        )
    return path


def _fetched_path(url: str) -> Path:
    """Return where torch keeps the file; one without a hash in its name may be another's namesake."""
    folder, name = Path(torch.hub.get_dir()) / "checkpoints", url.rpartition("/")[2]
    return folder / name if _HASH.search(name) else folder / hashlib.sha256(url.encode()).hexdigest()[:12] / name


def load_weights(network: nn.Module, path: Path, name: str) -> None:
    """Load a checkpoint's weights into MMPose's estimator; any name or shape that differs is an error."""
    weights = read_weights(path)
    try:
        missing, unexpected = network.load_state_dict(weights, strict=False)
    except RuntimeError as error:  # a shape differs
        line = str(error).splitlines()[1].strip()
        raise CheckpointError(f"checkpoint {path} is not of network {name}: {line}") from error
    # MMPose keeps its normalisation in the config; older files hold it here too.
    unexpected = [key for key in unexpected if not key.startswith("data_preprocessor.")]
    for keys, what in ((missing, "lacks"), (unexpected, "has besides")):
        if keys:
            raise CheckpointError(
                f"checkpoint {path} is not of network {name}: it {what} {len(keys)} weights, as {keys[0]}"
            )


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the state dict of an MMEngine checkpoint, or of a file that is one, without executing pickled code."""
    try:
        with safe_globals(_mmengine_globals()):
            checkpoint: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_refusal(path, error)) from error
    except Exception as error:  # a damaged file may break torch's reader anywhere
        raise CheckpointError(f"checkpoint {path} is damaged or not a PyTorch checkpoint") from error
    weights = checkpoint.get("state_dict", checkpoint) if isinstance(checkpoint, dict) else None
    if not isinstance(weights, dict) or not weights or not all(map(_is_weight, weights.items())):
        raise CheckpointError(f"checkpoint {path} has no 'state_dict' of tensors; expected MMEngine's form")
    return {key.removeprefix("module."): value for key, value in weights.items()}


def _is_weight(item: tuple[object, object]) -> bool:
    return isinstance(item[0], str) and isinstance(item[1], Tensor)


class _HistoryBuffer:
    """Stands for MMEngine's log of a scalar while reading; it is thrown away."""


def _statistic(owner: object, name: object) -> None:
    """Stand for the `getattr(HistoryBuffer, "min")` and the like that MMEngine pickles with each log."""
    if owner is not _HistoryBuffer or name not in ("min", "max", "current", "mean"):
        raise pickle.UnpicklingError(f"Unsupported global: GLOBAL builtins.getattr of {owner}, {name}")


def _mmengine_globals() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """List what MMEngine's own checkpoints name beside tensors; none of it runs code of the file.

    numpy 2 renamed its module, so both names stand for the same functions.
    """
    scalar, array = np.core.multiarray.scalar, np.core.multiarray._reconstruct  # type: ignore[attr-defined]
    renamed = [
        (function, f"{module}.multiarray.{function.__name__}")
        for function in (scalar, array)
        for module in ("numpy.core", "numpy._core")
    ]
    kinds = ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "U")
    stand_ins: list[tuple[Callable[..., Any], str]] = [
        (_HistoryBuffer, "mmengine.logging.history_buffer.HistoryBuffer"),
        (_statistic, "builtins.getattr"),
    ]
    return [*renamed, *stand_ins, np.ndarray, np.dtype, *(type(np.dtype(kind)) for kind in kinds)]


def _refusal(path: Path, error: Exception) -> str:
    try:
        with safe_globals(_mmengine_globals()):
            names = get_unsafe_globals_in_checkpoint(path)
    except (ValueError, RuntimeError, pickle.UnpicklingError):
        names = []
    names = names or re.findall(r"GLOBAL ([\w.]+)", str(error))
    if not names:
        return f"checkpoint {path} is not a PyTorch checkpoint"
    return (
        f"checkpoint {path} names {', '.join(sorted(set(names)))}, which is refused because loading it would run "
        "the file's code; save its state_dict alone"
    )
