"""What a process may take: cores under affinity and control groups, shared memory among processes."""

from collections import namedtuple
from pathlib import Path

import pytest

from pirt import machine
from pirt.core.errors import StoreError

Disk = namedtuple("Disk", "total used free")
MIB = 1 << 20


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree of control groups in which this process is in job/step, on a machine with 16 cores."""
    (tmp_path / "job/step").mkdir(parents=True)
    (tmp_path / "own").write_text("0::/job/step\n")
    monkeypatch.setattr(machine, "_CGROUPS", tmp_path)
    monkeypatch.setattr(machine, "_OWN_CGROUP", tmp_path / "own")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(16)))
    return tmp_path


def torchrun(monkeypatch: pytest.MonkeyPatch, processes: int) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))


def test_without_limits_the_cores_are_those_of_the_affinity(groups: Path) -> None:
    assert machine.cores() == 16
    (groups / "job/step/cpu.max").write_text("max 100000\n")
    assert machine.cores() == 16


@pytest.mark.parametrize("folder", [".", "job", "job/step"])
def test_the_tightest_control_group_counts(groups: Path, folder: str) -> None:
    (groups / "job/step/cpu.max").write_text("800000 100000\n")
    (groups / folder / "cpu.max").write_text("350000 100000\n")
    assert machine.cores() == 3


def test_less_than_one_core_is_one(groups: Path) -> None:
    (groups / "cpu.max").write_text("50000 100000\n")
    assert machine.cores() == 1


def test_the_processes_of_torchrun_share_the_cores(groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torchrun(monkeypatch, 4)
    assert machine.cores() == 4
    # SLURM sets the like for a program that it starts once.
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    assert machine.cores() == 16


@pytest.mark.parametrize(
    ("needed", "processes", "fits"), [(100, 1, True), (101, 1, False), (64, 4, True), (65, 4, False)]
)
def test_shared_memory_has_to_do_for_all_processes(
    monkeypatch: pytest.MonkeyPatch, needed: int, processes: int, fits: bool
) -> None:
    torchrun(monkeypatch, processes)
    monkeypatch.setattr("shutil.disk_usage", lambda _: Disk(256 * MIB, 156 * MIB, 100 * MIB))
    if fits:
        machine.require_shared_memory(needed * MIB, "the batches", "take fewer --workers")
        return
    with pytest.raises(StoreError, match=rf"the batches need {needed} MiB of shared memory.*take fewer --workers"):
        machine.require_shared_memory(needed * MIB, "the batches", "take fewer --workers")
