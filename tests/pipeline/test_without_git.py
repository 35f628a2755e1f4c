"""`make demo` of a copy that has no Git history."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_STUB = """#!/bin/sh
echo "$(basename "$0") $*" >> calls
"""


@pytest.mark.parametrize("history", ["its own", "one without *", "one without *.lock", None])
def test_the_demo_runs_with_and_without_git(history: str | None, tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    programs = tmp_path / ".venv/bin"
    programs.mkdir(parents=True)
    for name in ("dvc", "pirt-report"):
        (programs / name).write_text(_STUB)
        (programs / name).chmod(0o755)
    for name in ("requirements.lock", "pyproject.toml", ".venv/installed"):
        (tmp_path / name).touch()
    if history:
        subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    if history and "without" in history:
        (tmp_path / ".gitignore").write_text(history.split()[-1])
    environment = os.environ | {"GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
    subprocess.run(["make", "demo"], cwd=tmp_path, check=True, env=environment, capture_output=True)
    calls = (tmp_path / "calls").read_text().splitlines()
    first = [] if history == "its own" else ["dvc config --local core.no_scm true"]
    assert calls == [*first, "dvc repro", "pirt-report show runs/report"]
