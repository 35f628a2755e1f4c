"""No value of a params.yaml stands in a command that a shell reads, but for those that DVC itself quotes."""

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
PIPELINES = sorted(ROOT.glob("**/dvc.yaml"))


def commands(pipeline: Path) -> list[str]:
    found: list[str] = []
    for stage in YAML(typ="safe").load(pipeline)["stages"].values():
        command = stage.get("do", stage)["cmd"]
        found += [command] if isinstance(command, str) else command
    return found


@pytest.mark.parametrize("pipeline", PIPELINES, ids=lambda path: path.parent.name)
def test_commands_hold_no_template_but_the_options_of_a_matrix(pipeline: Path) -> None:
    for command in commands(pipeline):
        assert set(re.findall(r"\$\{[^}]*\}", command)) <= {"${item}"}, command
