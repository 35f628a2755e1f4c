import gzip
import io
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from small_disks import assert_refused_in_one_line, files_up_to

from pirt.core.errors import DataError
from pirt.core.files import sha256_of
from pirt.core.manifest import read_manifest
from pirt_stages.data.cli import main
from pirt_stages.data.importing import archives
from pirt_stages.data.importing.archives import GIGABYTE, MARK, Limits, assumed_of, is_archive
from pirt_stages.data.importing.marks import as_mark

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
    of_folder = run("import", folder, "--out", tmp_path / "folder.csv")
    assert all("3 × hidden or __MACOSX" in said.output for said in (result, of_folder))
    one, other = (read_manifest(tmp_path / f"{name}.csv") for name in ("archive", "folder"))
    assert one.rows == other.rows
    assert one.root.parent == tmp_path / f"market.{FORMATS[kind]}.unpacked"


def unpacked(archive: Path, target: Path | None = None, **options: Any) -> Path:
    with archives.unpacked(archive, target, **options) as (_, folder):
        return folder


def packed(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def test_unpacking_happens_once_and_again_when_the_archive_changed(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", {"a.txt": b"1"})
    folder = unpacked(archive)
    (folder / ".DS_Store").touch()
    assert (unpacked(archive) / ".DS_Store").exists()
    packed(archive, {"a.txt": b"12"})
    assert (unpacked(archive) / "a.txt").read_bytes() == b"12"
    assert not (folder / ".DS_Store").exists()


def _add(folder: Path) -> None:
    (folder / "deep" / "notes.txt").write_text("years")


def _edit(folder: Path) -> None:
    (folder / "deep" / "a.txt").write_text("2")  # no longer than before


def _remove(folder: Path) -> None:
    (folder / "deep" / "a.txt").unlink()


@pytest.mark.parametrize("change", [_add, _edit, _remove])
def test_what_somebody_changed_where_an_archive_was_unpacked_is_not_replaced(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    archive = packed(tmp_path / "a.zip", {"deep/a.txt": b"1"})
    folder = unpacked(archive)
    change(folder)
    assert unpacked(archive) == folder
    kept = sorted(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    packed(archive, {"deep/a.txt": b"2", "b.txt": b""})
    with pytest.raises(
        DataError,
        match=r"a\.zip or its --archive-names changed, and so did files in .*a\.zip\.unpacked, which would be lost",
    ):
        unpacked(archive)
    assert sorted(path.read_bytes() for path in folder.rglob("*") if path.is_file()) == kept
    assert (unpacked(archive, tmp_path / "other") / "b.txt").exists()


GALLERY = {f"{number}.jpg": b"1" for number in range(40)}
Tree = Callable[[Path], dict[str, str]]


@pytest.mark.parametrize(
    ("members", "out", "said"),
    [
        ({"readme.txt": b"1"}, "m.csv", "m.zip has no image"),
        ({**GALLERY, "0.jpg": b"2"}, "notes.csv", "is not a manifest and would be replaced"),
    ],
)
def test_an_import_that_is_refused_leaves_what_the_archive_held_before(
    members: dict[str, bytes], out: str, said: str, run: Callable[..., Result], tree_hash: Tree, tmp_path: Path
) -> None:
    base = ("import", packed(tmp_path / "m.zip", GALLERY), "--layout", "folder", "--out")
    assert run(*base, tmp_path / "m.csv").exit_code == 0
    (tmp_path / "notes.csv").write_text("years")
    packed(tmp_path / "m.zip", members)
    before = tree_hash(tmp_path)
    refused = run(*base, tmp_path / out)
    assert refused.exit_code == 2
    assert said in refused.output
    assert ".partial" not in refused.output
    assert tree_hash(tmp_path) == before


def test_a_full_disk_leaves_what_the_archive_held_before_with_its_manifest(
    run: Callable[..., Result], tree_hash: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("import", packed(tmp_path / "m.zip", GALLERY), "--layout", "folder", "--out", tmp_path / "m.csv")
    assert run(*command).exit_code == 0
    packed(tmp_path / "m.zip", {**GALLERY, "0.jpg": b"2"})
    before = tree_hash(tmp_path)
    with files_up_to(2_000):
        refused = run(*command)
    assert_refused_in_one_line(refused)
    assert f"{tmp_path / 'm.csv'}: " in refused.output
    assert tree_hash(tmp_path) == before

    def another_owners(folder: Path) -> None:
        raise PermissionError(1, "Operation not permitted", str(folder))

    with monkeypatch.context() as patch:
        patch.setattr("pirt.core.files._make_removable", another_owners)
        assert run(*command).exit_code == 2
    assert tree_hash(tmp_path) == before
    assert run(*command).exit_code == 0
    manifest = read_manifest(tmp_path / "m.csv")
    assert manifest.root == tmp_path / "m.zip.unpacked"
    assert all(sha256_of(manifest.image_path(row)) == row.sha256 for row in manifest.rows)
    assert (manifest.root / "0.jpg").read_bytes() == b"2"


@pytest.mark.parametrize("more", [[], ["--unpack-to", "there"]])
def test_a_manifest_among_an_archives_files_is_refused(
    more: list[str], run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are replaced whole when the archive changes; the lock of the manifest looked like somebody's file there."""
    monkeypatch.chdir(tmp_path)
    archive = packed(tmp_path / "m.zip", GALLERY)
    out = f"{more[-1] if more else 'm.zip.unpacked'}/m.csv"
    refused = run("import", archive, "--layout", "folder", "--out", out, *more)
    assert refused.exit_code == 2
    assert f"--out {out} lies in " in refused.output
    assert list(tmp_path.iterdir()) == [archive]


def test_an_archive_that_changed_is_of_the_stand_in_it_lies_in(run: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "STANDIN.json").write_bytes(as_mark(standin="own", size="small", one_pixel=True, seed=0))
    for content in (b"1", b"2"):
        archive = packed(tmp_path / "m.zip", {**GALLERY, "0.jpg": content})
        assert run("import", archive, "--layout", "folder", "--out", tmp_path / "m.csv").exit_code == 0
        assert read_manifest(tmp_path / "m.csv").stand_in


def test_options_of_archives_are_refused_for_folders(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for options in (["--unpack-to", str(tmp_path / "there")], ["--archive-names", "gbk"]):
        result = CliRunner().invoke(
            main, ["import", str(tmp_path / "data"), "--out", str(tmp_path / "m.csv"), *options]
        )
        assert result.exit_code == 2
        assert f"data is not a zip or tar, so {options[0]} means nothing; leave it out" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_folder_of_somebody_else_is_not_touched(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", {"a.txt": b"1"})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(DataError, match="holds something else"):
        unpacked(archive, tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


def test_another_archives_folder_is_not_touched(tmp_path: Path) -> None:
    first, second = (packed(tmp_path / f"{name}.zip", {f"{name}.txt": b"1"}) for name in "ab")
    folder = unpacked(first, tmp_path / "both")
    with pytest.raises(DataError, match=r"both holds the files of another archive, a\.zip; name another"):
        unpacked(second, folder)
    assert (folder / "a.txt").exists()
    (folder / MARK).write_text("[]")
    with pytest.raises(DataError, match="holds something else"):
        unpacked(first, folder)


def test_a_tar_that_ends_with_a_zip_is_a_tar(tmp_path: Path) -> None:
    files = {"a/1.jpg": b"1", "more.zip": packed(tmp_path / "more.zip", {"inner.jpg": b"2"}).read_bytes()}
    with tarfile.open(tmp_path / "d.tar", "w") as file:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    assert is_archive(tmp_path / "d.tar")
    assert {name: (unpacked(tmp_path / "d.tar") / name).read_bytes() for name in files} == files


def test_windows_names_and_resource_forks(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", {"query\\1.jpg": b"1", "__MACOSX/query/._1.jpg": b"2", "empty\\": b""})
    files = {str(path.relative_to(unpacked(archive))) for path in unpacked(archive).rglob("*") if path.is_file()}
    # Counted where they are passed over, as in a folder.
    assert files == {"query/1.jpg", "__MACOSX/query/._1.jpg", MARK}


@pytest.mark.parametrize("names", [("query", "query/1.jpg"), ("query/1.jpg", "query"), ("a/b/1.jpg", "c", "a/b")])
def test_a_name_of_a_file_and_of_a_folder_is_damage(tmp_path: Path, names: tuple[str, ...]) -> None:
    archive = packed(tmp_path / "a.zip", dict.fromkeys(names, b"1"))
    with pytest.raises(DataError, match=r"holds '(query|a/b)' as a file and as a folder; it is damaged"):
        unpacked(archive)
    assert list(tmp_path.iterdir()) == [archive]


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
    monkeypatch.setattr(
        "pirt_stages.data.importing.archives._write", lambda *arguments: pytest.fail("a file was written")
    )
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
    monkeypatch.setattr(
        "pirt_stages.data.importing.archives._write", lambda *arguments: pytest.fail("a file was written")
    )
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


def extended(path: Path, kind: bytes, content: bytes, size: int | None = None) -> Path:
    """Write a compressed tar with one extended header of `content`, which claims `size`, before an empty a.jpg."""
    extension = tarfile.TarInfo("extension")
    extension.type, extension.size = kind, len(content) if size is None else size
    blocks = [extension.tobuf(), content, bytes(-len(content) % 512), tarfile.TarInfo("a.jpg").tobuf(), bytes(1024)]
    path.write_bytes(gzip.compress(b"".join(blocks)))
    return path


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_a_huge_extended_header_is_refused_unread(tmp_path: Path, kind: bytes) -> None:
    archive = extended(tmp_path / "a.tar.gz", kind, b"", 400_000_000)
    for read in (is_archive, unpacked):
        with pytest.raises(DataError, match=r"a\.tar\.gz holds a header extension of 400,000,000 bytes"):
            read(archive)


def test_extensions_of_extensions_are_damage(tmp_path: Path) -> None:
    extension = tarfile.TarInfo("extension")
    extension.type, extension.size = tarfile.XHDTYPE, 512
    (tmp_path / "a.tar").write_bytes((extension.tobuf() + b"11 path=ab\n".ljust(512, b"\0")) * 5_000 + bytes(1024))
    with pytest.raises(DataError, match=r"a\.tar is damaged"):
        unpacked(tmp_path / "a.tar")


def test_a_zip_with_damaged_bzip2_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_BZIP2) as file:
        file.writestr("a.jpg", bytes(range(256)) * 200)
    content = bytearray((tmp_path / "a.zip").read_bytes())
    content[60:80] = bytes(20)
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.zip is damaged"):
        unpacked(tmp_path / "a.zip")


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_form_of_long_name_is_unpacked(tmp_path: Path, form: int) -> None:
    names = ["a.jpg", f"{'d' * 90}/{'é' * 40}.jpg", "b.jpg"]
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz", format=form, pax_headers={"comment": "by git"}) as file:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size, member.mtime = 600, 1.5
            file.addfile(member, io.BytesIO(bytes(600)))
    folder = unpacked(tmp_path / "a.tar.gz")
    assert [(folder / name).stat().st_size for name in names] == [600] * 3


def test_a_zip_that_points_before_its_beginning_is_named(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", {"a.txt": b"1" * 50})
    content = bytearray(archive.read_bytes())
    content[-6] += 5  # where the directory is said to begin, in the last 22 bytes
    archive.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.zip is damaged"):
        unpacked(archive)


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path: Path) -> None:
    headers = [tarfile.TarInfo(f"{number}.jpg").tobuf() for number in range(3)]
    headers[1] = b"X" + headers[1][1:]
    (tmp_path / "a.tar").write_bytes(b"".join(headers) + bytes(1024))
    with pytest.raises(DataError, match=r"a\.tar is damaged"):
        unpacked(tmp_path / "a.tar")


STANDING_IN = "QXZ"


def unmarked(path: Path, names: list[bytes], extra: bytes = b"") -> Path:
    """Write a zip of 1-byte files whose names do not say how they are encoded."""
    with zipfile.ZipFile(path, "w") as file:
        for letter, name in zip(STANDING_IN, names, strict=False):
            info = zipfile.ZipInfo(letter * len(name))
            info.extra = extra
            file.writestr(info, b"1")
    content = path.read_bytes()
    for letter, name in zip(STANDING_IN, names, strict=False):
        assert content.count(letter.encode() * len(name)) == 2
        content = content.replace(letter.encode() * len(name), name)
    path.write_bytes(content)
    return path


def names_in(folder: Path) -> list[str]:
    found = (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name != MARK)
    return sorted(found)


PACKED_BY = {
    "gbk": "数据\\表格/张三.jpg",  # 表 has a trail byte that is a backslash in cp932, and \\ is Windows' slash
    "cp932": "ソフト/表/能.jpg",
    "cp949": "사람/홍길동.jpg",
    "cp950": "功/許蓋.jpg",
    "cp437": "Zoë/Ångström.jpg",
    "cp866": "Люди/Иван.jpg",
}


@pytest.mark.parametrize("encoding", list(PACKED_BY))
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_in_an_encoding_that_is_not_said_are_asked_about_and_then_right(
    encoding: str, kind: str, run: Callable[..., Result], tmp_path: Path
) -> None:
    name = PACKED_BY[encoding]
    raw = name.encode(encoding)
    if kind == "zip":
        archive = unmarked(tmp_path / "a.zip", [raw])
    else:
        archive = tmp_path / "a.tar"
        with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT, encoding=encoding) as file:
            member = tarfile.TarInfo(name)
            member.size = 1
            file.addfile(member, io.BytesIO(b"1"))
    args = ("import", archive, "--layout", "folder", "--out", tmp_path / "m.csv")
    asked = run(*args)
    assert asked.exit_code == 2, asked.output
    assert "has file names that are not UTF-8 and do not say what they are" in asked.output
    part = next(part for part in name.replace("\\", "/").split("/") if not part.isascii())
    assert f"{encoding} ('{part}" in asked.output.replace("\\\\", "/").replace("\\", "/")
    assert [path.name for path in tmp_path.iterdir()] == [archive.name]
    told = run(*args, "--archive-names", encoding)
    assert told.exit_code == 0, told.output
    assert [row.path for row in read_manifest(tmp_path / "m.csv").rows] == [name.replace("\\", "/")]
    assert "read as UTF-8" not in told.output
    again = run(*args)
    assert again.exit_code == 2, "what was unpacked with another answer is not this one's"


def test_only_what_all_names_can_be_is_offered(tmp_path: Path) -> None:
    """陇 of GBK alone would be UTF-8 too."""
    names = ["陇/1.jpg".encode("gbk"), "张三/1.jpg".encode("gbk")]
    with pytest.raises(DataError, match=r"--archive-names: gbk \('张三'\)"):
        unpacked(unmarked(tmp_path / "a.zip", names))
    with pytest.raises(DataError, match=r"not all cp949; say which .*: cp437 \('ü '\), .*; or unpack it"):
        unpacked(unmarked(tmp_path / "b.zip", [b"\x81\x20/1.jpg"]), encoding="cp949")


def test_an_encoding_that_is_none_of_file_names_is_refused(run: Callable[..., Result], tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", {"a.jpg": b"1"})
    for encoding in ("klingon", "utf-16", "rot13", "base64", ""):
        result = run("import", archive, "--archive-names", encoding, "--out", tmp_path / "m.csv")
        assert result.exit_code == 2, encoding
        assert f"{encoding!r} is not an encoding of file names; take one such as gbk" in result.output


def test_names_that_are_utf8_without_saying_so_are_read_and_told(run: Callable[..., Result], tmp_path: Path) -> None:
    """As macOS packs them."""
    archive = unmarked(tmp_path / "a.zip", ["Zoë/人物.jpg".encode(), b"x.jpg"])
    for _ in range(2):  # unpacked now, and found unpacked
        result = run("import", archive, "--layout", "folder", "--out", tmp_path / "m.csv")
        assert result.exit_code == 0, result.output
        assert "file names of a.zip do not say how they are encoded and are read as UTF-8, such as 'Zoë/人物.jpg'" in (
            result.output
        )
    assert names_in(tmp_path / "a.zip.unpacked") == ["Zoë/人物.jpg", "x.jpg"]


def test_names_that_say_what_they_are_need_no_answer(run: Callable[..., Result], tmp_path: Path) -> None:
    marked = packed(tmp_path / "a.zip", {"张三.jpg": b"1"})
    with tarfile.open(tmp_path / "b.tar", "w", format=tarfile.PAX_FORMAT) as file:
        file.addfile(tarfile.TarInfo("张三.jpg"))
    raw = "张三.jpg".encode("gbk")
    beside = "张三.jpg".encode()
    extra = struct.pack("<HHBL", 0x7075, 5 + len(beside), 1, zlib.crc32(raw)) + beside
    written = unmarked(tmp_path / "c.zip", [raw], struct.pack("<HHH", 0xCAFE, 2, 0) + extra)
    for archive in (marked, tmp_path / "b.tar", written):
        for encoding in (None, "cp932"):
            folder = unpacked(archive, encoding=encoding)
            assert names_in(folder) == ["张三.jpg"]
            assert assumed_of(folder) is None
    renamed = unmarked(tmp_path / "d.zip", ["李四.jpg".encode("gbk")], extra)
    with pytest.raises(DataError, match=r"gbk \('李四.jpg'\)"):
        unpacked(renamed)


def test_a_zip_name_that_is_no_utf8_is_damage(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", {"é.jpg": b"1"})
    archive.write_bytes(archive.read_bytes().replace("é".encode(), b"\xff\xff"))
    assert is_archive(archive)
    with pytest.raises(DataError, match=r"a\.zip is damaged"):
        unpacked(archive)


def test_damage_where_the_kind_is_looked_for_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(bytes(range(256)) * 9)[:100])
    with pytest.raises(DataError, match=r"a\.tar\.gz is damaged"):
        is_archive(tmp_path / "a.tar.gz")


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
