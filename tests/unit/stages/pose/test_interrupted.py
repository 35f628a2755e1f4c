"""Killed runs, killed workers and full disks leave the bytes of an uninterrupted run."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pose_people import People, TinyNetwork, make_people
from test_extract import digest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

IMAGES = 2048


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> People:
    return make_people(tmp_path_factory.mktemp("crowd"), identities=2, images=IMAGES // 2)


def _command(crowd: People, tiny: TinyNetwork, out: Path, *more: str) -> list[str]:
    network = ["--config", tiny.config, "--checkpoint", tiny.checkpoint, "--input-size", 64, 32]
    command = ["extract", "--manifest", crowd.manifest_path, *network, "--batch-size", 32, "--out", out, *more]
    return [sys.executable, "-m", "pirt_stages.pose", *map(str, command)]


@pytest.fixture(scope="module")
def whole(crowd: People, tiny: TinyNetwork, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("whole") / "h.zarr"
    subprocess.run(_command(crowd, tiny, out), check=True, capture_output=True)
    return digest(out)


def _shards(out: Path) -> int:
    return len(list(out.with_name(f"{out.name}.partial").glob("scores/c.*")))


def _wait_for_shards(out: Path, number: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 120
    while _shards(out) < number and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)


def test_three_kills_and_a_resume(crowd: People, tiny: TinyNetwork, whole: str, tmp_path: Path) -> None:
    out = tmp_path / "h.zarr"
    for after in (1, 3, 5):
        process = subprocess.Popen(_command(crowd, tiny, out), stderr=subprocess.DEVNULL)
        _wait_for_shards(out, after, process)
        assert process.poll() is None, "it was too quick to be killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not out.exists()
    subprocess.run(_command(crowd, tiny, out), check=True, capture_output=True)
    assert digest(out) == whole


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list["subprocess.Popen[bytes]"]]]:
    """Start a scheduler and two workers as a user would, each worker without a nanny that would revive it."""
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    address = f"tcp://127.0.0.1:{_free_port()}"
    folder = tmp_path / "workers"
    folder.mkdir()
    # As dask's nannies have it, unlike the run on this machine.
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    quiet = {"env": one_thread, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    port = address.rpartition(":")[2]
    scheduler = subprocess.Popen([*dask, "--host", "127.0.0.1", "--port", port, "--no-dashboard"], **quiet)  # type: ignore[call-overload]
    command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny"]
    workers = [subprocess.Popen([*command, "--no-dashboard"], **quiet) for _ in range(2)]  # type: ignore[call-overload]
    yield address, workers
    for process in (*workers, scheduler):
        process.kill()
        process.wait()


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_a_worker_of_a_cluster_is_killed(
    crowd: People,
    tiny: TinyNetwork,
    whole: str,
    tmp_path: Path,
    cluster: tuple[str, list["subprocess.Popen[bytes]"]],
) -> None:
    address, workers = cluster
    out = tmp_path / "login" / "h.zarr"
    out.parent.mkdir()
    # Relative to another folder than that of the workers.
    command = _command(crowd, tiny, Path(out.name), "--device", "cpu", "--scheduler", address)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, cwd=out.parent)
    _wait_for_shards(out, 2, process)
    assert process.poll() is None, process.communicate()[1].decode()
    workers[0].send_signal(signal.SIGKILL)
    error = process.communicate()[1].decode()
    assert process.returncode == 0, error
    assert digest(out) == whole


_ON_A_SMALL_DISK = """
import json, subprocess, sys
command, folder = json.loads(sys.argv[1]), sys.argv[2]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], check=True)
full = subprocess.run(command, capture_output=True, text=True)
subprocess.run(["mount", "-o", "remount,size=64m", folder], check=True)
again = subprocess.run(command, capture_output=True, text=True)
from pathlib import Path
from test_extract import digest
said = {"code": full.returncode, "error": full.stderr, "again": again.returncode, "digest": digest(Path(command[-1]))}
print(json.dumps(said))
"""


def test_a_full_disk_is_one_line_and_is_resumed_when_there_is_room(
    crowd: People, tiny: TinyNetwork, tmp_path: Path
) -> None:
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("needs user namespaces, to mount a small disk")
    command = [*_command(crowd, tiny, tmp_path / "h.zarr", "--codec", "float32")]
    command.remove("--out")
    command.remove(str(tmp_path / "h.zarr"))
    command += ["--out", str(tmp_path / "h.zarr")]
    script = [sys.executable, "-c", _ON_A_SMALL_DISK, json.dumps(command), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(["unshare", "-rm", *script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    lines = [line for line in said["error"].splitlines() if line.startswith("Error")]
    assert (said["code"], said["again"]) == (2, 0), said
    assert len(lines) == 1
    assert "No space left" in lines[0]
    assert "Traceback" not in said["error"]
    subprocess.run([*command[:-1], str(tmp_path / "whole.zarr")], check=True, capture_output=True)
    assert said["digest"] == digest(tmp_path / "whole.zarr")
