import hashlib
from pathlib import Path

import pytest

from pirt.files import sha256_of, written_whole


def test_a_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "out.txt"
    with written_whole(path) as beside:
        beside.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert [entry.name for entry in path.parent.iterdir()] == ["out.txt"]


def test_a_folder_replaces_the_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.mkdir()
    (path / "old").touch()
    with written_whole(path) as beside:
        beside.mkdir()
        (beside / "new").touch()
    assert [entry.name for entry in path.iterdir()] == ["new"]


def test_a_failure_leaves_the_earlier_output_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("old")

    def fail() -> None:
        with written_whole(path) as beside:
            beside.write_text("half")
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        fail()
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.txt"]


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"pirt" * 100_000)
    assert sha256_of(path) == hashlib.sha256(b"pirt" * 100_000).hexdigest()
