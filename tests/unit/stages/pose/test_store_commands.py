"""The commands on a finished store, run as a user runs them."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner, Result
from foreign_shards import with_foreign_shard
from matplotlib.colors import to_rgb
from numpy.typing import NDArray
from PIL import Image
from small_disks import assert_refused_in_a_process, assert_refused_in_one_line, files_up_to

from pirt.core.keypoints import COCO_KEYPOINTS
from pirt.core.manifest import ImageRow, Manifest, write_manifest
from pirt.heatmaps.reader import open_store
from pirt.heatmaps.schema import SkippedImage, StoreAttributes, root_metadata
from pirt.models.part_groups import named_groups
from pirt.visual.style import part_colours
from pirt_stages.pose.cli import main
from pirt_stages.pose.extraction.writer import create_store
from pirt_stages.pose.networks.openmmlab import KEYPOINT_CODECS
from pirt_stages.pose.stores.export import keypoints_of
from pirt_stages.pose.stores.stats import QUANTILES, statistics_of

COUNT = 11
SKIPPED = 4
HEIGHT, WIDTH = 16, 8

Cli = Callable[..., Result]


@pytest.fixture
def cli() -> Cli:
    return lambda *arguments: CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    rows = []
    (tmp_path / "images").mkdir()
    for i in range(COUNT):
        split = ("train", "query", "gallery")[i % 3]
        Image.new("RGB", (20 + i, 50), (i * 20, 90, 200)).save(tmp_path / "images" / f"{i}.png")
        rows.append(ImageRow(f"{split}/{i or '$_$'}.png", f"{i}.png", split, i, i % 2, f"{i:064}"))  # type: ignore[arg-type]
    return write_manifest(tmp_path / "manifest.csv", rows, tmp_path / "images")


@pytest.fixture
def heatmaps() -> NDArray[np.float32]:
    generator = np.random.default_rng(3)
    maps = generator.random((COUNT, 17, HEIGHT, WIDTH), np.float32) ** 12
    maps[5] = 0.0005
    maps[6, :11] = 0
    return maps


def write_store(path: Path, manifest: Manifest, heatmaps: NDArray[np.float32], codec: str = "tau8") -> Path:
    attributes = StoreAttributes.model_validate(
        {
            "keypoints": COCO_KEYPOINTS,
            "codec": codec,
            "tau": 0.001,
            "input_size": (64, 32),
            "heatmap_size": (HEIGHT, WIDTH),
            "geometry": "resize",
            "network": "any",
            "config_sha256": "0" * 64,
            "weights_sha256": "0" * 64,
            "precision": "float32",
            "flip_test": False,
            "batch_size": 4,
            "skipped": (SkippedImage(key=manifest.keys[SKIPPED], reason="4.png has zero bytes"),),
        }
    )
    writer = create_store(path, manifest.rows, attributes, 4)
    for shard in writer.pending():
        writer.write(shard, heatmaps[writer.rows(shard).start : writer.rows(shard).stop])
    return writer.seal()


@pytest.fixture
def store(tmp_path: Path, manifest: Manifest, heatmaps: NDArray[np.float32]) -> Path:
    return write_store(tmp_path / "heatmaps.zarr", manifest, heatmaps)


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 4
    file.write_bytes(content)


def test_info_of_a_finished_store(cli: Cli, store: Path) -> None:
    result = cli("info", store)
    assert result.exit_code == 0
    said = [line.split() for line in result.output.splitlines()]
    for fact in (["images", "11"], ["codec", "tau8"], ["shards_done", "3"]):
        assert fact in said
    assert "skipped query/4.png: 4.png has zero bytes" in result.output
    facts = json.loads(cli("info", store, "--json").output)
    assert facts["fingerprint"] == open_store(store).fingerprint


def test_info_of_a_finished_store_of_any_name(cli: Cli, tmp_path: Path, store: Path) -> None:
    facts = json.loads(cli("info", store.rename(tmp_path / "x.partial"), "--json").output)
    assert (facts["finished"], facts["shards_done"]) == (True, 3)


def test_info_of_an_unfinished_store(cli: Cli, tmp_path: Path, manifest: Manifest, store: Path) -> None:
    writer = create_store(tmp_path / "half.zarr", manifest.rows, open_store(store).attributes, 4)
    writer.write(1, open_store(store).read_shard(1).astype(np.float32))
    facts = json.loads(cli("info", writer.path, "--json").output)
    assert (facts["finished"], facts["shards"], facts["shards_done"]) == (False, 3, 1)
    assert facts["fingerprint"] is None


@pytest.mark.parametrize("command", ["info", "verify", "stats"])
def test_what_is_no_store_is_one_line_and_exit_2(cli: Cli, tmp_path: Path, command: str) -> None:
    result = cli(command, tmp_path / "none.zarr")
    assert result.exit_code == 2
    assert "does not exist" in result.output
    assert result.output.count("\n") == 1


def test_verify_says_that_all_is_well(
    cli: Cli, tmp_path: Path, manifest: Manifest, heatmaps: NDArray[np.float32]
) -> None:
    for codec in ("tau8", "float16", "float32"):
        store = write_store(tmp_path / f"{codec}.zarr", manifest, heatmaps, codec)
        result = cli("verify", store, "--manifest", tmp_path / "manifest.csv")
        assert result.exit_code == 0, result.output
        assert "3 shards, 11 images" in result.output


def test_verify_lists_every_damage(cli: Cli, store: Path) -> None:
    flip_a_bit(store / "heatmaps" / "c.0.0.0.0")
    flip_a_bit(store / "scores" / "c.2.0")
    (store / "heatmaps" / "stranger").write_text("")
    result = cli("verify", store)
    assert result.exit_code == 2
    assert "3 problems" in result.output
    for said in ("heatmaps/c.0.0.0.0 is damaged", "scores/c.2.0 is damaged", "heatmaps/stranger does not belong"):
        assert said in result.output


def test_what_file_browsers_leave_is_nobodys_fault(cli: Cli, tmp_path: Path, store: Path) -> None:
    for name in (".DS_Store", "heatmaps/.DS_Store", "keys/._c.0", "scores/Thumbs.db", "desktop.ini"):
        (store / name).write_bytes(b"any")
    for command in ("verify", "info", "stats"):
        assert cli(command, store).exit_code == 0, command
    for _ in range(2):
        assert cli("export", store, "--format", "npy", "--out", tmp_path / "npy").exit_code == 0
        (tmp_path / "npy" / "train" / ".DS_Store").write_bytes(b"any")


def test_verify_finds_a_shard_of_another_store(
    cli: Cli, tmp_path: Path, manifest: Manifest, heatmaps: NDArray[np.float32], store: Path
) -> None:
    """A shard whose CRCs are right, but which was never sealed with this store."""
    heatmaps[0, 0, 0, 0] = 0.5
    other = write_store(tmp_path / "other.zarr", manifest, heatmaps)
    shutil.copy(other / "heatmaps" / "c.0.0.0.0", store / "heatmaps")
    assert "not the file that was sealed" in cli("verify", store).output
    shutil.copy(other / "heatmaps" / "c.1.0.0.0", store / "heatmaps" / "c.0.0.0.0")
    layout = open_store(store).layout
    (store / "zarr.json").write_bytes(root_metadata(layout.attributes, layout.seal_of(store)))
    assert "scores are not the heatmaps' highest values" in cli("verify", store).output


def test_verify_looks_for_the_manifests_images(cli: Cli, tmp_path: Path, manifest: Manifest, store: Path) -> None:
    moved = [replace(row, key=f"any/{row.path}", split="query", pid=1) for row in manifest.rows[:1:-1]]
    write_manifest(tmp_path / "moved.csv", moved, manifest.root)
    result = cli("verify", store, "--manifest", tmp_path / "moved.csv")
    assert result.exit_code == 0, result.output
    changed = [replace(row, sha256="f" * 64) if row.path == "7.png" else row for row in manifest.rows]
    write_manifest(tmp_path / "changed.csv", changed, manifest.root)
    result = cli("verify", store, "--manifest", tmp_path / "changed.csv")
    assert result.exit_code == 2
    assert "lacks 1 of 11 images, the first is 'query/7.png', which was another image" in result.output


def test_verify_recomputes_with_the_network(cli: Cli, tmp_path: Path, tiny, people) -> None:  # type: ignore[no-untyped-def]
    network = ("--config", tiny.config, "--checkpoint", tiny.checkpoint)
    made = cli(
        "extract", "--manifest", people.manifest_path, *network, "--input-size", 64, 32, "--out", tmp_path / "s.zarr"
    )
    assert made.exit_code == 0, made.output
    check = ("verify", tmp_path / "s.zarr", "--manifest", people.manifest_path, "--sample", 5, *network)
    result = cli(*check)
    assert result.exit_code == 0, result.output
    assert "5 images recomputed to the same heatmaps" in result.output
    write_manifest(tmp_path / "some.csv", people.manifest.rows[:3], people.manifest.root)
    result = cli("verify", tmp_path / "s.zarr", "--manifest", tmp_path / "some.csv", "--sample", 5, *network)
    assert "3 images recomputed to the same heatmaps" in result.output
    for file in (people.manifest_path.parent / "data").iterdir():
        Image.open(file).rotate(180).save(file)
    result = cli(*check)
    assert result.exit_code == 2
    assert "recomputed differs by up to" in result.output


def test_verify_recomputes_on_the_cpu_where_the_stores_device_is_not(  # type: ignore[no-untyped-def]
    cli: Cli, tmp_path: Path, tiny, people, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = ("--config", tiny.config, "--checkpoint", tiny.checkpoint)
    extract = ("extract", "--manifest", people.manifest_path, *network, "--input-size", 64, 32)
    assert cli(*extract, "--out", tmp_path / "s.zarr").exit_code == 0
    made = open_store(tmp_path / "s.zarr")
    on_gpu = made.attributes.model_copy(update={"device": "cuda"})
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for apart, code in ((0.003, 0), (0.1, 2)):  # TF32 is a little apart
        writer = create_store(tmp_path / f"{apart}.zarr", people.manifest.rows, on_gpu, 256)
        writer.write(0, made.read(slice(None)) + np.float32(apart))
        writer.seal()
        result = cli("verify", writer.path, "--manifest", people.manifest_path, "--sample", 5, *network)
        assert result.exit_code == code, result.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["verify", "--checkpoint", "w.pth"], "--config and --checkpoint are for --sample"),
        (["show", "--key", "gallery/2.png", "--weakest", "--out", "a.png"], "--key is one image"),
        (
            ["export", "--format", "kpr", "--annotations", "a.json", "--out", "kpr"],
            "--annotations are for --format coco",
        ),
        (["export", "--format", "npy", "--out", "npy"], "writes all images of the store"),
        (["export", "--format", "hdf5", "--out", "h.h5"], "writes all images of the store"),
    ],
)
def test_an_option_that_would_mean_nothing_is_refused(
    cli: Cli, tmp_path: Path, store: Path, words: list[str], said: str
) -> None:
    command, *more = words
    result = cli(command, store, "--manifest", tmp_path / "manifest.csv", *more)
    assert (result.exit_code, said in result.output) == (2, True)


def test_a_store_of_skipped_images_only(cli: Cli, tmp_path: Path, tiny, people) -> None:  # type: ignore[no-untyped-def]
    network = ("--config", tiny.config, "--checkpoint", tiny.checkpoint)
    extract = ("extract", "--manifest", people.manifest_path, *network, "--input-size", 64, 32)
    assert cli(*extract, "--out", tmp_path / "all.zarr").exit_code == 0
    whole = open_store(tmp_path / "all.zarr")
    skipped = tuple(SkippedImage(key=key, reason="zero bytes") for key in whole.keys)
    attributes = whole.attributes.model_copy(update={"skipped": skipped})
    writer = create_store(tmp_path / "s.zarr", people.manifest.rows, attributes, len(skipped))
    writer.write(0, np.zeros((len(skipped), 17, *attributes.heatmap_size), np.float32))
    writer.seal()
    verify = ("verify", tmp_path / "s.zarr", "--manifest", people.manifest_path, "--sample", 5, *network)
    assert cli(*verify).stdout.endswith("0 images recomputed to the same heatmaps\n")
    stats = cli("stats", tmp_path / "s.zarr")
    assert stats.exit_code == 2
    assert "all 12 images were skipped" in stats.stderr


@pytest.mark.parametrize("form", ["hdf5", "npy", "coco"])
def test_export_refuses_a_shard_of_another_store(
    cli: Cli, tmp_path: Path, manifest: Manifest, heatmaps: NDArray[np.float32], form: str
) -> None:
    store = with_foreign_shard(lambda path, seed: write_store(path, manifest, heatmaps / seed), tmp_path)
    more = ["--manifest", tmp_path / "manifest.csv"] if form == "coco" else []
    refused = cli("export", store, "--format", form, "--out", tmp_path / "out", *more)
    assert refused.exit_code == 2
    assert "c.0.0.0.0 is not the file that was sealed" in refused.stderr
    assert not (tmp_path / "out").exists()


def colours_of(picture: Path) -> dict[tuple[int, int, int], int]:
    """The pixels of each colour."""
    with Image.open(picture) as opened:
        counted = opened.convert("RGB").getcolors(opened.width * opened.height)
    return {colour: count for count, colour in counted or []}


@pytest.mark.parametrize(
    ("more", "drawn"),
    [
        (["--count", 3], {0, 5, 10}),
        (["--split", "query", "--count", 2], {1, 10}),  # of 1, 7 and 10; 4 was skipped
        pytest.param(["--weakest", "--count", 1], {5}, marks=pytest.mark.slow),
        (["--key", "gallery/2.png"], {2}),
    ],
)
def test_show_draws_the_images_that_it_is_asked_for(
    cli: Cli, tmp_path: Path, store: Path, more: list[object], drawn: set[int]
) -> None:
    pictures = []
    for name in ("a.png", "b.png"):
        result = cli("show", store, "--manifest", tmp_path / "manifest.csv", "--out", tmp_path / name, *more)
        assert result.exit_code == 0, result.output
        pictures.append((tmp_path / name).read_bytes())
    assert pictures[0] == pictures[1]
    found = colours_of(tmp_path / "a.png")
    panel = 220 * 110  # pixels, each image in its own colour and once
    assert {i for i in range(COUNT) if found.get((i * 20, 90, 200), 0) > 0.9 * panel} == drawn
    assert all(found[i * 20, 90, 200] < 1.1 * panel for i in drawn)


def test_show_tints_the_cells_of_each_part(cli: Cli, tmp_path: Path, manifest: Manifest) -> None:
    """Of a grey image, a tint of six tenths is 0.4 · grey + 0.6 · colour."""
    grey = Image.open(manifest.image_path(manifest.rows[2])).convert("L").getpixel((0, 0))
    cells = {"head": ([0, 3], 24), "upper": ([7], 40), "lower": ([16], 0)}
    heatmaps = np.zeros((COUNT, 17, HEIGHT, WIDTH), np.float32)
    for keypoints, count in cells.values():
        for keypoint in keypoints:
            heatmaps[2, keypoint].reshape(-1)[:count] = 0.5
    store = write_store(tmp_path / "some.zarr", manifest, heatmaps)
    show = ("show", store, "--manifest", tmp_path / "manifest.csv", "--out", tmp_path / "a.png", "--count", COUNT)
    assert cli(*show, "--split", "gallery").exit_code == 0
    found = colours_of(tmp_path / "a.png")
    for (_, count), colour in zip(cells.values(), part_colours(3), strict=True):
        tint = np.array([0.4 * grey + 0.6 * 255 * tone for tone in to_rgb(colour)])
        tinted = sum(pixels for shade, pixels in found.items() if np.abs(shade - tint).max() < 2)
        assert tinted == pytest.approx(count / (HEIGHT * WIDTH) * 220 * 110, rel=0.12, abs=30)


@pytest.mark.parametrize("more", [[], ["--key", "query/1.png"]])
def test_show_does_not_replace_an_image_that_it_shows(
    cli: Cli, tmp_path: Path, manifest: Manifest, store: Path, more: list[str]
) -> None:
    image = manifest.image_path(manifest.rows[0])
    before = image.read_bytes()
    refused = cli("show", store, "--manifest", tmp_path / "manifest.csv", "--out", image, *more)
    assert refused.exit_code == 2
    assert "is an image of the manifest and would be replaced" in refused.output
    assert image.read_bytes() == before


def test_show_refuses_what_it_cannot_draw(cli: Cli, tmp_path: Path, store: Path) -> None:
    show = ("show", store, "--manifest", tmp_path / "manifest.csv", "--out", tmp_path / "a.png", "--key")
    assert "keys look like 'train/$_$.png'" in cli(*show, "none").output
    result = cli(*show, "query/4.png")
    assert "was skipped: 4.png has zero bytes" in result.output
    assert result.exit_code == 2
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize("more", [[], pytest.param(["--key", "gallery/2.png"], marks=pytest.mark.slow)])
def test_show_draws_the_same_of_a_manifest_in_another_order_and_refuses_other_images(
    cli: Cli, tmp_path: Path, manifest: Manifest, store: Path, more: list[str]
) -> None:
    show = ("show", store, "--count", 1, "--out", tmp_path / "a.png", *more, "--manifest")
    write_manifest(tmp_path / "swapped.csv", [*manifest.rows[:1], *manifest.rows[:0:-1]], manifest.root)
    assert cli(*show, tmp_path / "manifest.csv").exit_code == 0
    drawn = (tmp_path / "a.png").read_bytes()
    assert cli(*show, tmp_path / "swapped.csv").exit_code == 0
    assert (tmp_path / "a.png").read_bytes() == drawn
    write_manifest(tmp_path / "other.csv", [replace(row, sha256="f" * 64) for row in manifest.rows], manifest.root)
    result = cli(*show, tmp_path / "other.csv")
    assert result.exit_code == 2
    assert "lacks 11 of 11 images" in result.output
    assert (tmp_path / "a.png").read_bytes() == drawn


@pytest.mark.parametrize(
    "grouping", ["paper", {"nose": [0], "arms": [7, 8, 9, 10], "legs": [13, 14], "all": range(17)}]
)
def test_stats_are_those_of_plain_loops(store: Path, heatmaps: NDArray[np.float32], grouping: object) -> None:
    statistics = statistics_of(open_store(store), named_groups(grouping))
    kept = [heatmaps[i] for i in range(COUNT) if i != SKIPPED]
    assert (statistics.images, statistics.skipped) == (10, 1)
    for keypoint, spread in enumerate(statistics.keypoints):
        best = [float(image[keypoint].max()) for image in kept]
        assert spread.name == COCO_KEYPOINTS[keypoint]
        assert spread.mean == pytest.approx(sum(best) / len(best))
        assert spread.quantiles == pytest.approx([np.quantile(best, q) for q in QUANTILES])
        assert spread.above_tau == sum(score > np.float32(0.001) for score in best) / 10
    assert list(statistics.as_table()["parts"]) == list(statistics.coverage) == list(dict(named_groups(grouping)))
    for spread, (name, group) in zip(statistics.groups, named_groups(grouping), strict=True):
        best = [max(float(image[k].max()) for k in group) for image in kept]
        assert (spread.name, spread.mean) == (name, pytest.approx(sum(best) / len(best)))
        shares = []
        for image in kept:
            cells = [
                any(image[k, y, x] > np.float32(0.001) for k in group) for y in range(HEIGHT) for x in range(WIDTH)
            ]
            shares.append(sum(cells) / len(cells))
        assert statistics.coverage[name][0] == pytest.approx(sum(shares) / len(shares))
    assert statistics.no_part_above_tau == 0.1


def test_stats_prints_tables_or_json(cli: Cli, store: Path) -> None:
    text = cli("stats", store).stdout
    assert "10 images, 1 skipped" in text
    assert "no part over τ 0.001: 10.00% of images" in text
    assert json.loads(cli("stats", store, "--json").stdout)["no_part_above_tau"] == 0.1


def test_stats_and_show_take_the_groups_of_a_parameter_file(cli: Cli, tmp_path: Path, store: Path) -> None:
    groups = "{nose: [nose], arms: [left_elbow, 8], trunk: [5, 6, 11, 12], legs: [15, 16]}"
    (tmp_path / "params.yaml").write_text(f"model: {{}}\nvariants: {{four: {{groups: {groups}}}}}\n")
    four = ("--params", tmp_path / "params.yaml", "--variant", "four")
    assert list(json.loads(cli("stats", store, "--json", *four).stdout)["parts"]) == ["nose", "arms", "trunk", "legs"]
    assert list(json.loads(cli("stats", store, "--json").stdout)["parts"]) == ["head", "upper", "lower"]
    widths = []
    for out, more in (("three.png", ()), ("four.png", four)):
        show = ("show", store, "--manifest", tmp_path / "manifest.csv", "--out", tmp_path / out, *more)
        assert cli(*show, "--count", 1).exit_code == 0
        with Image.open(tmp_path / out) as picture:
            widths.append(picture.width)
    assert widths[1] > widths[0], "a mask more in each strip"
    refused = cli("stats", store, "--variant", "four")
    assert refused.exit_code == 2
    assert "--variant needs --params" in refused.output


@pytest.mark.parametrize(("seen", "warned"), [(1, True), (2, True), (3, False)])
def test_stats_warns_of_a_part_that_hardly_any_image_shows(
    cli: Cli, tmp_path: Path, manifest: Manifest, heatmaps: NDArray[np.float32], seen: int, warned: bool
) -> None:
    heatmaps[:, 5:] = 0.5
    heatmaps[:, :5] = 0.29
    heatmaps[:seen, 2, 3, 3] = 0.3  # of 10 images that were not skipped
    store = write_store(tmp_path / "weak.zarr", manifest, heatmaps, "float32")
    text = cli("stats", store).stdout
    assert ("warning: fewer than 25% of the images show head at 0.3 or more" in text) == warned
    assert json.loads(cli("stats", store, "--json").stdout)["hardly_seen"] == (["head"] if warned else [])


def test_export_hdf5(cli: Cli, tmp_path: Path, manifest: Manifest, store: Path) -> None:
    assert cli("export", store, "--format", "hdf5", "--out", tmp_path / "h.h5").exit_code == 0
    opened = open_store(store)
    with h5py.File(tmp_path / "h.h5") as file:
        np.testing.assert_array_equal(file["heatmaps"][...], opened.read(slice(None)))
        np.testing.assert_array_equal(file["scores"][...], opened.scores)
        assert tuple(file["keys"].asstr()) == manifest.keys
        assert json.loads(file.attrs["attributes"])["skipped"][0]["key"] == "query/4.png"


def test_export_npy(cli: Cli, tmp_path: Path, manifest: Manifest, store: Path) -> None:
    assert cli("export", store, "--format", "npy", "--out", tmp_path / "npy").exit_code == 0
    values = open_store(store).read(slice(None))
    found = {file.relative_to(tmp_path / "npy").as_posix() for file in (tmp_path / "npy").rglob("*.npy")}
    assert found == {f"{key}.npy" for key in manifest.keys if key != "query/4.png"}
    for row, key in enumerate(manifest.keys):
        if row != SKIPPED:
            np.testing.assert_array_equal(np.load(tmp_path / "npy" / f"{key}.npy"), values[row])


@pytest.mark.parametrize("key", ["../outside", "/outside", "a/../../outside"])
def test_export_npy_stays_in_its_folder(
    cli: Cli, tmp_path: Path, manifest: Manifest, heatmaps: NDArray[np.float32], key: str
) -> None:
    first, *others = manifest.rows
    hostile = Manifest((ImageRow(key, first.path, "train", 1, 1, ""), *others), manifest.root)
    store = write_store(tmp_path / "s.zarr", hostile, heatmaps)
    result = cli("export", store, "--format", "npy", "--out", tmp_path / "deep" / "npy")
    assert result.exit_code == 2
    assert "do not trust this store" in result.output
    assert not list(tmp_path.rglob("outside*"))
    assert not (tmp_path / "deep" / "npy").exists()


@pytest.mark.parametrize("form", ["hdf5", "coco"])
@pytest.mark.parametrize("content", [b"my notes", b'{"images": []}', b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"])
def test_an_export_replaces_only_another_one(
    cli: Cli, tmp_path: Path, manifest: Manifest, store: Path, form: str, content: bytes
) -> None:
    out = tmp_path / "out"
    out.write_bytes(content)
    words = ["export", store, "--format", form, "--out", out]
    words += [] if form == "hdf5" else ["--manifest", tmp_path / "manifest.csv"]
    refused = cli(*words)
    assert refused.exit_code == 2
    assert "and would be replaced; name another --out" in refused.output
    assert out.read_bytes() == content
    out.unlink()
    for _ in range(2):
        assert cli(*words).exit_code == 0


@pytest.mark.parametrize("to", ["hdf5", "coco", "npy"])
@pytest.mark.parametrize("place", ["thesis", "."])
def test_export_leaves_a_folder_that_it_did_not_make(
    cli: Cli, tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch, to: str, place: str
) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years")
    monkeypatch.chdir(tmp_path / "thesis" if place == "." else tmp_path)
    more = ["--manifest", tmp_path / "manifest.csv"] if to == "coco" else []
    result = cli("export", store, "--format", to, "--out", place, *more)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith(f"Error: {place} ")
    assert [file.name for file in (tmp_path / "thesis").iterdir()] == ["chapter.tex"]


def test_export_npy_replaces_its_own_folder(cli: Cli, tmp_path: Path, store: Path) -> None:
    export = ("export", store, "--format", "npy", "--out", tmp_path / "npy")
    (tmp_path / "npy").mkdir()
    assert cli(*export).exit_code == 0
    file = tmp_path / "npy" / "train" / "3.png.npy"
    written = file.read_bytes()
    file.write_bytes(b"changed")
    assert cli(*export).exit_code == 0
    assert file.read_bytes() == written


def test_keypoints_are_where_mmpose_decodes_them(store: Path) -> None:
    """In an image of the input's size, MMPose's own codec is the oracle."""
    codec = KEYPOINT_CODECS.build({"type": "MSRAHeatmap", "input_size": (32, 64), "heatmap_size": (8, 16), "sigma": 1})
    opened = open_store(store)
    for heatmaps in opened.read([0, 1, 2, 3, 7]):
        expected, _ = codec.decode(heatmaps.copy())
        np.testing.assert_allclose(keypoints_of(heatmaps, (32, 64), opened.attributes), expected[0], atol=1e-5)


@pytest.mark.parametrize("udp", [False, True])
def test_keypoints_scale_with_the_image(store: Path, udp: bool) -> None:
    attributes = open_store(store).attributes.model_copy(update={"udp": udp})
    heatmaps = np.zeros((17, HEIGHT, WIDTH), np.float32)
    heatmaps[:, 3, 5] = 1
    x, y = keypoints_of(heatmaps, (96, 128), attributes)[0]
    # The input is 32×64: cell 5 of 8 is its pixel 5·4 (5·31/7 for UDP), and pixels grow around their centres.
    assert x == pytest.approx(((5 * 31 / 7 if udp else 20) + 0.5) * 3 - 0.5)
    assert y == pytest.approx(((3 * 63 / 15 if udp else 12) + 0.5) * 2 - 0.5)


def test_export_coco_loads_as_results(cli: Cli, tmp_path: Path, manifest: Manifest, store: Path) -> None:
    from pycocotools.coco import COCO

    images = [
        {"id": 100 + i, "file_name": row.path, "width": 20 + i, "height": 50} for i, row in enumerate(manifest.rows)
    ]
    people = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "person"}]}
    (tmp_path / "people.json").write_text(json.dumps(people))
    out = tmp_path / "results.json"
    export = ("export", store, "--format", "coco", "--manifest", tmp_path / "manifest.csv", "--out", out)
    assert cli(*export, "--annotations", tmp_path / "people.json").exit_code == 0
    results = COCO(str(tmp_path / "people.json")).loadRes(str(out))
    assert results.getImgIds(catIds=[1]) == [100 + i for i in range(COUNT) if i != SKIPPED]
    (person,) = results.imgToAnns[102]
    triples = np.array(person["keypoints"]).reshape(17, 3)
    opened = open_store(store)
    np.testing.assert_allclose(
        triples[:, :2], keypoints_of(opened.read([2])[0], (22, 50), opened.attributes), atol=0.006
    )
    np.testing.assert_allclose(triples[:, 2], opened.scores[2], atol=1e-5)
    assert cli(*export).exit_code == 0
    assert [result["image_id"] for result in json.loads(out.read_text())][:5] == [1, 2, 3, 4, 6]
    twice = replace(manifest.rows[1], key="gallery/again.png", split="gallery")
    write_manifest(tmp_path / "manifest.csv", [*manifest.rows, twice], manifest.root)
    assert cli(*export, "--annotations", tmp_path / "people.json").exit_code == 0
    of_one = COCO(str(tmp_path / "people.json")).loadRes(str(out)).imgToAnns[101]
    assert len(of_one) == 1


def test_exports_follow_the_manifests_order(cli: Cli, tmp_path: Path, manifest: Manifest, store: Path) -> None:
    """A manifest of some of the images, in another order and under other keys."""
    some = [replace(row, key=f"any/{row.path}") for row in (*manifest.rows[9:5:-1], manifest.rows[SKIPPED])]
    write_manifest(tmp_path / "some.csv", some, manifest.root)
    export = ("export", store, "--format", "coco", "--out")
    assert cli(*export, tmp_path / "all.json", "--manifest", tmp_path / "manifest.csv").exit_code == 0
    assert cli(*export, tmp_path / "some.json", "--manifest", tmp_path / "some.csv").exit_code == 0
    of_all = {result["file_name"]: result for result in json.loads((tmp_path / "all.json").read_text())}
    results = json.loads((tmp_path / "some.json").read_text())
    assert [result["file_name"] for result in results] == ["9.png", "8.png", "7.png", "6.png"]
    assert [result["image_id"] for result in results] == [1, 2, 3, 4]
    assert all(result["keypoints"] == of_all[result["file_name"]]["keypoints"] for result in results)


@pytest.mark.parametrize("form", ["coco", "bpbreid", "kpr"])
def test_exports_count_the_manifests_images(
    cli: Cli, tmp_path: Path, manifest: Manifest, store: Path, form: str
) -> None:
    """Not the store's, which has more; an image that is query and gallery is one."""
    some = (*manifest.rows[:3], manifest.rows[SKIPPED])
    twice = replace(manifest.rows[1], key="gallery/again.png", split="gallery")
    write_manifest(tmp_path / "some.csv", [*some, twice], manifest.root)
    result = cli("export", store, "--format", form, "--manifest", tmp_path / "some.csv", "--out", tmp_path / "out")
    assert f"wrote {tmp_path / 'out'}: 3 images, 1 skipped\n" in result.output


def test_export_coco_refuses_what_does_not_fit(cli: Cli, tmp_path: Path, manifest: Manifest, store: Path) -> None:
    export = ("export", store, "--format", "coco", "--out", tmp_path / "r.json")
    assert "needs --manifest" in cli(*export).output
    other = (replace(manifest.rows[0], sha256="f" * 64), *manifest.rows[1:])
    write_manifest(tmp_path / "other.csv", other, manifest.root)
    result = cli(*export, "--manifest", tmp_path / "other.csv")
    assert result.exit_code == 2
    assert "lacks 1 of 11 images" in result.output
    (tmp_path / "a.json").write_text('{"images": []}')
    with_ids = (*export, "--manifest", tmp_path / "manifest.csv", "--annotations", tmp_path / "a.json")
    assert "lack 11 of the manifest's images" in cli(*with_ids).output
    (tmp_path / "a.json").write_text("[]")
    assert "are not COCO JSON" in cli(*with_ids).output
    for number in ("1e999", "7.9", "true", "7"):  # the last for two images
        listed = ", ".join(f'{{"id": {number}, "file_name": "{row.path}"}}' for row in manifest.rows)
        (tmp_path / "a.json").write_text(f'{{"images": [{listed}]}}')
        result = cli(*with_ids)
        assert (result.exit_code, "id is no whole number, or an id or image twice" in result.output) == (2, True)
    assert not (tmp_path / "r.json").exists()


def test_what_desktops_leave_in_a_store_is_no_damage(cli: Cli, store: Path) -> None:
    for name in (".DS_Store", "heatmaps/._zarr.json", "Thumbs.db", "heatmaps/desktop.ini"):
        (store / name).touch()
    assert cli("verify", store).exit_code == 0, cli("verify", store).output
    (store / "notes.txt").touch()
    assert "notes.txt does not belong to it" in cli("verify", store).output


def test_a_disk_without_room_for_hdf5_is_one_line(tmp_path: Path, store: Path) -> None:
    arguments = ["export", store, "--format", "hdf5", "--out", tmp_path / "out"]
    assert_refused_in_a_process(1000, "pirt_stages.pose", *arguments)
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.parametrize("form", ["npy", "coco"])
def test_a_disk_without_room_for_an_export_is_one_line(cli: Cli, tmp_path: Path, store: Path, form: str) -> None:
    more = ["--manifest", tmp_path / "manifest.csv"] if form == "coco" else []
    with files_up_to(1000):
        ended = cli("export", store, "--format", form, "--out", tmp_path / "out", *more)
    assert_refused_in_one_line(ended)
    assert not list(tmp_path.glob("*out*"))
