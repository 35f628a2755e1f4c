import click
import pytest
from click.testing import CliRunner

from pirt.errors import DataError
from stages.command import Group


@click.group(cls=Group)
def program() -> None:
    pass


@program.command()
def mendable() -> None:
    raise DataError("image 'a.jpg' is empty; copy it again")


@program.command()
def bug() -> None:
    raise KeyError("inner")


def test_a_mendable_error_is_one_line_and_exit_code_2() -> None:
    result = CliRunner().invoke(program, ["mendable"])
    assert result.exit_code == 2
    assert result.stderr == "Error: image 'a.jpg' is empty; copy it again\n"


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(KeyError, match="inner"):
        CliRunner().invoke(program, ["bug"], catch_exceptions=False)
