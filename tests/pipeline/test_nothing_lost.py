"""Every command that replaces an output, refused or stopped over a finished one: what is there stays, byte for byte."""

import os
import random
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from folder_contents import contents
from forked_programs import ctrl_c_after, few_files, forked
from program_table import PROGRAMS
from small_disks import files_up_to

from pirt.core.manifest import read_manifest, write_manifest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

PARAMS = """\
pose:
  train: {epochs: 1, channels: 4, batch_size: 16, input_size: [128, 64]}
model: {backbone: resnet18_ibn_a, width: 4, strides: [1, 2, 1, 1], bottleneck: 8, feedforward: 16, confidence_hidden: 8}
variants:
  pirt: {inter_layers: 1}
train: {image_size: [128, 64], epochs: 1, identities: 4, instances: 2, warmup_epochs: 0}
"""
NETWORK = "--config pose/config.py --checkpoint pose/checkpoint.pth"
IMAGES = "--manifest manifest.csv --heatmaps heatmaps.zarr"
COMMANDS = {
    "synthesize": "pirt-data synthesize --profile smoke --contact-sheet sheet.png --out data",
    "import": "pirt-data import data --layout market1501 --out manifest.csv",
    "pose": "pirt-pose train --params params.yaml --manifest manifest.csv --keypoints data/keypoints.json --out pose",
    "adapt": f"pirt-pose adapt --manifest manifest.csv {NETWORK} --out adapted.pth",
    "extract": f"pirt-pose extract --manifest manifest.csv {NETWORK} --restart --out heatmaps.zarr",
    "show": "pirt-pose show heatmaps.zarr --manifest manifest.csv --count 2 --out look.png",
    "hdf5": "pirt-pose export heatmaps.zarr --format hdf5 --out heatmaps.h5",
    "npy": "pirt-pose export heatmaps.zarr --format npy --out npy",
    "coco": "pirt-pose export heatmaps.zarr --format coco --manifest manifest.csv --out coco.json",
    "bpbreid": "pirt-pose export heatmaps.zarr --format bpbreid --manifest manifest.csv --out bpbreid",
    "kpr": "pirt-pose export heatmaps.zarr --format kpr --manifest manifest.csv --out kpr",
    "train": f"pirt-train --params params.yaml --variant pirt {IMAGES} --restart --out runs/pirt",
    "evaluate": f"pirt-eval --run runs/pirt {IMAGES} --out evaluations/pirt",
    "search": f"pirt-search --gallery evaluations/pirt/embeddings.h5 --run runs/pirt {IMAGES} "
    "--index-at index --out found",
    "onnx": "pirt-export onnx --run runs/pirt --out pirt.onnx",
    "tables": "pirt-report tables --benchmark any --metrics evaluations --out report",
    "figures": f"pirt-report figures --runs runs --evaluations evaluations {IMAGES} --out report",
    "html": "pirt-report html report",
    "backbone": "pirt-export backbone --run runs/pirt --out backbone.safetensors",
    "explore": f"pirt-report explore evaluations {IMAGES} --out explored",
    "where": "pirt-report where evaluations --manifest manifest.csv --keypoints data/keypoints.json --out where",
    "curve": "pirt-report curve evaluations --manifest manifest.csv --out curve",
    "reference": f"pirt-report reference --params params.yaml {IMAGES} --out reference",
}
_BEGUN = re.compile(r"\.(partial|resume)/")
WRONG = [
    ("synthesize", "--contact-sheet data", "is a directory"),
    ("synthesize", "--params none.yaml", "does not exist"),
    ("import", "--layout msmt17", "no "),
    ("import", "--levels person", "--levels"),
    ("pose", "--manifest none.csv", "does not exist"),
    ("pose", "--keypoints none.json", "none.json"),
    ("pose", "--params wrong.yaml", "unknown parameter"),
    ("pose", "--root empty", "missing under"),
    ("adapt", "--checkpoint none.pth", "does not exist"),
    ("adapt", "--checkpoint other.pth", "is not of network"),
    ("adapt", "--root empty", "cannot be used"),
    ("adapt", "--out pose/checkpoint.pth", "is also --checkpoint"),
    ("extract", "--checkpoint none.pth", "does not exist"),
    ("extract", "--checkpoint other.pth", "is not of network"),
    ("extract", "--config none.py", "none.py"),
    ("extract", "--manifest changed.csv", "changed after the import"),
    ("extract", "--root empty", "cannot be used"),
    ("extract", "--tau 1e-9", "tau"),
    ("extract", "--reuse none.zarr", "does not exist"),
    ("extract", "--params wrong.yaml", "unknown parameter"),
    ("show", "--manifest changed.csv", "lacks 1 of"),
    ("show", "--key none", "no image has the key"),
    ("hdf5", "--out heatmaps.zarr/zarr.json", "is a part of"),
    ("npy", "--out data", "would be lost"),
    ("coco", "--manifest changed.csv", "lacks 1 of"),
    ("coco", "--annotations none.json", "none.json"),
    ("coco", "--out manifest.csv", "is also --manifest"),
    ("bpbreid", "--manifest changed.csv", "lacks 1 of"),
    ("kpr", "--manifest changed.csv", "lacks 1 of"),
    ("train", "--params weights.yaml", "none.pth"),
    ("train", "--params wrong.yaml", "unknown parameter"),
    ("train", "--variant none", "no variant"),
    ("train", "--manifest changed.csv", "lacks 1 of"),
    ("train", "--heatmaps none.zarr", "does not exist"),
    ("train", "--init-from none", "none"),
    ("train", "--root empty", "missing under"),
    ("evaluate", "--run none", "not a finished run"),
    ("evaluate", "--manifest changed.csv", "lacks 1 of"),
    ("evaluate", "--root empty", "missing under"),
    ("evaluate", "--params wrong.yaml", "unknown parameter"),
    ("search", "--gallery none.h5", "do not exist"),
    ("search", "--key none", "no readable query"),
    ("search", "--run none", "not a finished run"),
    ("search", "--root empty", "missing under"),
    ("search", "--gallery-manifest few.csv", "come from another manifest"),
    ("onnx", "--run none", "not a finished run"),
    ("onnx", "--out runs/pirt/model.safetensors", "is a part of --run"),
    ("backbone", "--run none", "not a finished run"),
    ("tables", "--metrics none", "none"),
    ("figures", "--heatmaps none.zarr", "does not exist"),
    ("figures", "--manifest changed.csv", "lacks 1 of"),
    ("figures", "--root empty", "missing under"),
    ("explore", "--heatmaps none.zarr", "does not exist"),
    ("explore", "--keypoints none.json", "do not exist"),
    ("explore", "--root empty", "missing under"),
    ("where", "--keypoints none.json", "do not exist"),
    ("where", "--params params.yaml", "must have a list of `seeds`"),
    ("curve", "--manifest changed.csv", "trained on another manifest"),
    ("reference", "--heatmaps none.zarr", "does not exist"),
    ("reference", "--root empty", "missing under"),
]


def typed(line: str, more: str = "") -> Result:
    program, *words = line.split()
    return CliRunner().invoke(PROGRAMS[program], [*words, *more.split()], prog_name=program)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with an output of every command, and wrong inputs beside them; the working folder."""
    pytest.importorskip("mmpose")
    pytest.importorskip("faiss")
    pytest.importorskip("onnxscript")
    root, threads = tmp_path_factory.mktemp("finished"), torch.get_num_threads()
    # A fork lacks OpenMP's threads and would wait for them for ever.
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("PIRT_DEVICE", "cpu")
        patch.setenv("PIRT_WORKERS", "0")
        Path("params.yaml").write_text(PARAMS)
        Path("wrong.yaml").write_text(
            "pose: {train: {none: 1}, extract: {none: 1}}\ntrain: {none: 1}\nevaluate: {none: 1}\nvariants: {pirt: {}}"
        )
        Path("weights.yaml").write_text(
            PARAMS.replace("epochs: 1, identities", "backbone_weights: none.pth, identities")
        )
        Path("empty").mkdir()
        torch.save({"state_dict": {"head.weight": torch.zeros(1)}}, "other.pth")
        for name, line in COMMANDS.items():
            ended = typed(line)
            assert ended.exit_code == 0, (name, ended.output, ended.exception)
        manifest = read_manifest(Path("manifest.csv"))
        changed = replace(manifest.rows[0], sha256="f" * 64)
        write_manifest(Path("changed.csv"), (changed, *manifest.rows[1:]), manifest.root)
        write_manifest(Path("few.csv"), manifest.split("query"), manifest.root)
        yield root
    torch.set_num_threads(threads)


def outputs(root: Path) -> dict[str, bytes]:
    """Everything but what is kept to be gone on with, or left for the next run to remove."""
    return {name: content for name, content in contents(root).items() if not _BEGUN.search(name)}


@pytest.mark.parametrize(("name", "wrong", "said"), WRONG, ids=lambda part: part if isinstance(part, str) else None)
def test_wrong_input_leaves_what_is_there(finished: Path, name: str, wrong: str, said: str) -> None:
    before = contents(finished)
    ended = typed(COMMANDS[name], wrong)
    assert ended.exit_code == 2, ended.output
    assert said in ended.output
    assert contents(finished) == before


# KPR's files are smaller than that. Libraries leave what they could not write to the garbage collector to close.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - {"kpr"}))
def test_without_room_what_is_there_stays(finished: Path, name: str) -> None:
    # The first file that does not fit is the first of all, or one that is written late.
    for size in (256, 4_096, 65_536):
        before = outputs(finished)
        with files_up_to(size):
            ended = typed(COMMANDS[name])
        for folder in ("heatmaps.zarr.partial", "runs/pirt.resume"):
            shutil.rmtree(finished / folder, ignore_errors=True)
        if ended.exit_code == 0:
            assert size > 256
            return
        assert ended.exit_code == 2, (ended.output, ended.exception)
        assert outputs(finished) == before


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_with_few_open_files_what_is_there_stays(finished: Path, name: str) -> None:
    for count in (6, 10, 16):
        before = outputs(finished)
        code, said = forked(COMMANDS[name], lambda count=count: few_files(count))
        if code == 0:
            continue
        assert (code, "Traceback" in said) == (2, False), said
        assert said.splitlines()[-1].startswith("Error: ")
        assert "Too many open files" in said.splitlines()[-1]
        assert outputs(finished) == before


# What a training had begun anew it goes on with; `test_a_signal_saves_after_the_step_and_exits` holds that.
@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - {"train"}))
def test_ctrl_c_at_any_moment_leaves_what_is_there(finished: Path, name: str) -> None:
    began = sum(os.times()[2:4])
    assert forked(COMMANDS[name], lambda: None)[0] == 0
    whole, chance = sum(os.times()[2:4]) - began, random.Random(name)
    for _ in range(4):
        before, moment = outputs(finished), chance.uniform(0, whole)
        code, said = forked(COMMANDS[name], lambda moment=moment: ctrl_c_after(moment))
        assert "KeyboardInterrupt" not in said
        if code == 0:
            continue
        assert (code, "Traceback" in said) == (130, False), said
        assert said.splitlines()[-1] == "Aborted!", said
        assert outputs(finished) == before


def test_a_table_is_not_imported_onto_itself(finished: Path) -> None:
    Path("table.csv").write_text("path,split,pid,camid\na.png,train,1,1\n")
    ended = typed("pirt-data import table.csv --out table.csv")
    assert ended.exit_code == 2
    assert "is also ROOT" in ended.output
    assert Path("table.csv").read_text().startswith("path,")
