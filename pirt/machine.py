"""How much of its machine this process may use; none of it changes a result."""

import math
import os
import shutil
from pathlib import Path

from pirt.core.errors import StoreError

_SHARED_MEMORY = Path("/dev/shm")
_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")


def processes_here() -> int:
    """Return how many processes of this training torchrun started on this machine."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if _is_of_torchrun() else 1


def is_first_process() -> bool:
    """Tell whether this is the first of the processes that torchrun started, or one that something else did."""
    # Schedulers and sweeps number their jobs in the same variable, and each job writes its own outputs.
    return not _is_of_torchrun() or os.environ["RANK"] == "0"


def _is_of_torchrun() -> bool:
    # torch.distributed knows it too, but takes long to load, and rendering asks in each of its processes.
    return "TORCHELASTIC_RUN_ID" in os.environ


def cores() -> int:
    """Return how many cores this process may use: its share of what affinity and control groups leave.

    A container or a job of SLURM sees all cores of the machine in `os.cpu_count()`.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(bound, _quota()) // processes_here())


def _quota() -> int:
    """Return the whole cores of the tightest limit on this process's control group or one above it."""
    # Within a container its own group is the root; under SLURM it is a folder that /proc names.
    named = _OWN_CGROUP.read_text().splitlines() if _OWN_CGROUP.exists() else []
    # Version 2 of control groups has this one line; those of version 1 begin with other numbers.
    own = _CGROUPS / next((line[4:] for line in named if line.startswith("0::/")), "")
    limits = [_limit(folder / "cpu.max") for folder in (own, *own.parents) if folder.is_relative_to(_CGROUPS)]
    # Without a limit a number that no machine reaches, so that the affinity decides.
    return max(1, math.floor(min(limits, default=math.inf))) if min(limits, default=math.inf) < math.inf else 1 << 20


def _limit(file: Path) -> float:
    """Read a `cpu.max`: microseconds of processor time in a period, or "max"."""
    try:
        quota, period = file.read_text().split()
    except (OSError, ValueError):
        return math.inf
    return math.inf if quota == "max" else int(quota) / int(period)


def free_shared_memory() -> float:
    """Return the bytes of shared memory that are free; infinite where the system sets no limit."""
    return shutil.disk_usage(_SHARED_MEMORY).free if _SHARED_MEMORY.is_dir() else math.inf


def require_shared_memory(needed: int, what: str, fix: str) -> None:
    """Raise when `needed` bytes for `what` do not fit, or not once for each process on this machine.

    Writing past the end of /dev/shm kills a process with SIGBUS and says nothing.
    """
    if not _SHARED_MEMORY.is_dir():
        return
    disk, processes = shutil.disk_usage(_SHARED_MEMORY), processes_here()
    # The other processes may have taken their part already, so theirs is held against the whole.
    if needed > disk.free or needed * processes > disk.total:
        each = f" in each of {processes} processes" if processes > 1 else ""
        raise StoreError(
            f"{what} need {needed / 2**20:.0f} MiB of shared memory{each} and {_SHARED_MEMORY} has "
            f"{disk.free / 2**20:.0f} of {disk.total / 2**20:.0f} MiB free; enlarge it (docker run --shm-size) or {fix}"
        )
