"""No parameter asks for what no machine has: sizes are bounded, and networks measured before they are made."""

import itertools
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import BaseModel, ValidationError
from torch import nn

from pirt.core.errors import ParamsError
from pirt.core.sizes import require_buildable
from pirt.ranking.params import EvaluateParams
from pirt.runs.params import AugmentParams, ModelParams, Params, TrainParams
from pirt.runs.run import build_model

_UNBOUNDED: dict[type[BaseModel], set[str]] = {Params: {"seed"}}
"""Numbers that no memory or time depends on."""


def numbers() -> Iterator[tuple[type[BaseModel], str, Any]]:
    for section in (Params, ModelParams, TrainParams, AugmentParams, EvaluateParams):
        for name, field in section.model_fields.items():
            default = field.get_default()
            if isinstance(default, int | float) and not isinstance(default, bool):
                yield section, name, default


@pytest.mark.parametrize(("section", "name", "default"), list(numbers()), ids=str)
def test_every_number_of_a_parameter_file_has_bounds(section: type[BaseModel], name: str, default: Any) -> None:
    # A rate may be any float32, so that a training may diverge; a count is what memory or time depends on.
    bad: list[Any] = [10**5000, 2**63 if isinstance(default, int) else 1e39, -1, math.nan, math.inf]
    for value in bad:
        with pytest.raises(ValidationError):
            section.model_validate({name: value})
    assert getattr(section.model_validate({name: default}), name) == default


@pytest.mark.parametrize(
    "model",
    [
        {"backbone": "resnet18_ibn_a", "width": 4096},
        {"feedforward": 65_536, "bottleneck": 65_536, "confidence_hidden": 65_536, "inter_layers": 16},
        {"backbone": "vit_base", "backbone_options": {"depth": 256}, "inter_layers": 16, "feedforward": 65_536},
        {"backbone": "vit_small", "backbone_options": {"depth": 10**9}},
        {"backbone": "vit_small", "backbone_options": {"depth": -(10**9)}},
        {"backbone": "swin_tiny", "backbone_options": {"depths": [10**9, 2, 6, 2]}},
        {"backbone": "swin_tiny", "backbone_options": {"window": 10**9}},
    ],
    ids=str,
)
def test_a_model_that_no_machine_holds_is_refused_at_once(model: dict[str, Any]) -> None:
    started = time.process_time()
    with pytest.raises(ParamsError, match=r"weights, over the limit|expected int up to 256|expected .* up to 256"):
        build_model(10, Params(model=ModelParams.model_validate(model)))
    assert time.process_time() - started < 10


@pytest.mark.parametrize("classes", [9 * 10**9, 2**31 - 1, 2**60])
def test_more_identities_than_memory_has_room_for_are_refused(classes: int) -> None:
    small = ModelParams(backbone="resnet18_ibn_a", width=8)
    with pytest.raises(ParamsError, match=r"more weights than can be counted|over the limit"):
        build_model(classes, Params(model=small))


def test_a_network_whose_layers_never_end_is_refused() -> None:
    def build() -> nn.Module:
        return nn.Sequential(*(nn.Linear(1, 1, bias=False) for _ in itertools.count()))

    with pytest.raises(ParamsError, match="the network has more layers than can be counted"):
        require_buildable(build, "the network")


def test_measuring_a_model_first_draws_no_other_weights() -> None:
    small = Params(model=ModelParams(backbone="resnet18_ibn_a", width=8))
    torch.manual_seed(5)
    measured = build_model(3, small).state_dict()
    torch.manual_seed(5)
    from pirt.models import build_pirt

    plain = build_pirt(3, image_size=small.train.image_size, **small.model.model_dump()).state_dict()
    assert all(torch.equal(measured[name], plain[name]) for name in plain)


def test_what_cannot_be_measured_is_left_to_the_building_itself() -> None:
    def build() -> nn.Module:
        return nn.Linear(int(torch.ones(1).item()), 2)  # tensors without memory have no items

    require_buildable(build, "a network")


@pytest.mark.parametrize(
    "text",
    [
        "variants: {1: {}, a: {}}",
        "variants: {[1]: {}, a: {}}",
        "variants: [1]",
        "variants: {wanted: 5}",
        "model: {1: 2}",
        "model: [1]\nvariants: {wanted: {}}",
        "train: {identities: 4096, instances: 4096}",
        "train: {image_size: [100000, 100000]}",
    ],
)
def test_odd_sections_are_one_line(text: str, tmp_path: Path) -> None:
    from pirt.runs.params import load_params

    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ParamsError):
        load_params(tmp_path / "params.yaml", "wanted")
