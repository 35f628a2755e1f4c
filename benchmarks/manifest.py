"""What a manifest of a million images costs, each step against a named baseline in the same run.

    python benchmarks/manifest.py [--images N]

Every part runs in a process of its own, so that its peak memory is its own. Prints Markdown.
"""

import argparse
import csv
import hashlib
import multiprocessing
import os
import platform
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pirt.core.keypoints import COCO_KEYPOINTS
from pirt.core.manifest import SPLITS, ImageRow, read_manifest, write_manifest
from pirt.heatmaps.schema import StoreAttributes
from pirt_stages.data.check import check_rows
from pirt_stages.pose.extraction.writer import create_store

IMAGES_A_PERSON = 20
ATTRIBUTES = StoreAttributes(
    keypoints=COCO_KEYPOINTS,
    codec="tau8",
    tau=0.001,
    input_size=(384, 128),
    trained_size=(256, 192),
    heatmap_size=(96, 32),
    geometry="resize",
    network="none",
    config_sha256="0" * 64,
    weights_sha256="0" * 64,
    precision="float32",
    flip_test=False,
    udp=False,
    batch_size=64,
    device="cpu",
)


def rows(count: int) -> Iterator[ImageRow]:
    """Make rows with names as Market-1501's, half of them to train."""
    for image in range(count):
        pid, camid = image // IMAGES_A_PERSON + 1, image % 8
        split = SPLITS[0 if pid % 2 else 1 + (image % IMAGES_A_PERSON > 2)]
        name = f"{pid:06}_c{camid}s1_{image:07}_00.jpg"
        sha256 = hashlib.sha256(name.encode()).hexdigest()
        yield ImageRow(f"{split}/{name}", f"bounding_box_{split}/{name}", split, pid, camid, sha256)


def csv_reader(path: Path) -> Callable[[], object]:
    """The baseline: the file through `csv.reader`, nothing kept."""

    def work() -> None:
        with path.open(newline="", encoding="utf-8") as file:
            for _ in csv.reader(file):
                pass

    return work


def read(path: Path) -> Callable[[], object]:
    """`read_manifest`, checks included."""
    return lambda: read_manifest(path)


def fingerprint(path: Path) -> Callable[[], object]:
    """The fingerprint of a manifest that was read."""
    manifest = read_manifest(path)
    return lambda: manifest.fingerprint


def write(path: Path) -> Callable[[], object]:
    """What an import does once the images are hashed."""
    manifest = read_manifest(path)
    return lambda: write_manifest(path.with_name("written.csv"), manifest.rows, Path("data"))


def check(path: Path) -> Callable[[], object]:
    """`pirt-data check` without the images."""
    manifest = read_manifest(path)
    return lambda: check_rows(manifest.rows)


def create(path: Path) -> Callable[[], object]:
    """A store is begun, before its first heatmap."""
    manifest = read_manifest(path)
    return lambda: create_store(path.with_name("heatmaps.zarr"), manifest.rows, ATTRIBUTES, 256)


PARTS = (csv_reader, read, fingerprint, write, check, create)


def measured(part: Callable[[Path], Callable[[], object]], path: Path) -> tuple[float, float]:
    """Return the processor time of a part's work in seconds, and the most memory that this process has held, in MB."""
    work = part(path)
    began = time.process_time()
    work()
    return time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def main() -> None:
    """Measure every part once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1_000_000)
    count = parser.parse_args().images
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}; {count:,} images\n")
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "manifest.csv"
        write_manifest(path, rows(count), Path("data"))
        print("| | processor time, s | ratio | peak memory, MB |\n|---|---|---|---|")
        baseline = None
        for part in PARTS:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                seconds, megabytes = pool.apply(measured, (part, path))
            baseline = baseline or seconds
            said = str(part.__doc__).removesuffix(".")
            print(f"| {said} | {seconds:.2f} | {seconds / baseline:.1f} | {megabytes:.0f} |", flush=True)


if __name__ == "__main__":
    main()
