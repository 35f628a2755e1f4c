import subprocess
import sys


def test_importing_the_library_needs_nothing_of_stage_1() -> None:
    program = "import pirt, sys; print({n.split('.')[0] for n in sys.modules} & {'mmpose', 'mmcv', 'dask', 'dvc'})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
