"""The images of a folder for `pirt.manifest_of_folder`, as `pirt-data import --layout folder` lists them."""

from pathlib import Path

from pirt.core.manifest import ImageRow
from pirt_stages.data.importing.layouts.plain import FOLDER
from pirt_stages.data.importing.recipe import hashed


def rows_of_folder(root: Path) -> list[ImageRow]:
    """List every image at or below `root` as a gallery image of an unknown person."""
    return hashed(FOLDER.read(root).images, root)
