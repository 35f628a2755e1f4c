"""Whether another kind of processor, or other instructions on this one, give other bytes, and what they take.

    python benchmarks/arithmetic.py        in the project's folder, after `make demo`

Extracts the demo's heatmaps and trains its first and last row for one epoch, with PyTorch's libraries told to use other
instructions, and prints how the SHA-256 of what came out begins. The last row also draws the images and trains the pose
network anew, all with AVX2, which every processor of today has. Equal beginnings are equal bytes, on one machine and
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
WIDER = "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL"
"""What NumPy may use beyond AVX2."""
AVX2_FROM_THE_IMAGES_ON = SETTINGS["AVX2 in both"] | {"NPY_DISABLE_CPU_FEATURES": WIDER}
RUNS = Path("runs")


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


def extracted(place: Path, store: Path, environment: dict[str, str]) -> str:
    """Extract heatmaps of the images in `place` with the pose network there; return how their SHA-256 begins."""
    network = ("--config", place / "pose/config.py", "--checkpoint", place / "pose/checkpoint.pth")
    given = ("--params", "params.yaml", "--manifest", place / "manifest.csv", *network)
    run(environment, "pirt-pose", "extract", *given, "--out", store)
    return folder_sha256(store)


def trained(variant: str, params: Path, place: Path, out: Path, environment: dict[str, str]) -> str:
    """Train a row of the demo on the heatmaps in `place`; return how its weights' SHA-256 begins, and the time."""
    given = ("--params", params, "--variant", variant, "--manifest", place / "manifest.csv")
    seconds = run(environment, "pirt-train", *given, "--heatmaps", place / "heatmaps.zarr", "--out", out)
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
    click.echo("| instructions | images | heatmaps | baseline | Pirt |\n|---|---|---|---|---|")
    for name, environment in (SETTINGS | {"AVX2 from the images on": AVX2_FROM_THE_IMAGES_ON}).items():
        with tempfile.TemporaryDirectory() as folder:
            params, made = Path(folder) / "params.yaml", Path(folder) / "runs"
            params.write_text(yaml.safe_dump(table), encoding="utf-8")
            place = RUNS
            if environment is AVX2_FROM_THE_IMAGES_ON:
                prepare(place := made, environment)
            found = [folder_sha256(place / "data"), extracted(place, made / "heatmaps.zarr", environment)]
            for variant in ("baseline", "pirt"):
                found.append(trained(variant, params, place, made / variant, environment))
        click.echo(f"| {name} | {' | '.join(found)} |")


if __name__ == "__main__":
    main()
