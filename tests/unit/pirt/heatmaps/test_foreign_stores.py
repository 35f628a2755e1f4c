"""A store from strangers: absurd shapes ask for no memory, pipes are not waited for, links are read as DVC makes."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_stores import noise, write_store

from pirt.core.errors import StoreError
from pirt.core.manifest import ImageRow, Manifest
from pirt.heatmaps.reader import open_store


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    rows = tuple(ImageRow(f"k{n}", f"{n}.jpg", "train", 1, 1, "0" * 64) for n in range(10))
    return write_store(folder / "s.zarr", Manifest(rows, folder), ((32, 16), (8, 4)), noise(0, (8, 4), 4))


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "s.zarr"))


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("array", ["heatmaps", "scores", "keys"])
@pytest.mark.parametrize("shape", [[1 << 40], [1 << 62], [-1], [], ["a"], None, [1 << 30, 1 << 30], {}])
def test_absurd_shapes_are_one_line(array: str, shape: Any, copy: Path) -> None:
    edit(copy / array / "zarr.json", shape=shape)
    with pytest.raises(StoreError) as caught:
        open_store(copy)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "5", "[]", "null", "{}", "[" * 100_000, '{"attributes": 5}', '{"attributes": []}', "\0"]
)
@pytest.mark.parametrize("place", ["zarr.json", "heatmaps/zarr.json", "keys/zarr.json"])
def test_metadata_of_another_form_is_one_line(place: str, text: str, copy: Path) -> None:
    (copy / place).write_text(text)
    with pytest.raises(StoreError):
        open_store(copy)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("array", ["heatmaps", "scores"])
def test_nor_is_it_where_all_files_are_hashed(array: str, copy: Path) -> None:
    """As before rows are taken over from a store."""
    store, (file,) = open_store(copy), sorted(copy.glob(f"{array}/c.0*"))[:1]
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(ValueError, match="is a pipe or device, not a file"):
        store.is_as_sealed()


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "place",
    [
        "zarr.json",
        "heatmaps/zarr.json",
        "scores/zarr.json",
        "keys/zarr.json",
        "keys/c.0",
        "heatmaps/c.0.0.0.0",
        "scores/c.0.0",
    ],
)
def test_a_pipe_is_not_waited_for(place: str, copy: Path) -> None:
    (copy / place).unlink()
    os.mkfifo(copy / place)
    with pytest.raises(StoreError):
        everything_of(copy)


def everything_of(path: Path) -> np.ndarray:
    store = open_store(path)
    return store.read(slice(None)) + store.scores.sum()


def test_a_store_of_links_is_read_as_dvc_makes_it(whole: Path, tmp_path: Path) -> None:
    for file in whole.rglob("*"):
        if file.is_file():
            place = tmp_path / "links.zarr" / file.relative_to(whole)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(file)
    assert np.array_equal(everything_of(tmp_path / "links.zarr"), everything_of(whole))


@pytest.mark.parametrize("place", ["zarr.json", "heatmaps/zarr.json", "keys/c.0", "heatmaps/c.0.0.0.0", "scores/c.0.0"])
def test_a_link_to_another_file_is_damage_and_its_content_is_not_shown(place: str, copy: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("the-secret-word:x:0:0\n" * 100)
    (copy / place).unlink()
    (copy / place).symlink_to(tmp_path / "secret")
    with pytest.raises(StoreError) as caught:
        everything_of(copy)
    assert "secret-word" not in str(caught.value)
