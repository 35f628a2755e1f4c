"""Records that carry the SHA-256 of their own content, so that nobody reads what was damaged or edited since."""

import hashlib
import json
from typing import Any

_SEAL = "sha256"


def sealed(record: dict[str, Any], indent: int | None = None) -> str:
    """Return `record` as JSON with the SHA-256 of its content in it."""
    return json.dumps({**record, _SEAL: _digest(record)}, indent=indent, ensure_ascii=False)


def unsealed(text: str | bytes) -> dict[str, Any]:
    """Return the record of a JSON text that `sealed` made; anything else is a ValueError.

    The content is hashed as it stands, not as a later version of the program would write it.
    """
    record = json.loads(text)
    if not isinstance(record, dict) or _SEAL not in record:
        raise ValueError(f"it lacks the {_SEAL} of its content")
    if record.pop(_SEAL) != _digest(record):
        raise ValueError("its content is not what was written (its SHA-256 differs): it was damaged or edited")
    return record


def _digest(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
