"""Config files: a Python config is a program and is run as one; YAML and JSON are data and run nothing.

MMEngine's own reader of YAML makes any Python object that a file names, and calls whatever it says.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pirt.core.errors import ParamsError
from pirt.core.files import reading
from pirt.core.texts import json_in, yaml_in, yaml_of
from pirt_stages.pose.networks.openmmlab import Config, YamlHandler, known_parts, register_handler

_READERS = {".yaml": yaml_in, ".yml": yaml_in, ".json": json_in}
_BASE = "_base_"
# Files that are based on each other in a circle end here too.
_MOST_BASES = 8
"""From one file to the next that it is based on."""


@register_handler(["yaml", "yml"])
class _PlainYaml(YamlHandler):  # type: ignore[misc]  # MMEngine is untyped
    """MMEngine's reader of YAML here, since a Python config may be based on a YAML file."""

    def load_from_fileobj(self, file: Any, **_: object) -> Any:
        """Return what an open file holds."""
        return yaml_of(file.read())


def config_in(path: Path) -> Config:
    """Return the config in a file; a ParamsError says what in a YAML or JSON config would run code.

    MMEngine passes on whatever a Python config raises.
    """
    if path.suffix not in _READERS:
        with reading(path):
            return Config.fromfile(str(path))
    config = _data(path, _MOST_BASES)
    _require_known_parts(path, config.get("model"))
    return config


def _data(path: Path, bases_left: int) -> Config:
    """Read a file of data, laid over those that its `_base_` names."""
    table = _READERS[path.suffix](path)
    if not isinstance(table, dict) or not all(isinstance(name, str) for name in table):
        raise ValueError("it does not hold a mapping of names")
    # MMEngine imports the modules that `custom_imports` names, and the package of another default scope.
    if "custom_imports" in table or table.get("default_scope", "mmpose") != "mmpose":
        raise ParamsError(f"config {path} imports modules, which only a Python config may do; write it as .py")
    named = table.pop(_BASE, [])
    config = Config({}, filename=str(path))
    for base in named if isinstance(named, list) else [named]:
        if not isinstance(base, str) or Path(base).suffix not in _READERS:
            raise ParamsError(f"config {path} is based on {base!r:.200}, expected YAML or JSON; write it as .py")
        if not bases_left:
            raise ParamsError(f"config {path} is based on more than {_MOST_BASES} files in a row; join them")
        config.merge_from_dict(_data(path.parent / base, bases_left - 1).to_dict())
    # As MMEngine lays a file over its bases; by default a key such as "0" would change a list's entry here.
    config.merge_from_dict(table, allow_list_keys=False)
    return config


def _require_known_parts(path: Path, model: object) -> None:
    """Raise for a `type` that is not a part of MMPose's by its plain name: MMEngine would import and call anything."""
    for table in _tables(model):
        kind = table.get("type")
        if "_scope_" in table or not (kind is None or (isinstance(kind, str) and kind in known_parts())):
            raise ParamsError(
                f"config {path} has a part of type {kind!r:.200}, which MMPose does not have under that name; "
                "parts of other packages need a Python config"
            )


def _tables(value: object) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    for part in below:
        yield from _tables(part)
