"""Extraction: the same bytes whichever way, bad images found first, wrong inputs told in one line."""

import errno
import hashlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from PIL import Image
from pose_people import People, TinyNetwork, make_people

from pirt.core.errors import DataError, ParamsError, StoreError
from pirt.core.files import sha256_of
from pirt.core.manifest import ImageRow, Manifest, write_manifest
from pirt.heatmaps.reader import open_store
from pirt_stages.pose.cli import main
from pirt_stages.pose.cluster import code_sha256, on_cluster
from pirt_stages.pose.extraction import extract as recipe
from pirt_stages.pose.extraction import inference
from pirt_stages.pose.extraction.extract import ExtractOptions, Work
from pirt_stages.pose.extraction.geometry import geometry_of
from pirt_stages.pose.extraction.inference import Device, find_network, load_network, spanning_heatmaps
from pirt_stages.pose.extraction.params import ExtractParams
from pirt_stages.pose.extraction.reuse import Taken
from pirt_stages.pose.extraction.writer import StoreWriter
from pirt_stages.pose.networks.network import read_config


@pytest.fixture
def params(tiny: TinyNetwork) -> ExtractParams:
    return ExtractParams(
        config=str(tiny.config), checkpoint=str(tiny.checkpoint), input_size=(64, 32), codec="float32", batch_size=2
    )


def extract(
    manifest: Manifest,
    out: Path,
    params: ExtractParams,
    runner: Any = None,
    skip_bad: bool = False,
    restart: bool = False,
    device: Device = "cpu",
    **changes: object,
) -> Work:
    options = ExtractOptions(skip_bad=skip_bad, restart=restart, workers=2, device=device)
    return recipe.extract(manifest, out, params.model_copy(update=changes), options, runner)


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "SHARD_SIZE", 5)


def digest(store: Path) -> str:
    files = sorted(file for file in store.rglob("*") if file.is_file())
    listing = [(file.relative_to(store).as_posix(), hashlib.sha256(file.read_bytes()).hexdigest()) for file in files]
    return str(listing)


@pytest.mark.parametrize("geometry", ["resize", "topdown"])
@pytest.mark.parametrize("flip_test", [False, True])
def test_the_store_holds_what_the_network_says_of_each_image(
    people: People, params: ExtractParams, tmp_path: Path, geometry: Any, flip_test: bool
) -> None:
    extract(people.manifest, tmp_path / "h.zarr", params, geometry=geometry, flip_test=flip_test)
    stored = open_store(tmp_path / "h.zarr").read(slice(None))
    source = find_network(params.config, params.checkpoint, "float32", "cpu", flip_test=flip_test)
    how = geometry_of(read_config(source.config), geometry, (64, 32), "tiny")
    for row, heatmaps in zip(people.manifest.rows, stored, strict=True):
        image = Image.open(people.manifest.image_path(row))
        alone = spanning_heatmaps(
            load_network(source), how, how.prepare(image)[None].copy(), np.array([image.size]), flip_test
        )[0]
        assert np.allclose(heatmaps, alone.clip(0, 1), atol=1e-6)
    assert len(np.unique(stored.round(5), axis=0)) == len(stored)


def test_a_run_that_stops_goes_on_to_the_same_bytes(
    people: People, params: ExtractParams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract(people.manifest, tmp_path / "whole.zarr", params)
    write = StoreWriter.write
    written: list[int] = []

    def fails_at_the_second(self: StoreWriter, shard: int, heatmaps: NDArray[np.float32], taken: Taken) -> None:
        if len(written) == 1:
            raise KeyboardInterrupt
        written.append(shard)
        write(self, shard, heatmaps, taken)

    monkeypatch.setattr(StoreWriter, "write", fails_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        extract(people.manifest, tmp_path / "h.zarr", params)
    assert not (tmp_path / "h.zarr").exists()

    def counts(self: StoreWriter, shard: int, heatmaps: NDArray[np.float32], taken: Taken) -> None:
        written.append(shard)
        write(self, shard, heatmaps, taken)

    monkeypatch.setattr(StoreWriter, "write", counts)
    extract(people.manifest, tmp_path / "h.zarr", params)
    assert written == [0, 1, 2]  # the first was not made twice
    assert digest(tmp_path / "h.zarr") == digest(tmp_path / "whole.zarr")
    extract(people.manifest, tmp_path / "h.zarr", params)
    assert written == [0, 1, 2]  # a finished store is left alone


def test_the_bytes_do_not_depend_on_the_number_of_cores(people: People, params: ExtractParams, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    digests = set()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            extract(people.manifest, tmp_path / f"{threads}.zarr", params)
            with ThreadPoolExecutor(1) as later:
                assert later.submit(torch.get_num_threads).result() == threads
            digests.add(digest(tmp_path / f"{threads}.zarr"))
    finally:
        torch.set_num_threads(before)
    assert len(digests) == 1


def test_a_worker_writes_the_bytes_of_the_local_run(
    people: People, params: ExtractParams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pirt_stages.pose.cluster import compute_shard

    extract(people.manifest, tmp_path / "here.zarr", params)
    monkeypatch.setattr(
        recipe, "run_here", lambda work: [compute_shard(shard, work.part(shard), code_sha256()) for shard in (2, 0, 1)]
    )
    extract(people.manifest, tmp_path / "there.zarr", params)
    assert digest(tmp_path / "there.zarr") == digest(tmp_path / "here.zarr")


def test_only_the_workers_of_a_cluster_need_the_device(
    people: People, params: ExtractParams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pirt_stages.pose import cluster

    def at_a_worker(work: recipe.Work) -> None:
        assert work.network.device == "cuda"
        cluster.compute_shard(0, work.part(0), cluster.code_sha256())

    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ParamsError, match="device cuda is not available here"):
        extract(people.manifest, tmp_path / "h.zarr", params, nullcontext(at_a_worker), device="cuda")
    assert (tmp_path / "h.zarr.partial").is_dir()  # it got as far as the workers


@pytest.mark.parametrize("address", ["nonsense://x", "nonsense", "", "tls://127.0.0.1:1"])
def test_an_unreachable_scheduler_is_one_line_at_once(
    people: People, params: ExtractParams, tmp_path: Path, address: str
) -> None:
    with pytest.raises(ParamsError, match=f"dask scheduler '{address}' cannot be reached"):
        extract(people.manifest, tmp_path / "h.zarr", params, on_cluster(address))
    assert not list(tmp_path.glob("h.zarr*"))


def _spoil(people: People) -> list[str]:
    first, second, third = (people.manifest.image_path(row) for row in people.manifest.rows[2:5])
    first.write_bytes(b"")
    second.write_bytes(second.read_bytes()[:60])
    third.unlink()
    return [path.name for path in (first, second, third)]


def test_bad_images_are_listed_before_the_network_starts(people: People, params: ExtractParams, tmp_path: Path) -> None:
    names = _spoil(people)
    with pytest.raises(DataError, match="3 images cannot be used") as told:
        extract(people.manifest, tmp_path / "h.zarr", params)
    assert all(name in str(told.value) for name in names)
    assert not list(tmp_path.glob("h.zarr*"))


def test_every_bad_image_is_listed(params: ExtractParams, tmp_path: Path) -> None:
    crowd = make_people(tmp_path / "crowd", identities=1, images=30)
    for row in crowd.manifest.rows:
        crowd.manifest.image_path(row).write_bytes(b"")
    with pytest.raises(DataError, match="30 images cannot be used") as told:
        extract(crowd.manifest, tmp_path / "h.zarr", params)
    assert all(row.path in str(told.value) for row in crowd.manifest.rows)
    with pytest.raises(DataError, match=r"none of the 30 images can be used, the first: .*; check the data root"):
        extract(crowd.manifest, tmp_path / "h.zarr", params, skip_bad=True)


@pytest.mark.parametrize("skip_bad", [False, True])
def test_images_changed_after_the_import_are_refused(
    people: People, params: ExtractParams, tmp_path: Path, skip_bad: bool
) -> None:
    first, second = (people.manifest.image_path(row) for row in people.manifest.rows[:2])
    first.write_bytes(second.read_bytes())
    with pytest.raises(DataError, match=rf"1 images were changed after the import, the first is {first}; restore"):
        extract(people.manifest, tmp_path / "h.zarr", params, skip_bad=skip_bad)
    assert not list(tmp_path.glob("h.zarr*"))


def test_what_a_disk_refuses_is_not_skipped(
    people: People, params: ExtractParams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, **given: object) -> Image.Image:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(DataError, match=r"refused to read image .*\d\.png, which may be good: .*Stale file handle"):
        extract(people.manifest, tmp_path / "h.zarr", params, skip_bad=True)


def test_what_opencv_cannot_warp_is_a_bad_image(people: People, params: ExtractParams, tmp_path: Path) -> None:
    Image.new("RGB", (40_000, 3)).save(people.manifest.root / "long.png")
    row = ImageRow("train/long", "long.png", "train", 1, 1, sha256_of(people.manifest.root / "long.png"))
    longer = write_manifest(tmp_path / "longer.csv", [*people.manifest.rows, row], people.manifest.root)
    extract(longer, tmp_path / "resize.zarr", params)
    with pytest.raises(DataError, match=r"long\.png has a side of 40000 pixels, topdown takes up to 32766"):
        extract(longer, tmp_path / "topdown.zarr", params, geometry="topdown")
    Image.new("RGB", (32_766, 3)).save(people.manifest.root / "long.png")
    row = replace(row, sha256=sha256_of(people.manifest.root / "long.png"))
    longer = write_manifest(tmp_path / "longer.csv", [*people.manifest.rows, row], people.manifest.root)
    extract(longer, tmp_path / "topdown.zarr", params, geometry="topdown")


def test_skipped_images_are_recorded_and_change_no_other(people: People, params: ExtractParams, tmp_path: Path) -> None:
    extract(people.manifest, tmp_path / "whole.zarr", params)
    _spoil(people)
    extract(people.manifest, tmp_path / "h.zarr", params, skip_bad=True)
    store = open_store(tmp_path / "h.zarr")
    assert [image.key for image in store.attributes.skipped] == [row.key for row in people.manifest.rows[2:5]]
    assert not any(str(tmp_path) in image.reason for image in store.attributes.skipped)
    heatmaps, whole = store.read(slice(None)), open_store(tmp_path / "whole.zarr").read(slice(None))
    assert not heatmaps[2:5].any()
    assert np.array_equal(np.delete(heatmaps, [2, 3, 4], axis=0), np.delete(whole, [2, 3, 4], axis=0))


def test_where_the_images_lie_does_not_change_the_bytes(people: People, params: ExtractParams, tmp_path: Path) -> None:
    extract(people.manifest, tmp_path / "here.zarr", params)
    people.manifest.root.rename(tmp_path / "elsewhere")
    moved = write_manifest(tmp_path / "moved.csv", people.manifest.rows, tmp_path / "elsewhere")
    extract(moved, tmp_path / "there.zarr", params)
    assert digest(tmp_path / "there.zarr") == digest(tmp_path / "here.zarr")


def test_a_store_made_otherwise_is_not_mixed_with(people: People, params: ExtractParams, tmp_path: Path) -> None:
    extract(people.manifest, tmp_path / "h.zarr", params)
    with pytest.raises(StoreError, match="codec"):
        extract(people.manifest, tmp_path / "h.zarr", params, codec="tau8")
    extract(people.manifest, tmp_path / "h.zarr", params, codec="tau8", restart=True)
    assert open_store(tmp_path / "h.zarr").attributes.codec == "tau8"


def _run(people: People, tiny: TinyNetwork, out: Path, *more: str) -> Result:
    command = ["extract", "--manifest", people.manifest_path, "--out", out, "--input-size", 64, 32]
    network = ["--config", tiny.config, "--checkpoint", tiny.checkpoint]
    return CliRunner().invoke(main, [*map(str, [*command, *network]), *more])


def test_the_program(people: People, tiny: TinyNetwork, tmp_path: Path) -> None:
    done = _run(people, tiny, tmp_path / "h.zarr")
    assert done.exit_code == 0, done.output
    assert "heatmaps 16x8 of 12 images, 0 skipped" in done.output
    attributes = open_store(tmp_path / "h.zarr").attributes
    assert (attributes.codec, attributes.tau, attributes.network) == ("tau8", 0.001, "tiny")


def test_the_program_says_what_it_skipped(people: People, tiny: TinyNetwork, tmp_path: Path) -> None:
    _spoil(people)
    done = _run(people, tiny, tmp_path / "h.zarr", "--skip-bad")
    assert "heatmaps 16x8 of 12 images, 3 skipped" in done.stdout
    assert "  skipped train/0002.png: image 0002.png has zero bytes\n" in done.stderr


@pytest.mark.parametrize(("sized", "noted"), [([], False), (["64", "32"], False), (["128", "32"], True)])
def test_a_size_that_is_not_the_networks_own_is_said_at_once_and_later(
    people: People, tiny: TinyNetwork, tmp_path: Path, sized: list[str], noted: bool
) -> None:
    line = "note: network tiny was trained at 64x32 and runs at 128x32, of another shape; --input-size 64 32 is its own"
    command = ["extract", "--manifest", people.manifest_path, "--out", tmp_path / "h.zarr"]
    network = ["--config", tiny.config, "--checkpoint", tiny.checkpoint, *(["--input-size", *sized] if sized else [])]
    done = CliRunner().invoke(main, [*map(str, [*command, *network])])
    assert done.exit_code == 0, done.output
    assert (line in done.stderr.splitlines()) == noted
    info = CliRunner().invoke(main, ["info", str(tmp_path / "h.zarr")]).output.splitlines()
    assert (line in info) == noted
    assert ["trained_size", "64", "32"] in [line.split() for line in info]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--config", "td-hm_hrnet-w99"], "neither a file nor"),
        (["--checkpoint", "none.pth"], "checkpoint none.pth does not exist"),
        (["--root", "nowhere"], "data root nowhere is not a folder"),
        (["--input-size", "100", "50"], "multiples of 32"),
        (["--tau", "1e-9"], "tau8 cannot keep"),
        (["--tau", "1e-50"], "tau8 needs 0 < tau < 1"),
        (["--device", "cuda"], "cuda"),
    ],
)
def test_wrong_inputs_are_one_line_and_leave_nothing(
    people: People, tiny: TinyNetwork, tmp_path: Path, more: list[str], said: str
) -> None:
    done = _run(people, tiny, tmp_path / "h.zarr", *more)
    lines = [line for line in done.output.splitlines() if "checking" not in line]
    assert (done.exit_code, len(lines)) == (2, 1), done.output
    assert said in lines[0]
    assert not list(tmp_path.glob("h.zarr*"))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("backbone.conv1.weight", np.nan, "NaN or infinity in backbone.conv1.weight"),
        ("backbone.bn1.running_var", -1.0, "backbone.bn1.running_var holds a negative variance"),
        ("backbone.conv1.weight", 3e38, "the network gives NaN or infinity"),
    ],
)
def test_weights_that_give_no_numbers_are_one_line(
    people: People, tiny: TinyNetwork, tmp_path: Path, name: str, value: float, said: str
) -> None:
    checkpoint = torch.load(tiny.checkpoint, weights_only=True)
    checkpoint["state_dict"][name].flatten()[:] = value
    torch.save(checkpoint, tmp_path / "broken.pth")
    done = _run(people, tiny, tmp_path / "h.zarr", "--checkpoint", str(tmp_path / "broken.pth"))
    assert (done.exit_code, len(done.output.splitlines())) == (2, 1), done.output
    assert said in done.output
    assert not list(tmp_path.glob("h.zarr*"))


def test_offline_the_default_network_says_where_its_weights_belong(
    people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*given: object) -> None:
        raise OSError("offline")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    command = ["extract", "--manifest", people.manifest_path, "--out", tmp_path / "h.zarr"]
    done = CliRunner().invoke(main, [*map(str, command)])
    assert done.exit_code == 2
    assert "td-hm_hrnet-w48_8xb32-210e_coco-256x192-0e67c616_20220913.pth" in done.output
    assert str(tmp_path / "checkpoints") in done.output


class _MovedTo(Exception):  # noqa: N818  (stops a program where a GPU would take over)
    pass


@pytest.mark.parametrize(
    ("gpu", "asked", "environment", "device"),
    [
        (True, [], None, "cuda"),
        (False, [], None, "cpu"),
        (True, ["--device", "cpu"], None, "cpu"),
        (True, [], "cpu", "cpu"),
        (True, ["--device", "cuda"], "cpu", "cuda"),
    ],
)
@pytest.mark.parametrize("command", ["train", "extract"])
def test_a_gpu_is_used_if_there_is_one(
    people: People,
    tiny: TinyNetwork,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    gpu: bool,
    asked: list[str],
    environment: str | None,
    device: str,
) -> None:
    """The network says where it is moved to; no machine of the tests has a GPU for it to go on."""
    move = torch.nn.Module.to

    def told(network: torch.nn.Module, *to: Any, **more: Any) -> torch.nn.Module:
        if to and isinstance(to[0], str):
            raise _MovedTo(to[0])
        return move(network, *to, **more)

    # A network that an earlier test has loaded would not move any more.
    inference._load_network.cache_clear()
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)
    monkeypatch.setattr(torch.nn.Module, "to", told)
    inputs = {
        "train": ["--keypoints", people.keypoints],
        "extract": ["--config", tiny.config, "--checkpoint", tiny.checkpoint, "--input-size", 64, 32],
    }
    arguments = ["--manifest", people.manifest_path, "--out", tmp_path / "out", *inputs[command], *asked]
    done = CliRunner().invoke(main, [command, *map(str, arguments)], env={"PIRT_DEVICE": environment})
    assert isinstance(done.exception, _MovedTo), done.output
    assert done.exception.args == (device,)


def test_another_config_of_the_same_name_is_another_network(
    people: People, params: ExtractParams, tiny: TinyNetwork, tmp_path: Path
) -> None:
    extract(people.manifest, tmp_path / "h.zarr", params)
    (tmp_path / "tiny.py").write_text(tiny.config.read_text().replace("bgr_to_rgb=True", "bgr_to_rgb=False"))
    with pytest.raises(StoreError, match="was made with other config_sha256"):
        extract(people.manifest, tmp_path / "h.zarr", params, config=str(tmp_path / "tiny.py"))


def test_a_store_needs_a_name_and_a_cluster_a_device(people: People, params: ExtractParams) -> None:
    with pytest.raises(ParamsError, match="cannot name a store"):
        extract(people.manifest, Path("/"), params)
    command = ["extract", "--manifest", str(people.manifest_path), "--out", "h.zarr"]
    cluster = ["--scheduler", "tcp://any:8786"]
    for more in (cluster, [*cluster, "--device", "auto"], ["--device", "auto", *cluster]):
        done = CliRunner().invoke(main, [*command, *more], env={"PIRT_DEVICE": None})
        assert (done.exit_code, "--device cpu or --device cuda" in done.output) == (2, True)


def test_sizes_that_a_network_cannot_take_are_one_line(
    people: People, params: ExtractParams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: object, **more: object) -> None:
        raise RuntimeError("The size of tensor a (3) must match\nthe size of tensor b (4)")

    monkeypatch.setattr(recipe, "spanning_heatmaps", refuse)
    with pytest.raises(ParamsError, match=r"cannot take images of \(64, 32\) \(The size of tensor a"):
        extract(people.manifest, tmp_path / "h.zarr", params)
