"""Images added to a store or left out: rows are taken where they are the same, to the bytes of a fresh extraction."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from folder_contents import contents
from pose_people import People, TinyNetwork, make_people
from tiny_stores import make_version_2

from pirt.core.manifest import ImageRow, Manifest, write_manifest
from pirt_stages.pose.cli import main
from pirt_stages.pose.cluster import code_sha256, compute_shard
from pirt_stages.pose.extraction import extract as recipe
from pirt_stages.pose.extraction.extract import Work
from pirt_stages.pose.extraction.writer import StoreWriter

Extract = Callable[..., Result]


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> People:
    return make_people(tmp_path_factory.mktemp("crowd"), identities=1, images=23)


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "SHARD_SIZE", 7)  # two batches of 3 and one of 1


def extraction(tiny: TinyNetwork, crowd: People, folder: Path) -> Extract:
    """Extract some rows of the crowd to a store of the folder, as a user does."""

    def run(rows: Sequence[ImageRow], out: str, *options: Any) -> Result:
        write_manifest(folder / "some.csv", rows, crowd.manifest.root)
        words = ("extract", "--manifest", folder / "some.csv", "--config", tiny.config, "--checkpoint")
        more = (tiny.checkpoint, "--input-size", 64, 32, "--batch-size", 3, "--out", folder / out, *options)
        return CliRunner().invoke(main, [str(word) for word in (*words, *more)])

    return run


@pytest.fixture
def extract(tiny: TinyNetwork, crowd: People, tmp_path: Path) -> Extract:
    return extraction(tiny, crowd, tmp_path)


@pytest.fixture(scope="module")
def of_twenty(tiny: TinyNetwork, crowd: People, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of the first twenty."""
    folder = tmp_path_factory.mktemp("twenty")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe, "SHARD_SIZE", 7)
        assert extraction(tiny, crowd, folder)(chosen(crowd, ROWS), "h.zarr").exit_code == 0
    return folder / "h.zarr"


ROWS = list(range(20))
CHANGES = {
    "one more": [*ROWS, 20],
    "one in front": [21, *ROWS],
    "three fewer": ROWS[:4] + ROWS[7:],
    "another order": ROWS[::-1],
    "others between": [0, 20, 1, 21, 2, 22, *ROWS[3:]],
    "a copy": [*ROWS, 3],
}


def chosen(crowd: People, numbers: Sequence[int]) -> list[ImageRow]:
    return [replace(crowd.manifest.rows[number], key=f"{place}") for place, number in enumerate(numbers)]


@pytest.mark.parametrize("name", CHANGES)
def test_the_store_is_that_of_a_fresh_extraction(
    extract: Extract, crowd: People, of_twenty: Path, tmp_path: Path, name: str
) -> None:
    wanted = chosen(crowd, CHANGES[name])
    assert extract(wanted, "fresh.zarr").exit_code == 0
    told = extract(wanted, "new.zarr", "--reuse", of_twenty)
    assert told.exit_code == 0, told.output
    assert contents(tmp_path / "new.zarr") == contents(tmp_path / "fresh.zarr")
    taken, computed = (int(word) for word in told.stderr.split() if word.isdigit())
    assert taken + computed == len(wanted)
    assert taken >= len(wanted) / 2  # all but new ones and those that were in a batch of another length


def test_the_store_that_is_replaced_gives_its_rows_by_itself(
    extract: Extract, crowd: People, of_twenty: Path, tmp_path: Path
) -> None:
    shutil.copytree(of_twenty, tmp_path / "h.zarr")
    refused = extract(chosen(crowd, [*ROWS, 20]), "h.zarr")
    assert refused.exit_code == 2
    assert "pass --restart" in refused.stderr
    told = extract(chosen(crowd, [*ROWS, 20]), "h.zarr", "--restart")
    assert f"20 rows are taken from {tmp_path / 'h.zarr'}, 1 are computed" in told.stderr
    assert extract(chosen(crowd, [*ROWS, 20]), "fresh.zarr").stderr.count("taken") == 0
    assert contents(tmp_path / "h.zarr") == contents(tmp_path / "fresh.zarr")


def test_a_run_that_was_stopped_goes_on_with_what_the_replaced_store_has(
    extract: Extract, crowd: People, of_twenty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = chosen(crowd, [20, *ROWS])
    assert extract(more, "fresh.zarr").exit_code == 0
    shutil.copytree(of_twenty, tmp_path / "h.zarr")
    before, write = contents(tmp_path / "h.zarr"), StoreWriter.write

    def stops(self: StoreWriter, shard: int, *given: Any) -> None:
        if shard >= 1:
            raise KeyboardInterrupt
        write(self, shard, *given)

    with monkeypatch.context() as stopping:
        stopping.setattr(StoreWriter, "write", stops)
        assert extract(more, "h.zarr", "--restart").exit_code == 130
    assert contents(tmp_path / "h.zarr") == before
    told = extract(more, "h.zarr")
    assert "10 rows are taken from" in told.stderr
    assert contents(tmp_path / "h.zarr") == contents(tmp_path / "fresh.zarr")


def test_a_worker_takes_the_same_rows(
    extract: Extract, crowd: People, of_twenty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = chosen(crowd, CHANGES["others between"])
    assert extract(more, "fresh.zarr").exit_code == 0

    def parts(work: Work) -> None:
        for shard in work.writer.pending():
            compute_shard(shard, work.part(shard), code_sha256())

    monkeypatch.setattr(recipe, "run_here", parts)
    told = extract(more, "new.zarr", "--reuse", of_twenty)
    assert told.exit_code == 0, told.output
    assert contents(tmp_path / "new.zarr") == contents(tmp_path / "fresh.zarr")


def test_images_that_were_or_are_bad_are_not_taken(extract: Extract, tiny: TinyNetwork, tmp_path: Path) -> None:
    """A missing image that is back is computed; one that went missing is skipped though an earlier store has it."""
    crowd = make_people(tmp_path / "people", identities=1, images=12)
    away = [crowd.manifest.image_path(row) for row in crowd.manifest.rows[:2]]
    moved = [path.rename(path.with_suffix(".away")) for path in away[:1]]
    rows = [replace(row, path=f"{crowd.manifest.root}/{row.path}"[1:]) for row in crowd.manifest.rows]

    def run(out: str, *options: Any) -> Result:
        return extract([replace(row) for row in rows], out, "--root", "/", "--skip-bad", *options)

    assert run("old.zarr").exit_code == 0
    moved[0].rename(away[0])
    away[1].rename(away[1].with_suffix(".away"))
    assert run("fresh.zarr").exit_code == 0
    told = run("new.zarr", "--reuse", tmp_path / "old.zarr")
    assert "10 rows are taken" in told.stderr
    assert contents(tmp_path / "new.zarr") == contents(tmp_path / "fresh.zarr")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--codec", "float16"], "its codec is 'tau8' and not 'float16'"),
        (["--batch-size", "4"], "its batch_size is 3 and not 4"),
        pytest.param(["--flip-test"], "its flip_test is False and not True", marks=pytest.mark.slow),
        pytest.param(
            ["--input-size", "128", "64"], "its input_size is (64, 32) and not (128, 64)", marks=pytest.mark.slow
        ),
    ],
)
def test_other_settings_are_refused_when_asked_for_and_computed_when_replaced(
    extract: Extract, crowd: People, tmp_path: Path, options: list[str], said: str
) -> None:
    rows = chosen(crowd, ROWS[:4])
    assert extract(rows, "old.zarr").exit_code == 0
    refused = extract(rows, "new.zarr", "--reuse", tmp_path / "old.zarr", *options)
    assert refused.exit_code == 2
    assert f"no row can be taken from heatmap store {tmp_path / 'old.zarr'}: {said}" in refused.stderr
    assert not list(tmp_path.glob("new.zarr*"))
    told = extract(rows, "old.zarr", "--restart", *options)
    assert f"all rows are computed, none is taken from {tmp_path / 'old.zarr'}: {said}" in told.stderr
    assert extract(rows, "fresh.zarr", *options).exit_code == 0
    assert contents(tmp_path / "old.zarr") == contents(tmp_path / "fresh.zarr")


@pytest.mark.parametrize("file", ["heatmaps/c.1.0.0.0", "scores/c.0.0", "image_sha256/c.0"])
def test_nothing_is_taken_from_a_damaged_store(extract: Extract, crowd: People, tmp_path: Path, file: str) -> None:
    rows = chosen(crowd, ROWS[:9])
    assert extract(rows, "h.zarr").exit_code == 0
    whole = contents(tmp_path / "h.zarr")
    spoilt = bytearray(whole[file])
    spoilt[len(spoilt) // 2] ^= 4
    (tmp_path / "h.zarr" / file).write_bytes(spoilt)
    refused = extract(rows, "new.zarr", "--reuse", tmp_path / "h.zarr")
    assert refused.exit_code == 2
    assert len(refused.stderr.strip().splitlines()[-1:]) == 1
    assert not list(tmp_path.glob("new.zarr*"))
    told = extract(rows, "h.zarr", "--restart")
    assert "all rows are computed" in told.stderr
    assert contents(tmp_path / "h.zarr") == whole


def test_stores_of_version_2_and_what_is_no_store_give_nothing(extract: Extract, crowd: People, tmp_path: Path) -> None:
    rows = chosen(crowd, ROWS[:4])
    assert extract(rows, "old.zarr").exit_code == 0
    make_version_2(tmp_path / "old.zarr", Manifest(tuple(rows), crowd.manifest.root))
    refused = extract(rows, "new.zarr", "--reuse", tmp_path / "old.zarr")
    assert refused.exit_code == 2
    assert "it was written by an older version, which did not record the SHA-256 of its images" in refused.stderr
    assert "does not exist" in extract(rows, "new.zarr", "--reuse", tmp_path / "none.zarr").stderr
    (tmp_path / "folder").mkdir()
    assert "is not a heatmap store" in extract(rows, "new.zarr", "--reuse", tmp_path / "folder").stderr
    assert not list(tmp_path.glob("new.zarr*"))


def test_info_and_verify_know_the_images(extract: Extract, crowd: People, tmp_path: Path) -> None:
    assert extract(chosen(crowd, ROWS[:4]), "h.zarr").exit_code == 0
    ended = CliRunner().invoke(main, ["verify", str(tmp_path / "h.zarr"), "--manifest", str(tmp_path / "some.csv")])
    assert ended.exit_code == 0, ended.output
    facts = json.loads(CliRunner().invoke(main, ["info", str(tmp_path / "h.zarr"), "--json"]).stdout)
    assert facts["format_version"] == 3
    assert "manifest_fingerprint" not in facts
