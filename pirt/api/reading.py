"""What the API reads: manifests, folders of images, heatmap stores, runs. Paths may be strings."""

from importlib.metadata import entry_points
from pathlib import Path

from pirt.core import manifest as manifests
from pirt.core.errors import DataError
from pirt.core.manifest import Manifest
from pirt.heatmaps import reader
from pirt.heatmaps.reader import HeatmapStore
from pirt.models import Pirt
from pirt.runs import run as runs
from pirt.runs.run import RunRecord


def read_manifest(path: str | Path, root: str | Path | None = None) -> Manifest:
    """Read a manifest of `pirt-data import`; `root` is where its images are, if not where it says."""
    return manifests.read_manifest(Path(path), None if root is None else Path(root))


def manifest_of_folder(folder: str | Path) -> Manifest:
    """List the images at or below a folder as a gallery of unknown persons.

    It is the manifest that `pirt-data import --layout folder` writes, so heatmap stores made for that one fit.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"{root} is not a folder of images")
    # The importer is a program, which the library does not know by name.
    for point in entry_points(group="pirt.folders"):
        return manifests.make_manifest(point.load()(root), root, root)
    raise DataError("no installed package lists folders of images; install Pirt again")


def open_store(path: str | Path) -> HeatmapStore:
    """Open a finished heatmap store of `pirt-pose extract`."""
    return reader.open_store(Path(path))


def load_run(folder: str | Path) -> tuple[Pirt, RunRecord]:
    """Load the model of a run folder of `pirt-train`, in eval mode, and what it was trained with."""
    return runs.load_run(Path(folder))
