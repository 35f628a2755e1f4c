"""Writers that are killed: what they leave is resumed to the very bytes of an uninterrupted run."""

import errno
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from folder_contents import contents

from pirt.core.errors import StoreError
from pirt.core.manifest import ImageRow
from pirt.heatmaps.reader import open_store, partial_path
from pirt.heatmaps.schema import StoreAttributes
from pirt_stages.pose.extraction.writer import StoreWriter, create_store

Begin = Callable[..., StoreWriter]
Fill = Callable[[StoreWriter], Path]


def in_child(work: Callable[[], object]) -> int:
    """Start `work` in a child process and return the child's id."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return child


def was_killed(child: int) -> bool:
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def dying_at(step: int, work: Callable[[], object]) -> None:
    """Do `work`, but be killed just before its `step`-th rename or flush."""
    left = [step]

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return real(*arguments)

        return call

    Path.replace = counted(Path.replace)  # type: ignore[assignment, method-assign]
    os.fsync = counted(os.fsync)  # type: ignore[assignment]
    work()


@pytest.mark.parametrize("apart", [8, pytest.param(1, marks=pytest.mark.slow)])
def test_a_kill_at_every_step(
    tmp_path: Path, begin: Begin, fill: Fill, store_path: Path, monkeypatch: pytest.MonkeyPatch, apart: int
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # only counted: it matters to power cuts, and is slow
    expected = contents(store_path)
    for step in range(0, 100, apart):
        path = tmp_path / f"{step}.zarr"
        if not was_killed(in_child(lambda: dying_at(step, lambda: fill(begin(path))))):  # noqa: B023
            break
        if not path.exists():
            with pytest.raises(StoreError, match=r"unfinished|does not exist"):
                open_store(path)
        assert contents(fill(begin(path))) == expected
        assert not partial_path(path).exists()
    # 7 files of metadata, 3 × 2 of shards and the seal, three steps each, and two renames of the folder.
    assert step >= 44


def test_sigkill_at_three_random_moments(tmp_path: Path, attributes: StoreAttributes) -> None:
    maps = np.random.default_rng(1).random((80, 17, 12, 8), np.float32)
    images = [ImageRow(f"train/{image}", f"{image}.png", "train", 1, 1, f"{image:064}") for image in range(80)]

    def written(path: Path) -> StoreWriter:
        writer = create_store(path, images, attributes, 2)
        for shard in writer.pending():
            writer.write(shard, maps[writer.rows(shard).start : writer.rows(shard).stop])
        return writer

    def without_end() -> None:
        written(tmp_path / "killed.zarr")
        signal.pause()  # so that a fast machine does not finish before the signal comes

    began = time.monotonic()
    written(tmp_path / "whole.zarr").seal()
    whole = time.monotonic() - began
    pending = []
    for _ in range(3):
        child = in_child(without_end)
        time.sleep(random.uniform(0, whole / 4))
        os.kill(child, signal.SIGKILL)
        assert was_killed(child)
        pending.append(len(create_store(tmp_path / "killed.zarr", images, attributes, 2).pending()))
    written(tmp_path / "killed.zarr").seal()
    assert pending == sorted(pending, reverse=True)
    assert contents(tmp_path / "killed.zarr") == contents(tmp_path / "whole.zarr")


def test_full_disk_is_one_line_and_resumed(
    tmp_path: Path, begin: Begin, fill: Fill, store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = begin(tmp_path / "s.zarr")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match="No space left on device; finished shards are kept") as error:
            fill(writer)
        assert "\n" not in str(error.value)
    assert writer.pending() == (0, 1, 2)
    assert contents(fill(begin(tmp_path / "s.zarr"))) == contents(store_path)
