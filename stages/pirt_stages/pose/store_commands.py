"""The commands of `pirt-pose` that look at, check and convert a finished store; thin, like `cli.py`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pirt_stages.command import Command, printable
from pirt_stages.options import FILE, FILE_OR_FOLDER, FOLDER, ROOT, count, manifest_option, out_option, params_option

if TYPE_CHECKING:
    from pirt.models.part_groups import NamedGroups

_STORE = click.argument("store_path", metavar="STORE", type=FOLDER)
_PARAMS = params_option("its `model` says which part groups there are")
_VARIANT = click.option("--variant", help="Entry of the file's `variants`, laid over its `model`.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

# The commands import their modules themselves, because MMPose takes seconds and --help should not.


@click.command("info", cls=Command)
@_STORE
@_JSON
def info_command(store_path: Path, as_json: bool) -> None:
    """Say what a store holds and what made it, and how far an unfinished one is.

    \b
    Example:
      pirt-pose info runs/heatmaps.zarr
    """
    from pirt_stages.pose.stores.info import as_text, describe

    facts = describe(store_path)
    click.echo(json.dumps(facts, indent=2) if as_json else printable(as_text(facts)))


@click.command("verify", cls=Command)
@_STORE
@manifest_option("Look for all images of this manifest, by their SHA-256.", required=False)
@click.option("--sample", type=count(), help="Recompute this many images; needs --manifest.")
@click.option("--config", help="The network's config, for --sample.  [default: HRNet-W48 256x192]")
@click.option("--checkpoint", help="The network's weights, for --sample.  [default: those that MMPose publishes]")
@ROOT
def verify_command(
    store_path: Path,
    manifest_file: Path | None,
    sample: int | None,
    config: str | None,
    checkpoint: str | None,
    root: Path | None,
) -> None:
    """Check every shard: CRC, shapes, NaN, range, scores, seal; then a manifest's images; then recompute N of them.

    \b
    Examples:
      pirt-pose verify runs/heatmaps.zarr --manifest runs/manifest.csv
      pirt-pose verify runs/heatmaps.zarr --manifest runs/manifest.csv --sample 32 \\
        --config runs/pose/config.py --checkpoint runs/pose/checkpoint.pth
    """
    from pirt.core.manifest import read_manifest
    from pirt_stages.pose.stores.verify import sampled, verify

    if sample is not None and manifest_file is None:
        raise click.UsageError("--sample needs --manifest, which says where the images are")
    if sample is None and (config is not None or checkpoint is not None):
        raise click.UsageError("--config and --checkpoint are for --sample; say how many images are to be recomputed")
    manifest = None if manifest_file is None else read_manifest(manifest_file, root)
    if manifest is None or sample is None:
        store = verify(store_path, manifest)
    else:
        from pirt_stages.pose.stores.recompute import recompute_with

        store = verify(store_path, manifest, sample, recompute_with(store_path, manifest, config, checkpoint))
    against = "" if manifest is None else f", those of {manifest_file} among them"
    click.echo(f"{store_path}: {store.layout.shards} shards, {store.layout.count} images{against}: all is well")
    if manifest is not None and sample is not None:
        click.echo(f"{len(sampled(store, manifest, sample))} images recomputed to the same heatmaps")


@click.command("show", cls=Command)
@_STORE
@manifest_option(required=True)
@out_option("The picture, a PNG.", FILE)
@click.option("--key", help="One image, large, with all 17 heatmaps.")
@click.option("--count", type=click.IntRange(1, 100), default=12, help="Images on a sheet.")
@click.option("--split", type=click.Choice(["train", "query", "gallery"]), help="Images of this split only.")
@click.option("--weakest", is_flag=True, help="The images with the lowest scores, instead of an even choice.")
@_PARAMS
@_VARIANT
@ROOT
def show_command(
    store_path: Path,
    manifest_file: Path,
    out: Path,
    key: str | None,
    count: int,
    split: str | None,
    weakest: bool,
    params_file: Path | None,
    variant: str | None,
    root: Path | None,
) -> None:
    """Draw images with their heatmaps, part masks and scores: one large, or a contact sheet.

    \b
    Examples:
      pirt-pose show runs/heatmaps.zarr --manifest runs/manifest.csv --count 24 --weakest --out runs/weakest.png
      pirt-pose show runs/heatmaps.zarr --manifest runs/manifest.csv \\
        --key query/0009_c2s1_000151_00.jpg --out runs/one.png
    """
    from pirt.core.manifest import read_manifest
    from pirt.heatmaps.reader import open_store
    from pirt_stages.pose.stores.show import show_image, show_sheet

    if key is not None and (split is not None or weakest):
        raise click.UsageError("--key is one image; leave out --split and --weakest, which choose some")
    store, manifest = open_store(store_path), read_manifest(manifest_file, root)
    if key is not None:
        show_image(store, manifest, _groups(params_file, variant), key, out)
    else:
        show_sheet(store, manifest, _groups(params_file, variant), count, split, weakest, out)
    click.echo(f"wrote {out}")


@click.command("stats", cls=Command)
@_STORE
@_PARAMS
@_VARIANT
@_JSON
def stats_command(store_path: Path, params_file: Path | None, variant: str | None, as_json: bool) -> None:
    """Print how scores and masks are distributed: per keypoint, per part, and the share of images with no part.

    \b
    Example:
      pirt-pose stats runs/heatmaps.zarr
    """
    from pirt.heatmaps.reader import open_store
    from pirt_stages.pose.stores.stats import as_text, statistics_of

    store = open_store(store_path)
    statistics = statistics_of(store, _groups(params_file, variant))
    text = as_text(statistics, store.attributes.tau)
    click.echo(json.dumps(statistics.as_table(), indent=2) if as_json else text)


@click.command("export", cls=Command)
@_STORE
@click.option(
    "--format",
    "to",
    type=click.Choice(["hdf5", "coco", "npy", "bpbreid", "kpr"]),
    required=True,
    help="One HDF5 file; COCO keypoint results in JSON; a folder with one .npy per image, named by its key; the files "
    "that the loaders of BPBReID (masks.dir: pifpaf) and KPR (kp_dir: pirt) read beside the images.",
)
@out_option("File, or folder for npy, bpbreid and kpr.", FILE_OR_FOLDER)
@manifest_option("For coco, bpbreid and kpr: where the images are.", required=False)
@click.option("--annotations", type=FILE, help="For coco: a COCO file whose image ids to use.")
@ROOT
def export_command(
    store_path: Path, to: str, out: Path, manifest_file: Path | None, annotations: Path | None, root: Path | None
) -> None:
    """Convert a store for other programs; heatmaps are K x H x W float32 in 0 to 1.

    \b
    Examples:
      pirt-pose export runs/heatmaps.zarr --format hdf5 --out runs/heatmaps.h5
      pirt-pose export runs/heatmaps.zarr --format coco --manifest runs/manifest.csv --out runs/keypoints.json
      pirt-pose export runs/heatmaps.zarr --format kpr --manifest runs/manifest.csv --out runs/kpr
    """
    from pirt.core.manifest import read_manifest
    from pirt.heatmaps.reader import open_store
    from pirt.runs.cache import without_skipped
    from pirt_stages.pose.stores.export import export_coco, export_hdf5, export_npy
    from pirt_stages.pose.stores.part_based import export_bpbreid, export_kpr

    if to != "coco" and annotations is not None:
        raise click.UsageError(f"--annotations are for --format coco; {to} has no image ids")
    if to in ("hdf5", "npy") and manifest_file is not None:
        raise click.UsageError(f"--format {to} writes all images of the store; leave out --manifest")
    store = open_store(store_path)
    images, skipped = store.layout.count - len(store.skipped), len(store.skipped)
    if to == "hdf5":
        export_hdf5(store, out)
    elif to == "npy":
        export_npy(store, out)
    elif manifest_file is None:
        raise click.UsageError(f"--format {to} needs --manifest, which says what the images are")
    else:
        manifest = read_manifest(manifest_file, root)
        if to == "coco":
            export_coco(store, manifest, annotations, out)
        else:
            {"bpbreid": export_bpbreid, "kpr": export_kpr}[to](store, manifest, out)
        # Those of the manifest, which may have fewer images than the store, and one of them in two splits.
        images = len({row.path for row in without_skipped(store, manifest.rows)})
        skipped = len(set(manifest.rows.paths)) - images
    click.echo(f"wrote {out}: {images} images, {skipped} skipped")


def _groups(params_file: Path | None, variant: str | None) -> "NamedGroups":
    """Read the part groups of a parameter file; without one they are the paper's."""
    from pirt.models.part_groups import named_groups
    from pirt.runs.params import ModelParams, load_params

    if params_file is None and variant is not None:
        raise click.UsageError("--variant needs --params, the file that has it")
    model = ModelParams() if params_file is None else load_params(params_file, variant).model
    return named_groups(model.groups)


STORE_COMMANDS = (info_command, verify_command, show_command, stats_command, export_command)
