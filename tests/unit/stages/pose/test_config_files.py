"""A Python config is a program; one of YAML or JSON is data, whatever it names and whatever it is based on."""

import json
from pathlib import Path
from typing import Any

import pytest
from pose_people import TinyNetwork

from pirt.core.errors import ParamsError
from pirt_stages.pose.extraction.geometry import geometry_of
from pirt_stages.pose.networks.network import (
    build_network,
    config_sha256,
    own_input_size,
    read_config,
    require_heatmaps,
)


@pytest.fixture
def model(tiny: TinyNetwork) -> dict[str, Any]:
    """Return the tiny network's config as plain data."""
    config = read_config(str(tiny.config)).to_dict()
    return json.loads(json.dumps({name: config[name] for name in ("model", "test_dataloader")}))


def write(folder: Path, name: str, content: object) -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize("name", ["pose.json", "pose.yaml", "pose.yml"])
def test_data_configs_are_the_network_that_the_python_config_is(
    name: str, model: dict[str, Any], tiny: TinyNetwork, tmp_path: Path
) -> None:
    write(tmp_path, "loader.json", {"test_dataloader": model["test_dataloader"]})
    based = write(tmp_path, name, {"_base_": "loader.json", "model": model["model"]})  # JSON is YAML too
    config = read_config(str(based))
    assert config_sha256(config) == config_sha256(read_config(json_twin(tmp_path, model)))
    assert build_network(config, "data").input_size == own_input_size(read_config(str(tiny.config)), "tiny")


def json_twin(folder: Path, model: dict[str, Any]) -> str:
    return str(write(folder, "whole.json", model))


def read_and_build(file: Path) -> None:
    config = read_config(str(file))
    require_heatmaps(config, "bad")
    own_input_size(config, "bad")
    build_network(config, "bad")


def _ran(folder: Path) -> str:
    return f"open({str(folder / 'ran')!r}, 'w').close()"


@pytest.mark.parametrize("suffix", ["yaml", "yml"])
def test_no_tag_of_a_yaml_config_runs_code(suffix: str, tmp_path: Path) -> None:
    text = f"model: !!python/object/apply:builtins.exec [{json.dumps(_ran(tmp_path))}]\n"
    with pytest.raises(ParamsError, match="cannot be read"):
        read_config(str(write(tmp_path, f"bad.{suffix}", text)))
    based = write(tmp_path, "good.py", f"_base_ = './bad.{suffix}'\nmodel = dict(type='x')\n")
    with pytest.raises(ParamsError, match="cannot be read"):
        read_config(str(based))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("suffix", ["yaml", "json"])
@pytest.mark.parametrize(
    "extra",
    [
        {"_base_": "evil.py"},
        {"_base_": ["evil.py"]},
        {"_base_": "mmpose::evil.py"},
        {"_base_": "self.yaml"},
        {"_base_": 5},
        {"custom_imports": {"imports": ["evil"], "allow_failed_imports": False}},
        {"default_scope": "evil"},
    ],
    ids=str,
)
def test_data_configs_neither_import_nor_rest_on_programs(
    suffix: str, extra: dict[str, Any], model: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "evil.py", _ran(tmp_path) + "\nmodel = dict(type='TopdownPoseEstimator')\n")
    write(tmp_path, "self.yaml", {"_base_": "self.yaml"})
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ParamsError, match=r"write it as \.py|join them"):
        read_config(str(write(tmp_path, f"bad.{suffix}", model | extra)))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "part",
    [
        {"type": "builtins.exec", "object": "CODE"},
        {"type": "evil.Net"},
        {"type": "evil"},
        {"type": "HRNet", "norm_cfg": {"type": "evil.Norm"}},
        {"type": "HRNet", "_scope_": "evil"},
        {"type": ["HRNet"]},
    ],
    ids=str,
)
def test_parts_of_a_data_config_are_mmposes_own(
    part: dict[str, Any], model: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "evil.py", _ran(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    model["model"]["backbone"] = part | ({"object": _ran(tmp_path)} if "object" in part else {})
    with pytest.raises(ParamsError, match=r"need a Python config|needs"):
        build_network(read_config(str(write(tmp_path, "bad.json", model))), "bad")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "5",
        "{",
        '{"model": ' + "[" * 90_000,
        '{"1.a": {}}',
        '{"model": {"a": ' + "9" * 5000 + "}}",
        "\0",
        "{1: 2}",
    ],
)
@pytest.mark.parametrize("suffix", ["yaml", "json", "py"])
def test_damaged_configs_are_one_line(text: str, suffix: str, tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"^config ") as caught:
        require_heatmaps(read_config(str(write(tmp_path, f"bad.{suffix}", text))), "bad")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "place", ["head", "backbone", "neck", "test_cfg", "data_preprocessor", "head.decoder", "head.loss"]
)
@pytest.mark.parametrize("value", [5, "x", [1], True])
def test_configs_with_a_value_for_a_table_are_one_line(
    place: str, value: object, model: dict[str, Any], tmp_path: Path
) -> None:
    *above, last = place.split(".")
    table = model["model"]
    for name in above:
        table = table[name]
    table[last] = value
    path = write(tmp_path, "bad.json", model)
    python = write(tmp_path, "bad.py", f"model = {model['model']!r}\n")
    for file in (path, python):
        with pytest.raises(ParamsError, match=r"config|network") as caught:
            read_and_build(file)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("padding", ["x", float("nan"), 0, -1, 1e30, [1.25]])
def test_a_padding_that_is_none_is_one_line(padding: object, model: dict[str, Any], tmp_path: Path) -> None:
    steps = model["test_dataloader"]["dataset"]["pipeline"]
    next(step for step in steps if step["type"] == "GetBBoxCenterScale")["padding"] = padding
    config = read_config(str(write(tmp_path, "bad.json", model)))
    with pytest.raises(ParamsError, match="padding"):
        geometry_of(config, "topdown", (64, 32), "bad")


@pytest.mark.parametrize("size", [5, [1], [1, 2, 3], [0, 64], [10**6, 64], [64.5, 64], "ab", [[64], [64]]])
def test_an_input_size_that_is_none_is_one_line(size: object, model: dict[str, Any], tmp_path: Path) -> None:
    model["model"]["head"]["decoder"]["input_size"] = size
    with pytest.raises(ParamsError, match="input size"):
        own_input_size(read_config(str(write(tmp_path, "bad.json", model))), "bad")


def test_a_network_that_no_machine_holds_is_refused_before_memory_is_asked_for(
    model: dict[str, Any], tmp_path: Path
) -> None:
    model["model"]["backbone"]["extra"]["stage1"]["num_channels"] = [10**6]
    with pytest.raises(ParamsError, match="weights"):
        build_network(read_config(str(write(tmp_path, "bad.json", model))), "bad")


def test_a_config_that_ends_the_program_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("exit(0)\n")
    with pytest.raises(ParamsError, match=r"net\.py ends the program \(exit code 0\); remove that line"):
        read_config(str(tmp_path / "net.py"))
