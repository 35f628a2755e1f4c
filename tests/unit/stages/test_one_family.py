"""All programs are of one family: -h, --version, options with one meaning, examples that can be typed."""

from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from program_table import PROGRAMS, call_of, commands, examples

from pirt_stages.command import Command, Group

COMMANDS = list(commands())
LEAVES = [(words, command) for words, command in COMMANDS if not isinstance(command, click.Group)]
SHARED = ("--device", "--workers", "--batch-size", "--root", "--restart", "--force")


def _name(words: object) -> str:
    return " ".join(words) if isinstance(words, tuple) else ""


@pytest.mark.parametrize(("words", "command"), COMMANDS, ids=_name)
def test_every_command_knows_help_and_version(words: tuple[str, ...], command: click.Command) -> None:
    program, below = PROGRAMS[words[0]], list(words[1:])
    assert isinstance(command, Command | Group)
    short, long = (CliRunner().invoke(program, [*below, flag], prog_name=words[0]) for flag in ("-h", "--help"))
    assert short.exit_code == long.exit_code == 0
    assert short.output == long.output
    assert f"Usage: {' '.join(words)} " in short.output
    told = CliRunner().invoke(program, [*below, "--version"], prog_name=words[0])
    assert (told.exit_code, told.output) == (0, f"{words[0]} {version('pirt')}\n")


@pytest.mark.parametrize("name", SHARED)
def test_a_shared_option_is_the_same_in_all_commands(name: str) -> None:
    context = click.Context(click.Command("any"), show_default=True)
    told = {
        words: (option.help, repr(option.type), option.default, option.envvar, option.get_help_record(context))
        for words, command in COMMANDS
        for option in command.params
        if isinstance(option, click.Option) and name in option.opts
    }
    assert told
    assert len(set(map(str, told.values()))) == 1, told


@pytest.mark.parametrize("name", ["--seed", "--top-n", "--group-distance"])
def test_an_option_of_one_name_takes_the_same_values(name: str) -> None:
    taken = {
        words: repr(option.type) for words, command in COMMANDS for option in command.params if name in option.opts
    }
    assert len(taken) > 1
    assert len(set(taken.values())) == 1, taken


@pytest.mark.parametrize(("name", "of"), [("--manifest", "manifest_file"), ("--params", "params_file")])
def test_a_file_has_one_name_inside_the_programs(name: str, of: str) -> None:
    named = {option.name for _, command in COMMANDS for option in command.params if name in option.opts}
    assert named == {of}


@pytest.mark.parametrize(("words", "command"), LEAVES, ids=_name)
def test_the_examples_are_of_the_command_and_can_be_typed(
    words: tuple[str, ...], command: click.Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # one option does all its work while the line is read
    lines = examples(command)
    assert lines, f"{' '.join(words)} has no example"
    for line in lines:
        program, arguments = call_of(line)
        if len(words) == 2:
            assert arguments[0] == words[1]
            arguments = arguments[1:]
        assert program is PROGRAMS[words[0]]
        # Raises on an option that is not there, a value that is not allowed, and one that is missing.
        with suppress(click.exceptions.Exit):
            command.make_context(words[-1], arguments)
