import csv
import json
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev

import pytest
from click.testing import CliRunner, Result

from pirt.core.manifest import read_manifest
from pirt_stages.report.cli import main

SCORES = {
    ("baseline", 1): (0.2, 0.3),
    ("baseline", 2): (0.25, 0.35),
    ("pirt", 1): (0.1, 0.2),
    ("pirt", 4): (0.5, 0.7),
}


@pytest.fixture
def evaluations(rendered: Path, persons: Path, tmp_path: Path) -> Path:
    """Results of trainings of several lengths on 24 images, 8 a step."""
    fingerprint = read_manifest(persons / "manifest.csv").fingerprint
    for (variant, epochs), scores in SCORES.items():
        for seed, score in enumerate(scores):
            table = json.loads((rendered / f"evaluate/{variant}-seed{seed}/metrics.json").read_text())
            table["train"] |= {"epochs": epochs, "identities": 4, "instances": 2}
            table["lineage"]["trained_on_manifest"] = fingerprint
            table |= {"mAP": score, "variant": f"{variant}-{epochs}", "per_query": None, "confidence_modes": {}}
            path = tmp_path / f"evaluate/{variant}-{epochs}-seed{seed}/metrics.json"
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps(table))
    return tmp_path / "evaluate"


@pytest.fixture
def curve(evaluations: Path, persons: Path, tmp_path: Path) -> Callable[..., Result]:
    def run(manifest: Path = persons / "manifest.csv") -> Result:
        given = ["curve", evaluations, "--manifest", manifest, "--out", tmp_path / "out"]
        return CliRunner().invoke(main, list(map(str, given)))

    return run


def test_each_length_has_its_seeds_mean_and_deviation(curve: Callable[..., Result], tmp_path: Path) -> None:
    ended = curve()
    assert ended.exit_code == 0, ended.output
    assert ended.output == (tmp_path / "out/curve.md").read_text()
    lines = list(csv.DictReader((tmp_path / "out/curve.csv").read_text().splitlines()))
    told: dict[tuple[str, int], list[float]] = {}
    for line in lines:
        told.setdefault((line["row"], int(line["steps"])), []).append(float(line["mAP"]))
    labels = {"baseline": "baseline", "pirt": "'+ P + Intra + Inter"}
    assert told == {(labels[row], 3 * epochs): [100 * s for s in scores] for (row, epochs), scores in SCORES.items()}
    of_three = next(line for line in ended.output.splitlines() if line.startswith("| 3 |"))
    means = [f"{100 * fmean(SCORES[row, 1]):.2f} ± {100 * stdev(SCORES[row, 1]):.2f}" for row in ("baseline", "pirt")]
    assert of_three == f"| 3 | {means[0]} | {means[1]} |"
    assert "| 6 | 30.00 ± 7.07 | – |" in ended.output
    assert (tmp_path / "out/curve.png").read_bytes().startswith(b"\x89PNG")


def test_a_second_result_and_another_manifest_are_errors(
    curve: Callable[..., Result], evaluations: Path, rendered: Path
) -> None:
    other = curve(rendered / "manifest.csv")
    assert (other.exit_code, "trained on another manifest" in other.output) == (2, True)
    (evaluations / "again").mkdir()
    text = (evaluations / "pirt-4-seed1/metrics.json").read_text()
    (evaluations / "again/metrics.json").write_text(text)
    twice = curve()
    assert twice.exit_code == 2
    assert "a second evaluation of + P + Intra + Inter, 12 steps, seed 1" in twice.output


def test_lengths_that_were_measured_differently_are_errors(curve: Callable[..., Result], evaluations: Path) -> None:
    path = evaluations / "pirt-4-seed1/metrics.json"
    before = path.read_text()
    for section, key, value, said in (
        ("protocol", "matching", "full", "pirt-4-seed1 was measured by another protocol than"),
        ("lineage", "manifest_fingerprint", "f" * 64, "pirt-4-seed1 was measured on other images than"),
    ):
        table = json.loads(before)
        table[section][key] = value
        path.write_text(json.dumps(table))
        ended = curve()
        assert (ended.exit_code, said in ended.output) == (2, True), ended.output
