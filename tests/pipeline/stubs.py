"""Pipelines whose programs do nothing but write their outputs, so that only DVC's decisions are left."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from dvc.repo import Repo

ROOT = Path(__file__).parents[2]
RAN = re.compile(r"Running stage '(?:[\w./]+:)?([\w@.-]+)'")

# `identify` and `weights` write the files that they fingerprint, as far as these are there.
STUB = """\
import sys
from pathlib import Path

import yaml

words = sys.argv[1:]
outs = {
    "train": ["model.safetensors", "run.json", "logs/plots/loss.tsv"],
    "eval": ["embeddings.h5"] if "--embed-only" in words else ["metrics.json", "scores.json"],
    "extract": ["zarr.json"],
    "synthesize": ["keypoints.json", "image.jpg"],
    "pose train": ["config.py", "checkpoint.pth", "metrics.json", "scores.json"],
    "tables": ["tables/report.json", "plots/table4.png"],
    "figures": ["figures/curves.png"],
    "explore": ["index.html"],
    "where": ["where.csv"],
    "reference": ["reference.csv"],
    "curve": ["curve.csv"],
}
program = words.pop(0)
name = program if program in ("train", "eval") else words.pop(0)
name = "pose train" if (program, name) == ("pose", "train") else name
option = dict(zip(words, words[1:]))
out = option.get("--out", "")
for part in ("variant", "seed"):
    if f"--{part}" in option:
        out = out.replace(f"{{{part}}}", option[f"--{part}"])
named = [line.split(": ", 1)[1].strip() for line in Path("params.yaml").read_text().splitlines() if "local" in line]
content = name
if name in ("identify", "weights"):
    of_pose = option.get("--parameter") == "pose.train.init_from"
    kind = ("checkpoint.pth", "config.py") if name == "identify" else ("start.pth" if of_pose else "backbone.pth",)
    content += "".join(Path(file).read_text() for file in named if file.endswith(kind))
made = [Path(words[0]) / "report.html"] if name == "html" else []
if out:
    made = [Path(out) / part for part in outs[name]] if name in outs else [Path(out)]
contents = dict.fromkeys(made, content)
if "{variant}" in out:
    table = yaml.safe_load(Path("params.yaml").read_text())
    contents = {}
    for variant, changes in table["variants"].items():
        source = Path(str({**table["train"], **changes.get("train", {})}.get("backbone_weights")))
        path = Path(out.replace("{variant}", variant))
        contents[path] = source.read_text() if source.is_file() else str(source)
for path, content in contents.items():
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
"""


def copy_with_stubs(folder: Path, *parts: str) -> Path:
    """Copy `parts` of the project, and its code, into a DVC repository of its own with stub programs."""
    for name in (*parts, ".dvcignore", "pipelines/arithmetic.yaml", "pirt", "stages"):
        source = ROOT / name
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            # What the pipelines made stays behind; `runs` is a room of the library too.
            ignore = shutil.ignore_patterns("__pycache__", *(["runs", "dvc.lock"] if "pipelines" in name else []))
            shutil.copytree(source, folder / name, ignore=ignore)
        else:
            shutil.copyfile(source, folder / name)
    (folder / "stub.py").write_text(STUB)
    for program in ("data", "pose", "train", "eval", "report"):
        script = folder / "bin" / f"pirt-{program}"
        script.parent.mkdir(exist_ok=True)
        script.write_text(f'#!/bin/sh\nexec {sys.executable} {folder}/stub.py {program} "$@"\n')
        script.chmod(0o755)
    dvc(folder, "init", "--quiet", "--no-scm")
    return folder


def dvc(folder: Path, *arguments: str, data: str | None = "/nowhere") -> str:
    """Run dvc in `folder`, at or below a copy with stubs; return what it says."""
    home = next(place for place in (folder, *folder.parents) if (place / "stub.py").is_file())
    path = os.pathsep.join([str(home / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {name: value for name, value in os.environ.items() if name != "PIRT_DATA"} | {"PATH": path}
    environment |= {"PIRT_DATA": data} if data else {}
    command = ["dvc", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return done.stdout


def lose_what_git_lacks(folder: Path) -> None:
    """Leave in a copy with stubs what a fresh clone has: of the outputs those that are not in DVC's cache."""
    with Repo(str(folder)) as repo:
        for out in repo.index.outs:
            path = Path(out.fs_path)
            if out.use_cache and path.is_dir():
                shutil.rmtree(path)
            elif out.use_cache:
                path.unlink(missing_ok=True)
        shutil.rmtree(repo.cache.local.path)
    # Git has no empty folders.
    for path in sorted(folder.glob("**/runs/**/"), reverse=True):
        if not any(path.iterdir()):
            path.rmdir()


def ran(said: str) -> set[str]:
    """Return the stages that a `dvc repro` ran."""
    return set(RAN.findall(said))
