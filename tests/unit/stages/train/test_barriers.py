"""No step of several processes waits at a barrier, and compiled ones are one graph."""

import os
import subprocess
import sys

import pytest
from tiny_persons import training_arguments

# Counts the barriers of each step; "planted" averages with Fabric's own reduction, which begins with one.
COUNTING = """
import os, sys
import torch
import torch.distributed as dist
from pirt.training import recipe, watch
from pirt_stages.train.cli import main

count, barrier, step = 0, dist.barrier, recipe.Training.step
# Each process its own file: in one stream the words of two mix.
said = open(sys.argv[1] + "." + os.environ["RANK"], "w", buffering=1)

def counted(*arguments, **named):
    global count
    count += 1
    return barrier(*arguments, **named)

def watched(training, batch):
    before = count
    step(training, batch)
    ddp = training.model._forward_module
    print("barriers", count - before, ddp.broadcast_buffers, ddp.gradient_as_bucket_view, file=said)

# The graphs are dynamo's; how they would become kernels makes no difference here.
recipe.Objective.compile = lambda objective: torch.nn.Module.compile(objective, backend="eager")
dist.barrier, recipe.Training.step = counted, watched
if sys.argv[1] == "planted":
    watch.mean_over_processes = lambda fabric, values: fabric.all_reduce(values, reduce_op="mean")
main(sys.argv[2:], standalone_mode=False)
print("graphs", torch._dynamo.utils.counters["stats"]["unique_graphs"], file=said)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "barriers", "graphs"), [("plain", "0", "0"), ("compiled", "0", "1"), ("planted", "1", "0")]
)
def test_a_step_has_no_barrier(persons, tmp_path, kind, barriers, graphs):
    (tmp_path / "train.py").write_text(COUNTING)
    compiled = "true" if kind == "compiled" else "false"
    changed = f"epochs: 1\n  compile: {compiled}\n  evaluate_every: 1"
    (tmp_path / "params.yaml").write_text((persons / "params.yaml").read_text().replace("epochs: 3", changed))
    arguments = training_arguments(persons, tmp_path / "run")
    arguments[1] = str(tmp_path / "params.yaml")
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *torchrun, str(tmp_path / "train.py"), kind, *arguments],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    said = [line.split() for rank in "01" for line in (tmp_path / f"{kind}.{rank}").read_text().splitlines()]
    steps = [words[1:] for words in said if words[:1] == ["barriers"]]
    assert len(steps) == 2 * 3
    assert {tuple(words) for words in steps} == {(barriers, "False", "True")}
    # The evaluation at the end has compiled nothing.
    assert [words for words in said if words[:1] == ["graphs"]] == [["graphs", graphs]] * 2
