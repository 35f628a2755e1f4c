import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_stores import make_version_2
from torch import multiprocessing

from pirt.core.errors import StoreError
from pirt.core.manifest import ImageRow, Manifest
from pirt.heatmaps.codec import CodecName
from pirt.heatmaps.reader import open_store
from pirt.heatmaps.schema import SkippedImage
from pirt.runs.cache import load_heatmaps, require_masks, store_for, without_skipped
from pirt_stages.pose.extraction.writer import StoreWriter

Begin = Callable[..., StoreWriter]
Fill = Callable[[StoreWriter], Path]


@pytest.mark.parametrize("codec", ["tau8", "float16", "float32"])
def test_codes_are_in_the_order_of_the_rows(
    tmp_path: Path, begin: Begin, fill: Fill, manifest: Manifest, codec: CodecName
) -> None:
    path = fill(begin(tmp_path / "s.zarr", codec=codec))
    store = open_store(path)
    for rows in (manifest.split("gallery"), manifest.rows[::-1], manifest.rows[5:19], ()):
        cache = load_heatmaps(store_for(path, manifest), rows)
        expected = store.read([manifest.keys.index(row.key) for row in rows])
        np.testing.assert_array_equal(cache.decode(cache.codes).numpy(), expected)
    assert cache.size == (12, 8)
    assert cache.fingerprint == store.fingerprint
    require_masks(store, 0.001)
    with pytest.raises(StoreError, match="keeps nothing below") if codec == "tau8" else nullcontext():
        require_masks(store, 0.0001)


def test_decode_takes_any_shape(store_path: Path, manifest: Manifest) -> None:
    cache = load_heatmaps(store_for(store_path, manifest), manifest.rows)
    whole = cache.decode(cache.codes)
    assert whole.dtype == torch.float32
    assert torch.equal(cache.decode(cache.codes[3, :, 2:5].flip(-1)), whole[3, :, 2:5].flip(-1))


def _set_first(codes: torch.Tensor) -> None:
    codes[0, 0, 0, 0] = 77


def test_memory_is_shared_by_processes(store_path: Path, manifest: Manifest) -> None:
    cache = load_heatmaps(store_for(store_path, manifest), manifest.rows)
    assert cache.codes.is_shared()
    worker = multiprocessing.get_context("fork").Process(target=_set_first, args=(cache.codes,))
    worker.start()
    worker.join()
    assert cache.codes[0, 0, 0, 0] == 77


def test_a_manifest_of_other_splits_names_and_order_reads_the_same_rows(store_path: Path, manifest: Manifest) -> None:
    """What decides a row is the image's file; a query manifest takes from a store of the gallery."""
    whole = load_heatmaps(store_for(store_path, manifest), manifest.rows)
    moved = [replace(row, key=f"query/{row.path}", split="query", pid=-1, camid=7) for row in manifest.rows[12:3:-1]]
    queries = Manifest(tuple(moved), manifest.root / "elsewhere")
    cache = load_heatmaps(store_for(store_path, queries), queries.rows)
    assert torch.equal(cache.codes, whole.codes[list(range(12, 3, -1))])
    assert cache.fingerprint == whole.fingerprint


def test_a_changed_or_added_image_is_named(store_path: Path, manifest: Manifest) -> None:
    changed = replace(manifest.rows[4], sha256="f" * 64)
    with pytest.raises(StoreError, match=rf"lacks 1 of 21 images, the first is '{changed.key}', which was another"):
        store_for(store_path, Manifest((*manifest.rows[:4], changed, *manifest.rows[5:]), manifest.root))
    stranger = ImageRow("train/none.jpg", "none.jpg", "train", 1, 1, "")
    with pytest.raises(StoreError, match=r"lacks 1 of 22 images, the first is 'train/none\.jpg'; run"):
        load_heatmaps(store_for(store_path, manifest), (*manifest.rows, stranger))


def test_skipped_images_are_left_out_under_any_name(
    tmp_path: Path, begin: Begin, fill: Fill, manifest: Manifest
) -> None:
    skipped = (SkippedImage(key=manifest.keys[6], reason="empty"),)
    store = open_store(fill(begin(tmp_path / "s.zarr", skipped=skipped)))
    renamed = [replace(row, key=f"any/{row.path}") for row in manifest.rows]
    assert without_skipped(store, renamed) == tuple(renamed[:6] + renamed[7:])
    assert without_skipped(None, renamed) == tuple(renamed)


def test_of_copies_one_that_was_read_is_taken(tmp_path: Path, begin: Begin, fill: Fill, manifest: Manifest) -> None:
    copy = replace(manifest.rows[9], sha256=manifest.rows[6].sha256)
    rows = (*manifest.rows[:9], copy, *manifest.rows[10:])
    skipped = (SkippedImage(key=manifest.keys[6], reason="missing"),)
    store = open_store(fill(begin(tmp_path / "s.zarr", images=rows, skipped=skipped)))
    assert store.indices_of([rows[9], rows[6], replace(copy, key="new")]).tolist() == [9, 6, 9]


def test_stores_of_version_2_serve_their_manifest_alone(store_path: Path, manifest: Manifest) -> None:
    make_version_2(store_path, manifest)
    whole = load_heatmaps(store_for(store_path, manifest), manifest.rows[3:9])
    assert len(whole.codes) == 6
    fewer = Manifest(manifest.rows[:-1], manifest.root)
    with pytest.raises(StoreError, match=r"was made for another manifest .*, by an older version"):
        store_for(store_path, fewer)


def test_too_little_shared_memory_is_said_beforehand(
    store_path: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=1 << 40, free=4096))
    with pytest.raises(StoreError, match=r"shared memory.*--shm-size"):
        load_heatmaps(store_for(store_path, manifest), manifest.rows)
