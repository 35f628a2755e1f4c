import csv
import errno
import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from folder_contents import contents
from small_disks import assert_refused_in_one_line, files_up_to

from pirt.core.manifest import ImageRow, Manifest
from pirt.runs.params import ModelParams, Params
from pirt.runs.run import build_model
from pirt.visual.rows import FIELDS_OF
from pirt_stages.report import writing
from pirt_stages.report.cli import main
from pirt_stages.report.formats import as_csv, as_latex, as_markdown, as_text, laid_out
from pirt_stages.report.paper import TABLE_1, TABLE_2, TABLE_3, TABLE_4, TABLE_5, published_data
from pirt_stages.report.results import ReportError, Selection, read_results
from pirt_stages.report.schema import Entry, Report, Table
from pirt_stages.report.tables import build_report, join_tables

Write = Callable[..., Path]
MARKET = {"queries": 3368, "gallery": 15913, "junk": 3819, "distractors": 2798}


def report(folder: Path, benchmark: str = "occluded-dukemtmc", *, stand_in: bool = False) -> Report:
    return build_report(benchmark, read_results([folder]), stand_in=stand_in)


def table(number: int, made: Report) -> Table:
    return next(table for table in made.tables if table.number == number)


def texts(made: Table) -> list[list[str]]:
    return [[cell.text for cell in row] for row in laid_out(made).rows]


@pytest.fixture
def all_rows(write_metrics: Write) -> Path:
    for index, variant in enumerate(("baseline", "parts", "intra", "pirt", "pirt-n1", "pirt-n2", "pirt-n4")):
        for seed in range(3):
            folder = write_metrics(variant, seed, 0.40 + 0.01 * index + 0.001 * seed)
    return folder


def test_rows_are_recognised_by_model_parameters_not_by_name(write_metrics: Write) -> None:
    folder = write_metrics("pirt", 0, 0.5, variant="some name")
    assert [row[3] for row in texts(table(3, report(folder, "mine")))] == ["–", "–", "–", "50.00‡"]
    write_metrics("pirt-n1", 0, 0.4, variant="another name")
    assert [row[1] for row in texts(table(4, report(folder, "mine")))] == ["40.00‡", "–", "50.00‡", "–"]


def test_one_number_of_layers_makes_no_table_of_them(write_metrics: Write) -> None:
    folder = write_metrics("pirt", 0, 0.5)
    assert [made.number for made in report(folder, "mine").tables] == [3, 5]


@pytest.mark.parametrize("benchmark", ["mine", "market1501", "occluded-dukemtmc"])
@pytest.mark.parametrize("variant", ["baseline", "parts", "intra", "pirt", "pirt-n1", "pirt-n2", "pirt-n4"])
def test_whatever_was_measured_stands_in_a_table(variant: str, benchmark: str, write_metrics: Write) -> None:
    made = report(write_metrics(variant, 0, 0.4321), benchmark, stand_in=True)
    assert "43.21‡" in {cell for table in made.tables for row in texts(table) for cell in row}


def test_what_is_no_row_of_the_papers_is_said_to_be_left_out(write_metrics: Write) -> None:
    write_metrics("baseline", 0, 0.4)
    folder = write_metrics("pirt", 0, 0.5, model={"intra": False, "inter_layers": 2})
    left_out = "Measured and left out, being no row of the paper's tables: + P + Inter, N = 2."
    assert all(left_out in made.notes for made in report(folder, "mine").tables)
    write_metrics("pirt", 0, 0.5)
    assert not any("left out" in note for made in report(folder, "mine").tables for note in made.notes)


def test_without_the_whole_method_there_is_no_table_of_its_confidences(write_metrics: Write) -> None:
    write_metrics("baseline", 0, 0.4)
    assert [made.number for made in report(write_metrics("intra", 0, 0.5), "mine").tables] == [3]


def test_mean_and_sample_standard_deviation_over_seeds(write_metrics: Write) -> None:
    for seed, value in enumerate((0.50, 0.52, 0.57)):
        folder = write_metrics("pirt", seed, value)
    mean = (50 + 52 + 57) / 3
    std = (sum((v - mean) ** 2 for v in (50, 52, 57)) / 2) ** 0.5
    assert texts(table(3, report(folder, "mine")))[3][3] == f"{mean:.2f} ± {std:.2f}"


def test_published_numbers_and_deltas_beside_the_papers_benchmark(all_rows: Path) -> None:
    full = texts(table(3, report(all_rows)))[3]
    assert full[3:] == ["43.10 ± 0.10", "53.10 ± 0.10", "50.90", "60.00", "−7.80", "−6.90"]


@pytest.mark.parametrize(
    ("benchmark", "stand_in"), [("synthetic", False), ("Occluded-DukeMTMC", True), ("market-1501", False)]
)
def test_published_numbers_never_beside_other_data(all_rows: Path, benchmark: str, stand_in: bool) -> None:
    made = report(all_rows, benchmark, stand_in=stand_in)
    numbers = {n for t in (TABLE_1, TABLE_3, TABLE_4, TABLE_5, *TABLE_2.values()) for pair in t.values() for n in pair}
    printed = "".join(as_markdown(t) + as_text(t) + as_csv(t) + as_latex(t) for t in made.tables)
    cells = {cell for t in made.tables for row in texts(t) for cell in row}
    assert not cells & numbers
    assert "paper mAP" not in as_markdown(made.tables[0])
    assert "HONet" not in printed


def test_a_stand_in_is_known_by_its_fingerprint_alone(all_rows: Path, tmp_path: Path) -> None:
    row = ImageRow("query/a.jpg", "query/a.jpg", "query", 1, 1, "00")
    made = Manifest((row,), tmp_path, stand_in=True).fingerprint
    for path in all_rows.rglob("metrics.json"):
        path.write_text(path.read_text().replace("m" * 64, made))
    tables = report(all_rows).tables
    assert {name for t in tables for name in t.benchmarks} == {"Occluded-DukeMTMC (stand-in)"}
    assert not any(entry.published for t in tables[1:] for line in t.rows for entry in line.entries)
    assert all(any("Stand-in images" in note for note in t.notes) for t in tables)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"counts": {"queries": 70}}, "queries 70 instead of 2210"),
        ({"counts": {"queries": 2200, "skipped": 10}}, "queries 2200 instead of 2210"),
        ({"counts": {"gallery": 300, "junk": 9}}, "gallery 300 instead of 17661; junk 9 instead of 0"),
        ({"counts": {"unreadable": 1}}, "unreadable 1 instead of 0"),
        ({"protocol": {"rerank": {"k1": 20}}}, "rerank {'k1': 20, 'k2': 6, 'original': 0.3} instead of None"),
        ({"protocol": {"average_precision": "trapezoid"}}, "average_precision trapezoid instead of step"),
        (
            {"protocol": {"junk": "keep", "unmatched": "zero"}},
            "unmatched zero instead of skip; junk keep instead of drop",
        ),
        ({"protocol": {"cameras": "none"}}, "cameras none instead of labelled"),
        ({"lineage": {"trained_on_manifest": "o" * 64}}, "trained on another data set"),
        ({"lineage": {"initial_weights_sha256": "i" * 64}}, "fine-tuned from another run"),
    ],
)
def test_what_is_not_the_papers_stands_beside_no_published_number(
    write_metrics: Write, changes: dict[str, object], said: str
) -> None:
    made = table(3, report(write_metrics("pirt", 0, 0.5, **changes)))
    assert "paper mAP" not in laid_out(made).columns
    assert f"No published numbers stand beside these: {said}." in made.notes


def test_skipped_queries_are_among_the_published(write_metrics: Write) -> None:
    made = table(3, report(write_metrics("pirt", 0, 0.5, counts={"skipped": 10})))
    assert "paper mAP" in laid_out(made).columns


def test_another_matching_than_the_papers_is_told(write_metrics: Write) -> None:
    made = table(3, report(write_metrics("pirt", 0, 0.5, protocol={"top_n": 10})))
    assert "paper mAP" in laid_out(made).columns
    assert "Not matched as in the paper: top_n 10 instead of 100." in made.notes


def test_training_on_another_data_set_is_told(write_metrics: Write) -> None:
    made = table(3, report(write_metrics("pirt", 0, 0.5, lineage={"trained_on_manifest": "o" * 64}), "mine"))
    assert "Trained on another data set than measured on." in made.notes


def test_heatmaps_of_several_stores_are_told(write_metrics: Write) -> None:
    write_metrics("baseline", 0, 0.4)
    told = [note for note in table(3, report(write_metrics("pirt", 0, 0.5))).notes if "heatmaps" in note]
    assert told == []
    folder = write_metrics("pirt", 0, 0.5, lineage={"heatmaps_fingerprint": "o" * 64})
    made = table(3, report(folder))
    assert "Trained and measured with heatmaps of 2 different stores; the lineage says which." in made.notes


def test_few_epochs_and_few_seeds_are_marked(write_metrics: Write) -> None:
    folder = write_metrics("pirt", 0, 0.5, train={"epochs": 10})
    made = table(3, report(folder, "mine"))
    assert texts(made)[3][3] == "50.00†‡"
    assert made.notes == (
        "From 1 seed, 10 epochs of training.",
        "† 10 epochs, fewer than the paper's 60.",
        "‡ Fewer than 3 seeds: the order of such rows may be chance.",
        "– was not run.",
    )


def test_full_length_runs_over_three_seeds_carry_no_mark(all_rows: Path) -> None:
    made = table(4, report(all_rows, "mine"))
    assert made.notes == ("Mean ± standard deviation over 3 seeds, 60 epochs of training.",)
    assert not any(mark in as_text(made) for mark in "†‡")


def test_table_5_holds_the_modes_of_the_full_model(all_rows: Path) -> None:
    assert [row[1] for row in texts(table(5, report(all_rows, "mine")))] == [
        "43.10 ± 0.10",
        "42.10 ± 0.10",
        "41.10 ± 0.10",
        "40.10 ± 0.10",
    ]


def test_table_5_says_what_even_weights_come_to(all_rows: Path) -> None:
    notes = " ".join(table(5, report(all_rows)).notes)
    assert "which leaves the balance with the global distance as it is: mAP 41.60, rank-1 51.60." in notes
    assert "1/G" not in " ".join(table(4, report(all_rows)).notes)


def test_table_5_of_earlier_metrics_has_no_such_note(write_metrics: Write) -> None:
    folder = write_metrics("pirt", 0, 0.5)
    for path in folder.rglob("metrics.json"):
        found = json.loads(path.read_text())
        del found["confidence_modes"]["even"]
        path.write_text(json.dumps(found))
    assert "1/G" not in " ".join(table(5, report(folder)).notes)
    assert texts(table(5, report(folder)))[3][1] == "47.00‡"


def test_table_1_sets_ours_among_published_methods(all_rows: Path) -> None:
    rows = {row[0]: row[1:] for row in texts(table(1, report(all_rows)))}
    assert rows["FD-GAN"] == ["", "", "–", "40.8", "", ""]
    assert rows["Baseline"][0] == "40.10 ± 0.10"
    assert rows["Pirt"][2:] == ["50.9", "60.0", "−7.80", "−6.90"]


def test_table_2_joins_two_benchmarks(write_metrics: Write) -> None:
    market = report(write_metrics("pirt", 0, 0.8, counts=MARKET), "market1501")
    duke = report(write_metrics("pirt", 0, 0.7, counts={"queries": 2228}), "DukeMTMC-reID")
    assert [t.number for t in market.tables] == [2]
    joined = join_tables([*market.tables, *duke.tables])
    made = next(t for t in joined if t.number == 2)
    assert made.title == "Table 2. Comparison with published methods on Market-1501 and DukeMTMC-reID"
    assert texts(made)[-1] == [
        "Pirt", "80.00‡", "90.00‡", "86.3", "94.1", "−6.30", "−4.10",
        "70.00‡", "80.00‡", "77.6", "88.9", "−7.60", "−8.90",
    ]  # fmt: skip
    assert "Market-1501: mAP" in as_markdown(made)
    assert as_text(made).splitlines()[2].split() == ["Market-1501", "DukeMTMC-reID"]
    assert r"\multicolumn{6}{c}{Market-1501}" in as_latex(made)


def test_notes_of_one_benchmark_are_told_apart_when_joined(write_metrics: Write) -> None:
    long = report(write_metrics("pirt", 0, 0.8, counts=MARKET), "market1501")
    changes = {"counts": {"queries": 2228}, "train": {"epochs": 3}}
    short = report(write_metrics("pirt", 0, 0.7, **changes), "DukeMTMC-reID")
    notes = join_tables([*long.tables, *short.tables])[0].notes
    assert "DukeMTMC-reID: † 3 epochs, fewer than the paper's 60." in notes
    assert "‡ Fewer than 3 seeds: the order of such rows may be chance." in notes


def test_csv_holds_every_metric_and_the_runs(all_rows: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(table(3, report(all_rows))))))
    assert rows[3]["mINP"] == "21.55"
    assert rows[3]["rank-10 std"] == "0.00"
    assert rows[3]["delta mAP"] == "-7.80"
    assert rows[3]["runs"] == " ".join(f"resnet50_ibn_a-parts-intra-inter3-seed{seed}" for seed in range(3))
    assert rows[0]["seeds"] == "0 1 2"


def test_latex_has_balanced_columns_and_no_bare_special_character(all_rows: Path) -> None:
    made = as_latex(table(3, report(all_rows, "50% & more_")))
    body = made[made.index(r"\midrule") : made.index(r"\bottomrule")]
    assert {line.count("&") for line in body.splitlines() if line.endswith(r"\\")} == {4}
    assert r"50\% \& more\_" in made
    assert made.isascii()


def test_latex_keeps_a_name_on_its_line_and_prints_its_signs(all_rows: Path) -> None:
    made = table(3, report(all_rows, 'a<b>|\n"c"\r'))
    ours = made.rows[0].entries[0].ours
    assert ours is not None
    entry = Entry(ours=ours.model_copy(update={"runs": ("x\r\n\\input{y}",)}))
    row = made.rows[0].model_copy(update={"entries": (entry,)})
    printed = as_latex(made.model_copy(update={"rows": (row,)}))
    assert r"\caption{Components on a\textless{}b\textgreater{}\textbar{} ''c'' .}" in printed.splitlines()
    assert r"% x  \input{y}" in printed.splitlines()
    assert "\r" not in printed


def test_every_cell_of_ours_links_to_its_runs(all_rows: Path, tmp_path: Path) -> None:
    command = ["tables", "--benchmark", "mine", "--metrics", str(all_rows), "--out", str(tmp_path / "out")]
    assert CliRunner().invoke(main, command).exit_code == 0
    tables = (tmp_path / "out/tables/tables.md").read_text()
    lineage = (tmp_path / "out/tables/lineage.md").read_text()
    links = set(re.findall(r"\(lineage\.md#([^)]+)\)", tables))
    assert len(links) == 7
    assert all(f'<a id="{link}"></a>' in lineage for link in links)
    assert all(f"`{variant}{seed}`" in lineage for variant in ("baseline", "pirt-n4") for seed in range(3))
    lines = list(csv.DictReader(io.StringIO((tmp_path / "out/tables/lineage.csv").read_text())))
    assert len(lines) == 3 * (4 + 4 + 4)
    assert {line["heatmaps_fingerprint"] for line in lines} == {"", "h" * 64}
    assert all(line["checkpoint_sha256"] for line in lines)


def test_same_metrics_same_bytes_in_any_order(all_rows: Path, tmp_path: Path) -> None:
    files = sorted(all_rows.rglob("metrics.json"))
    for name, order in (("a", files), ("b", files[::-1])):
        given = [text for file in order for text in ("--metrics", str(file))]
        command = ["tables", "--benchmark", "mine", *given, "--out", str(tmp_path / name)]
        assert CliRunner().invoke(main, command).exit_code == 0
    written = {path.name: path.read_bytes() for path in (tmp_path / "a/tables").iterdir()}
    assert written == {path.name: path.read_bytes() for path in (tmp_path / "b/tables").iterdir()}
    assert {"table3.md", "table3.csv", "table3.tex", "lineage.csv", "report.json"} <= written.keys()


def test_show_prints_tables_and_places(all_rows: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    CliRunner().invoke(main, ["tables", "--benchmark", "mine", "--metrics", str(all_rows), "--out", str(out)])
    (out / "figures").mkdir()
    (out / "figures/curves.png").write_bytes(b"\x89PNG")
    shown = CliRunner().invoke(main, ["show", str(out)])
    assert "Table 3. Components on mine" in shown.output
    assert f"Figure: {out / 'figures/curves.png'}" in shown.output


def test_show_prints_no_name_that_steers_the_terminal(all_rows: Path, tmp_path: Path) -> None:
    out, name = tmp_path / "out", "mine \x1b[2J"
    CliRunner().invoke(main, ["tables", "--benchmark", name, "--metrics", str(all_rows), "--out", str(out)])
    shown = CliRunner().invoke(main, ["show", str(out)])
    assert "Table 3. Components on mine ?[2J" in shown.output
    assert "\x1b" not in shown.output


@pytest.mark.parametrize("name", ["market1501", "Market-1501", "MARKET_1501"])
def test_benchmark_names_are_recognised_in_any_spelling(name: str) -> None:
    data = published_data(name)
    assert data is not None
    assert data.title == "Market-1501"


def refused(write_metrics: Write, tmp_path: Path, *more: str) -> str:
    command = ["tables", "--benchmark", "mine", *more, "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 2, result.output
    assert not (tmp_path / "out").exists()
    assert len(result.output.splitlines()) == 1
    return result.output


def test_missing_empty_and_broken_metrics_are_one_line(write_metrics: Write, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.json").write_text('{"seed": 0')
    (tmp_path / "other.json").write_text('{"seed": 0}')
    queries = {"pids": [1], "average_precisions": [0.25, 0.75]}
    folder = write_metrics("pirt", 0, 0.5, per_query=None)
    found = json.loads((folder / "pirt-seed0/metrics.json").read_text())
    (tmp_path / "queries.json").write_text(json.dumps({**found, "per_query": queries}))
    for name, said in (
        ("none.json", "does not exist"),
        ("empty", "no metrics.json in the folder"),
        ("broken.json", "not a metrics.json"),
        ("other.json", "mAP: Field required"),
        ("queries.json", "per_query: it has 1 pids for 2 average precisions"),
    ):
        assert said in refused(write_metrics, tmp_path, "--metrics", str(tmp_path / name))


def test_one_run_twice_is_refused(write_metrics: Write, tmp_path: Path) -> None:
    folder = write_metrics("pirt", 0, 0.5)
    said = refused(write_metrics, tmp_path, "--metrics", str(folder), "--metrics", str(folder))
    assert "second result of the run 'resnet50_ibn_a-parts-intra-inter3-seed0'" in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": {"width": 16}}, "model.width (None, 16)"),
        ({"train": {"epochs": 10}}, "train.epochs (60, 10)"),
        ({"lineage": {"manifest_fingerprint": "n" * 64}}, "lineage.manifest_fingerprint"),
        ({"lineage": {"initial_weights_sha256": "i" * 64}}, "lineage.fine_tuned (False, True)"),
        ({"protocol": {"top_n": 10}}, "protocol.top_n (100, 10)"),
    ],
)
def test_runs_of_different_recipes_are_refused(
    write_metrics: Write, tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    write_metrics("baseline", 0, 0.4)
    folder = write_metrics("pirt", 0, 0.5, **changes)
    assert said in refused(write_metrics, tmp_path, "--metrics", str(folder))


def test_a_row_may_differ_in_what_it_has_no_module_for(write_metrics: Write, tmp_path: Path) -> None:
    write_metrics("baseline", 0, 0.4)
    write_metrics("parts", 0, 0.4)
    folder = write_metrics("intra", 0, 0.5, model={"intra_mask": "one"})
    assert [row[3] for row in texts(table(3, report(folder, "mine")))] == ["40.00‡", "40.00‡", "50.00‡", "–"]
    write_metrics("pirt", 0, 0.5, model={"intra_mask": "raised"})
    assert "model.intra_mask ('raised', 'one')" in refused(write_metrics, tmp_path, "--metrics", str(folder))


@pytest.mark.parametrize("module", list(FIELDS_OF))
def test_fields_of_a_module_mean_nothing_without_it(module: str) -> None:
    torch.manual_seed(1)
    images, heatmaps = torch.rand(2, 3, 64, 32), torch.rand(2, 17, 16, 8)
    other = {
        "groups": "authors",
        "tau": 0.4,
        "confidence_hidden": 24,
        "bottleneck": 24,
        "intra_heads": 2,
        "intra_projection": False,
        "intra_dropout": 0.9,
        "intra_mask": "one",
        "inter_heads": 2,
        "feedforward": 24,
        "inter_dropout": 0.9,
    }
    without = {
        "parts": {"parts": False, "intra": False, "inter_layers": 0},
        "intra": {"intra": False, "inter_layers": 0},
    }
    small = {"backbone": "resnet18_ibn_a", "width": 8, **without.get(module, {"inter_layers": 0})}
    found = []
    for changed in ({}, {name: other[name] for name in FIELDS_OF[module]}):
        params = Params(model=ModelParams.model_validate({**small, **changed}))
        torch.manual_seed(0)
        model = build_model(3, params).train()
        torch.manual_seed(2)
        found.append((model.state_dict(), model(images, heatmaps)))
    for one, two in zip(*found, strict=True):
        assert one.keys() == two.keys()
        assert all(torch.equal(value, two[name]) for name, value in one.items())


@pytest.mark.parametrize("name", ["trained_on_heatmaps", "heatmaps_fingerprint"])
def test_seeds_with_heatmaps_of_different_stores_are_refused(write_metrics: Write, tmp_path: Path, name: str) -> None:
    write_metrics("pirt", 0, 0.5)
    folder = write_metrics("pirt", 1, 0.5, lineage={name: "o" * 64})
    assert f"differ in lineage.{name}" in refused(write_metrics, tmp_path, "--metrics", str(folder))


def test_seeds_fine_tuned_from_a_run_each_are_one_row(write_metrics: Write, tmp_path: Path) -> None:
    for seed in (0, 1):
        folder = write_metrics("pirt", seed, 0.5, lineage={"initial_weights_sha256": str(seed) * 64})
    command = ["tables", "--benchmark", "mine", "--metrics", str(folder), "--out", str(tmp_path / "out")]
    assert CliRunner().invoke(main, command).exit_code == 0
    assert f"initial_weights_sha256: `{'1' * 64}`" in (tmp_path / "out/tables/lineage.md").read_text()


def test_runs_outside_the_papers_rows_make_no_table(write_metrics: Write) -> None:
    folder = write_metrics("pirt", 0, 0.5, model={"inter_layers": 7})
    with pytest.raises(ReportError, match="none of the 1 results"):
        report(folder, "mine")


def test_only_runs_of_the_parameter_file_count(write_metrics: Write, tmp_path: Path) -> None:
    for seed in (0, 1):
        write_metrics("baseline", seed, 0.4)
    folder = write_metrics("pirt", 0, 0.5, train={"epochs": 1})  # left over from another recipe
    params = tmp_path / "params.yaml"
    params.write_text("seeds: [1]\nvariants: {baseline: {}}\n")
    results = read_results([folder], Selection.read(params))
    assert [result.run for result in results] == ["resnet50_ibn_a-baseline-seed1"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seeds: 3\n", "must have a list of `seeds` and a mapping of `variants`"),
        ("seeds: [[0]]\nvariants: {pirt: {}}\n", "`seeds` holds [0], expected integers; write them as [0, 1, 2]"),
    ],
)
def test_a_parameter_file_without_seeds_is_one_line(write_metrics: Write, tmp_path: Path, text: str, said: str) -> None:
    folder = write_metrics("pirt", 0, 0.5)
    (tmp_path / "params.yaml").write_text(text)
    command = ("--metrics", str(folder), "--params", str(tmp_path / "params.yaml"))
    assert said in refused(write_metrics, tmp_path, *command)


def test_what_somebody_put_beside_the_tables_stays(write_metrics: Write, tmp_path: Path) -> None:
    write_metrics("pirt-n1", 0, 0.4)
    folder, out = write_metrics("pirt", 0, 0.5), tmp_path / "report"
    asked = ["tables", "--benchmark", "mine", "--metrics", str(folder), "--out", str(out)]
    assert CliRunner().invoke(main, asked).exit_code == 0
    assert CliRunner().invoke(main, [*asked, "--variant", "none"]).exit_code == 2
    (tmp_path / "params.yaml").write_text("seeds: [0]\nvariants: {1: {}, pirt: {}}\n")
    unknown = CliRunner().invoke(main, [*asked, "--params", str(tmp_path / "params.yaml"), "--variant", "none"])
    assert (unknown.exit_code, "no variant 'none'; it has ['1', 'pirt']" in unknown.output) == (2, True)
    for name in ("tables/notes.md", "plots/notes.png", "plots/mine/notes.md"):
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text("mine")
        refused = CliRunner().invoke(main, asked)
        assert (refused.exit_code, (out / name).read_text()) == (2, "mine")
        assert f"holds {name.partition('/')[2]}, which would be lost" in refused.output
        (out / name).unlink()
    # Of another benchmark, of which there are fewer tables with other names.
    other = [*asked[:2], "yours", *asked[3:4], str(folder / "pirt-seed0"), *asked[5:]]
    assert CliRunner().invoke(main, other).exit_code == 0


def typed(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def tables(write_metrics: Write, tmp_path: Path) -> Callable[..., Result]:
    """Write a report with Table 4, of a benchmark and results of that score, into a folder of that name."""

    def run(benchmark: str, score: float) -> Result:
        write_metrics("pirt-n1", 0, 0.4)
        folder = write_metrics("pirt", 0, score)
        return typed("tables", "--benchmark", benchmark, "--metrics", folder, "--out", tmp_path / benchmark)

    return run


def test_without_room_for_a_plot_the_earlier_report_stays(tables: Callable[..., Result], tmp_path: Path) -> None:
    assert tables("mine", 0.5).exit_code == 0
    before = contents(tmp_path / "mine")
    with files_up_to(1 << 14):  # all of the tables fit
        assert_refused_in_one_line(tables("mine", 0.3))
    assert contents(tmp_path / "mine") == before


def test_without_room_for_a_plot_the_earlier_joined_report_stays(
    tables: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    join = ("join", tmp_path / "mine", tmp_path / "yours", "--out", tmp_path / "joined")
    assert [tables("mine", 0.5).exit_code, tables("yours", 0.5).exit_code, typed(*join).exit_code] == [0, 0, 0]
    assert tables("yours", 0.3).exit_code == 0
    before = contents(tmp_path)
    # The copies of the reports' plots, which are of the same size, are written before.
    monkeypatch.setattr(writing, "save", refuse)
    ended = typed(*join)
    assert (ended.exit_code, "No space left on device" in ended.stderr) == (2, True)
    assert contents(tmp_path) == before


def test_tables_that_a_kill_left_aside_are_put_back(tables: Callable[..., Result], tmp_path: Path) -> None:
    join = ("join", tmp_path / "mine", "--out", tmp_path / "joined")
    assert [tables("mine", 0.5).exit_code, typed(*join).exit_code] == [0, 0]
    before = contents(tmp_path)
    aside = ".tables.0123abcd.former.partial"
    for out in ("mine", "joined"):
        (tmp_path / out / "tables").rename(tmp_path / out / aside)
    (tmp_path / "mine/plots/notes.png").write_text("mine")
    refused = tables("mine", 0.5)
    assert (refused.exit_code, "holds notes.png" in refused.output) == (2, True)
    (tmp_path / "mine/plots/notes.png").unlink()
    assert contents(tmp_path / "mine") == {n[5:]: content for n, content in before.items() if n.startswith("mine/")}
    (tmp_path / "mine/tables").rename(tmp_path / "mine" / aside)
    assert [tables("mine", 0.5).exit_code, typed(*join).exit_code] == [0, 0]
    assert contents(tmp_path) == before


def test_plots_that_a_kill_left_beside_newer_tables_are_replaced(
    tables: Callable[..., Result], write_metrics: Write, tmp_path: Path
) -> None:
    assert tables("mine", 0.5).exit_code == 0
    shutil.copytree(tmp_path / "mine/plots", tmp_path / "earlier")
    without = ("tables", "--benchmark", "mine", "--metrics", write_metrics("pirt", 0, 0.5) / "pirt-seed0")
    without = (*without, "--out", tmp_path / "mine")
    assert typed(*without).exit_code == 0
    after = contents(tmp_path / "mine")
    shutil.copytree(tmp_path / "earlier", tmp_path / "mine/plots", dirs_exist_ok=True)
    assert typed(*without).exit_code == 0
    assert contents(tmp_path / "mine") == after
