"""The run folder: trained weights, and the record of what they were trained with and on."""

from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import JsonValue, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from pirt.core.errors import CheckpointError
from pirt.core.files import sha256_of, written_whole
from pirt.core.params import Frozen, Positive, Size, first_problem
from pirt.core.sealed import sealed, unsealed
from pirt.core.sizes import require_buildable
from pirt.core.texts import LARGEST_JSON, bytes_within, is_json_without
from pirt.core.weights import read_weights
from pirt.models import Pirt, build_pirt
from pirt.runs.params import Params

WEIGHTS_FILE = "model.safetensors"
RECORD_FILE = "run.json"


class RunRecord(Frozen):
    """What a training was given; no clock, host or path, so that the same training leaves the same bytes."""

    format_version: Literal[2] = 2
    variant: str | None = None
    num_classes: Positive
    manifest_fingerprint: str
    heatmaps_fingerprint: str | None
    """None when the model does not look at heatmaps."""
    heatmap_size: Size | None
    initial_weights_sha256: str | None = None
    """Of the run that fine-tuning started from."""
    unreadable: tuple[str, ...] = ()
    """Keys of the training images that stage 1 could not read; they are left out."""
    params: Params
    evaluate: dict[str, JsonValue] | None = None
    """How the model was measured during training, None if it was not."""
    weights_sha256: str | None = None
    """Of the weights beside it, as `save_run` wrote them; None in the record of a training that has not ended."""

    def training(self) -> dict[str, object]:
        """Return what was decided before the training, to be compared with that of another one."""
        return self.model_dump(exclude={"weights_sha256"})


def refuse_other_run(folder: Path) -> None:
    """Raise CheckpointError when weights or a record in `folder`, which a training is to replace, are of no run.

    Damaged ones count as a run's: to train anew is what mends them.
    """
    weights, record = folder / WEIGHTS_FILE, folder / RECORD_FILE
    for path, other in ((weights, _is_another_models), (record, partial(is_json_without, "manifest_fingerprint"))):
        if path.is_file() and other(path):
            raise CheckpointError(f"{path} is not of a run of `pirt-train` and would be replaced; name another --out")


def _is_another_models(path: Path) -> bool:
    try:
        with safe_open(path, "pt") as file:
            return not any(name.startswith("backbone.") for name in file.keys())  # noqa: SIM118  # no mapping
    except SafetensorError:
        return False


def save_run(folder: Path, model: nn.Module, record: RunRecord) -> None:
    """Write the weights, then the record: a folder with a record is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    with written_whole(folder / WEIGHTS_FILE) as beside:
        # Not by save_file, whose files only their owner can read.
        beside.write_bytes(save(weights))
        # An earlier record must not stand beside new weights.
        (folder / RECORD_FILE).unlink(missing_ok=True)
    write_record(folder, record.model_copy(update={"weights_sha256": sha256_of(folder / WEIGHTS_FILE)}))


def write_record(folder: Path, record: RunRecord) -> None:
    """Write the record of a finished run."""
    with written_whole(folder / RECORD_FILE) as beside:
        beside.write_text(sealed(record.model_dump(mode="json"), indent=2) + "\n", encoding="utf-8")


def load_run(folder: Path) -> tuple[Pirt, RunRecord]:
    """Read a run folder and return its model, on the CPU and in eval mode, with its record."""
    record = read_record(folder)
    model = build_model(record.num_classes, record.params)
    load_weights(model, run_weights(folder), f"run {folder}")
    return model.eval(), record


def build_model(num_classes: int, params: Params) -> Pirt:
    """Build the model of the parameters, with random weights."""

    def build() -> Pirt:
        return build_pirt(num_classes, image_size=params.train.image_size, **params.model.model_dump())

    require_buildable(build, f"the model of {num_classes} identities")
    return build()


def read_record(folder: Path) -> RunRecord:
    """Read what the run in `folder` was trained with."""
    path = folder / RECORD_FILE
    try:
        return RunRecord.model_validate(unsealed(bytes_within(path, LARGEST_JSON)))
    except (FileNotFoundError, NotADirectoryError):
        raise _unfinished(folder, RECORD_FILE) from None
    except ValidationError as error:
        raise CheckpointError(f"{path} is not a record of this version: {first_problem(error)}") from error
    except ValueError as error:
        raise CheckpointError(f"{path} cannot be read: {error}; restore it, or train the run again") from error


def run_weights(folder: Path) -> dict[str, Tensor]:
    """Read the tensors of the run in `folder` by name."""
    weights_sha256(folder)  # raises unless they are the record's
    return read_weights(folder / WEIGHTS_FILE)


def weights_sha256(folder: Path) -> str:
    """Return the SHA-256 of the weights in a finished run's folder.

    Raises CheckpointError where they are not those that its record names.
    """
    recorded, path = read_record(folder).weights_sha256, folder / WEIGHTS_FILE
    try:
        found = sha256_of(path)
    except FileNotFoundError:
        raise _unfinished(folder, WEIGHTS_FILE) from None
    if found != recorded:
        raise CheckpointError(
            f"{path} is not the file that {RECORD_FILE} records (SHA-256 {found[:12]} instead of "
            f"{str(recorded)[:12]}): it was damaged or replaced; restore it, or train the run again"
        )
    return found


def load_weights(model: nn.Module, weights: dict[str, Tensor], source: str) -> None:
    """Copy `weights` into `model`; other names or shapes are an error that lists the first ones."""
    expected = model.state_dict()
    wrong = [f"{name} is missing" for name in expected.keys() - weights.keys()]
    wrong += [f"{name} is unexpected" for name in weights.keys() - expected.keys()]
    wrong += [
        f"{name} is {tuple(weights[name].shape)}, expected {tuple(expected[name].shape)}"
        for name in expected.keys() & weights.keys()
        if weights[name].shape != expected[name].shape
    ]
    if wrong:
        raise CheckpointError(
            f"{source} holds another architecture, {len(wrong)} differences: "
            f"{'; '.join(sorted(wrong)[:3])}; use the model parameters that it was trained with"
        )
    model.load_state_dict(weights)


def _unfinished(folder: Path, missing: str) -> CheckpointError:
    return CheckpointError(f"{folder} is not a finished run: {missing} is missing; train it first")
