"""The weights that a parameter file names for trainings to start from."""

from collections.abc import Mapping, Sequence
from typing import Any

from pirt.core.errors import ParamsError
from pirt.core.params import mapping


def weights_named(
    table: Mapping[str, Any], sections: Sequence[str], name: str, where: str
) -> tuple[str | None, dict[str, str | None]]:
    """Return the file or URL that `name` names in a section of a parameter file, and that of each variant.

    A variant that names none has the section's.

    Args:
        table: the whole parameter file.
        sections: the path to the section, such as ("pose", "train").
        name: the parameter.
        where: the file, for messages.
    """
    shared = _source(table, sections, name, where)
    of_variants = {}
    for variant, changes in mapping(table.get("variants"), f"{where}, section variants").items():
        changes = mapping(changes, f"{where}, variant {variant}")
        # By its name and not its value: a variant may name none, and starts from nothing then.
        own = name in mapping(changes.get(sections[-1]), f"{where}, variant {variant}, {sections[-1]}")
        of_variants[variant] = _source(changes, sections[-1:], name, f"{where}, variant {variant}") if own else shared
    return shared, of_variants


def _source(table: Mapping[str, Any], sections: Sequence[str], name: str, where: str) -> str | None:
    for section in sections:
        where = f"{where}, section {section}"
        table = mapping(table.get(section), where)
    source = table.get(name)
    if not isinstance(source, str | None):
        raise ParamsError(f"{where}: {name} = {source!r}, expected a file or URL")
    return source
