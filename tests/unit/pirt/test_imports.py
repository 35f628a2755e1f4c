import json
import subprocess
import sys
from pathlib import Path

import pytest

import pirt

FOREIGN = ("pirt_stages", "mmpose", "mmcv", "mmengine", "dask", "distributed", "dvc", "dvclive")
PROGRAM = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""


@pytest.mark.slow
def test_no_module_of_the_library_loads_a_program_or_stage_1() -> None:
    """In a process of its own: what other tests have imported would hide what these do."""
    (folder,) = map(Path, pirt.__path__)
    files = [path.relative_to(folder.parent).with_suffix("") for path in sorted(folder.rglob("*.py"))]
    modules = [".".join(part for part in file.parts if part != "__init__") for file in files]
    assert {"pirt", "pirt.heatmaps.reader", "pirt.training.recipe", "pirt.visual.figures"} <= set(modules)
    done = subprocess.run([sys.executable, "-c", PROGRAM, *modules], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = json.loads(done.stdout)
    assert {"pirt", "torch", "zarr"} <= set(loaded)
    assert not set(FOREIGN) & set(loaded)
