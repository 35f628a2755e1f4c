"""YAML and JSON from strangers: what they hold, or one line; never code, never a bomb."""

import time
from pathlib import Path

import pytest

from pirt.core.errors import ParamsError
from pirt.core.params import mapping, read_yaml
from pirt.core.texts import bytes_within, json_in, json_of, yaml_of

NINE = "[" + ", ".join(["*{0}"] * 9) + "]"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} {NINE.format(below)}\n" for below, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [
        "a: 2024-13-45",
        "a: 2024-01-01T00:00:00+99:99",
        "a: !!int abc",
        "a: !!float x",
        "a: !!bool x",
        "a: !!timestamp x",
        "a: !!binary x",
        "a: !!null [x]",
        "a: !!omap [a]",
        "a: " + "1" * 5000,
        "a: " + "[" * 3000 + "]" * 3000,
        "a: " + "[" * 3000,
        "? " * 30_000,
        "- " * 30_000,
        "{a: " * 3000,
        "<<: 3",
        "a: b\n---\nc: d",
        "a: *b",
        "%YAML 9.9\n---\na: b",
        "a: \0",
        "a: !!python/object/apply:os.system [touch ran]",
        "a: !!python/name:os.system",
        "a: &a [*a]",
        "&a ? *a\n: b",
        BOMB,
        f"a: &a {'x' * 60_000}\nb: [{', '.join(['*a'] * 100)}]",
        "[" * 120_000,
        "]" * 60_000 + "[" * 60_000,
        "{" * 60 + "[" * 60_000,
    ],
    ids=lambda text: text[:24].strip(),
)
def test_what_is_not_plain_yaml_is_refused_in_one_short_line(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(text)
    started = time.process_time()
    with pytest.raises(ParamsError, match=r"^params\.yaml ") as caught:
        read_yaml(Path("params.yaml"))
    assert time.process_time() - started < 5
    assert len(str(caught.value)) < 1000
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [tmp_path / "params.yaml"]


def test_aliases_and_merges_that_people_write_are_read() -> None:
    found = yaml_of("base: &base {epochs: 1, size: [128, 64]}\nlong: {<<: *base, epochs: 60}\nlist: [*base, *base]\n")
    assert found["long"] == {"epochs": 60, "size": [128, 64]}
    assert found["list"] == [found["base"], found["base"]]


def test_a_section_of_another_kind_is_shown_shortened() -> None:
    with pytest.raises(ParamsError, match="must be a mapping, found list") as caught:
        mapping(["x" * 100] * 10_000, "section model")
    assert len(str(caught.value)) < 300


def test_a_file_over_the_limit_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 11)
    assert bytes_within(tmp_path / "large", 11) == b"x" * 11
    with pytest.raises(ValueError, match="11 bytes, over the limit of 10"):
        bytes_within(tmp_path / "large", 10)


def test_a_device_that_never_ends_is_not_read() -> None:
    with pytest.raises(ParamsError, match="pipe or device"):
        read_yaml(Path("/dev/zero"))


def test_json_that_is_nested_too_deep_is_a_value_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nested too deep"):
        json_of("[" * 100_000)
    (tmp_path / "fine.json").write_text('{"a": [1, 2.5, null]}')
    assert json_in(tmp_path / "fine.json") == {"a": [1, 2.5, None]}
