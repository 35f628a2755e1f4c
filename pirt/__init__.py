"""Pirt: pose-guided occluded person re-identification from cached heatmaps.

What stands here is the Python API, with docs/api.md. Its types are in `__init__.pyi`.
"""

from importlib import import_module
from importlib.metadata import version

_HOMES = {
    "Embedded": "pirt.api.embedding",
    "EvaluateParams": "pirt.ranking.params",
    "Manifest": "pirt.core.manifest",
    "PirtError": "pirt.core.errors",
    "build_pirt": "pirt.models",
    "distances": "pirt.api.matching",
    "draw_rank_list": "pirt.api.matching",
    "embed": "pirt.api.embedding",
    "live_heatmaps": "pirt.api.embedding",
    "load_run": "pirt.api.reading",
    "manifest_of_folder": "pirt.api.reading",
    "measure": "pirt.api.matching",
    "open_store": "pirt.api.reading",
    "rank": "pirt.api.matching",
    "read_manifest": "pirt.api.reading",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> object:
    """Import a name when it is asked for: PyTorch takes seconds, and a program's --help needs none of it."""
    if name == "__version__":
        return version("pirt")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
