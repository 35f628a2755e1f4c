import errno
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure

from pirt.core.errors import DataError
from pirt.core.files import written_whole
from pirt_stages.command import Group


@click.group(cls=Group)
def program() -> None:
    pass


@program.command()
def mendable() -> None:
    raise DataError("image 'a.jpg' is empty; copy it again")


@program.command()
def bug() -> None:
    raise KeyError("inner")


@program.command()
def hungry() -> None:
    raise MemoryError


@program.command()
@click.argument("said")
def refused(said: str) -> None:
    """As PyTorch, oneDNN, threads and the loader of libraries say what the system refused them."""
    if said.startswith("failed"):
        raise ImportError(f"backend.so: {said}")
    if not said.startswith("unable"):
        raise RuntimeError(said)
    try:
        raise RuntimeError(said)
    except RuntimeError as error:
        raise DataError("weights are damaged; make them again") from error


@program.command()
def loud() -> None:
    raise DataError(f"\x1b[2J {'x' * 100_000}; copy it again")


@program.command()
@click.argument("path", type=Path)
def write(path: Path) -> None:
    with written_whole(path) as beside:
        beside.write_text("content")


@program.command()
@click.argument("number", type=int)
def fail(number: int) -> None:
    raise OSError(number, os.strerror(number)) if number else OSError("of a library")


@program.command()
@click.option("--run", type=click.Path(path_type=Path))
@click.option("--heatmaps", type=click.Path(path_type=Path))
@click.option("--checkpoint")
@click.option("--variant")
@click.option("--seed", type=int)
@click.option("--contact-sheet", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path))
def make(out: Path, **others: object) -> None:
    with written_whole(out) as beside:
        beside.write_text("made")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--checkpoint", "weights.pth", "--out", "./weights.pth"],
            "--out weights.pth is also --checkpoint weights.pth",
        ),
        (["--run", "run", "--out", "run/weights.pth"], "--out run/weights.pth is a part of --run run and would be"),
        (
            ["--run", "a-seed1", "--variant", "a", "--seed", "1", "--out", "{variant}-seed{seed}"],
            "--out a-seed1 is also --run a-seed1",
        ),
        (
            ["--checkpoint", "weights.pth", "--contact-sheet", "weights.pth", "--out", "run/new"],
            "--contact-sheet weights.pth is also --checkpoint weights.pth",
        ),
        (["--run", "run", "--out", "run/new"], None),
        (
            ["--heatmaps", "run", "--out", "run/new"],
            "--out run/new lies in --heatmaps run, a store; name another --out",
        ),
        (["--variant", "weights.pth", "--out", "weights.pth"], None),
        (["--checkpoint", "https://host/weights.pth", "--out", "weights.pth"], None),
    ],
)
def test_an_input_is_never_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("run", "a-seed1"):
        Path(folder).mkdir()
    for name in ("weights.pth", "run/weights.pth"):
        Path(name).write_text("years")
    result = CliRunner().invoke(program, ["make", *words])
    assert result.exit_code == (2 if said else 0), result.output
    assert said is None or said in result.stderr
    assert Path("weights.pth").read_text() == ("made" if said is None and "weights.pth" in words[-1:] else "years")
    assert said or Path(words[-1]).read_text() == "made"


def test_a_mendable_error_is_one_line_and_exit_code_2() -> None:
    result = CliRunner().invoke(program, ["mendable"])
    assert result.exit_code == 2
    assert result.stderr == "Error: image 'a.jpg' is empty; copy it again\n"


def test_a_lack_of_memory_is_one_line_and_exit_code_2() -> None:
    result = CliRunner().invoke(program, ["hungry"])
    assert result.exit_code == 2
    assert "not enough memory" in result.stderr


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("could not create a primitive", "not enough memory"),
        ("failed to map segment from shared object", "not enough memory"),
        ("CUDA error: out of memory", "not enough memory"),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", "not enough memory"),
        ("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", "not enough memory"),
        ("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED", "not enough memory"),
        ("NCCL error: unhandled cuda error\nLast error:\nCuda failure 2 'out of memory'", "not enough memory"),
        ("CUDA error: no kernel image is available for execution on the device\nSearch for", "pass --device cpu"),
        ("CUDA error: CUDA-capable device(s) is/are busy or unavailable", "another process has this GPU to itself"),
        ("can't start new thread", "refuses another thread; allow more (ulimit -u)"),
        (
            "unable to open file <run/weights> in read-only mode: Too many open files (24)",
            "run/weights: Too many open files; allow more open files (ulimit -n)",
        ),
    ],
)
def test_what_the_system_refuses_a_library_is_one_line_and_no_damage(said: str, told: str) -> None:
    result = CliRunner().invoke(program, ["refused", said])
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1), result.exception
    assert told in result.stderr
    assert "damaged" not in result.stderr


def test_a_message_neither_fills_nor_steers_the_terminal() -> None:
    shown = CliRunner().invoke(program, ["loud"]).stderr
    assert len(shown) < 3000
    assert "\x1b" not in shown
    assert shown.endswith("; copy it again\n")


_SLOW = """
import sys, time
from pathlib import Path
import click
from pirt.core.files import written_whole
from pirt_stages.command import Command

@click.command(cls=Command)
def main():
    with written_whole(Path(sys.argv[1])) as beside:
        beside.write_text("half")
        print("writing", flush=True)
        time.sleep(60)
main(args=[])
"""


def test_sigterm_leaves_nothing_half_written(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _SLOW, tmp_path / "out"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        assert len(list(tmp_path.iterdir())) == 1
        process.terminate()
        assert process.wait(60) == 143
    assert not list(tmp_path.iterdir())


_SWALLOWS = """
import sys, time
import click
from pirt_stages.command import Command

@click.command(cls=Command)
def main():
    try:
        print("working", flush=True)
        time.sleep(60)
    except:  # as MMEngine's formatter of configs does
        raise SyntaxError("Failed to format the config file")
main(args=[])
"""

_LOADS_SLOWLY = """
import sys, types
from pirt_stages import programs
programs.MODULES["train"] = "slow"
class Slow:
    def find_spec(self, name, *_):
        if name == "slow":
            print("working", flush=True)
            import time
            time.sleep(60)
sys.meta_path.insert(0, Slow())
programs.train()
"""


_IN_A_FINALIZER = """
import time
import click
from pirt_stages.command import Command
class Held:
    def __del__(self):
        print("working", flush=True)
        time.sleep(60)
@click.command(cls=Command)
def main():
    Held()
    time.sleep(60)
main(args=[])
"""


@pytest.mark.parametrize(
    "script",
    [_SWALLOWS, _LOADS_SLOWLY, _IN_A_FINALIZER],
    ids=["in a command", "while libraries are loaded", "in a finalizer"],
)
def test_ctrl_c_is_one_line_and_130(script: str) -> None:
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"working\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20)[1] == b"Aborted!\n"
    assert process.returncode == 130


_WHILE_LETTING_GO = """
import signal
import click
from pirt_stages.command import Command
restore = signal.signal
def interrupted(number, handler):
    before = restore(number, handler)
    if number == signal.SIGINT and handler is signal.default_int_handler:
        signal.raise_signal(number)
    return before
signal.signal = interrupted
@click.command(cls=Command)
def main():
    pass
main(args=[])
"""


def test_ctrl_c_just_after_a_command_is_one_line_and_130() -> None:
    done = subprocess.run([sys.executable, "-c", _WHILE_LETTING_GO], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "Aborted!\n")


_ZARR_AT_WORK = """
import sys, time, types
from pirt_stages import programs
def main():
    import zarr
    from zarr.core import sync
    zarr.create_array(zarr.storage.MemoryStore(), shape=1, dtype="u1")[...]
    sync.loop[0].call_soon_threadsafe(time.sleep, 1)
    print("done")
programs.MODULES["pose"] = "stub"
sys.modules["stub"] = types.SimpleNamespace(main=main)
programs.pose()
"""


def test_the_end_of_zarr_is_waited_for() -> None:
    """As on a loaded machine, where it takes long to come to its turn."""
    done = subprocess.run([sys.executable, "-c", _ZARR_AT_WORK], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(KeyError, match="inner"):
        CliRunner().invoke(program, ["bug"], catch_exceptions=False)


def _said(*arguments: object) -> str:
    result = CliRunner().invoke(program, [str(argument) for argument in arguments])
    assert result.exit_code == 2, result.exception
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_what_the_system_refuses_is_one_line_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere" / "far")
    assert f"Error: {tmp_path}/dangling: File exists; choose another name" in _said("write", tmp_path / "dangling/a")
    assert f"Error: {tmp_path}/file: File exists; choose another name" in _said("write", tmp_path / "file" / "a")
    assert "File name too long; choose a shorter name and run" in _said("write", tmp_path / ("x" * 300))
    assert "Error: /proc/" in _said("write", "/proc/self/nothing/a")


def test_a_refusal_that_names_no_file_is_one_line() -> None:
    assert _said("fail", errno.ENOSPC) == (
        "Error: No space left on device; make room there and run the same command again\n"
    )
    assert "Error: Input/output error; fix that and run" in _said("fail", errno.EIO)


def test_an_error_of_a_library_keeps_its_traceback() -> None:
    with pytest.raises(OSError, match="of a library"):
        CliRunner().invoke(program, ["fail", "0"], catch_exceptions=False)


def test_a_closed_pipe_is_no_error_of_the_user() -> None:
    result = CliRunner().invoke(program, ["fail", str(errno.EPIPE)])
    assert result.exit_code == 1
    assert result.stderr == ""


_SAYS = """
import click
from pirt.core.errors import DataError
from pirt_stages.command import Command

@click.command(cls=Command)
@click.option("--fail", is_flag=True)
def main(fail):
    "Options – and τ."
    if fail:
        raise DataError("人.jpg ✗")
    click.echo("✓ τ 0.1 – 0.2 × 人 ± é")
main()
"""


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        # click writes UTF-8 where it finds ASCII, and terminals of the C locale mostly show it.
        ("ascii", "✓ τ 0.1 – 0.2 × 人 ± é"),
        ("latin-1", "+ tau 0.1 - 0.2 × ? ± é"),
        ("cp1252", "+ tau 0.1 – 0.2 × ? ± é"),
        ("gbk", "+ τ 0.1 – 0.2 × 人 ± é"),
        ("utf-8", "✓ τ 0.1 – 0.2 × 人 ± é"),
    ],
)
def test_what_a_terminal_cannot_print_is_replaced(encoding: str, said: str) -> None:
    environment = os.environ | {"PYTHONIOENCODING": encoding}

    def output(*arguments: str) -> tuple[int, str, str]:
        ended = subprocess.run([sys.executable, "-c", _SAYS, *arguments], env=environment, capture_output=True)
        written = "utf-8" if encoding == "ascii" else encoding
        return ended.returncode, ended.stdout.decode(written), ended.stderr.decode(written)

    assert output() == (0, f"{said}\n", "")
    assert output("--help")[0] == 0
    code, _, error = output("--fail")
    assert code == 2
    assert error.startswith("Error: ")
    assert error.count("\n") == 1


def test_what_colorama_has_wrapped_is_printed_on_too() -> None:
    """As DVCLive lets it do on import."""
    code = "import colorama; colorama.init()" + _SAYS.replace("click.echo(", "print(")
    environment = os.environ | {"PYTHONIOENCODING": "latin-1"}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert (ended.returncode, ended.stdout.decode("latin-1"), ended.stderr) == (0, "+ tau 0.1 - 0.2 × ? ± é\n", b"")


@program.command()
def draw() -> None:
    figure = Figure()
    figure.text(0, 0, "人")
    figure.savefig(io.BytesIO())


def test_what_a_picture_cannot_print_is_nothing_to_warn_of() -> None:
    assert CliRunner().invoke(program, ["draw"], catch_exceptions=False).output == ""
