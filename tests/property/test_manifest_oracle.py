"""The columnar manifest equals one that is read and written row by row, in what it holds and in what it refuses."""

import hashlib
import itertools
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from manifest_by_rows import csv_of, require_sound, rows_of

from pirt.core import manifest as manifests
from pirt.core import rows as columns
from pirt.core.errors import ManifestError
from pirt.core.manifest import COLUMNS, ImageRow, Manifest, read_manifest, write_manifest

# What has a meaning somewhere: for CSV, for lines, for paths, for numbers.
PIECES = ["a", "b.jpg", "é", "😀", ",", '"', ";", "\t", "/", "\\", "..", ".", ":", " ", "#", "\r", "\n", "\0", "7", ""]
names = st.lists(st.sampled_from(PIECES), max_size=5).map("".join)
sound_names = st.lists(st.sampled_from(["a", "b.jpg", "é", "😀", ",", '"', ";", "..", ":", " "]), max_size=4).map(
    "".join
)
numbers = st.sampled_from([-2, -1, 0, 1, 12, 2**63 - 1, 2**63, -(2**63), 1 - 2**63])
sound_rows = st.lists(sound_names, min_size=1, max_size=12).map(
    lambda drawn: [
        ImageRow(f"{i}{name}", f"x/{i}{name}", ("train", "query", "gallery")[i % 3], i - 1, i, f"{i:064x}")
        for i, name in enumerate(drawn)
    ]
)


@pytest.fixture(params=[2, 4096], autouse=True)
def together(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that are worked on at a time, and characters that are read first: few rows take several times too."""
    monkeypatch.setattr(manifests, "TOGETHER", request.param)
    monkeypatch.setattr(columns, "TOGETHER", request.param)
    monkeypatch.setattr(manifests, "_BLOCK", 75 * request.param)


plenty = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None, derandomize=True
)


def outcome(read, path: Path) -> object:
    try:
        return list(read(path))
    except ManifestError as error:
        return str(error)


def columnar(path: Path) -> object:
    return read_manifest(path).rows


@plenty
@given(sound_rows, st.booleans())
def test_what_is_written_is_what_rows_would_be(tmp_path: Path, rows: list[ImageRow], stand_in: bool) -> None:
    written = write_manifest(tmp_path / "m.csv", rows, Path("/data"), stand_in)
    text = csv_of(rows)
    head = "# root: /data\n" + "# stand-in\n" * stand_in
    assert (tmp_path / "m.csv").read_bytes() == (head + text).encode()
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert read_manifest(tmp_path / "m.csv").fingerprint == written.fingerprint == digest + "-standin" * stand_in
    assert list(read_manifest(tmp_path / "m.csv").rows) == rows_of(tmp_path / "m.csv") == rows


@plenty
@given(sound_rows, st.data())
def test_any_file_is_read_or_refused_alike(tmp_path: Path, rows: list[ImageRow], data: st.DataObject) -> None:
    delimiter, end = data.draw(st.sampled_from(",;\t")), data.draw(st.sampled_from(["\n", "\r\n", "\r"]))
    text = "# root: d\n" * data.draw(st.booleans()) + csv_of(rows).replace(",", delimiter).replace("\n", end)
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, len(text)))
        text = (
            text[:place]
            + data.draw(st.sampled_from([*PIECES, end, end * 2]))
            + text[place + data.draw(st.integers(0, 2)) :]
        )
    content = text.encode()
    if data.draw(st.integers(0, 9)) == 0:
        content = content[:-3] + b"\xff" + content[-3:]
    (tmp_path / "m.csv").write_bytes(content)
    assert outcome(columnar, tmp_path / "m.csv") == outcome(rows_of, tmp_path / "m.csv")


@plenty
@given(st.lists(st.tuples(names, names, numbers, numbers), min_size=1, max_size=8))
def test_any_rows_are_taken_or_refused_alike(tmp_path: Path, drawn: list[tuple[str, str, int, int]]) -> None:
    rows = [ImageRow(key, path, "train", pid, camid, "00") for key, path, pid, camid in drawn]

    def plainly(path: Path) -> list[ImageRow]:
        require_sound(rows, path)
        return rows

    expected = outcome(plainly, tmp_path / "m.csv")
    assert outcome(lambda path: write_manifest(path, rows, tmp_path).rows, tmp_path / "m.csv") == expected


@plenty
@given(sound_rows, st.lists(st.integers(0, 11), max_size=6), st.slices(8))
def test_selections_are_those_of_a_tuple(rows: list[ImageRow], picked: list[int], cut: slice) -> None:
    held, plain = Manifest(rows, Path()).rows, tuple(rows)
    places = [place for place in picked if place < len(rows)]
    assert held == plain
    assert held[cut] == plain[cut]
    assert held.take(places) == tuple(plain[place] for place in places)
    assert [held[place] for place in places] == [plain[place] for place in places]
    assert held[cut].keys == tuple(row.key for row in plain[cut])
    assert held[::-1][cut] == plain[::-1][cut]
    assert held != plain[:-1]
    assert len(plain) < 2 or held != plain[::-1]


def test_two_keys_of_one_hash_are_two_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [ImageRow(key, key, "train", 1, 1, "00") for key in ("a", "b", "c")]
    monkeypatch.setattr("pirt.core.rows.hash", lambda text: 5, raising=False)
    assert write_manifest(tmp_path / "m.csv", rows, tmp_path).rows == tuple(rows)
    with pytest.raises(ManifestError, match=r"'b' .* appears twice"):
        write_manifest(tmp_path / "m.csv", [*rows, rows[1]], tmp_path)


def test_a_refusal_far_down_counts_its_row(tmp_path: Path) -> None:
    lines = [",".join(COLUMNS), *(f"k{i},p{i},train,{i},1,00" for i in itertools.chain(range(9000), ["x"])), ""]
    (tmp_path / "m.csv").write_text("\n".join(lines))
    assert (
        outcome(columnar, tmp_path / "m.csv")
        == f"{tmp_path / 'm.csv'}, row 9001: pid 'x' and camid '1' must be whole numbers"
    )
