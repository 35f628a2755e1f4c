import contextlib
import errno
import json
import os
import pickle
import resource
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from folder_contents import contents
from numpy.typing import NDArray

from pirt.core.errors import PirtError, StoreError
from pirt.core.manifest import Manifest
from pirt.heatmaps.reader import open_store, partial_path
from pirt.heatmaps.schema import SkippedImage
from pirt_stages.pose.extraction.writer import StoreWriter, create_store

Begin = Callable[..., StoreWriter]
Fill = Callable[[StoreWriter], Path]
Heatmaps = NDArray[np.float32]


def write_one(writer: StoreWriter, shard: int, heatmaps: Heatmaps) -> None:
    rows = writer.rows(shard)
    writer.write(shard, heatmaps[rows.start : rows.stop])


def test_shards_are_the_units(tmp_path: Path, begin: Begin, heatmaps: Heatmaps) -> None:
    writer = begin(tmp_path / "s.zarr")
    assert writer.pending() == (0, 1, 2)
    assert [len(writer.rows(shard)) for shard in writer.pending()] == [8, 8, 5]
    write_one(writer, 1, heatmaps)
    assert writer.pending() == (0, 2)
    assert not (tmp_path / "s.zarr").exists()
    assert begin(tmp_path / "s.zarr").pending() == (0, 2)


def test_same_input_gives_same_bytes_in_any_order(tmp_path: Path, begin: Begin, fill: Fill, heatmaps: Heatmaps) -> None:
    backwards = begin(tmp_path / "b.zarr")
    for shard in (2, 0, 1, 0):
        write_one(backwards, shard, heatmaps)
    first, second = contents(fill(begin(tmp_path / "a.zarr"))), contents(backwards.seal())
    assert first == second
    assert set(first) == {
        "zarr.json",
        *(f"{name}/zarr.json" for name in ("heatmaps", "scores", "keys", "image_sha256")),
        *(f"heatmaps/c.{shard}.0.0.0" for shard in range(3)),
        *(f"scores/c.{shard}.0" for shard in range(3)),
        "keys/c.0",
        "image_sha256/c.0",
    }


def test_any_zarr_reader_reads_it(store_path: Path, manifest: Manifest, heatmaps: Heatmaps) -> None:
    group = zarr.open_group(store_path, mode="r")
    values = heatmaps.clip(0, 1)
    store = open_store(store_path)
    np.testing.assert_array_equal(np.asarray(group["heatmaps"][...]), store.read_codes(slice(None)))  # type: ignore[index]
    np.testing.assert_array_equal(np.asarray(group["scores"][...]), values.max(axis=(2, 3)))  # type: ignore[index]
    keys = np.asarray(group["keys"][...])  # type: ignore[index]
    assert tuple(map(str, keys)) == manifest.keys


def test_shard_bytes_are_those_that_zarr_writes(tmp_path: Path, store_path: Path) -> None:
    """An array written by zarr alone, through its ordinary interface, has the very same files."""
    store = open_store(store_path)
    copy = tmp_path / "copy.zarr"
    shutil.copytree(store_path, copy)
    for file in (copy / "heatmaps").glob("c.*"):
        file.unlink()
    with zarr.config.set({"array.write_empty_chunks": True}):
        array = zarr.open_group(copy, mode="r+")["heatmaps"]
        assert isinstance(array, zarr.Array)
        for shard in range(store.layout.shards):
            rows = store.layout.rows(shard)
            array[rows.start : rows.stop] = store.read_shard(shard)
    assert contents(copy / "heatmaps") == contents(store_path / "heatmaps")


def test_metadata_tells_neither_clock_nor_place(store_path: Path) -> None:
    table = json.loads((store_path / "zarr.json").read_text())["attributes"]
    assert set(table) == {"pirt_heatmaps", "contents_sha256", "digests", "decode_table", "sha256"}
    assert str(store_path.parent) not in (store_path / "zarr.json").read_text()


@pytest.mark.slow
def test_processes_write_side_by_side(tmp_path: Path, begin: Begin, store_path: Path, heatmaps: Heatmaps) -> None:
    writer = begin(tmp_path / "s.zarr")
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        shards = [heatmaps[writer.rows(n).start : writer.rows(n).stop] for n in writer.pending()]
        list(pool.map(writer.write, writer.pending(), shards))
    assert contents(pickle.loads(pickle.dumps(writer)).seal()) == contents(store_path)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("tau", 0.002, "tau 0.001 and not 0.002"),
        ("codec", "float16", "codec 'tau8' and not 'float16'"),
        ("batch_size", 5, "batch_size 4 and not 5"),
        ("config_sha256", "1" * 64, "config_sha256"),
        ("weights_sha256", "1" * 64, "weights_sha256"),
        ("shard_size", 4, "shard_size 8 and not 4"),
    ],
)
@pytest.mark.parametrize("finished", [False, True])
def test_other_settings_are_refused_by_the_first_difference(
    tmp_path: Path, begin: Begin, fill: Fill, name: str, value: Any, said: str, finished: bool
) -> None:
    path = tmp_path / "s.zarr"
    writer = begin(path)
    if finished:
        fill(writer)
    with pytest.raises(StoreError, match=f"{said}.*--restart"):
        begin(path, **{name: value})
    fill(begin(path, **{name: value}, restart=True))
    assert begin(path, **{name: value}).finished


def test_other_keys_are_refused(tmp_path: Path, begin: Begin, manifest: Manifest) -> None:
    writer = begin(tmp_path / "s.zarr")
    with pytest.raises(StoreError, match="made with other keys;"):
        create_store(writer.path, manifest.rows[::-1], writer.layout.attributes, 8)
    with pytest.raises(StoreError, match="made with other keys;"):
        create_store(writer.path, manifest.rows[:-1], writer.layout.attributes, 8)


def test_finished_store_is_left_alone(begin: Begin, store_path: Path) -> None:
    before = contents(store_path)
    writer = begin(store_path)
    assert writer.finished
    assert writer.pending() == ()
    assert writer.seal() == store_path
    assert contents(store_path) == before
    assert not partial_path(store_path).exists()


def test_restart_keeps_the_finished_store_until_the_new_one_is(begin: Begin, fill: Fill, store_path: Path) -> None:
    before = contents(store_path)
    begin(store_path, restart=True, tau=0.01)
    assert contents(store_path) == before
    writer = begin(store_path, tau=0.01)
    assert writer.pending() == (0, 1, 2)
    fill(writer)
    assert open_store(store_path).attributes.tau == 0.01


def test_a_restart_that_cannot_begin_keeps_the_unfinished_store(
    tmp_path: Path, begin: Begin, heatmaps: Heatmaps, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_one(begin(tmp_path / "s.zarr"), 1, heatmaps)
    before = contents(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("pirt_stages.pose.extraction.writer._put", _full)
        with pytest.raises(StoreError, match="finished shards are kept"):
            begin(tmp_path / "s.zarr", restart=True)
    assert contents(tmp_path) == before
    assert begin(tmp_path / "s.zarr").pending() == (0, 2)


def _full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_an_earlier_store_that_a_kill_left_aside_is_removed(begin: Begin, fill: Fill, store_path: Path) -> None:
    shutil.copytree(store_path, store_path.with_name(f".{store_path.name}.0123abcd.former.partial"))
    fill(begin(store_path, restart=True))
    assert list(store_path.parent.iterdir()) == [store_path]


@pytest.mark.parametrize("place", ["s.zarr", "s.zarr.partial"])
def test_restart_leaves_what_is_no_store(tmp_path: Path, begin: Begin, place: str) -> None:
    (tmp_path / place).mkdir()
    (tmp_path / place / "zarr.json").write_text('{"attributes": {}}')
    with pytest.raises(StoreError, match=f"{place} is not a heatmap store"):
        begin(tmp_path / "s.zarr", restart=True)
    assert (tmp_path / place / "zarr.json").exists()
    assert [entry.name for entry in tmp_path.iterdir()] == [place]


@pytest.mark.parametrize("name", ["export.h5", "keys/export.h5"])
def test_restart_leaves_a_store_into_which_somebody_put_a_file(
    begin: Begin, fill: Fill, store_path: Path, name: str
) -> None:
    (store_path / name).write_text("mine")
    with pytest.raises(PirtError, match=f"holds {name}, which would be lost"):
        begin(store_path, restart=True)
    assert (store_path / name).read_text() == "mine"
    (store_path / name).unlink()
    fill(begin(store_path, restart=True))


def test_restart_replaces_a_damaged_store(begin: Begin, fill: Fill, store_path: Path) -> None:
    (store_path / "keys" / "c.0").unlink()
    fill(begin(store_path, restart=True))
    open_store(store_path)


def test_seal_needs_every_shard(tmp_path: Path, begin: Begin, heatmaps: Heatmaps) -> None:
    writer = begin(tmp_path / "s.zarr")
    write_one(writer, 0, heatmaps)
    with pytest.raises(StoreError, match="2 of 3 shards are still missing"):
        writer.seal()


def test_seal_drops_what_reads_back_damaged(tmp_path: Path, begin: Begin, fill: Fill, heatmaps: Heatmaps) -> None:
    writer = begin(tmp_path / "s.zarr")
    for shard in writer.pending():
        write_one(writer, shard, heatmaps)
    file = partial_path(writer.path) / writer.layout.files(1)[0]
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(StoreError, match=r"shards \[1\] read back damaged"):
        writer.seal()
    assert writer.pending() == (1,)
    fill(writer)


@contextmanager
def no_more_open_files() -> Iterator[None]:
    limit, taken = resource.getrlimit(resource.RLIMIT_NOFILE), []
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limit[1]))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)


def test_a_refusal_of_the_system_drops_no_shard(tmp_path: Path, begin: Begin, heatmaps: Heatmaps) -> None:
    writer = begin(tmp_path / "h.zarr")
    for shard in writer.pending():
        write_one(writer, shard, heatmaps)
    before = contents(partial_path(writer.path))
    with no_more_open_files(), pytest.raises(OSError, match="Too many open files"):
        writer.seal()
    assert contents(partial_path(writer.path)) == before
    writer.seal()
    with no_more_open_files(), pytest.raises(OSError, match="Too many open files"):
        open_store(writer.path)


def test_skipped_images_are_zero_and_listed(tmp_path: Path, begin: Begin, fill: Fill, manifest: Manifest) -> None:
    skipped = (SkippedImage(key=manifest.keys[9], reason="zero bytes"),)
    store = open_store(fill(begin(tmp_path / "s.zarr", skipped=skipped)))
    assert store.skipped == skipped
    assert not store.read([9]).any()
    assert not store.scores[9].any()
    assert store.read([8, 10]).any(axis=(1, 2, 3)).all()


def test_nan_is_refused_unless_its_image_is_skipped(
    tmp_path: Path, begin: Begin, manifest: Manifest, heatmaps: Heatmaps
) -> None:
    heatmaps[9, 3, 2, 1] = np.nan
    with pytest.raises(StoreError, match="NaN for image 9 of the manifest"):
        write_one(begin(tmp_path / "a.zarr"), 1, heatmaps)
    skipped = (SkippedImage(key=manifest.keys[9], reason="zero bytes"),)
    write_one(begin(tmp_path / "b.zarr", skipped=skipped), 1, heatmaps)


def test_infinities_are_clipped(tmp_path: Path, begin: Begin, fill: Fill, heatmaps: Heatmaps) -> None:
    heatmaps[9, 3, 2, 1:3] = np.inf, -np.inf
    store = open_store(fill(begin(tmp_path / "s.zarr")))
    assert store.read([9])[0, 3, 2, 1:3].tolist() == [1, 0]


def test_wrong_shape_is_refused(tmp_path: Path, begin: Begin, heatmaps: Heatmaps) -> None:
    with pytest.raises(StoreError, match=r"shape \(8, 17, 12, 8\), got \(7, 17, 12, 8\)"):
        begin(tmp_path / "s.zarr").write(0, heatmaps[:7])


def test_what_is_no_store_is_not_overwritten(tmp_path: Path, begin: Begin) -> None:
    (tmp_path / "s.zarr").mkdir()
    with pytest.raises(StoreError, match="not a heatmap store"):
        begin(tmp_path / "s.zarr")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot write heatmap store .*file/s\.zarr"):
        begin(tmp_path / "file" / "s.zarr")


def test_a_writer_of_before_a_restart_writes_no_more(
    tmp_path: Path, begin: Begin, fill: Fill, heatmaps: Heatmaps
) -> None:
    """A cluster may still run tasks of the run that was stopped."""
    old = begin(tmp_path / "s.zarr")
    new = begin(tmp_path / "s.zarr", restart=True)
    with pytest.raises(StoreError, match="cannot write"):
        write_one(old, 1, heatmaps)
    assert new.pending() == (0, 1, 2)
    fill(new)
    assert not list((tmp_path / "s.zarr").glob(".writing*"))


def test_a_linked_store_is_made_anew_where_it_lies(tmp_path: Path, begin: Begin, fill: Fill) -> None:
    fill(begin(tmp_path / "far.zarr"))
    (tmp_path / "near.zarr").symlink_to(tmp_path / "far.zarr")
    fill(begin(tmp_path / "near.zarr", restart=True))
    assert (tmp_path / "near.zarr").is_symlink()
    assert open_store(tmp_path / "near.zarr").path.resolve() == tmp_path / "far.zarr"


def test_what_came_to_the_stores_place_meanwhile_is_left(tmp_path: Path, begin: Begin, fill: Fill) -> None:
    writer = begin(tmp_path / "s.zarr")
    (tmp_path / "s.zarr").mkdir()
    (tmp_path / "s.zarr" / "thesis.tex").write_text("years")
    with pytest.raises(StoreError, match="is not a heatmap store and stays as it is"):
        fill(writer)
    assert (tmp_path / "s.zarr" / "thesis.tex").read_text() == "years"
