"""Two commands on one output."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pirt_stages.command import Command
from pirt_stages.locking import OutputInUseError, held

HOLDS = """
import sys, time
from pathlib import Path
from pirt_stages.locking import held

with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(out: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", HOLDS, str(out)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@click.command(cls=Command)
@click.option("--out", type=click.Path(path_type=Path))
@click.option("--variant")
@click.option("--seed", type=int)
def write(out: Path, variant: str | None, seed: int | None) -> None:
    """A program."""


def test_the_second_is_refused_with_who_holds_it(tmp_path: Path) -> None:
    with holder(tmp_path / "run") as first:
        refused = CliRunner().invoke(write, ["--out", str(tmp_path / "run")])
        first.kill()
    assert refused.exit_code == 2
    assert f"{tmp_path / 'run'} is being written by process {first.pid} on " in refused.output
    assert len(refused.output.splitlines()) == 1


def test_a_kill_lets_go_at_once(tmp_path: Path) -> None:
    with holder(tmp_path / "run") as first:
        os.kill(first.pid, signal.SIGKILL)
    assert CliRunner().invoke(write, ["--out", str(tmp_path / "run")]).exit_code == 0
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_another_is_left_alone(tmp_path: Path) -> None:
    """Where somebody removed a lock, the next run makes one; the first one's end must not let a third in."""
    out, lock = tmp_path / "run", tmp_path / ".run.lock"
    with held(out):
        lock.unlink()
        second = holder(out)
    with second:
        with pytest.raises(OutputInUseError, match=f"process {second.pid}"), held(out):
            pass
        second.kill()


def test_a_lock_that_is_a_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "thesis").write_text("years")
    (tmp_path / ".run.lock").symlink_to("thesis")
    refused = CliRunner().invoke(write, ["--out", str(tmp_path / "run")])
    assert (refused.exit_code, len(refused.output.splitlines())) == (2, 1)
    assert ".run.lock: Too many levels of symbolic links" in refused.output
    assert (tmp_path / "thesis").read_text() == "years"


def test_a_link_to_an_output_is_the_output(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    with held(tmp_path / "link"), pytest.raises(OutputInUseError), held(tmp_path / "there"):
        pass


def test_runs_of_other_seeds_are_other_outputs(tmp_path: Path) -> None:
    template = str(tmp_path / "{variant}-seed{seed}")
    with held(tmp_path / "pirt-seed0"):
        assert CliRunner().invoke(write, ["--out", template, "--variant", "pirt", "--seed", "1"]).exit_code == 0
        refused = CliRunner().invoke(write, ["--out", template, "--variant", "pirt", "--seed", "0"])
    assert "is being written by process" in refused.output


@pytest.mark.parametrize("by_torchrun", [False, True])
def test_only_the_later_processes_of_torchrun_leave_the_lock_to_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_torchrun: bool
) -> None:
    # Schedulers and sweeps number their jobs in the same variable.
    monkeypatch.setenv("RANK", "1")
    if by_torchrun:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    with held(tmp_path / "run"):
        ended = CliRunner().invoke(write, ["--out", str(tmp_path / "run")])
    assert ended.exit_code == (0 if by_torchrun else 2)
    assert by_torchrun or "is being written by process" in ended.output


def test_one_holds_at_a_time_however_many_try(tmp_path: Path) -> None:
    """Each process that gets the lock checks that nobody else is inside."""
    program = """
import sys
from pathlib import Path
from pirt_stages.locking import OutputInUseError, held

out, inside, times = Path(sys.argv[1]), Path(sys.argv[2]), 0
print("ready", flush=True)
sys.stdin.read()
while times < 100:
    try:
        with held(out):
            inside.mkdir()
            inside.rmdir()
            times += 1
    except OutputInUseError:
        pass
"""
    command = [sys.executable, "-c", program, str(tmp_path / "run"), str(tmp_path / "inside")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    tries = [subprocess.Popen(command, **pipes) for _ in range(4)]
    assert [process.stdout.readline() for process in tries] == [b"ready\n"] * 4
    for process in tries:
        process.stdin.close()
        process.stdout.close()
    assert [process.wait() for process in tries] == [0] * 4


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused = CliRunner().invoke(write, ["--out", str(tmp_path / "file" / "run")])
    assert refused.exit_code == 2
    assert len(refused.output.splitlines()) == 1
