import errno
import json
import multiprocessing
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from pirt.core.errors import DataError
from pirt.core.keypoints import COCO_KEYPOINTS
from pirt_stages.data.pedestrians.plan import PROFILES, plan
from pirt_stages.data.pedestrians.rendering import render_all
from pirt_stages.data.pedestrians.sheet import ContactSheet
from pirt_stages.data.pedestrians.shot import LEAST, MOST
from pirt_stages.data.pedestrians.synthesize import synthesize

FOLDERS = {"bounding_box_train": "train", "query": "query", "bounding_box_test": "gallery"}


@pytest.fixture(scope="module")
def truth(smoke: Path) -> dict[str, Any]:
    table: dict[str, Any] = json.loads((smoke / "keypoints.json").read_text())
    return table


def test_folders_names_and_sizes_are_markets(smoke: Path) -> None:
    profile = PROFILES["smoke"]
    counts = {split: len(list((smoke / folder).iterdir())) for folder, split in FOLDERS.items()}
    assert counts == {"train": profile.train, "query": profile.query, "gallery": profile.gallery}
    for folder in FOLDERS:
        for path in (smoke / folder).iterdir():
            assert re.fullmatch(r"(-1|\d{4})_c\d+s1_\d{6}_00\.jpg", path.name)
            with Image.open(path) as image:
                assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (64, 128))


def test_every_image_has_one_annotation_in_bounds(smoke: Path, truth: dict[str, Any]) -> None:
    names = [image["file_name"] for image in truth["images"]]
    assert sorted(names) == sorted(str(path.relative_to(smoke).as_posix()) for path in smoke.rglob("*.jpg"))
    assert [note["image_id"] for note in truth["annotations"]] == [image["id"] for image in truth["images"]]
    for note in truth["annotations"]:
        points = np.reshape(note["keypoints"], (17, 3))
        assert set(points[:, 2]) <= {0, 1, 2}
        assert note["num_keypoints"] == (points[:, 2] > 0).sum()
        labelled = points[points[:, 2] > 0]
        assert ((labelled[:, :2] >= -0.5) & (labelled[:, :2] < (63.5, 127.5))).all()
        assert (points[points[:, 2] == 0] == 0).all()


def test_coco_tools_read_the_truth(smoke: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco").COCO(str(smoke / "keypoints.json"))
    assert coco.loadCats(1)[0]["keypoints"] == list(COCO_KEYPOINTS)
    assert len(coco.getAnnIds(catIds=[1])) == len(coco.getImgIds()) == 120


def test_every_query_and_a_share_of_the_rest_is_occluded(truth: dict[str, Any]) -> None:
    occluded: dict[str, list[bool]] = {split: [] for split in FOLDERS.values()}
    for image, note in zip(truth["images"], truth["annotations"], strict=True):
        if note["pid"] > 0:
            occluded[FOLDERS[image["file_name"].partition("/")[0]]].append(note["occluded"])
        assert note["occluded"] == (note["occluder"] is not None)
        assert LEAST <= note["occlusion"] <= MOST if note["occluded"] else note["occlusion"] == 0
    assert all(occluded["query"])
    assert sum(occluded["gallery"]) == round(0.10 * len(occluded["gallery"]))
    assert sum(occluded["train"]) == round(0.09 * len(occluded["train"]))


def test_occluders_hide_keypoints(truth: dict[str, Any]) -> None:
    seen = {True: [], False: []}
    for note in truth["annotations"]:
        if note["pid"] >= 0:
            seen[note["occluded"]].append(sum(value == 2 for value in note["keypoints"][2::3]))
    assert np.mean(seen[True]) < np.mean(seen[False]) - 4
    assert min(seen[False]) >= 5


def test_queries_have_matches_in_other_cameras(truth: dict[str, Any]) -> None:
    gallery, queries = set(), set()
    for image, note in zip(truth["images"], truth["annotations"], strict=True):
        place = gallery if "test" in image["file_name"] else queries
        if "train" not in image["file_name"]:
            place.add((note["pid"], note["camera"]))
    for pid, camera in queries:
        assert any(other == pid and seen != camera for other, seen in gallery)


@pytest.mark.parametrize("name", list(PROFILES))
@pytest.mark.parametrize("seed", [0, pytest.param(5, marks=pytest.mark.slow)])
def test_plans_have_the_counts_of_their_profile(name: str, seed: int) -> None:
    profile, entries = PROFILES[name], plan(PROFILES[name], seed)
    assert len({entry.path for entry in entries}) == len(entries) == profile.train + profile.query + profile.gallery
    assert len({(e.shot.identity, e.shot.camera, e.shot.frame) for e in entries}) == len(entries)
    pids = {folder: {e.pid for e in entries if e.path.startswith(folder) and e.pid > 0} for folder in FOLDERS}
    assert len(pids["bounding_box_train"]) == profile.train_identities
    assert len(pids["query"]) == profile.query_identities
    assert pids["query"] <= pids["bounding_box_test"]
    assert not pids["bounding_box_train"] & pids["bounding_box_test"]
    assert sum(entry.pid == 0 for entry in entries) == profile.distractors
    assert sum(entry.pid == -1 for entry in entries) == profile.junk


def test_the_same_bytes_with_any_number_of_processes() -> None:
    shots = [entry.shot for entry in plan(PROFILES["smoke"], 0)][40:56]
    assert list(render_all(0, shots, 2)) == list(render_all(0, shots, 1))


@pytest.mark.slow
def test_ctrl_c_is_told_by_one_process() -> None:
    shots = [entry.shot for entry in plan(PROFILES["smoke"], 0)][:4]
    pictures = render_all(0, shots, 2)
    next(pictures)
    workers = [Path(f"/proc/{child.pid}/status").read_text() for child in multiprocessing.active_children()]
    pictures.close()
    blocked = [int(status.partition("SigBlk:")[2].split()[0], 16) for status in workers]
    assert [mask >> (signal.SIGINT - 1) & 1 for mask in blocked] == [1, 1]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


@pytest.mark.parametrize(
    "arguments",
    [("synthesize", "--profile", "smoke"), pytest.param(("standin", "partial_ilids"), marks=pytest.mark.slow)],
)
def test_no_workers_render_in_this_process(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Result]
) -> None:
    few(monkeypatch)
    monkeypatch.setenv("PIRT_WORKERS", "0")
    monkeypatch.setattr("pirt_stages.data.pedestrians.rendering._WORTH_A_PROCESS", 1)
    monkeypatch.setattr("multiprocessing.get_context", lambda method: pytest.fail("a process was started"))
    result = run(*arguments, "--out", tmp_path / "people")
    assert result.exit_code == 0, result.output


def test_the_same_seed_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tree_hash: Callable[[Path], dict[str, str]]
) -> None:
    few(monkeypatch)
    for name in ("once", "again"):
        synthesize("smoke", 0, tmp_path / name, workers=1)
    assert tree_hash(tmp_path / "once") == tree_hash(tmp_path / "again")


def test_a_profile_that_there_is_not_is_named(tmp_path: Path, run: Callable[..., Result]) -> None:
    (tmp_path / "params.yaml").write_text("data: {profile: smokey}")
    refused = run("synthesize", "--params", tmp_path / "params.yaml", "--out", tmp_path / "people")
    assert refused.exit_code == 2
    assert "profile: 'smokey' is none of smoke, demo, pretraining, large" in refused.output


def test_a_second_run_replaces_the_first_but_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Result]
) -> None:
    few(monkeypatch)
    out = tmp_path / "people"
    assert run("synthesize", "--profile", "smoke", "--out", out).exit_code == 0
    for name in ("manifest.csv", "query/notes.txt"):
        (out / name).write_text("mine")
        refused = run("synthesize", "--profile", "smoke", "--out", out)
        assert (refused.exit_code, (out / name).read_text()) == (2, "mine")
        assert f"holds {name}, which would be lost" in refused.output
        (out / name).unlink()
    assert run("synthesize", "--profile", "smoke", "--out", out).exit_code == 0
    (out / "keypoints.json").write_text("{}")
    refused = run("synthesize", "--profile", "smoke", "--out", out)
    assert refused.exit_code == 2
    assert "was not made by `pirt-data synthesize`" in refused.output
    assert (out / "keypoints.json").read_text() == "{}"
    assert run("synthesize", "--profile", "smoke", "--out", out, "--force").exit_code == 0


@pytest.mark.slow
def test_another_seed_gives_other_people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tree_hash: Callable[[Path], dict[str, str]]
) -> None:
    few(monkeypatch)
    for seed in (0, 1):
        synthesize("smoke", seed, tmp_path / str(seed), workers=1)
    first, second = tree_hash(tmp_path / "0"), tree_hash(tmp_path / "1")
    assert not set(first.values()) & set(second.values())


def test_an_interruption_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch)

    def interrupted(*arguments: object) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("pirt_stages.data.pedestrians.rendering.render", interrupted)
    with pytest.raises(KeyboardInterrupt):
        synthesize("smoke", 0, tmp_path / "people", workers=1)
    assert not list(tmp_path.iterdir())


def test_contact_sheet_goes_where_it_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Result]
) -> None:
    few(monkeypatch)
    asked = ("--contact-sheet", tmp_path / "sheet.png", "--workers", 1)
    done = run("synthesize", "--profile", "smoke", "--out", tmp_path / "people", *asked)
    assert f"in {tmp_path / 'people'}; contact sheet {tmp_path / 'sheet.png'}\n" in done.output
    assert not (tmp_path / "people" / "contact_sheet.png").exists()
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 600


@pytest.mark.parametrize("name", ["sheet", pytest.param("new/sheet.png", marks=pytest.mark.slow), "people/a/b.png"])
def test_a_contact_sheet_may_have_any_name_and_lie_in_the_folder_itself(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few(monkeypatch)
    for _ in range(2):
        synthesize("smoke", 0, tmp_path / "people", sheet=tmp_path / name, workers=1)
    with Image.open(tmp_path / name) as sheet:
        assert sheet.format == "PNG"


@pytest.mark.parametrize(("out", "sheet"), [("people", "plain/sheet.png"), ("people", "sheet.png"), ("new", "new")])
def test_nothing_is_replaced_where_the_contact_sheet_cannot_be_written(
    out: str,
    sheet: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[..., Result],
    tree_hash: Callable[[Path], dict[str, str]],
) -> None:
    def full(self: ContactSheet) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    few(monkeypatch)
    (tmp_path / "plain").touch()
    synthesize("smoke", 0, tmp_path / "people", workers=1)
    before = tree_hash(tmp_path)
    monkeypatch.setattr(ContactSheet, "draw", full)
    base = ("synthesize", "--profile", "smoke", "--seed", 1, "--out", tmp_path / out)
    refused = run(*base, "--contact-sheet", tmp_path / sheet)
    assert refused.exit_code == 2
    assert str(tmp_path / sheet.partition("/")[0]) in refused.output
    assert tree_hash(tmp_path) == before


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "people").write_text("mine")
    with pytest.raises(DataError, match="--force"):
        synthesize("smoke", 0, tmp_path / "people")


def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shrink the smoke profile to what renders at once."""
    monkeypatch.setitem(PROFILES, "smoke", type(PROFILES["smoke"])(6, 2, 4, 2, 2, 2, 6, 1, 1))
