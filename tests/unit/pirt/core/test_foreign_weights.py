"""Weights from strangers: no more memory than the file has bytes, and one line whatever is in it."""

import io
import json
import pickle
import struct
import zipfile
from pathlib import Path

import pytest
import torch

from pirt.core.errors import CheckpointError
from pirt.core.weights import read_weights


def saved(folder: Path, weights: object) -> Path:
    torch.save(weights, folder / "w.pth")
    return folder / "w.pth"


@pytest.mark.parametrize(
    "weight",
    [
        torch.zeros(1).expand(1 << 40),
        torch.zeros(1).expand(1 << 20, 1 << 20),
        torch.zeros(1, dtype=torch.float16).expand(1 << 40),
    ],
    ids=["flat", "square", "half"],
)
def test_numbers_that_few_bytes_stand_for_are_refused(weight: torch.Tensor, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="fewer bytes than its tensors have numbers"):
        read_weights(saved(tmp_path, {"a": weight}))


@pytest.mark.parametrize(
    "weight", [torch.eye(2).to_sparse(), torch.empty(1 << 40, device="meta")], ids=["sparse", "meta"]
)
def test_tensors_of_another_kind_are_refused(weight: torch.Tensor, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"plain tensor|damaged|refused"):
        read_weights(saved(tmp_path, {"a": weight}))


def test_shared_weights_are_read(tmp_path: Path) -> None:
    weight = torch.rand(1000)
    read = read_weights(saved(tmp_path, {"a": weight, "b": weight, "c": weight[::2]}))
    assert torch.equal(read["b"], weight)


def test_compressed_records_are_refused(tmp_path: Path) -> None:
    path, packed = saved(tmp_path, {"a": torch.zeros(1 << 21)}), io.BytesIO()
    with zipfile.ZipFile(path) as plain, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as small:
        for record in plain.infolist():
            small.writestr(record.filename, plain.read(record))
    path.write_bytes(packed.getvalue())
    with pytest.raises(CheckpointError, match="damaged"):
        read_weights(path)


@pytest.mark.parametrize(
    "content", [5, [1], {}, {"a": 5}, {1: torch.zeros(1)}, {"state_dict": {"a": [torch.zeros(1)]}}]
)
def test_what_holds_no_weights_is_one_line(content: object, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no state dict"):
        read_weights(saved(tmp_path, content))


@pytest.mark.parametrize(
    "header",
    [
        {"a": {"dtype": "F32", "shape": [1 << 62], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}},
        {"a": {"dtype": "X9", "shape": [1], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}},
        {"a": 5},
        [],
    ],
    ids=str,
)
def test_damaged_safetensors_are_one_line(header: object, tmp_path: Path) -> None:
    text = json.dumps(header).encode()
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"\0\0\0\0")
    with pytest.raises(CheckpointError) as caught:
        read_weights(tmp_path / "w.safetensors")
    assert "\n" not in str(caught.value)


def test_an_old_file_with_a_code_in_it_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",))

    (tmp_path / "w.pth").write_bytes(pickle.dumps({"a": Evil()}))
    with pytest.raises(CheckpointError):
        read_weights(tmp_path / "w.pth")
    assert not (tmp_path / "ran").exists()
