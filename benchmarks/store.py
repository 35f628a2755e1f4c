"""What heatmaps cost on disk, how fast they come into shared memory, and what they cost the loader.

    pirt-pose extract --manifest M.csv --codec float32 --out float32.zarr ...
    python benchmarks/store.py --manifest M.csv --heatmaps float32.zarr

Every number has a named baseline in the same run, and ratios are of CPU seconds, which other work on the machine
changes least. The store must be float32, for only that holds what the network said. Prints Markdown.
"""

import multiprocessing
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import click
import numpy as np
import torch
import zarr
from numpy.typing import NDArray

from pirt.core.manifest import ImageRow, Manifest, read_manifest
from pirt.heatmaps.codec import CodecName, decode, encode
from pirt.heatmaps.reader import HeatmapStore, open_store
from pirt.runs.cache import HeatmapCache, load_heatmaps, store_for
from pirt.runs.dataset import PersonDataset, batches_of
from pirt.runs.loading import make_loader
from pirt.training.augmentation import TrainTransform
from pirt.training.sampler import PKSampler
from pirt_stages.pose.extraction.writer import create_store

Values = NDArray[np.float32]
BULK_IMAGES = 8_192
BATCHES = 6
LOADER_ROUNDS = 10
SHARD_SIZE = 256
ROUNDS = 3
PAPER_HEATMAPS = (96, 32)


def best_of(*works: Callable[[], object]) -> list[tuple[float, float]]:
    """Return each one's least seconds on the clock and of CPU, over several rounds in turns."""
    taken: list[list[tuple[float, float]]] = [[] for _ in works]
    for _ in range(ROUNDS):
        for work, times in zip(works, taken, strict=True):
            clock, cpu = time.perf_counter(), time.process_time()
            work()
            times.append((time.perf_counter() - clock, time.process_time() - cpu))
    return [(min(clock for clock, _ in times), min(cpu for _, cpu in times)) for times in taken]


def write(path: Path, store: HeatmapStore, manifest: Manifest, values: Values, codec: CodecName) -> Path:
    """Write `values`, over and over until every row of `manifest` has some, as a store."""
    size = values.shape[2:]
    changed = {"codec": codec, "skipped": (), "heatmap_size": size}
    writer = create_store(path, manifest.rows, store.attributes.model_copy(update=changed), SHARD_SIZE)
    for shard in writer.pending():
        writer.write(shard, values[np.array(writer.rows(shard)) % len(values)])
    return writer.seal()


def enlarged(values: Values) -> Values:
    """Return heatmaps of the paper's size: 96×32, interpolated."""
    larger: Values = torch.nn.functional.interpolate(torch.from_numpy(values), PAPER_HEATMAPS, mode="bilinear").numpy()
    return larger


def disk(folder: Path, store: HeatmapStore, manifest: Manifest, values: Values) -> Iterator[str]:
    """Bytes an image, and what each codec does to the mask M > τ."""
    tau = np.float32(store.attributes.tau)
    raw = values[0].nbytes
    yield f"{len(values):,} images, {' × '.join(map(str, values.shape[1:]))}, as the network gave them."
    yield ""
    yield "| codec | bytes an image | of raw float32 | mask cells changed | highest relative error above τ |"
    yield "|---|---|---|---|---|"
    yield f"| raw float32 | {raw:,} | 1 | 0 | 0 |"
    linear = np.round(values.clip(0, 1) * 255).astype(np.uint8).astype(np.float32) / 255
    yield f"| 8 bit linear, raw | {raw // 4:,} | 0.25 | {_changed(values, linear, tau)} |"
    for codec in get_args(CodecName):
        path = write(folder / f"{codec}.zarr", store, manifest, values, codec)
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / len(values)
        clipped = values.clip(0, 1)
        seen = decode(encode(clipped, codec, float(tau)), codec, float(tau))
        yield f"| `{codec}` | {size:,.0f} | {size / raw:.3f} | {_changed(clipped, seen, tau)} |"


def _changed(values: Values, seen: Values, tau: np.float32) -> str:
    mask = values > tau
    changed = (mask != (seen > tau)).mean()
    error = np.abs(seen[mask].astype(np.float64) / values[mask] - 1).max()
    return f"{changed:.1e} | {error:.2%}" if changed else f"0 | {error:.2%}"


def bulk(folder: Path, store: HeatmapStore, values: Values) -> Iterator[str]:
    """Heatmaps into shared memory, against zarr's own reading and a file an image."""
    rows = tuple(ImageRow(f"train/{i:06}", f"{i:06}", "train", i, 0, "") for i in range(BULK_IMAGES))
    manifest = Manifest(rows, folder)
    path = write(folder / "bulk.zarr", store, manifest, values, "tau8")
    array = zarr.open_group(path, mode="r")["heatmaps"]
    assert isinstance(array, zarr.Array)
    unsealed = replace(store_for(path, manifest), seal=None)
    files = [folder / f"{i}.npy" for i in range(1024)]
    for file, image in zip(files, np.resize(values, (1024, *values.shape[1:])), strict=True):
        np.save(file, image)
    ways = {
        "a float32 `.npy` an image, `np.load`": (len(files), lambda: [np.load(file) for file in files]),
        "tau8 store, zarr's own reading": (BULK_IMAGES, lambda: _by_zarr(array)),
        "tau8 store, `load_heatmaps`": (BULK_IMAGES, lambda: load_heatmaps(store_for(path, manifest), rows)),
        "the same, whatever shard it is": (BULK_IMAGES, lambda: load_heatmaps(unsealed, rows)),
    }
    times = best_of(*(work for _, work in ways.values()))
    counts = [count for count, _ in ways.values()]
    first = counts[0] / times[0][1]
    shape = " × ".join(map(str, values.shape[1:]))
    yield f"{BULK_IMAGES:,} images of {shape}, files in the page cache, best of {ROUNDS}:"
    yield ""
    yield "| | heatmaps/s | images/s | images a CPU second | ratio of the latter |"
    yield "|---|---|---|---|---|"
    for name, count, (clock, cpu) in zip(ways, counts, times, strict=True):
        rates = f"{count * values.shape[1] / clock:,.0f} | {count / clock:,.0f} | {count / cpu:,.0f}"
        yield f"| {name} | {rates} | {count / cpu / first:.2f} |"
    yield ""
    yield _copies(load_heatmaps(store_for(path, manifest), rows))


def _by_zarr(array: "zarr.Array[zarr.core.metadata.ArrayV3Metadata]") -> None:
    shared = torch.empty(array.shape, dtype=torch.uint8)
    shared.share_memory_()  # type: ignore[no-untyped-call]  (torch has no types for it)
    codes = shared.numpy()
    for start in range(0, array.shape[0], SHARD_SIZE):
        codes[start : start + SHARD_SIZE] = array[start : start + SHARD_SIZE]


def _copies(cache: HeatmapCache) -> str:
    """Say how much memory the codes take in all, when several processes have read all of them."""
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(3)
    shares = context.Queue()

    def worker() -> None:
        torch.set_num_threads(1)
        cache.codes.sum()
        barrier.wait()
        shares.put(_shared_share())
        barrier.wait()

    workers = [context.Process(target=worker) for _ in range(2)]
    for process in workers:
        process.start()
    barrier.wait()
    total = _shared_share() + sum(shares.get() for _ in workers)
    barrier.wait()
    size = cache.codes.numel() * cache.codes.element_size()
    return (
        f"Three processes that have all read all {size / 2**20:.0f} MiB of codes hold {total / 2**20:.0f} MiB of "
        f"shared memory together: {total / size:.2f} copies."
    )


def _shared_share() -> int:
    """Return this process's proportional share of shared memory in bytes."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss_Shmem:"):
            return int(line.split()[1]) * 1024
    raise OSError("this kernel does not tell Pss_Shmem")


def loader(manifest: Manifest, path: Path) -> Iterator[str]:
    """The training loader with heatmaps, on four times finer images, over the same one without."""
    rows = manifest.split("train")
    cache = load_heatmaps(store_for(path, manifest), rows)
    height, width = (4 * side for side in cache.size)
    transform = TrainTransform((height, width))
    yield f"Images {height}×{width}, heatmaps {cache.size[0]}×{cache.size[1]}, all augmentations, batches of 16×4:"
    yield ""
    yield "| images | a CPU second, without heatmaps | with | ratio |"
    yield "|---|---|---|---|"
    for name in ("decoded every time", "decoded once"):
        datasets = [PersonDataset(manifest, rows, heatmaps, transform) for heatmaps in (None, cache)]
        if name == "decoded once":
            for dataset in datasets:
                dataset.hold_pixels()
        without, with_heatmaps = _least_cpu(datasets)
        images = BATCHES * 64
        ratio = without / with_heatmaps
        yield f"| {name} | {images / without:,.0f} | {images / with_heatmaps:,.0f} | {ratio:.2f} |"


def _least_cpu(datasets: Sequence[PersonDataset]) -> list[float]:
    """Return each dataset's CPU seconds for the same batches: each batch's least over the rounds, taken in turns."""
    times = np.empty((LOADER_ROUNDS, len(datasets), BATCHES))
    for round_times in times:
        # In this process, so that its CPU seconds are all there are.
        loaders = [batches_of(make_loader(dataset, _sampler(dataset), 0, on_gpu=False)) for dataset in datasets]
        for batch in range(BATCHES):
            for place, batches in enumerate(loaders):
                began = time.process_time()
                next(batches)
                round_times[place, batch] = time.process_time() - began
    least: list[float] = times.min(axis=0).sum(axis=1).tolist()
    return least


def _sampler(dataset: PersonDataset) -> PKSampler:
    return PKSampler(dataset.labels, by="images", identities=16, instances=4, seed=0)


@click.command()
@click.option("--manifest", "manifest_path", type=click.Path(path_type=Path), required=True)
@click.option("--heatmaps", type=click.Path(path_type=Path), required=True, help="A store of codec float32.")
def main(manifest_path: Path, heatmaps: Path) -> None:
    """Print the tables as Markdown."""
    manifest, store = read_manifest(manifest_path), open_store(heatmaps)
    if store.attributes.codec != "float32":
        raise click.UsageError(f"{heatmaps} has codec {store.attributes.codec}; make one with --codec float32")
    values = store.read(slice(None))
    torch.set_num_threads(1)
    cores = multiprocessing.cpu_count()
    print(f"{platform.machine()}, {cores} cores, torch {torch.__version__}, zarr {zarr.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        paper = write(Path(folder) / "paper.zarr", store, manifest, enlarged(values), "tau8")
        parts = {
            "Bytes an image": disk(Path(folder), store, manifest, values),
            "Bulk read": bulk(Path(folder), store, enlarged(values)),
            "Loader, paper's size": loader(manifest, paper),
            "Loader, the store's size": loader(manifest, Path(folder) / "tau8.zarr"),
        }
        for title, lines in parts.items():
            print(f"\n## {title}\n", flush=True)
            for line in lines:
                print(line, flush=True)


if __name__ == "__main__":
    main()
