"""Every parser with valid files of its format: what a mutation of them comes to is a `PirtError` or a result."""

import io
import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from PIL import Image
from program_table import commands
from tiny_runs import SMALL, write_run
from tiny_stores import noise, write_store

from pirt.core.images import read_image
from pirt.core.manifest import ImageRow, Manifest, read_manifest, write_manifest
from pirt.core.sealed import sealed, unsealed
from pirt.core.weights import read_weights
from pirt.heatmaps.reader import open_store
from pirt.ranking.embeddings import EmbeddingsLineage, open_embeddings, write_embeddings
from pirt.ranking.params import load_evaluate_params
from pirt.ranking.results import read_metrics
from pirt.runs.params import Params, TrainParams, load_params
from pirt.runs.run import RECORD_FILE, read_record
from pirt.training.resume import TrainingState, load_state, resume_folder, save_state
from pirt.visual.data_summary import read_summary, summarise_data
from pirt.visual.rows import Selection
from pirt_stages.data.importing.archives import is_archive, unpacked
from pirt_stages.data.importing.layouts.table import CSV
from pirt_stages.data.importing.params import load_import_params
from pirt_stages.pose.extraction.params import load_extract_params
from pirt_stages.pose.networks.network import build_network, read_config
from pirt_stages.pose.training.labels import read_keypoints
from pirt_stages.pose.training.params import load_train_params
from pirt_stages.pose.training.small_hrnet import small_hrnet_config
from pirt_stages.report.params import load_report_params
from pirt_stages.report.writing import read_report

ROOT = Path(__file__).parents[2]
ROWS = tuple(
    ImageRow(f"{split}/{n}.png", f"{n}.png", split, n % 3 + 1, n, "0" * 64)  # type: ignore[arg-type]
    for n, split in enumerate(("query", "query", "gallery", "gallery", "train", "train"))
)


@dataclass(frozen=True)
class Target:
    """A parser, valid contents, and where in `folder` it expects one; `read` gets that path."""

    contents: tuple[bytes, ...]
    place: str
    read: Callable[[Path], object]
    seal: bool = False
    """Whether a mutated JSON is sealed again, so that more than its seal is looked at."""


def targets(folder: Path) -> Iterator[tuple[str, Target]]:
    """Make one valid file of each format in `folder`, and yield each parser by its name."""
    yield from _texts(folder)
    yield from _binaries(folder)
    yield from _archives()
    yield from _pictures()
    yield from _runs(folder)


def _texts(folder: Path) -> Iterator[tuple[str, Target]]:
    params = tuple(path.read_bytes() for path in (ROOT / "params.yaml", *ROOT.glob("pipelines/*/params.yaml")))
    loads = (
        lambda path: load_params(path, "pirt"), load_evaluate_params, load_extract_params, load_train_params,
        load_import_params, load_report_params, Selection.read,
    )  # fmt: skip
    yield "params", Target(params, "params.yaml", lambda path: _all_of(path, loads))
    write_manifest(folder / "m.csv", ROWS, folder)
    yield "manifest", Target(((folder / "m.csv").read_bytes(),), "manifest.csv", read_manifest)
    for row in ROWS:
        Image.new("RGB", (4, 8)).save(folder / row.path)
    table = "path,split,pid,camid\n" + "".join(f"{r.path},{r.split},{r.pid},{r.camid}\n" for r in ROWS)
    yield "own data", Target((table.encode(),), "own.csv", lambda path: replace(CSV, table=path.name).read(path.parent))
    labels: dict[str, Any] = {
        "images": [{"id": n, "file_name": row.path} for n, row in enumerate(ROWS)],
        "annotations": [{"image_id": n, "keypoints": [1.0, 2.0, 2] * 17, "area": 5.0} for n in range(len(ROWS))],
    }
    yield "keypoints", Target((json.dumps(labels).encode(),), "keypoints.json", read_keypoints)
    config = small_hrnet_config((64, 32), channels=4, sigma=1.0).to_dict()
    data = {name: config[name] for name in ("model", "test_dataloader")}
    for suffix in ("json", "yaml"):
        yield f"config.{suffix}", Target((json.dumps(data).encode(),), f"pose.{suffix}", _built)


def _built(path: Path) -> object:
    return build_network(read_config(str(path)), "fuzzed")


def _all_of(path: Path, loads: tuple[Callable[[Path], object], ...]) -> None:
    problems = []
    for load in loads:
        try:
            load(path)
        except ValueError as error:  # every one is asked; the first one's complaint is passed on
            problems.append(error)
    if problems:
        raise problems[0]


def _binaries(folder: Path) -> Iterator[tuple[str, Target]]:
    weights = {"a.weight": torch.rand(3, 4), "b": torch.zeros(2), "b.num_batches_tracked": torch.tensor(3)}
    for name, zipped in (("weights.pth", True), ("old weights.pth", False)):
        buffer = io.BytesIO()
        torch.save({"state_dict": weights, "meta": {"epoch": 3}}, buffer, _use_new_zipfile_serialization=zipped)
        yield name, Target((buffer.getvalue(),), "w.pth", read_weights)
    store = write_store(folder / "s.zarr", Manifest(ROWS, folder), ((32, 16), (8, 4)), noise(0, (8, 4), 4))
    files = sorted(path for path in store.rglob("*") if path.is_file())
    for file in files:
        place = file.relative_to(folder).as_posix()
        yield f"store {place}", Target((file.read_bytes(),), place, lambda _: _store_read(store))


def _store_read(path: Path) -> object:
    store = open_store(path)
    return store.read(slice(None)).sum() + store.scores.sum()


def _archives() -> Iterator[tuple[str, Target]]:
    names = ("a/1.jpg", "a/2.jpg", "b/" + "ü" * 60 + "x" * 60 + ".jpg")
    for mode in ("w", "w:gz", "w:bz2", "w:xz"):
        for kind in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode=mode, format=kind) as packed:  # type: ignore[call-overload]
                for name in names:
                    info = tarfile.TarInfo(name)
                    info.size, info.pax_headers = 5, {"comment": "x"}
                    packed.addfile(info, io.BytesIO(b"bytes"))
            yield f"tar {mode} {kind}", Target((buffer.getvalue(),), "a.tar", _unpacked)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name in names:
            zipped.writestr(name, "bytes" * 10)
    yield "zip", Target((buffer.getvalue(),), "a.zip", _unpacked)


def _unpacked(path: Path) -> object:
    target = path.with_name("unpacked")
    shutil.rmtree(target, ignore_errors=True)
    if not is_archive(path):
        return None
    with unpacked(path, target) as (_, folder):
        return folder


def _pictures() -> Iterator[tuple[str, Target]]:
    colours = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 16, 3), dtype=np.uint8))
    for kind in ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "PPM"):
        buffer = io.BytesIO()
        colours.save(buffer, kind)
        yield f"image {kind}", Target((buffer.getvalue(),), "image", read_image)


def _runs(folder: Path) -> Iterator[tuple[str, Target]]:
    run = write_run(folder / "run", SMALL, TrainParams(image_size=(32, 16)), (8, 4))
    record = read_record(run)
    content = (run / RECORD_FILE).read_bytes()
    for name, seal in (("run.json", False), ("sealed run.json", True)):
        yield name, Target((content,), f"run/{RECORD_FILE}", lambda path: read_record(path.parent), seal)
    safe = (run / "model.safetensors").read_bytes()[:4096]
    yield "safetensors", Target((safe, (run / "model.safetensors").read_bytes()), "w.safetensors", read_weights)
    save_state(folder / "t", TrainingState(step=3, network={"a": torch.rand(2)}, history=[{"loss": 1.0}]), record)
    state = resume_folder(folder / "t") / "state.pt"
    yield "state.pt", Target((state.read_bytes(),), "t.resume/state.pt", lambda _: load_state(folder / "t", record))
    metrics = tuple(path.read_bytes() for path in sorted((ROOT / "runs").glob("evaluate/*/metrics.json"))[:2])
    yield "metrics.json", Target(metrics, "metrics.json", read_metrics)
    # Not sealed again: in a damaged heap of texts the HDF5 library may go round for ever, where no signal reaches it.
    # `test_foreign_embeddings.py` tries what may be in a whole file.
    yield "embeddings.h5", Target((_embeddings(folder / "e.h5"),), "embeddings.h5", open_embeddings)
    summary = summarise_data(ROWS, np.ones((len(ROWS), 17), np.float32), set(), SMALL.part_groups)
    yield "data.json", Target((summary.model_dump_json().encode(),), "data.json", read_summary)
    report = (ROOT / "runs/report/tables/report.json").read_bytes()
    yield "report.json", Target((report,), "report/tables/report.json", lambda path: read_report(path.parents[1]))


def _embeddings(path: Path) -> bytes:
    images = [row for row in ROWS if row.split != "train"]
    lineage = EmbeddingsLineage(
        variant=None, seed=0, model=SMALL, train=TrainParams(), checkpoint_sha256="0", trained_on_manifest="1",
        trained_on_heatmaps=None, initial_weights_sha256=None, manifest_fingerprint="1", heatmaps_fingerprint=None,
        image_size=(32, 16),
    )  # fmt: skip
    groups = len(SMALL.part_groups)
    batch = {name: torch.rand(len(images), 8) for name in ("stripe", "patch")}
    batch |= {"groups": torch.rand(len(images), groups, 8), "confidence": torch.rand(len(images), groups)}
    write_embeddings(path, images, lineage, [batch])
    return path.read_bytes()


def sealed_again(content: bytes) -> bytes:
    """Return a record with a seal that fits it, where it is one."""
    try:
        record = json.loads(content)
        return sealed({name: value for name, value in record.items() if name != "sha256"}).encode()
    except (ValueError, AttributeError, RecursionError):
        return content


LEAVES = [(words, command) for words, command in commands() if not isinstance(command, click.Group)]
assert unsealed(sealed({"a": 1})) == {"a": 1}
assert Params()
