"""The packages of OpenMMLab import while another process writes what they import."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SETS_RIGHT_WHILE_IT_WAITS = """
import pathlib, sys, time

half, whole = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]).read_bytes()
half.write_bytes(whole[: int(sys.argv[3])])
time.sleep = lambda seconds: half.write_bytes(whole)
import pirt_stages.pose.networks.openmmlab
assert half.read_bytes() == whole
"""


@pytest.mark.slow
@pytest.mark.parametrize("written", [0, 500])
def test_a_half_written_cache_of_another_process_is_waited_for(tmp_path: Path, written: int) -> None:
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", "import yapf"], env=environment, check=True)
    (cached,) = (tmp_path / "cache").rglob("Grammar*.pickle")
    whole = tmp_path / "whole"
    whole.write_bytes(cached.read_bytes())
    arguments = [str(cached), str(whole), str(written)]
    subprocess.run(
        [sys.executable, "-c", SETS_RIGHT_WHILE_IT_WAITS, *arguments], env=environment, check=True, timeout=120
    )
