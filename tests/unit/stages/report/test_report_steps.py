"""What a row adds to the row before it: paired, with an interval."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from pirt_stages.report.cli import main
from pirt_stages.report.results import read_results
from pirt_stages.report.steps import step
from pirt_stages.report.tables import build_report

PIDS = [1, 1, 2, 3, 4, 4]
BASELINE = ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0.3, 0.2, 0.1, 0.2, 0.5, 0.4])
PARTS = ([0.2, 0.4, 0.3, 0.6, 0.7, 0.6], [0.4, 0.2, 0.3, 0.4, 0.5, 0.6])


def folder_of(write_metrics: Callable[..., Path], **changed: object) -> Path:
    for row, seeds in (("baseline", BASELINE), ("parts", PARTS)):
        for seed, precisions in enumerate(seeds):
            told = {"pids": PIDS, "average_precisions": precisions, **changed}
            folder = write_metrics(row, seed, sum(precisions) / 6, per_query=told)
    return folder


@pytest.fixture
def write_metrics(write_metrics: Callable[..., Path]) -> Callable[..., Path]:
    """Without the whole of what the conftest's file lacks."""

    def write(row: str, seed: int, mean_ap: float, per_query: dict[str, object]) -> Path:
        # A list, not laid over: files of earlier versions have nothing of the name.

        folder = write_metrics(row, seed, mean_ap)
        path = folder / f"{row}-seed{seed}" / "metrics.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "per_query": per_query}))
        return folder

    return write


def test_a_step_is_the_mean_difference_of_the_queries(write_metrics: Callable[..., Path]) -> None:
    results = read_results([folder_of(write_metrics)])
    before, after = results[:2], results[2:]
    gains = [sum(PARTS[s][q] - BASELINE[s][q] for s in range(2)) / 2 for q in range(6)]
    found = step(before, after)
    assert found is not None
    assert found.mean == pytest.approx(sum(gains) / 6)
    assert found.low is not None
    assert found.high is not None
    # No draw of persons leaves the range of their own means.
    persons = [(gains[0] + gains[1]) / 2, gains[2], gains[3], (gains[4] + gains[5]) / 2]
    assert min(persons) <= found.low < found.mean < found.high <= max(persons)
    assert step(before, ()) is None


def test_the_table_shows_steps_and_may_be_of_some_variants(write_metrics: Callable[..., Path], tmp_path: Path) -> None:
    folder, out = folder_of(write_metrics), tmp_path / "report"
    params = tmp_path / "params.yaml"
    params.write_text("seeds: [0, 1]\nvariants: {baseline: {}, parts: {}}\n")
    words = ["tables", "--benchmark", "x", "--metrics", str(folder), "--params", str(params), "--out", str(out)]
    assert CliRunner().invoke(main, words).exit_code == 0
    assert "From baseline to + P: +11.67 mAP, 95 % interval +" in (out / "tables/tables.md").read_text()

    assert CliRunner().invoke(main, [*words, "--variant", "parts"]).exit_code == 0
    assert "From baseline" not in (out / "tables/tables.md").read_text()
    refused = CliRunner().invoke(main, [*words, "--variant", "huge"])
    assert (refused.exit_code, "no variant 'huge'; it has ['baseline', 'parts']" in refused.output) == (2, True)
    del words[5:7]
    assert "--variant needs --params" in CliRunner().invoke(main, [*words, "--variant", "parts"]).output


def test_three_rows_and_more_have_a_step_from_the_first_to_the_last(write_metrics: Callable[..., Path]) -> None:
    results = read_results([folder_of(write_metrics)])
    intra = results[2].model.model_copy(update={"intra": True})
    assert (results[2].model.parts, results[2].model.intra) == (True, False)
    rows = [
        *results,
        *(result.model_copy(update={"model": intra}) for result in results[:2]),
    ]  # as good as the baseline
    (table, *_) = build_report("mine", rows, stand_in=False).tables
    assert [note.partition(", 95 %")[0] for note in table.notes if "From" in note and " to " in note] == [
        "From baseline to + P: +11.67 mAP",
        "From + P to + P + Intra: −11.67 mAP",
        "From baseline to + P + Intra: +0.00 mAP",
    ]


def test_results_without_their_queries_have_no_step(write_metrics: Callable[..., Path]) -> None:
    results = read_results([folder_of(write_metrics)])
    without = [result.model_copy(update={"per_query": None}) for result in results]
    assert step(without[:2], results[2:]) is None


def test_the_table_of_backbones_shows_each_ones_step(write_metrics: Callable[..., Path]) -> None:
    results = read_results([folder_of(write_metrics)])
    other = results[0].model.model_copy(update={"backbone": "vit_small"})
    alike = [results[0].model_copy(update={"model": other})]
    (made,) = build_report("mine", [*results, *alike], stand_in=False).tables
    assert [note.partition(", 95 %")[0] for note in made.notes if "From" in note] == [
        "resnet50_ibn_a: From baseline to + P: +11.67 mAP"
    ]
