"""Recipe: render the embedded benchmark."""

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

from PIL import Image

from pirt.core.errors import DataError
from pirt.core.files import reading, refuse_folder, refuse_other_files, refuse_other_kind, written_whole
from pirt.core.texts import LARGEST_LABELS, json_in
from pirt_stages.data.output import refuse_unless_made_by
from pirt_stages.data.pedestrians.coco import MAKER, coco_keypoints
from pirt_stages.data.pedestrians.plan import PROFILES, PlannedImage, plan
from pirt_stages.data.pedestrians.rendering import render_all
from pirt_stages.data.pedestrians.sheet import ContactSheet
from pirt_stages.data.pedestrians.shot import Picture

KEYPOINTS, SHEET = "keypoints.json", "contact_sheet.png"


def synthesize(
    profile: str, seed: int, out: Path, sheet: Path | None = None, workers: int | None = None, force: bool = False
) -> int:
    """Render `profile` into the folder `out` and return the number of images.

    `out` gets the Market-1501 folders, `keypoints.json` (COCO) and, unless `sheet` says where else, a contact sheet.
    A folder that something else made, or put something into, is only replaced with `force`.
    """
    entries = plan(PROFILES[profile], seed)
    drawn, home = out / SHEET if sheet is None else sheet, out.resolve()
    at = drawn.parent.resolve() / drawn.name
    inside = at.parent.is_relative_to(home)
    if not force:
        refuse_unless_made_by(out, _maker(out / KEYPOINTS), MAKER)
        forms = {f"{entry.path.partition('/')[0]}/*.jpg" for entry in entries}
        ours = {at.relative_to(home).as_posix()} if inside else set()
        refuse_other_files(out, {KEYPOINTS, SHEET} | ours, forms)
    if sheet is not None:
        refuse_folder(sheet)  # now, and not after rendering for minutes
        refuse_other_kind(sheet, picture=True)
        if home.is_relative_to(sheet.resolve()):
            raise DataError(f"{sheet} cannot be the contact sheet and the place of {out}; name another file for it")
    # Both are written before either takes its place.
    with ExitStack() as aside:
        beside = None if inside else aside.enter_context(written_whole(drawn, picture=True))
        folder = aside.enter_context(written_whole(out))
        contact = ContactSheet(entries)
        pictures = zip(entries, render_all(seed, [entry.shot for entry in entries], workers), strict=True)
        table = coco_keypoints(profile, seed, _written(folder, contact, pictures))
        (folder / KEYPOINTS).write_text(json.dumps(table, separators=(",", ":")) + "\n", encoding="utf-8")
        if beside is None:
            beside = aside.enter_context(written_whole(folder / at.relative_to(home), picture=True))
        with reading(drawn):  # or a full disk would be told of `out`
            # Named, since Pillow refuses a file whose suffix it does not know.
            contact.draw().save(beside, format=Image.registered_extensions().get(drawn.suffix.lower(), "PNG"))
    return len(entries)


def _written(
    folder: Path, contact: ContactSheet, pictures: Iterable[tuple[PlannedImage, Picture]]
) -> Iterator[tuple[PlannedImage, Picture]]:
    """Write each picture on its way past."""
    for entry, picture in pictures:
        path = folder / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture.jpeg)
        contact.add(entry, picture)
        yield entry, picture


def _maker(keypoints: Path) -> object:
    try:
        return json_in(keypoints, LARGEST_LABELS)["info"]["maker"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
