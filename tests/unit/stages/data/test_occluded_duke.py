import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from small_disks import assert_refused_in_one_line, files_up_to

from pirt.core.manifest import read_manifest

Run = Callable[..., Result]


@pytest.fixture
def duke(standin: Callable[[str], Path]) -> Path:
    return standin("occluded_dukemtmc")


def lines(path: Path) -> list[str]:
    return path.read_text().split()


def test_the_lists_re_split_duke_without_copies(duke: Path, run: Run, tmp_path: Path) -> None:
    result = run("occluded-duke", "--duke", duke, "--lists", duke / "Occluded_Duke", "--out", tmp_path / "m.csv")
    assert result.exit_code == 0, result.output
    manifest = read_manifest(tmp_path / "m.csv")
    manifest.require_files()
    for split in ("train", "query", "gallery"):
        named = [Path(row.path).name for row in manifest.rows if row.split == split]
        assert named == lines(duke / "Occluded_Duke" / f"{split}.list")
    moved = [row for row in manifest.split("query") if row.path.startswith("bounding_box_test/")]
    assert moved
    assert f"{len(moved)} images moved from bounding_box_test" in result.output
    assert all(
        (duke / "DukeMTMC-reID/query" / Path(r.path).name).is_file() for r in manifest.split("query") if r not in moved
    )
    unused = 144 + 24 + 120 - len({row.path for row in manifest.rows})
    assert f"{unused} images of DukeMTMC-reID in no list" in result.output


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_zip_and_windows_lists_give_the_same_rows(encoding: str, duke: Path, run: Run, tmp_path: Path) -> None:
    run("occluded-duke", "--duke", duke, "--lists", duke, "--out", tmp_path / "1.csv")
    archive = shutil.make_archive(str(tmp_path / "DukeMTMC-reID"), "zip", duke, "DukeMTMC-reID")
    for path in (duke / "Occluded_Duke").iterdir():
        path.write_text(path.read_text(), encoding=encoding, newline="\r\n")
    result = run("occluded-duke", "--duke", archive, "--lists", duke, "--out", tmp_path / "2.csv")
    assert result.exit_code == 0, result.output
    assert read_manifest(tmp_path / "1.csv").fingerprint == read_manifest(tmp_path / "2.csv").fingerprint


def test_a_copy_has_the_published_form(duke: Path, run: Run, tmp_path: Path) -> None:
    copy = tmp_path / "Occluded_Duke"
    base = ("occluded-duke", "--duke", duke, "--lists", duke)
    assert run(*base, "--out", tmp_path / "1.csv", "--copy-to", copy).exit_code == 0
    assert read_manifest(tmp_path / "1.csv").root == copy
    assert "Occluded-DukeMTMC" in run("import", copy, "--out", tmp_path / "2.csv").output
    one, two = (read_manifest(tmp_path / f"{number}.csv") for number in (1, 2))
    assert {(row.key, row.path, row.sha256) for row in one.rows} == {
        (row.key, row.path, row.sha256) for row in two.rows
    }
    refused = run(*base, "--out", tmp_path / "3.csv", "--copy-to", copy)
    assert refused.exit_code == 2
    assert "is not empty" in refused.output
    assert not (tmp_path / "3.csv").exists()


def test_a_manifest_among_the_copies_is_refused(duke: Path, run: Run, tmp_path: Path) -> None:
    """Its lock made a new folder one that is not empty."""
    copy = tmp_path / "Occluded_Duke"
    refused = run("occluded-duke", "--duke", duke, "--lists", duke, "--out", copy / "m.csv", "--copy-to", copy)
    assert refused.exit_code == 2
    assert f"lies in {copy}, which is to hold the copied images alone" in refused.output
    assert not copy.exists()


def test_a_command_that_fails_leaves_no_copy(duke: Path, run: Run, tmp_path: Path) -> None:
    out, copy = tmp_path / "lists" / "m.csv", tmp_path / "copies" / "Occluded_Duke"
    command = ("occluded-duke", "--duke", duke, "--lists", duke, "--out", out, "--copy-to", copy)
    with files_up_to(2_000):
        assert_refused_in_one_line(run(*command))
    assert list(tmp_path.iterdir()) == [duke]
    result = run(*command)
    assert result.exit_code == 0, result.output
    assert run("check", out).exit_code == 0


def test_names_of_an_earlier_import_go(duke: Path, run: Run, tmp_path: Path) -> None:
    base = ("occluded-duke", "--duke", duke, "--lists", duke, "--out", tmp_path / "m.csv")
    (tmp_path / "m.names.csv").write_text("kind,number,name\nperson,1,Ann\n")
    with files_up_to(2_000):
        assert_refused_in_one_line(run(*base))
    assert (tmp_path / "m.names.csv").exists()
    assert run(*base).exit_code == 0
    assert not (tmp_path / "m.names.csv").exists()


def test_an_archive_that_changed_is_copied(duke: Path, run: Run, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "d"), "zip", duke, "DukeMTMC-reID"))
    base = ("occluded-duke", "--duke", archive, "--lists", duke, "--out", tmp_path / "m.csv")
    assert run(*base).exit_code == 0
    with zipfile.ZipFile(archive, "a") as packed:
        packed.writestr("DukeMTMC-reID/readme.txt", "new")
    (duke / "Occluded_Duke/query.list").rename(tmp_path / "query.list")
    assert run(*base).exit_code == 2
    assert not list(tmp_path.rglob("readme.txt"))
    (tmp_path / "query.list").rename(duke / "Occluded_Duke/query.list")
    assert run(*base, "--copy-to", tmp_path / "copy").exit_code == 0
    assert list(tmp_path.rglob("readme.txt")) == [tmp_path / "d.zip.unpacked/DukeMTMC-reID/readme.txt"]
    assert read_manifest(tmp_path / "m.csv").root == tmp_path / "copy"
    assert read_manifest(tmp_path / "m.csv").stand_in
    assert run("check", tmp_path / "m.csv").exit_code == 0


def test_unknown_names_are_refused_or_counted(duke: Path, run: Run, tmp_path: Path) -> None:
    with (duke / "Occluded_Duke/query.list").open("a") as file:
        file.write("9999_c1_f0000001.jpg\n9999_c1_f0000002.jpg\n")
    base = ("occluded-duke", "--duke", duke, "--lists", duke, "--out", tmp_path / "m.csv")
    refused = run(*base)
    assert refused.exit_code == 2
    assert "2 names of the lists are not in" in refused.output
    assert "'query.list: 9999_c1_f0000001.jpg'" in refused.output
    assert not (tmp_path / "m.csv").exists()
    assert "2 names without an image: query.list: 9999_c1_f0000001.jpg" in run(*base, "--allow-missing").output
    assert len(read_manifest(tmp_path / "m.csv").split("query")) == 24


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("../../etc/passwd\n", "line 1: '../../etc/passwd' is not a name like"),
        ("0001_c1s1_000151_00.jpg\n", "is not a name like"),
        ("", "the query split of Occluded-DukeMTMC has no image"),
    ],
)
def test_wrong_lists_are_one_line(duke: Path, run: Run, tmp_path: Path, text: str, said: str) -> None:
    (duke / "Occluded_Duke/query.list").write_text(text)
    result = run("occluded-duke", "--duke", duke, "--lists", duke, "--out", tmp_path / "m.csv")
    assert result.exit_code == 2
    assert said in result.output
    assert not (tmp_path / "m.csv").exists()


def test_missing_repeated_and_absent_lists(duke: Path, run: Run, tmp_path: Path) -> None:
    base = ("occluded-duke", "--duke", duke, "--out", tmp_path / "m.csv", "--lists")
    assert "no name lists in" in run(*base, tmp_path / "nowhere").output
    train = duke / "Occluded_Duke/train.list"
    train.write_text(train.read_text() + lines(train)[5] + "\n")
    assert f"names {lines(train)[5]!r} twice" in run(*base, duke).output
    (duke / "Occluded_Duke/gallery.list").unlink()
    assert "gallery.list does not exist" in run(*base, duke).output
    replacing = run("occluded-duke", "--duke", duke, "--lists", duke, "--out", train)
    assert "train.list is not a manifest and would be replaced" in replacing.output
    market = "--duke", tmp_path, "--lists", duke
    assert run("occluded-duke", *market, "--out", tmp_path / "m.csv").exit_code == 2
