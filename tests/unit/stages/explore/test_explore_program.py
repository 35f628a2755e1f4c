import csv
import json
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from explorer_world import EVIL, PEOPLE, data_of, write_evaluation, write_store
from PIL import Image
from small_disks import assert_refused_in_one_line, files_up_to

from pirt.core.manifest import read_manifest, write_manifest
from pirt.ranking.recipe import embeddings_of
from pirt.ranking.results import read_metrics
from pirt_stages.explore.traits import by_cover, by_quarter


def test_same_input_gives_the_same_bytes(site, explore, tmp_path):
    assert explore(tmp_path / "again").exit_code == 0
    files = {path.relative_to(site): path.read_bytes() for path in site.rglob("*") if path.is_file()}
    again = tmp_path / "again"
    assert {path.relative_to(again): path.read_bytes() for path in again.rglob("*") if path.is_file()} == files


def test_table_has_a_row_a_query(site, world):
    with (site / "queries.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    head = data_of(site, "overview")
    assert [row["key"] for row in rows] == head["keys"]
    assert rows[0]["path"] == f"query/{EVIL}"
    for number, row in enumerate(rows):
        for place, name in enumerate(("baseline", "<b>pirt")):
            assert float(row[f"{name} AP"]) == pytest.approx(head["precisions"][place][number], abs=1e-5)
            assert int(row[f"{name} first match"]) == head["firsts"][place][number]
    measured = json.loads((world / "<b>pirt" / "metrics.json").read_text())
    assert np.mean([float(row["<b>pirt AP"]) for row in rows]) == pytest.approx(measured["mAP"], abs=1e-5)


def test_thresholds_shown_are_those_of_the_metrics(site, world):
    for one in data_of(site, "overview")["evaluations"]:
        measured = json.loads((world / one["name"] / "metrics.json").read_text())["same_or_different"]
        rates = measured["at_false_positive_rate"]
        assert one["rates"] == [[r, p["true_positive_rate"], p["threshold"]] for r, p in rates.items()]
        assert one["calibration"] == list(measured["calibration"].values())


def test_only_what_is_shown_has_a_thumbnail_and_no_file_is_named_by_an_image(site):
    shown = {int(image) for piece in (0, 1) for image in data_of(site, f"queries-{piece}")["images"]}
    numbers = {int(path.stem) for path in (site / "thumbnails").rglob("*.webp")}
    assert numbers == set(range(PEOPLE)) | {PEOPLE + image for image in shown}
    for folder, size in (("thumbnails", (16, 32)), ("heatmaps", (4, 8))):
        with Image.open(site / folder / "000/000.webp") as image:
            assert image.size == size


def test_traits_cut_the_queries_into_named_groups():
    cover = by_cover(np.array([0.0, 0.05, 0.051, 0.5, 0.9]), known=True)
    assert [cover.labels[place] for place in cover.bins] == ["up to 5 %", "up to 5 %", "5–20 %", "35–50 %", "over 50 %"]
    quarter = by_quarter("size", "Size", "", np.array([8.0, 1, 2, 3, 4, 5, 6, 7]), " px")
    assert quarter.labels == ("1–2 px", "3–4 px", "5–6 px", "7–8 px")
    assert quarter.bins.tolist() == [3, 0, 0, 1, 1, 2, 2, 3]
    assert by_quarter("size", "Size", "", np.full(5, 128.0), " px").labels == ("128 px",)
    # As the confidences of a model whose parts hardly differ, which were four times 0.33.
    near = by_quarter("confidence", "Confidence", "", np.array([0.3301, 0.3312, 0.3321, 0.3333]), "", 2)
    assert near.labels == ("0.330", "0.331", "0.332", "0.333")


def test_known_cover_is_read_from_the_keypoints_of_rendered_pedestrians(explore, world, tmp_path):
    rows = read_manifest(world / "manifest.csv").split("query")
    table = {
        "images": [{"id": number, "file_name": row.path} for number, row in enumerate(rows)],
        "annotations": [{"image_id": number, "occlusion": number / 20} for number in range(len(rows))],
    }
    (tmp_path / "keypoints.json").write_text(json.dumps(table))
    ended = explore(tmp_path / "out", "--keypoints", tmp_path / "keypoints.json")
    assert ended.exit_code == 0, ended.output
    (cover,) = (trait for trait in data_of(tmp_path / "out", "overview")["traits"] if trait["name"] == "covered")
    assert cover["note"].startswith("known")
    assert [cover["labels"][place] for place in cover["bins"]][:3] == ["up to 5 %", "up to 5 %", "5–20 %"]
    table["annotations"].pop()
    (tmp_path / "keypoints.json").write_text(json.dumps(table))
    assert_refused(explore(tmp_path / "two", "--keypoints", tmp_path / "keypoints.json"), "not know 'query/011.png'")


def assert_refused(ended, told: str) -> None:
    assert ended.exit_code == 2, ended.output
    assert told in ended.output
    assert len(ended.output.strip().splitlines()) == 1


def test_wrong_input_is_one_line_and_writes_nothing(explore, world, tmp_path):
    out = tmp_path / "out"
    assert_refused(explore(out, evaluations=("baseline", "baseline")), "is named twice")
    assert_refused(explore(out, evaluations=("nowhere",)), "nowhere is not a folder")
    assert_refused(explore(out, evaluations=("query",)), "no evaluation in")
    assert_refused(explore(out, "--keypoints", tmp_path / "none.json"), "none.json do not exist")
    assert_refused(explore(out, "--root", tmp_path), "images are missing under")
    manifest = read_manifest(world / "manifest.csv")
    fewer = write_manifest(tmp_path / "fewer.csv", manifest.rows[:-1], world)
    assert_refused(explore(out, "--manifest", tmp_path / "fewer.csv"), "come from another manifest")
    write_store(tmp_path / "other.zarr", fewer)
    assert_refused(explore(out, "--heatmaps", tmp_path / "other.zarr"), "lacks 1 of")
    assert not out.exists()
    (out / "mine").mkdir(parents=True)
    assert_refused(explore(out), "was not made by `pirt-report explore` and would be replaced")
    assert (out / "mine").is_dir()


def test_no_folder_is_searched_for_embeddings_that_lie_beside_their_metrics(world):
    folder = Mock(spec=Path)
    (found,) = embeddings_of({world / "baseline": read_metrics(world / "baseline" / "metrics.json")}, [folder])
    assert found.path == world / "baseline" / "embeddings.h5"
    folder.rglob.assert_not_called()


def test_an_earlier_explorer_is_replaced(explore, tmp_path):
    for name in ("<b>pirt", "baseline"):
        assert explore(tmp_path / "out", evaluations=(name,)).exit_code == 0
    assert [one["name"] for one in data_of(tmp_path / "out", "overview")["evaluations"]] == ["baseline"]
    for name in ("notes.txt", "thumbnails/notes.txt"):
        (tmp_path / "out" / name).write_text("mine")
        refused = explore(tmp_path / "out", evaluations=("baseline",))
        assert (refused.exit_code, (tmp_path / "out" / name).read_text()) == (2, "mine")
        assert f"holds {name}, which would be lost" in refused.output
        (tmp_path / "out" / name).unlink()


def test_parameters_choose_evaluations_and_their_order(explore, tmp_path):
    def shown(params: str) -> list[str]:
        (tmp_path / "params.yaml").write_text(params)
        ended = explore(tmp_path / "out", "--params", tmp_path / "params.yaml", evaluations=(".",))
        assert ended.exit_code == 0, ended.output
        return [one["name"] for one in data_of(tmp_path / "out", "overview")["evaluations"]]

    seeds = "seeds: [1, 2]\nvariants: {baseline: {}, <b>pirt: {}}\n"
    assert shown(seeds) == ["<b>pirt", "baseline"]
    assert shown(seeds + "report: {compare: [baseline, <b>pirt]}") == ["baseline", "<b>pirt"]
    assert shown(seeds + "report: {compare: [baseline]}") == ["baseline"]
    assert shown(seeds.replace("[1, 2]", "[2]")) == ["<b>pirt"]
    for named in ("intra", "baseline, intra"):
        (tmp_path / "params.yaml").write_text(f"{seeds}report: {{compare: [{named}]}}")
        ended = explore(tmp_path / "out", "--params", tmp_path / "params.yaml", evaluations=(".",))
        assert_refused(ended, "no evaluation of variants intra in")


def test_evaluations_of_one_name_are_told_apart_by_their_folders(explore, world, tmp_path):
    manifest = read_manifest(world / "manifest.csv")
    for run in ("a", "b"):
        write_evaluation(tmp_path / run / "eval", manifest, parts=False, seed=4)
    names = tuple(str(tmp_path / run / "eval") for run in ("a", "b"))
    assert explore(tmp_path / "out", evaluations=names).exit_code == 0
    shown = [one["name"] for one in data_of(tmp_path / "out", "overview")["evaluations"]]
    assert shown == ["a/eval", "b/eval"]


def test_a_disk_without_room_is_one_line(explore, tmp_path):
    with files_up_to(200):
        ended = explore(tmp_path / "out")
    assert_refused_in_one_line(ended)
    assert not list(tmp_path.iterdir())
