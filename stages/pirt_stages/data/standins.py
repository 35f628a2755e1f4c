"""Recipe: stand-ins for the published data sets, so that what reads them can be tried without them."""

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from PIL import Image

from pirt.core.files import refuse_other_files, written_whole
from pirt.progress import progress_over
from pirt_stages.data import standin_images
from pirt_stages.data.importing.marks import MAKER, MARK, as_mark, maker_of
from pirt_stages.data.output import refuse_unless_made_by
from pirt_stages.data.pedestrians.rendering import render_all
from pirt_stages.data.standin_images import Extent, Standin, StandinImage

STANDINS: dict[str, Callable[[Extent, int], Standin]] = {
    "market1501": standin_images.market1501,
    "dukemtmc_reid": standin_images.dukemtmc_reid,
    "occluded_dukemtmc": standin_images.occluded_dukemtmc,
    "occluded_reid": standin_images.occluded_reid,
    "partial_reid": standin_images.partial_reid,
    "partial_ilids": standin_images.partial_ilids,
    "p_dukemtmc_reid": standin_images.p_dukemtmc_reid,
    "msmt17": standin_images.msmt17,
}


def make_standin(
    name: str, out: Path, size: Extent, one_pixel: bool, seed: int, workers: int | None = None, force: bool = False
) -> int:
    """Write the stand-in `name` into the folder `out`, marked as one, and return the number of images."""
    if not force:
        refuse_unless_made_by(out, maker_of(out / MARK), MAKER)
        refuse_other_files(out, *_made())
    # Each data set is another world, so that its people and cameras are not those of the others.
    world = seed + 1000 * (1 + list(STANDINS).index(name))
    standin = STANDINS[name](size, world)
    images = _one_pixels(standin.items) if one_pixel else _rendered(standin.items, world, workers)
    with written_whole(out) as folder:
        # Marked in each data set's own folder too, which may be moved and imported by itself.
        tops = {item.path.partition("/")[0] for item in standin.items}
        marks = dict.fromkeys(
            (MARK, *(f"{top}/{MARK}" for top in tops)), as_mark(standin=name, size=size, one_pixel=one_pixel, seed=seed)
        )
        for path, content in (standin.extras | marks).items():
            _write(folder / path, content)
        for item, content in zip(standin.items, images, strict=True):
            _write(folder / item.path, content)
    return len(standin.items)


def _made() -> tuple[set[str], set[str]]:
    """Return the names and forms of what may stand in the folder of a stand-in, of whichever data set and size."""
    made = [standin(Extent.SMALL, 0) for standin in STANDINS.values()]
    paths = [PurePosixPath(item.path) for one in made for item in one.items]
    marks = {MARK, *(f"{path.parts[0]}/{MARK}" for path in paths)}
    # Folders below the first may be of persons, of whom a larger stand-in has more.
    forms = {"/".join((path.parts[0], *"*" * (len(path.parts) - 2), f"*{path.suffix}")) for path in paths}
    return {*marks, *(path for one in made for path in one.extras)}, forms


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _rendered(items: Sequence[StandinImage], seed: int, workers: int | None) -> Iterator[bytes]:
    for item, picture in zip(items, render_all(seed, [item.shot for item in items], workers), strict=True):
        yield _as_tiff(picture.jpeg) if item.path.endswith(".tif") else picture.jpeg


def _as_tiff(jpeg: bytes) -> bytes:
    stream = io.BytesIO()
    Image.open(io.BytesIO(jpeg)).save(stream, "TIFF")
    return stream.getvalue()


def _one_pixels(items: Sequence[StandinImage]) -> Iterator[bytes]:
    """Yield images of one pixel whose bytes all differ: readers ignore what follows an image's end."""
    stream = io.BytesIO()
    Image.new("RGB", (1, 1), (120, 120, 120)).save(stream, "JPEG")
    jpeg = stream.getvalue()
    tiff = _as_tiff(jpeg)
    for item in progress_over(items, "writing", "image"):
        # `pirt-data check` takes equal bytes in two splits for an image that stands in both.
        yield (tiff if item.path.endswith(".tif") else jpeg) + item.path.encode()
