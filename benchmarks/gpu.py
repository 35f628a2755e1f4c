"""What a GPU reaches, against what it could: floors, steps, whole trainings, what repeats, evaluation.

    python benchmarks/gpu.py                        everything, in less than 8 minutes
    python benchmarks/gpu.py floors steps           these parts alone
    python benchmarks/gpu.py --device cpu --tiny    every part in small, to see that it runs

Needs PyTorch and Pirt, neither MMPose nor a network: images, heatmaps and features are drawn here. Prints
Markdown, each line as soon as it is measured; a part that fails says why, and the others run.
"""

import os
import platform
import sys
import time
import traceback

import click
import torch
from gpu_parts.floors import floors
from gpu_parts.machine import FULL, TINY, Machine
from gpu_parts.rankings import rankings
from gpu_parts.resumes import resumes
from gpu_parts.steps import repeats, steps
from gpu_parts.trainings import trainings

from pirt.machine import cores

PARTS = {
    "floors": floors,
    "steps": steps,
    "trainings": trainings,
    "repeats": repeats,
    "resumes": resumes,
    "rankings": rankings,
}


@click.command(context_settings={"show_default": True})
@click.argument("parts", nargs=-1, type=click.Choice(list(PARTS)))
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cuda")
@click.option("--tiny", is_flag=True, help="Small sizes, whose numbers mean nothing.")
def main(parts: tuple[str, ...], device: str, tiny: bool) -> None:
    """Print a table for each of PARTS, all by default."""
    # PyTorch reads it once, at a process's first matrix product.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    machine, sizes = Machine(device), TINY if tiny else FULL
    name = torch.cuda.get_device_name() if machine.on_gpu else platform.machine()
    print(f"{name}, {cores()} cores, torch {torch.__version__}, Python {platform.python_version()}", flush=True)
    failed = []
    for part in parts or PARTS:
        began = time.perf_counter()
        print(f"\n## {(PARTS[part].__doc__ or '').rstrip('.')}\n", flush=True)
        try:
            for line in PARTS[part](sizes, machine):
                print(line, flush=True)
        except Exception:
            # What a GPU has to tell is worth more than a clean end.
            traceback.print_exc(file=sys.stdout)
            failed.append(part)
        print(f"\n{part}: {time.perf_counter() - began:.0f} s", flush=True)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
