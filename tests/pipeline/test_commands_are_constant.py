"""No value of a params.yaml stands in a command that a shell reads, but for those that DVC itself quotes."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
PIPELINES = [ROOT / "dvc.yaml", *sorted(ROOT.glob("pipelines/*/dvc.yaml"))]


def commands(pipeline: Path) -> Iterator[tuple[str, set[str]]]:
    """Yield each command with the templates that it may hold: DVC's quoted options, and what dvc.yaml itself lists."""
    for stage in YAML(typ="safe").load(pipeline)["stages"].values():
        listed = {name for name, values in stage.get("matrix", {}).items() if "${" not in str(values)}
        keys = {"${key}"} if "foreach" in stage and "${" not in str(stage["foreach"]) else set()
        command = stage.get("do", stage)["cmd"]
        for line in [command] if isinstance(command, str) else command:
            yield line, {"${item}", "${arithmetic}"} | keys | {f"${{item.{name}}}" for name in listed}


@pytest.mark.parametrize("pipeline", PIPELINES, ids=lambda path: path.parent.name)
def test_commands_hold_no_template_but_the_options_of_a_matrix(pipeline: Path) -> None:
    for command, allowed in commands(pipeline):
        assert set(re.findall(r"\$\{[^}]*\}", command)) <= allowed, command
