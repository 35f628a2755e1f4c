import csv
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pirt.core.errors import ManifestError
from pirt.core.manifest import COLUMNS, ImageRow, Manifest, is_of_stand_in, read_manifest, write_manifest

ROWS = (
    ImageRow("train/a.jpg", "bounding_box_train/a.jpg", "train", 1, 1, "00"),
    ImageRow("query/b.jpg", "query/b.jpg", "query", 2, 1, "01"),
    ImageRow("gallery/c.jpg", "bounding_box_test/c.jpg", "gallery", -1, 2, "02"),
)


def test_rows_and_root_come_back(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    written = write_manifest(tmp_path / "lists" / "m.csv", ROWS, tmp_path / "data")
    read = read_manifest(tmp_path / "lists" / "m.csv")
    assert read.rows == written.rows == ROWS
    assert read.root == tmp_path / "data"
    assert read.image_path(ROWS[0]) == tmp_path / "data" / "bounding_box_train" / "a.jpg"


def test_relative_root_is_relative_to_the_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_manifest(Path("lists/m.csv"), ROWS, Path("data"))
    assert (tmp_path / "lists/m.csv").read_text().startswith("# root: ../data\n")
    monkeypatch.chdir("/")
    assert read_manifest(tmp_path / "lists/m.csv").root.resolve() == tmp_path / "data"


@pytest.mark.parametrize("folder", ["short", "lists"])
def test_links_on_the_way_to_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    monkeypatch.chdir(tmp_path)
    for made in ("lists", "deep/er/lists", "elsewhere"):
        Path(made).mkdir(parents=True)
    Path("short").symlink_to("deep/er/lists")
    Path("data").symlink_to("elsewhere")
    write_manifest(Path(folder, "m.csv"), ROWS, Path("data"))
    written = Path(folder).resolve() / "m.csv"
    assert read_manifest(written).root.resolve() == tmp_path / "elsewhere"
    # A link stays as named where that works: what it points to may change.
    root = {"short": "../../../elsewhere", "lists": "../data"}[folder]
    assert written.read_text().startswith(f"# root: {root}\n")


def test_without_a_recorded_root_it_is_the_manifests_folder(tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.csv", ROWS, tmp_path)
    text = (tmp_path / "m.csv").read_text().partition("\n")[2]
    (tmp_path / "m.csv").write_text(text)
    assert read_manifest(tmp_path / "m.csv").root == tmp_path
    assert read_manifest(tmp_path / "m.csv", tmp_path / "other").root == tmp_path / "other"


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_stand_in_is_known_from_file_and_fingerprint(tmp_path: Path, ends: str) -> None:
    written = write_manifest(tmp_path / "m.csv", ROWS, tmp_path, stand_in=True)
    (tmp_path / "m.csv").write_bytes((tmp_path / "m.csv").read_text().replace("\n", ends).encode())
    read = read_manifest(tmp_path / "m.csv")
    assert (read.rows, read.root, read.stand_in) == (ROWS, tmp_path, True)
    plain = Manifest(ROWS, tmp_path).fingerprint
    assert read.fingerprint == written.fingerprint != plain
    assert is_of_stand_in(read.fingerprint)
    assert not is_of_stand_in(plain)


def test_windows_line_ends_and_byte_order_mark(tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.csv", ROWS, Path("/data"))
    text = (tmp_path / "m.csv").read_text()
    (tmp_path / "w.csv").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    read = read_manifest(tmp_path / "w.csv")
    assert read.rows == ROWS
    assert read.root == Path("/data")


def test_fingerprint_is_the_hash_of_the_rows_alone(tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.csv", ROWS, tmp_path)
    rows = (tmp_path / "m.csv").read_bytes().partition(b"\n")[2]
    assert Manifest(ROWS, tmp_path).fingerprint == hashlib.sha256(rows).hexdigest()
    assert Manifest(ROWS, tmp_path).fingerprint == Manifest(ROWS, Path("elsewhere")).fingerprint
    changed = (replace(ROWS[0], sha256="ff"), *ROWS[1:])
    assert Manifest(changed, tmp_path).fingerprint != Manifest(ROWS, tmp_path).fingerprint


_text = st.text(st.characters(codec="utf-8", exclude_characters="\\\0\r\n:", exclude_categories=["Cs"]), min_size=1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.lists(st.tuples(_text, st.integers(-1, 10**6), st.integers(0, 20)), min_size=1, unique_by=lambda row: row[0]))
def test_any_name_comes_back(tmp_path: Path, images: list[tuple[str, int, int]]) -> None:
    rows = tuple(ImageRow(name, f"x{i}/{i}", "train", pid, camid, "00") for i, (name, pid, camid) in enumerate(images))
    write_manifest(tmp_path / "m.csv", rows, tmp_path)
    assert read_manifest(tmp_path / "m.csv").rows == rows


def test_split_lists_one_and_names_an_empty_one(tmp_path: Path) -> None:
    manifest = Manifest(ROWS, tmp_path)
    assert manifest.split("query") == (ROWS[1],)
    with pytest.raises(ManifestError, match="no 'train' image, only"):
        Manifest(ROWS[1:], tmp_path).split("train")


def test_require_files_names_what_is_missing(tmp_path: Path) -> None:
    manifest = Manifest(ROWS, tmp_path)
    with pytest.raises(ManifestError, match=r"3 of .* missing .* 'bounding_box_train/a.jpg'"):
        manifest.require_files()
    (tmp_path / "query").mkdir()
    (tmp_path / "query/b.jpg").touch()
    manifest.require_files([ROWS[1]])
    with pytest.raises(ManifestError, match="not a folder"):
        Manifest(ROWS, tmp_path / "nowhere").require_files()


@pytest.mark.parametrize("path", ["/etc/passwd", "../x.jpg", "a/../../x.jpg", "a\\x.jpg", "C:/x.jpg", "", "."])
def test_paths_that_leave_the_root_are_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(ManifestError, match="leaves the data root"):
        write_manifest(tmp_path / "m.csv", [replace(ROWS[0], path=path)], tmp_path)
    assert not (tmp_path / "m.csv").exists()
    with (tmp_path / "read.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, ("k", path, "train", 1, 1, "00")])
    with pytest.raises(ManifestError, match="leaves the data root"):
        read_manifest(tmp_path / "read.csv")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has columns"),
        ("key,path\n", "has columns .* make one with `pirt-data import`"),
        (",".join((*COLUMNS, "note")) + "\n", r"has columns .* keep only these, in this order"),
        (",".join(COLUMNS) + "\n", "lists no image"),
        (",".join(COLUMNS) + "\nk,a.jpg,train,1\n", "row 1: 4 fields"),
        (",".join(COLUMNS) + "\nk,a.jpg,test,1,1,00\n", "row 1: split 'test'"),
        (",".join(COLUMNS) + "\nk,a.jpg,train,one,1,00\n", "whole numbers"),
        (",".join(COLUMNS) + "\nk,a.jpg,train,1_2,1,00\n", "whole numbers"),
        (",".join(COLUMNS) + "\nk,a.jpg,train,1,1,00\nk,b.jpg,train,1,1,00\n", "appears twice"),
        (",".join(COLUMNS) + "\n,a.jpg,train,1,1,00\n", "empty"),
        (",".join(COLUMNS) + '\n"k,a.jpg,train,1,1,00\n', "is not a CSV file"),
        (",".join(COLUMNS) + f"\nk,a.jpg,train,{2**63},1,00\n", f"'k' has pid {2**63} and"),
        (",".join(COLUMNS) + f"\nk,a.jpg,train,1,-{2**64},00\n", "64-bit numbers"),
        (",".join(COLUMNS) + "\nk,a.jpg,gallery,-2,1,00\n", r"pid -2 .* expected .* -1 \(junk\)"),
    ],
)
def test_malformed_manifests_are_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(ManifestError, match=said):
        read_manifest(tmp_path / "m.csv")


def test_a_wrong_file_is_not_printed_whole(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("[" + "0, " * 100_000 + "x" * 10_000 + "]")
    with pytest.raises(ManifestError, match="has columns") as raised:
        read_manifest(tmp_path / "m.csv")
    assert len(str(raised.value)) < 500 + len(str(tmp_path))


def test_a_path_that_windows_takes_for_a_drive_is_refused_as_such(tmp_path: Path) -> None:
    with pytest.raises(
        ManifestError, match=r"'p:1/0.jpg' leaves the data root, as one that begins with a drive's letter"
    ):
        write_manifest(tmp_path / "m.csv", [replace(ROWS[0], path="p:1/0.jpg")], tmp_path)


def test_numbers_that_no_program_reads_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="pid -2"):
        write_manifest(tmp_path / "m.csv", [replace(ROWS[0], pid=-2)], tmp_path)
    assert not (tmp_path / "m.csv").exists()


def test_missing_and_binary_manifests(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="pirt-data import"):
        read_manifest(tmp_path / "m.csv")
    (tmp_path / "m.csv").write_bytes(b"\xff\x00\x80")
    with pytest.raises(ManifestError, match="UTF-8"):
        read_manifest(tmp_path / "m.csv")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("ends", ["\r\n", "\r"])
@pytest.mark.parametrize("root", ["/data", "/da,ta", "/data ", '/"da"ta', "/a,,,,,", "/a;b;;;;;"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize(("encoding", "above"), [("utf-8-sig", ""), ("utf-16", ""), ("utf-8", "sep={}")])
def test_a_manifest_that_a_spreadsheet_saved_comes_back(
    tmp_path: Path, delimiter: str, ends: str, root: str, quoting: Literal[0, 1], encoding: str, above: str
) -> None:
    written = write_manifest(tmp_path / "m.csv", ROWS, Path(root), stand_in=True)
    assert read_manifest(tmp_path / "m.csv").root == Path(root)
    with (tmp_path / "m.csv").open(newline="", encoding="utf-8") as file:
        cells = [[*row, *[""] * (len(COLUMNS) - len(row))] for row in csv.reader(file)]
    with (tmp_path / "saved.csv").open("w", newline="", encoding=encoding) as file:
        file.write(above.format(delimiter) + (ends if above else ""))
        table = csv.writer(file, delimiter=delimiter, lineterminator=ends, quoting=quoting)
        table.writerows([*cells, [""] * len(COLUMNS)])
        file.write("\n" if ends == "\r" else "")  # as an editor may end it
    read = read_manifest(tmp_path / "saved.csv")
    assert (read.rows, read.root, read.fingerprint) == (ROWS, Path(root), written.fingerprint)


@pytest.mark.parametrize("delimiter", ["|", ":", "^"])
def test_any_mark_may_separate_the_columns_of_a_manifest_that_names_it(tmp_path: Path, delimiter: str) -> None:
    written = write_manifest(tmp_path / "m.csv", ROWS, Path("/data"))
    with (tmp_path / "m.csv").open(newline="", encoding="utf-8") as file:
        cells = list(csv.reader(file))
    with (tmp_path / "saved.csv").open("w", newline="", encoding="utf-8") as file:
        file.write(f"sep={delimiter}\r\n")
        csv.writer(file, delimiter=delimiter, lineterminator="\r\n").writerows(cells)
    read = read_manifest(tmp_path / "saved.csv")
    assert (read.rows, read.root, read.fingerprint) == (ROWS, Path("/data"), written.fingerprint)


def test_a_damaged_utf16_manifest_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_bytes("key,path".encode("utf-16")[:-1])
    with pytest.raises(ManifestError, match="cannot be read as"):
        read_manifest(tmp_path / "m.csv")


_any_text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(_any_text, _any_text, _any_text)
def test_any_unicode_comes_back_exactly_or_is_refused(tmp_path: Path, root: str, key: str, path: str) -> None:
    (tmp_path / "m.csv").unlink(missing_ok=True)
    row = ImageRow(key, path, "train", 1, 1, "00")
    folder = Path(f"/{root}")
    try:
        write_manifest(tmp_path / "m.csv", [row], folder)
    except ManifestError:
        assert set("\0\r\n\\:/.") & set(root + key + path)
        assert not (tmp_path / "m.csv").exists()
    else:
        read = read_manifest(tmp_path / "m.csv")
        assert read.rows == (row,)
        assert read.root == folder


@pytest.mark.parametrize("name", ["a\nb", "a\rb", "a\0b", "a\r\nb"])
def test_ends_of_lines_in_names_are_refused(tmp_path: Path, name: str) -> None:
    for row in (replace(ROWS[0], key=name), replace(ROWS[0], path=name)):
        with pytest.raises(ManifestError, match="has a line break"):
            write_manifest(tmp_path / "m.csv", [row], tmp_path)
    with pytest.raises(ManifestError, match="has a line break in its name"):
        write_manifest(tmp_path / "m.csv", ROWS, Path(f"/{name}"))
