import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from tiny_stores import make_version_2

from pirt.core.errors import StoreError
from pirt.core.files import sha256_of
from pirt.core.manifest import Manifest
from pirt.core.sealed import with_seal
from pirt.heatmaps.codec import CodecName, decode, encode
from pirt.heatmaps.reader import open_store, open_unsealed, partial_path
from pirt_stages.pose.extraction.writer import StoreWriter, create_store

Begin = Callable[..., StoreWriter]
Fill = Callable[[StoreWriter], Path]
Heatmaps = NDArray[np.float32]


def read_everything(path: Path) -> None:
    store = open_store(path)
    store.read(slice(None))
    assert store.scores.shape == (21, 17)


@pytest.mark.parametrize("codec", ["tau8", "float16", "float32"])
@pytest.mark.parametrize("shard_size", [1, 5, 8, 32, 48])
def test_what_was_written_is_read(
    tmp_path: Path, begin: Begin, fill: Fill, heatmaps: Heatmaps, codec: CodecName, shard_size: int
) -> None:
    store = open_store(fill(begin(tmp_path / "s.zarr", shard_size, codec=codec)))
    values = heatmaps.clip(0, 1)
    np.testing.assert_array_equal(store.read(slice(None)), decode(encode(values, codec, 0.001), codec, 0.001))
    np.testing.assert_array_equal(store.scores, values.max(axis=(2, 3)))
    assert store.attributes.codec == codec


def test_rows_in_any_order_and_more_than_once(store_path: Path) -> None:
    store = open_store(store_path)
    everything = store.read(slice(None))
    for rows in ([3], [20, 0, 7, 8], [5, 5, 4], [], [-1], list(range(20, -1, -1))):
        np.testing.assert_array_equal(store.read(rows), everything[rows or slice(0)])
    np.testing.assert_array_equal(store.read(slice(15, 3, -2)), everything[15:3:-2])
    with pytest.raises(IndexError):
        store.read([21])


def test_store_travels_to_other_processes(store_path: Path, manifest: Manifest) -> None:
    store = pickle.loads(pickle.dumps(open_store(store_path)))
    assert store.keys == manifest.keys
    np.testing.assert_array_equal(store.read([2]), open_store(store_path).read([2]))


def test_fingerprint_is_that_of_the_contents(
    tmp_path: Path, store_path: Path, begin: Begin, fill: Fill, heatmaps: Heatmaps
) -> None:
    fingerprint = open_store(store_path).fingerprint
    assert fingerprint == sha256_of(store_path / "zarr.json")
    heatmaps[20, 0, 0, 0] = 0.77
    assert open_store(fill(begin(tmp_path / "other.zarr"))).fingerprint != fingerprint


def test_read_only_files_are_enough(store_path: Path) -> None:
    """DVC links its outputs read-only."""
    for file in store_path.rglob("*"):
        file.chmod(0o555 if file.is_dir() else 0o444)
    read_everything(store_path)


@pytest.mark.parametrize(
    "file", ["heatmaps/c.0.0.0.0", "heatmaps/c.2.0.0.0", "scores/c.1.0", "keys/c.0", "image_sha256/c.0"]
)
def test_every_flipped_or_missing_byte_is_found(store_path: Path, file: str) -> None:
    whole = (store_path / file).read_bytes()
    generator = np.random.default_rng(0)
    places = [0, len(whole) - 1, len(whole) - 5, *generator.integers(0, len(whole), 20).tolist()]
    damaged = [whole[:place] + bytes([whole[place] ^ 1 << 3]) + whole[place + 1 :] for place in places]
    damaged += [whole[:place] for place in places] + [b"", whole + b"\0"]
    for content in damaged:
        (store_path / file).write_bytes(content)
        with pytest.raises(StoreError, match=r"damaged|missing or empty") as error:
            read_everything(store_path)
        assert "\n" not in str(error.value)
    (store_path / file).write_bytes(whole)
    read_everything(store_path)


@pytest.mark.parametrize("file", ["heatmaps/c.1.0.0.0", "scores/c.1.0"])
def test_missing_shard_is_named_and_never_read_as_zero(store_path: Path, file: str) -> None:
    (store_path / file).unlink()
    with pytest.raises(StoreError, match=f"{file} is missing"):
        read_everything(store_path)


@pytest.mark.parametrize(
    "file", ["zarr.json", "heatmaps/zarr.json", "scores/zarr.json", "keys/zarr.json", "keys/c.0", "image_sha256/c.0"]
)
@pytest.mark.parametrize("content", [None, b"", b"[]", b"null", b"{", b'{"zarr_format": 3}'])
def test_damaged_metadata_is_an_error(store_path: Path, file: str, content: bytes | None) -> None:
    if content is None:
        (store_path / file).unlink()
    else:
        (store_path / file).write_bytes(content)
    with pytest.raises(StoreError, match="heatmap store"):
        open_store(store_path)


@pytest.mark.parametrize(
    "change",
    [{"codec": "float16"}, {"heatmap_size": [8, 12]}, {"format_version": 1}, {"format_version": 4}, {"more": 1}],
)
def test_attributes_must_fit_the_arrays(store_path: Path, change: dict[str, object]) -> None:
    table = json.loads((store_path / "zarr.json").read_text())
    table["attributes"]["pirt_heatmaps"] |= change
    table["attributes"] = with_seal({name: value for name, value in table["attributes"].items() if name != "sha256"})
    (store_path / "zarr.json").write_text(json.dumps(table))
    with pytest.raises(StoreError, match="heatmap store"):
        open_store(store_path)


def test_edited_attributes_are_found(store_path: Path) -> None:
    root = store_path / "zarr.json"
    root.write_text(root.read_text().replace('"tau": 0.001', '"tau": 0.002'))
    with pytest.raises(StoreError, match=r"damaged heatmap store: zarr.json: its content is not what was written"):
        open_store(store_path)


@pytest.mark.parametrize(
    "file", ["heatmaps/c.1.0.0.0", "scores/c.1.0", "keys/c.0", "image_sha256/c.0", "heatmaps/zarr.json"]
)
def test_a_file_of_another_valid_store_is_refused(
    tmp_path: Path, store_path: Path, begin: Begin, fill: Fill, heatmaps: Heatmaps, manifest: Manifest, file: str
) -> None:
    heatmaps[8:] *= 0.5
    images = manifest.rows[::-1]
    other = fill(create_store(tmp_path / "other.zarr", images, open_store(store_path).attributes, 8))
    if file == "heatmaps/zarr.json":
        other = fill(begin(tmp_path / "float.zarr", codec="float16"))
    shutil.copyfile(other / file, store_path / file)
    with pytest.raises(StoreError, match=rf"{file} is not the file that was sealed.* make it again with"):
        read_everything(store_path)


def test_shards_that_changed_places_are_refused(store_path: Path) -> None:
    first, second = (store_path / f"heatmaps/c.{number}.0.0.0" for number in (0, 1))
    first.rename(store_path / "aside")
    second.rename(first)
    (store_path / "aside").rename(second)
    with pytest.raises(StoreError, match="is not the file that was sealed"):
        open_store(store_path).read([0])


def test_a_shard_of_another_store_is_refused_in_stores_of_version_2_too(
    tmp_path: Path, store_path: Path, begin: Begin, fill: Fill, heatmaps: Heatmaps, manifest: Manifest
) -> None:
    make_version_2(store_path, manifest)
    read_everything(store_path)
    heatmaps *= 0.5
    shutil.copyfile(fill(begin(tmp_path / "o.zarr")) / "heatmaps/c.1.0.0.0", store_path / "heatmaps/c.1.0.0.0")
    with pytest.raises(StoreError, match="its files are not those that were sealed"):
        open_store(store_path)


def test_plain_zarr_reads_values_and_keys_and_dask_does_without_us(store_path: Path, manifest: Manifest) -> None:
    dask_array = pytest.importorskip("dask.array")
    root = zarr.open_group(store_path, mode="r")
    table = np.float32(root.attrs["decode_table"])
    np.testing.assert_array_equal(table[root["heatmaps"][:]], open_store(store_path).read(slice(None)))
    assert [str(key) for key in root["keys"][:]] == list(manifest.keys)
    assert [str(digest) for digest in root["image_sha256"][:]] == [row.sha256 for row in manifest.rows]
    lazy = dask_array.from_zarr(str(store_path), component="heatmaps").map_blocks(
        lambda codes: table[codes], dtype="f4"
    )
    np.testing.assert_array_equal(lazy[[3, 20]].compute(scheduler="sync"), open_store(store_path).read([3, 20]))


def test_stores_of_version_1_stay_readable(store_path: Path, manifest: Manifest) -> None:
    values = open_store(store_path).read(slice(None))
    make_version_2(store_path, manifest)
    table = json.loads((store_path / "zarr.json").read_text())
    shutil.rmtree(store_path / "keys")
    encoded = [key.encode() for key in manifest.keys]
    width = max(map(len, encoded))
    padded = np.frombuffer(b"".join(key.ljust(width, b"\0") for key in encoded), np.uint8).reshape(-1, width)
    keys = zarr.open_group(store_path, mode="a").create_array(
        "keys", dtype="uint8", shape=padded.shape, chunks=padded.shape,
        chunk_key_encoding={"name": "default", "separator": "."},
    )  # fmt: skip
    keys[...] = padded
    del table["attributes"]["decode_table"], table["attributes"]["pirt_heatmaps"]["trained_size"]
    table["attributes"]["pirt_heatmaps"]["format_version"] = 1
    (store_path / "zarr.json").write_text(json.dumps(table))
    seal = open_unsealed(store_path).layout.seal_of(store_path)
    table["attributes"]["contents_sha256"] = seal.contents_sha256
    (store_path / "zarr.json").write_text(json.dumps(table))
    store = open_store(store_path)
    assert store.keys == manifest.keys
    store.require_images(manifest)
    np.testing.assert_array_equal(store.read(slice(None)), values)


def test_unfinished_store_is_never_taken_for_a_finished_one(tmp_path: Path, begin: Begin, heatmaps: Heatmaps) -> None:
    path = tmp_path / "s.zarr"
    writer = begin(path)
    for shard in writer.pending():
        writer.write(shard, heatmaps[writer.rows(shard).start : writer.rows(shard).stop])
    for there in (path, partial_path(path)):
        with pytest.raises(StoreError, match="unfinished"):
            open_store(there)
    shutil.move(partial_path(path), path)
    with pytest.raises(StoreError, match="unfinished"):
        open_store(path)


def test_what_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="does not exist"):
        open_store(tmp_path / "none.zarr")
    with pytest.raises(StoreError, match="not a heatmap store"):
        open_store(tmp_path)
