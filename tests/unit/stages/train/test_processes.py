"""Two processes and one train alike on the same global batch."""

import csv
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from tiny_persons import training_arguments

# In float64 a difference can only come from a wrong sum: in float32 Adam turns the rounding of a gradient that
# is truly zero (a bias before a normalisation) into whole steps.
IN_FLOAT64 = """
import sys, torch
from lightning_fabric.plugins import DoublePrecision
from pirt.training import processes
from pirt_stages.train.cli import main

processes._precision = lambda precision, accelerator: DoublePrecision()
torch.set_num_threads(1)
main(sys.argv[1:])
"""


BACKBONES = {
    "resnet": "backbone: resnet18_ibn_a\n  width: 8\n  strides: [1, 2, 1, 1]",
    "vit": "backbone: vit_small\n  backbone_options: {depth: 2, drop_path: 0, checkpointing: true}",
    "swin": "backbone: swin_tiny\n  refine: 2\n"
    "  backbone_options: {depths: [1, 2, 1, 1], window: 2, semantic_weight: 0.2, drop_path: 0}",
}


@pytest.fixture(params=BACKBONES)
def five_steps(persons, tmp_path, request):
    """Parameters of five steps with all identities; dropout is off, since each process draws its own."""
    text = (persons / "params.yaml").read_text()
    for old, new in [
        (BACKBONES["resnet"], BACKBONES[request.param]),
        ("  confidence_hidden: 8", "  confidence_hidden: 8\n  intra_dropout: 0\n  inter_dropout: 0"),
        ("epochs: 3", "epochs: 5"),
        ("identities: 4", "identities: 6"),
        ("instances: 2", "instances: 4"),
        ("warmup_epochs: 1", "warmup_epochs: 0"),
    ]:
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "params.yaml").write_text(text)
    (tmp_path / "train.py").write_text(IN_FLOAT64)
    return tmp_path


def trained(folder, persons, name, *launcher):
    arguments = training_arguments(persons, folder / name)
    arguments[1] = str(folder / "params.yaml")
    done = subprocess.run(
        [sys.executable, *launcher, str(folder / "train.py"), *arguments],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    with (folder / name / "logs/plots/metrics/loss/total.tsv").open() as file:
        losses = [float(row["total"]) for row in csv.DictReader(file, delimiter="\t")]
    return losses, load_file(folder / name / "model.safetensors")


@pytest.mark.slow
def test_two_processes_train_as_one(persons, five_steps):
    losses, weights = trained(five_steps, persons, "one")
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    losses_of_two, weights_of_two = trained(five_steps, persons, "two", *torchrun)
    assert len(losses) == 5
    assert losses_of_two == pytest.approx(losses, abs=1e-5)
    assert weights.keys() == weights_of_two.keys()
    for name, value in weights.items():
        # Relative too: files hold float32, and Swin's variances are large.
        torch.testing.assert_close(
            weights_of_two[name], value, atol=1e-5, rtol=1e-6, msg=lambda said, name=name: f"{name}: {said}"
        )
