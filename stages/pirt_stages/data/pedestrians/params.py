"""The parameters of a rendering."""

from pathlib import Path

from pydantic import field_validator

from pirt.core.params import Frozen, Seed, checked, mapping, read_sections
from pirt_stages.data.pedestrians.plan import PROFILES


class RenderParams(Frozen):
    """The section `data` of a pipeline that renders its images."""

    profile: str = "demo"
    seed: Seed = 0

    @field_validator("profile")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in PROFILES:
            raise ValueError(f"{name!r} is none of {', '.join(PROFILES)}")
        return name


def load_render_params(path: Path) -> RenderParams:
    """Read the section `data` of a parameter file."""
    where = f"{path}, section data"
    return checked(RenderParams, mapping(read_sections(path).get("data"), where), where)
