"""No file and no option ends in a traceback, a hang or a memory that fills up: mutations of valid ones, seeded."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = Path(__file__).with_name("fuzz.py")


def run(folder: Path, seed: int, count: int) -> "subprocess.Popen[str]":
    command = [sys.executable, str(_PROGRAM), str(folder), str(seed), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def require_nothing_wrong(process: "subprocess.Popen[str]", folder: Path, timeout: float) -> int:
    out, err = process.communicate(timeout=timeout)
    assert process.returncode == 0, f"{(folder / 'now').read_text()}: {err[-2000:]}"
    found = json.loads(out.splitlines()[-1])
    assert not found["failures"], f"{len(found['failures'])} of {found['tried']}: " + "\n".join(found["failures"][:3])
    return int(found["tried"])


def test_mutated_files_and_options_end_in_a_result_or_one_line(tmp_path: Path) -> None:
    tried = require_nothing_wrong(run(tmp_path, 0, 200), tmp_path, 100)
    print(f"{tried} inputs")
    assert tried >= 200


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_hundred_thousand_mutated_files_and_options_end_in_a_result_or_one_line(tmp_path: Path) -> None:
    tried = 0
    for first in range(1, 11, 2):
        folders = [tmp_path / str(seed) for seed in (first, first + 1)]
        processes = [run(folder, first + place, 10_000) for place, folder in enumerate(folders)]
        tried += sum(require_nothing_wrong(*pair, 1800) for pair in zip(processes, folders, strict=True))
    print(f"{tried} inputs")
    assert tried >= 100_000
