"""Two processes of torchrun, told to stop as a scheduler tells a job: every process of it at once."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from tiny_persons import training_arguments

from pirt.training.resume import resume_folder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# Says where each rank is and how it ended; steps take long enough to be stopped between.
WATCHED = """
import os, sys, time
from pathlib import Path
import torch
from pirt.training import recipe
from pirt_stages.train.cli import main

notes, rank, arguments = Path(sys.argv[1]), os.environ["RANK"], sys.argv[2:]
seed_step = recipe.seed_step

def noted_step(seed, step, number):
    (notes / f"step-{number}").write_text(str(step))
    time.sleep(float(os.environ.get("STEP_SECONDS", 0)))
    seed_step(seed, step, number)

recipe.seed_step = noted_step
torch.set_num_threads(1)
try:
    main(arguments)
except SystemExit as ending:
    (notes / f"code-{rank}").write_text(str(ending.code))
    raise
"""
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def start(folder: Path, persons: Path, **environment: str) -> "subprocess.Popen[str]":
    folder.mkdir(exist_ok=True)
    (folder / "train.py").write_text(WATCHED)
    arguments = training_arguments(persons, folder / "run", "--workers", "1")
    return subprocess.Popen(
        [sys.executable, *TORCHRUN, str(folder / "train.py"), str(folder), *arguments],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def both_reach(step: int, folder: Path, process: "subprocess.Popen[str]") -> None:
    """Wait until both ranks are at `step`, be the machine as slow as it may."""
    files = [folder / f"step-{rank}" for rank in (0, 1)]
    while not all(file.exists() and int(file.read_text() or 0) >= step for file in files):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)


def test_a_job_that_is_told_to_stop_goes_on_to_the_same_result(persons: Path, tmp_path: Path) -> None:
    stopped = start(tmp_path / "stopped", persons, STEP_SECONDS="1")
    both_reach(2, tmp_path / "stopped", stopped)
    for process in (*psutil.Process(stopped.pid).children(recursive=True), stopped):
        process.send_signal(signal.SIGTERM)
    said = stopped.communicate(timeout=240)[0]
    assert "DataLoader worker" not in said
    assert "stopped after step" in said, said
    assert [(tmp_path / "stopped" / f"code-{rank}").read_text() for rank in (0, 1)] == ["143", "143"]
    assert (resume_folder(tmp_path / "stopped" / "run") / "state.pt").exists()
    for name, words in (("stopped", "going on after step"), ("whole", "")):
        ended = start(tmp_path / name, persons)
        said = ended.communicate(timeout=240)[0]
        assert ended.returncode == 0, said
        assert words in said
    weights = [(tmp_path / name / "run" / "model.safetensors").read_bytes() for name in ("stopped", "whole")]
    assert weights[0] == weights[1]
