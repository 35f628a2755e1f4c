"""The parameters of a rendering."""

from pathlib import Path

from pirt.core.params import Frozen, Seed, checked, mapping, read_sections


class RenderParams(Frozen):
    """The section `data` of a pipeline that renders its images."""

    profile: str = "demo"
    seed: Seed = 0


def load_render_params(path: Path) -> RenderParams:
    """Read the section `data` of a parameter file."""
    where = f"{path}, section data"
    return checked(RenderParams, mapping(read_sections(path).get("data"), where), where)
