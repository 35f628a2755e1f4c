from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner
from tiny_runs import SMALL, write_run

from pirt.runs.params import TrainParams
from pirt.runs.run import load_run
from pirt_stages.export import export as exporting
from pirt_stages.export.cli import main

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def invoke(*arguments: object):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("run", "outputs"), [("run", ["stripe", "patch", "groups", "confidence"]), ("baseline", ["global"])]
)
def test_exported_network_computes_the_same_at_any_batch(evaluated, tmp_path, run, outputs):
    import onnxruntime

    ended = invoke("onnx", "--run", evaluated / run, "--out", tmp_path / "pirt.onnx")
    assert ended.exit_code == 0, ended.output
    session = onnxruntime.InferenceSession(str(tmp_path / "pirt.onnx"))
    assert [output.name for output in session.get_outputs()] == outputs
    assert "pirt.image_mean" in session.get_modelmeta().custom_metadata_map
    assert session.get_modelmeta().custom_metadata_map["pirt.group_distance"] == "euclidean"
    model, record = load_run(evaluated / run)
    for batch in (1, 3, 7):
        inputs = exporting.example_inputs(record, batch, seed=100 + batch)
        fed = dict(zip(["images", "heatmaps"], (values.numpy() for values in inputs), strict=False))
        with torch.inference_mode():
            expected = model(*inputs)
        for name, found in zip(outputs, session.run(None, fed), strict=True):
            torch.testing.assert_close(torch.from_numpy(found), expected[name], atol=1e-4, rtol=0)


def test_onnx_replaces_only_onnx(evaluated, tmp_path):
    (tmp_path / "notes.txt").write_text("years")
    refused = invoke("onnx", "--run", evaluated / "run", "--out", tmp_path / "notes.txt")
    assert refused.exit_code == 2
    assert "notes.txt is not ONNX of a run and would be replaced" in refused.output
    assert (tmp_path / "notes.txt").read_text() == "years"


def test_weights_that_do_not_fit_into_the_file_are_not_left_behind(evaluated, tmp_path, monkeypatch):
    """As PyTorch puts them beside the file from 1.5 GB on."""

    def save(path):
        for name in (path, f"{path}.data"):
            Path(name).write_bytes(b"pirt.image_mean")

    program = SimpleNamespace(model=SimpleNamespace(metadata_props={}), save=save)
    monkeypatch.setattr(exporting, "to_onnx", lambda *_: program)
    monkeypatch.setattr(exporting, "check", lambda *_: {})
    refused = invoke("onnx", "--run", evaluated / "run", "--out", tmp_path / "pirt.onnx")
    assert refused.exit_code == 2, refused.output
    assert "has more weights than one ONNX file holds" in refused.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_grids_that_do_not_divide_are_exported_too(tmp_path):
    import onnxruntime

    train = TrainParams(image_size=(80, 72), image_mean=(0.5, 0.4, 0.3))
    write_run(tmp_path / "run", SMALL, train, heatmap_size=(20, 18))
    ended = invoke("onnx", "--run", tmp_path / "run", "--out", tmp_path / "pirt.onnx")
    assert ended.exit_code == 0, ended.output
    assert "largest difference to PyTorch at batch 1 and 7" in ended.output
    session = onnxruntime.InferenceSession(str(tmp_path / "pirt.onnx"))
    assert session.get_modelmeta().custom_metadata_map["pirt.image_mean"] == "[0.5, 0.4, 0.3]"


@pytest.mark.slow
def test_another_reading_of_the_mask_is_exported(tmp_path):
    model = SMALL.model_copy(update={"intra_mask": "normalised"})
    write_run(tmp_path / "run", model, TrainParams(image_size=(64, 32)), heatmap_size=(16, 8))
    ended = invoke("onnx", "--run", tmp_path / "run", "--out", tmp_path / "pirt.onnx")
    assert ended.exit_code == 0, ended.output


@pytest.mark.slow
def test_a_network_that_differs_is_not_kept(evaluated, tmp_path, monkeypatch):
    forward = exporting.NamedOutputs.forward

    def a_little_apart(self, *inputs):
        stripe, *others = forward(self, *inputs)
        return (stripe + 2e-3, *others)

    monkeypatch.setattr(exporting.NamedOutputs, "forward", a_little_apart)
    ended = invoke("onnx", "--run", evaluated / "run", "--out", tmp_path / "pirt.onnx")
    assert ended.exit_code == 2
    assert "output stripe of the ONNX file differs by 0.002 from PyTorch at batch 1" in ended.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("scale", [1.0, float("nan")])
def test_the_check_refuses_a_file_of_another_network(evaluated, tmp_path, scale):
    """A file written by hand: the images' mean, or no number at all."""
    from onnx import TensorProto, checker, helper, save_model

    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=0),
            helper.make_node("Constant", [], ["scale"], value_float=scale),
            helper.make_node("Mul", ["mean", "scale"], ["global"]),
        ],
        "other",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 32, 16])],
        [helper.make_tensor_value_info("global", TensorProto.FLOAT, ["batch"])],
    )
    other = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    checker.check_model(other)
    save_model(other, tmp_path / "other.onnx")
    model, record = load_run(evaluated / "baseline")
    with pytest.raises(exporting.ExportError, match="output global of the ONNX file differs by"):
        exporting.check(model.eval(), record, tmp_path / "other.onnx")


def test_missing_run_is_one_line(tmp_path):
    ended = invoke("onnx", "--run", tmp_path, "--out", tmp_path / "pirt.onnx")
    assert ended.exit_code == 2
    assert "run.json is missing" in ended.output
