"""A run's backbone alone, as a file of weights that other trainings start from."""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from pirt.core.errors import ParamsError
from pirt.core.files import refuse_unlike, written_whole
from pirt.runs.run import RunRecord, load_run

SUFFIX = ".safetensors"


def export_backbone(run: Path, out: Path) -> int:
    """Write the backbone's weights of `run` and return their number; `train.backbone_weights` takes the file.

    Names are those that the backbone's published weights have. The file's metadata says which run they are from; the
    same run gives the same bytes.

    Raises:
        ParamsError: `out` does not end in .safetensors, by which weights are read.
        CheckpointError: `run` is not a finished run.
    """
    if out.suffix != SUFFIX:
        raise ParamsError(f"--out {out}: weights are written as safetensors; name a file that ends in {SUFFIX}")
    refuse_unlike(out, _is_ours, "a backbone that `pirt-export` wrote")
    model, record = load_run(run)
    # safetensors takes no others.
    weights = {name: value.contiguous() for name, value in model.backbone.state_dict().items()}
    # One entry: safetensors writes several in any order, and so not the same bytes twice.
    metadata = {"pirt": json.dumps(origin_of(record), sort_keys=True)}
    with written_whole(out) as beside:
        # Not by `save_file`, whose files are not as readable as others.
        beside.write_bytes(save(weights, metadata))
    return sum(value.numel() for value in model.backbone.parameters())


def _is_ours(path: Path) -> bool:
    try:
        with safe_open(path, "pt") as file:
            return "pirt" in (file.metadata() or {})
    except SafetensorError:
        return False


def origin_of(record: RunRecord) -> dict[str, object]:
    """Return what made the weights: the run's own, its images and its parameters."""
    told = record.model_dump(mode="json", include={"variant", "manifest_fingerprint", "params"})
    return told | {"run_weights_sha256": record.weights_sha256}
