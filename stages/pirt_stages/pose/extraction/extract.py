"""The recipe of `pirt-pose extract`: every image through the network once, into a store of heatmaps.

A shard of the store is the unit of work. Batches never cross shards, so what a row holds does not depend on where a
run was taken up again, nor on which machine computed it.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pirt.core.errors import DataError, ParamsError
from pirt.core.keypoints import COCO_KEYPOINTS
from pirt.core.manifest import Manifest
from pirt.heatmaps.codec import CodecName, decode_table
from pirt.heatmaps.schema import StoreAttributes
from pirt.progress import Bar, note, progress
from pirt_stages.pose.extraction.geometry import Geometry, other_size
from pirt_stages.pose.extraction.inference import (
    Device,
    NetworkSource,
    find_geometry,
    find_network,
    load_network,
    spanning_heatmaps,
)
from pirt_stages.pose.extraction.params import ExtractParams
from pirt_stages.pose.extraction.reading import Reader, find_bad_images, require_enough
from pirt_stages.pose.extraction.reuse import Taken, open_reusable, reusable_of_replaced, taken_from
from pirt_stages.pose.extraction.running import NetworkThreads
from pirt_stages.pose.extraction.writer import StoreWriter, create_store

SHARD_SIZE = 256  # images: what a kill costs at most, against files of a handy size
_WRITERS = 4
"""Shards encoded and flushed to disk at once: one after another they come more slowly than a GPU makes them."""
BATCH_SIZE: dict[Device, int] = {"cpu": 16, "cuda": 64}
"""The fastest on each device: with more, a CPU spends more on mapping memory than the batch gains."""


@dataclass(frozen=True)
class Work:
    """Everything that computing a shard needs; it is sent to the workers of a cluster."""

    writer: StoreWriter
    paths: dict[int, Path | None]
    """One image per row; None where the image is bad and skipped."""
    network: NetworkSource
    geometry: Geometry
    threads: int
    taken: Taken = field(default_factory=Taken)
    """The rows that an earlier store has; only the others are computed."""

    def part(self, shard: int) -> "Work":
        """Return what one shard needs, which stays small however many images there are."""
        rows = self.writer.rows(shard)
        return replace(self, paths={row: self.paths[row] for row in rows}, taken=self.taken.part(rows))


@dataclass(frozen=True)
class ExtractOptions:
    """The options of `pirt-pose extract` beside its parameters; only the device among them changes bytes."""

    skip_bad: bool
    restart: bool
    workers: int
    device: Device
    reuse: Path | None = None
    """An earlier store to take rows from, instead of the one that is replaced."""


def extract(
    manifest: Manifest,
    out: Path,
    params: ExtractParams,
    options: ExtractOptions,
    runner: AbstractContextManager[Callable[["Work"], None]] | None = None,
) -> Work:
    """Write the store of all images of `manifest` at `out`, going on with an unfinished one.

    `runner` computes a work elsewhere, on machines that need not be like this one; without it, this one does.
    """
    _require_tau(params.codec, params.tau)
    if not out.name:
        raise ParamsError(f"--out {out} cannot name a store; pass a name such as heatmaps.zarr")
    source = find_network(
        params.config, params.checkpoint, params.precision, options.device, flip_test=params.flip_test
    )
    geometry = find_geometry(source, params.geometry, params.input_size)
    if said := other_size(source.name, source.trained_size, geometry.input_size):
        note(said)
    batch_size = params.batch_size or BATCH_SIZE[options.device]
    # This machine need not have the device of a cluster's workers.
    asked = source if runner is None else replace(source, device="cpu", precision="float32")
    heatmap_size = _heatmap_size(asked, geometry)
    # The runner first: that a cluster is not there is told at once, not after all images were checked.
    with runner or nullcontext(run_here) as run:
        # Before the network runs for hours, so that all bad images are named at once.
        bad = find_bad_images(manifest, geometry, options.workers)
        require_enough(bad, len(manifest.rows), skip_bad=options.skip_bad)
        attributes = StoreAttributes(
            keypoints=COCO_KEYPOINTS,
            codec=params.codec,
            tau=params.tau,
            input_size=geometry.input_size,
            trained_size=source.trained_size,
            heatmap_size=heatmap_size,
            geometry=geometry.name,
            network=source.name,
            config_sha256=source.config_sha256,
            weights_sha256=source.weights_sha256,
            precision=source.precision,
            flip_test=source.flip_test,
            udp=geometry.udp,
            batch_size=batch_size,
            device=source.device,
            skipped=bad,
        )
        # Absolute, for a cluster's workers have folders of their own.
        earlier = None if options.reuse is None else open_reusable(options.reuse.absolute(), attributes)
        writer = create_store(out.absolute(), manifest.rows, attributes, SHARD_SIZE, restart=options.restart)
        # The new store lies in a folder of its own until it is sealed; the one that it replaces is still there.
        if earlier is None and not writer.finished:
            earlier = reusable_of_replaced(writer.path, attributes)
        taken = taken_from(earlier, manifest.rows, writer.layout)
        skipped = {image.key for image in bad}
        paths = {
            number: None if row.key in skipped else manifest.image_path(row).absolute()
            for number, row in enumerate(manifest.rows)
        }
        work = Work(writer, paths, source, geometry, options.workers, taken)
        if earlier is not None:
            _tell_taken(work, earlier.path)
        run(work)
    writer.seal()
    return work


def run_here(work: Work) -> None:
    """Compute what is missing on this machine: threads decode, others run the network, others encode and write."""
    pending = work.writer.pending()
    writing: deque[Future[None]] = deque()
    with bar_over(work, pending) as progress, ThreadPoolExecutor(_WRITERS, thread_name_prefix="write") as pool:
        for shard, heatmaps in computed(work, pending, progress):
            # More would pile up in memory where the disk is slower than the network.
            if len(writing) == _WRITERS:
                writing.popleft().result()
            writing.append(pool.submit(work.writer.write, shard, heatmaps, work.taken))
        for last in writing:
            # Raises what the write did, which the pool keeps to itself.
            last.result()


def bar_over(work: Work, pending: Iterable[int]) -> Bar:
    """Return a bar over all images that starts where an earlier run stopped."""
    left = sum(len(work.writer.rows(shard)) for shard in pending)
    count = len(work.paths)
    return progress(count, "heatmaps", "image", initial=count - left)


def computed(
    work: Work, shards: Iterable[int], progress: "Bar | None" = None
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield each shard with the raw heatmaps n×K×Hm×Wm of its rows that are not taken from an earlier store."""
    # Gone through twice: to read ahead, and to put together what comes.
    shards = tuple(shards)
    with Reader(work.geometry, work.threads) as reader, NetworkThreads(work.network, work.geometry) as network:
        inputs = reader.ahead(_filled(work, batch) for shard in shards for batch in _batches(work, shard))
        made = network.heatmaps(inputs)
        for shard in shards:
            # A shard of which all rows are taken has no batch, and np.concatenate needs a part.
            parts = [np.empty((0, *work.writer.layout.image_shape), np.float32)]
            for batch in _batches(work, shard):
                parts.append(next(made)[: len(batch.rows)])
                if progress is not None:
                    progress.update(len(batch.rows))
            if progress is not None:
                progress.update(len(work.writer.rows(shard)) - sum(map(len, parts)))
            yield shard, np.concatenate(parts)


class _Batch(NamedTuple):
    """Rows that the network sees together, and the number of images that it sees, of which the others are black."""

    rows: list[int]
    length: int


def _batches(work: Work, shard: int) -> Iterator[_Batch]:
    """Yield the rows to compute in as few batches as their lengths allow, which decide a heatmap's last bits."""
    lengths: dict[int, list[int]] = {}
    for batch in work.writer.layout.batches(shard):
        lengths.setdefault(len(batch), []).extend(work.taken.left_of(batch))
    for length, rows in lengths.items():
        yield from (_Batch(rows[start : start + length], length) for start in range(0, len(rows), length))


def _filled(work: Work, batch: _Batch) -> list[Path | None]:
    return [work.paths[row] for row in batch.rows] + [None] * (batch.length - len(batch.rows))


def _tell_taken(work: Work, earlier: Path) -> None:
    rows = [row for shard in work.writer.pending() for row in work.writer.rows(shard)]
    left = len(work.taken.left_of(rows))
    note(f"{len(rows) - left} rows are taken from {earlier}, {left} are computed")


def _require_tau(codec: CodecName, tau: float) -> None:
    if not 0 < tau < 1:
        raise ParamsError(f"tau = {tau}: expected a threshold between 0 and 1")
    if codec == "tau8":
        decode_table(tau)  # raises when 8 bits cannot keep it


def _heatmap_size(source: NetworkSource, geometry: Geometry) -> tuple[int, int]:
    """Ask the network itself, with one black image."""
    black = np.zeros((1, *geometry.input_size, 3), dtype=np.uint8)
    size = np.array([geometry.input_size[::-1]])
    network = load_network(source)
    try:
        heatmaps = spanning_heatmaps(network, geometry, black, size, flip_test=False)
    except RuntimeError as error:
        raise ParamsError(
            f"network {source.name} cannot take images of {geometry.input_size} ({str(error).splitlines()[0]}); "
            "change --input-size"
        ) from error
    if heatmaps.shape[1] != len(COCO_KEYPOINTS):
        raise DataError(f"network {source.name} gives {heatmaps.shape[1]} heatmaps, expected COCO's 17")
    return heatmaps.shape[2], heatmaps.shape[3]
