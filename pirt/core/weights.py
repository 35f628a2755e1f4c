"""Weights as people have them: found or fetched, checked by hash, and read without running the code that pickles carry.

One reader serves pose networks, backbones and runs. What a name means is left to whoever loads it.
"""

import hashlib
import io
import pickle
import pickletools
import re
import zipfile
from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any
from urllib.request import Request, urlopen

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from pirt.core.errors import CheckpointError
from pirt.core.files import pass_on_refusal, reading, sha256_of, written_whole
from pirt.progress import progress

# A date, such as 20220913, is not a hash.
_HASH = re.compile(r"-(?!20\d\d[01]\d[0-3]\d[_.])([0-9a-f]{8,64})[_.]")
_WRAPPERS = ("state_dict", "model", "teacher", "student")
"""Where training programs put the state dict, beside their notes; the teacher, the student's average, goes first."""
_MOST_SHARED, _MOST_CODE = 4, 1 << 20
"""Numbers for each byte of a file, which names that share weights need, and bytes that its code may unpack to."""
_LONGEST_NAME = 1000
_PROTOCOLS = (2, 3)
"""Of pickle, that PyTorch reads without running code; it writes the first of them."""
_PICKLES = 5
"""How many pickles a file of before PyTorch 1.6 has before its tensors' bytes."""
_PARALLEL = "module."
"""What DataParallel puts before every name."""


def fetch(source: str) -> Path:
    """Return the file of a path or URL; a URL is fetched once into torch's folder of checkpoints.

    Raises:
        CheckpointError: There is no such file, it cannot be fetched, or its SHA-256 is not the one in the URL's name.
    """
    if "://" not in source:
        if not Path(source).is_file():
            raise CheckpointError(f"checkpoint {source} does not exist; pass a file or URL")
        return Path(source)
    path = _kept_at(source)
    if path.is_file():
        # An earlier program or somebody's hand may have put it there.
        require_named_hash(path)
        return path
    try:
        _download(source, path)
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise CheckpointError(
            f"{source} cannot be fetched ({reason}); fetch it elsewhere and put it at {path}"
        ) from error
    return path


def named_hash(name: str) -> str | None:
    """Return the first digits of the file's SHA-256 that its published name carries, as resnet50-0676ba61.pth does."""
    found = _HASH.search(name)
    return found[1] if found else None


def require_named_hash(path: Path) -> None:
    """Raise CheckpointError when the name of `path` carries digits of another SHA-256 than the file's."""
    if not _has_named_hash(path):
        raise CheckpointError(
            f"{path} is damaged: its SHA-256 does not begin with {named_hash(path.name)}; delete it and fetch it "
            "again, or give it a name without these digits if it is another file"
        )


def _has_named_hash(path: Path) -> bool:
    digits = named_hash(path.name)
    return digits is None or sha256_of(path).startswith(digits)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a PyTorch or safetensors file by name, on the CPU and without executing pickled code.

    What training programs put around them is taken off: `{'state_dict': …}`, `{'model': …}`, DataParallel's `module.`.
    Floating-point numbers of any precision become float32.

    Raises:
        CheckpointError: The file does not exist, is damaged, names code, or holds anything but finite tensors.
    """
    if not path.is_file():
        raise CheckpointError(f"checkpoint {path} does not exist; pass a file of weights")
    tensors = _tensors(_safetensors(path) if path.suffix.lower() == ".safetensors" else _unpickled(path), path)
    # First of all, for whatever is computed of a tensor takes memory for all of its numbers.
    _require_numbers_of_their_own(tensors, path)
    if all(name.startswith(_PARALLEL) for name in tensors):
        tensors = {name.removeprefix(_PARALLEL): value for name, value in tensors.items()}
    weights = {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
    _require_possible(weights, path)
    return weights


def url_name(url: str) -> str:
    """Return the name of the file that a URL leads to, without what is asked of the server, as in ?download=true."""
    return re.split("[?#]", url, maxsplit=1)[0].rpartition("/")[2]


def _kept_at(url: str) -> Path:
    """Return where torch keeps the file; one without a hash in its name may be another's namesake."""
    folder, name = Path(torch.hub.get_dir()) / "checkpoints", url_name(url)
    return folder / name if named_hash(name) else folder / hashlib.sha256(url.encode()).hexdigest()[:12] / name


def _download(url: str, path: Path) -> None:
    """Fetch the file whole or not at all; torch's own function keeps what a broken connection gave."""
    request = Request(url, headers={"User-Agent": "torch.hub"})  # some servers refuse Python's own name
    with written_whole(path) as beside, urlopen(request) as answer:
        said = answer.headers["Content-Length"]
        whole = None if said is None else int(said)
        with beside.open("wb") as file, progress(whole, f"fetching {path.name}", "B") as bar:
            while block := answer.read(1 << 20):
                bar.update(file.write(block))
        if whole is not None and beside.stat().st_size != whole:
            raise HTTPException(f"the connection ended after {beside.stat().st_size} of {whole} bytes")
        if not _has_named_hash(beside):
            raise HTTPException(f"its SHA-256 does not begin with {named_hash(path.name)}")


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with reading(path):
            return load_file(path)
    except Exception as error:  # its header is JSON of any form
        pass_on_refusal(error)
        raise CheckpointError(
            f"{path} is damaged: {' '.join(str(error).split())}; restore the file or make it again"
        ) from error


def _unpickled(path: Path) -> object:
    try:
        with reading(path), safe_globals(_allowed_globals()):
            _require_readable(path)
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_refusal(path, error)) from error
    except Exception as error:  # a damaged file may break torch's reader anywhere
        pass_on_refusal(error)
        if "pickle protocol" in str(error):
            raise CheckpointError(f"{path} {error}") from error
        if "TorchScript" in str(error):
            raise CheckpointError(f"{path} is a TorchScript program; save its state_dict() alone") from error
        raise CheckpointError(f"checkpoint {path} is damaged or not a PyTorch checkpoint") from error


def _require_readable(path: Path) -> None:
    """Raise ValueError for what PyTorch would spend minutes or all memory on, and for a record that was damaged."""
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":  # as PyTorch tells them apart
            file.seek(0)
            for _ in range(_PICKLES):
                _require_names(file)
            return
    with zipfile.ZipFile(path) as packed:
        # PyTorch compresses a program's code at most, never tensors.
        if sum(record.file_size for record in packed.infolist()) > 2 * path.stat().st_size + _MOST_CODE:
            raise ValueError("its records are compressed")
        for record in packed.infolist():
            if record.filename.lower().endswith("/data.pkl"):
                _require_names(io.BytesIO(packed.read(record)))
        # PyTorch writes the checksums, and takes what it reads for whole.
        if damaged := packed.testzip():
            raise ValueError(f"the checksum of {damaged} does not match")


def _require_names(stream: IO[bytes]) -> None:
    """Raise ValueError unless one pickle calls only what it names, and by short names.

    PyTorch refuses anything else too, but takes time that grows with the square of a long name, or of a long text in
    a name's place, to word its message.
    """
    stack: list[str] = []
    memo: dict[object, str] = {}
    for operation, argument, _ in pickletools.genops(stream):
        kind = operation.name
        if kind == "PROTO" and argument not in _PROTOCOLS:
            raise ValueError(f"was saved with pickle protocol {argument}; save it again with torch.save's own")
        if kind == "GLOBAL" and len(str(argument)) > _LONGEST_NAME:
            raise ValueError("it holds a name that is too long")
        if kind in ("REDUCE", "NEWOBJ") and stack[-2] != "GLOBAL":
            raise ValueError("it calls something that is not a function")
        if kind in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif kind in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        else:
            for taken in reversed(operation.stack_before):
                if taken is pickletools.stackslice:
                    while stack[-1] != "MARK":
                        stack.pop()
                else:
                    stack.pop()
            stack += [kind] * len(operation.stack_after)


def _tensors(content: object, path: Path) -> dict[str, Tensor]:
    """Return the state dict of what a file holds, however deep it is wrapped."""
    while isinstance(content, dict):
        inner = next((content[name] for name in _WRAPPERS if isinstance(content.get(name), dict)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, dict) or not content or not all(map(_is_weight, content.items())):
        raise CheckpointError(
            f"checkpoint {path} has no state dict of tensors by name, bare or under {' or '.join(map(repr, _WRAPPERS))}"
        )
    return dict(content)


def _is_weight(item: tuple[object, object]) -> bool:
    return isinstance(item[0], str) and isinstance(item[1], Tensor)


def _require_numbers_of_their_own(tensors: dict[str, Tensor], path: Path) -> None:
    """Raise for what is not a plain tensor, and where few bytes stand for many numbers, as a stride of 0 lets them."""
    odd = [name for name, value in tensors.items() if not _is_plain(value)]
    if odd:
        raise CheckpointError(f"{path} holds {odd[0]!r:.200}, which is not a plain tensor; save the weights alone")
    # Weights that several names share stand in the file once.
    if sum(value.numel() for value in tensors.values()) > _MOST_SHARED * path.stat().st_size:
        raise CheckpointError(f"{path} has fewer bytes than its tensors have numbers; save copies of them")


def _is_plain(value: Tensor) -> bool:
    return value.layout == torch.strided and value.device.type == "cpu" and not (value.is_quantized or value.is_nested)


def _require_possible(weights: dict[str, Tensor], path: Path) -> None:
    """Raise for numbers that no good training leaves, and that would become NaN in every output."""
    bad = [name for name, value in weights.items() if value.is_floating_point() and not value.isfinite().all()]
    if bad:
        more = f" and {len(bad) - 1} more weights" if len(bad) > 1 else ""
        raise CheckpointError(
            f"{path} holds NaN or infinity in {bad[0]}{more}; its training diverged, take an earlier checkpoint"
        )
    for name, value in weights.items():
        if name.endswith("running_var") and (value < 0).any():
            raise CheckpointError(f"{path} is damaged: {name} holds a negative variance; restore the file")


class _HistoryBuffer:
    """Stands for MMEngine's log of a scalar while reading; nothing of it is kept."""


class _CommandLine:
    """Stands for the parsed command line that DINO's and SOLIDER's programs save; nothing of it is kept."""


def _statistic(owner: object, name: object) -> None:
    """Stand for the `getattr(HistoryBuffer, "min")` and the like that MMEngine pickles with each log."""
    if owner is not _HistoryBuffer or name not in ("min", "max", "current", "mean"):
        raise pickle.UnpicklingError(f"Unsupported global: GLOBAL builtins.getattr of {owner!r:.200}, {name!r:.200}")


def _allowed_globals() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """List what MMEngine's and DINO's own checkpoints name beside tensors; none of it runs code of the file.

    numpy 2 renamed its module, so both names stand for the same functions.
    """
    # Asked of values, for numpy 2 warns of the module that numpy 1 has them in.
    rebuild: tuple[Any, ...] = (np.float64(0).__reduce__()[0], np.empty(0).__reduce__()[0])
    renamed = [
        (function, f"{module}.multiarray.{function.__name__}")
        for function in rebuild
        for module in ("numpy.core", "numpy._core")
    ]
    kinds = ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "U")
    stand_ins: list[tuple[Callable[..., Any], str]] = [
        (_HistoryBuffer, "mmengine.logging.history_buffer.HistoryBuffer"),
        (_statistic, "builtins.getattr"),
        (_CommandLine, "argparse.Namespace"),
    ]
    return [*renamed, *stand_ins, np.ndarray, np.dtype, *(type(np.dtype(kind)) for kind in kinds)]


def _refusal(path: Path, error: Exception) -> str:
    try:
        with safe_globals(_allowed_globals()):
            names = get_unsafe_globals_in_checkpoint(path)
    except (ValueError, RuntimeError, pickle.UnpicklingError):
        names = []
    names = names or re.findall(r"GLOBAL ([\w.]+)", str(error))
    if not names:
        return f"checkpoint {path} is not a PyTorch checkpoint"
    return (
        f"checkpoint {path} names {', '.join(sorted(set(names)))}, which is refused because loading it would run "
        "the file's code; where you trust it, save its state_dict alone, as by "
        "torch.save(torch.load(FILE, weights_only=False)['state_dict'], 'weights.pth')"
    )


def leave_out(weights: Mapping[str, Tensor], prefixes: tuple[str, ...]) -> tuple[dict[str, Tensor], list[str]]:
    """Return the weights whose names do not begin with any of `prefixes`, and the names of the others."""
    kept = {name: value for name, value in weights.items() if not name.startswith(prefixes)}
    return kept, sorted(weights.keys() - kept.keys())
