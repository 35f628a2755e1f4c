import base64
import json
import os
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from folder_contents import contents

from pirt.core.errors import ReportError
from pirt_stages.report.cli import main
from pirt_stages.report.lineage import table_names
from pirt_stages.report.page import page
from pirt_stages.report.schema import Entry, Row
from pirt_stages.report.writing import read_report

Write = Callable[..., Path]
VOID = {"meta", "img", "input"}


class Checker(HTMLParser):
    """Keeps ids, links and sources, and fails on a tag that does not close."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.pictures: list[tuple[str | None, bool]] = []
        """The text alternative of each picture, and whether it stands in a label, which opens it large."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        if tag == "img":
            self.pictures.append((dict(attrs).get("alt"), "label" in self.open))
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src"):
                self.links.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def run(*command: str | Path) -> str:
    result = CliRunner().invoke(main, [str(part) for part in command])
    assert result.exit_code == 0, result.output
    return result.output


def checked(text: str) -> Checker:
    checker = Checker()
    checker.feed(text)
    assert not checker.open
    return checker


@pytest.fixture
def report(write_metrics: Write, tmp_path: Path) -> Path:
    for variant in ("baseline", "pirt", "pirt-n1"):
        folder = write_metrics(variant, 0, 0.4)
    run("tables", "--benchmark", "<mine> & more", "--metrics", folder, "--out", tmp_path / "report")
    (tmp_path / "report/figures").mkdir()
    (tmp_path / "report/figures/curves.png").write_bytes(b"\x89PNG picture")
    return tmp_path / "report"


def test_page_is_whole_and_needs_no_network(report: Path) -> None:
    run("html", report)
    text = (report / "report.html").read_text()
    page = checked(text)
    outside = [link for link in page.links if not link.startswith(("#", "data:"))]
    assert outside == []
    assert not re.search(r"https?://|<script|@import|url\(", text)
    assert len(page.ids) == len(set(page.ids))
    inside = {link[1:] for link in page.links if link.startswith("#")}
    assert inside <= set(page.ids)
    assert base64.b64encode(b"\x89PNG picture").decode() in text


DATA = {
    "splits": [
        {
            "split": "train", "images": 12936, "junk": 0, "distractors": 0, "unreadable": 3, "identities": 751,
            "images_an_identity": [2, 17.225, 72], "cameras": 6, "visible": {"head": 0.98, "<b>": 0.455},
        },
        {
            "split": "gallery", "images": 30, "junk": 10, "distractors": 20, "unreadable": 30, "identities": 0,
            "images_an_identity": None, "cameras": 1, "visible": {},
        },
    ]
}  # fmt: skip


def cells(text: str) -> list[list[str]]:
    table = text[text.index('<table class="data">') :]
    lines = re.findall(r"<tr>(.*?)</tr>", table[: table.index("</table>")])
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line) for line in lines]


def test_page_tells_the_data_before_the_tables(report: Path) -> None:
    run("html", report)
    assert "Data: " not in (report / "report.html").read_text()
    (report / "figures/data.json").write_text(json.dumps(DATA))
    run("html", report)
    text = (report / "report.html").read_text()
    checked(text)
    assert text.index("<h2>Data: &lt;mine&gt; &amp; more</h2>") < text.index("<h2>Table 3")
    assert '<a href="#data-0">Data</a>' in text
    assert cells(text) == [
        ["", "train", "gallery"],
        ["images", "12,936", "30"],
        ["identities", "751", "0"],
        ["images an identity", "17.2 (2–72)", "–"],
        ["cameras", "6", "1"],
        ["head visible", "98%", "–"],
        ["&lt;b&gt; visible", "46%", "–"],
    ]
    assert "Of the train images 3 unreadable in stage 1." in text
    assert "Of the gallery images 10 junk, 20 distractors, 30 unreadable in stage 1." in text


def test_a_damaged_data_summary_is_one_line(report: Path) -> None:
    (report / "figures/data.json").write_text("{")
    result = CliRunner().invoke(main, ["html", str(report)])
    assert result.exit_code == 2
    assert len(result.output.splitlines()) == 1
    assert "data.json is not a data summary of this version; make it again with `pirt-report figures`" in result.output
    assert not (report / "report.html").exists()


def test_every_picture_has_a_text_and_opens_large(report: Path) -> None:
    for name in ("heatmaps", "ranks", "activations", "mine"):
        (report / f"figures/{name}.png").write_bytes(b"\x89PNG picture")
    run("html", report)
    pictures = checked((report / "report.html").read_text()).pictures
    assert len(pictures) == 6  # Table 4 is a plot too
    assert all(text and large for text, large in pictures)


def test_page_escapes_what_users_write(report: Path) -> None:
    run("html", report)
    text = (report / "report.html").read_text()
    assert "<mine>" not in text
    assert "&lt;mine&gt; &amp; more" in text


def test_page_escapes_published_numbers(report: Path) -> None:
    one = read_report(report)
    # As reading a report.json would not let it be.
    entry = Entry(runnable=False).model_copy(update={"published": ("<img src=x>", "<b>")})
    rows = (Row(head=("PCB",), entries=(entry,)),)
    text = page(one.model_copy(update={"tables": (one.tables[0].model_copy(update={"rows": rows}),)}), (), {})
    assert not re.search("<img|<b>", text)
    assert "&lt;img src=x&gt;" in text


def test_page_shows_every_cell_and_its_run(report: Path) -> None:
    run("html", report)
    text = (report / "report.html").read_text()
    assert '<a href="#mine-more-resnet50-ibn-a-parts-intra-inter3">40.00‡</a>' in text
    assert "pirt0" in text  # the checkpoint's hash
    assert "paper" not in text[: text.index("Lineage</h2>")].replace("paper&#x27;s", "").replace(".paper", "")


def test_join_sets_benchmarks_side_by_side_and_keeps_their_figures_apart(write_metrics: Write, tmp_path: Path) -> None:
    for name, queries in (("market-1501", 3368), ("dukemtmc-reid", 2228)):
        folder = write_metrics("pirt", 0, 0.4, counts={"queries": queries})
        run("tables", "--benchmark", name, "--metrics", folder, "--out", tmp_path / name)
        (tmp_path / name / "figures").mkdir()
        (tmp_path / name / "figures/curves.png").write_bytes(b"\x89PNG" + name.encode())
        (tmp_path / name / "figures/data.json").write_text(json.dumps(DATA))
    run("join", tmp_path / "market-1501", tmp_path / "dukemtmc-reid", "--out", tmp_path / "both")
    run("html", tmp_path / "both")
    assert (tmp_path / "both/figures/dukemtmc-reid/curves.png").read_bytes() == b"\x89PNGdukemtmc-reid"
    text = (tmp_path / "both/report.html").read_text()
    checked(text)
    assert text.index("<h2>Data: Market-1501") < text.index("<h2>Data: DukeMTMC-reID")
    assert text.index("Market-1501. Training curves") < text.index("DukeMTMC-reID. Training curves")
    assert 'href="#market-1501-resnet50-ibn-a-parts-intra-inter3"' in text
    assert "Table 2. Comparison" in run("show", tmp_path / "both")
    again = ["join", tmp_path / "market-1501", tmp_path / "dukemtmc-reid", "--out", tmp_path / "both"]
    for name in ("heatmaps2.png", "market-1501/notes.txt", "mine/curves.png"):
        (tmp_path / "both/figures" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "both/figures" / name).write_text("years")
        refused = CliRunner().invoke(main, [str(word) for word in again])
        assert refused.exit_code == 2
        assert f"figures holds {name}, which would be lost" in refused.output
        (tmp_path / "both/figures" / name).unlink()
    run(*again)
    before = {path: path.read_bytes() for path in (tmp_path / "both").rglob("*") if path.is_file()}
    figure = tmp_path / "dukemtmc-reid/figures/curves.png"
    for make in (figure.mkdir, lambda: figure.symlink_to("nowhere"), lambda: os.mkfifo(figure)):
        figure.rmdir() if figure.is_dir() else figure.unlink()
        make()
        for command in (again, ["html", tmp_path / "dukemtmc-reid"]):
            refused = CliRunner().invoke(main, [str(word) for word in command])
            assert refused.exit_code == 2, refused.output
            assert "curves.png" in refused.output
    assert {path: path.read_bytes() for path in (tmp_path / "both").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("command", ["html", "join", "show"])
def test_what_is_no_picture_is_not_shown_as_one(report: Path, tmp_path: Path, command: str) -> None:
    """In a report from others it may be a link to a file that is not theirs."""
    (tmp_path / "secret").write_text("a key")
    (report / "figures/curves.png").unlink()
    (report / "figures/curves.png").symlink_to(tmp_path / "secret")
    refused = CliRunner().invoke(main, [command, str(report), *(["--out", str(tmp_path / "x")] * (command == "join"))])
    assert refused.exit_code == 2
    assert "curves.png is not a PNG; remove it, or make the figures again" in refused.output
    assert not any(b"a key" in path.read_bytes() for path in tmp_path.rglob("*.html"))
    assert not (tmp_path / "x").exists()


def test_join_keeps_tables_of_one_number_apart(write_metrics: Write, tmp_path: Path) -> None:
    for name, score in (("one", 0.4), ("two", 0.6)):
        folder = write_metrics("pirt", 0, score)
        run("tables", "--benchmark", name, "--metrics", folder, "--out", tmp_path / name)
    run("join", tmp_path / "one", tmp_path / "two", "--out", tmp_path / "both")
    one, two = ((tmp_path / f"both/tables/table3-{name}.md").read_text() for name in ("one", "two"))
    assert ("40.0" in one, "60.0" in one) == (True, False)
    assert ("40.0" in two, "60.0" in two) == (False, True)


def test_join_of_a_joined_report_keeps_its_benchmarks_apart(write_metrics: Write, tmp_path: Path) -> None:
    write_metrics("pirt-n1", 0, 0.3)
    for name in ("one", "two", "three"):
        run("tables", "--benchmark", name, "--metrics", write_metrics("pirt", 0, 0.4), "--out", tmp_path / name)
        (tmp_path / name / "figures").mkdir()
        (tmp_path / name / "figures/curves.png").write_bytes(b"\x89PNG" + name.encode())
        (tmp_path / name / "figures/data.json").write_text(json.dumps(DATA))
    run("join", tmp_path / "one", tmp_path / "two", "--out", tmp_path / "both")
    run("join", tmp_path / "both", tmp_path / "three", "--out", tmp_path / "nested")
    run("join", *(tmp_path / name for name in ("one", "two", "three")), "--out", tmp_path / "flat")
    assert contents(tmp_path / "nested") == contents(tmp_path / "flat")
    for parts, said in ((("three", "both", "two"), "on two;"), (("both", "nested"), "on one;")):
        asked = ["join", *(str(tmp_path / part) for part in parts), "--out", str(tmp_path / "again")]
        refused = CliRunner().invoke(main, asked)
        assert refused.exit_code == 2
        assert f"two of the reports are {said}" in refused.output
    (tmp_path / "both/figures/mine.png").write_bytes(b"\x89PNG of which benchmark?")
    refused = CliRunner().invoke(main, ["join", str(tmp_path / "both"), "--out", str(tmp_path / "again")])
    assert refused.exit_code == 2
    assert "mine.png lies in no folder of one, two;" in refused.output
    assert not (tmp_path / "again").exists()


def test_files_are_named_by_names_of_letters_or_digits(write_metrics: Write, tmp_path: Path) -> None:
    for folder, name in (("a", "?"), ("b", "!")):
        run("tables", "--benchmark", name, "--metrics", write_metrics("pirt", 0, 0.4), "--out", tmp_path / folder)
    for parts in ("a", "ab"):
        asked = ["join", *(str(tmp_path / part) for part in parts), "--out", str(tmp_path / "again")]
        refused = CliRunner().invoke(main, asked)
        assert refused.exit_code == 2
        assert "a benchmark's name has no letter or digit to name files by" in refused.output
    one = read_report(tmp_path / "a")
    with pytest.raises(ReportError, match="two tables would be named table3-"):
        table_names(one.model_copy(update={"tables": one.tables * 2}))


def test_joining_one_benchmark_twice_is_refused(report: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["join", str(report), str(report), "--out", str(tmp_path / "both")])
    assert result.exit_code == 2
    assert "two of the reports are on mine-more" in result.output
    assert not (tmp_path / "both").exists()


@pytest.mark.parametrize(
    ("command", "folder"), [("tables", "tables"), ("tables", "plots"), ("join", "tables"), ("join", "figures")]
)
def test_folders_that_no_report_made_are_left(
    report: Path, write_metrics: Write, tmp_path: Path, command: str, folder: str
) -> None:
    mine = tmp_path / "thesis" / folder / "mine.png"
    mine.parent.mkdir(parents=True)
    mine.write_text("years")
    sources = ["--benchmark", "any", "--metrics", write_metrics("pirt", 0, 0.4)] if command == "tables" else [report]
    result = CliRunner().invoke(main, [command, *map(str, sources), "--out", str(tmp_path / "thesis")])
    assert result.exit_code == 2
    assert f"{mine.parent} was not made by `pirt-report`" in result.output
    assert [file for file in (tmp_path / "thesis").rglob("*") if file.is_file()] == [mine]


@pytest.mark.parametrize("command", ["html", "show"])
def test_a_folder_without_report_is_one_line(command: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, [command, str(tmp_path)])
    assert result.exit_code == 2
    assert result.output == (f"Error: {tmp_path} holds no report; `pirt-report tables --out {tmp_path}` makes one\n")


def entry_of(told: dict[str, Any], number: int = 3) -> dict[str, Any]:
    """The last entry of a table in a report.json, which is ours."""
    [table] = [table for table in told["tables"] if table["number"] == number]
    entry: dict[str, Any] = table["rows"][-1 if number == 3 else 0]["entries"][0]
    return entry


@pytest.mark.parametrize(
    "change",
    [
        lambda told: told["tables"][0]["rows"][0].update(entries=[]),
        lambda told: told["tables"][0]["rows"][0].update(head=["x"]),
        lambda told: told["tables"][0].update(benchmarks=[]),
        lambda told: told["tables"][1]["rows"][0].update(head=["some"]),
        lambda told: entry_of(told).update(published=["abc", "1.0"]),
        lambda told: entry_of(told)["ours"].update(scores={}),
        lambda told: entry_of(told, 4)["ours"]["scores"]["mAP"].update(std=-1),
        lambda told: entry_of(told)["ours"].update(runs=["another"]),
        lambda told: told.update(runs=[]),
        lambda told: told.update(tables=[], runs=[]),
    ],
)
def test_a_report_that_contradicts_itself_is_one_line(
    report: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    path = report / "tables/report.json"
    told = json.loads(path.read_text())
    change(told)
    path.write_text(json.dumps(told))
    for command in (["html", report], ["show", report], ["join", report, "--out", tmp_path / "joined"]):
        refused = CliRunner().invoke(main, [str(word) for word in command])
        assert refused.exit_code == 2
        assert len(refused.output.splitlines()) == 1
        assert f"{path} is not a report of this version" in refused.output


def test_a_report_of_any_size_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    with (tmp_path / "tables" / "report.json").open("w") as file:
        file.truncate(1 << 40)  # takes no disk, but all memory
    result = CliRunner().invoke(main, ["show", str(tmp_path)])
    assert result.exit_code == 2
    assert "is not a report of this version" in result.output
