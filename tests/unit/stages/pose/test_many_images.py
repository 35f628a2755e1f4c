"""As many images as Occluded-DukeMTMC has, from one pixel to normal size, in memory that does not grow with them."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pose_people import TinyNetwork

from pirt.core.files import sha256_of
from pirt.core.manifest import ImageRow, write_manifest
from pirt.heatmaps.reader import open_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

FEW, MANY = 3_000, 35_489
SIZES = [(1, 1), (1, 90), (7, 3), (64, 128), (128, 256), (200, 500)]
PROGRAM = """
import resource, sys
from pirt_stages.pose.cli import main
main(sys.argv[1:], standalone_mode=False)
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def _peak_megabytes(folder: Path, tiny: TinyNetwork, count: int) -> int:
    chance = np.random.default_rng(0)
    for index, (width, height) in enumerate(SIZES):
        pixels = chance.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    digests = [sha256_of(folder / f"{index}.png") for index in range(len(SIZES))]
    places = [n % len(SIZES) for n in range(count)]
    rows = [ImageRow(f"train/{n}", f"{place}.png", "train", 1, 1, digests[place]) for n, place in enumerate(places)]
    write_manifest(folder / f"{count}.csv", rows, folder)
    network = ["--config", tiny.config, "--checkpoint", tiny.checkpoint, "--input-size", 64, 32]
    command = ["extract", "--manifest", folder / f"{count}.csv", "--out", folder / f"{count}.zarr", *network]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
    program = [sys.executable, "-c", PROGRAM, *map(str, command)]
    done = subprocess.run(program, check=True, capture_output=True, text=True, env=environment)
    return int(done.stdout.rpartition("peak ")[2])


def test_memory_does_not_grow_with_the_number_of_images(tiny: TinyNetwork, tmp_path: Path) -> None:
    few, many = _peak_megabytes(tmp_path, tiny, FEW), _peak_megabytes(tmp_path, tiny, MANY)
    store = open_store(tmp_path / f"{MANY}.zarr")
    assert len(store.keys) == MANY
    last = store.read(slice(MANY - len(SIZES), MANY))
    assert np.allclose(last, np.roll(store.read(slice(0, len(SIZES))), -(MANY % len(SIZES)), axis=0), atol=0.02)
    # The manifest itself, its rows and paths, is what grows; the heatmaps alone would be 280 MB more.
    assert many - few < 80, (few, many)
