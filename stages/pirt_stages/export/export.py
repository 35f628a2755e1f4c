"""The embedding network as ONNX, checked against PyTorch before it is kept."""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pirt.core.errors import ParamsError, PirtError
from pirt.core.files import refuse_unlike, written_whole
from pirt.core.keypoints import COCO_KEYPOINTS
from pirt.models import Pirt
from pirt.ranking.params import EvaluateParams
from pirt.runs.run import RunRecord, load_run

TOLERANCE = 1e-4
# Neither is the batch of two with which the network is exported.
CHECKED_BATCHES = (1, 7)


class ExportError(PirtError):
    """The exported network does not compute what the model does."""


class NamedOutputs(nn.Module):
    """A model with its outputs as a tuple, which ONNX names in order."""

    def __init__(self, model: Pirt) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Images, and heatmaps if the model looks at them -> its outputs."""
        outputs: dict[str, Tensor] = self.model(*inputs)
        return tuple(outputs.values())


def export(run: Path, out: Path) -> dict[str, float]:
    """Write the model of `run` as ONNX with any batch size; return each output's largest difference to PyTorch.

    Inputs: images B×3×Hi×Wi, normalised, and heatmaps B×K×Hm×Wm in [0, 1] where the model looks at them. Outputs:
    the model's in evaluation, by name. The file's metadata says how to prepare the inputs.
    """
    require_packages()
    refuse_unlike(out, _is_ours, "ONNX of a run")
    model, record = load_run(run)
    model.eval()
    with written_whole(out) as beside:
        # Two images: with one, the exporter would take the batch size for a constant.
        program = to_onnx(model, example_inputs(record, 2, seed=0))
        program.model.metadata_props.update(metadata_of(model, record, str(record.weights_sha256)))
        program.save(str(beside))
        # PyTorch puts more than 1.5 GB of weights into a second file, which would not come along.
        if len(list(beside.parent.iterdir())) > 1:
            raise ExportError(f"the model of {run} has more weights than one ONNX file holds; export a smaller one")
        return check(model, record, beside)


def _is_ours(path: Path) -> bool:
    return b"pirt.image_mean" in path.read_bytes()  # of `metadata_of`


def require_packages() -> None:
    """Raise when what exports and checks is not installed."""
    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ParamsError(
            f"pirt-export onnx needs {error.name}, which is not installed: pip install 'pirt[export]'"
        ) from None


def example_inputs(record: RunRecord, batch: int, seed: int) -> tuple[Tensor, ...]:
    """Draw inputs of the sizes that the run was trained with; the first image has no visible part."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(batch, 3, *record.params.train.image_size, generator=generator)
    if record.heatmap_size is None:
        return (images,)
    # The power leaves few high values, as in heatmaps.
    heatmaps = torch.rand(batch, len(COCO_KEYPOINTS), *record.heatmap_size, generator=generator).pow(8)
    heatmaps[0] = 0  # the one case in which confidences are shared evenly
    return images, heatmaps


def to_onnx(model: Pirt, inputs: tuple[Tensor, ...]) -> Any:
    """Export with a dynamic batch dimension."""
    with torch.inference_mode():
        # Asked of the model itself: which outputs it has depends on its parts.
        names = list(model(*inputs))
    batch = torch.export.Dim("batch")
    with _quiet():
        return torch.onnx.export(
            NamedOutputs(model).eval(),
            inputs,
            dynamo=True,
            input_names=["images", "heatmaps"][: len(inputs)],
            output_names=names,
            # A tuple in a tuple, since `forward` takes all inputs as one argument with a star.
            dynamic_shapes=(tuple({0: batch} for _ in inputs),),
            verbose=False,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's notes about itself from the user."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def metadata_of(model: Pirt, record: RunRecord, checkpoint_sha256: str) -> dict[str, str]:
    """Say what a user of the file has to know, as ONNX metadata."""
    return {
        "pirt.checkpoint_sha256": checkpoint_sha256,
        "pirt.variant": record.variant or "",
        "pirt.image_mean": json.dumps(record.params.train.image_mean),
        "pirt.image_std": json.dumps(record.params.train.image_std),
        "pirt.keypoints": json.dumps(COCO_KEYPOINTS),
        "pirt.groups": json.dumps(model.group_names),
        "pirt.global_features": json.dumps(model.global_names),
        # Only a training that evaluates on its way records how; else the default holds.
        "pirt.group_distance": EvaluateParams.model_validate(record.evaluate or {}).group_distance,
    }


def check(model: Pirt, record: RunRecord, path: Path) -> dict[str, float]:
    """Run the file with onnxruntime on several batch sizes; return each output's largest difference."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    largest = dict.fromkeys(names, 0.0)
    for batch in CHECKED_BATCHES:
        inputs = example_inputs(record, batch, seed=batch)
        with torch.inference_mode():
            expected = model(*inputs)
        fed = dict(zip(["images", "heatmaps"], (values.numpy() for values in inputs), strict=False))
        for name, found in zip(names, session.run(None, fed), strict=True):
            difference = float(np.abs(found - expected[name].numpy()).max())
            if not difference <= TOLERANCE:  # so written, it fails for NaN too
                raise ExportError(
                    f"output {name} of the ONNX file differs by {difference:.2g} from PyTorch at batch {batch}, "
                    f"expected at most {TOLERANCE}; nothing was written, try another torch or onnxruntime"
                )
            largest[name] = max(largest[name], difference)
    return largest
