"""`pirt-data`: data sets in, manifests out."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from pirt.benchmarks import BENCHMARKS, counts_of
from pirt.core.errors import ParamsError
from pirt.core.files import require_apart, sha256_or_url
from pirt.core.manifest import SPLITS, read_manifest
from pirt.core.params import read_sections
from pirt.core.pids import JUNK_PID
from pirt.core.texts import written_json
from pirt_stages.command import Group, filled, printable
from pirt_stages.data.check import check
from pirt_stages.data.importing.archive_names import is_encoding
from pirt_stages.data.importing.layouts import LAYOUTS, Choice
from pirt_stages.data.importing.layouts.body_images import PROBES
from pirt_stages.data.importing.layouts.found import UNREAD, Reading
from pirt_stages.data.importing.layouts.person_folders import Shares
from pirt_stages.data.importing.names import names_file
from pirt_stages.data.importing.occluded_duke import occluded_duke
from pirt_stages.data.importing.params import ImportParams, load_import_params, place_of
from pirt_stages.data.importing.recipe import Imported, import_data_set
from pirt_stages.data.pedestrians.params import RenderParams, load_render_params
from pirt_stages.data.pedestrians.plan import PROFILES
from pirt_stages.data.pedestrians.synthesize import KEYPOINTS, SHEET, synthesize
from pirt_stages.data.standin_images import Extent
from pirt_stages.data.standins import STANDINS, make_standin
from pirt_stages.data.weights import weights_named
from pirt_stages.options import (
    FILE,
    FILE_OR_FOLDER,
    FOLDER,
    FORCE,
    ROOT,
    SEED,
    WORKERS,
    Number,
    out_option,
    params_option,
)

_SHARE = Number(0, 1)
_QUERIES = Number(0, 1, min_open=True)
"""Whoever can be asked for has one query at least, so that a share of none would still give some."""
_MOST_KINDS = 12
_PARAMS = params_option("its section `data` says where data sets lie")
_DATA = click.option(
    "--data",
    type=FOLDER,
    envvar="PIRT_DATA",
    show_envvar=True,
    help="Folder with all data sets, from which relative paths in --params start.",
)
_UNPACK = click.option("--unpack-to", type=FOLDER, help="Folder for an archive's files.  [default: beside it]")


def _known_encoding(_: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None and not is_encoding(value):
        raise click.BadParameter(f"{value!r} is not an encoding of file names; take one such as gbk", param=param)
    return value


_ARCHIVE_NAMES = click.option(
    "--archive-names",
    "encoding",
    callback=_known_encoding,
    help="Encoding of an archive's file names that do not say theirs, such as gbk, cp950 (Big5), cp932 (Shift-JIS), "
    "cp949 (EUC-KR) or cp850.  [default: UTF-8 where all are, else an error that lists the likely ones]",
)


@click.group(cls=Group)
def main() -> None:
    """Make, import and check person re-identification data sets."""


@main.command("synthesize")
@params_option("its section `data` says what to render; options override it")
@click.option("--profile", type=click.Choice(list(PROFILES)), help="How many identities and images.  [default: demo]")
@click.option("--seed", type=SEED, help="Another seed draws another world of people.  [default: 0]")
@out_option("Folder to write, in the Market-1501 layout.")
@click.option("--contact-sheet", type=FILE, help="Where to draw the contact sheet.  [default: OUT/contact_sheet.png]")
@WORKERS
@FORCE
def synthesize_command(
    params_file: Path | None,
    profile: str | None,
    seed: int | None,
    out: Path,
    contact_sheet: Path | None,
    workers: int | None,
    force: bool,
) -> None:
    """Render the built-in benchmark: pedestrians with occluders and true keypoints.

    \b
    Example:
      pirt-data synthesize --profile smoke --seed 0 --out runs/data
    """
    params = RenderParams() if params_file is None else load_render_params(params_file)
    profile, seed = profile or params.profile, params.seed if seed is None else seed
    count = synthesize(profile, seed, out, contact_sheet, workers, force)
    click.echo(f"{count:,} images and {KEYPOINTS} in {out}; contact sheet {contact_sheet or out / SHEET}")


@main.command("import")
@click.argument("root", type=FILE_OR_FOLDER, required=False)
@out_option("Manifest to write.", FILE)
@_PARAMS
@_DATA
@click.option(
    "--layout",
    type=click.Choice([layout.name for layout in LAYOUTS]),
    help="Accept only this one; `folder` is any folder of images without labels, `person-folders` one with a folder "
    "for each person.  [default: look for the others]",
)
@_UNPACK
@_ARCHIVE_NAMES
@click.option("--with-val", is_flag=True, help="MSMT17: add the validation list to training.")
@click.option(
    "--probe", type=click.Choice(list(PROBES)), help="Partial-REID: which folder has the queries.  [default: partial]"
)
@click.option("--split", type=click.Choice(SPLITS), help="folder: what the images are.  [default: gallery]")
@click.option(
    "--levels",
    help="person-folders: what the folders stand for, from ROOT down: split (train, query, gallery, test), person, "
    "camera or * (ignored), as in person/camera.  [default: by their names and how deep the images lie]",
)
@click.option("--split-seed", type=SEED, help="person-folders: another seed gives another split.  [default: 0]")
@click.option("--train-share", type=_SHARE, help="person-folders: share of the persons for training.  [default: 0.5]")
@click.option("--query-share", type=_QUERIES, help="person-folders: share of a test person's images.  [default: 0.25]")
@click.option("--pids-from-zero", is_flag=True, help="Pid 0 is a person: add 1 to all from 0 on.")
def import_command(
    root: Path | None,
    out: Path,
    params_file: Path | None,
    data: Path | None,
    unpack_to: Path | None,
    encoding: str | None,
    split_seed: int | None,
    train_share: float | None,
    query_share: float | None,
    **asked: Any,
) -> None:
    """Write the manifest of the data set in ROOT; its images stay where they are.

    ROOT is a folder (or one above it), a zip or tar; for your own data a CSV table with the columns path, split, pid,
    camid, or a folder for each person with --layout person-folders. Instead of ROOT, --params names a file whose
    section data has a `source`.

    A pid is a whole number: -1 is junk, which no ranking counts, 0 a distractor, which matches nobody, and persons are
    numbered from 1. Where persons and cameras have names, OUT's .names.csv says which number stands for which name.

    \b
    Examples:
      pirt-data import runs/data --out runs/manifest.csv
      pirt-data import Market-1501-v15.09.15.zip --out runs/market1501.csv
      pirt-data import people --layout person-folders --levels person/camera --out runs/people.csv
      pirt-data import pictures --layout folder --split query --out runs/pictures.csv
    """
    if (root is None) == (params_file is None):
        raise click.UsageError("pass either ROOT or --params, which says where the data set lies")
    if params_file is not None:
        root = place_of("source", load_import_params(params_file).source, data)
    assert root is not None
    told = {"seed": split_seed, "train": train_share, "query": query_share}
    shares: dict[str, Any] = {name: value for name, value in told.items() if value is not None}
    choice = Choice(**asked, shares=Shares(**shares) if shares else None)
    _tell(import_data_set(root, out, choice, unpack_to, encoding), out)


@main.command("occluded-duke")
@click.option("--duke", type=FILE_OR_FOLDER, help="DukeMTMC-reID: folder, zip or tar.")
@click.option("--lists", type=FOLDER, help="Folder with train.list, query.list and gallery.list.")
@_PARAMS
@_DATA
@out_option("Manifest to write.", FILE)
@click.option("--copy-to", type=FOLDER, help="Also copy the images into a folder of the published form.")
@_UNPACK
@_ARCHIVE_NAMES
@click.option("--allow-missing", is_flag=True, help="Go on without the names that have no image.")
def occluded_duke_command(
    duke: Path | None,
    lists: Path | None,
    params_file: Path | None,
    data: Path | None,
    out: Path,
    copy_to: Path | None,
    unpack_to: Path | None,
    encoding: str | None,
    allow_missing: bool,
) -> None:
    """Write the manifest of Occluded-DukeMTMC from DukeMTMC-reID and the three published name lists.

    Without --duke or --lists, the section data of the file --params says where they lie.

    \b
    Example:
      pirt-data occluded-duke --duke DukeMTMC-reID --lists Occluded_Duke --out runs/occluded_duke.csv
    """
    params = ImportParams() if params_file is None else load_import_params(params_file)
    duke = duke or place_of("duke", params.duke, data)
    lists = lists or place_of("lists", params.lists, data)
    _tell(occluded_duke(duke, lists, out, copy_to, unpack_to, encoding, allow_missing), out)


@main.command("check")
@click.argument("manifest", type=FILE)
@ROOT
@click.option(
    "--benchmark",
    type=click.Choice([benchmark.name for benchmark in BENCHMARKS]),
    help="Whose published counts it must have.  [default: those that agree]",
)
@_PARAMS
def check_command(manifest: Path, root: Path | None, benchmark: str | None, params_file: Path | None) -> None:
    """Look for missing images, changed files, identities in both training and test, and images in two splits.

    The exit code is 0 when everything is as it should be, 1 when something is not.

    \b
    Example:
      pirt-data check runs/manifest.csv
    """
    if benchmark is None and params_file is not None:
        benchmark = load_import_params(params_file).benchmark
    findings = check(read_manifest(manifest, root), benchmark)
    width = max(len(finding.question) for finding in findings)
    for finding in findings:
        mark = {True: "✓", False: "✗", None: " "}[finding.good]
        click.echo(printable(f"{mark}  {finding.question:<{width}}  {finding.answer}"))
    if any(finding.good is False for finding in findings):
        raise SystemExit(1)


@main.command("weights")
@params_option("it names the weights", required=True)
@click.option(
    "--parameter",
    type=click.Choice(["train.backbone_weights", "pose.train.init_from"]),
    default="train.backbone_weights",
    help="The parameter that names them.",
)
@out_option("JSON file to write; with {variant} in its name, one for each variant.", FILE)
def weights_command(params_file: Path, parameter: str, out: Path) -> None:
    """Write the SHA-256 of the weights that a parameter file names for a training to start from, or their URL.

    A pipeline runs this before it trains, so that weights replaced in place are noticed. Nothing is fetched. With
    {variant} in --out each variant has a file, and a new variant changes no other's.

    \b
    Example:
      pirt-data weights --params params.yaml --out 'runs/weights/{variant}.json'
    """
    *sections, name = parameter.split(".")
    shared, of_variants = weights_named(read_sections(params_file), sections, name, str(params_file))
    if "{variant}" in str(out):
        places = {filled(out, variant, None) or out: source for variant, source in of_variants.items()}
        if not places:
            raise ParamsError(f"{params_file} has no variants, but --out {out} asks for a file for each")
    else:
        places = {out: shared}
    for place in places:
        require_apart(place, *of_variants.values(), shared)
    # Each file is hashed once, however many variants start from it.
    told = {source: source and sha256_or_url(source) for source in set(places.values())}
    with ExitStack() as aside:  # none takes its place before all are written
        for place, source in places.items():
            aside.enter_context(written_json(place, {name: told[source]}))
    for place in places:
        click.echo(f"wrote {place}")


@main.command("standin")
@click.argument("name", type=click.Choice(list(STANDINS)))
@out_option("Folder to write.")
@click.option(
    "--size",
    type=click.Choice([size.value for size in Extent]),
    default="small",
    help="Reduced counts, or the published ones.",
)
@click.option("--one-pixel", is_flag=True, help="Write images of one pixel instead of pedestrians.")
@click.option("--seed", type=SEED, default=0, help="Another seed draws another world of people.")
@WORKERS
@FORCE
def standin_command(
    name: str, out: Path, size: str, one_pixel: bool, seed: int, workers: int | None, force: bool
) -> None:
    """Write a stand-in of a published data set: its folders and names, with rendered pedestrians.

    \b
    Example:
      pirt-data standin occluded_dukemtmc --out standins/occluded_dukemtmc
    """
    count = make_standin(name, out, Extent(size), one_pixel, seed, workers, force)
    click.echo(f"{count:,} images in {out}; this is a stand-in of {name}, not the data set")


def _tell(imported: Imported, out: Path) -> None:
    manifest = imported.manifest
    counts = counts_of(manifest.rows)
    said = ", ".join(f"{split} {counts[split]:,}" for split in SPLITS)
    if odd := [f"{counts[name]:,} {name}" for name in ("distractors", "junk") if counts[name]]:
        said += f" with {' and '.join(odd)}"
    title = f"{imported.title} (stand-in)" if manifest.stand_in else imported.title
    click.echo(f"{title} in {manifest.root}: {said}; manifest {out}")
    for remark in [*_passed_over(imported.reading), *imported.reading.remarks]:
        click.echo(printable(remark))
    if left_out := int((manifest.rows.pids[manifest.rows.of_split("train")] <= JUNK_PID).sum()):
        click.echo(f"{left_out:,} train images have pid {JUNK_PID} (junk) and take no part in training")
    if imported.reading.names:
        kinds = " and ".join(f"{len(names):,} {kind}s" for kind, names in imported.reading.names.items())
        click.echo(f"the names of {kinds} are in {names_file(out)}")


def _passed_over(reading: Reading) -> Iterator[str]:
    """Say by kind what was passed over, images in formats that are not read first, and the rarest kinds together."""
    kinds = sorted(reading.passed_over.most_common(), key=lambda found: UNREAD not in found[0])
    shown = max(_MOST_KINDS, sum(UNREAD in kind for kind, _ in kinds))
    if len(kinds) > 1:
        yield f"passed over {reading.passed_over.total():,} files in all:"
    for kind, count in kinds[:shown]:
        yield f"passed over {count:,} × {reading.described(kind)}"
    if rest := kinds[shown:]:
        yield f"passed over {sum(count for _, count in rest):,} × {len(rest)} other kinds"
