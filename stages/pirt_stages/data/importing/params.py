"""The parameters of an import: where the data sets lie."""

import os
from pathlib import Path

from pirt.core.errors import ParamsError
from pirt.core.params import Frozen, checked, mapping, read_sections


class ImportParams(Frozen):
    """The section `data` of a pipeline that imports a data set; paths are absolute or relative to $PIRT_DATA."""

    source: str | None = None
    """A data set: a folder, zip or tar."""
    duke: str | None = None
    """DukeMTMC-reID, for Occluded-DukeMTMC."""
    lists: str | None = None
    """The folder with the three name lists of Occluded-DukeMTMC."""
    benchmark: str | None = None
    """Whose published counts the import must have; None compares with those that agree."""


def load_import_params(path: Path) -> ImportParams:
    """Read the section `data` of a parameter file."""
    where = f"{path}, section data"
    return checked(ImportParams, mapping(read_sections(path).get("data"), where), where)


def place_of(name: str, value: str | None, data: Path | None) -> Path:
    """Return where `value`, the entry `name` of a section `data`, lies below the folder `data` with all data sets."""
    if value is None:
        raise ParamsError(f"the section data lacks {name!r}, which this command needs")
    # Path.expanduser fails where there is no such home.
    place = Path(os.path.expanduser(value))  # noqa: PTH111
    if place.is_absolute():
        return place
    if data is None:
        raise ParamsError("set PIRT_DATA to the folder with your data sets; see pipelines/README.md")
    return data / place
