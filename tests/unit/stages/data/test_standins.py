from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image

from pirt.core.manifest import read_manifest
from pirt_stages.data.standin_images import Extent
from pirt_stages.data.standins import STANDINS, make_standin

Run = Callable[..., Result]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["market1501", "occluded_dukemtmc"])
def test_full_names_import_and_check_with_the_published_counts(name: str, run: Run, tmp_path: Path) -> None:
    make_standin(name, tmp_path / "data", Extent.FULL, one_pixel=True, seed=0)
    if name == "market1501":
        arguments = ("import", tmp_path / "data")
    else:
        arguments = ("occluded-duke", "--duke", tmp_path / "data", "--lists", tmp_path / "data")
    assert run(*arguments, "--out", tmp_path / "m.csv").exit_code == 0
    result = run("check", tmp_path / "m.csv", "--benchmark", name)
    assert result.exit_code == 0, result.output
    published = {
        "market1501": ("12,936", "3,368", "19,732 = 15,913 + 3,819 junk", "2,798"),
        "occluded_dukemtmc": ("15,618", "2,210", "17,661"),
    }
    for count in published[name]:
        assert count in result.output


@pytest.mark.slow
def test_small_stand_ins_show_pedestrians(tmp_path: Path) -> None:
    make_standin("partial_ilids", tmp_path / "i", Extent.SMALL, one_pixel=False, seed=0, workers=1)
    with Image.open(tmp_path / "i/Partial_iLIDS/occluded_body_images/001.jpg") as image:
        assert (image.format, image.size) == ("JPEG", (64, 128))


def test_queries_of_occluded_duke_are_occluded_and_some_are_moved(tmp_path: Path) -> None:
    standin = STANDINS["occluded_dukemtmc"](Extent.SMALL, 0)
    shots = {item.path.rpartition("/")[2]: item.shot for item in standin.items}
    queries = standin.extras["Occluded_Duke/query.list"].decode().split()
    assert all(shots[name].occluded for name in queries)
    folders = {item.path.split("/")[1] for item in standin.items if item.path.rpartition("/")[2] in queries}
    assert folders == {"query", "bounding_box_test"}


def test_a_stand_in_is_marked_and_replaced_only_by_itself(run: Run, tmp_path: Path) -> None:
    arguments = ("standin", "partial_reid", "--out", tmp_path / "p", "--one-pixel")
    assert "not the data set" in run(*arguments).output
    assert run(*arguments).exit_code == 0
    for name in ("manifest.csv", "Partial-REID/whole_body_images/notes.txt"):
        (tmp_path / "p" / name).write_text("mine")
        assert f"holds {name}, which would be lost" in run(*arguments).output
        assert (tmp_path / "p" / name).read_text() == "mine"
        (tmp_path / "p" / name).unlink()
    (tmp_path / "p" / "STANDIN.json").unlink()
    assert run(*arguments).exit_code == 2
    assert run(*arguments, "--force").exit_code == 0


@pytest.mark.parametrize("name", [name for name in STANDINS if name != "occluded_dukemtmc"])
def test_the_import_knows_a_stand_in(name: str, run: Run, tmp_path: Path) -> None:
    run("standin", name, "--out", tmp_path / "made", "--one-pixel")
    assert "(stand-in) in" in run("import", tmp_path / "made", "--out", tmp_path / "m.csv").output
    assert read_manifest(tmp_path / "m.csv").stand_in
    [inner] = [path for path in (tmp_path / "made").iterdir() if path.is_dir()]
    inner.rename(tmp_path / inner.name)
    run("import", tmp_path / inner.name, "--out", tmp_path / "moved.csv")
    assert read_manifest(tmp_path / "moved.csv").stand_in


def test_the_re_split_of_a_stand_in_and_its_copy_are_known(run: Run, tmp_path: Path) -> None:
    run("standin", "occluded_dukemtmc", "--out", tmp_path / "o", "--one-pixel")
    base = ("occluded-duke", "--duke", tmp_path / "o", "--lists", tmp_path / "o", "--copy-to", tmp_path / "occluded")
    run(*base, "--out", tmp_path / "m.csv")
    run("import", tmp_path / "occluded", "--out", tmp_path / "copy.csv")
    assert [read_manifest(tmp_path / name).stand_in for name in ("m.csv", "copy.csv")] == [True, True]


def test_other_data_are_no_stand_in(smoke: Path, run: Run, tmp_path: Path) -> None:
    run("import", smoke, "--out", tmp_path / "m.csv")
    assert not read_manifest(tmp_path / "m.csv").stand_in


def test_one_pixel_images_all_differ(run: Run, tmp_path: Path) -> None:
    run("standin", "occluded_reid", "--out", tmp_path / "o", "--one-pixel")
    run("import", tmp_path / "o", "--out", tmp_path / "m.csv")
    manifest = read_manifest(tmp_path / "m.csv")
    assert len({row.sha256 for row in manifest.rows}) == len(manifest.rows)
    with Image.open(manifest.image_path(manifest.rows[0])) as image:
        assert (image.format, image.size) == ("TIFF", (1, 1))
