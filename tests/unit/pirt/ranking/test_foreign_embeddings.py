"""An embeddings.h5 from strangers names no other file, and asks for no memory that it does not fill."""

import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from sealed_hdf5 import changed, reseal
from tiny_runs import SMALL

from pirt.core.errors import StoreError
from pirt.core.manifest import ImageRow
from pirt.ranking.embeddings import EmbeddingsLineage, open_embeddings, write_embeddings
from pirt.runs.params import TrainParams

COUNT = 6


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "embeddings.h5"
    rows = [ImageRow(f"k{n}", f"{n}.jpg", "query" if n < 2 else "gallery", n + 1, n, "0" * 64) for n in range(COUNT)]
    lineage = EmbeddingsLineage(
        checkpoint_sha256="0" * 64,
        trained_on_manifest="1" * 64,
        manifest_fingerprint="1" * 64,
        seed=0,
        variant=None,
        trained_on_heatmaps="2" * 64,
        initial_weights_sha256=None,
        heatmaps_fingerprint="2" * 64,
        image_size=(32, 16),
        model=SMALL,
        train=TrainParams(),
    )
    groups = len(SMALL.part_groups)
    batch = {name: torch.rand(COUNT, 8) for name in ("stripe", "patch")}
    batch |= {"groups": torch.rand(COUNT, groups, 8), "confidence": torch.rand(COUNT, groups)}
    write_embeddings(path, rows, lineage, [batch])
    assert open_embeddings(path).features("gallery").globals.shape == (4, 16)
    return path


def external_link(file: h5py.File, other: Path) -> None:
    file["stripe"] = h5py.ExternalLink(str(other), "/stripe")


def soft_link(file: h5py.File, _: Path) -> None:
    file["stripe"] = h5py.SoftLink("/patch")


def external_storage(file: h5py.File, _: Path) -> None:
    file.create_dataset("stripe", (COUNT, 8), np.float32, external=[("/etc/passwd", 0, 4 * COUNT * 8)])


def virtual(file: h5py.File, other: Path) -> None:
    layout = h5py.VirtualLayout((COUNT, 8), np.float32)
    layout[...] = h5py.VirtualSource(str(other), "stripe", (COUNT, 8))
    file.create_virtual_dataset("stripe", layout)


def never_written(file: h5py.File, _: Path) -> None:
    file.create_dataset("stripe", (COUNT, 8), np.float32, chunks=(1, 8))


def group(file: h5py.File, _: Path) -> None:
    file.create_group("stripe")


@pytest.mark.parametrize(
    "make", [external_link, soft_link, external_storage, virtual, never_written, group], ids=lambda f: f.__name__
)
def test_a_dataset_is_in_the_file_and_whole(
    make: Callable[[h5py.File, Path], None], whole: Path, tmp_path: Path
) -> None:
    path = shutil.copy(whole, tmp_path / "embeddings.h5")
    with changed(path) as file:
        del file["stripe"]
        make(file, whole)
    with pytest.raises(StoreError, match="stripe"):
        open_embeddings(path)


@pytest.mark.parametrize(("name", "shape"), [("keys", (1 << 40,)), ("pids", (1 << 50,)), ("splits", (1 << 60,))])
def test_absurd_shapes_ask_for_no_memory(name: str, shape: tuple[int, ...], whole: Path, tmp_path: Path) -> None:
    path = shutil.copy(whole, tmp_path / "embeddings.h5")
    with changed(path) as file:
        kind = file[name].dtype
        del file[name]
        file.create_dataset(name, shape, kind, chunks=(1024,), maxshape=(None,))
    with pytest.raises(StoreError, match=rf"{name} should have .* which the file does not hold"):
        open_embeddings(path)


@pytest.mark.parametrize(
    "value", [b"\xff", 5, [1.5, 2.5], "{" * 50_000, "[" * 50_000, '{"sha256": ' + "[" * 900 + "]" * 900 + "}"]
)
def test_an_attribute_of_another_form_is_one_line(value: object, whole: Path, tmp_path: Path) -> None:
    path = shutil.copy(whole, tmp_path / "embeddings.h5")
    with changed(path) as file:
        name = next(iter(file.attrs))
        del file.attrs[name]
        file.attrs[name] = value
    with pytest.raises(StoreError, match=name):
        open_embeddings(path)


def test_a_damaged_file_never_comes_to_hdf5(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Its library goes round for ever in some of them, where no signal but SIGKILL reaches it.
    monkeypatch.setattr(h5py, "File", None)
    path, content = tmp_path / "embeddings.h5", whole.read_bytes()
    for place in (*range(0, len(content), 97), len(content) - 1):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(StoreError, match=r"its content is not what was written|it does not end with the SHA-256"):
            open_embeddings(path)
        path.write_bytes(content[:place])
        with pytest.raises(StoreError, match="it does not end with the SHA-256"):
            open_embeddings(path)


def test_a_file_of_an_earlier_version_says_so(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "embeddings.h5"
    path.write_bytes(whole.read_bytes()[:-64])
    with pytest.raises(StoreError, match=r"was cut, or an earlier version wrote it; make it again with `pirt-eval"):
        open_embeddings(path)
    reseal(path)
    assert open_embeddings(path).keys


def test_hdf5_reads_a_sealed_file(whole: Path) -> None:
    with h5py.File(whole) as file:
        assert file["keys"].shape == (COUNT,)
