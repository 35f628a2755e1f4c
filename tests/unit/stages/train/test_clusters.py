"""The script of docs/clusters.md for SLURM is preempted and queued again, with stand-ins of SLURM's programs."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

SCRIPT = re.compile(r"^#!/bin/bash\n(?:(?!```).+\n)+", re.MULTILINE)
DOCS = Path(__file__).parents[4] / "docs/clusters.md"


@pytest.fixture
def cluster(persons, tmp_path):
    """A folder with the script, what it names, and SLURM's programs as far as it calls them."""
    (script,) = SCRIPT.findall(DOCS.read_text())
    assert "--nproc-per-node 4" in script
    (tmp_path / "job.sh").write_text(script.replace("--nproc-per-node 4", "--nproc-per-node 2"))
    (tmp_path / "runs").mkdir()
    for name in ("manifest.csv", "heatmaps.zarr"):
        (tmp_path / "runs" / name).symlink_to(persons / name)
    # Long enough to be stopped.
    params = (persons / "params.yaml").read_text().replace("epochs: 3", "epochs: 12")
    (tmp_path / "params.yaml").write_text(params)
    (tmp_path / "bin").mkdir()
    for name, line in {"srun": 'exec "$@"', "scontrol": 'echo "$@" >> asked'}.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\n{line}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


def submit(cluster, out):
    """Start the job, which writes to `out`."""
    text = (cluster / "job.sh").read_text()
    (cluster / "this_job.sh").write_text(text.replace("OUT=runs/train/pirt-seed0", f"OUT={out}"))
    path = f"{cluster / 'bin'}{os.pathsep}{os.environ['PATH']}"
    told = {"PATH": path, "OMP_NUM_THREADS": "1", "PIRT_DEVICE": "cpu", "PIRT_WORKERS": "1", "SLURM_JOB_ID": "77"}
    with (cluster / "log").open("a") as log:
        return subprocess.Popen(["bash", "this_job.sh"], cwd=cluster, env=os.environ | told, stdout=log, stderr=log)


def children(number):
    """Return a process's descendants, as SLURM knows them all."""
    told = Path(f"/proc/{number}/task/{number}/children")
    direct = [int(child) for child in told.read_text().split()] if told.exists() else []
    return [descendant for child in direct for descendant in (child, *children(child))]


def wait_for(happens, job):
    until = time.monotonic() + 120
    while not happens():
        assert job.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.slow
def test_a_preempted_job_is_queued_again_and_ends_as_if_it_had_not_been(cluster):
    log = cluster / "log"
    assert submit(cluster, "runs/whole").wait() == 0
    assert not (cluster / "asked").exists()

    log.write_text("")
    job = submit(cluster, "runs/preempted")
    wait_for(lambda: "epoch 2/12" in log.read_text(), job)
    for process in children(job.pid):
        os.kill(process, signal.SIGTERM)
    job.wait()
    assert (cluster / "asked").read_text() == "requeue 77\n"
    assert "stopped after step" in log.read_text()
    assert (cluster / "runs/preempted.resume/state.pt").exists()
    assert not (cluster / "runs/preempted/model.safetensors").exists()

    assert submit(cluster, "runs/preempted").wait() == 0
    assert "going on after step" in log.read_text()
    assert (cluster / "asked").read_text() == "requeue 77\n"
    whole, preempted = (load_file(cluster / "runs" / name / "model.safetensors") for name in ("whole", "preempted"))
    assert all((whole[name] == preempted[name]).all() for name in whole)
