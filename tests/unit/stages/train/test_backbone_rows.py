"""Every family of backbones goes through the programs: trained, resumed, evaluated, exported, drawn, compiled."""

import pytest
import torch
from click.testing import CliRunner
from tiny_persons import training_arguments, write_heatmaps, write_persons

from pirt.runs.run import load_run
from pirt.summary import summarise
from pirt_stages.evaluate.cli import main as evaluate
from pirt_stages.train.cli import main as train

PARAMS = """\
seed: 3
model: {{backbone: {name}, {choices}, bottleneck: 8, feedforward: 16, confidence_hidden: 8}}
variants:
  pirt: {{inter_layers: 1}}
  baseline: {{parts: false, intra: false, inter_layers: 0}}
train:
  image_size: [64, 32]
  image_mean: [0.5, 0.5, 0.5]
  image_std: [0.5, 0.5, 0.5]
  epochs: 1
  identities: 4
  instances: 2
  warmup_epochs: 1
  cosine_from_epoch: 1
  augment: {{pad: 4}}
  {recipe}
"""
FAMILIES = {
    "vit_small": (
        "backbone_options: {depth: 2, drop_path: 0.2, checkpointing: true}",
        "optimizer: sgd\n  layer_decay: 0.7\n  precision: bfloat16",
    ),
    "swin_tiny": (
        "backbone_options: {depths: [1, 2, 1, 1], window: 2, semantic_weight: 0.2}, refine: 2",
        "optimizer: adamw\n  layer_decay: 0.9",
    ),
    "resnet50": ("width: 4, strides: [1, 2, 1, 1]", "optimizer: adam"),
}


SLOWER = [pytest.param(name, marks=pytest.mark.slow) for name in ("swin_tiny", "resnet50")]


@pytest.fixture(scope="module", params=["vit_small", *SLOWER])
def trained(request, tmp_path_factory):
    root = tmp_path_factory.mktemp(request.param)
    choices, recipe = FAMILIES[request.param]
    (root / "params.yaml").write_text(PARAMS.format(name=request.param, choices=choices, recipe=recipe))
    write_heatmaps(root / "heatmaps.zarr", write_persons(root))
    for variant in ("pirt", "baseline"):
        arguments = training_arguments(root, root / variant)
        arguments[arguments.index("--variant") + 1] = variant
        ended = CliRunner().invoke(train, arguments)
        assert ended.exit_code == 0, ended.output
    return root


def inputs(B=2):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(B, 3, 64, 32, generator=generator), torch.rand(B, 17, 16, 8, generator=generator).pow(8)


@pytest.mark.parametrize("variant", ["pirt", "baseline"])
def test_a_run_is_evaluated(trained, tmp_path, variant):
    arguments = ["--run", trained / variant, "--manifest", trained / "manifest.csv", "--out", tmp_path / "out"]
    arguments += ["--heatmaps", trained / "heatmaps.zarr", "--device", "cpu", "--workers", 0]
    ended = CliRunner().invoke(evaluate, list(map(str, arguments)))
    assert ended.exit_code == 0, ended.output
    model, record = load_run(trained / variant)
    assert record.params.train.image_mean == (0.5, 0.5, 0.5)
    assert (tmp_path / "out" / "metrics.json").exists()
    with torch.inference_mode():
        outputs = model(*inputs())
    assert all(value.isfinite().all() for value in outputs.values())


def test_its_parts_are_counted_and_its_activations_drawn(trained):
    model, _ = load_run(trained / "pirt")
    parts = {part.name: part for part in summarise(model, (64, 32), (16, 8))}
    assert parts["backbone"].parameters == sum(value.numel() for value in model.backbone.parameters())
    assert parts["backbone"].flops > 1e6
    features = model.intra_features(*inputs())
    factor = model.refine.rows.shape[0] // model.refine.rows.shape[1] if model.refine else 1
    assert features.shape[2:] == tuple(factor * cells for cells in model.backbone.grid((64, 32)))


@pytest.mark.slow
def test_it_is_exported(trained, tmp_path):
    pytest.importorskip("onnxruntime")
    from pirt_stages.export.export import export

    differences = export(trained / "pirt", tmp_path / "pirt.onnx")
    assert max(differences.values()) <= 1e-4


@pytest.mark.slow
def test_it_is_compiled_without_breaks(trained):
    model, _ = load_run(trained / "pirt")
    model.train()
    report = torch._dynamo.explain(model)(*inputs(4))
    assert report.graph_break_count == 0, report.break_reasons
