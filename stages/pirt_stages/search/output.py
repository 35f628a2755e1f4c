"""What is found, for people and programs: table, JSON and picture."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from PIL import Image

from pirt.core.errors import DataError
from pirt.core.files import reading, refuse_folder, written_whole
from pirt.core.images import read_image
from pirt.core.manifest import Manifest
from pirt.visual.rank_list import Shown, draw_nearest, verdict_of
from pirt_stages.search.found import FoundList, RankedImage

RESULTS_FILE, PICTURE_FILE = "results.json", "rank_lists.png"
_BEGINS = b'[{"query":'
"""How `write_results` begins, but for spaces."""


def as_table(lists: Sequence[FoundList]) -> str:
    """Lay out the rank lists as text."""
    width = max(len(image.key) for found in lists for image in found.found)
    lines = []
    for found in lists:
        lines.append(f"{found.query}{_as_text(found.confidence)}")
        lines += [
            f"{image.rank:5}  {image.key:{width}}  pid {image.pid:<6} camera {image.camid:<3} {image.distance:.4f}"
            f"{_as_text(image.confidence)}{_accepted(image)}"
            f"{'  same person' if image.match else ''}{'  same camera' if image.same_camera else ''}"
            for image in found.found
        ]
    return "\n".join(lines)


def _accepted(image: RankedImage) -> str:
    if image.probability is None:
        return ""
    return f"  {'accepted' if image.accepted else 'rejected'}, probability {image.probability:.3f}"


def _as_text(confidence: dict[str, float]) -> str:
    return "".join(f"  {name} {value:.2f}" for name, value in confidence.items())


def refuse_other_results(out: Path) -> None:
    """Raise DataError when results or a picture that no search left would be replaced or removed; damage is not."""
    results, picture = out / RESULTS_FILE, out / PICTURE_FILE
    for path in (results, picture):
        refuse_folder(path)
    if results.is_file():
        other = results if _is_other_json(results) else None
    else:
        other = picture if picture.is_file() else None
    if other:
        raise DataError(f"{other} is not of a search and would be lost; name another --out")


def _is_other_json(path: Path) -> bool:
    # Other programs' lists may be too large to read, and ours too; a damaged one of ours still begins as they do.
    with reading(path), path.open("rb") as file:
        begins = b"".join(file.read(len(_BEGINS) * 4).split())
    return begins != b"[]" and not (begins.startswith(_BEGINS) or _BEGINS.startswith(begins))


def write_results(lists: Sequence[FoundList], picture: Image.Image | None, out: Path) -> None:
    """Write the rank lists as JSON, and their picture, or remove that of an earlier search."""
    with written_whole(out / RESULTS_FILE) as beside:
        beside.write_text(json.dumps([asdict(found) for found in lists], indent=1) + "\n", encoding="utf-8")
        # A picture of an earlier search would look like one of these results.
        if picture is None:
            (out / PICTURE_FILE).unlink(missing_ok=True)
            return
        # Before the results are in place, so that a disk that it does not fit on leaves the earlier ones.
        with written_whole(out / PICTURE_FILE, picture=True) as beside:
            picture.save(beside, format="PNG")


def draw_results(lists: Sequence[FoundList], queries: Manifest, gallery: Manifest) -> Image.Image:
    """Draw the rank lists."""
    query_images, gallery_images = _Images(queries), _Images(gallery)
    rows = [
        (
            Shown(query_images[found.query], "query", False, found.query, found.confidence),
            tuple(_shown(image, gallery_images) for image in found.found),
        )
        for found in lists
    ]
    return draw_nearest(rows)


class _Images:
    """The images of a manifest by key."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._rows = {row.key: row for row in manifest.rows}

    def __getitem__(self, key: str) -> Image.Image:
        if key not in self._rows:
            raise DataError(f"the manifest for the picture has no image {key!r}; pass the one that was embedded")
        return read_image(self._manifest.image_path(self._rows[key]))


def _shown(image: RankedImage, images: _Images) -> Shown:
    distance = f"{image.distance:.3f}"
    return Shown(images[image.key], verdict_of(image.match), bool(image.same_camera), distance, image.confidence)
