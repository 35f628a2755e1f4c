import pytest
import torch
from model_oracles import SMALL, TABLE_3

from pirt.models import build_pirt
from pirt.summary import summarise, summary_table


@pytest.fixture(scope="module")
def parts():
    return {part.name: part for part in summarise(build_pirt(5, **SMALL), (64, 32), (16, 8))}


def test_counts_the_multiplications_and_additions_of_the_equations(parts):
    C, D, H, W, hidden = 32, 8, 8, 4, 6
    cells = H * W
    # φ, q k v and W_H, θ; then scores and weighted sums of each stripe.
    assert parts["intra"].flops == 2 * cells * (C * D + 4 * D * D + D * C) + 4 * H * W * W * D
    stripe_and_patch, pose = [(1, 8), (1, 4)], [(3, 6)]
    units = [
        n * (2 * T * (4 * C * C + 2 * C * SMALL["feedforward"]) + 4 * T * T * C) for n, T in stripe_and_patch + pose
    ]
    assert parts["inter"].flops == 3 * sum(units)
    assert parts["confidence"].flops == 2 * 3 * (C * hidden + hidden)


def test_the_total_holds_all_parts_and_the_part_masks(parts):
    named = [part for name, part in parts.items() if name != "total"]
    assert parts["total"].parameters == sum(part.parameters for part in named)
    assert parts["total"].flops - sum(part.flops for part in named) == 2 * 17 * 32 * 32


def test_the_published_backbone_has_its_known_size():
    with torch.device("meta"):
        model = build_pirt(702)
    (backbone, *_) = summarise(model, (384, 128), (96, 32))
    assert backbone.name == "backbone"
    assert backbone.parameters == 23_508_032


def test_the_model_is_left_as_it_was():
    model = build_pirt(5, **SMALL)
    summarise(model, (64, 32), (16, 8))
    assert model.training
    assert model.backbone.conv1.weight.device.type == "cpu"


def test_the_table_has_a_line_for_each_part():
    parts = summarise(build_pirt(5, **SMALL, **TABLE_3["baseline"]), (64, 32), (16, 8))
    assert [line.split()[0] for line in summary_table(parts).splitlines()] == [
        "part",
        "backbone",
        "global_neck",
        "total",
    ]
