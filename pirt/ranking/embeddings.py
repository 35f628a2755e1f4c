"""`embeddings.h5`: what a run says of query and gallery images, and where it came from.

    keys N, pids N, camids N, splits N     the images, all queries before the gallery
    global  N×C, or  stripe, patch  N×C    global features, float32, as the model gives them
    groups  N×G×C,  confidence  N×G        of models with parts

Every chunk carries a checksum, and behind HDF5's last byte stands the SHA-256 of all before. The attribute
`pirt_embeddings` is an `EmbeddingsLineage` as JSON.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from numpy.typing import NDArray
from pydantic import ValidationError

from pirt.core.disk import require_seal
from pirt.core.errors import DataError, PirtError, StoreError
from pirt.core.files import pass_on_refusal, refuse_unlike, sha256_of
from pirt.core.manifest import SPLITS, ImageRow, Rows, Split
from pirt.core.params import Frozen, Size, first_problem
from pirt.core.sealed import sealed, unsealed
from pirt.ranking.hdf5 import written_hdf5
from pirt.ranking.matching import Features
from pirt.runs.params import ModelParams, TrainParams

ATTRIBUTES = "pirt_embeddings"
GROUPS, CONFIDENCE = "groups", "confidence"
EMBEDDED_SPLITS: tuple[Split, ...] = ("query", "gallery")
_GLOBAL_NAMES = (("global",), ("stripe", "patch"))
_CHUNK_BYTES = 1 << 18  # small, so that a search reads little more than its candidates
_READ_BYTES = 64 << 20

Array = NDArray[Any]


class EmbeddingsLineage(Frozen):
    """What the embeddings were made with and from."""

    format_version: Literal[3] = 3
    variant: str | None
    seed: int
    model: ModelParams
    train: TrainParams
    checkpoint_sha256: str
    trained_on_manifest: str
    trained_on_heatmaps: str | None
    initial_weights_sha256: str | None
    """Of the run that fine-tuning started from."""
    manifest_fingerprint: str
    heatmaps_fingerprint: str | None
    image_size: Size
    unreadable: tuple[str, ...] = ()
    """Keys of the images that stage 1 could not read; they are left out."""


def refuse_other_embeddings(path: Path) -> None:
    """Raise PirtError when `path`, which is to be replaced, is an HDF5 file of something else; damage is not."""
    refuse_unlike(path, _may_be_embeddings, "of `pirt-eval`")


def _may_be_embeddings(path: Path) -> bool:
    with suppress(OSError), h5py.File(path) as file:
        return ATTRIBUTES in file.attrs
    return True


def write_embeddings(
    path: Path,
    images: Sequence[ImageRow],
    lineage: EmbeddingsLineage,
    batches: Iterable[Mapping[str, torch.Tensor]],
) -> None:
    """Write the outputs of `batches`, float32 on the CPU, for `images` (queries, then gallery) in their order."""
    with written_hdf5(path, seal=True) as (file, disk):
        file.attrs[ATTRIBUTES] = sealed(lineage.model_dump(mode="json"))
        _write_images(file, images)
        done = 0
        for batch in batches:
            rows = slice(done, done + len(next(iter(batch.values()))))
            for name, values in batch.items():
                _write_rows(file, name, values.numpy(), rows, images)
            disk.check()
            done = rows.stop
        if done != len(images):
            raise ValueError(f"{done} embeddings for {len(images)} images")


def _write_images(file: h5py.File, images: Sequence[ImageRow]) -> None:
    rows = Rows.of(images)
    splits = [SPLITS[code] for code in rows.splits.tolist()]
    order = [EMBEDDED_SPLITS.index(split) for split in splits]
    if order != sorted(order):
        raise ValueError("queries must stand before the gallery")
    for name, values in {
        "keys": np.array([key.encode() for key in rows.keys]),
        "pids": rows.pids,
        "camids": rows.camids,
        "splits": np.array([split.encode() for split in splits]),
    }.items():
        # One chunk each: these are always read whole.
        file.create_dataset(name, data=values, chunks=values.shape, fletcher32=True)


def _write_rows(file: h5py.File, name: str, values: Array, rows: slice, images: Sequence[ImageRow]) -> None:
    # Here, where the image is still known: behind it NaN would spread over a whole ranking.
    if not np.isfinite(values).all():
        bad = images[rows.start + int((~np.isfinite(values)).reshape(len(values), -1).any(axis=1).argmax())]
        raise DataError(f"the model gives {name} that is not finite for image {bad.key!r}; its training diverged")
    if name not in file:
        chunk = max(1, min(len(images), _CHUNK_BYTES // values[0].nbytes))
        shape = values.shape[1:]
        file.create_dataset(name, (len(images), *shape), np.float32, chunks=(chunk, *shape), fletcher32=True)
    file[name][rows] = values


@dataclass(frozen=True)
class Embeddings:
    """An open file of N images; features are read when asked for, and checked to be whole and finite."""

    path: Path
    lineage: EmbeddingsLineage
    keys: tuple[str, ...]
    pids: NDArray[np.int64]
    camids: NDArray[np.int64]
    query_count: int
    global_names: tuple[str, ...]
    group_names: tuple[str, ...]

    @property
    def has_parts(self) -> bool:
        """Whether there are group features and confidences."""
        return bool(self.group_names)

    def rows(self, split: Split) -> slice:
        """Return where the images of "query" or "gallery" stand."""
        return slice(0, self.query_count) if split == "query" else slice(self.query_count, len(self.keys))

    def read(self, name: str, rows: slice | Sequence[int]) -> NDArray[np.float32]:
        """Return `name` (a global name, "groups" or "confidence") of ascending `rows`, float32."""
        with _opened(self.path) as file:
            return self._read(file, name, rows)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the file."""
        return sha256_of(self.path)

    def features(self, split: Split) -> Features:
        """Read a split into memory, scaled to unit length."""
        rows = self.rows(split)
        unit = self.unit_globals(rows)
        if not self.has_parts:
            return Features(unit, len(self.global_names))
        with _opened(self.path) as file:
            groups = self._unit_groups(file, rows)
            confidence = self._confidence(file, rows)
        return Features(unit, len(self.global_names), groups, confidence)

    def unit_globals(self, rows: slice) -> torch.Tensor:
        """Read the global features side by side, each of unit length: n×(S·C)."""
        with _opened(self.path) as file:
            return self._unit_globals(file, rows)

    def parts_at(self, rows: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Read unit group features G×n×C and confidences n×G of ascending `rows`."""
        with _opened(self.path) as file:
            groups = F.normalize(torch.from_numpy(self._read(file, GROUPS, rows)), dim=-1)
            return groups.transpose(0, 1).contiguous(), self._confidence(file, rows)

    def _confidence(self, file: h5py.File, rows: slice | Sequence[int]) -> torch.Tensor:
        confidence = torch.from_numpy(self._read(file, CONFIDENCE, rows))
        if (confidence < 0).any():
            raise StoreError(f"{self.path}: a confidence is negative; {_FIX}")
        return confidence

    def _unit_globals(self, file: h5py.File, rows: slice) -> torch.Tensor:
        channels = file[self.global_names[0]].shape[1]
        unit = torch.empty(rows.stop - rows.start, len(self.global_names), channels)
        for place, name in enumerate(self.global_names):
            self._read_unit(file, name, rows, unit[:, place])
        return unit.flatten(1)

    def _unit_groups(self, file: h5py.File, rows: slice) -> torch.Tensor:
        groups, channels = file[GROUPS].shape[1:]
        unit = torch.empty(groups, rows.stop - rows.start, channels)
        self._read_unit(file, GROUPS, rows, unit.transpose(0, 1))
        return unit

    def _read_unit(self, file: h5py.File, name: str, rows: slice, target: torch.Tensor) -> None:
        """Read block by block and scale, so that memory holds the features once."""
        step = max(1, _READ_BYTES // (4 * int(np.prod(target.shape[1:]))))
        for start in range(rows.start, rows.stop, step):
            block = slice(start, min(start + step, rows.stop))
            read = torch.from_numpy(self._read(file, name, block))
            target[start - rows.start : block.stop - rows.start] = F.normalize(read, dim=-1)

    def _read(self, file: h5py.File, name: str, rows: slice | Sequence[int]) -> NDArray[np.float32]:
        # h5py takes ascending places only.
        values: NDArray[np.float32] = file[name][rows]
        if not np.isfinite(values).all():
            wrong = int((~np.isfinite(values)).reshape(len(values), -1).any(axis=1).argmax())
            key = self.keys[np.arange(len(self.keys))[rows][wrong]]
            raise StoreError(f"{self.path}: {name} of image {key!r} is not finite (NaN or infinite); {_FIX}")
        return values


_FIX = "make it again with `pirt-eval --run`"


def open_embeddings(path: Path) -> Embeddings:
    """Open a file that `write_embeddings` made; anything else is a `StoreError`."""
    with _opened(path, whole=True) as file:
        lineage = _lineage(file, path)
        keys = tuple(key.decode() for key in _column(file, "keys", "S"))
        splits = _column(file, "splits", "S")
        query_count = int((splits == b"query").sum())
        if (splits[:query_count] != b"query").any() or (splits[query_count:] != b"gallery").any():
            raise StoreError(f"{path}: its splits are not the queries and then the gallery; {_FIX}")
        found = Embeddings(
            path=path,
            lineage=lineage,
            keys=keys,
            pids=_column(file, "pids", "i"),
            camids=_column(file, "camids", "i"),
            query_count=query_count,
            global_names=_GLOBAL_NAMES[1] if lineage.model.inter_layers else _GLOBAL_NAMES[0],
            group_names=tuple(name for name, _ in lineage.model.part_groups),
        )
        _check_shapes(file, found)
    return found


def _lineage(file: h5py.File, path: Path) -> EmbeddingsLineage:
    try:
        return EmbeddingsLineage.model_validate(unsealed(_text(file.attrs[ATTRIBUTES])))
    except KeyError:
        raise StoreError(f"{path} is an HDF5 file but not embeddings of pirt-eval; {_FIX}") from None
    except ValidationError as error:
        raise StoreError(f"{path} is not of this version: {first_problem(error)}; {_FIX}") from error
    except ValueError as error:
        raise StoreError(f"{path}: {ATTRIBUTES}: {error}; {_FIX}") from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("it is not a text")
    return value


def _column(file: h5py.File, name: str, kind: str) -> Array:
    dataset = _dataset(file, name, kind)
    if dataset.ndim != 1:
        raise StoreError(f"{file.filename}: {name} has {dataset.ndim} dimensions, expected 1; {_FIX}")
    column: Array = dataset[:]
    return column


def _dataset(file: h5py.File, name: str, kind: str) -> h5py.Dataset:
    # Whoever made the file could name others through it: links, storage elsewhere, datasets of datasets.
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise StoreError(f"{file.filename}: {name} is missing or links elsewhere; {_FIX}")
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind != kind:
        found = getattr(dataset, "dtype", "a folder")
        raise StoreError(f"{file.filename}: {name} is {found}, expected an array of another type; {_FIX}")
    if dataset.external or dataset.is_virtual:
        raise StoreError(f"{file.filename}: {name} lies in other files; {_FIX}")
    # What was never written reads as zeros, however many are said to be there.
    if not dataset.nbytes <= dataset.id.get_storage_size() <= file.id.get_filesize():
        raise StoreError(
            f"{file.filename}: {name} should have {dataset.nbytes:,} bytes, which the file does not hold; {_FIX}"
        )
    return dataset


def _check_shapes(file: h5py.File, found: Embeddings) -> None:
    count = len(found.keys)
    channels = _dataset(file, found.global_names[0], "f").shape[-1]
    expected: dict[str, tuple[int, ...]] = {"pids": (count,), "camids": (count,)}
    expected |= dict.fromkeys(found.global_names, (count, channels))
    if found.has_parts:
        groups = len(found.group_names)
        expected |= {GROUPS: (count, groups, channels), CONFIDENCE: (count, groups)}
    for name, shape in expected.items():
        dataset = _dataset(file, name, "i" if name in ("pids", "camids") else "f")
        if dataset.shape != shape:
            raise StoreError(f"{found.path}: {name} has shape {dataset.shape}, expected {shape}; {_FIX}")


@contextmanager
def _opened(path: Path, *, whole: bool = False) -> Iterator[h5py.File]:
    """Open for reading, if asked only what is whole; a missing or damaged file becomes a `StoreError`."""
    try:
        if whole:  # in a damaged file the HDF5 library may loop for ever
            require_seal(path)
        with h5py.File(path, "r") as file:
            yield file
    except FileNotFoundError:
        raise StoreError(f"embeddings {path} do not exist; {_FIX}") from None
    except PirtError:
        raise
    except Exception as error:  # h5py raises most kinds, and what it reads may be of another form
        pass_on_refusal(error)
        reason = " ".join(str(error).split()).strip("'\"")
        raise StoreError(
            f"embeddings {path} are damaged or not of this version of pirt-eval: {reason}; {_FIX}"
        ) from error
