"""The program as it is called: what it writes, refuses, survives."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner
from foreign_shards import with_foreign_shard
from safetensors.torch import load_file, save_file
from small_disks import assert_refused_in_one_line, files_up_to
from tiny_persons import PARAMS, training_arguments, write_heatmaps, write_persons
from tiny_stores import noise, write_store

from pirt.core.files import sha256_of
from pirt.core.manifest import read_manifest, write_manifest
from pirt.ranking import evaluation as ranking
from pirt.runs.dataset import PersonDataset
from pirt.runs.run import load_run
from pirt.training import processes, recipe
from pirt.training.resume import resume_folder
from pirt.training.setup import starting_network
from pirt_stages.evaluate.cli import main as evaluate
from pirt_stages.train.cli import main
from pirt_stages.train.evaluation import GalleryEvaluator

# Runs the program and kills it, where a plain kill would come at a moment that chance chooses.
KILLED = """
import os, signal, sys, torch
from pirt.training import recipe
from pirt_stages.train.cli import main

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

recipe.SAVE_SECONDS = 0
moment, arguments = sys.argv[1], sys.argv[2:]
seed_step, save = recipe.seed_step, torch.save
saved = []

def killed_in_step(seed, step, rank):
    if step == 5:
        kill()
    seed_step(seed, step, rank)

def killed_in_writing(state, file):
    saved.append(file)
    if len(saved) == 2:
        file.write(b"half a state")
        kill()
    save(state, file)

if moment == "step":
    recipe.seed_step = killed_in_step
elif moment == "writing":
    torch.save = killed_in_writing
else:
    recipe.save_run = lambda *_: kill()
torch.set_num_threads(1)
main(arguments)
"""


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def run(*arguments):
    return CliRunner().invoke(main, list(arguments))


def in_process(script, *arguments):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, "-c", script, *arguments], env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def whole(persons, tmp_path_factory):
    """A training that nothing interrupted."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("whole") / "run"
    result = run(*training_arguments(persons, out))
    torch.set_num_threads(before)
    assert result.exit_code == 0, result.output
    return out, result.output


def assert_same_run(one: Path, two: Path):
    files = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(two) for path in two.rglob("*") if path.is_file())
    for file in files:
        assert (one / file).read_bytes() == (two / file).read_bytes(), file


def test_the_death_of_a_loader_process_is_one_line(arguments, tmp_path, monkeypatch):
    monkeypatch.setattr(PersonDataset, "__getitems__", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    ended = run(*arguments, "--workers", "1", "--image-memory", "0")
    assert ended.exit_code == 2, ended.exception
    said = ended.stderr.splitlines()[-1]
    assert re.fullmatch(r"Error: a process that loads images died \(.*\), .* with fewer --workers \(0 for none\)", said)
    assert not (tmp_path / "run" / "run.json").exists()
    assert not (tmp_path / "run" / "embeddings.h5").exists()


def test_a_shard_of_another_store_is_refused(persons, arguments, tmp_path):
    def write(path, seed):
        return write_store(path, read_manifest(persons / "manifest.csv"), ((64, 32), (16, 8)), noise(seed, (16, 8), 8))

    refused = run(*arguments, "--heatmaps", str(with_foreign_shard(write, tmp_path)))
    assert refused.exit_code == 2
    assert re.fullmatch(r"Error: \S+c.0.0.0.0 is damaged: .* is not the file that was sealed[^\n]*\n", refused.stderr)
    assert "make it again" in refused.stderr
    assert not (tmp_path / "run").exists()


def test_a_run_folder_holds_weights_record_and_curves(whole, persons):
    out, output = whole
    model, record = load_run(out)
    assert not model.training
    assert record.variant == "pirt"
    assert (record.params.seed, record.num_classes, record.heatmap_size) == (3, 6, (16, 8))
    assert record.params.model.inter_layers == 1
    curve = (out / "logs/plots/metrics/loss/total.tsv").read_text().splitlines()
    assert curve[0] == "step\ttotal"
    assert [line.split("\t")[0] for line in curve[1:]] == ["1", "2", "3"]
    assert json.loads((out / "logs/metrics.json").read_text())["step"] == 3
    assert "24 images of 6 identities, 3 epochs of 3 steps, batch 4×2" in output
    assert "data wait" in output
    assert not resume_folder(out).exists()


def test_the_same_training_leaves_the_same_bytes_with_any_number_of_workers(whole, persons, tmp_path):
    again = tmp_path / "again"
    result = run(*training_arguments(persons, again, "--workers", "2", "--image-memory", "0"))
    assert result.exit_code == 0, result.output
    assert_same_run(whole[0], again)


def test_another_seed_trains_another_model(whole, persons, tmp_path):
    result = run(*training_arguments(persons, tmp_path / "run", "--seed", "4"))
    assert result.exit_code == 0, result.output
    ours, theirs = (load_file(out / "model.safetensors") for out in (whole[0], tmp_path / "run"))
    assert not torch.equal(ours["global_neck.classifier"], theirs["global_neck.classifier"])


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        ("step", "going on after step 5, epoch 2"),
        pytest.param("writing", "going on after step 1, epoch 1", marks=pytest.mark.slow),
        pytest.param("end", "all 9 steps are done", marks=pytest.mark.slow),
    ],
)
def test_killed_and_resumed_equals_uninterrupted(whole, persons, tmp_path, moment, words):
    out = tmp_path / "run"
    killed = in_process(KILLED, moment, *training_arguments(persons, out))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (out / "model.safetensors").exists()
    resumed = run(*training_arguments(persons, out))
    assert resumed.exit_code == 0, resumed.output
    assert words in resumed.output
    assert_same_run(whole[0], out)
    assert not resume_folder(out).exists()


@pytest.mark.parametrize(
    ("number", "code", "step", "words"),
    [
        (signal.SIGTERM, 143, 3, ("stopped after step 5", "going on after step 5, epoch 2")),
        pytest.param(
            *(signal.SIGTERM, 143, 2, ("stopped after step 3", "going on after step 3, epoch 2")),
            marks=pytest.mark.slow,
        ),
        (signal.SIGINT, 130, 4, ("stopped after step 6", "going on after step 6, epoch 3")),
    ],
)
def test_a_signal_saves_after_the_step_and_exits(whole, arguments, tmp_path, monkeypatch, number, code, step, words):
    seed_step = recipe.seed_step

    def signalled(seed, at, rank):
        if at == step:
            os.kill(os.getpid(), number)
        seed_step(seed, at, rank)

    monkeypatch.setattr(recipe, "seed_step", signalled)
    handler = signal.getsignal(number)
    stopped = run(*arguments)
    assert stopped.exit_code == code, stopped.output
    assert words[0] in stopped.output
    assert signal.getsignal(number) is handler
    monkeypatch.setattr(recipe, "seed_step", seed_step)
    resumed = run(*arguments)
    assert resumed.exit_code == 0, resumed.output
    assert words[1] in resumed.output
    assert_same_run(whole[0], tmp_path / "run")


@pytest.mark.parametrize(("minutes", "saved_after"), [(0, [9]), (1, [5, 9]), (2.5, [2, 4, 6, 8, 9])])
def test_the_state_is_saved_by_the_clock_and_at_the_end(arguments, monkeypatch, minutes, saved_after):
    clock, saved = [0.0], []
    seed_step, save_state = recipe.seed_step, recipe.save_state

    def step_of_some_minutes(*given):
        clock[0] += 60 * minutes
        seed_step(*given)

    def watched(out, state, record):
        saved.append(state.step)
        save_state(out, state, record)

    monkeypatch.setattr(recipe, "monotonic", lambda: clock[0])
    monkeypatch.setattr(recipe, "seed_step", step_of_some_minutes)
    monkeypatch.setattr(recipe, "save_state", watched)
    assert run(*arguments).exit_code == 0
    assert saved == saved_after


@pytest.mark.slow
def test_an_evaluation_that_is_killed_costs_no_step(persons, tmp_path, monkeypatch):
    parameters = edited(persons, tmp_path, ("epochs: 3", "epochs: 3\n  evaluate_every: 2"))
    uninterrupted, out = tmp_path / "whole", tmp_path / "run"
    for folder in (uninterrupted, out):
        call = replaced(training_arguments(persons, folder), "--params", parameters)
        with monkeypatch.context() as patch:
            if folder == out:
                patch.setattr(GalleryEvaluator, "__call__", killed)
                with pytest.raises(_Killed):
                    CliRunner().invoke(main, call, catch_exceptions=False)
        done = run(*call)
        assert done.exit_code == 0, done.output
    assert "going on after step 6, epoch 3" in done.output
    assert_same_run(uninterrupted, out)


class _Killed(BaseException):
    pass


def killed(*_):
    raise _Killed


@pytest.mark.slow
def test_a_signal_at_an_epochs_end_does_not_wait_for_its_evaluation(persons, tmp_path, monkeypatch):
    arguments = training_arguments(persons, tmp_path / "run")
    arguments[1] = edited(persons, tmp_path, ("epochs: 3", "epochs: 3\n  evaluate_every: 1"))
    measure = GalleryEvaluator.__call__
    measured = []

    def watched(evaluation, network, device):
        measured.append(len(measured))
        return measure(evaluation, network, device)

    monkeypatch.setattr(GalleryEvaluator, "__call__", watched)
    stopped_in_step(monkeypatch, arguments, step=5)
    assert len(measured) == 1
    assert run(*arguments).exit_code == 0
    assert len(measured) == 3


def stopped_in_step(monkeypatch, arguments, step=4):
    """Leave a training's state behind."""
    with monkeypatch.context() as patch:
        patch.setattr(recipe, "seed_step", lambda seed, at, rank: at == step and os.kill(os.getpid(), signal.SIGTERM))
        assert run(*arguments).exit_code == 143


@pytest.mark.slow
def test_a_signal_in_the_last_step_comes_too_late(whole, arguments, tmp_path, monkeypatch):
    seed_step = recipe.seed_step

    def signalled(seed, at, rank):
        if at == 8:
            os.kill(os.getpid(), signal.SIGTERM)
        seed_step(seed, at, rank)

    monkeypatch.setattr(recipe, "seed_step", signalled)
    assert run(*arguments).exit_code == 0
    assert_same_run(whole[0], tmp_path / "run")


def test_a_resume_with_other_parameters_is_refused(arguments, persons, tmp_path, monkeypatch):
    stopped_in_step(monkeypatch, arguments)
    changed = tmp_path / "changed.yaml"
    changed.write_text((persons / "params.yaml").read_text().replace("epochs: 3", "epochs: 5"))
    arguments[1] = str(changed)
    refused = run(*arguments)
    assert refused.exit_code == 2
    assert "belongs to another training: params.train.epochs was 3, now 5; pass --restart" in refused.output
    restarted = run(*arguments, "--restart")
    assert restarted.exit_code == 0, restarted.output
    assert "going on" not in restarted.output


def test_a_section_that_was_empty_before_is_another_training(arguments, persons, tmp_path, monkeypatch):
    arguments[1] = edited(persons, tmp_path, ("epochs: 3", "epochs: 3\n  evaluate_every: 3"))
    stopped_in_step(monkeypatch, arguments)
    changed = tmp_path / "changed.yaml"
    changed.write_text((tmp_path / "params.yaml").read_text() + "evaluate: {rerank: {k1: 4}}\n")
    arguments[1] = str(changed)
    refused = run(*arguments)
    assert refused.exit_code == 2
    assert "evaluate.rerank was None, now {'k1': 4" in refused.output


def test_mixed_precision_trains_and_leaves_heatmaps_alone(arguments, persons, tmp_path, monkeypatch):
    seen, computed = set(), set()
    build = recipe.starting_network

    def noted(layer, inputs, output):
        if output.requires_grad:  # as it does where it is trained
            computed.add(output.dtype)

    def watched(*given):
        network, notes = build(*given)
        network.register_forward_pre_hook(lambda _, inputs: seen.update(tensor.dtype for tensor in inputs))
        first = next(layer for layer in network.modules() if isinstance(layer, torch.nn.Conv2d))
        first.register_forward_hook(noted)
        return network, notes

    monkeypatch.setattr(recipe, "starting_network", watched)
    arguments[1] = edited(persons, tmp_path, ("epochs: 3", "epochs: 1\n  precision: bfloat16"))
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert seen == {torch.float32}
    assert computed == {torch.bfloat16}
    assert load_run(tmp_path / "run")[1].params.train.precision == "bfloat16"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"nonsense", "it does not end with the SHA-256 of its content"),
        (b"nonsense" + b"0" * 64, "its content is not what was written"),
    ],
)
def test_a_damaged_state_is_refused(arguments, tmp_path, content, told):
    folder = resume_folder(tmp_path / "run")
    folder.mkdir()
    (folder / "state.pt").write_bytes(content)
    refused = run(*arguments)
    assert refused.exit_code == 2
    assert f"cannot be read as the state of a training: {told}" in refused.output


def test_a_loss_that_is_not_finite_stops_the_training(arguments, tmp_path, persons):
    wild = tmp_path / "wild.yaml"
    wild.write_text((persons / "params.yaml").read_text().replace("epochs: 3", "epochs: 3\n  learning_rate: 1.0e30"))
    arguments[1] = str(wild)
    stopped = run(*arguments)
    assert stopped.exit_code == 2
    assert "Error: step " in stopped.output
    assert " is nan at learning rate " in stopped.output
    assert not (tmp_path / "run/model.safetensors").exists()


def test_a_loss_scale_that_skips_every_step_stops_the_training(arguments, tmp_path, monkeypatch):
    build = recipe.starting_network

    def broken(*given):
        network, notes = build(*given)
        network.backbone.conv1.weight.register_hook(lambda gradient: gradient * torch.nan)
        return network, notes

    def scaled(precision, accelerator):
        plugin = processes.Autocast("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=2.0**-13))
        monkeypatch.setattr(plugin, "forward_context", nullcontext)
        return plugin

    monkeypatch.setattr(recipe, "starting_network", broken)
    monkeypatch.setattr(processes, "_precision", scaled)
    stopped = run(*arguments)
    assert stopped.exit_code == 2, stopped.output
    assert "epoch 1: steps are skipped, since gradients overflow at every loss scale down to 1.53e-05" in stopped.output
    assert not (tmp_path / "run/model.safetensors").exists()


def edited(persons, tmp_path, *replacements):
    text = (persons / "params.yaml").read_text()
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "params.yaml").write_text(text)
    return str(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("replacement", "words"),
    [
        (("identities: 4", "identities: 7"), "a batch of 7 identities cannot be drawn from 6; lower train.identities"),
        (("instances: 2", "instances: 5"), "no identity has 5 images, the largest has 4; lower train.instances"),
        (("image_size: [64, 32]", "image_size: [60, 32]"), "image height 60 is not a multiple of the model's stride 8"),
        (("image_size: [64, 32]", "image_size: [64, 80]"), "heatmap width 8 is smaller than the feature grid's 10"),
        (("width: 8", "width: 8\n  tau: 0.0001"), "keeps nothing below 0.001, but the model's tau is 0.0001"),
        (("epochs: 3", "epoch: 3"), "unknown parameter 'train.epoch'"),
        (("epochs: 3", "epochs: 3\n  precision: float16"), "train.precision float16 needs a GPU"),
        (("  pirt: {inter_layers: 1}", "  pirt: 3"), "variant pirt must be a mapping, found int 3"),
        (("seed: 3", "speed: 3\n1: 2"), "unknown section ['1', 'speed']"),
        (("seed: 3", f"seed: {2**63}"), "seed = 9223372036854775808: "),
        (("width: 8", "width: 1"), "model.width = 1: "),
        (("pad: 4", "pad: 32"), "augment.pad = 32 moves images of (64, 32) out of sight"),
        (("identities: 4\n  instances: 2", "identities: 1\n  instances: 1"), "batch norm needs two images"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(arguments, persons, tmp_path, replacement, words):
    arguments[1] = edited(persons, tmp_path, replacement)
    refused = run(*arguments)
    assert refused.exit_code == 2
    assert words in refused.output
    assert len(refused.output.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def replaced(arguments, option, value):
    changed = list(arguments)
    changed[changed.index(option) + 1] = str(value)
    return changed


def test_heatmaps_of_other_images_are_refused(arguments, persons, tmp_path):
    manifest = read_manifest(persons / "manifest.csv")
    changed = tuple(replace(row, sha256="f" * 64) for row in manifest.rows[:2])
    other = write_heatmaps(tmp_path / "other.zarr", replace(manifest, rows=[*changed, *manifest.rows[2:]]))
    refused = run(*replaced(arguments, "--heatmaps", other))
    assert refused.exit_code == 2
    assert "lacks 2 of " in refused.output
    without_parts = run(*replaced(replaced(arguments, "--heatmaps", other), "--variant", "baseline"))
    assert "lacks 2 of " in without_parts.output


def test_a_missing_store_image_root_or_variant_is_refused(arguments, tmp_path):
    without = [*arguments]
    del without[without.index("--heatmaps") : without.index("--heatmaps") + 2]
    for call, words in [
        (without, "this model needs heatmaps"),
        (replaced(arguments, "--heatmaps", tmp_path / "nothing.zarr"), "nothing.zarr"),
        ([*arguments, "--root", str(tmp_path)], "of the manifest's images are missing under"),
        (replaced(arguments, "--variant", "best"), "no variant 'best'"),
        (replaced(arguments, "--params", tmp_path / "no.yaml"), "no.yaml does not exist"),
        (replaced(arguments, "--manifest", tmp_path / "no.csv"), "no.csv does not exist"),
        ([*arguments, "--init-from", str(tmp_path / "no-run")], "no-run is not a finished run"),
    ]:
        refused = run(*call)
        assert refused.exit_code == 2, refused.output
        assert words in refused.output
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("more", [(), ("--workers", "1", "--image-memory", "0")])
def test_an_image_that_cannot_be_read_is_told_in_one_line(tmp_path, more):
    write_heatmaps(tmp_path / "heatmaps.zarr", write_persons(tmp_path))
    (tmp_path / "params.yaml").write_text(PARAMS)
    for image in (tmp_path / "train").glob("0002_*"):
        image.write_bytes(b"GIF89a, or so it says")
    refused = run(*training_arguments(tmp_path, tmp_path / "run", *more))
    assert refused.exit_code == 2
    assert re.fullmatch(r"Error: image \S*0002_\d.png [^\n]*", refused.output.strip().splitlines()[-1])
    assert "Traceback" not in refused.output


@pytest.mark.parametrize("variant", ["pirt", "baseline"])
def test_images_that_stage_1_skipped_are_left_out(tmp_path, variant):
    manifest = write_persons(tmp_path)
    skipped = [row.key for row in manifest.split("train")[:2]]
    write_heatmaps(tmp_path / "heatmaps.zarr", manifest, skipped=skipped)
    for key in skipped:
        (tmp_path / key).write_bytes(b"")
    (tmp_path / "params.yaml").write_text(PARAMS)
    result = run(*replaced(training_arguments(tmp_path, tmp_path / "run"), "--variant", variant))
    assert result.exit_code == 0, result.output
    assert "22 images of 6 identities" in result.output
    assert "2 images are left out: junk, distractors, or unreadable in stage 1" in result.output


def test_a_training_of_skipped_images_alone_is_refused(tmp_path):
    manifest = write_persons(tmp_path)
    write_heatmaps(tmp_path / "heatmaps.zarr", manifest, skipped=[row.key for row in manifest.split("train")])
    (tmp_path / "params.yaml").write_text(PARAMS)
    refused = run(*training_arguments(tmp_path, tmp_path / "run"))
    assert refused.exit_code == 2
    assert "all 24 train images were skipped in stage 1" in refused.output


def test_which_images_were_left_out_is_recorded(tmp_path):
    manifest = write_persons(tmp_path)
    (tmp_path / "params.yaml").write_text(PARAMS)
    keys = tuple(row.key for row in manifest.split("train")[:2])
    write_heatmaps(tmp_path / "heatmaps.zarr", manifest, skipped=keys)
    result = run(*replaced(training_arguments(tmp_path, tmp_path / "run"), "--variant", "baseline"))
    assert result.exit_code == 0, result.output
    assert load_run(tmp_path / "run")[1].unreadable == keys


def test_a_finished_run_is_left_alone(whole, persons, tmp_path):
    out = shutil.copytree(whole[0], tmp_path / "run")
    again = run(*training_arguments(persons, out))
    assert (again.exit_code, again.output) == (0, f"{out} is finished; --restart trains it again\n")
    other = run(*training_arguments(persons, out, "--seed", "4"))
    assert other.exit_code == 2
    assert f"{out} holds the run of another training: params.seed was 3, now 4; pass --restart" in other.output
    assert_same_run(whole[0], out)


def test_every_process_is_asked_what_it_has_found(arguments, monkeypatch):
    seen = []
    monkeypatch.setattr(recipe, "require_seen_alike", lambda fabric, number, out: seen.append(number))
    stopped_in_step(monkeypatch, arguments)
    for _ in range(2):
        assert run(*arguments).exit_code == 0
    # Whether the run is finished, and the step that it goes on after.
    assert seen == [0, 0, 0, 6, 1]


def test_a_restart_that_stops_leaves_no_finished_run(whole, persons, tmp_path, monkeypatch):
    out, seed_step = shutil.copytree(whole[0], tmp_path / "run"), recipe.seed_step

    def stopped(seed, step, rank):
        if step == 1:
            raise KeyboardInterrupt
        seed_step(seed, step, rank)

    with monkeypatch.context() as patch:
        patch.setattr(recipe, "seed_step", stopped)
        assert run(*training_arguments(persons, out, "--restart")).exit_code == 130
    assert not (out / "run.json").exists()
    assert run(*training_arguments(persons, out)).exit_code == 0
    assert_same_run(whole[0], out)


def test_a_restart_whose_state_has_no_room_destroys_nothing(whole, persons, tmp_path):
    out = shutil.copytree(whole[0], tmp_path / "run")
    (resume_folder(out) / "best").mkdir(parents=True)
    (resume_folder(out) / "best/run.json").write_text("kept")
    before = {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}
    with files_up_to((out / "model.safetensors").stat().st_size // 2):
        refused = run(*training_arguments(persons, out, "--restart"))
    assert refused.exit_code == 2, refused.output
    assert "File too large" in refused.output
    assert before.items() <= {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}.items()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("model.safetensors", "is not of a run of `pirt-train` and would be replaced"),
        ("run.json", "is not of a run of `pirt-train` and would be replaced"),
        ("logs/plots/notes.txt", "holds notes.txt, which would be lost"),
        ("logs/plots/metrics/loss/mine.csv", "holds metrics/loss/mine.csv, which would be lost"),
    ],
)
@pytest.mark.parametrize("finished", [False, True])
def test_what_a_user_has_in_a_run_folder_stays(whole, persons, tmp_path, name, said, finished):
    out = tmp_path / "run"
    if finished:
        shutil.copytree(whole[0], out)
    (out / name).parent.mkdir(parents=True, exist_ok=True)
    (out / name).write_text('{"mine": 1}')
    if name.endswith("safetensors"):
        save_file({"encoder.weight": torch.ones(2)}, out / name)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    refused = run(*training_arguments(persons, out, "--restart"))
    assert refused.exit_code == 2
    assert said in refused.output
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", ["model.safetensors", "run.json"])
@pytest.mark.parametrize("share", [0, 2])
def test_a_damaged_run_is_trained_anew(whole, persons, tmp_path, name, share):
    out = shutil.copytree(whole[0], tmp_path / "run")
    content = (out / name).read_bytes()
    (out / name).write_bytes(content[: len(content) * share // 4])
    ended = run(*training_arguments(persons, out, "--restart"))
    assert ended.exit_code == 0, ended.output
    assert_same_run(whole[0], out)


@pytest.mark.parametrize("fault", ["weights", "heatmaps", "batch", "image"])
def test_a_restart_that_cannot_begin_destroys_nothing(whole, persons, tmp_path, fault):
    out = shutil.copytree(whole[0], tmp_path / "run")
    # What an earlier training left is kept as well.
    resume_folder(out).mkdir()
    (resume_folder(out) / "state.pt").write_bytes(b"kept")
    before = {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}
    root = shutil.copytree(persons, tmp_path / "persons")
    arguments = [str(argument) for argument in training_arguments(root, out, "--restart")]
    params = root / "params.yaml"
    if fault == "weights":
        params.write_text(params.read_text().replace("train:\n", "train:\n  backbone_weights: nowhere.pth\n"))
    elif fault == "batch":
        params.write_text(params.read_text().replace("identities: 4", "identities: 400"))
    elif fault == "heatmaps":
        arguments[arguments.index("--heatmaps") + 1] = str(tmp_path / "nowhere.zarr")
    else:
        for image in (root / "train").glob("*.png"):
            image.write_bytes(image.read_bytes()[:60])
        arguments += ["--root", str(root)]
    refused = run(*arguments)
    assert refused.exit_code == 2, refused.output
    assert {path: path.read_bytes() for path in before} == before


def test_what_is_no_run_is_not_replaced(persons, tmp_path):
    (tmp_path / "run" / "best").mkdir(parents=True)
    (tmp_path / "run" / "best" / "thesis.tex").write_text("years")
    refused = run(*training_arguments(persons, tmp_path / "run"))
    assert refused.exit_code == 2
    assert "best holds thesis.tex" in refused.output
    assert (tmp_path / "run" / "best" / "thesis.tex").read_text() == "years"
    assert "cannot name a run folder" in run(*training_arguments(persons, Path())).output


def test_junk_and_distractors_are_nobody_to_learn(tmp_path):
    rows = write_persons(tmp_path).rows
    nobody = {"train/0001_0.png": -1, "train/0001_1.png": 0, "train/0001_2.png": 0, "train/0001_3.png": -1}
    rows = [replace(row, pid=nobody.get(row.key, row.pid)) for row in rows]
    write_heatmaps(tmp_path / "heatmaps.zarr", write_manifest(tmp_path / "manifest.csv", rows, tmp_path))
    (tmp_path / "params.yaml").write_text(PARAMS)
    result = run(*training_arguments(tmp_path, tmp_path / "run"))
    assert result.exit_code == 0, result.output
    assert "20 images of 5 identities" in result.output
    write_manifest(tmp_path / "manifest.csv", [replace(row, pid=-1) for row in rows], tmp_path)
    refused = run(*training_arguments(tmp_path, tmp_path / "other"))
    assert refused.exit_code == 2
    assert "none of the 24 train images is of a person (pid 1 or more), so there is nobody to learn" in refused.output


def test_the_baseline_needs_no_heatmaps(arguments, tmp_path):
    call = replaced(arguments, "--variant", "baseline")
    del call[call.index("--heatmaps") : call.index("--heatmaps") + 2]
    result = run(*call)
    assert result.exit_code == 0, result.output
    assert load_run(tmp_path / "run")[1].heatmaps_fingerprint is None


def test_fine_tuning_starts_from_all_but_the_classifiers(whole):
    out, _ = whole
    params = load_run(out)[1].params
    network, _ = starting_network(5, params, out)
    theirs, ours = load_file(out / "model.safetensors"), network.state_dict()
    for name in ours:
        if name.endswith(".classifier"):
            assert ours[name].shape[1] == 5
        else:
            assert torch.equal(ours[name], theirs[name])


def test_fine_tuning_writes_where_it_came_from(whole, tmp_path):
    others = tmp_path / "others"
    write_heatmaps(others / "heatmaps.zarr", write_persons(others, identities=5))
    (others / "params.yaml").write_text(PARAMS)
    result = run(*training_arguments(others, tmp_path / "run", "--init-from", str(whole[0])))
    assert result.exit_code == 0, result.output
    record = load_run(tmp_path / "run")[1]
    assert record.initial_weights_sha256 == sha256_of(whole[0] / "model.safetensors")
    weights = sha256_of(tmp_path / "run" / "model.safetensors")
    (tmp_path / "pirt").symlink_to("run")
    best = shutil.copytree(tmp_path / "run", resume_folder(tmp_path / "pirt") / "best")
    for source in (tmp_path / "run", best):
        refused = run(*training_arguments(others, tmp_path / "{variant}", "--init-from", str(source), "--restart"))
        assert refused.exit_code == 2
        assert "would be replaced; name another --out" in refused.output
        assert sha256_of(source / "model.safetensors") == weights


def test_fine_tuning_from_another_architecture_is_refused(whole, arguments, tmp_path):
    refused = run(*replaced(arguments, "--variant", "parts"), "--init-from", str(whole[0]))
    assert refused.exit_code == 2
    assert "has another architecture: intra is True there, False here; inter_layers is 1 there" in refused.output
    assert not (tmp_path / "run").exists()


def test_the_best_of_an_earlier_training_does_not_become_this_ones(whole, persons, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(whole[0], resume_folder(out) / "best")
    assert run(*training_arguments(persons, out)).exit_code == 0
    assert_same_run(whole[0], out)


@pytest.mark.slow
@pytest.mark.parametrize("found", [(0.5, 0.9), (0.9, 0.5)])
def test_evaluation_keeps_the_best_model_through_a_kill(arguments, persons, tmp_path, monkeypatch, found):
    arguments[1] = edited(persons, tmp_path, ("epochs: 3", "epochs: 3\n  evaluate_every: 2"))
    measured = []

    def scored(evaluator, network, device):
        measured.append({name: value.clone() for name, value in network.state_dict().items()})
        return {"evaluation/mAP": found[len(measured) - 1], "evaluation/rank-1": 0.0}

    monkeypatch.setattr(GalleryEvaluator, "__call__", scored)
    stopped_in_step(monkeypatch, arguments, step=6)
    resumed = run(*arguments)
    assert resumed.exit_code == 0, resumed.output
    curve = (tmp_path / "run/logs/plots/metrics/evaluation/mAP.tsv").read_text().split()
    assert curve == ["step", "mAP", "2", str(found[0]), "3", str(found[1])]
    best, expected = load_run(tmp_path / "run" / "best")[0].state_dict(), measured[found.index(0.9)]
    assert all(torch.equal(best[name], expected[name]) for name in best)


def test_evaluation_measures_as_the_evaluation_program_does(arguments, persons, tmp_path):
    arguments[1] = edited(persons, tmp_path, ("epochs: 3", "epochs: 1\n  evaluate_every: 1"))
    assert_logged_as_measured(run(*arguments), persons, tmp_path)


def assert_logged_as_measured(trained, persons, tmp_path, *more):
    assert trained.exit_code == 0, trained.output
    metrics = measured_by_the_program(persons, tmp_path, *more)
    logged = json.loads((tmp_path / "run/logs/metrics.json").read_text())["evaluation"]
    assert logged["mAP"] == pytest.approx(metrics["mAP"], abs=1e-6)
    assert logged["rank-1"] == pytest.approx(metrics["rank-1"], abs=1e-6)
    return metrics


def measured_by_the_program(persons, tmp_path, *more):
    evaluated = CliRunner().invoke(evaluate, [
        *("--run", str(tmp_path / "run"), "--manifest", str(persons / "manifest.csv"), "--device", "cpu"),
        *("--heatmaps", str(persons / "heatmaps.zarr"), "--out", str(tmp_path / "measured"), "--workers", "0", *more),
    ])  # fmt: skip
    assert evaluated.exit_code == 0, evaluated.output
    return json.loads((tmp_path / "measured/metrics.json").read_text())


def test_evaluation_re_ranks_as_the_parameters_say(arguments, persons, tmp_path):
    arguments[1] = edited(
        persons,
        tmp_path,
        ("epochs: 3", "epochs: 1\n  evaluate_every: 1"),
        ("seed: 3", "seed: 3\nevaluate: {rerank: {k1: 4, k2: 2}}"),
    )
    re_ranked = assert_logged_as_measured(run(*arguments), persons, tmp_path, "--params", arguments[1])
    assert re_ranked["mAP"] != measured_by_the_program(persons, tmp_path)["mAP"]


def test_an_evaluation_without_any_valid_match_is_refused_at_once(tmp_path):
    rows = [replace(row, camid=0) for row in write_persons(tmp_path).rows]
    bad = [next(row.key for row in rows if row.split == "gallery")]
    write_heatmaps(tmp_path / "heatmaps.zarr", write_manifest(tmp_path / "manifest.csv", rows, tmp_path), skipped=bad)
    (tmp_path / "params.yaml").write_text(PARAMS.replace("epochs: 3", "epochs: 3\n  evaluate_every: 3"))
    refused = run(*training_arguments(tmp_path, tmp_path / "run"))
    assert refused.exit_code == 2
    assert "all from the query's own camera" in refused.output
    assert "note: 1 gallery images are left out: unreadable in stage 1" in refused.output
    assert "epoch 1/3" not in refused.output
    assert not resume_folder(tmp_path / "run").exists()


def test_an_evaluation_whose_batches_have_no_room_is_refused_at_once(arguments, persons, tmp_path, monkeypatch):
    arguments[1] = edited(persons, tmp_path, ("epochs: 3", "epochs: 3\n  evaluate_every: 3"))
    item = 64 * 32 * 3 + 17 * 16 * 8
    # One process makes four batches ahead: of 8 images to train on, and of 64 to measure.
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(total=1 << 40, free=4 * 64 * item - 1))
    refused = run(*arguments, "--workers", "1", "--image-memory", "0")
    assert refused.exit_code == 2, refused.output
    assert "the batches of 1 loader processes need" in refused.output
    assert "epoch 1/3" not in refused.output


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without GPU")
def test_a_gpu_that_is_not_there_is_refused(arguments):
    refused = run(*replaced(arguments, "--device", "cuda"))
    assert refused.exit_code == 2
    assert "PyTorch sees no GPU; use --device auto or cpu" in refused.output


def test_a_gpu_without_bfloat16_is_refused_by_name(arguments, persons, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda emulated: emulated)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA GeForce RTX 2080 Ti")
    arguments[1] = edited(persons, tmp_path, ("epochs: 3", "epochs: 3\n  precision: bfloat16"))
    refused = run(*replaced(arguments, "--device", "cuda"))
    assert refused.exit_code == 2
    assert "bfloat16 needs a GPU of the Ampere generation or a later one, NVIDIA GeForce RTX 2080" in refused.output
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("allowed", [False, True])
def test_float32_on_a_gpu_is_wholly_tf32_or_not_at_all(arguments, persons, tmp_path, monkeypatch, allowed):
    seen = []

    def flags():
        return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32

    def noting(what, work):
        return lambda *given: (seen.append((what, *flags())), work(*given))[1]

    for module, name in ((recipe, "seed_step"), (ranking, "global_distances")):
        monkeypatch.setattr(module, name, noting(name, getattr(module, name)))
    before = flags()
    arguments[1] = edited(persons, tmp_path, ("epochs: 3", f"epochs: 1\n  evaluate_every: 1\n  tf32: {allowed}"))
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert set(seen) == {("seed_step", allowed, allowed), ("global_distances", False, False)}
    assert flags() == before
    assert load_run(tmp_path / "run")[1].params.train.tf32 is allowed


@pytest.mark.parametrize("size", [pytest.param(512, marks=pytest.mark.slow), 400_000])
def test_a_disk_without_room_is_one_line_and_is_gone_on_from_when_there_is(whole, persons, tmp_path, size):
    with files_up_to(size):
        ended = run(*training_arguments(persons, tmp_path / "run"))
    assert_refused_in_one_line(ended)
    assert not list(tmp_path.rglob("*.partial"))
    assert not (tmp_path / "run" / "run.json").exists()
    assert run(*training_arguments(persons, tmp_path / "run")).exit_code == 0
    assert_same_run(whole[0], tmp_path / "run")
