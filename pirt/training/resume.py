"""What a stopped training needs to go on to the same result.

It lies beside the run folder, in `<run>.resume/`, since DVC empties a stage's outputs before it runs the stage.
Chance has no state to keep: a step's dropout and an image's augmentation are seeded by their place in the run.
"""

import pickle
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pirt.core.disk import require_seal, written_through
from pirt.core.errors import CheckpointError
from pirt.core.files import pass_on_refusal
from pirt.runs.run import RECORD_FILE, WEIGHTS_FILE, RunRecord, read_record

# What torch and pickle raise on a file that is damaged or not one of ours.
_UNREADABLE = (
    OSError, EOFError, RuntimeError, pickle.UnpicklingError, AttributeError, KeyError, ValueError, TypeError
)  # fmt: skip
_STATE_FILE = "state.pt"
_NOT_GIVEN = "not given"


@dataclass
class TrainingState:
    """A training after `step` steps."""

    step: int = 0
    network: dict[str, Tensor] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    scaler: dict[str, Any] = field(default_factory=dict)
    sums: dict[str, float] = field(default_factory=dict)
    """Of the epoch that has begun, over its steps so far."""
    history: list[dict[str, float]] = field(default_factory=list)
    """The curves, one point per epoch."""
    best: float = -1.0
    """The highest mAP of the evaluations so far."""


def resume_folder(out: Path) -> Path:
    """Return where the training that makes `out` keeps its state."""
    return out.with_name(f"{out.name}.resume")


def save_state(out: Path, state: TrainingState, record: RunRecord) -> None:
    """Write the state aside and rename it, so that a kill at any moment leaves the old or the new one."""
    folder = resume_folder(out)
    folder.mkdir(parents=True, exist_ok=True)
    # Nobody else keeps Git from it: DVC has only its outputs ignored.
    (folder / ".gitignore").write_text("*\n", encoding="utf-8")
    with written_through(folder / _STATE_FILE) as disk:
        torch.save({"record": record.model_dump_json(), **vars(state)}, disk)
        disk.seal()  # torch reads a ZIP file, which may have more at its end


def load_state(out: Path, record: RunRecord) -> TrainingState | None:
    """Read the state that a training of `out` left; None when there is none.

    CheckpointError when it is damaged, or belongs to a training with other parameters, data or heatmaps.
    """
    path = resume_folder(out) / _STATE_FILE
    fix = f"pass --restart to discard it, or remove {path.parent}"
    if not path.exists():
        return None
    try:
        require_seal(path)
        # weights_only: a pickle of more than tensors and plain values could run code.
        kept = torch.load(path, map_location="cpu", weights_only=True)
        theirs = RunRecord.model_validate_json(kept.pop("record"))
        state = TrainingState(**kept)
    except _UNREADABLE as error:
        pass_on_refusal(error)
        raise CheckpointError(f"{path} cannot be read as the state of a training: {_reason(error)}; {fix}") from error
    if differences := list(_differences(theirs.training(), record.training())):
        raise CheckpointError(f"{path.parent} belongs to another training: {'; '.join(differences[:3])}; {fix}")
    return state


def is_finished(out: Path, record: RunRecord) -> bool:
    """Tell whether `out` holds the run that `record` describes; CheckpointError when it holds another one's."""
    # The state goes last of all, so while it is there the folder may be half written.
    unfinished = (resume_folder(out) / _STATE_FILE).exists()
    if unfinished or not all((out / file).exists() for file in (WEIGHTS_FILE, RECORD_FILE)):
        return False
    if differences := list(_differences(read_record(out).training(), record.training())):
        raise CheckpointError(
            f"{out} holds the run of another training: {'; '.join(differences[:3])}; pass --restart to replace it, or "
            "another --out"
        )
    return True


def remove_state(out: Path) -> None:
    """Forget the state of a training that has ended."""
    shutil.rmtree(resume_folder(out), ignore_errors=True)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _differences(theirs: dict[str, Any], ours: dict[str, Any], prefix: str = "") -> Iterator[str]:
    # Either may have names that the other lacks: a backbone's options are a free mapping.
    for name in dict.fromkeys((*theirs, *ours)):
        was, now = (told.get(name, _NOT_GIVEN) for told in (theirs, ours))
        if isinstance(was, dict) and isinstance(now, dict):
            yield from _differences(was, now, f"{prefix}{name}.")
        elif was != now:
            yield f"{prefix}{name} was {was}, now {now}"
