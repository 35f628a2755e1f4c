"""Reading a parameter file and checking it into frozen objects.

Only the programs' `cli.py` read files; everything below takes the objects or plain arguments.
"""

import reprlib
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pirt.core.errors import ParamsError
from pirt.core.texts import yaml_in

# Every number has bounds: what no machine can hold is refused before memory is asked for.
Positive = Annotated[int, Field(gt=0, lt=2**31)]
Channels = Annotated[int, Field(gt=0, le=65_536)]
"""Of a layer; how large a network may be in all is asked before it is built (`pirt.core.sizes`)."""
LARGEST_BATCH = 8192
BatchSize = Annotated[int, Field(gt=0, le=LARGEST_BATCH)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Fraction = Annotated[float, Field(ge=0, le=1)]
# Up to what a float32 holds, so that a training whose rate is too high runs and stops by itself.
Rate = Annotated[float, Field(ge=0, le=1e38)]
PositiveRate = Annotated[float, Field(gt=0, le=1e38)]
"""Of learning and the like; neither NaN nor infinite."""
LONGEST_SIDE = 4096
"""In pixels, of what a network looks at."""
Side = Annotated[int, Field(gt=0, le=LONGEST_SIDE)]
Size = tuple[Side, Side]
"""Height and width."""


SECTIONS = ("data", "evaluate", "model", "pose", "report", "seed", "seeds", "train", "variants")
_OF_POSE = ("extract", "train")
"""Sections within the section `pose`, each read by one command."""


class Frozen(BaseModel):
    """Base of all parameters: immutable, and an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


_Section = TypeVar("_Section", bound=Frozen)


def mapping(table: object, where: str) -> dict[str, Any]:
    """Return a section of a YAML file, empty where it says nothing."""
    table = {} if table is None else table
    if not isinstance(table, dict):
        raise ParamsError(f"{where} must be a mapping, found {type(table).__name__} {reprlib.repr(table)}")
    return cast(dict[str, Any], table)


def read_sections(path: Path) -> dict[str, Any]:
    """Read a parameter file; every program takes its own of the known sections, another one is an error."""
    table = read_yaml(path)
    pose = f"{path}, section pose"
    for where, found, known in ((str(path), table, SECTIONS), (pose, mapping(table.get("pose"), pose), _OF_POSE)):
        if unknown := found.keys() - set(known):
            raise ParamsError(f"{where}: unknown section {sorted(map(str, unknown))}; expected {sorted(known)}")
    return table


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML 1.2 mapping, as DVC does."""
    try:
        table = yaml_in(path)
    except FileNotFoundError:
        raise ParamsError(f"parameter file {path} does not exist") from None
    except OSError as error:
        raise ParamsError(f"parameter file {path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ParamsError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(table, dict):
        raise ParamsError(f"{path} must hold a mapping of sections, found {type(table).__name__}")
    return table


def checked(section: type[_Section], table: object, where: str) -> _Section:
    """Turn a table of values into a section; the first wrong value is named in one line."""
    try:
        return section.model_validate(table)
    except ValidationError as error:
        raise ParamsError(f"{where}: {first_problem(error)}") from error


def first_problem(error: ValidationError) -> str:
    """Say in one line what is wrong first: the field, its value and what was expected."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"]) or "the file"
    match first["type"]:
        case "extra_forbidden":
            return f"unknown parameter {name!r}"
        case "value_error":
            # What is wrong with several fields together says itself which.
            return f"{name}: {first['ctx']['error']}" if first["loc"] else str(first["ctx"]["error"])
        case "missing" | "json_invalid":
            return f"{name}: {first['msg']}"
    return f"{name} = {reprlib.repr(first['input'])}: {first['msg']}"
