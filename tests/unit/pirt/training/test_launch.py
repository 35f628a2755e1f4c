"""Processes join where torchrun started them, and nowhere else."""

from pathlib import Path

import pytest

from pirt.training.processes import launch


@pytest.mark.parametrize(
    "told",
    [
        {"SLURM_NTASKS": "4"},
        {"SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NNODES": "2", "SLURM_PROCID": "3"},
        {"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "3"},
    ],
    ids=["tasks of SLURM", "one of srun's tasks", "a scheduler's ranks"],
)
def test_what_a_scheduler_says_of_its_job_is_no_word_of_torchrun(
    monkeypatch: pytest.MonkeyPatch, told: dict[str, str]
) -> None:
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    fabric = launch("cpu", "float32")
    assert (fabric.world_size, fabric.global_rank, fabric.device.type) == (1, 0, "cpu")


def test_a_machine_with_slurm_is_no_reason_to_warn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "srun").write_text("#!/bin/sh\n")
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert launch("cpu", "float32").world_size == 1
