"""DVCLive's curves leave the user's repository alone."""

import json
import subprocess

import pytest

from pirt_stages.train.curves import CurveLog


@pytest.mark.parametrize("commits", [0, 1])
def test_curves_write_no_more_than_their_folder_in_a_git_repository(tmp_path, monkeypatch, commits):
    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        return subprocess.run(["git", *identity, *arguments], cwd=tmp_path, capture_output=True, check=True).stdout

    git("init", "--quiet")
    for _ in range(commits):
        git("commit", "--quiet", "--allow-empty", "--message", "first")
    monkeypatch.chdir(tmp_path)

    curves = CurveLog(tmp_path / "logs", [{"loss": 2.0}])
    curves.add({"loss": 1.0})
    curves.close()

    assert json.loads((tmp_path / "logs/metrics.json").read_text()) == {"loss": 1.0, "step": 2}
    assert sorted(path.name for path in tmp_path.iterdir()) == [".git", "logs"]
    assert git("status", "--porcelain") == b"?? logs/\n"
