"""Data as people have them: linked, named anyhow, numbered from 0, in other formats, in folders a person."""

import csv
import os
import shutil
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

import pytest
from click.testing import Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from small_disks import assert_refused_in_one_line, files_up_to

from pirt.core.errors import DataError
from pirt.core.images import FORMATS
from pirt.core.manifest import read_manifest
from pirt_stages.data.importing.layouts.found import IMAGE_SUFFIXES, UNREAD_SUFFIXES
from pirt_stages.data.importing.layouts.person_folders import Shares, split_by_person

Run = Callable[..., Result]
Import = Callable[..., str]


@pytest.fixture
def importing(run: Run, tmp_path: Path) -> Import:
    """Import what must succeed into m.csv and return what is said."""

    def call(*arguments: object) -> str:
        result = run("import", *arguments, "--out", tmp_path / "m.csv")
        assert result.exit_code == 0, result.output
        return result.output

    return call


@pytest.fixture
def refused(run: Run, tmp_path: Path) -> Import:
    """Import what must fail in one line, and return that line."""

    def call(*arguments: object) -> str:
        result = run("import", *arguments, "--out", tmp_path / "m.csv")
        assert result.exit_code == 2, result.output
        assert result.output.count("\n") == 1
        assert not (tmp_path / "m.csv").exists()
        return result.output

    return call


def images(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 8), zlib.crc32(path.encode()) & 0xFFFFFF).save(root / path, "JPEG")


def rows(tmp_path: Path) -> list[tuple[str, str, int, int]]:
    return [(row.path, row.split, row.pid, row.camid) for row in read_manifest(tmp_path / "m.csv").rows]


def splits(tmp_path: Path) -> list[int]:
    found = [split for _, split, _, _ in rows(tmp_path)]
    return [found.count(split) for split in ("train", "query", "gallery")]


# Links


def test_linked_identities_are_read_as_if_they_lay_there(importing: Import, tmp_path: Path) -> None:
    for side in ("occluded", "whole"):
        names = [f"{n:02}" for n in range(1, 4)]
        images(tmp_path, *(f"Occluded_REID/{side}_body_images/001/001_{n}.jpg" for n in names))
        images(tmp_path, *(f"elsewhere/{side}/002_{n}.jpg" for n in names))
        (tmp_path / f"Occluded_REID/{side}_body_images/002").symlink_to(tmp_path / "elsewhere" / side)
    importing(tmp_path / "Occluded_REID")
    assert splits(tmp_path) == [0, 6, 6]
    assert ("occluded_body_images/002/002_01.jpg", "query", 2, 0) in rows(tmp_path)


@pytest.mark.parametrize("layout", ["market1501", "p_dukemtmc_reid", "folder", "person-folders"])
def test_links_are_followed_in_every_layout(layout: str, importing: Import, tmp_path: Path) -> None:
    root, away = tmp_path / "data", tmp_path / "away"
    files = {
        "market1501": [
            "bounding_box_train/0001/0001_c1s1_000151_01.jpg",
            "query/0002/0002_c1s1_000451_01.jpg",
            "bounding_box_test/0002/0002_c2s1_000451_01.jpg",
        ],
        "p_dukemtmc_reid": [
            f"{place}/{pid}/{pid}_c{camera}_f0046182.jpg"
            for camera, (place, pid) in enumerate(
                [
                    ("train/whole_body_images", "0001"),
                    ("train/occluded_body_images", "0001"),
                    ("test/occluded_body_images", "0002"),
                    ("test/whole_body_images", "0002"),
                ]
            )
        ],
        "folder": ["a/1.jpg", "b/2.jpg"],
        "person-folders": ["a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg"],
    }[layout]
    images(root, *files)
    importing(root, "--layout", layout)
    expected = rows(tmp_path)
    assert len(expected) == len(files)
    for number, folder in enumerate(sorted({(root / file).parent for file in files})):
        away.mkdir(exist_ok=True)
        folder.rename(away / str(number))
        folder.symlink_to(away / str(number))
    importing(root, "--layout", layout)
    assert rows(tmp_path) == expected


@pytest.mark.parametrize(
    "cameras",
    [
        *(("cam1", "cam2"), ("Cam A", "Cam B"), ("c1", "c12"), ("camera_01", "camera_02")),
        *(("cam_back", "cam_front"), ("Kamera 1", "Kamera 2"), ("caméra-1", "caméra-2"), ("c1s1", "c2s1")),
    ],
)
def test_cameras_around_persons_are_asked_about(
    importing: Import, refused: Import, tmp_path: Path, cameras: tuple[str, str]
) -> None:
    root = tmp_path / "root"
    images(root, *(f"{camera}/p{person}/{n}.jpg" for camera in cameras for person in range(4) for n in range(2)))
    said = refused(root, "--layout", "person-folders")
    assert f"has folders such as {cameras[0]!r}, which look like cameras, around others such as 'p0'" in said
    importing(root, "--layout", "person-folders", "--levels", "camera/person")
    assert len({pid for *_, pid, _ in rows(tmp_path)}) == 4
    importing(root, "--layout", "person-folders", "--levels", "person/camera")
    assert len({pid for *_, pid, _ in rows(tmp_path)}) == 2


def test_an_odd_folder_beside_cameras_hides_no_question(refused: Import, tmp_path: Path) -> None:
    root = tmp_path / "root"
    images(root, *(f"{camera}/p{n}/{n}.jpg" for camera in ("cam1", "cam2", "garage") for n in range(3)))
    assert "'cam1', which look like cameras, around others such as 'p0'" in refused(root, "--layout", "person-folders")


def test_persons_with_short_names_are_no_cameras(importing: Import, tmp_path: Path) -> None:
    root = tmp_path / "root"
    images(root, *(f"{person}/{camera}/1.jpg" for person in ("ca", "cb", "Cameron") for camera in ("left", "right")))
    importing(root, "--layout", "person-folders")
    assert len({pid for *_, pid, _ in rows(tmp_path)}) == 3


def test_our_own_files_are_not_among_those_passed_over(run: Run, tmp_path: Path) -> None:
    """A lock of the import itself lies beside its output, which people put beside their images."""
    images(tmp_path, "a/1.jpg", ".m.csv.0123abcd.partial/m.csv.jpg")
    result = run("import", tmp_path, "--layout", "folder", "--out", tmp_path / "m.csv")
    assert "gallery 1 with" in result.output
    assert "passed over" not in result.output


@pytest.mark.parametrize("linked", ["cameras", "persons", "splits", "one to the other"])
@pytest.mark.parametrize("around", [".", "test"])
def test_splits_may_link_to_the_same_persons(importing: Import, tmp_path: Path, linked: str, around: str) -> None:
    root, pool = tmp_path / "root" / around, tmp_path / "pool"
    persons, cameras = ("A", "train"), ("c1", "c2")
    images(pool, *(f"{person}/{camera}/1.jpg" for person in persons for camera in cameras))
    if linked == "cameras":
        for split, person, camera in product(("query", "gallery"), persons, cameras):
            (root / split / person).mkdir(parents=True, exist_ok=True)
            (root / split / person / camera).symlink_to(pool / person / camera)
    elif linked == "persons":
        for split, person in product(("query", "gallery"), persons):
            (root / split).mkdir(parents=True, exist_ok=True)
            (root / split / person).symlink_to(pool / person)
    else:
        root.mkdir(parents=True)
        (root / "gallery").symlink_to(pool)
        (root / "query").symlink_to(root / "gallery" if linked == "one to the other" else pool)
    assert "passed over" not in importing(tmp_path / "root", "--layout", "person-folders")
    assert splits(tmp_path) == [0, 4, 4]


def test_another_name_of_the_same_split_is_no_second_one(importing: Import, tmp_path: Path) -> None:
    root = tmp_path / "root"
    names = {"train": "bounding_box_train", "probe": "query", "gallery": "bounding_box_test"}
    images(root, *(f"{folder}/{person}/1.jpg" for folder in names.values() for person in "AB"))
    for link, folder in names.items():
        (root / link).symlink_to(root / folder)
    said = importing(root, "--layout", "person-folders", "--levels", "split/person")
    assert splits(tmp_path) == [2, 2, 2]
    assert "3 × links to a folder that is read elsewhere" in said


def test_links_from_one_split_deep_into_another_are_not_followed(importing: Import, tmp_path: Path) -> None:
    root = tmp_path / "root"
    images(root, *(f"{split}/{person}/c1/1.jpg" for split in ("query", "gallery") for person in "AB"))
    (root / "query/A/loop").symlink_to(root / "gallery")
    (root / "gallery/A/loop").symlink_to(root / "query")
    (root / "gallery/B/c3").symlink_to(root / "query/B")
    said = importing(root, "--layout", "person-folders")
    assert splits(tmp_path) == [0, 2, 2]
    assert "3 × links to a folder that is read elsewhere" in said


def test_a_split_that_links_back_ends(importing: Import, tmp_path: Path) -> None:
    root = tmp_path / "root"
    images(root, *(f"{split}/{person}/1.jpg" for split in ("query", "gallery") for person in "AB"))
    (root / "query/A/up").symlink_to(root)
    (root / "query/A/again").symlink_to(root / "query")
    said = importing(root, "--layout", "person-folders", "--levels", "split/person")
    assert len(rows(tmp_path)) == 4
    assert "2 × links to a folder that is read elsewhere" in said


def test_links_in_circles_upwards_and_to_nothing_are_counted(importing: Import, tmp_path: Path) -> None:
    root = tmp_path / "root"
    images(root, "a/1.jpg", "a/b/2.jpg")
    (root / "a/b/again").symlink_to(root / "a")
    (root / "a/up").symlink_to(tmp_path)
    (root / "0-first").symlink_to(root / "a/b")
    (root / "itself.jpg").symlink_to(root / "itself.jpg")
    (root / "gone.jpg").symlink_to(root / "nowhere.jpg")
    said = importing(root, "--layout", "folder")
    assert [path for path, *_ in rows(tmp_path)] == ["a/1.jpg", "a/b/2.jpg"]
    assert "3 × links to a folder that is read elsewhere" in said
    assert "2 × links to nothing" in said
    assert "passed over 5 files in all" in said


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_read_is_named(refused: Import, tmp_path: Path) -> None:
    images(tmp_path / "root", "a/1.jpg", "b/2.jpg")
    (tmp_path / "root/b").chmod(0)
    assert "b cannot be listed" in refused(tmp_path / "root", "--layout", "folder")
    (tmp_path / "root/b").chmod(0o755)


def test_pipes_and_devices_are_counted_and_not_opened(importing: Import, tmp_path: Path) -> None:
    images(tmp_path / "root", "a.jpg")
    os.mkfifo(tmp_path / "root/pipe.jpg")
    (tmp_path / "root/zero.jpg").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "root/STANDIN.json")
    assert "3 × neither file nor folder" in importing(tmp_path / "root", "--layout", "folder")
    assert len(rows(tmp_path)) == 1


MARKET = [
    "bounding_box_train/0001_c1s1_000151_01.jpg",
    "query/0002_c1s1_000451_01.jpg",
    "bounding_box_test/0002_c2s1_000451_01.jpg",
]
P_DUKE = [
    f"{half}/{side}_body_images/0001/0001_c1_f0046182.jpg"
    for half in ("train", "test")
    for side in ("occluded", "whole")
]
BODIES = [f"{side}_body_images/001/001_01.jpg" for side in ("occluded", "whole")]
MSMT = [f"{half}/0000/0000_000_01_0303morning_0008_0.jpg" for half in ("train", "test")]


@pytest.mark.parametrize(
    ("layout", "files", "other"),
    [
        ("market1501", MARKET, "Query/0003_c1s1_000451_01.jpg"),
        ("occluded_reid", BODIES, "Whole_body_images/002/002_01.jpg"),
        ("p_dukemtmc_reid", P_DUKE, "Test/whole_body_images/0002/0002_c1_f0046182.jpg"),
        ("p_dukemtmc_reid", P_DUKE, "test/Whole_body_images/0002/0002_c1_f0046182.jpg"),
        ("msmt17", MSMT, "Train/0000/0000_000_01_0303morning_0008_0.jpg"),
    ],
)
def test_folders_that_differ_in_capitals_alone_are_not_left_out(
    layout: str, files: list[str], other: str, refused: Import, importing: Import, tmp_path: Path
) -> None:
    images(tmp_path / "root", *files)
    for name in ("train", "query", "gallery") if layout == "msmt17" else ():
        (tmp_path / f"root/list_{name}.txt").write_text("0000/0000_000_01_0303morning_0008_0.jpg 0\n")
    made = tmp_path / "root" / Path(other).parent
    made.mkdir(parents=True)
    importing(tmp_path / "root", "--layout", layout)
    (tmp_path / "m.csv").unlink()
    images(tmp_path / "root", other)
    said = refused(tmp_path / "root", "--layout", layout)
    part = next(part for part in Path(other).parts if part != part.lower())
    assert f"has folders {part} and {part.lower()}, which are one on some systems" in said
    named = tmp_path / "root" / other[: other.index(part) + len(part)]
    shutil.rmtree(named)
    named.symlink_to(part.lower())
    importing(tmp_path / "root", "--layout", layout)


@pytest.mark.parametrize(
    ("files", "layout"), [(MARKET, "market1501"), (BODIES, "occluded_reid"), (P_DUKE, "p_dukemtmc_reid")]
)
def test_a_folder_that_is_a_link_to_nothing_is_said_to_be_one(
    files: list[str], layout: str, refused: Import, tmp_path: Path
) -> None:
    images(tmp_path / "root", *files[:-1])
    missing = Path(files[-1]).parts[: 2 if layout == "p_dukemtmc_reid" else 1]
    tmp_path.joinpath("root", *missing).symlink_to("nowhere")
    said = refused(tmp_path / "root", "--layout", layout)
    assert f"no folder '{'/'.join(missing)}', but a link of that name to nothing" in said


# Pid 0


def table(path: Path, lines: Sequence[Sequence[object]], header: str = "path,split,pid,camid", **how: str) -> Path:
    delimiter = how.pop("delimiter", ",")
    with path.open("w", newline="", encoding=how.pop("encoding", "utf-8")) as file:
        file.write(header + "\n")
        csv.writer(file, delimiter=delimiter).writerows(lines)
    return path


@pytest.fixture
def people(tmp_path: Path) -> Path:
    images(tmp_path, *(f"p{pid}/{camera}.jpg" for pid in range(3) for camera in range(2)))
    return tmp_path


def lines(split: str, first: int = 1) -> list[tuple[str, str, int, int]]:
    return [(f"p{pid}/{camera}.jpg", split, pid + first, camera) for pid in range(3) for camera in range(2)]


@pytest.mark.parametrize("split", ["train", "query"])
def test_a_person_numbered_0_is_asked_about(split: str, people: Path, refused: Import) -> None:
    said = refused(table(people / "t.csv", lines(split, 0)))
    assert f"2 {split} images of {people} have pid 0" in said
    assert "--pids-from-zero" in said


def test_persons_from_0_are_numbered_from_1_on_request(people: Path, importing: Import) -> None:
    junk = [("p0/0.jpg", "gallery", -1, 9)]
    said = importing(table(people / "t.csv", lines("train", 0)[1:] + junk), "--pids-from-zero")
    assert "pids are those of the data set + 1" in said
    assert [pid for _, _, pid, _ in rows(people)] == [1, 2, 2, 3, 3, -1]


def test_distractors_of_a_gallery_stay_0(people: Path, importing: Import) -> None:
    importing(table(people / "t.csv", [*lines("query")[2:], ("p0/0.jpg", "gallery", 0, 1)]))
    assert rows(people)[-1] == ("p0/0.jpg", "gallery", 0, 1)


def test_training_images_of_nobody_are_said_to_be_left_out(people: Path, importing: Import) -> None:
    said = importing(table(people / "t.csv", [*lines("train")[:4], ("p2/0.jpg", "train", -1, 0)]))
    assert "1 train images have pid -1 (junk) and take no part in training" in said
    assert "junk" not in importing(table(people / "t.csv", lines("train")))


def test_a_published_layout_with_a_person_0_is_asked_about_too(refused: Import, tmp_path: Path) -> None:
    for side in ("occluded", "whole"):
        images(tmp_path / "Occluded_REID", f"{side}_body_images/000/000_01.jpg", f"{side}_body_images/001/001_01.jpg")
    assert "1 query images" in refused(tmp_path / "Occluded_REID")


def test_names_of_persons_and_cameras_are_numbered_and_kept(people: Path, importing: Import) -> None:
    named = [
        (path, split, ["Zoë", "Ann, B.", "人"][pid - 1], f"cam{camid}") for path, split, pid, camid in lines("train")
    ]
    said = importing(table(people / "t.csv", named))
    assert f"the names of 3 persons and 2 cameras are in {people / 'm.names.csv'}" in said
    assert [(pid, camid) for _, _, pid, camid in rows(people)] == [(2, 1), (2, 2), (1, 1), (1, 2), (3, 1), (3, 2)]
    with (people / "m.names.csv").open(newline="", encoding="utf-8") as file:
        kept = {(row["kind"], int(row["number"])): row["name"] for row in csv.DictReader(file)}
    assert kept["person", 1] == "Ann, B."
    assert kept["person", 3] == "人"
    assert kept["camera", 2] == "cam1"
    importing(table(people / "t.csv", lines("train")))
    assert not (people / "m.names.csv").exists()


def test_a_full_disk_leaves_a_manifest_with_its_names(people: Path, importing: Import, run: Run) -> None:
    def named(*names: str) -> Path:
        return table(
            people / "t.csv", [(path, split, names[pid - 1], camid) for path, split, pid, camid in lines("train")]
        )

    importing(named("Ann", "Bob", "Eve"))
    before = [(people / name).read_bytes() for name in ("m.csv", "m.names.csv")]
    again = named(*(letter * 3_000 for letter in "cab"))
    with files_up_to(2_000):
        refused = run("import", again, "--out", people / "m.csv")
    assert_refused_in_one_line(refused)
    assert f"{people / 'm.names.csv'}: " in refused.output
    assert [(people / name).read_bytes() for name in ("m.csv", "m.names.csv")] == before


def test_names_that_differ_in_capitals_are_two_and_told(people: Path, importing: Import) -> None:
    named = [(path, split, ["Ann", "ann", "Bob"][pid - 1], "West") for path, split, pid, _ in lines("train")]
    said = importing(table(people / "t.csv", named))
    assert "persons 'Ann' and 'ann', which differ in capitals only, are two" in said
    assert said.count("in capitals only") == 1
    images(people / "folders", *(f"{name}/{n}.jpg" for name in ("Ann", "ann", "Bob") for n in range(2)))
    assert "'Ann' and 'ann'" in importing(people / "folders", "--layout", "person-folders")


def test_somebody_elses_file_of_names_is_not_replaced(people: Path, refused: Import) -> None:
    (people / "m.names.csv").write_text("mine\n")
    assert "is not a list of names" in refused(table(people / "t.csv", lines("train")))
    assert (people / "m.names.csv").read_text() == "mine\n"


@pytest.mark.parametrize(("encoding", "mark"), [("utf-8-sig", ","), ("utf-8-sig", ";"), ("utf-16", "\t")])
def test_a_file_of_names_that_a_spreadsheet_saved_is_replaced(
    encoding: str, mark: str, people: Path, importing: Import
) -> None:
    named = table(people / "t.csv", [("p0/0.jpg", "train", "Ann", 1), ("p1/0.jpg", "train", "Bob", 1)])
    importing(named)
    written = (people / "m.names.csv").read_text()
    (people / "m.names.csv").write_text(written.replace(",", mark), encoding=encoding)
    importing(named)
    assert (people / "m.names.csv").read_text() == written


# Tables as spreadsheets write them


@pytest.mark.parametrize(
    ("header", "how"),
    [
        ("Path, Split, PID, CamID", {}),
        ("path;split;pid;camid", {"delimiter": ";", "encoding": "utf-8-sig"}),
        ("PATH\tSPLIT\tPID\tCAMID", {"delimiter": "\t", "encoding": "utf-8-sig"}),
        ("path\tsplit\tpid\tcamid", {"delimiter": "\t", "encoding": "utf-16"}),
        ('"path" , "split","pid","camid"', {}),
        ("sep=;\npath;split;pid;camid", {"delimiter": ";"}),
        ("SEP=;\npath;split;pid;camid", {"delimiter": ";", "encoding": "utf-8-sig"}),
        ('"sep=|"\npath|split|pid|camid', {"delimiter": "|", "encoding": "utf-16"}),
        ("sep=\t\r\npath\tsplit\tpid\tcamid", {"delimiter": "\t"}),
        ("sep=:\npath:split:pid:camid", {"delimiter": ":"}),
        ("sep=,,,,\npath,split,pid,camid", {}),
        ("path|split|pid|camid", {"delimiter": "|"}),
    ],
)
def test_headers_as_spreadsheets_write_them(header: str, how: dict[str, str], people: Path, importing: Import) -> None:
    importing(table(people / "t.csv", lines("train"), header, **how))
    assert rows(people) == lines("train")


def test_a_wrong_row_below_a_line_of_the_separator_is_counted_with_it(people: Path, refused: Import) -> None:
    table(people / "t.csv", [*lines("train")[:1], ("p0/9.jpg", "train", 1, 1)], "sep=,\npath,split,pid,camid")
    assert "t.csv, line 4: image 'p0/9.jpg' does not exist" in refused(people / "t.csv")
    table(people / "t.csv", [], "sep=;\npath;split;person")
    assert "t.csv with the columns path, split, but not pid, camid" in refused(people)


def test_cells_with_spaces_capitals_and_decimals(people: Path, importing: Import) -> None:
    spaced = [(f" {path}", " Train", f" {pid}.0", f"{camid},00 ") for path, _, pid, camid in lines("train")]
    importing(table(people / "t.csv", [*spaced, ("", "", "", "")]))
    assert rows(people) == lines("train")


@pytest.mark.parametrize("thousand", ["1.000", "1,000"])
def test_what_may_be_one_or_a_thousand_is_refused(thousand: str, people: Path, refused: Import) -> None:
    rows_of = [("p0/0.jpg", "train", 999, 1), ("p0/1.jpg", "train", 998, 1), ("p1/0.jpg", "train", thousand, 1)]
    for told, line in ((rows_of, 4), ([(*row[:2], thousand, row[3]) for row in rows_of], 2)):
        message = refused(table(people / "t.csv", told, "path;split;pid;camid", delimiter=";"))
        assert f"line {line}: pid {thousand!r} may be one or a thousand" in message


def test_a_quote_that_nobody_closes_is_refused(people: Path, refused: Import) -> None:
    whole = table(people / "t.csv", lines("train"), "path,split,pid,camid").read_text().splitlines()
    for line in range(1, len(whole) + 1):
        text = [*whole]
        text[line - 1] += ',"a note'
        (people / "t.csv").write_text("\n".join(text) + "\n")
        assert f"t.csv, line {line}: a quote opens a field that nothing closes" in refused(people / "t.csv")


def test_two_manifests_of_a_folder_keep_their_own_names(people: Path, run: Run, tmp_path: Path) -> None:
    named = [(path, split, f"person {pid}", camid) for path, split, pid, camid in lines("train")]
    assert run("import", table(people / "t.csv", named), "--out", tmp_path / "set.csv").exit_code == 0
    kept = (tmp_path / "set.names.csv").read_bytes()
    assert run("import", table(people / "t.csv", lines("train")), "--out", tmp_path / "set.tsv").exit_code == 0
    assert (tmp_path / "set.names.csv").read_bytes() == kept


def test_names_and_numbers_that_are_too_long_are_refused(people: Path, refused: Import) -> None:
    path = table(people / "t.csv", [*lines("train"), (f"{'p' * 300}/0.jpg", "train", 1, 1)])
    assert "does not exist" in refused(path)
    message = refused(table(people / "t.csv", [*lines("train"), ("p0/0.jpg", "train", "9" * 5000, 1)]))
    assert "expected whole numbers in all rows" in message
    assert len(message) < 500


def test_an_image_may_be_query_and_gallery(people: Path, importing: Import) -> None:
    both = [("p0/0.jpg", "query", 1, 0), *lines("gallery")]
    importing(table(people / "t.csv", both))
    assert rows(people) == both
    keys = read_manifest(people / "m.csv").keys
    assert keys[:2] == ("query/p0/0.jpg", "gallery/p0/0.jpg")


@pytest.mark.parametrize(
    ("pid", "camid", "said"), [(2, 0, "another pid"), (1, 1, "another camid"), (0, 0, "another pid")]
)
def test_an_image_of_two_persons_or_cameras_is_refused(
    pid: int, camid: int, said: str, people: Path, refused: Import
) -> None:
    both = [*lines("gallery"), ("p0/0.jpg", "query", pid, camid)]
    assert f"line 8: image 'p0/0.jpg' has {said} than in {people / 't.csv'}, line 2; give it only one" in refused(
        table(people / "t.csv", both)
    )


def test_an_image_of_a_person_may_be_junk_elsewhere(people: Path, importing: Import) -> None:
    importing(
        table(people / "t.csv", [("p0/0.jpg", "query", 1, 0), *lines("gallery")[1:], ("p0/0.jpg", "gallery", -1, 7)])
    )


def test_an_image_twice_in_a_split_is_named_by_the_users_file(people: Path, refused: Import) -> None:
    said = refused(table(people / "t.csv", [*lines("train"), lines("train")[3]]))
    assert f"image 'p1/1.jpg' of {people} appears twice in the train split" in said
    assert "m.csv" not in said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (("p0/0.jpg", "train", "one", 1), "line 8: pid 'one'; expected whole numbers in all rows, or names"),
        (("p0/0.jpg", "train", "", 1), "line 8: pid ''"),
        (("p0/0.heic", "train", 1, 1), "line 8: image 'p0/0.heic' is in a format that is not read"),
        (("x" * 20_000, "train", 1, 1), "line 8: a path of 20,000 characters"),
        (("x" * 200_000, "train", 1, 1), "line 8: field larger than field limit"),
    ],
)
def test_a_wrong_row_is_named(line: tuple[object, ...], said: str, people: Path, refused: Import) -> None:
    (people / "p0/0.heic").touch()
    assert said in refused(table(people / "t.csv", [*lines("train"), line]))


@pytest.mark.parametrize("name", ["t.txt", "t.tsv", "t.CSV"])
def test_a_table_that_is_named_may_be_called_as_spreadsheets_call_it(
    name: str, people: Path, importing: Import, tmp_path: Path
) -> None:
    header = "path\tsplit\tpid\tcamid"
    importing(table(people / name, [("p1/0.jpg", "train", 1, 1)], header, delimiter="\t", encoding="utf-16"))
    assert rows(tmp_path) == [("p1/0.jpg", "train", 1, 1)]


@pytest.mark.parametrize("name", ["notes.json", "letter", "labels.csv"])
def test_what_is_no_manifest_is_not_replaced_by_one(name: str, people: Path, run: Run, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    refused = run("import", people, "--layout", "folder", "--out", tmp_path / name)
    assert (refused.exit_code, (tmp_path / name).read_text()) == (2, "mine")
    assert f"{name} is not a manifest and would be replaced" in refused.output


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("first", ["", "sep=,\n"])
def test_a_manifest_is_replaced_whatever_saved_it(
    people: Path, run: Run, tmp_path: Path, encoding: str, first: str
) -> None:
    for _ in range(2):
        assert run("import", people, "--layout", "folder", "--out", tmp_path / "list").exit_code == 0
        (tmp_path / "list").write_text(first + (tmp_path / "list").read_text(), encoding=encoding)


def test_a_table_is_not_read_in_another_layout(people: Path, refused: Import) -> None:
    table(people / "t.csv", [("p1/0.jpg", "train", 1, 1)])
    said = refused(people / "t.csv", "--layout", "market1501")
    assert "t.csv is a table, which --layout market1501 does not read; leave out --layout" in said


@pytest.mark.parametrize("name", ["t.xlsx", "t.XLS", "t.ods"])
def test_a_spreadsheets_own_file_is_no_archive(name: str, people: Path, refused: Import) -> None:
    with zipfile.ZipFile(people / name, "w") as file:
        file.writestr("xl/workbook.xml", "<workbook/>")
    assert f"{name} is a file of a spreadsheet program; save it as 'CSV UTF-8'" in refused(people / name)
    assert not (people / f"{name}.unpacked").exists()


def test_a_table_in_capitals_is_found_in_its_folder(people: Path, importing: Import) -> None:
    table(people / "T.CSV", [("p1/0.jpg", "train", 1, 1)])
    assert "own data" in importing(people)


def test_more_fields_than_columns_are_not_left_out(people: Path, refused: Import) -> None:
    path = people / "t.csv"
    path.write_text("path,split,pid,camid\np1/0.jpg,train,1,0,2\n")  # a pid of 1,0
    assert "line 2: 5 fields, expected 4" in refused(path)
    path.write_text("path,split,pid,camid,pid\np1/0.jpg,train,1,0,2\n")
    assert "has the column pid 2 times" in refused(path)


def test_trailing_delimiters_of_a_spreadsheet_mean_nothing(people: Path, importing: Import, tmp_path: Path) -> None:
    path = people / "t.csv"
    path.write_text("path,split,pid,camid,,\np1/0.jpg,train,1,1,, ,\n,,,,,,,\n")
    importing(path)
    assert rows(tmp_path) == [("p1/0.jpg", "train", 1, 1)]


@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
def test_names_that_macos_spells_otherwise_are_the_same(on_disk: str, importing: Import, tmp_path: Path) -> None:
    """macOS writes é as two characters; a table typed there, or images from there, must still meet."""
    other = "NFD" if on_disk == "NFC" else "NFC"
    name = unicodedata.normalize(on_disk, "Zoë.jpg")
    images(tmp_path / "people", name, "b.jpg", "c.jpg")
    spelt = [unicodedata.normalize(form, "Zoë") for form in ("NFC", "NFD")]
    listed = [(unicodedata.normalize(other, name), "train", spelt[0], 1), ("b.jpg", "train", spelt[1], 1)]
    importing(table(tmp_path / "people/t.csv", [*listed, ("c.jpg", "train", "Ann ", 1)]))
    assert rows(tmp_path) == [(name, "train", 2, 1), ("b.jpg", "train", 2, 1), ("c.jpg", "train", 1, 1)]
    assert (tmp_path / "m.names.csv").read_text().splitlines()[1:] == ["person,1,Ann", f"person,2,{spelt[0]}"]


def test_folders_that_macos_spells_otherwise_are_one_person(importing: Import, tmp_path: Path) -> None:
    forms = [unicodedata.normalize(form, "Zoë") for form in ("NFC", "NFD")]
    images(tmp_path / "one", *(f"{name}/{n}.jpg" for name in ("Ann", "Bob", "Cem", forms[0]) for n in range(4)))
    importing(tmp_path / "one", "--layout", "person-folders")
    in_one = [(split, pid, camid) for _, split, pid, camid in rows(tmp_path)]
    images(tmp_path / "two", *(f"{name}/{n}.jpg" for name in ("Ann", "Bob", "Cem") for n in range(4)))
    images(tmp_path / "two", *(f"{forms[n % 2]}/{n}.jpg" for n in range(4)))
    importing(tmp_path / "two", "--layout", "person-folders")
    assert sorted((split, pid, camid) for _, split, pid, camid in rows(tmp_path)) == sorted(in_one)


def test_a_table_that_lacks_columns_says_which(people: Path, refused: Import) -> None:
    table(people / "t.csv", [], "Path;Split;Person")
    assert "without pid, camid" in refused(people / "t.csv")
    assert "t.csv with the columns path, split, but not pid, camid" in refused(people)


# Published layouts in the forms they go round in


@pytest.mark.parametrize("folders", [("Probe", "Gallery"), ("probe", "gallery")])
def test_partial_ilids_as_probe_and_gallery(folders: tuple[str, str], importing: Import, tmp_path: Path) -> None:
    images(tmp_path / "Partial_iLIDS", *(f"{side}/{n:03}.jpg" for side in folders for n in (1, 2, 3)))
    assert "Partial-iLIDS" in importing(tmp_path / "Partial_iLIDS")
    assert splits(tmp_path) == [0, 3, 3]


def test_folders_may_be_capitalised_in_every_layout(importing: Import, tmp_path: Path) -> None:
    market = {"Bounding_Box_Train": "0001_c1s1_000151_01", "Query": "0002_c1s1_000451_01"}
    images(tmp_path, *(f"market/{folder}/{name}.JPG" for folder, name in market.items()))
    images(tmp_path, "market/Bounding_Box_Test/0002_c2s1_000451_01.jpg")
    assert "Market-1501" in importing(tmp_path / "market")
    assert [path.split("/")[0] for path, *_ in rows(tmp_path)] == [*market, "Bounding_Box_Test"]
    sides = [f"{half}/{side}_Body_Images" for half in ("Train", "Test") for side in ("Occluded", "Whole")]
    images(tmp_path, *(f"pduke/{side}/0001/0001_c{n}_f0046182.jpg" for n, side in enumerate(sides)))
    assert "P-DukeMTMC-reID" in importing(tmp_path / "pduke")
    assert splits(tmp_path) == [2, 1, 1]
    listed = "0000/0000_000_01_0303morning_0008_0.jpg"
    images(tmp_path, f"msmt/Train/{listed}", f"msmt/Test/{listed}")
    for name, encoding in (("train", "utf-8"), ("query", "utf-8-sig"), ("gallery", "utf-16")):
        (tmp_path / f"msmt/list_{name}.txt").write_text(f"{listed} 0\n", encoding=encoding)
    assert "MSMT17" in importing(tmp_path / "msmt")
    assert rows(tmp_path)[0] == (f"Train/{listed}", "train", 1, 1)


def test_of_partial_and_occluded_queries_those_asked_for_are_taken_and_named(importing: Import, tmp_path: Path) -> None:
    root = tmp_path / "Partial_REID"
    images(
        root, *(f"{kind}_body_images/{pid:03}_01.jpg" for kind in ("partial", "whole", "occluded") for pid in (1, 2))
    )
    said = importing(root)
    assert "queries are those of partial_body_images" in said
    assert "occluded_body_images is left out; --probe occluded takes it instead" in said
    assert rows(tmp_path)[0][0] == "partial_body_images/001_01.jpg"
    assert "queries are those of occluded_body_images" in importing(root, "--probe", "occluded")
    assert rows(tmp_path)[0][0] == "occluded_body_images/001_01.jpg"


@pytest.mark.parametrize("kind", ["partial", "occluded"])
def test_either_kind_of_queries_is_enough(kind: str, importing: Import, run: Run, tmp_path: Path) -> None:
    images(tmp_path / "P", f"{kind}_body_images/001_01.jpg", "whole_body_images/001_01.jpg")
    importing(tmp_path / "P")
    assert splits(tmp_path) == [0, 1, 1]
    other = {"partial": "occluded", "occluded": "partial"}[kind]
    result = run("import", tmp_path / "P", "--probe", other, "--out", tmp_path / "n.csv")
    assert f"has no folder {other}_body_images" in result.output


def test_cuhk03_np_has_markets_folders_and_names_of_its_own(importing: Import, refused: Import, tmp_path: Path) -> None:
    root = tmp_path / "cuhk03"
    images(root, "bounding_box_train/0001_c1_1.png", "query/0002_c1_1.png", "bounding_box_test/0002_c2_6.png")
    assert "CUHK03-NP" in importing(root)
    assert [row[1:] for row in rows(tmp_path)] == [("train", 1, 1), ("query", 2, 1), ("gallery", 2, 2)]
    (tmp_path / "m.csv").unlink()
    images(root, "query/0002_c1s1_000451_01.jpg")
    assert "holds several data sets, Market-1501 in" in refused(root)
    assert "mixes names of two data sets" in refused(root, "--layout", "cuhk03_np")


def test_what_is_passed_over_is_told_by_kind_with_totals(importing: Import, tmp_path: Path) -> None:
    root = tmp_path / "extended"
    images(root, "query/0002_c1s1_000451_01.jpg", "bounding_box_test/0002_c2s1_000451_01.jpg")
    images(root, "bounding_box_train/0001_c1s1_000151_01.jpg")
    images(root, *(f"bounding_box_train/0001_c1s1_{n:06}_01_fake_1to2.jpg" for n in range(30)))
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "._x.jpg", "@eaDir/0001_c1s1_000151_01.jpg", "readme"):
        (root / "query" / name).parent.mkdir(exist_ok=True)
        (root / "query" / name).touch()
    said = importing(root)
    assert "passed over 36 files in all" in said
    assert "30 × names that are not of Market-1501, such as 'bounding_box_train/0001_c1s1_000000_01_fake" in said
    assert "5 × hidden or __MACOSX" in said
    assert "1 × files without a suffix" in said


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["bounding_box_train/a b.jpg"], "has the folders of Market-1501, but names like 'a b.jpg' where 0001_c1s1"),
        (["bounding_box_train/a b.jpg"], "where 0001_c1_1.png is expected"),
        (["occluded_body_images/x/1.jpg", "whole_body_images/1.jpg"], "Occluded-REID, but names like 'x/1.jpg' where"),
        (["occluded_body_images/001_01.jpg"], "Occluded-REID, but no folder 'whole_body_images' beside it"),
        (["train/whole_body_images/0001/x.jpg"], "'train' as in P-DukeMTMC-reID, but without both"),
        (["x.jpg"], "persons in folders with --layout person-folders ("),
    ],
)
def test_folders_that_are_right_with_names_that_are_not(
    files: list[str], said: str, refused: Import, tmp_path: Path
) -> None:
    images(tmp_path / "root", *files)
    assert said in refused(tmp_path / "root")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_that_cannot_be_listed_hides_no_data_set(importing: Import, refused: Import, tmp_path: Path) -> None:
    (tmp_path / "root/lost+found").mkdir(parents=True, mode=0o000)
    assert "root/lost+found cannot be listed" in refused(tmp_path / "root")
    images(
        tmp_path / "root/Market", *(f"{folder}/0001_c1s1_000151_01.jpg" for folder in ("bounding_box_train", "query"))
    )
    images(tmp_path / "root/Market", "bounding_box_test/0001_c2s1_000151_01.jpg")
    importing(tmp_path / "root")


def test_msmt17_counts_images_in_no_list(importing: Import, refused: Import, run: Run, tmp_path: Path) -> None:
    assert run("standin", "msmt17", "--out", tmp_path / "MSMT17").exit_code == 0
    train = next((tmp_path / "MSMT17").rglob("list_train.txt")).parent / "train"
    images(train, *(f"0000/0000_{900 + n:03}_01_0303morning_0008_0.jpg" for n in range(3)))
    assert "3 × images in no list, such as 'train/0000/0000_900_01" in importing(tmp_path / "MSMT17")
    (tmp_path / "m.csv").unlink()
    said = refused(tmp_path / "MSMT17", "--pids-from-zero")
    assert "--pids-from-zero is for numbers of the data set's own, but MSMT17 is numbered here" in said


def test_msmt17_without_its_folders_says_so(refused: Import, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    for name in ("train", "query", "gallery"):
        (tmp_path / "root" / f"list_{name}.txt").touch()
    assert "as in MSMT17, but no train, test or mask_train_v2" in refused(tmp_path / "root")


# Formats


def test_every_suffix_of_what_is_read_is_taken_and_what_is_not_is_named(importing: Import, tmp_path: Path) -> None:
    root = tmp_path / "formats"
    images(root, *(f"a{suffix}" for suffix in IMAGE_SUFFIXES), "B.JFIF")
    for suffix in UNREAD_SUFFIXES:
        (root / f"b{suffix}").touch()
    said = importing(root, "--layout", "folder")
    assert len(rows(tmp_path)) == len(IMAGE_SUFFIXES) + 1
    assert f"passed over {len(UNREAD_SUFFIXES)} files in all" in said
    assert said.count("(a format that is not read; save as JPEG or PNG)") == len(UNREAD_SUFFIXES)


def test_formats_that_are_not_read_are_named_before_other_odd_files(importing: Import, tmp_path: Path) -> None:
    images(tmp_path / "data", "a.jpg", "b.heic", *(f"{n}.odd{n % 13}" for n in range(39)))
    said = importing(tmp_path / "data", "--layout", "folder").splitlines()
    assert said[2].startswith("passed over 1 × *.heic (a format that is not read")
    assert said[-2] == "passed over 6 × 2 other kinds"


def test_the_suffixes_are_those_of_the_reader() -> None:
    Image.init()
    registered = {suffix for suffix, kind in Image.EXTENSION.items() if kind in FORMATS}
    # .pfm holds 32-bit numbers, which are refused; .mpo is a JPEG.
    assert registered - {".pfm"} == IMAGE_SUFFIXES - {".mpo", ".jfi", ".jif"}
    assert not IMAGE_SUFFIXES & UNREAD_SUFFIXES
    assert {".heic", ".avif", ".jp2", ".tga"} <= UNREAD_SUFFIXES


def test_images_of_a_format_that_is_not_read_alone_are_named(refused: Import, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root/a.heic").touch()
    said = refused(tmp_path / "root", "--layout", "folder")
    assert "no image (1 odd files passed over: 1 × *.heic (a format that is not read" in said


@pytest.mark.parametrize(
    ("layout", "name"),
    [
        ("person-folders", "Anna/IMG_1.HEIC"),
        ("market1501", "query/0001_c1s1_000151_01.avif"),
        ("occluded_reid", "occluded_body_images/001/001_01.jp2"),
        (None, "query/0001_c1s1_000151_01.tga"),
    ],
)
def test_a_data_set_of_a_format_that_is_not_read_names_it(
    refused: Import, tmp_path: Path, layout: str | None, name: str
) -> None:
    for number in range(3):
        place = tmp_path / "root" / name.replace("1.", f"{number}.")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    images(tmp_path / "root", "cover.jpg")
    said = refused(tmp_path / "root", *(["--layout", layout] if layout else []))
    assert f"(3 × *{Path(name).suffix.lower()} (a format that is not read; save as JPEG or PNG))" in said


# Folders a person


def people_in_folders(root: Path, persons: int = 6) -> None:
    images(root, *(f"Person {p}/Cam {c}/IMG {n}.jpg" for p in range(persons) for c in range(2) for n in range(2)))


def test_folders_a_person_and_camera(importing: Import, run: Run, tmp_path: Path) -> None:
    people_in_folders(tmp_path / "people")
    said = importing(tmp_path / "people", "--layout", "person-folders")
    assert "levels person/camera, split by person with seed 0: 3 persons for training, 3 for queries" in said
    assert splits(tmp_path) == [12, 3, 9]
    for path, _, pid, camid in rows(tmp_path):
        person, camera, _ = path.split("/")
        assert (pid, camid) == (int(person[-1]) + 1, int(camera[-1]) + 1)
    checked = run("check", tmp_path / "m.csv")
    assert checked.exit_code == 0, checked.output
    with (tmp_path / "m.names.csv").open(encoding="utf-8") as file:
        assert "person,6,Person 5\n" in file.readlines()


def test_the_same_seed_gives_the_same_split_wherever_the_folder_lies(importing: Import, tmp_path: Path) -> None:
    found = []
    for place in ("one", "two"):
        people_in_folders(tmp_path / place)
        importing(tmp_path / place, "--layout", "person-folders", "--split-seed", "5")
        found.append(rows(tmp_path))
    assert found[0] == found[1]
    importing(tmp_path / "one", "--layout", "person-folders", "--split-seed", "6")
    assert rows(tmp_path) != found[0]


@pytest.mark.parametrize(
    ("levels", "path", "expected"),
    [
        ("person", "Ann/deep/er/1.jpg", (1, 1)),
        ("camera/person", "west/Ann/1.jpg", (1, 1)),
        ("*/person", "2024/Ann/1.jpg", (1, 1)),
        ("person/*/camera", "Ann/2024/west/1.jpg", (1, 1)),
    ],
)
def test_levels_say_what_folders_stand_for(
    levels: str, path: str, expected: tuple[int, int], importing: Import, tmp_path: Path
) -> None:
    images(tmp_path / "root", path, path.replace("Ann", "Bob"), "cover.jpg")
    said = importing(tmp_path / "root", "--layout", "person-folders", "--levels", levels, "--train-share", "0")
    assert rows(tmp_path)[0][2:] == expected
    assert "1 × images above the folders" in said
    assert "2 for the gallery alone" in said


def test_a_share_of_no_queries_is_refused(run: Run, tmp_path: Path) -> None:
    """It would give each person one."""
    images(tmp_path / "root", *(f"{person}/{n}.jpg" for person in ("Ann", "Bob") for n in range(3)))
    base = ("import", tmp_path / "root", "--layout", "person-folders", "--out", tmp_path / "m.csv", "--query-share")
    ended = run(*base, "0")
    assert (ended.exit_code, "Invalid value for '--query-share'" in ended.output) == (2, True)
    assert run(*base, "0.01").exit_code == 0
    assert splits(tmp_path) == [3, 1, 2]


@pytest.mark.parametrize("around", ["", "data/"])
@pytest.mark.parametrize("camera", ["", "west/"])
def test_folders_of_splits_are_no_persons(around: str, camera: str, importing: Import, tmp_path: Path) -> None:
    of_split = {"Train": "AB", "query": "CD", "Gallery": "CDE"}
    images(
        tmp_path / "root", *(f"{around}{split}/{p}/{camera}{split}.jpg" for split in of_split for p in of_split[split])
    )
    said = importing(tmp_path / "root", "--layout", "person-folders")
    levels = "*/" * bool(around) + "split/person" + "/camera" * bool(camera)
    assert f"levels {levels}, split as the folders say: 2 persons for train, 2 persons for query, 3 " in said
    found = [(split, pid) for _, split, pid, _ in rows(tmp_path)]
    assert sorted(found) == sorted((split.lower(), ord(p) - 64) for split in of_split for p in of_split[split])


def test_of_a_folder_test_queries_are_drawn(importing: Import, tmp_path: Path) -> None:
    images(
        tmp_path / "root", *(f"{split}/{p}{split}/{n}.jpg" for split in ("train", "test") for p in "AB" for n in (1, 2))
    )
    images(tmp_path / "root", "val/A/1.jpg")
    importing(tmp_path / "root", "--layout", "person-folders", "--levels", "split/person")
    assert splits(tmp_path) == [4, 2, 2]
    assert {path.split("/")[0] for path, split, *_ in rows(tmp_path) if split != "train"} == {"test"}


def test_folders_of_splits_beside_others_are_asked_about(refused: Import, importing: Import, tmp_path: Path) -> None:
    for split in ("train", "train_all", "query", "gallery", "val"):
        images(tmp_path / "root", f"{split}/0002/{split}.jpg")
    assert "has folders gallery, query, train beside others, such as 'train_all'" in refused(
        tmp_path / "root", "--layout", "person-folders"
    )
    said = importing(tmp_path / "root", "--layout", "person-folders", "--levels", "split/person")
    assert "passed over 2 × images in none of the folders train, " in said
    assert splits(tmp_path) == [1, 1, 1]


@pytest.mark.parametrize("folders", [("training", "testing"), ("Train", "val"), ("train_val", "Queries", "dev")])
def test_folders_of_splits_in_other_words_are_no_persons(
    folders: tuple[str, ...], refused: Import, importing: Import, tmp_path: Path
) -> None:
    images(tmp_path / "root", *(f"{split}/{p}/{n}{split}.jpg" for split in folders for p in "AB" for n in (1, 2)))
    assert min(map(str.lower, folders)) in refused(tmp_path / "root", "--layout", "person-folders")
    importing(tmp_path / "root", "--layout", "person-folders", "--levels", "*/person")
    assert {pid for _, _, pid, _ in rows(tmp_path)} == {1, 2}


def test_images_in_folders_of_splits_alone_have_no_person(refused: Import, tmp_path: Path) -> None:
    images(tmp_path / "root", "train/1.jpg", "query/2.jpg", "gallery/3.jpg")
    assert "say what the folders stand for" in refused(tmp_path / "root", "--layout", "person-folders")


@pytest.mark.parametrize("around", ["dataset", "data/set/images"])
def test_folders_around_all_persons_are_nobody(around: str, importing: Import, tmp_path: Path) -> None:
    people_in_folders(tmp_path / "root" / around)
    levels = "*/" * len(around.split("/")) + "person/camera"
    assert f"levels {levels}," in importing(tmp_path / "root", "--layout", "person-folders")
    assert len({pid for _, _, pid, _ in rows(tmp_path)}) == 6


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--levels", "camera"], "--levels 'camera': expected folders from the root down"),
        (["--levels", "person/person"], "--levels 'person/person'"),
        (["--levels", "person/camera/*/*"], "has no image below folders person/camera/*/*"),
        (["--split", "query"], "--split is for --layout folder"),
        (["--with-val"], "--with-val is for MSMT17"),
        (["--probe", "partial"], "--probe is for Partial-REID"),
    ],
)
def test_what_does_not_fit_folders_of_persons(arguments: list[str], said: str, refused: Import, tmp_path: Path) -> None:
    images(tmp_path / "root", "a/1.jpg", "b/2.jpg")
    assert said in refused(tmp_path / "root", "--layout", "person-folders", *arguments)


def test_persons_at_different_depths_need_levels(refused: Import, tmp_path: Path) -> None:
    images(tmp_path / "root", "a/1.jpg", "b/west/2.jpg")
    assert "images lie 1 and 2 folders deep" in refused(tmp_path / "root", "--layout", "person-folders")


_images = st.lists(
    st.tuples(st.sampled_from("ABCDEFG"), st.sampled_from(["west", "east", "south"]), st.uuids().map(str)),
    min_size=1,
    max_size=40,
    unique_by=lambda image: image[2],
)


@given(_images, st.integers(0, 9), st.floats(0, 1), st.floats(0, 1), st.booleans())
def test_splits_share_no_person_and_every_query_has_a_match(
    listed: list[tuple[str, str, str]], seed: int, train: float, query: float, cameras: bool
) -> None:
    listed = listed if cameras else [(person, "", path) for person, _, path in listed]
    found = split_by_person(listed, Shares(seed, train, query))
    of = {split: [image for image, own in zip(listed, found, strict=True) if own == split] for split in found}
    training = {person for person, _, _ in of.get("train", [])}
    assert not training & {person for person, _, _ in [*of.get("query", []), *of.get("gallery", [])]}
    for person, camera, _ in of.get("query", []):
        assert any(p == person and (c != camera or not cameras) for p, c, _ in of.get("gallery", []))
    for person in {person for person, _, _ in listed} - training:
        seen = [c for p, c, _ in listed if p == person]
        could_match = len(set(seen)) > 1 if cameras else len(seen) > 1
        assert could_match == any(p == person for p, _, _ in of.get("query", []))
    order = sorted(range(len(listed)), key=lambda at: listed[at][2])
    again = split_by_person([listed[at] for at in order], Shares(seed, train, query))
    assert again == [found[at] for at in order]


# Unlabelled queries, names


def test_images_without_labels_can_be_queries(importing: Import, run: Run, tmp_path: Path) -> None:
    images(tmp_path / "root", "a.jpg", "b.jpg")
    said = importing(tmp_path / "root", "--layout", "folder", "--split", "query")
    assert "every image is one of the query, of pid -1" in said
    assert rows(tmp_path) == [("a.jpg", "query", -1, 0), ("b.jpg", "query", -1, 0)]


@pytest.mark.parametrize("source", ["~/root", "--params"])
def test_places_below_the_home_folder_may_be_written_as_shells_leave_them(
    source: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images(tmp_path / "root", "a.jpg")
    (tmp_path / "own.yaml").write_text("data: {source: ~/root}")
    monkeypatch.setenv("HOME", str(tmp_path))
    given = [source, *["~/own.yaml"] * (source == "--params")]
    result = run("import", *given, "--layout", "folder", "--out=~/m.csv")
    assert result.exit_code == 0, result.output
    assert len(rows(tmp_path)) == 1
    assert read_manifest(tmp_path / "m.csv").root.samefile(tmp_path / "root")


def test_a_place_without_a_name_is_not_the_working_folder(run: Run, tmp_path: Path) -> None:
    unset = run("import", "", "--layout", "folder", "--out", tmp_path / "m.csv")
    assert unset.exit_code == 2
    assert "it is empty" in unset.output


def test_a_name_as_from_a_zip_of_windows_is_asked_about(refused: Import, tmp_path: Path) -> None:
    images(tmp_path / "root", "ann\\west\\1.jpg")
    assert "'ann\\\\west\\\\1.jpg' has a backslash in its name" in refused(tmp_path / "root", "--layout", "folder")


_name = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=20)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(_name, _name)
def test_any_name_is_read_back_exactly_or_refused(run: Run, tmp_path: Path, folder: str, name: str) -> None:
    root = tmp_path / f"r{abs(hash((folder, name)))}" / f"{folder.strip('.')[:40]}x"
    file = root / f"{name}.jpg"
    root.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (1, 1)).save(file, "JPEG")
    result = run("import", root, "--layout", "folder", "--out", tmp_path / "m.csv")
    if result.exit_code == 0 and not name.startswith("."):
        manifest = read_manifest(tmp_path / "m.csv")
        assert [row.path for row in manifest.rows] == [file.name]
        assert manifest.root.resolve() == root.resolve()
        assert manifest.keys == (f"gallery/{file.name}",)
        manifest.require_files()
    else:
        assert result.exit_code == 2 or name.startswith("."), result.output
        refused_for = set(str(file)) & set("\r\n\\") or name.startswith(".") or (len(name) > 1 and name[1] == ":")
        assert refused_for, result.output


def test_a_name_with_an_end_of_line_is_refused_before_hashing(refused: Import, tmp_path: Path) -> None:
    images(tmp_path / "root", "a\nb.jpg")
    assert "path 'a\\nb.jpg' has a line break in it" in refused(tmp_path / "root", "--layout", "folder")
    images(tmp_path / "ro\rot", "a.jpg")
    assert "has a line break in its name" in refused(tmp_path / "ro\rot", "--layout", "folder")


def test_an_error_of_the_layout_is_a_data_error() -> None:
    from pirt_stages.data.importing.layouts.person_folders import levels_named

    with pytest.raises(DataError, match="--levels"):
        levels_named("")
