import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import multiprocessing

from pirt.core.errors import StoreError
from pirt.core.manifest import ImageRow, Manifest
from pirt.heatmaps.codec import CodecName
from pirt.heatmaps.reader import open_store
from pirt.runs.cache import load_heatmaps, store_for
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
    assert cache.floor == (0.001 if codec == "tau8" else 0)


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


def test_store_of_another_manifest_is_refused(store_path: Path, manifest: Manifest) -> None:
    other = Manifest(manifest.rows[:-1], manifest.root)
    with pytest.raises(StoreError, match="made for another manifest"):
        load_heatmaps(store_for(store_path, other), other.rows)


def test_missing_image_is_named(store_path: Path, manifest: Manifest) -> None:
    stranger = ImageRow("train/none.jpg", "none.jpg", "train", 1, 1, "")
    with pytest.raises(StoreError, match=r"lacks 1 images, the first is 'train/none\.jpg'"):
        load_heatmaps(store_for(store_path, manifest), (*manifest.rows, stranger))


def test_too_little_shared_memory_is_said_beforehand(
    store_path: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=1 << 40, free=4096))
    with pytest.raises(StoreError, match=r"shared memory.*--shm-size"):
        load_heatmaps(store_for(store_path, manifest), manifest.rows)
