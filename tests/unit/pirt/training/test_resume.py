"""The state of a stopped training: what was written is read, anything else is refused."""

import resource
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_runs import SMALL

from pirt.core.errors import CheckpointError
from pirt.runs.params import Params, TrainParams
from pirt.runs.run import RunRecord
from pirt.training.resume import TrainingState, load_state, resume_folder, save_state

RECORD = RunRecord(
    num_classes=5,
    manifest_fingerprint="1" * 64,
    heatmaps_fingerprint=None,
    heatmap_size=None,
    params=Params(seed=0, model=SMALL, train=TrainParams()),
)


def kept(out: Path) -> TrainingState:
    """Save a state and return it."""
    state = TrainingState(step=3, network={"weight": torch.arange(64.0)}, sums={"loss/total": 2.5}, best=0.25)
    save_state(out, state, RECORD)
    return state


def test_a_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    state = kept(tmp_path / "run")
    read = load_state(tmp_path / "run", RECORD)
    assert read is not None
    torch.testing.assert_close(read.network, state.network, rtol=0, atol=0)
    assert {**asdict(read), "network": {}} == {**asdict(state), "network": {}}
    assert load_state(tmp_path / "other", RECORD) is None


@pytest.mark.parametrize(
    ("before", "now"),
    [({}, {"drop_path": 0.1}), ({"drop_path": 0.1}, {}), ({"drop_path": 0.1}, {"checkpointing": True})],
)
def test_an_option_that_only_one_of_two_trainings_has_tells_them_apart(
    tmp_path: Path, before: dict[str, float], now: dict[str, float]
) -> None:
    def record(options: dict[str, float]) -> RunRecord:
        model = SMALL.model_copy(update={"backbone_options": options})
        return RECORD.model_copy(update={"params": RECORD.params.model_copy(update={"model": model})})

    save_state(tmp_path / "run", TrainingState(step=3), record(before))
    with pytest.raises(CheckpointError, match=r"belongs to another training: .*drop_path was .*, now"):
        load_state(tmp_path / "run", record(now))


def test_every_flipped_or_missing_byte_is_found_and_nothing_deleted(tmp_path: Path) -> None:
    out = tmp_path / "run"
    kept(out)
    file = resume_folder(out) / "state.pt"
    whole = file.read_bytes()
    places = [0, len(whole) - 1, len(whole) - 65, *np.random.default_rng(0).integers(0, len(whole), 200).tolist()]
    damaged = [whole[:place] + bytes([whole[place] ^ 1 << 4]) + whole[place + 1 :] for place in places]
    damaged += [whole[:place] for place in places[:9]] + [b"", whole + b"\0"]
    for content in damaged:
        file.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"state\.pt cannot be read as the state .*; pass --restart"):
            load_state(out, RECORD)
        assert file.read_bytes() == content
    file.write_bytes(whole)
    assert load_state(out, RECORD) is not None


def test_a_state_that_the_system_refuses_is_not_called_damaged(tmp_path: Path) -> None:
    kept(tmp_path / "run")
    load_state(tmp_path / "run", RECORD)  # imports are done
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            load_state(tmp_path / "run", RECORD)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
