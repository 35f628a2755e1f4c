import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from folder_contents import contents
from PIL import Image
from small_disks import assert_refused_in_one_line, files_up_to

from pirt.core.manifest import read_manifest, write_manifest
from pirt.core.texts import LARGEST_JSON
from pirt.heatmaps.reader import open_store
from pirt.nearest import rank_gallery
from pirt.ranking.embeddings import open_embeddings
from pirt_stages.evaluate.cli import main as evaluate
from pirt_stages.pose.extraction.writer import create_store
from pirt_stages.search.cli import main

pytest.importorskip("faiss")


@pytest.fixture
def search(embeddings_file: Path, tmp_path: Path) -> Callable[..., Result]:
    """Run the program on the gallery; it writes `tmp_path/found`."""

    def run(*more: object) -> Result:
        arguments = ["--gallery", embeddings_file, "--out", tmp_path / "found", *more]
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    return run


def results(folder: Path) -> list[dict]:
    return json.loads((folder / "found" / "results.json").read_text())


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw"])
@pytest.mark.parametrize("groups", ["euclidean", "cosine"])
def test_every_index_finds_what_matching_in_memory_does(search, embeddings_file, tmp_path, kind, groups):
    ended = search("--index", kind, "--top-k", 7, "--top-n", 5, "--group-distance", groups)
    assert ended.exit_code == 0, ended.output
    assert f"fine stage: nearest 5 by parts, {groups} distance, confidence query-gallery" in ended.output
    embeddings = open_embeddings(embeddings_file)
    expected = rank_gallery(embeddings.features("query"), embeddings.features("gallery"), 7, top_n=5, kind=groups)
    offset = embeddings.rows("gallery").start
    for found, images, distances in zip(
        results(tmp_path), expected.images.tolist(), expected.distances.tolist(), strict=True
    ):
        assert [image["key"] for image in found["found"]] == [embeddings.keys[offset + image] for image in images]
        assert [image["distance"] for image in found["found"]] == pytest.approx(distances, abs=1e-5)


def test_table_and_json_say_what_was_found(search, tmp_path):
    ended = search("--key", "query/01.png", "--top-k", 3)
    (found,) = results(tmp_path)
    assert found["query"] == "query/01.png"
    assert set(found["confidence"]) == {"head", "upper", "lower"}
    for image in found["found"]:
        assert f"{image['rank']:5}  {image['key']}" in ended.output
        assert image["match"] == (None if image["pid"] == -1 else image["pid"] == 2)
        assert image["same_camera"] == (image["camid"] == 0)
    assert not (tmp_path / "found" / "rank_lists.png").exists()


def test_who_is_shown_may_be_unknown(search, evaluated, tmp_path):
    rows = [
        replace(row, pid=-1) if row.key == "query/01.png" else row
        for row in read_manifest(evaluated / "manifest.csv").rows
    ]
    write_manifest(tmp_path / "some.csv", rows, evaluated)
    inputs = (
        "--run",
        evaluated / "run",
        "--manifest",
        tmp_path / "some.csv",
        "--heatmaps",
        evaluated / "heatmaps.zarr",
    )
    more = ("--out", tmp_path / "some", "--device", "cpu", "--embed-only")
    assert CliRunner().invoke(evaluate, [str(argument) for argument in (*inputs, *more)]).exit_code == 0
    ended = search("--gallery", tmp_path / "some" / "embeddings.h5", "--top-k", 20)
    assert ended.exit_code == 0, ended.output
    lists = {found["query"]: found["found"] for found in results(tmp_path)}
    nobody = lists.pop("query/01.png")
    assert {(image["match"], image["same_camera"]) for image in nobody} == {(None, None)}
    for image in (image for found in lists.values() for image in found):
        assert (image["match"] is None) == (image["pid"] == -1)
        assert image["same_camera"] == (image["camid"] == 0)


def test_picture_shows_all_queries(search, evaluated, tmp_path):
    ended = search("--manifest", evaluated / "manifest.csv", "--top-k", 4)
    assert ended.exit_code == 0, ended.output
    picture = Image.open(tmp_path / "found" / "rank_lists.png")
    assert picture.height > 5 * 128
    assert picture.getpixel((16 + 1, 45)) == (40, 40, 40)  # the first query's frame


@pytest.mark.parametrize("option", ["--manifest", "--gallery-manifest"])
def test_other_images_of_the_same_keys_are_not_pictured(search, evaluated, tmp_path, option):
    rows = [replace(row, sha256="0" * 64) for row in read_manifest(evaluated / "manifest.csv").rows]
    write_manifest(tmp_path / "other.csv", rows, evaluated)
    manifests = {"--manifest": evaluated / "manifest.csv", "--gallery-manifest": evaluated / "manifest.csv"}
    shown = [word for pair in (manifests | {option: tmp_path / "other.csv"}).items() for word in pair]
    assert_refused(search(*shown), "come from another manifest than the images of the picture")
    assert not (tmp_path / "found").exists()
    assert search(*shown, "--pictured", 0).exit_code == 0


@pytest.mark.parametrize("name", ["rank_lists.png", "results.json"])
@pytest.mark.parametrize("drawn", [False, True])
def test_files_of_somebody_else_stay(search, evaluated, tmp_path, drawn, name):
    (tmp_path / "found").mkdir()
    (tmp_path / "found" / name).write_bytes(b'{"mine": 1}')
    refused = search("--index-at", tmp_path / "index", *(("--manifest", evaluated / "manifest.csv") if drawn else ()))
    assert refused.exit_code == 2
    assert f"{name} is not of a search and would be lost" in refused.output
    assert [path.read_bytes() for path in (tmp_path / "found").iterdir()] == [b'{"mine": 1}']
    assert not (tmp_path / "index").exists()


def test_a_list_of_another_program_that_is_too_large_to_read_stays(search, tmp_path):
    (tmp_path / "found").mkdir()
    detections = b"[" + b",".join([b'{"image_id": 1, "score": 0.5}'] * 1_200_000) + b"]"
    assert len(detections) > LARGEST_JSON
    (tmp_path / "found" / "results.json").write_bytes(detections)
    refused = search("--index-at", tmp_path / "index")
    assert_refused(refused, "results.json is not of a search and would be lost")
    assert (tmp_path / "found" / "results.json").stat().st_size == len(detections)


def test_without_room_for_the_picture_the_earlier_results_stay(search, evaluated, tmp_path):
    drawn = ("--manifest", evaluated / "manifest.csv")
    assert search(*drawn).exit_code == 0
    before = contents(tmp_path)
    with files_up_to(len(before["found/results.json"])):
        ended = search(*drawn, "--top-k", 3)
    assert_refused_in_one_line(ended)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["results.json", "rank_lists.png", "queries.h5"])
def test_a_folder_in_the_place_of_an_output_is_refused_before_the_others_are_replaced(
    search, evaluated, tmp_path, name
):
    new = ("--run", evaluated / "run", "--manifest", evaluated / "manifest.csv")
    new = (*new, "--heatmaps", evaluated / "heatmaps.zarr", "--device", "cpu")
    assert search(*new).exit_code == 0
    (tmp_path / "found" / name).unlink()
    (tmp_path / "found" / name).mkdir()
    before = contents(tmp_path)
    assert_refused(search(*new, "--top-k", 3), f"{name} is a folder")
    assert contents(tmp_path) == before


def test_new_images_have_no_known_identity(search, evaluated, tmp_path):
    rows = [replace(row, pid=99) for row in read_manifest(evaluated / "manifest.csv").split("query")]
    manifest = write_manifest(tmp_path / "new.csv", rows, evaluated)
    attributes = open_store(evaluated / "heatmaps.zarr").attributes
    attributes = attributes.model_copy(update={"skipped": ()})
    writer = create_store(tmp_path / "new.zarr", manifest.rows, attributes, shard_size=8)
    for shard in writer.pending():
        writer.write(shard, np.full((len(writer.rows(shard)), 17, *attributes.heatmap_size), 0.5, np.float32))
    writer.seal()
    images = ("--manifest", tmp_path / "new.csv", "--heatmaps", tmp_path / "new.zarr")
    ended = search("--run", evaluated / "run", *images, "--gallery-manifest", evaluated / "manifest.csv")
    assert ended.exit_code == 0, ended.output
    shown = [image for found in results(tmp_path) for image in found["found"]]
    assert {image["match"] for image in shown} == {image["same_camera"] for image in shown} == {None}
    assert "same person" not in ended.output


def test_new_images_embedded_by_another_model_are_refused(search, evaluated, tmp_path):
    new = [*("--run", evaluated / "baseline"), *("--manifest", evaluated / "manifest.csv")]
    refused = search(*new)
    assert refused.exit_code == 2
    assert "features of different models cannot be compared" in refused.output
    assert not (tmp_path / "found").exists()


def test_new_images_are_embedded_and_found(search, evaluated, tmp_path):
    images = ("--manifest", evaluated / "manifest.csv", "--heatmaps", evaluated / "heatmaps.zarr")
    ended = search("--run", evaluated / "run", *images, "--device", "cpu")
    assert ended.exit_code == 0, ended.output
    from_new = results(tmp_path)
    (tmp_path / "found" / "metrics.json").write_text("of an evaluation")
    assert search("--run", evaluated / "run", *images, "--device", "cpu").exit_code == 0
    assert (tmp_path / "found" / "metrics.json").exists()
    assert search("--queries", tmp_path / "found" / "queries.h5").exit_code == 0
    assert results(tmp_path) == from_new
    assert search().exit_code == 0
    assert [row["query"] for row in results(tmp_path)] == [row["query"] for row in from_new]
    assert [row["found"][0]["key"] for row in results(tmp_path)] == [row["found"][0]["key"] for row in from_new]


def test_index_is_kept_and_refused_for_another_gallery(search, tmp_path):
    kept = ("--index", "hnsw", "--index-at", tmp_path / "index")
    assert search(*kept).exit_code == 0
    before, written = results(tmp_path), (tmp_path / "index" / "index.faiss").stat()
    assert search(*kept).exit_code == 0
    assert results(tmp_path) == before
    assert (tmp_path / "index" / "index.faiss").stat() == written
    assert search(*kept, "--recall", 0.5).exit_code == 0
    assert json.loads((tmp_path / "index" / "made_for.json").read_text())["wanted"] == 0.5
    assert_refused(search("--index", "ivf", "--index-at", tmp_path / "index"), "made for another gallery")
    (tmp_path / "index" / "notes.txt").write_text("mine")
    assert_refused(search(*kept, "--recall", 0.6), "index holds notes.txt, which would be lost")
    (tmp_path / "index" / "notes.txt").unlink()
    (tmp_path / "index" / "index.faiss").write_bytes(b"broken")
    assert_refused(search(*kept, "--recall", 0.5), "is damaged or not an index")


def test_what_is_refused_leaves_the_index_that_is_kept(search, evaluated, tmp_path):
    kept = ("--index", "hnsw", "--index-at", tmp_path / "index")
    new = (*kept, "--run", evaluated / "run", "--manifest", evaluated / "manifest.csv")
    assert search(*kept).exit_code == 0
    before = contents(tmp_path)
    assert_refused(search(*kept, "--recall", 0.3, "--key", "none"), "has no query 'none'")
    assert_refused(search(*new, "--recall", 0.3, "--key", "none"), "no readable query 'none'")
    assert_refused(search(*new, "--recall", 0.3, "--run", evaluated / "baseline"), "features of different models")
    shown = ("--manifest", evaluated / "manifest.csv", "--root", tmp_path / "index")
    assert_refused(search(*kept, "--recall", 0.3, *shown), "index")
    with files_up_to(len(before["found/results.json"]) - 1):  # the index fits
        assert_refused_in_one_line(search(*kept, "--recall", 0.3))
    assert contents(tmp_path) == before


def assert_refused(ended: Result, told: str) -> None:
    assert ended.exit_code == 2
    assert told in ended.output
    assert len(ended.output.strip().splitlines()) == 1


@pytest.mark.parametrize("name", ["eer", "0.001", "0.01", "0.1"])
def test_a_threshold_of_the_evaluation_accepts_what_is_nearer(search, embeddings_file, tmp_path, name):
    ended = search("--threshold", name, "--top-k", 18, "--top-n", 9)
    assert ended.exit_code == 0, ended.output
    measured = json.loads((embeddings_file.parent / "metrics.json").read_text())["same_or_different"]
    point = measured["equal_errors"] if name == "eer" else measured["at_false_positive_rate"][name]
    offset, slope = measured["calibration"]["offset"], measured["calibration"]["slope"]
    shown = [image for found in results(tmp_path) for image in found["found"]]
    for image in shown:
        if image["rank"] > 9:  # ranked by the global distance alone
            assert (image["accepted"], image["probability"]) == (None, None)
            continue
        if abs(image["distance"] - point["threshold"]) > 1e-6:  # as printed
            assert image["accepted"] == (image["distance"] <= point["threshold"])
        assert image["probability"] == pytest.approx(1 / (1 + np.exp(slope * image["distance"] - offset)), abs=1e-4)
    assert ended.output.count("  accepted, probability 0.") == sum(image["accepted"] is True for image in shown)
    assert f"accepted: distance up to {point['threshold']:.4f}" in ended.output


def test_thresholds_that_do_not_fit_are_refused(search, embeddings_file, tmp_path):
    asked = ("--threshold", "eer", "--metrics", tmp_path / "metrics.json")
    assert_refused(search(*asked), "metrics.json does not exist")
    table = json.loads((embeddings_file.parent / "metrics.json").read_text())
    old = {name: value for name, value in table.items() if name != "same_or_different"}
    (tmp_path / "metrics.json").write_text(json.dumps(old))
    assert_refused(search(*asked), "come from an earlier version and have no thresholds")
    other = {**table, "lineage": {**table["lineage"], "checkpoint_sha256": "other"}}
    (tmp_path / "metrics.json").write_text(json.dumps(other))
    assert_refused(search(*asked), "come from another run (checkpoint other)")
    (tmp_path / "metrics.json").write_text(json.dumps(table))
    assert_refused(search(*asked, "--confidence", "none"), "measured with confidence 'query-gallery', not 'none'")
    assert_refused(search(*asked, "--group-distance", "cosine"), "with group distance 'euclidean', not 'cosine'")
    assert_refused(search(*asked[2:]), "say which one with --threshold")
    assert not (tmp_path / "found").exists()


def test_wrong_requests_are_one_line(search, evaluated, embeddings_file, tmp_path):
    assert_refused(search("--key", "query/99.png"), "has no query 'query/99.png'")
    assert_refused(search("--run", evaluated / "run"), "new queries need --run and --manifest")
    assert_refused(search("--queries", tmp_path / "none.h5"), "do not exist")
    assert_refused(search("--heatmaps", evaluated / "heatmaps.zarr"), "--heatmaps are for new queries; pass --run")
    assert_refused(search("--root", tmp_path), "need --manifest, the manifest of the queries")
    roots = ["--manifest", evaluated / "manifest.csv", "--gallery-root", tmp_path]
    assert_refused(search(*roots), "--gallery-root needs --gallery-manifest")
    for folder in (tmp_path / "found", tmp_path):
        assert_refused(search("--index-at", folder), "--out is --index-at or lies in it")
    copy = shutil.copy(embeddings_file, tmp_path / "cut.h5")
    Path(copy).write_bytes(embeddings_file.read_bytes()[:9000])
    assert_refused(search("--queries", copy), "damaged")


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw"])
def test_a_disk_without_room_for_the_index_is_one_line(search, tmp_path, kind):
    with files_up_to(512):
        ended = search("--index", kind, "--index-at", tmp_path / "index")
    assert_refused_in_one_line(ended)
    assert not list(tmp_path.glob("*index*"))
