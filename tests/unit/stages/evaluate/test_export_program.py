from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner
from tiny_runs import SMALL, write_run

from pirt.runs.params import TrainParams
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

    from pirt.runs.run import load_run

    ended = invoke("--run", evaluated / run, "--out", tmp_path / "pirt.onnx")
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


@pytest.mark.slow
def test_grids_that_do_not_divide_are_exported_too(tmp_path):
    import onnxruntime

    train = TrainParams(image_size=(80, 72), image_mean=(0.5, 0.4, 0.3))
    write_run(tmp_path / "run", SMALL, train, heatmap_size=(20, 18))
    ended = invoke("--run", tmp_path / "run", "--out", tmp_path / "pirt.onnx")
    assert ended.exit_code == 0, ended.output
    assert "largest difference to PyTorch at batch 1 and 7" in ended.output
    session = onnxruntime.InferenceSession(str(tmp_path / "pirt.onnx"))
    assert session.get_modelmeta().custom_metadata_map["pirt.image_mean"] == "[0.5, 0.4, 0.3]"


def test_a_network_that_differs_is_not_kept(evaluated, tmp_path, monkeypatch):
    class Program:
        model = SimpleNamespace(metadata_props={})

        def save(self, path: str) -> None:
            Path(path).write_bytes(b"onnx")

    def differs(*_: object) -> dict:
        raise exporting.ExportError("output stripe of the ONNX file differs")

    monkeypatch.setattr(exporting, "to_onnx", lambda model, inputs: Program())
    monkeypatch.setattr(exporting, "check", differs)
    ended = invoke("--run", evaluated / "run", "--out", tmp_path / "pirt.onnx")
    assert ended.exit_code == 2
    assert "differs" in ended.output
    assert not list(tmp_path.iterdir())


def test_missing_run_is_one_line(tmp_path):
    ended = invoke("--run", tmp_path, "--out", tmp_path / "pirt.onnx")
    assert ended.exit_code == 2
    assert "run.json is missing" in ended.output
