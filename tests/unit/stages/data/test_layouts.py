import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from pirt.core.errors import DataError
from pirt.core.files import sha256_of
from pirt.core.manifest import read_manifest
from pirt_stages.data.importing.layouts import Choice
from pirt_stages.data.importing.recipe import import_data_set

Make = Callable[[str], Path]
Run = Callable[..., Result]

COUNTS = {
    "market1501": (128, 24, 110),
    "dukemtmc_reid": (144, 24, 120),
    "occluded_reid": (0, 80, 80),
    "partial_reid": (0, 60, 60),
    "partial_ilids": (0, 24, 24),
    "p_dukemtmc_reid": (108, 30, 80),
    "msmt17": (84, 20, 80),
}


@pytest.mark.parametrize("name", list(COUNTS))
def test_each_layout_is_found_by_looking(name: str, standin: Make, run: Run, tmp_path: Path) -> None:
    result = run("import", standin(name), "--out", tmp_path / "m.csv")
    assert result.exit_code == 0, result.output
    manifest = read_manifest(tmp_path / "m.csv")
    assert (
        tuple(sum(row.split == split for row in manifest.rows) for split in ("train", "query", "gallery"))
        == COUNTS[name]
    )
    manifest.require_files()
    for row in manifest.rows[::37]:
        assert row.sha256 == sha256_of(manifest.image_path(row))
        assert row.key == f"{row.split}/{Path(row.path).name}"


@pytest.mark.parametrize("name", list(COUNTS))
def test_a_second_import_gives_the_same_bytes(name: str, standin: Make, tmp_path: Path) -> None:
    root = standin(name)
    import_data_set(root, tmp_path / "1.csv")
    import_data_set(root, tmp_path / "2.csv", Choice(layout=name))
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "2.csv").read_bytes()


def test_market_pids_and_cameras_come_from_the_names(standin: Make, tmp_path: Path) -> None:
    imported = import_data_set(standin("market1501"), tmp_path / "m.csv")
    for row in imported.manifest.rows:
        pid, camera = Path(row.path).name.split("_")[:2]
        assert row.pid == int(pid)
        assert row.camid == int(camera[1])
    assert sum(row.pid == 0 for row in imported.manifest.rows) == 12
    assert sum(row.pid == -1 for row in imported.manifest.rows) == 8
    assert imported.reading.passed_over == {"hidden or __MACOSX": 3}


def test_odd_files_are_passed_over_and_counted(standin: Make, run: Run, tmp_path: Path) -> None:
    root = standin("dukemtmc_reid") / "DukeMTMC-reID"
    shutil.copytree(root / "query", root / "__MACOSX" / "query")
    (root / "query" / "._0001_c1_f0046182.jpg").touch()
    (root / "query" / "readme.txt").touch()
    (root / "query" / "holiday.jpg").touch()
    result = run("import", root, "--out", tmp_path / "m.csv")
    assert "query 24" in result.output
    assert "1 × *.txt" in result.output
    assert "1 × names that are not of DukeMTMC-reID, such as 'query/holiday.jpg'" in result.output
    assert "passed over 3 files in all" in result.output
    assert "1 × hidden or __MACOSX" in result.output


def test_duke_and_its_re_split_are_told_apart_by_the_folder(standin: Make, tmp_path: Path) -> None:
    root = standin("dukemtmc_reid") / "DukeMTMC-reID"
    occluded = root.rename(root.parent / "Occluded_Duke")
    assert import_data_set(occluded, tmp_path / "m.csv").title == "Occluded-DukeMTMC"
    assert import_data_set(occluded, tmp_path / "m.csv", Choice(layout="dukemtmc_reid")).title == "DukeMTMC-reID"


def test_without_cameras_queries_and_gallery_get_different_ones(standin: Make, run: Run, tmp_path: Path) -> None:
    result = run("import", standin("occluded_reid"), "--out", tmp_path / "m.csv")
    assert "no camera labels" in result.output
    rows = read_manifest(tmp_path / "m.csv").rows
    assert {(row.split, row.camid) for row in rows} == {("query", 0), ("gallery", 1)}
    assert rows[0].path == "occluded_body_images/001/001_01.tif"


def test_p_duke_takes_pids_from_folders_and_keys_from_paths_where_names_repeat(standin: Make, tmp_path: Path) -> None:
    root = standin("p_dukemtmc_reid") / "P-DukeMTMC-reid"
    whole = next((root / "train/whole_body_images/0003").iterdir())
    shutil.copy(whole, root / "train/occluded_body_images/0003" / whole.name)
    rows = import_data_set(root, tmp_path / "m.csv").manifest.rows
    assert all(row.key == row.path for row in rows)
    assert all(row.pid == int(row.path.split("/")[2]) for row in rows)


def test_msmt17_reads_both_versions_and_validation_on_request(standin: Make, tmp_path: Path) -> None:
    root = standin("msmt17") / "MSMT17_V1"
    first = import_data_set(root, tmp_path / "1.csv").manifest
    assert len(first.split("train")) == 84
    assert len(import_data_set(root, tmp_path / "v.csv", Choice(with_val=True)).manifest.split("train")) == 96
    assert not {row.pid for row in first.split("train")} & {row.pid for row in first.split("gallery")}
    assert min(row.pid for row in first.rows) == 1
    (root / "train").rename(root / "mask_train_v2")
    (root / "test").rename(root / "mask_test_v2")
    for path in root.glob("*.txt"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n").replace(b"/", b"\\"))
    second = import_data_set(root, tmp_path / "2.csv").manifest
    assert [(r.key, r.pid, r.camid, r.sha256) for r in second.rows] == [
        (r.key, r.pid, r.camid, r.sha256) for r in first.rows
    ]
    third = next(row for row in second.rows if row.split == "query")
    assert third.camid == int(Path(third.path).name.split("_")[2])


@pytest.mark.parametrize(
    "line",
    [
        "../../etc/passwd_0_1.jpg 0",
        "/etc/0_0_1.jpg 0",
        "0000/x.jpg 0",
        "0000/0_0_1.jpg one",
        "x",
        f"0000/0_0_1.jpg {'1' * 5000}",
    ],
)
def test_msmt17_lists_are_not_trusted(line: str, standin: Make, tmp_path: Path) -> None:
    root = standin("msmt17") / "MSMT17_V1"
    with (root / "list_query.txt").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DataError, match=r"list_query.txt, line 21: "):
        import_data_set(root, tmp_path / "m.csv")


def test_msmt17_names_missing_images(standin: Make, tmp_path: Path) -> None:
    root = standin("msmt17") / "MSMT17_V1"
    next((root / "test" / "0004").iterdir()).unlink()
    with pytest.raises(DataError, match=r"1 images of list_.*txt are missing, the first is 'test/0004/"):
        import_data_set(root, tmp_path / "m.csv")


@pytest.fixture
def own(tmp_path: Path, smoke: Path) -> Path:
    """Own data: a table as a spreadsheet on Windows saves it."""
    root = tmp_path / "own"
    rows = [("path", "split", "pid", "camid", "remark")]
    for split, folder in (("train", "bounding_box_train"), ("query", "query"), ("gallery", "bounding_box_test")):
        (root / split).mkdir(parents=True)
        for path in sorted((smoke / folder).iterdir())[:4]:
            shutil.copy(path, root / split)
            rows.append((f"{split}\\{path.name}", split, "7", "2", ""))
    with (root / "images.csv").open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file, delimiter=";", lineterminator="\r\n").writerows(rows)
    return root


@pytest.mark.parametrize("named", [".", "images.csv"])
def test_own_data_come_from_a_table(own: Path, named: str, tmp_path: Path) -> None:
    manifest = import_data_set(own / named, tmp_path / "m.csv").manifest
    assert [len(manifest.split(split)) for split in ("train", "query", "gallery")] == [4, 4, 4]
    assert {(row.pid, row.camid) for row in manifest.rows} == {(7, 2)}
    manifest.require_files()


def test_a_quoted_header_is_read(own: Path, tmp_path: Path) -> None:
    table = (own / "images.csv").read_text(encoding="utf-8-sig")
    (own / "images.csv").write_text(table.replace("path;split;pid;camid", '"path";"split";"pid";"camid"'))
    assert len(import_data_set(own, tmp_path / "m.csv").manifest.rows) == 12


def test_a_foreign_table_beside_a_data_set_is_passed_over(standin: Make, tmp_path: Path) -> None:
    root = standin("market1501") / "Market-1501-v15.09.15"
    (root / "notes.csv").write_bytes("Käfer;größer\n".encode("cp1252"))
    assert import_data_set(root, tmp_path / "m.csv").title == "Market-1501"


@pytest.mark.parametrize("named", [".", "images.csv"])
def test_an_own_table_of_another_encoding_is_named(own: Path, named: str, tmp_path: Path) -> None:
    with (own / "images.csv").open("ab") as file:
        file.write("x.jpg;train;1;1;Käfer\n".encode("cp1252"))
    with pytest.raises(DataError, match=r"images.csv cannot be read as UTF-8 text"):
        import_data_set(own / named, tmp_path / "m.csv")


def test_an_own_table_wins_over_a_data_set_beside_it(own: Path, standin: Make, tmp_path: Path) -> None:
    shutil.copytree(standin("partial_reid") / "Partial-REID", own, dirs_exist_ok=True)
    assert import_data_set(own, tmp_path / "m.csv").title == "own data"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("../x.jpg;train;1;1;", "stay inside"),
        ("C:\\x.jpg;train;1;1;", "stay inside"),
        ("no.jpg;train;1;1;", "'no.jpg' does not exist"),
        ("images.csv;test;1;1;", "split 'test'"),
        ("images.csv;train;one;1;", "pid 'one'"),
        ("images.csv;train;1", "whole numbers"),
    ],
)
def test_a_wrong_row_of_own_data_is_named(own: Path, row: str, said: str, tmp_path: Path) -> None:
    with (own / "images.csv").open("a") as file:
        file.write(row + "\r\n")
    with pytest.raises(DataError, match=f"images.csv, line 14: .*{said}"):
        import_data_set(own, tmp_path / "m.csv")


def test_a_table_without_our_columns_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("file,label\n")
    with pytest.raises(DataError, match="lacks a header with the columns path, split, pid, camid"):
        import_data_set(tmp_path / "t.csv", tmp_path / "m.csv")


def test_wrong_roots_are_one_line_and_leave_nothing(standin: Make, run: Run, tmp_path: Path) -> None:
    market, duke = standin("market1501"), standin("dukemtmc_reid")
    empty = tmp_path / "empty"
    empty.mkdir()
    both = tmp_path / "both"
    shutil.copytree(market, both / "a")
    shutil.copytree(duke, both / "b")
    mixed = tmp_path / "mixed"
    shutil.copytree(market / "Market-1501-v15.09.15", mixed)
    shutil.copytree(duke / "DukeMTMC-reID", mixed, dirs_exist_ok=True)
    bodies = tmp_path / "bodies"
    shutil.copytree(market / "Market-1501-v15.09.15", bodies)
    shutil.copytree(standin("partial_reid") / "Partial-REID", bodies, dirs_exist_ok=True)
    torn = tmp_path / "torn"
    shutil.copytree(market, torn)
    shutil.rmtree(torn / "Market-1501-v15.09.15" / "query")
    hollow = tmp_path / "hollow"
    shutil.copytree(market, hollow)
    for path in (hollow / "Market-1501-v15.09.15" / "query").glob("*.jpg"):
        path.unlink()
    for root, said in (
        (tmp_path / "nowhere", "is not a folder, table, zip or tar"),
        (empty, "no data set found"),
        (both, "holds several data sets, Market-1501 in"),
        (mixed, f"holds several data sets, Market-1501 in {mixed} and DukeMTMC-reID in {mixed}"),
        (bodies, f"holds several data sets, Market-1501 in {bodies} and Partial-REID in {bodies}"),
        (torn, "has no folder 'query'"),
        (hollow, "the query split of Market-1501 has no image"),
    ):
        result = run("import", root, "--out", tmp_path / "m.csv")
        assert result.exit_code == 2, result.output
        lines = [line for line in result.output.splitlines() if line.strip()]
        assert len(lines) == 1, result.output
        assert lines[0].startswith("Error: ")
        assert said in lines[0]
        assert not (tmp_path / "m.csv").exists()
    assert (
        "mixes names of two data sets"
        in run("import", mixed, "--layout", "market1501", "--out", tmp_path / "m.csv").output
    )
    assert run("import", both / "a", "--out", tmp_path / "m.csv").exit_code == 0
    assert "--with-val is for MSMT17" in run("import", market, "--with-val", "--out", tmp_path / "m.csv").output


def test_any_folder_of_images_enters_when_asked(smoke: Path, run: Run, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    shutil.copytree(smoke / "query", pictures / "2024" / "may")
    shutil.copy(next((smoke / "bounding_box_train").iterdir()), pictures / "holiday.jpg")
    (pictures / "readme.txt").touch()
    arguments = ("import", pictures, "--out", tmp_path / "m.csv")
    refused = run(*arguments)
    assert refused.exit_code == 2
    assert "no data set found" in refused.output
    assert "gallery 17 with 17 junk" in run(*arguments, "--layout", "folder").output
    manifest = read_manifest(tmp_path / "m.csv")
    assert {(row.split, row.pid) for row in manifest.rows} == {("gallery", -1)}
    assert manifest.rows[-1].path == "holiday.jpg"
    assert run("check", tmp_path / "m.csv").exit_code == 0


def test_a_name_that_no_manifest_can_hold_is_refused_before_hashing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.jpg")).touch()
    monkeypatch.setattr("pirt_stages.data.importing.recipe.in_threads", lambda *arguments: pytest.fail("hashed"))
    result = run("import", tmp_path, "--layout", "folder", "--out", tmp_path / "m.csv")
    assert result.exit_code == 2
    assert result.output == "Error: 'caf\\udce9.jpg' is not UTF-8, which manifests are; rename it and import again\n"


def test_a_python_that_does_not_read_names_as_utf8_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "café.jpg").touch()
    command = [sys.executable, "-m", "pirt_stages.data", "import", tmp_path, "--layout", "folder", "--out", "m.csv"]
    plain = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    found = subprocess.run(command, cwd=tmp_path, env=os.environ | plain, text=True, capture_output=True, check=False)
    assert found.returncode == 2
    assert "has letters that this Python, which reads names as ascii, does not know; unset" in found.stderr


def test_a_folder_without_images_is_one_line(run: Run, tmp_path: Path) -> None:
    result = run("import", tmp_path, "--layout", "folder", "--out", tmp_path / "m.csv")
    assert result.exit_code == 2
    assert "expected unlabelled images with --layout folder (image files, at any depth)" in result.output


def test_a_missing_root_says_what_belongs_there(run: Run, tmp_path: Path) -> None:
    result = run("import", tmp_path / "market1501", "--layout", "market1501", "--out", tmp_path / "m.csv")
    assert result.exit_code == 2
    expected = "Market-1501 (folders bounding_box_train, query, bounding_box_test with 0001_c1s1_001051_00.jpg)"
    assert result.output == (
        f"Error: data root {tmp_path / 'market1501'} is not a folder, table, zip or tar; expected {expected}\n"
    )


def test_the_rendered_benchmark_enters_as_market_does(smoke: Path, run: Run, tmp_path: Path) -> None:
    result = run("import", smoke, "--out", tmp_path / "m.csv", "--layout", "market1501")
    assert "train 48, query 16, gallery 56 with 4 distractors and 4 junk" in result.output
    assert run("check", tmp_path / "m.csv").exit_code == 0
