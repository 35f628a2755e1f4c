"""Loaders: what their processes may take, and what a signal does to them."""

import subprocess
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pirt.core.errors import StoreError
from pirt.core.manifest import ImageRow, write_manifest
from pirt.runs import loading
from pirt.runs.dataset import PersonDataset, batches_of
from pirt.runs.transforms import EvalTransform

Disk = namedtuple("Disk", "total used free")


@pytest.fixture
def dataset(tmp_path: Path) -> PersonDataset:
    rows = [ImageRow(f"{number}.png", f"{number}.png", "query", 1, 0, "") for number in range(8)]
    for row in rows:
        Image.fromarray(np.zeros((8, 4, 3), np.uint8)).save(tmp_path / row.path)
    return PersonDataset(write_manifest(tmp_path / "manifest.csv", rows, tmp_path), rows, None, EvalTransform((8, 4)))


def test_loader_processes_go_on_when_the_whole_group_is_told_to_stop(dataset: PersonDataset) -> None:
    # The signals come before a process has begun to load: what it inherits must hold until it ignores them.
    batches = iter(loader := loading.make_loader(dataset, 1, 2, on_gpu=False))
    workers = batches._workers  # type: ignore[attr-defined]
    assert len(workers) == 2
    told = " ".join(str(worker.pid) for worker in workers)
    # From another process than their parent, as these signals come.
    subprocess.run(["sh", "-c", f"kill -TERM {told}; kill -INT {told}"], check=True)
    assert sum(1 for _ in batches) == 8
    assert len(list(batches_of(loader))) == 8


def test_loader_processes_go_when_nobody_asks_any_more(dataset: PersonDataset) -> None:
    batches = iter(loading.make_loader(dataset, 1, 1, on_gpu=False))
    next(batches)
    (worker,) = batches._workers  # type: ignore[attr-defined]
    del batches
    worker.join(timeout=60)
    assert not worker.is_alive()


def test_loader_processes_end_when_their_parent_ends_them(dataset: PersonDataset) -> None:
    # multiprocessing does so at exit, and waits for them without limit.
    batches = iter(loading.make_loader(dataset, 1, 1, on_gpu=False))
    next(batches)
    (worker,) = batches._workers  # type: ignore[attr-defined]
    worker.terminate()
    worker.join(timeout=60)
    assert worker.exitcode == 0


def test_batches_that_shared_memory_cannot_hold_are_refused(
    dataset: PersonDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 8×4×3 bytes an image and 17 float32 of heatmaps without a store; 2 processes × 4 batches × 3 images.
    needed = 2 * 4 * 3 * (96 + 68)
    for free in (needed, needed - 1):
        monkeypatch.setattr("shutil.disk_usage", lambda _, free=free: Disk(1 << 30, 0, free))
        if free == needed:
            loading.make_loader(dataset, 3, 2, on_gpu=False)
            continue
        with pytest.raises(StoreError, match=r"the batches of 2 loader processes need .* take fewer --workers"):
            loading.make_loader(dataset, 3, 2, on_gpu=False)


@pytest.mark.parametrize(("cores", "expected"), [(1, (1, 0)), (2, (2, 1)), (4, (4, 1)), (32, (8, 1))])
def test_workers_are_as_many_as_the_cores_allow(
    monkeypatch: pytest.MonkeyPatch, cores: int, expected: tuple[int, int]
) -> None:
    monkeypatch.setattr(loading, "cores", lambda: cores)
    assert (loading.default_workers(on_gpu=True), loading.default_workers(on_gpu=False)) == expected
