"""Whether another kind of processor, or other instructions on this one, give other bytes, and what they take.

    python benchmarks/arithmetic.py        in the project's folder, after `make demo`

Extracts the demo's heatmaps and trains its first and last row for one epoch, with PyTorch's libraries told to use other
instructions, and prints how the SHA-256 of what came out begins. Equal beginnings are equal bytes, on one machine and
between machines. Prints Markdown.
"""

import hashlib
import os
import platform
import subprocess
import tempfile
from pathlib import Path

import click
import torch
import yaml

from pirt.core.files import sha256_of
from pirt.core.params import read_yaml

AS_RECORDED = {"MKL_CBWR": "COMPATIBLE"}
"""What the pipelines of rendered people train and evaluate with."""
SETTINGS: dict[str, dict[str, str]] = {
    "as recorded": AS_RECORDED,
    "MKL's own choice": {},
    "AVX2 in oneDNN": AS_RECORDED | {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    "AVX2 in ATen": AS_RECORDED | {"ATEN_CPU_CAPABILITY": "avx2"},
    "AVX2 in both": AS_RECORDED | {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"},
}
RUNS = Path("runs")
IMAGES = ("--manifest", RUNS / "manifest.csv")
POSE = ("--config", RUNS / "pose/config.py", "--checkpoint", RUNS / "pose/checkpoint.pth")


def run(environment: dict[str, str], *words: str | Path) -> float:
    """Run a program on one thread, as the pipelines train; return the seconds of the processor that it took."""
    threads, before = {"OMP_NUM_THREADS": "1", "PIRT_DEVICE": "cpu"}, os.times().children_user
    subprocess.run(words, env=os.environ | threads | environment, stdout=subprocess.DEVNULL, check=True)
    return os.times().children_user - before


def store_sha256(store: Path) -> str:
    """Return the SHA-256 of all files of a heatmap store."""
    digest = hashlib.sha256()
    for file in sorted(path for path in store.rglob("*") if path.is_file()):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def trained(variant: str, params: Path, out: Path, environment: dict[str, str]) -> str:
    """Train a row of the demo on its own heatmaps; return how its weights' SHA-256 begins, and the time taken."""
    given = ("--params", params, "--variant", variant, *IMAGES, "--heatmaps", RUNS / "heatmaps.zarr")
    seconds = run(environment, "pirt-train", *given, "--out", out)
    return f"{sha256_of(out / 'model.safetensors')[:12]}, {seconds:.1f} s"


def processor() -> str:
    """Return what the system says of the processor."""
    told = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    known = dict(line.replace("\t", "").split(":", 1) for line in told.split("\n\n")[0].splitlines() if ":" in line)
    words = [known[name].strip() for name in ("model name", "cpu family", "model") if name in known]
    return ", ".join((*words, platform.machine(), torch.backends.cpu.get_cpu_capability()))


@click.command()
def main() -> None:
    """Print a row a setting."""
    table = read_yaml(Path("params.yaml"))
    start = Path(table["train"]["backbone_weights"]).absolute()
    table["train"] |= {"epochs": 1, "warmup_epochs": 1, "cosine_from_epoch": 1, "backbone_weights": str(start)}
    click.echo(f"{processor()}; torch {torch.__version__}\n")
    click.echo("| instructions | heatmaps | baseline | Pirt |\n|---|---|---|---|")
    for name, environment in SETTINGS.items():
        with tempfile.TemporaryDirectory() as folder:
            params, store = Path(folder) / "params.yaml", Path(folder) / "heatmaps.zarr"
            params.write_text(yaml.safe_dump(table), encoding="utf-8")
            run(environment, "pirt-pose", "extract", "--params", "params.yaml", *IMAGES, *POSE, "--out", store)
            found = [store_sha256(store)[:12]]
            found += [trained(variant, params, Path(folder) / variant, environment) for variant in ("baseline", "pirt")]
        click.echo(f"| {name} | {' | '.join(found)} |")


if __name__ == "__main__":
    main()
