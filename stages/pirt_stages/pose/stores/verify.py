"""The recipe of `pirt-pose verify`: every shard is read back and every claim of the store is checked."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pirt.core.errors import StoreError
from pirt.core.files import is_clutter
from pirt.core.manifest import ImageRow, Manifest
from pirt.heatmaps.codec import MAX_RELATIVE_ERROR, decode
from pirt.heatmaps.reader import HeatmapStore, open_store
from pirt.heatmaps.schema import METADATA, StoreAttributes
from pirt.progress import progress_over

Recompute = Callable[[Sequence[ImageRow]], NDArray[np.float32]]
"""Raw heatmaps n×K×Hm×Wm of the rows' images, from the network that made the store."""

# How far results of the same network may differ when another batch or machine adds in another order.
_NETWORK_TOLERANCE = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}
# A GPU convolves float32 in TF32, which has no more digits than float16, unless it is an older one.
_TF32_TOLERANCE = 1e-2
# float16 has 11 binary digits, and rounding errs by half of the last one.
_FLOAT16_ERROR = 2.0**-11


def verify(
    path: Path, manifest: Manifest | None = None, sample: int = 0, recompute: Recompute | None = None
) -> HeatmapStore:
    """Check the store at `path`, against `manifest` and by recomputing `sample` images where these are given.

    Every problem is collected; StoreError lists them all.
    """
    store = open_store(path)
    problems = [*_layout_problems(store), *_shard_problems(store)]
    # Where a shard is damaged already, the seal would only say it again.
    if not problems and not store.is_as_sealed():
        problems.append("its files are not those that were sealed (SHA-256)")
    if manifest is not None:
        problems += manifest_problems(store, manifest)
    if manifest is not None and recompute is not None and not problems:
        problems += _sample_problems(store, manifest, sample, recompute)
    if problems:
        raise StoreError("\n".join([f"{path}: {len(problems)} problems", *(f"  {problem}" for problem in problems)]))
    return store


def manifest_problems(store: HeatmapStore, manifest: Manifest) -> Iterator[str]:
    """Say which of the manifest's images the store lacks."""
    try:
        store.require_images(manifest)
    except StoreError as error:
        yield str(error)


def _layout_problems(store: HeatmapStore) -> Iterator[str]:
    shards = range(store.layout.shards)
    expected = {METADATA, *store.layout.fixed_files, *(file for shard in shards for file in store.layout.files(shard))}
    there = (
        file
        for file in store.path.rglob("*")
        if file.is_file() and not any(map(is_clutter, file.relative_to(store.path).parts))
    )
    found = {file.relative_to(store.path).as_posix() for file in there}
    yield from (f"{file} does not belong to it" for file in sorted(found - expected))
    if strangers := {image.key for image in store.skipped} - set(store.keys):
        yield f"skipped images {sorted(strangers)} are not among its keys"


def _shard_problems(store: HeatmapStore) -> Iterator[str]:
    for shard in progress_over(range(store.layout.shards), "verifying", "shard"):
        rows = store.layout.rows(shard)
        try:
            values = decode(store.read_shard(shard), store.attributes.codec, store.attributes.tau)
            scores = store.read_shard_scores(shard)
        except StoreError as error:
            yield str(error)
            continue
        yield from (
            f"shard {shard}: {problem}"
            for problem in _value_problems(
                store.attributes, values, scores, [row in store.skipped_rows for row in rows]
            )
        )


def _value_problems(
    attributes: StoreAttributes, values: NDArray[np.float32], scores: NDArray[np.float32], skipped: Sequence[bool]
) -> Iterator[str]:
    for name, numbers in (("heatmaps", values), ("scores", scores)):
        # Written so that NaN fails too.
        if not ((numbers >= 0) & (numbers <= 1)).all():
            yield f"{name} are not all within 0 and 1"
    if not np.isclose(values.max(axis=(2, 3)), scores, *_codec_error(attributes)).all():
        yield "scores are not the heatmaps' highest values"
    if values[np.array(skipped)].any():
        yield "a skipped image has heatmaps"


def _codec_error(attributes: StoreAttributes) -> tuple[float, float]:
    """Return the relative and absolute error that the codec may make."""
    relative = {"tau8": MAX_RELATIVE_ERROR, "float16": _FLOAT16_ERROR, "float32": 0.0}[attributes.codec]
    # tau8 reads all up to τ as 0, and float16's smallest numbers are 6e-8 apart.
    return relative, {"tau8": attributes.tau, "float16": 1e-7, "float32": 0.0}[attributes.codec]


def sampled(store: HeatmapStore, manifest: Manifest, sample: int) -> NDArray[np.int64]:
    """Return which rows of `manifest` are recomputed: `sample` of those with heatmaps, or all where there are fewer."""
    places = store.indices_of(manifest.rows).tolist()
    candidates = [number for number, place in enumerate(places) if place not in store.skipped_rows]
    # The same images each time, so that two runs can be compared.
    return np.sort(np.random.default_rng(0).permutation(np.array(candidates, np.int64))[:sample])


def _sample_problems(store: HeatmapStore, manifest: Manifest, sample: int, recompute: Recompute) -> Iterator[str]:
    chosen = sampled(store, manifest, sample)
    if not len(chosen):
        return
    places = store.indices_of(manifest.rows)
    fresh = recompute([manifest.rows[number] for number in chosen]).clip(0, 1)
    relative, absolute = _codec_error(store.attributes)
    allowed = relative * fresh + absolute + _network_tolerance(store.attributes)
    apart = np.abs(store.read(places[chosen]) - fresh)
    for number, image_apart, image_allowed in zip(chosen.tolist(), apart, allowed, strict=True):
        if (image_apart > image_allowed).any():
            yield f"{manifest.rows[number].key!r} recomputed differs by up to {image_apart.max():.4f}"


def _network_tolerance(attributes: StoreAttributes) -> float:
    tf32 = attributes.device == "cuda" and attributes.precision == "float32"
    return _TF32_TOLERANCE if tf32 else _NETWORK_TOLERANCE[attributes.precision]
