import gzip
import io
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from pirt.data.manifest import read_manifest
from pirt.errors import DataError
from stages.data.archives import GIGABYTE, MARK, Limits, is_archive, unpacked

FORMATS = {"zip": "zip", "tar": "tar", "gztar": "tar.gz", "xztar": "tar.xz"}


@pytest.mark.parametrize("kind", list(FORMATS))
def test_an_archive_imports_as_its_folder(
    kind: str, standin: Callable[[str], Path], run: Callable[..., Result], tmp_path: Path
) -> None:
    folder = standin("market1501")
    archive = Path(shutil.make_archive(str(tmp_path / "market"), kind, folder))
    assert is_archive(archive)
    result = run("import", archive, "--out", tmp_path / "archive.csv")
    assert result.exit_code == 0, result.output
    run("import", folder, "--out", tmp_path / "folder.csv")
    one, other = (read_manifest(tmp_path / f"{name}.csv") for name in ("archive", "folder"))
    assert one.rows == other.rows
    assert one.root.parent == tmp_path / f"market.{FORMATS[kind]}.unpacked"


def packed(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def test_unpacking_happens_once_and_again_when_the_archive_changed(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", {"a.txt": b"1"})
    folder = unpacked(archive)
    (folder / "seen").touch()
    assert (unpacked(archive) / "seen").exists()
    packed(archive, {"a.txt": b"12"})
    assert (unpacked(archive) / "a.txt").read_bytes() == b"12"
    assert not (folder / "seen").exists()


def test_a_folder_of_somebody_else_is_not_touched(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", {"a.txt": b"1"})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(DataError, match="holds something else"):
        unpacked(archive, tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


def test_windows_names_and_resource_forks(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", {"query\\1.jpg": b"1", "__MACOSX/query/._1.jpg": b"2", "empty\\": b""})
    files = {str(path.relative_to(unpacked(archive))) for path in unpacked(archive).rglob("*") if path.is_file()}
    assert files == {"query/1.jpg", MARK}


@pytest.mark.parametrize(
    "name", ["../out.txt", "a/../../out.txt", "/tmp/out.txt", "C:\\out.txt", "..\\out.txt", "C:out.txt"]
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_leave_the_target_are_refused(tmp_path: Path, name: str, kind: str) -> None:
    place = tmp_path / "deep" / "deeper"
    place.mkdir(parents=True)
    archive = place / f"a.{kind}"
    if kind == "zip":
        packed(archive, {"fine.txt": b"1", name: b"2"})
    else:
        with tarfile.open(archive, "w") as file:
            for member in ("fine.txt", name):
                file.addfile(tarfile.TarInfo(member))
    with pytest.raises(DataError, match="leaves the folder"):
        unpacked(archive)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [archive.name]
    assert [path.name for path in place.iterdir()] == [archive.name]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        member = tarfile.TarInfo("query")
        member.type, member.linkname = kind, "/etc"
        file.addfile(member)
    with pytest.raises(DataError, match="'query' is a link or device"):
        unpacked(tmp_path / "a.tar")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        member = zipfile.ZipInfo("query")
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(member, "/etc")
    with pytest.raises(DataError, match="'query' is a link or device"):
        unpacked(tmp_path / "a.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_a_bomb_is_refused_before_anything_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = packed(tmp_path / "a.zip", {"fine.jpg": b"1", "zeros.jpg": bytes(3_000_000)})
    monkeypatch.setattr("stages.data.archives._write", lambda *arguments: pytest.fail("a file was written"))
    with pytest.raises(DataError, match="would unpack to over 40 times its"):
        unpacked(archive, limits=Limits(ratio_from=1_000_000))


def test_a_zip_that_declares_ten_gigabytes_is_refused_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = packed(tmp_path / "a.zip", {f"{number}.jpg": bytes(50_000) for number in range(10)})
    content = bytearray(archive.read_bytes())
    declared, at = (1_000_000_000).to_bytes(4, "little"), -1
    while (at := content.find(b"PK\x01\x02", at + 1)) >= 0:
        content[at + 24 : at + 28] = declared
    archive.write_bytes(content)
    assert sum(info.file_size for info in zipfile.ZipFile(archive).infolist()) == 10 * GIGABYTE
    monkeypatch.setattr("stages.data.archives._write", lambda *arguments: pytest.fail("a file was written"))
    with pytest.raises(DataError, match=r"would unpack to over 40 times its [\d,]+ bytes"):
        unpacked(archive)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_a_compressed_tar_bomb_stops_at_the_limit(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as file:
        for number in range(20):
            member = tarfile.TarInfo(f"{number}.jpg")
            member.size = 400_000
            file.addfile(member, io.BytesIO(bytes(400_000)))
    with pytest.raises(DataError, match="would unpack to over 40 times its"):
        unpacked(tmp_path / "a.tar.gz", limits=Limits(ratio_from=1_000_000))
    with pytest.raises(DataError, match="more than 5,000,000 bytes"):
        unpacked(tmp_path / "a.tar.gz", limits=Limits(total=5_000_000))
    with pytest.raises(DataError, match="or 7 files"):
        unpacked(tmp_path / "a.tar.gz", limits=Limits(files=7))
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]


def test_more_than_the_disk_holds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = packed(tmp_path / "a.zip", {"a.jpg": bytes(range(256)) * 20})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10_000, 9_000, 1_000))
    with pytest.raises(DataError, match="more than the 1,000 bytes that are free"):
        unpacked(archive)


def test_damage_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", {"a.jpg": bytes(range(256)) * 200})
    content = bytearray(archive.read_bytes())
    content[60:80] = bytes(20)
    archive.write_bytes(content)
    with pytest.raises(DataError, match=r"a.zip is damaged"):
        unpacked(archive)
    with tarfile.open(tmp_path / "b.tar", "w") as file:
        member = tarfile.TarInfo("a.jpg")
        member.size = 100_000
        file.addfile(member, io.BytesIO(bytes(100_000)))
    whole = gzip.compress((tmp_path / "b.tar").read_bytes())
    (tmp_path / "b.tar").unlink()
    (tmp_path / "b.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"b.tar.gz is damaged"):
        unpacked(tmp_path / "b.tar.gz")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "b.tar.gz"]


def test_a_member_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", {"a.jpg": b"x" * 5_000})
    content = archive.read_bytes()
    archive.write_bytes(content.replace((5_000).to_bytes(4, "little"), (4_000).to_bytes(4, "little")))
    with pytest.raises(DataError, match=r"a.zip"):
        unpacked(archive)


def test_the_same_name_twice_and_passwords(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        for name in ("a.jpg", "./a.jpg"):
            file.addfile(tarfile.TarInfo(name))
    with pytest.raises(DataError, match=r"'\./a.jpg' twice"):
        unpacked(tmp_path / "a.tar")
    archive = packed(tmp_path / "b.zip", {"a.jpg": b"1"})
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(content)
    with pytest.raises(DataError, match="is encrypted"):
        unpacked(archive)
