"""Records that carry the SHA-256 of their own content, so that nobody reads what was damaged or edited since."""

import hashlib
import json
from typing import Any

from pirt.core.texts import json_of

_SEAL = "sha256"


def sealed(record: dict[str, Any], indent: int | None = None) -> str:
    """Return `record` as JSON with the SHA-256 of its content in it."""
    return json.dumps(with_seal(record), indent=indent, ensure_ascii=False)


def with_seal(record: dict[str, Any]) -> dict[str, Any]:
    """Return `record`, of JSON's types, with the SHA-256 of its content in it."""
    return {**record, _SEAL: _digest(record)}


def unsealed(text: str | bytes) -> dict[str, Any]:
    """Return the record of a JSON text that `sealed` made; anything else is a ValueError."""
    return without_seal(json_of(text))


def without_seal(record: Any) -> dict[str, Any]:
    """Return the record that `with_seal` got; anything else is a ValueError.

    The content is hashed as it stands, not as a later version of the program would write it.
    """
    if not isinstance(record, dict) or _SEAL not in record:
        raise ValueError(f"it lacks the {_SEAL} of its content")
    content = {name: value for name, value in record.items() if name != _SEAL}
    try:
        whole = record[_SEAL] == _digest(content)
    except RecursionError:
        raise ValueError("its lists and tables are nested too deep") from None
    if not whole:
        raise ValueError("its content is not what was written (its SHA-256 differs): it was damaged or edited")
    return content


def _digest(record: dict[str, Any]) -> str:
    # In one form, whatever the order and the spaces of the file.
    return hashlib.sha256(json.dumps(record, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
