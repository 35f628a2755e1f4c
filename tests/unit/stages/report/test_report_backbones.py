"""Runs of several backbones in one table."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pirt_stages.report.cli import main
from pirt_stages.report.formats import as_csv, as_latex, as_markdown, as_text, laid_out
from pirt_stages.report.results import ReportError, read_results
from pirt_stages.report.schema import Report
from pirt_stages.report.tables import build_report

Write = Callable[..., Path]
VIT = {"model": {"backbone": "vit_small"}, "train": {"epochs": 120, "image_size": [256, 128]}}
STORE = {"trained_on_heatmaps": "v" * 64, "heatmaps_fingerprint": "v" * 64}


@pytest.fixture
def folders(write_metrics: Write, tmp_path: Path) -> list[Path]:
    """The paper's backbone in baseline, parts and Pirt, and a transformer, of its own recipe, in the first and last."""
    for index, variant in enumerate(("baseline", "parts", "pirt")):
        for seed in range(3):
            write_metrics(variant, seed, 0.40 + 0.02 * index)
    (tmp_path / "evaluate").rename(tmp_path / "resnet")
    for seed in range(3):
        vit(write_metrics, "baseline", seed, 0.60)
        vit(write_metrics, "pirt", seed, 0.635, lineage=STORE)
    (tmp_path / "evaluate").rename(tmp_path / "vit")
    return [tmp_path / "resnet", tmp_path / "vit"]


def vit(write_metrics: Write, variant: str, seed: int, mean_ap: float, **more: Any) -> Path:
    return write_metrics(variant, seed, mean_ap, **(VIT | more))


def report(folders: list[Path], benchmark: str = "mine") -> Report:
    return build_report(benchmark, read_results(folders), stand_in=False)


def test_each_backbone_has_a_row_for_each_model_that_was_run_on_any(folders: list[Path]) -> None:
    (made,) = report(folders).tables
    assert made.title == "Table 6. Backbones on mine"
    assert [[cell.text for cell in row] for row in laid_out(made).rows] == [
        ["resnet50_ibn_a", "baseline", "40.00 ± 0.00", "50.00 ± 0.00"],
        ["resnet50_ibn_a", "+ P", "42.00 ± 0.00", "52.00 ± 0.00"],
        ["resnet50_ibn_a", "+ P + Intra + Inter", "44.00 ± 0.00", "54.00 ± 0.00"],
        ["vit_small", "baseline", "60.00 ± 0.00", "70.00 ± 0.00"],
        ["vit_small", "+ P", "–", "–"],
        ["vit_small", "+ P + Intra + Inter", "63.50 ± 0.00", "73.50 ± 0.00"],
    ]


def test_notes_say_what_guidance_adds_to_each(folders: list[Path]) -> None:
    notes = report(folders).tables[0].notes
    assert "resnet50_ibn_a: +4.00 mAP, +4.00 Rank-1 from baseline to + P + Intra + Inter." in notes
    assert "vit_small: +3.50 mAP, +3.50 Rank-1 from baseline to + P + Intra + Inter." in notes
    assert "Mean ± standard deviation over 3 seeds, 60 or 120 epochs of training." in notes
    assert "– was not run." in notes


def test_short_trainings_are_told_apart_from_long_ones(write_metrics: Write) -> None:
    write_metrics("baseline", 0, 0.4)
    folder = vit(write_metrics, "pirt", 0, 0.5, train={"epochs": 8})
    (made,) = report([folder]).tables
    assert "† 8 epochs, fewer than the paper's 60." in made.notes
    texts = {tuple(cell.text for cell in row[:3]) for row in laid_out(made).rows}
    assert ("resnet50_ibn_a", "baseline", "40.00‡") in texts
    assert ("vit_small", "+ P + Intra + Inter", "50.00†‡") in texts
    # Neither has both, so nothing is said of what was added.
    assert not any("from baseline" in note for note in made.notes)


def test_published_numbers_stand_beside_the_papers_backbone_alone(folders: list[Path]) -> None:
    (made,) = report(folders, "occluded-dukemtmc").tables
    beside = {row.head: row.entries[0].published for row in made.rows}
    assert beside["resnet50_ibn_a", "+ P + Intra + Inter"] == ("50.90", "60.00")
    assert beside["resnet50_ibn_a", "+ P"] == ("42.23", "52.17")
    assert {numbers for (backbone, _), numbers in beside.items() if backbone == "vit_small"} == {None}


def test_one_other_backbone_makes_the_papers_tables_and_says_so(folders: list[Path]) -> None:
    made = report(folders[1:], "occluded-dukemtmc").tables
    assert [table.number for table in made] == [1, 3, 4, 5]
    said = "The published numbers of Pirt and its baseline are on the backbone resnet50_ibn_a."
    assert all(said in table.notes for table in made)
    assert not any(said in table.notes for table in report(folders[:1], "occluded-dukemtmc").tables)


def test_every_format_has_the_rows(folders: list[Path]) -> None:
    (made,) = report(folders).tables
    assert "| vit_small | + P + Intra + Inter | [63.50 ± 0.00](lineage.md#mine-vit-small-parts-intra-inter3) |" in (
        as_markdown(made)
    )
    assert r"vit\_small & baseline & 60.00 $\pm$ 0.00" in as_latex(made)
    assert "vit_small       + P + Intra + Inter  63.50 ± 0.00" in as_text(made)
    rows = list(csv.DictReader(io.StringIO(as_csv(made))))
    assert rows[5]["runs"] == " ".join(f"vit_small-parts-intra-inter3-seed{seed}" for seed in range(3))
    assert [row["epochs"] for row in rows] == ["60", "60", "60", "120", "", "120"]


def test_the_command_writes_the_table_its_lineage_and_the_page(folders: list[Path], tmp_path: Path) -> None:
    given = [text for folder in folders for text in ("--metrics", str(folder))]
    out = tmp_path / "out"
    ended = CliRunner().invoke(main, ["tables", "--benchmark", "mine", *given, "--out", str(out)])
    assert ended.exit_code == 0, ended.output
    lineage = list(csv.DictReader(io.StringIO((out / "tables/lineage.csv").read_text())))
    assert {line["heatmaps_fingerprint"][:1] for line in lineage if "vit" in line["run"]} == {"", "v"}
    assert len(lineage) == 15
    assert CliRunner().invoke(main, ["html", str(out)]).exit_code == 0
    page = (out / "report.html").read_text()
    assert '<a href="#mine-vit-small-baseline">60.00 ±&nbsp;0.00</a>' in page
    assert '<div id="mine-vit-small-baseline">' in page


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train": {"epochs": 60, "image_size": [256, 128]}}, r"differ in train\.epochs \(120, 60\)"),
        ({"model": {"backbone": "vit_small", "refine": 2}}, r"differ in model\.refine \(1, 2\)"),
        ({"counts": {"queries": 9}}, r"differ in counts\.queries \(2210, 9\)"),
        ({"protocol": {"top_n": 9}}, r"differ in protocol\.top_n \(100, 9\)"),
        ({"lineage": {"manifest_fingerprint": "n" * 64}}, r"differ in lineage\.manifest_fingerprint"),
    ],
)
def test_a_backbone_has_one_recipe_and_all_one_measure(
    folders: list[Path], write_metrics: Write, changes: dict[str, Any], said: str
) -> None:
    folder = vit(write_metrics, "parts", 0, 0.6, **changes)
    with pytest.raises(ReportError, match=said):
        read_results([*folders, folder])


def test_backbones_are_not_told_apart_by_how_they_are_measured(folders: list[Path], write_metrics: Write) -> None:
    other = {"model": {"backbone": "swin_tiny"}}
    folder = write_metrics("pirt", 0, 0.7, **other, protocol={"average_precision": "trapezoid"})
    with pytest.raises(ReportError, match=r"differ in protocol\.average_precision"):
        read_results([*folders, folder])
