import errno
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from pirt.core.disk import require_seal
from pirt.core.errors import PirtError
from pirt.core.files import (
    files_named,
    is_free,
    is_refusal,
    put_in_place,
    refuse_other_files,
    require_apart,
    sha256_of,
    written_whole,
)
from pirt.core.texts import encoding_of
from pirt.heatmaps.shards import content_of


def test_a_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "out.txt"
    with written_whole(path) as beside:
        beside.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert [entry.name for entry in path.parent.iterdir()] == ["out.txt"]


def test_a_folder_replaces_the_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.mkdir()
    (path / "old").touch()
    with written_whole(path) as beside:
        beside.mkdir()
        (beside / "new").touch()
    assert [entry.name for entry in path.iterdir()] == ["new"]


def test_where_a_folder_cannot_be_replaced_the_earlier_one_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the system refuses it for a folder that is a disk of its own, or when the new one is gone."""
    (tmp_path / "out" / "deep").mkdir(parents=True)
    (tmp_path / "out" / "deep" / "old").touch()
    rename = Path.rename
    for refused in (tmp_path / "out", tmp_path / "new"):
        (tmp_path / "new").mkdir()

        def refusing(path: Path, target: Path) -> Path:
            if path == refused:  # noqa: B023
                raise OSError(errno.EBUSY, "is a mount point", str(path))
            return rename(path, target)

        for name in ("rename", "replace"):
            monkeypatch.setattr(Path, name, refusing)
        with pytest.raises(OSError, match="is a mount point"):
            put_in_place(tmp_path / "new", tmp_path / "out")
        monkeypatch.undo()
        (tmp_path / "new").rmdir()
        assert [file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*")] == [
            "out",
            "out/deep",
            "out/deep/old",
        ]


def test_a_folder_behind_a_link_is_replaced_and_the_link_kept(tmp_path: Path) -> None:
    (tmp_path / "far" / "out").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "out")
    with written_whole(tmp_path / "link") as beside:
        beside.mkdir()
        (beside / "new").touch()
    assert (tmp_path / "link").is_symlink()
    assert [entry.name for entry in (tmp_path / "far" / "out").iterdir()] == ["new"]


def test_a_folder_that_nobody_may_write_in_is_replaced_too(tmp_path: Path) -> None:
    """As other people than root meet it: in a process that has given root's rights away."""
    (tmp_path / "out" / "deep").mkdir(parents=True)
    (tmp_path / "out" / "deep" / "old").touch(0o444)
    (tmp_path / "new").mkdir()
    for folder in (tmp_path / "out" / "deep", tmp_path / "out"):
        folder.chmod(0o555)
    ended = _put_in_place_as_nobody(tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert [file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*")] == ["out"]


def test_a_folder_of_somebody_else_is_replaced_not_at_all(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can make files of two people")
    (tmp_path / "out" / "deep").mkdir(parents=True)
    (tmp_path / "out" / "deep" / "old").touch()
    (tmp_path / "new").mkdir()
    ended = _put_in_place_as_nobody(tmp_path, but="out/deep")
    assert "PermissionError" in ended.stderr
    left = sorted(file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*"))
    assert left == ["new", "out", "out/deep", "out/deep/old"]


_NOBODY = 65534
_WITHOUT_RIGHTS = """
import os, sys
from collections.abc import Callable
from pathlib import Path
from pirt.core.files import put_in_place

os.chdir(sys.argv[1])
if not os.geteuid():
    os.setgroups([])
    os.setresgid(*[int(sys.argv[2])] * 3)
    os.setresuid(*[int(sys.argv[2])] * 3)
put_in_place(Path("new"), Path("out"))
"""


def _put_in_place_as_nobody(here: Path, but: str = "-") -> "subprocess.CompletedProcess[str]":
    """Put `new` at `out` as nobody, whose all is but what lies at `but`; without root's rights as who we are."""
    if not os.geteuid():
        for place in (here, *here.rglob("*")):
            if not place.is_relative_to(here / but):
                os.chown(place, _NOBODY, _NOBODY)
    command = [sys.executable, "-c", _WITHOUT_RIGHTS, here, str(_NOBODY)]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_pipe_or_device_is_neither_read_nor_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "stdout").symlink_to("/proc/self/fd/1")
    for name in ("pipe", "zero"):
        for read in (sha256_of, encoding_of, require_seal):
            with pytest.raises(PirtError, match=f"{name} is a pipe or device, not a file"):
                read(tmp_path / name)
    for name in ("pipe", "zero", "stdout"):
        with pytest.raises(PirtError, match=f"{name} is a pipe or device and would be replaced"):
            _write_file(tmp_path / name)
    assert {entry.name for entry in tmp_path.iterdir()} == {"pipe", "zero", "stdout"}
    assert (tmp_path / "pipe").is_fifo()
    assert all((tmp_path / name).is_symlink() for name in ("zero", "stdout"))


@pytest.mark.parametrize("name", ["notes.txt", "deep/notes.txt", "deep/a.jpg/b.jpg", "deep/a.png"])
def test_what_somebody_put_into_an_output_is_named(tmp_path: Path, name: str) -> None:
    refuse_other_files(tmp_path / "none", ())
    (tmp_path / "deep").mkdir()
    for ours in ("ours", ".DS_Store", ".ours.0123abcd.partial", ".ours.lock", "deep/a[0].jpg"):
        (tmp_path / ours).touch()
    refuse_other_files(tmp_path, {"ours"}, {"deep/*.jpg"})
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    with pytest.raises(PirtError, match=f"holds {name}, which would be lost"):
        refuse_other_files(tmp_path, {"ours"}, {"deep/*.jpg"})


def _write_file(path: Path) -> None:
    with written_whole(path) as beside:
        beside.write_text("new")


def test_a_folder_is_never_replaced_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter").write_text("years")
    with pytest.raises(PirtError, match="thesis is a folder"):
        _write_file(tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter").read_text() == "years"
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis"]


@pytest.mark.parametrize("path", [".", "..", "/", "sub/.."])
def test_what_has_no_name_of_its_own_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(PirtError, match="does not name what to write"):
        _write_file(Path(path))


def test_foreign_files_are_named(tmp_path: Path) -> None:
    out = tmp_path / "out"
    refuse_other_files(out, ["a/b.npy"])
    (out / "a").mkdir(parents=True)
    refuse_other_files(out, ["a/b.npy"])
    (out / "a" / "b.npy").touch()
    refuse_other_files(out, ["a/b.npy"])
    (out / ".b.npy.0123abcd.partial").touch()
    refuse_other_files(out, ["a/b.npy"])
    (out / "a" / "c").symlink_to("nowhere")
    with pytest.raises(PirtError, match="out holds a/c, which would be lost"):
        refuse_other_files(out, ["a/b.npy"])
    with pytest.raises(PirtError, match=r"b\.npy is a file"):
        refuse_other_files(out / "a" / "b.npy", [])


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_an_input_that_parameters_name_is_not_the_output(tmp_path: Path, prefix: str) -> None:
    out = tmp_path / "my weights.pth"
    named = f"{prefix}{tmp_path}/x/../my{'%20' if prefix else ' '}weights.pth"
    (tmp_path / "x").mkdir()
    require_apart(out, named, None, "https://host/weights.pth")
    out.touch()
    require_apart(out, None, "https://host/weights.pth", tmp_path / "other.pth")
    with pytest.raises(PirtError, match=r"my weights\.pth is read by this command and would be replaced"):
        require_apart(out, None, named)


def test_a_kill_between_two_renames_loses_neither_folder(tmp_path: Path) -> None:
    """The earlier folder is aside and the new one not yet in its place: the next writer puts the earlier one back."""
    out = tmp_path / "out"
    (out / "deep").mkdir(parents=True)
    (out / "deep" / "kept").write_text("years")
    killed = (
        "import os, pathlib, sys; from pirt.core.files import written_whole; out = pathlib.Path(sys.argv[1])\n"
        "pathlib.Path.replace = lambda *paths: os.kill(os.getpid(), 9)\n"
        "with written_whole(out) as beside: beside.mkdir()"
    )
    assert subprocess.run([sys.executable, "-c", killed, out]).returncode == -9
    assert not out.exists()

    def refuse() -> None:
        with written_whole(out):
            raise PirtError("no")

    with pytest.raises(PirtError, match="no"):
        refuse()
    assert (out / "deep" / "kept").read_text() == "years"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_folders_that_could_not_be_removed_are_in_nobodys_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with too many open files, when the earlier folder is aside."""
    out = tmp_path / "out"
    out.mkdir()

    def refused(folder: Path) -> None:
        raise OSError(errno.EMFILE, "Too many open files", str(folder))

    for _ in range(2):
        (tmp_path / "new").mkdir()
        with monkeypatch.context() as patch:
            patch.setattr("shutil.rmtree", refused)
            with pytest.raises(OSError, match="Too many"):
                put_in_place(tmp_path / "new", out)
    refuse_other_files(tmp_path, ("out",))
    with written_whole(out) as beside:
        beside.mkdir()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_failure_leaves_the_earlier_output_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("old")

    def fail(path: Path) -> None:
        with written_whole(path) as beside:
            beside.write_text("half")
            raise RuntimeError("stopped")

    for out in (path, tmp_path / "new" / "deep" / "out.txt"):
        with pytest.raises(RuntimeError, match="stopped"):
            fail(out)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.rglob("*")] == ["out.txt"]


_KILLED = """
import os, signal, sys
from collections.abc import Callable
from pathlib import Path
from pirt.core.files import written_whole

with written_whole(Path(sys.argv[1])) as beside:
    beside.mkdir() if sys.argv[2] == "folder" else beside.write_text("half")
    print("writing", flush=True)
    sys.stdin.read()
"""


def test_files_that_are_being_written_are_not_found(tmp_path: Path) -> None:
    for folder in ("a.b", "a"):
        (tmp_path / folder).mkdir()
        _write_file(tmp_path / folder / "out")
    with written_whole(tmp_path / "a" / "out") as beside:
        beside.touch()
        assert files_named("out", tmp_path) == [tmp_path / "a" / "out", tmp_path / "a.b" / "out"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_kill_left_is_removed_once_nobody_holds_it(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "out"
    command = [sys.executable, "-c", _KILLED, path, kind]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        _write_file(path)  # of another process, which is alive
        left = [entry.name for entry in tmp_path.iterdir() if entry != path]
        assert len(left) == 1
        process.kill()
    (tmp_path / f".{path.name}.txt.0123abcd.partial").touch()  # another output's
    (tmp_path / f".{path.name}.0123abcd.partial").touch()  # as versions before left it
    _write_file(path)
    assert {entry.name for entry in tmp_path.iterdir()} == {"out", ".out.txt.0123abcd.partial"}


def test_a_write_that_fails_names_the_output_and_a_read_its_own_file(tmp_path: Path) -> None:
    def fail(number: int, *named: str) -> None:
        with written_whole(tmp_path / "out"):
            raise OSError(number, os.strerror(number), *named)

    for number in (errno.ENOSPC, errno.EIO):
        with pytest.raises(OSError, match=rf"{os.strerror(number)}: '\S+/out'"):
            fail(number)
    with pytest.raises(OSError, match="Input/output error: 'image'"):
        fail(errno.EIO, "image")

    def fill_both() -> None:
        with written_whole(tmp_path / "out"), written_whole(tmp_path / "inner") as beside:
            raise OSError(errno.ENOSPC, "No space left on device", str(beside))

    with pytest.raises(OSError, match=r"No space left on device: '\S+/inner'"):
        fill_both()


def test_a_place_before_a_files_beginning_is_damage_and_no_refusal(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    with (tmp_path / "file").open("rb") as file, pytest.raises(OSError, match="Invalid argument") as before:
        file.seek(-1, os.SEEK_CUR)
    assert not is_refusal(before.value)
    for number in (errno.EMFILE, errno.EACCES, errno.EIO, errno.ENOMEM, errno.ESTALE):
        assert is_refusal(OSError(number, os.strerror(number)))


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"pirt" * 100_000)
    assert sha256_of(path) == hashlib.sha256(b"pirt" * 100_000).hexdigest()


@pytest.mark.parametrize("name", [".DS_Store", "._weights", "Thumbs.db", "desktop.ini", "THUMBS.DB"])
def test_what_desktops_leave_is_nobodys(tmp_path: Path, name: str) -> None:
    (tmp_path / "out").mkdir()
    assert is_free(tmp_path / "out")
    (tmp_path / "out" / name).touch()
    assert is_free(tmp_path / "out")
    refuse_other_files(tmp_path / "out", ("ours",))
    (tmp_path / "out" / "thesis.tex").touch()
    assert not is_free(tmp_path / "out")
    with pytest.raises(PirtError, match=r"holds thesis\.tex"):
        refuse_other_files(tmp_path / "out", ("ours",))


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="no file is at hand whose reading fails")
@pytest.mark.parametrize("read", [sha256_of, encoding_of, require_seal, content_of])
def test_a_read_that_fails_names_its_file(tmp_path: Path, read: Callable[[Path], object]) -> None:
    link = tmp_path / "link"
    # Nothing is mapped at its first bytes, so the system reports an I/O error.
    link.symlink_to("/proc/self/mem")
    with pytest.raises(OSError, match="Input/output error") as told:
        read(link)
    assert told.value.filename == str(link)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".tif", ".gif"])
def test_an_image_is_only_replaced_by_a_picture(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"photograph{suffix}"
    Image.new("RGB", (8, 4)).save(path)
    before = path.read_bytes()
    with pytest.raises(PirtError, match="is an image and would be replaced; name another file"):
        _write_file(path)
    assert path.read_bytes() == before
    with written_whole(path, picture=True) as beside:
        beside.write_bytes(b"another")
    assert path.read_bytes() == b"another"


def test_a_picture_only_replaces_an_image(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("years")
    with (
        pytest.raises(PirtError, match=r"notes.txt is not an image and would be replaced"),
        written_whole(path, picture=True),
    ):
        pass
    assert path.read_text() == "years"
