import csv
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import h5py
import numpy as np
import pytest
from click.testing import CliRunner, Result

from pirt.core.manifest import read_manifest, write_manifest
from pirt.runs.params import ModelParams
from pirt_stages.report.cli import main

PARTS = {"head": range(5), "upper": range(5, 11), "lower": range(11, 17)}


@pytest.fixture(scope="session")
def where(rendered: Path) -> Callable[..., Result]:
    def run(out: Path, *more: object, evaluations: Path = rendered / "evaluate", **inputs: Path) -> Result:
        named = {"manifest": rendered / "manifest.csv", "keypoints": rendered / "keypoints.json"} | inputs
        given = [word for name, path in named.items() for word in (f"--{name}", path)]
        arguments = ["where", evaluations, *given, "--out", out, "--device", "cpu", *more]
        return CliRunner().invoke(main, list(map(str, arguments)))

    return run


@pytest.fixture(scope="session")
def written(where: Callable[..., Result], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("where") / "out"
    ended = where(out)
    assert ended.exit_code == 0, ended.output
    assert ended.output == (out / "where.md").read_text()
    return out


def lines_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def average_precision(asked: np.ndarray, pid: int, camid: int, others: list[tuple[np.ndarray, int, int]]) -> float:
    """By the definition, from unit features, one gallery image after the other."""
    ranked = sorted((-float(asked @ one), place) for place, (one, _, _) in enumerate(others))
    found, seen, precisions = 0, 0, []
    for _, place in ranked:
        _, other, camera = others[place]
        if other == -1 or (other == pid and camera == camid):
            continue
        seen += 1
        if other == pid:
            found += 1
            precisions.append(found / seen)
    return fmean(precisions)


def truth_of(rendered: Path) -> dict[str, dict]:
    table = json.loads((rendered / "keypoints.json").read_text())
    files = {image["id"]: image["file_name"] for image in table["images"]}
    return {files[one["image_id"]]: one for one in table["annotations"]}


def expected(rendered: Path, seed: int) -> dict[tuple[str, str], list[float]]:
    """Average precisions of the baseline by trait and bin, in loops."""
    truth, paths = truth_of(rendered), {}
    for row in csv.reader((rendered / "manifest.csv").read_text().splitlines()):
        if len(row) > 4 and "/" in row[1]:
            paths[row[0]] = row[1]
    with h5py.File(rendered / f"evaluate/baseline-seed{seed}/embeddings.h5") as file:
        keys = [key.decode() for key in file["keys"]]
        features = [one / np.linalg.norm(one) for one in file["global"][:].astype(float)]
        pids, camids = file["pids"][:].tolist(), file["camids"][:].tolist()
        count = sum(split == b"query" for split in file["splits"])
    gallery = list(zip(features, pids, camids, strict=True))[count:]
    bins: dict[tuple[str, str], list[float]] = {}
    for query in range(count):
        known = truth[paths[keys[query]]]
        value = average_precision(features[query], pids[query], camids[query], gallery)
        cover = known["occlusion"]
        label = next((f"{low}–{low + 10} %" for low in (30, 40, 50) if low < 100 * cover <= low + 10), None)
        label = label or ("up to 30 %" if cover <= 0.3 else "over 60 %")
        bins.setdefault(("body covered", label), []).append(value)
        bins.setdefault(("covered by", known["occluder"]), []).append(value)
        for place in range(count, len(keys)):
            same = (pids[place], camids[place]) == (pids[query], camids[query])
            if same and truth[paths[keys[place]]]["occluder"] is None:
                whole = average_precision(features[place], pids[place], camids[place], gallery)
                bins.setdefault(("picture", "covered"), []).append(value)
                bins.setdefault(("picture", "whole"), []).append(whole)
                break
    return bins


@pytest.mark.parametrize("seed", [0, 1])
def test_each_bin_is_the_mean_of_its_queries(rendered: Path, written: Path, seed: int) -> None:
    bins = expected(rendered, seed)
    assert len(bins[("picture", "whole")]) > 5
    told = {
        (line["trait"], line["bin"]): line
        for line in lines_of(written / "where.csv")
        if (line["variant"], line["seed"]) == ("baseline", str(seed))
    }
    of_parts = {key for key in told if key[0] == "more than half covered"}
    assert told.keys() - of_parts == bins.keys()
    for key, values in bins.items():
        assert int(told[key]["queries"]) == len(values), key
        assert float(told[key]["mAP"]) == pytest.approx(100 * fmean(values), abs=2e-3), key
    assert sum(int(told[key]["queries"]) for key in of_parts) == 16


def assert_adds_up(written: Path, evaluation: Path) -> None:
    variant, seed = evaluation.name.split("-seed")
    whole = json.loads((evaluation / "metrics.json").read_text())["mAP"]
    for trait in ("body covered", "covered by", "more than half covered"):
        lines = [
            line
            for line in lines_of(written / "where.csv")
            if (line["trait"], line["variant"], line["seed"]) == (trait, variant, seed)
        ]
        total = sum(int(line["queries"]) for line in lines)
        mean = sum(int(line["queries"]) * float(line["mAP"]) for line in lines) / total
        assert mean == pytest.approx(100 * whole, abs=2e-3)


def test_all_bins_of_a_trait_come_to_the_evaluations_map(rendered: Path, written: Path) -> None:
    for run in ("baseline-seed0", "pirt-seed1"):
        assert_adds_up(written, rendered / "evaluate" / run)


def test_a_query_without_a_match_counts_as_the_protocol_says(
    rendered: Path, where: Callable[..., Result], evaluate_as: Callable[..., None], tmp_path: Path
) -> None:
    rows = list(read_manifest(rendered / "manifest.csv").rows)
    lonely = next(place for place, row in enumerate(rows) if row.split == "query")
    rows[lonely] = replace(rows[lonely], pid=0)
    manifest = write_manifest(tmp_path / "manifest.csv", rows, rendered)
    for unmatched in ("skip", "zero"):
        folder = tmp_path / unmatched / "pirt-seed0"
        evaluate_as(folder, manifest, "pirt", ModelParams(), 0, unmatched=unmatched)
        ended = where(tmp_path / "out", evaluations=folder, manifest=tmp_path / "manifest.csv")
        assert ended.exit_code == 0, ended.output
        assert_adds_up(tmp_path / "out", folder)


def test_evaluations_that_no_mean_may_be_taken_of_are_told(
    rendered: Path, where: Callable[..., Result], tmp_path: Path
) -> None:
    table = json.loads((rendered / "evaluate/pirt-seed1/metrics.json").read_text())
    other = tmp_path / "again/metrics.json"
    other.parent.mkdir()
    other.write_text(json.dumps(table))
    twice = where(tmp_path / "out", other.parent)
    table["protocol"]["rerank"] = {}
    other.write_text(json.dumps(table | {"seed": 2}))
    apart = where(tmp_path / "out", other.parent)
    for ended, said in ((twice, "a second evaluation of pirt, seed 1; pass"), (apart, "measured by another protocol")):
        assert (ended.exit_code, said in ended.output) == (2, True), ended.output
        assert len(ended.output.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_the_tables_have_mean_and_deviation_over_seeds(written: Path) -> None:
    lines = [
        float(line["mAP"])
        for line in lines_of(written / "where.csv")
        if (line["bin"], line["variant"]) == ("whole", "pirt")
    ]
    mean, spread = fmean(lines), abs(lines[0] - lines[1]) / math.sqrt(2)
    row = next(line for line in (written / "where.md").read_text().splitlines() if line.startswith("| whole |"))
    assert row.split(" | ")[-1] == f"{mean:.2f} ± {spread:.2f} |"
    assert (written / "where.png").read_bytes().startswith(b"\x89PNG")


def test_confidence_is_told_of_models_with_parts(written: Path) -> None:
    lines = lines_of(written / "confidence.csv")
    assert [(line["variant"], line["part"], line["seed"]) for line in lines] == [
        ("pirt", part, seed) for part in (*PARTS, "all") for seed in ("0", "1")
    ]
    assert all(-1 <= float(line["visible share"]) <= 1 for line in lines)


def test_only_the_asked_runs_count(where: Callable[..., Result], tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("seeds: [1]\nvariants: {baseline: {}, pirt: {}}\n")
    ended = where(tmp_path / "out", "--params", params, "--variant", "pirt")
    assert ended.exit_code == 0, ended.output
    lines = lines_of(tmp_path / "out/where.csv")
    assert {(line["variant"], line["seed"]) for line in lines} == {("pirt", "1")}
    assert "±" not in ended.output


def test_wrong_inputs_are_told_in_one_line(
    where: Callable[..., Result], rendered: Path, written: Path, tmp_path: Path
) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "mine").mkdir()
    shutil.copytree(written, tmp_path / "earlier")
    for folder in ("mine", "earlier"):
        (tmp_path / folder / "letter.txt").write_text("dear")
    (tmp_path / "bad.json").write_text("{}")
    table = json.loads((rendered / "keypoints.json").read_text())
    table["annotations"][0]["keypoints"][0] += 1
    (tmp_path / "moved.json").write_text(json.dumps(table))
    table["info"]["profile"] = "none"
    (tmp_path / "profile.json").write_text(json.dumps(table))
    table["annotations"].pop(0)
    (tmp_path / "fewer.json").write_text(json.dumps(table))
    wrong = {
        "do not exist": where(tmp_path / "out", keypoints=tmp_path / "no.json"),
        "is not a keypoints.json": where(tmp_path / "out", keypoints=tmp_path / "bad.json"),
        "by another version of the renderer": where(tmp_path / "out", keypoints=tmp_path / "moved.json"),
        "unknown profile": where(tmp_path / "out", keypoints=tmp_path / "profile.json"),
        "does not know": where(tmp_path / "out", keypoints=tmp_path / "fewer.json"),
        "mine holds letter.txt, which would be lost": where(tmp_path / "mine"),
        "earlier holds letter.txt, which would be lost": where(tmp_path / "earlier"),
    }
    for said, ended in wrong.items():
        assert (ended.exit_code, said in ended.output) == (2, True), (said, ended.output)
        assert len(ended.output.splitlines()) == 1
    assert not (tmp_path / "out").exists()
    for folder in ("mine", "earlier"):
        assert (tmp_path / folder / "letter.txt").read_text() == "dear"
