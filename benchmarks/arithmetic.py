"""Whether another kind of processor, or other instructions on this one, give other bytes, and what they take.

    python benchmarks/arithmetic.py        in the project's folder

Draws the demo's images, trains its pose network, extracts heatmaps, trains its first and last row for one epoch and
evaluates the last, and prints how the SHA-256 of what came out begins. The first row of the table is told what all
pipelines of rendered people are told (pipelines/arithmetic.yaml), each of the others one thing less. Equal beginnings
are equal bytes, on one machine and between machines. Prints Markdown.
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

AS_RECORDED = dict(word.split("=", 1) for word in read_yaml(Path("pipelines/arithmetic.yaml"))["arithmetic"].split())
CHOICES = {
    "NumPy": "NPY_DISABLE_CPU_FEATURES",
    "oneDNN": "ONEDNN_MAX_CPU_ISA",
    "PyTorch": "ATEN_CPU_CAPABILITY",
    "MKL": "MKL_CBWR",
}
"""Who is told what to use, and by which variable."""


def run(environment: dict[str, str], *words: str | Path) -> float:
    """Run a program on one thread, as the pipelines train; return the seconds of the processor that it took."""
    threads, before = {"OMP_NUM_THREADS": "1", "PIRT_DEVICE": "cpu"}, os.times().children_user
    subprocess.run(words, env=os.environ | threads | environment, stdout=subprocess.DEVNULL, check=True)
    return os.times().children_user - before


def folder_sha256(folder: Path) -> str:
    """Return how the SHA-256 of all files of a folder begins."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def prepare(place: Path, environment: dict[str, str]) -> None:
    """Draw the demo's images into `place`, list them and train the pose network, as the demo does."""
    given, data = ("--params", "params.yaml"), place / "data"
    run(environment, "pirt-data", "synthesize", *given, "--out", data)
    run(environment, "pirt-data", "import", data, "--layout", "market1501", "--out", place / "manifest.csv")
    labelled = ("--manifest", place / "manifest.csv", "--keypoints", data / "keypoints.json")
    run(environment, "pirt-pose", "train", *given, *labelled, "--out", place / "pose")


def extracted(place: Path, environment: dict[str, str]) -> str:
    """Extract heatmaps of the images in `place` with the pose network there; return how their SHA-256 begins."""
    network = ("--config", place / "pose/config.py", "--checkpoint", place / "pose/checkpoint.pth")
    given = ("--params", "params.yaml", "--manifest", place / "manifest.csv", *network)
    run(environment, "pirt-pose", "extract", *given, "--out", place / "heatmaps.zarr")
    return folder_sha256(place / "heatmaps.zarr")


def trained(variant: str, params: Path, place: Path, environment: dict[str, str]) -> str:
    """Train a row of the demo on what lies in `place`; return how its weights' SHA-256 begins, and the time."""
    data = ("--manifest", place / "manifest.csv", "--heatmaps", place / "heatmaps.zarr")
    out = place / variant
    seconds = run(environment, "pirt-train", "--params", params, "--variant", variant, *data, "--out", out)
    return f"{sha256_of(out / 'model.safetensors')[:12]}, {seconds:.1f} s"


def evaluated(variant: str, params: Path, place: Path, environment: dict[str, str]) -> str:
    """Evaluate the row that was trained in `place`; return how the SHA-256 of its queries' scores begins."""
    data = ("--manifest", place / "manifest.csv", "--heatmaps", place / "heatmaps.zarr")
    out = place / "evaluated"
    run(environment, "pirt-eval", "--params", params, "--run", place / variant, *data, "--out", out)
    return sha256_of(out / "scores.json")[:12]


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
    settings = {"as recorded": AS_RECORDED}
    for name, variable in CHOICES.items():
        settings[f"{name}'s own choice"] = {key: value for key, value in AS_RECORDED.items() if key != variable}
    click.echo(f"{processor()}; torch {torch.__version__}\n")
    click.echo("| instructions | images | heatmaps | baseline | Pirt | Pirt's scores |\n|---|---|---|---|---|---|")
    for name, environment in (settings | {"each library's own choice": {}}).items():
        with tempfile.TemporaryDirectory() as folder:
            place, params = Path(folder), Path(folder) / "params.yaml"
            params.write_text(yaml.safe_dump(table), encoding="utf-8")
            prepare(place, environment)
            found = [folder_sha256(place / "data"), extracted(place, environment)]
            found += [trained(variant, params, place, environment) for variant in ("baseline", "pirt")]
            found.append(evaluated("pirt", params, place, environment))
        click.echo(f"| {name} | {' | '.join(found)} |")


if __name__ == "__main__":
    main()
