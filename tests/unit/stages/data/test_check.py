import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from pirt.benchmarks import BENCHMARKS, benchmark_with, counts_of
from pirt.core.manifest import SPLITS, ImageRow, Manifest, read_manifest, write_manifest
from pirt_stages.data.check import Finding, check, check_rows

Run = Callable[..., Result]


@pytest.fixture
def manifest(smoke: Path, run: Run, tmp_path: Path) -> Manifest:
    """The smoke profile, in a copy that can be spoilt."""
    shutil.copytree(smoke, tmp_path / "people")
    assert run("import", tmp_path / "people", "--out", tmp_path / "m.csv").exit_code == 0
    return read_manifest(tmp_path / "m.csv")


def bad(findings: Sequence[Finding]) -> dict[str, str]:
    return {finding.question: finding.answer for finding in findings if finding.good is False}


def test_nothing_is_wrong_with_the_rendered_benchmark(manifest: Manifest, run: Run, tmp_path: Path) -> None:
    assert not bad(check(manifest))
    result = run("check", tmp_path / "m.csv")
    assert result.exit_code == 0
    assert "✓  files readable and as imported" in result.output
    assert "✗" not in result.output


def test_unreadable_changed_and_missing_files(manifest: Manifest, run: Run, tmp_path: Path) -> None:
    zero, cut, other, gone = (manifest.image_path(row) for row in manifest.rows[:4])
    zero.write_bytes(b"")
    cut.write_bytes(cut.read_bytes()[:600])
    shutil.copy(manifest.image_path(manifest.rows[9]), other)
    gone.unlink()
    answer = bad(check(manifest))["files readable and as imported"]
    assert answer.startswith("4: ")
    assert f"{zero} has zero bytes" in answer
    result = run("check", tmp_path / "m.csv")
    assert result.exit_code == 1
    assert "✗  files readable and as imported" in result.output


def test_a_file_that_changed_after_the_import(manifest: Manifest) -> None:
    first, second = (manifest.image_path(row) for row in manifest.rows[:2])
    shutil.copy(second, first)
    assert bad(check(manifest)) == {"files readable and as imported": f"1: {first} was changed after the import"}


def changed(manifest: Manifest, pick: Callable[[ImageRow], bool], **values: object) -> Manifest:
    rows = [replace(row, **values) if pick(row) else row for row in manifest.rows]  # type: ignore[arg-type]
    return Manifest(tuple(rows), manifest.root)


def test_a_name_does_not_steer_the_terminal(run: Run, tmp_path: Path) -> None:
    """Names in an archive from a stranger may hold what sets a window's title, or clears the screen."""
    (tmp_path / "people").mkdir()
    (tmp_path / "people" / "\x1b]0;title\x07.jpg").write_bytes(b"no image")
    imported = run("import", tmp_path / "people", "--layout", "folder", "--out", tmp_path / "m.csv")
    told = run("check", tmp_path / "m.csv")
    assert "?]0;title?.jpg is not an image" in told.output
    assert not set("\x1b\x07") & {*imported.output, *told.output}


def test_identities_in_both_halves(manifest: Manifest) -> None:
    spoilt = changed(manifest, lambda row: row.pid == 9 and row.split == "gallery", pid=1)
    assert bad(check(spoilt))["train and test identities differ"] == "1: pid 1"


def test_images_in_two_splits(manifest: Manifest) -> None:
    train, gallery = manifest.split("train")[0], manifest.split("gallery")[-1]
    spoilt = changed(manifest, lambda row: row == gallery, path=train.path, sha256=train.sha256)
    assert bad(check(spoilt)) == {"no image in two splits": f"1: {train.key} = {gallery.key}"}


def test_a_query_in_the_gallery_is_harmless_when_the_protocol_drops_it(manifest: Manifest) -> None:
    query = manifest.split("query")[0]
    copy = replace(query, key="gallery/copy", split="gallery")
    findings = check(Manifest((*manifest.rows, copy), manifest.root))
    assert not bad(findings)
    assert any("1 queries are in the gallery too" in finding.answer for finding in findings)
    foreign = replace(copy, camid=query.camid + 1)
    assert "no image in two splits" in bad(check(Manifest((*manifest.rows, foreign), manifest.root)))


def test_queries_without_a_label_need_no_match(manifest: Manifest) -> None:
    question = "queries have a match in another camera"
    queries = len(manifest.split("query"))
    for unlabelled, good in ((1, True), (queries, None)):
        keys = {row.key for row in manifest.split("query")[:unlabelled]}
        found = {finding.question: finding for finding in check(changed(manifest, lambda row: row.key in keys, pid=-1))}  # noqa: B023
        assert found[question].good is good
        assert found[question].answer == f"all {queries - unlabelled:,}; {unlabelled:,} more have no label"


def test_queries_without_a_match(manifest: Manifest) -> None:
    spoilt = changed(manifest, lambda row: row.pid == 9, camid=1)
    answer = bad(check(spoilt))["queries have a match in another camera"]
    assert answer.startswith("2: query/0009_")


def test_train_identities_of_one_camera_are_told(manifest: Manifest) -> None:
    findings = check(changed(manifest, lambda row: row.pid == 3, camid=1))
    assert next(f for f in findings if "one camera" in f.question) == Finding(
        "train identities seen by one camera only", None, "1: pid 3"
    )


def test_counts_must_be_those_of_the_named_benchmark(manifest: Manifest, run: Run, tmp_path: Path) -> None:
    spoilt = bad(check(manifest, "market1501"))
    assert spoilt["Market-1501: train"] == "48, published are 12,936"
    assert run("check", tmp_path / "m.csv", "--benchmark", "market1501").exit_code == 1


def test_counts_find_their_benchmark() -> None:
    for benchmark in BENCHMARKS:
        assert benchmark_with(benchmark.counts) == benchmark
    rows = [ImageRow(str(pid), "a", "gallery", pid, 1, "") for pid in (-1, -1, 0, 5)]
    assert counts_of(rows) == {"train": 0, "query": 0, "gallery": 4, "junk": 2, "distractors": 1}
    assert benchmark_with(counts_of(rows)) is None


def test_wrong_manifests_are_one_line(run: Run, tmp_path: Path) -> None:
    assert "does not exist" in run("check", tmp_path / "m.csv").output
    row = ImageRow("k", "a.jpg", "train", 1, 1, "00")
    write_manifest(tmp_path / "m.csv", [row], tmp_path)
    result = run("check", tmp_path / "m.csv")
    assert result.exit_code == 1
    assert "is missing" in result.output


def test_a_training_image_in_the_gallery_is_never_harmless(manifest: Manifest) -> None:
    copy = replace(manifest.split("train")[0], key="gallery/copy", split="gallery")
    assert "no image in two splits" in bad(check(Manifest((*manifest.rows, copy), manifest.root)))


@pytest.mark.parametrize("split", ["train", "query"])
def test_persons_numbered_from_0_are_found(split: str, manifest: Manifest) -> None:
    place, row = next((place, row) for place, row in enumerate(manifest.rows) if row.split == split)
    rows = [*manifest.rows[:place], replace(row, pid=0), *manifest.rows[place + 1 :]]
    found = {finding.question: finding for finding in check(replace(manifest, rows=tuple(rows)))}
    finding = found["no query or training image of pid 0"]
    assert finding.good is False
    assert finding.answer == f"1: {row.key}"


def plain_check(rows: list[ImageRow]) -> list[tuple[int, list[object], str]]:
    """Answer `check_rows`' questions by plain loops: how many are wrong, which come first, what is said of none."""
    trained, tested = (
        {row.pid for row in rows if row.pid > 0 and (row.split == "train") == side} for side in (True, False)
    )
    overlap: list[object] = [f"pid {pid}" for pid in sorted(trained & tested)]
    nobody: list[object] = [row.key for row in rows if row.pid == 0 and row.split != "gallery"]
    unmatched: list[object] = [
        query.key
        for query in rows
        if query.split == "query"
        and query.pid != -1
        and not any(row.split == "gallery" and row.pid == query.pid > 0 and row.camid != query.camid for row in rows)
    ]
    seen = {pid: {row.camid for row in rows if row.split == "train" and row.pid == pid} for pid in sorted(trained)}
    one_camera: list[object] = [f"pid {pid}" for pid, cameras in seen.items() if len(cameras) == 1]
    queries = sum(row.split == "query" and row.pid != -1 for row in rows)
    good = (f"{len(trained)} train, {len(tested)} test identities", "none", f"all {queries}", "none")
    wrong = (overlap, nobody, unmatched, one_camera)
    return [(len(found), found[:2], said) for found, said in zip(wrong, good, strict=True)]


def test_checks_of_random_rows_are_those_of_plain_loops() -> None:
    chance = np.random.default_rng(0)
    for count in chance.integers(1, 14, 200).tolist():
        pids, camids, splits = (
            chance.integers(-1, 5, count),
            chance.integers(-1, 3, count),
            chance.integers(0, 3, count),
        )
        rows = [
            ImageRow(f"k{i}", f"p{i}", SPLITS[splits[i]], int(pids[i]), int(camids[i]), f"{i}") for i in range(count)
        ]
        found = check_rows(Manifest(rows, Path()).rows)
        for finding, (number, first, said) in zip([found[i] for i in (0, 1, 3, 4)], plain_check(rows), strict=True):
            expected = f"{number}: {', '.join(map(str, first))}" if number else said
            answer, _, more = finding.answer.partition("; ")
            assert answer.removesuffix(", …") == expected
            unlabelled = sum(row.split == "query" and row.pid == -1 for row in rows)
            asked = finding.question.startswith("queries") and unlabelled
            assert more == (f"{unlabelled} more have no label" if asked else "")
            none_to_match = asked and answer == "all 0"
            assert finding.good == (None if finding is found[4] or none_to_match else number == 0)
