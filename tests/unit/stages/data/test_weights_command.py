"""`pirt-data weights`: what a training starts from, as a file that DVC can watch."""

import hashlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from pirt_stages.data.cli import main

SHA = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("backbone", "pose", "other")}


def told(folder: Path, params: str, *options: str) -> tuple[int, str]:
    for name in SHA:
        (folder / f"{name}.pth").write_text(name)
    (folder / "params.yaml").write_text(params.replace("HERE", str(folder)))
    words = ["weights", "--params", str(folder / "params.yaml"), "--out", str(folder / "weights.json"), *options]
    ended = CliRunner().invoke(main, words)
    return ended.exit_code, ended.output


PARAMS = """\
pose: {train: {init_from: HERE/pose.pth}}
train: {backbone_weights: HERE/backbone.pth}
variants: {pirt: {}, scratch: {train: {backbone_weights: null}}, other: {train: {backbone_weights: HERE/other.pth}}}
"""


@pytest.mark.parametrize(
    ("params", "options", "expected"),
    [
        (PARAMS, (), {"backbone_weights": SHA["backbone"]}),
        (PARAMS, ("--parameter", "pose.train.init_from"), {"init_from": SHA["pose"]}),
        ("seeds: [0]", (), {"backbone_weights": None}),
        (
            "train: {backbone_weights: https://x.org/w-0123abcd.pth}",
            (),
            {"backbone_weights": "https://x.org/w-0123abcd.pth"},
        ),
    ],
)
def test_files_are_hashed_and_urls_named(
    params: str, options: tuple[str, ...], expected: dict[str, str | None], tmp_path: Path
) -> None:
    assert told(tmp_path, params, *options)[0] == 0
    assert json.loads((tmp_path / "weights.json").read_text()) == expected


def test_each_variant_has_a_file_of_its_own(tmp_path: Path) -> None:
    assert told(tmp_path, PARAMS, "--out", str(tmp_path / "w/{variant}.json"))[0] == 0
    found = {path.stem: json.loads(path.read_text())["backbone_weights"] for path in (tmp_path / "w").iterdir()}
    assert found == {"pirt": SHA["backbone"], "scratch": None, "other": SHA["other"]}


@pytest.mark.parametrize("out", ["backbone.pth", "{variant}.pth", "notes.txt", "mine.json"])
def test_nothing_is_replaced_but_another_such_file(out: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("years")
    (tmp_path / "mine.json").write_text('{"mine": 1}')
    code, output = told(tmp_path, PARAMS, "--out", str(tmp_path / out))
    assert code == 2
    assert "would be replaced; name another --out" in output
    assert [(tmp_path / f"{name}.pth").read_text() for name in SHA] == list(SHA)
    assert (tmp_path / "notes.txt").read_text() == "years"
    assert (tmp_path / "mine.json").read_text() == '{"mine": 1}'


@pytest.mark.parametrize("there", ["foreign", "folder"])
def test_no_variants_file_is_replaced_before_all_are_written(there: str, tmp_path: Path) -> None:
    out = tmp_path / "w"
    assert told(tmp_path, PARAMS, "--out", str(out / "{variant}.json"))[0] == 0
    (out / "other.json").unlink()
    if there == "foreign":
        (out / "other.json").write_text('{"mine": 1}')
    else:
        (out / "other.json").mkdir()
    before = {path.name: path.is_file() and path.read_bytes() for path in out.iterdir()}
    changed = PARAMS.replace("HERE/backbone.pth", "null").replace("pirt: {}", "also: {}, pirt: {}")
    code, output = told(tmp_path, changed, "--out", str(out / "{variant}.json"))
    assert code == 2
    assert "other.json" in output
    assert {path.name: path.is_file() and path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ("train: {backbone_weights: 5}", "backbone_weights = 5, expected a file or URL"),
        ("train: {backbone_weights: nowhere.pth}", "nowhere.pth cannot be read"),
        ("train: [5]", "section train must be a mapping"),
        ("variants: {a: {train: {backbone_weights: [5]}}}", "variant a, section train: backbone_weights = [5]"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(params: str, said: str, tmp_path: Path) -> None:
    code, output = told(tmp_path, params)
    assert code == 2
    assert said in output
    assert not (tmp_path / "weights.json").exists()


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ("seeds: [0]", "has no variants"),
        ("variants: {a: {}, b/c: {}}", "'b/c' cannot be a part of a file name"),
        ("variants: {a: {}, b: {train: {backbone_weights: nowhere.pth}}}", "nowhere.pth cannot be read"),
    ],
)
def test_bad_variants_are_one_line_and_write_nothing(params: str, said: str, tmp_path: Path) -> None:
    code, output = told(tmp_path, params, "--out", str(tmp_path / "w/{variant}.json"))
    assert code == 2
    assert said in output
    assert not list(tmp_path.rglob("*.json"))
