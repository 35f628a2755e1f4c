import errno
import json
import os
import re
import shutil
import signal
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from foreign_shards import with_foreign_shard
from safetensors.torch import load_file, save_file
from sealed_hdf5 import changed
from small_disks import assert_refused_in_a_process
from tiny_gallery import write_heatmaps
from tiny_stores import noise, write_store

from pirt.core.errors import DataError
from pirt.core.files import sha256_of
from pirt.core.manifest import read_manifest
from pirt.heatmaps.reader import open_store
from pirt.ranking.embeddings import open_embeddings
from pirt.ranking.matching import coarse_to_fine, global_distances, make_features
from pirt.ranking.metrics import rank_metrics
from pirt.ranking.results import read_metrics
from pirt.runs.cache import load_heatmaps, store_for
from pirt.runs.dataset import PersonDataset
from pirt.runs.run import load_run, read_record, write_record
from pirt.runs.transforms import EvalTransform
from pirt_stages.evaluate.cli import main


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="session")
def metrics(embeddings_file: Path) -> dict:
    return json.loads(embeddings_file.with_name("metrics.json").read_text())


def test_the_death_of_a_loader_process_is_one_line(arguments_for, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(PersonDataset, "__getitems__", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    ended = invoke(*arguments_for(tmp_path / "run"), "--workers", "1")
    assert ended.exit_code == 2, ended.exception
    said = ended.stderr.splitlines()[-1]
    assert re.fullmatch(r"Error: a process that loads images died \(.*\), .* with fewer --workers \(0 for none\)", said)
    assert not (tmp_path / "run" / "run.json").exists()
    assert not (tmp_path / "run" / "embeddings.h5").exists()


def test_a_shard_of_another_store_is_refused(evaluated: Path, tmp_path: Path, arguments_for):
    def write(path: Path, seed: int) -> Path:
        return write_store(path, read_manifest(evaluated / "manifest.csv"), ((32, 16), (8, 4)), noise(seed, (8, 4), 4))

    refused = invoke(*arguments_for(tmp_path / "out"), "--heatmaps", with_foreign_shard(write, tmp_path))
    assert refused.exit_code == 2
    assert "c.0.0.0.0 is not the file that was sealed" in refused.stderr
    assert not (tmp_path / "out").exists()


def test_counts_tell_everything_that_was_left_out(metrics):
    assert metrics["counts"] == {
        "queries": 5,
        "skipped": 0,
        "gallery": 17,
        "junk": 1,
        "distractors": 2,
        "same_camera_pairs": 5,
        "unreadable": 1,
    }


def test_numbers_follow_from_the_model_by_hand(evaluated, metrics):
    from PIL import Image

    manifest = read_manifest(evaluated / "manifest.csv")
    rows = [row for row in manifest.rows if row.key != "gallery/bad.png"]
    model, record = load_run(evaluated / "run")
    cache = load_heatmaps(store_for(evaluated / "heatmaps.zarr", manifest), rows)
    transform = EvalTransform(record.params.train.image_size)
    images = [transform.resize(Image.open(manifest.image_path(row))) for row in rows]
    with torch.inference_mode():
        out = model(transform.normalise(torch.from_numpy(np.stack(images))), cache.decode(cache.codes))
    parts = [
        make_features([out["stripe"][part], out["patch"][part]], out["groups"][part], out["confidence"][part])
        for part in (slice(0, 5), slice(5, None))
    ]
    pids, camids = [row.pid for row in rows], [row.camid for row in rows]
    modes = ["query-gallery", "query", "gallery", "none", "even"]
    assert list(metrics["confidence_modes"]) == modes
    distances = global_distances(*parts)
    rankings = coarse_to_fine(*parts, distances, distances.clone(), 100, modes, "euclidean")
    for mode, ranking in zip(modes, rankings, strict=True):
        expected = rank_metrics(ranking, pids[:5], pids[5:], camids[:5], camids[5:])
        assert metrics["confidence_modes"][mode]["mAP"] == pytest.approx(expected.mAP)
        assert metrics["confidence_modes"][mode]["mINP"] == pytest.approx(expected.mINP)
        if mode == "query-gallery":
            assert metrics["per_query"]["average_precisions"] == pytest.approx(expected.average_precisions, abs=1e-6)
    assert metrics["per_query"]["pids"] == pids[:5]
    low, high = metrics["per_query"]["interval"]
    assert low <= metrics["mAP"] <= high
    assert metrics["mAP"] == metrics["confidence_modes"]["query-gallery"]["mAP"]


def test_thresholds_are_of_all_pairs_that_the_protocol_leaves_in(metrics, embeddings_file):
    found = metrics["same_or_different"]
    assert found["confidence_mode"] == "query-gallery"
    # Five queries by 17 images without junk, less the 5 of a query's own person and camera.
    assert (found["same_pairs"], found["different_pairs"]) == (10, 5 * 17 - 5 - 10)
    assert list(found["at_false_positive_rate"]) == ["0.001", "0.01", "0.1"]
    assert read_metrics(embeddings_file.with_name("metrics.json")).same_or_different is not None


def test_metrics_of_earlier_versions_can_be_read(metrics, tmp_path):
    old = {name: value for name, value in metrics.items() if name not in ("same_or_different", "per_query")}
    for section, later in (
        ("confidence_modes", ["even"]),
        ("protocol", ["coarse", "group_distance"]),
        ("model", ["stem_pool", "intra_mask"]),
        ("train", ["sampler", "triplet_weight"]),
    ):
        assert old[section].keys() >= set(later)
        old[section] = {name: value for name, value in old[section].items() if name not in later}
    (tmp_path / "metrics.json").write_text(json.dumps(old))
    read = read_metrics(tmp_path / "metrics.json")
    assert (read.same_or_different, read.per_query) == (None, None)
    assert (read.protocol.coarse, read.protocol.group_distance) == ("sum", "euclidean")


@pytest.mark.parametrize("name", ["mAP", "mINP", "rank-1", "rank-5", "rank-10"])
def test_headlines_that_somebody_edited_are_refused(metrics, tmp_path, name):
    (tmp_path / "metrics.json").write_text(json.dumps(metrics | {name: metrics[name] / 2 + 0.01}))
    with pytest.raises(DataError, match="by what else it holds: it was edited"):
        read_metrics(tmp_path / "metrics.json")


def test_metrics_are_the_same_bytes_again_and_from_embeddings(arguments_for, embeddings_file, tmp_path):
    before = embeddings_file.with_name("metrics.json").read_bytes()
    assert invoke(*arguments_for(tmp_path / "again")).exit_code == 0
    assert (tmp_path / "again" / "metrics.json").read_bytes() == before
    headline = json.loads((tmp_path / "again" / "scores.json").read_text())
    assert headline == {name: json.loads(before)[name] for name in ("mAP", "mINP", "rank-1", "rank-5", "rank-10")}
    assert (tmp_path / "again" / "embeddings.h5").read_bytes() == embeddings_file.read_bytes()
    ended = invoke("--from-embeddings", embeddings_file, "--out", tmp_path / "recomputed")
    assert ended.exit_code == 0, ended.output
    assert (tmp_path / "recomputed" / "metrics.json").read_bytes() == before
    assert not (tmp_path / "recomputed" / "embeddings.h5").exists()


def test_options_and_parameter_file_choose_the_protocol(embeddings_file, tmp_path):
    (tmp_path / "params.yaml").write_text("evaluate: {top_n: 3, junk: keep}\n")
    chosen = ["--params", tmp_path / "params.yaml", "--matching", "full", "--average-precision", "trapezoid"]
    chosen += ["--rerank", "--group-distance", "cosine"]
    assert invoke("--from-embeddings", embeddings_file, *chosen, "--out", tmp_path).exit_code == 0
    protocol = json.loads((tmp_path / "metrics.json").read_text())["protocol"]
    assert protocol == {
        "matching": "full",
        "top_n": 3,
        "coarse": "sum",
        "group_distance": "cosine",
        "max_rank": 50,
        "average_precision": "trapezoid",
        "unmatched": "skip",
        "junk": "keep",
        "rerank": {"k1": 20, "k2": 6, "original": 0.3},
        "cameras": "labelled",
    }


def test_headline_ranks_do_not_end_with_the_curve(embeddings_file, tmp_path):
    told = []
    for most in ("50", "1"):
        assert invoke("--from-embeddings", embeddings_file, "--max-rank", most, "--out", tmp_path / most).exit_code == 0
        told.append((tmp_path / most / "scores.json").read_bytes())
        assert len(read_metrics(tmp_path / most / "metrics.json").cmc) == int(most)
    assert told[0] == told[1]


def test_junk_that_is_kept_is_not_called_left_out(embeddings_file, tmp_path):
    kept = invoke("--from-embeddings", embeddings_file, "--junk", "keep", "--out", tmp_path / "kept")
    dropped = invoke("--from-embeddings", embeddings_file, "--out", tmp_path / "dropped")
    assert "distractors, 1 junk images); left out: 5 same-camera pairs" in kept.output
    assert "distractors); left out: 1 junk images, 5 same-camera pairs" in dropped.output
    counts = [read_metrics(tmp_path / name / "metrics.json").counts for name in ("kept", "dropped")]
    assert counts[0].gallery == counts[1].gallery + 1


def test_the_stripe_alone_can_be_coarse_but_not_beside_reranking(embeddings_file, tmp_path):
    chosen = ("--from-embeddings", embeddings_file, "--coarse", "stripe", "--out", tmp_path)
    assert invoke(*chosen).exit_code == 0
    assert json.loads((tmp_path / "metrics.json").read_text())["protocol"]["coarse"] == "stripe"
    refused = invoke(*chosen, "--rerank")
    assert refused.exit_code == 2
    assert (
        "Error: options: re-ranking replaces the coarse distance, so coarse = 'stripe' would do nothing; leave one out"
        in refused.output
    )
    assert len(refused.output.strip().splitlines()) == 1


def test_baseline_has_no_confidence_modes(arguments_for, tmp_path):
    ended = invoke(*arguments_for(tmp_path, "baseline"))
    assert ended.exit_code == 0, ended.output
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert found["confidence_modes"] == {}
    assert found["counts"]["unreadable"] == 1
    assert open_embeddings(tmp_path / "embeddings.h5").global_names == ("global",)


def test_heatmaps_of_another_store_than_the_runs_are_told(evaluated, arguments_for, tmp_path):
    told = "heatmaps: from another store than the one that the run was trained with\n"
    assert told not in invoke(*arguments_for(tmp_path / "elsewhere")).output
    fingerprint = read_manifest(evaluated / "manifest.csv").fingerprint
    record = read_record(evaluated / "run").model_copy(update={"manifest_fingerprint": fingerprint})
    for trained, expected in (("2" * 64, True), (open_store(evaluated / "heatmaps.zarr").fingerprint, False)):
        shutil.copytree(evaluated / "run", tmp_path / trained)
        write_record(tmp_path / trained, record.model_copy(update={"heatmaps_fingerprint": trained}))
        ended = invoke(*arguments_for(tmp_path / "out", str(tmp_path / trained)))
        assert ended.exit_code == 0, ended.output
        assert (told in ended.output) is expected


def test_new_embeddings_leave_no_metrics_of_old_ones(arguments_for, tmp_path):
    assert invoke(*arguments_for(tmp_path)).exit_code == 0
    ended = invoke(*arguments_for(tmp_path, "baseline"), "--embed-only")
    assert ended.exit_code == 0
    for name in ("metrics.json", "scores.json"):
        assert f"removed {tmp_path / name}, which was measured from earlier embeddings" in ended.output
    assert "removed" not in invoke(*arguments_for(tmp_path), "--embed-only").output
    assert [file.name for file in tmp_path.iterdir()] == ["embeddings.h5"]


@pytest.mark.parametrize("more", [(), ("--embed-only",)])
def test_an_evaluation_that_cannot_be_written_leaves_the_earlier_one(arguments_for, tmp_path, monkeypatch, more):
    write_text = Path.write_text

    def refused(path, *given, **named):
        if path.name == "scores.json":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write_text(path, *given, **named)

    assert invoke(*arguments_for(tmp_path), *more).exit_code == 0
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    monkeypatch.setattr(Path, "write_text", refused)
    assert invoke(*arguments_for(tmp_path, "baseline")).exit_code == 2
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", ["metrics.json", "scores.json"])
@pytest.mark.parametrize("content", ['{"pck": 0.9}', "[1]", "5"])
def test_metrics_of_other_programs_are_not_replaced(arguments_for, embeddings_file, tmp_path, name, content):
    (tmp_path / name).write_text(content)
    from_embeddings = ["--from-embeddings", embeddings_file, "--out", tmp_path]
    for arguments in (arguments_for(tmp_path), [*arguments_for(tmp_path), "--embed-only"], from_embeddings):
        refused = invoke(*arguments)
        assert refused.exit_code == 2
        assert f"{name} is not of `pirt-eval` and would be replaced" in refused.output
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {name: content}


@pytest.mark.parametrize("embed_only", [False, True])
def test_embeddings_of_other_programs_are_not_replaced(arguments_for, tmp_path, embed_only):
    with h5py.File(tmp_path / "embeddings.h5", "w") as file:
        file["mine"] = [1]
    before = (tmp_path / "embeddings.h5").read_bytes()
    refused = invoke(*arguments_for(tmp_path), *(["--embed-only"] if embed_only else []))
    assert refused.exit_code == 2
    assert "embeddings.h5 is not of `pirt-eval` and would be replaced" in refused.output
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]


def test_two_steps_come_to_the_same_as_one(evaluated, arguments_for, tmp_path):
    named = tmp_path / "{variant}-seed{seed}"
    ours = ("--variant", "pirt", "--seed", 0)
    assert invoke(*arguments_for(tmp_path / "once")).exit_code == 0
    assert invoke(*arguments_for(named), *ours, "--embed-only").exit_code == 0
    ended = invoke("--from-embeddings", named / "embeddings.h5", *ours, "--out", tmp_path / "apart")
    assert ended.exit_code == 0, ended.output
    for name, folder in (("embeddings.h5", "pirt-seed0"), ("metrics.json", "apart"), ("scores.json", "apart")):
        assert (tmp_path / folder / name).read_bytes() == (tmp_path / "once" / name).read_bytes()


def test_metrics_of_other_embeddings_do_not_come_beside_them(arguments_for, embeddings_file, tmp_path):
    assert invoke(*arguments_for(tmp_path, "baseline")).exit_code == 0
    mixed = invoke("--from-embeddings", embeddings_file, "--out", tmp_path)
    assert (mixed.exit_code, "the metrics of its own embeddings.h5; name another" in mixed.output) == (2, True)
    assert invoke("--from-embeddings", tmp_path / "embeddings.h5", "--out", tmp_path).exit_code == 0


def test_where_fine_tuning_started_is_told(evaluated, arguments_for, tmp_path):
    run = shutil.copytree(evaluated / "baseline", tmp_path / "run")
    write_record(run, read_record(run).model_copy(update={"initial_weights_sha256": "a" * 64}))
    assert invoke(*arguments_for(tmp_path / "out", str(run))).exit_code == 0
    lineage = json.loads((tmp_path / "out" / "metrics.json").read_text())["lineage"]
    assert lineage["initial_weights_sha256"] == "a" * 64


def test_queries_that_were_all_skipped_are_told(tmp_path, evaluated, arguments_for):
    shutil.copytree(evaluated, tmp_path / "all")
    manifest = read_manifest(tmp_path / "all" / "manifest.csv")
    shutil.rmtree(tmp_path / "all" / "heatmaps.zarr")
    keys = [row.key for row in manifest.split("query")]
    write_heatmaps(tmp_path / "all" / "heatmaps.zarr", manifest, skipped=keys)
    out = tmp_path / "out"
    heatmaps = ["--heatmaps", tmp_path / "all" / "heatmaps.zarr"]
    assert_refused(invoke(*arguments_for(out), *heatmaps), "none of the 0 queries' identities", out)


def test_data_without_camera_labels_is_told(evaluated, embeddings_file, tmp_path):
    copy = tmp_path / "embeddings.h5"
    copy.write_bytes(embeddings_file.read_bytes())
    with changed(copy) as file:
        file["camids"][5:] = 1
    ended = invoke("--from-embeddings", copy, "--out", tmp_path)
    assert "cameras: none: queries are camera 0, the gallery camera 1" in ended.output


def damaged(source: Path, target: Path, how: str) -> Path:
    content = source.read_bytes()
    target.write_bytes(content)
    if how == "truncated":
        target.write_bytes(content[: len(content) // 2])
    elif how == "not HDF5":
        target.write_text("hello")
    elif how == "flipped":
        with h5py.File(target) as file:
            offset = file["stripe"].id.get_chunk_info(0).byte_offset
        target.write_bytes(content[:offset] + bytes([content[offset] ^ 1]) + content[offset + 1 :])
    else:
        with changed(target) as file:
            if how == "NaN":
                file["groups"][7, 1, 0] = np.nan
            elif how == "edited":
                file.attrs["pirt_embeddings"] = file.attrs["pirt_embeddings"].replace('"seed": 0', '"seed": 1')
            elif how == "foreign":
                del file.attrs["pirt_embeddings"]
            elif how == "lacks groups":
                del file["groups"]
            elif how == "shape":
                del file["confidence"]
                file["confidence"] = np.zeros((3, 3), np.float32)
            elif how == "same camera":
                file["camids"][...] = 4
            elif how == "other people":
                file["pids"][:5] = 99
    return target


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("truncated", "it does not end with the SHA-256 of its content"),
        ("not HDF5", "it does not end with the SHA-256 of its content"),
        ("flipped", "its content is not what was written"),
        ("NaN", "groups of image 'gallery/07.png' is not finite"),
        ("foreign", "not embeddings of pirt-eval"),
        ("edited", "its content is not what was written"),
        ("lacks groups", "groups is missing or links elsewhere"),
        ("shape", "confidence has shape (3, 3), expected (23, 3)"),
        ("same camera", "every match of every query is excluded"),
        ("other people", "none of the 5 queries' identities is in the gallery"),
    ],
)
def test_unusable_embeddings_are_one_line(embeddings_file, tmp_path, how, told):
    file = damaged(embeddings_file, tmp_path / "embeddings.h5", how)
    assert_refused(invoke("--from-embeddings", file, "--out", tmp_path / "out"), told, tmp_path / "out")


def assert_refused(ended: Result, told: str, out: Path) -> None:
    assert ended.exit_code == 2
    assert told in ended.output
    assert len(ended.output.strip().splitlines()) == 1
    assert not out.exists() or not list(out.iterdir())


def test_embeddings_of_another_run_or_manifest_are_refused(evaluated, embeddings_file, tmp_path):
    out = tmp_path / "out"
    ended = invoke("--from-embeddings", embeddings_file, "--run", evaluated / "baseline", "--out", out)
    assert_refused(ended, "come from another run", out)
    text = (evaluated / "manifest.csv").read_text().replace(",5,1,", ",5,2,")
    (tmp_path / "manifest.csv").write_text(text)
    ended = invoke("--from-embeddings", embeddings_file, "--manifest", tmp_path / "manifest.csv", "--out", out)
    assert_refused(ended, "come from another manifest", out)


def test_missing_files_are_one_line(arguments_for, tmp_path):
    out = tmp_path / "out"
    arguments = arguments_for(out)
    assert_refused(invoke("--from-embeddings", tmp_path / "none.h5", "--out", out), "do not exist", out)
    for clash in (["--embed-only"], ["--heatmaps", tmp_path / "none.zarr"]):
        told = "--from-embeddings embeds nothing; leave out --embed-only and --heatmaps"
        assert_refused(invoke("--from-embeddings", tmp_path / "none.h5", *clash, "--out", out), told, out)
    assert_refused(invoke("--out", out), "pass --run and --manifest, or --from-embeddings", out)
    assert_refused(invoke(*arguments, "--run", tmp_path), "run.json is missing", out)
    assert_refused(invoke(*arguments, "--root", tmp_path), "query/00.png", out)
    no_heatmaps = [argument for argument in arguments if "heatmaps" not in argument]
    assert_refused(invoke(*no_heatmaps), "this model needs heatmaps", out)


@pytest.mark.parametrize("more", [("--top-n", 5), ("--junk", "keep"), ("--rerank",)])
def test_how_to_measure_is_refused_where_nothing_is_measured(arguments_for, tmp_path, more):
    told = f"--embed-only measures nothing; leave out {more[0]}"
    assert_refused(invoke(*arguments_for(tmp_path / "out"), "--embed-only", *more), told, tmp_path / "out")


def test_a_store_that_cuts_more_than_the_model_does_is_refused(evaluated, arguments_for, tmp_path):
    out, run = tmp_path / "out", tmp_path / "run"
    shutil.copytree(evaluated / "run", run)
    record = read_record(run)
    model = record.params.model.model_copy(update={"tau": 0.0005})
    record = record.model_copy(update={"params": record.params.model_copy(update={"model": model})})
    write_record(run, record)
    assert_refused(invoke(*arguments_for(out), "--run", run), "keeps nothing below 0.001", out)


@pytest.mark.parametrize("workers", ["0", "1"])
def test_unreadable_image_is_one_line(arguments_for, evaluated, tmp_path, workers):
    shutil.copytree(evaluated / "query", tmp_path / "query")
    shutil.copytree(evaluated / "gallery", tmp_path / "gallery")
    (tmp_path / "gallery" / "08.png").write_text("no image")
    out = tmp_path / "out"
    ended = invoke(*arguments_for(out), "--root", tmp_path, "--workers", workers)
    assert_refused(ended, "08.png is not an image", out)


def test_a_model_that_diverged_is_told_and_writes_nothing(arguments_for, evaluated, tmp_path):
    run = shutil.copytree(evaluated / "run", tmp_path / "run")
    weights = load_file(run / "model.safetensors")
    weights["global_neck.norm.running_mean"][0] = torch.nan
    save_file(weights, run / "model.safetensors")
    weights_sha256 = sha256_of(run / "model.safetensors")
    write_record(run, read_record(run).model_copy(update={"weights_sha256": weights_sha256}))
    out = tmp_path / "out"
    assert_refused(
        invoke(*arguments_for(out), "--run", run), "holds NaN or infinity in global_neck.norm.running_mean", out
    )


def test_unlabelled_galleries_are_embedded_without_metrics(arguments_for, evaluated, tmp_path):
    lines = (evaluated / "manifest.csv").read_text().replace("# root: .", f"# root: {evaluated}").splitlines(True)
    (tmp_path / "manifest.csv").write_text("".join(line for line in lines if "query/" not in line))
    out = tmp_path / "out"
    only = ["--manifest", tmp_path / "manifest.csv", "--root", evaluated]
    no_heatmaps = [argument for argument in arguments_for(out, "baseline") if "heatmaps" not in argument]
    assert_refused(invoke(*no_heatmaps, *only), "no 'query' image", out)
    assert_refused(invoke(*no_heatmaps, *only, "--embed-only"), "bad.png", out)
    readable = "".join(line for line in lines if "query/" not in line and "bad.png" not in line)
    (tmp_path / "manifest.csv").write_text(readable)
    ended = invoke(*no_heatmaps, *only, "--embed-only")
    assert ended.exit_code == 0, ended.output
    assert [path.name for path in out.iterdir()] == ["embeddings.h5"]
    gallery = open_embeddings(out / "embeddings.h5")
    assert (gallery.query_count, len(gallery.keys)) == (0, 18)


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 4000])
def test_a_disk_without_room_is_one_line(arguments_for, tmp_path: Path, size: int):
    assert_refused_in_a_process(size, "pirt_stages.evaluate", *arguments_for(tmp_path / "out"))
    assert not list(tmp_path.rglob("*.partial"))
