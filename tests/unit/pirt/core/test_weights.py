"""Weights load from the files that people have; whatever would run code, or is not finite, is refused in one line."""

import argparse
import hashlib
import http.server
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from pirt.core.errors import CheckpointError
from pirt.core.weights import fetch, named_hash, read_weights, require_named_hash

PLAIN = OrderedDict({"conv.weight": torch.rand(2, 3, 1, 1), "bn.num_batches_tracked": torch.tensor(7)})
PARALLEL = {f"module.{name}": value for name, value in PLAIN.items()}


def saved(folder: Path, content: Any, name: str = "weights.pth", **options: Any) -> Path:
    torch.save(content, folder / name, **options)
    return folder / name


def one_line(path: Path) -> str:
    with pytest.raises(CheckpointError) as refused:
        read_weights(path)
    assert "\n" not in str(refused.value)
    assert str(path) in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PARALLEL,
        {"state_dict": PLAIN, "epoch": 210},
        {"state_dict": PARALLEL, "optimizer": {"state": {}, "param_groups": []}},
        {"model": PLAIN, "epoch": 3},
        {"model": {"state_dict": PARALLEL}},
        {"student": {"other": torch.ones(1)}, "teacher": PLAIN},
    ],
    ids=["bare", "parallel", "state_dict", "state_dict parallel", "model", "twice", "teacher"],
)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_every_wrapping_comes_off(tmp_path: Path, content: Any, zipped: bool) -> None:
    weights = read_weights(saved(tmp_path, content, _use_new_zipfile_serialization=zipped))
    assert weights.keys() == PLAIN.keys()
    assert all(torch.equal(weights[name], value) for name, value in PLAIN.items())


def test_a_part_called_module_keeps_its_name(tmp_path: Path) -> None:
    names = {"module.weight": torch.ones(1), "head.weight": torch.ones(1)}
    assert read_weights(saved(tmp_path, names)).keys() == names.keys()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_precision_becomes_float32_and_counts_stay_whole(tmp_path: Path, dtype: torch.dtype) -> None:
    weights = read_weights(
        saved(tmp_path, {"weight": torch.tensor([0.5, -2.0], dtype=dtype), "count": torch.tensor(3)})
    )
    assert torch.equal(weights["weight"], torch.tensor([0.5, -2.0]))
    assert weights["weight"].dtype == torch.float32
    assert weights["count"].dtype == torch.int64


def test_safetensors_are_read_too(tmp_path: Path) -> None:
    save_file({"model.weight": torch.ones(2, dtype=torch.bfloat16)}, tmp_path / "vit.safetensors")
    assert torch.equal(read_weights(tmp_path / "vit.safetensors")["model.weight"], torch.ones(2))
    for damage in (b"", b"hello" * 9, (tmp_path / "vit.safetensors").read_bytes()[:-1]):
        (tmp_path / "cut.safetensors").write_bytes(damage)
        assert "is damaged" in one_line(tmp_path / "cut.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_what_is_not_finite_is_named(tmp_path: Path, value: float, dtype: torch.dtype) -> None:
    content = {"state_dict": {"a.weight": torch.ones(3), "b.running_var": torch.tensor([1, value], dtype=dtype)}}
    assert "NaN or infinity in b.running_var;" in one_line(saved(tmp_path, content))
    content["state_dict"]["c"] = torch.tensor(value)
    assert "in b.running_var and 1 more weights;" in one_line(saved(tmp_path, content))


def test_a_negative_variance_is_named(tmp_path: Path) -> None:
    content = {"state_dict": {"a.weight": -torch.ones(3), "b.running_var": torch.tensor([1, -1e-9])}}
    assert "is damaged: b.running_var holds a negative variance;" in one_line(saved(tmp_path, content))


class _Evil:
    def __reduce__(self) -> Any:
        return os.system, ("echo this must never run",)


def test_a_byte_that_turned_is_noticed(tmp_path: Path) -> None:
    """PyTorch's own reader takes a tensor with a turned bit for a whole one."""
    path = saved(tmp_path, {"state_dict": PLAIN})
    whole = path.read_bytes()
    for name, value in PLAIN.items():
        content = bytearray(whole)
        content[whole.index(value.numpy().tobytes())] ^= 1
        path.write_bytes(content)
        assert name in torch.load(path)["state_dict"]
        assert "is damaged" in one_line(path)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    ("foreign", "named"), [(_Evil(), "posix.system"), (SimpleNamespace(lr=0.1), "types.SimpleNamespace")]
)
def test_a_foreign_global_is_refused_by_name_with_the_fix(
    tmp_path: Path, zipped: bool, foreign: Any, named: str, capfd: pytest.CaptureFixture[str]
) -> None:
    table = {"state_dict": {"weight": torch.ones(1)}, "args": foreign}
    said = one_line(saved(tmp_path, table, _use_new_zipfile_serialization=zipped))
    assert f"names {named}, which is refused" in said
    assert "save its state_dict alone" in said
    assert "never run" not in capfd.readouterr().out


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_command_line_that_was_saved_beside_the_weights_is_passed_over(tmp_path: Path, zipped: bool) -> None:
    options = argparse.Namespace(arch="vit_small", lr=0.1, crop=(0.4, 1.0), out=None)
    table = {"teacher": {"weight": torch.ones(1)}, "args": options}
    assert read_weights(saved(tmp_path, table, _use_new_zipfile_serialization=zipped)).keys() == {"weight"}
    options.hook = _Evil()
    assert "names posix.system, which is refused" in one_line(saved(tmp_path, table))


def test_a_whole_pickled_network_is_refused_by_name(tmp_path: Path) -> None:
    assert "names torch.nn.modules.linear.Linear" in one_line(saved(tmp_path, nn.Linear(2, 2)))


class _Getattr:
    def __reduce__(self) -> Any:
        from mmengine.logging import HistoryBuffer

        return getattr, (HistoryBuffer, "update")


def test_getattr_is_only_for_mmengines_statistics(tmp_path: Path) -> None:
    pytest.importorskip("mmengine")
    table = {"state_dict": {"weight": torch.ones(1)}, "meta": _Getattr()}
    assert "names builtins.getattr, which is refused" in one_line(saved(tmp_path, table))


def _mmengine_checkpoint(weights: nn.Module) -> dict[str, Any]:
    """Build what MMEngine's Runner saves, from its own classes."""
    from mmengine.logging import MessageHub

    hub = MessageHub.get_instance("checkpoint-test")
    for loss in (0.5, np.float64(0.25), torch.tensor(0.125)):
        hub.update_scalar("train/loss", loss)
    hub.update_info("epoch", 3)
    hub.update_info("lr", np.float32(0.1))
    hub.update_info("iter", np.int64(7))
    optimizer = torch.optim.Adam(weights.parameters())
    weights(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return {
        "meta": {"cfg": "x = 1", "epoch": 3, "dataset_meta": {"sigmas": np.array([0.1]), "names": np.array(["nose"])}},
        "state_dict": weights.state_dict(),
        "message_hub": hub.state_dict(),
        "optimizer": optimizer.state_dict(),
    }


def test_a_file_made_of_mmengines_own_classes_loads(tmp_path: Path) -> None:
    pytest.importorskip("mmengine")
    from mmengine.logging import HistoryBuffer

    linear = nn.Linear(2, 2)
    path = saved(tmp_path, _mmengine_checkpoint(linear))
    with pytest.raises(Exception, match="Weights only load failed"):
        torch.load(path, weights_only=True)
    weights = read_weights(path)
    assert weights.keys() == {"weight", "bias"}
    assert torch.equal(weights["weight"], linear.weight)
    # MMEngine's own statistics are as they were.
    assert HistoryBuffer([1.0, 3.0], [1, 1]).statistics("mean") == 2.0


@pytest.mark.parametrize("content", [b"", b"hello" * 100, b"PK\x03\x04broken"])
def test_damaged_files_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.pth").write_bytes(content)
    assert "not a PyTorch checkpoint" in one_line(tmp_path / "broken.pth")


@pytest.mark.parametrize("tail", [b"", b"x" * 200_000], ids=["cut", "foreign end"])
def test_a_zip_that_ends_anywhere_is_named(tmp_path: Path, tail: bytes) -> None:
    content = saved(tmp_path, PLAIN).read_bytes()
    for end in range(5, len(content), 37):
        (tmp_path / "cut.pth").write_bytes(content[:end] + tail)
        assert "not a PyTorch checkpoint" in one_line(tmp_path / "cut.pth")


def _pickled(program: bytes, path: Path, zipped: bool) -> Path:
    """Write a checkpoint whose pickle is `program`, into a file that PyTorch wrote."""
    saved(path.parent, {"a": 1}, path.name, _use_new_zipfile_serialization=zipped)
    if not zipped:
        content, whole = path.read_bytes(), pickle.dumps({"a": 1}, 2)
        assert content.count(whole) == 1
        path.write_bytes(content.replace(whole, program))
        return path
    with zipfile.ZipFile(path) as packed:
        records = {name: packed.read(name) for name in packed.namelist()}
    with zipfile.ZipFile(path, "w") as packed:
        for name, record in records.items():
            packed.writestr(name, program if name.endswith("/data.pkl") else record)
    return path


_LONG = b"x" * 200_000
_TEXT = b"X" + struct.pack("<I", len(_LONG)) + _LONG


# PyTorch would word each refusal with a pattern that takes minutes on so long a word.
@pytest.mark.timeout(20)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    "program",
    [
        b"c" + _LONG + b"\nname\n.",
        b"cos\n" + _LONG + b"\n.",
        _TEXT + b")R.",
        _TEXT + b")\x81.",
        _TEXT + b"\x85)R.",
        _TEXT + b"q\x00}q\x01h\x00K\x01sh\x00)R.",
        b"cbuiltins\ngetattr\n" + _TEXT + _TEXT + b"\x86R.",
    ],
    ids=["module", "name", "call of a text", "object of a text", "call of a tuple", "remembered", "getattr"],
)
def test_a_long_word_where_a_name_belongs_takes_no_time(tmp_path: Path, program: bytes, zipped: bool) -> None:
    assert len(one_line(_pickled(b"\x80\x02" + program, tmp_path / "long.pth", zipped))) < 2000


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_long_texts_beside_the_weights_do_not_matter(tmp_path: Path, zipped: bool) -> None:
    table = {"state_dict": PLAIN, "meta": {"note": "x" * 200_000, "history": np.ones(100_000, np.int64)}}
    assert read_weights(saved(tmp_path, table, _use_new_zipfile_serialization=zipped)).keys() == PLAIN.keys()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.jit's, which people's files were made with
def test_a_torchscript_program_is_told_apart(tmp_path: Path) -> None:
    torch.jit.script(nn.Linear(2, 2)).save(tmp_path / "scripted.pt")
    assert "is a TorchScript program; save its state_dict() alone" in one_line(tmp_path / "scripted.pt")


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"state_dict": {}},
        {"state_dict": {"weight": 3}},
        {"state_dict": [1]},
        {"state_dict": {1: torch.ones(1)}},
        {1: torch.ones(1)},
        [1],
    ],
)
def test_a_checkpoint_without_tensors_is_refused(tmp_path: Path, table: Any) -> None:
    assert "has no state dict of tensors" in one_line(saved(tmp_path, table))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "does not exist" in one_line(tmp_path / "nowhere.pth")
    with pytest.raises(CheckpointError, match=r"nowhere\.pth does not exist"):
        fetch("nowhere.pth")


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


@pytest.fixture
def server() -> Iterator[str]:
    """Serve each path's own text, and only half of it below /cut/."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = self.path.encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if "/cut/" in self.path else content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        Thread(target=serving.serve_forever).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()


# Nobody listens there, the port is no number, the address has no end.
@pytest.mark.parametrize("place", ["http://127.0.0.1:1", "http://127.0.0.1:port", "http://[::1"])
def test_what_cannot_be_fetched_is_told_with_its_place(kept: Path, place: str) -> None:
    url = f"{place}/net-0e67c616_20220913.pth"
    with pytest.raises(CheckpointError) as told:
        fetch(url)
    assert f"{url} cannot be fetched" in str(told.value)
    assert f"put it at {kept / 'net-0e67c616_20220913.pth'}" in str(told.value)
    assert "\n" not in str(told.value)


def test_a_fetched_file_is_checked_by_the_hash_in_its_name(kept: Path) -> None:
    kept.mkdir(parents=True)
    content = b"weights"
    digits = hashlib.sha256(content).hexdigest()[:8]
    for name in (f"net-{digits}_20220913.pth", "net-00000000_20220913.pth"):
        (kept / name).write_bytes(content)
    assert fetch(f"https://example.org/net-{digits}_20220913.pth").read_bytes() == content
    with pytest.raises(CheckpointError, match="does not begin with 00000000"):
        fetch("https://example.org/net-00000000_20220913.pth")


def test_namesakes_are_fetched_apart(kept: Path, server: str) -> None:
    for place in ("/a/best.pth", "/b/best.pth"):
        assert fetch(server + place).read_text() == place


def test_what_is_asked_of_the_server_is_not_in_the_name(kept: Path, server: str) -> None:
    assert fetch(f"{server}/m/model.safetensors?download=true").name == "model.safetensors"


@pytest.mark.parametrize("protocol", [4, 5])
def test_a_pickle_that_only_other_readers_take_says_so(tmp_path: Path, protocol: int) -> None:
    path = saved(tmp_path, PLAIN, pickle_protocol=protocol)
    assert f"was saved with pickle protocol {protocol}; save it again" in one_line(path)


def test_what_a_broken_connection_left_is_not_kept(kept: Path, server: str) -> None:
    with pytest.raises(CheckpointError, match="ended after 6 of 13 bytes"):
        fetch(f"{server}/cut/best.pth")
    assert not list(kept.rglob("*"))


@pytest.mark.parametrize(
    ("name", "digits"),
    [
        ("resnet50_ibn_a-d9d0bb7b.pth", "d9d0bb7b"),
        ("td-hm_hrnet-w48_8xb32-210e_coco-256x192-0e67c616_20220913.pth", "0e67c616"),
        ("net-20220913.pth", None),
        ("net-20220913-12345678.pth", "12345678"),
        ("pose_hrnet_w48_256x192.pth", None),
        (f"net-{'a' * 64}.pth", "a" * 64),
    ],
)
def test_digits_in_published_names(name: str, digits: str | None) -> None:
    assert named_hash(name) == digits


def test_a_file_here_can_be_checked_too(tmp_path: Path) -> None:
    digits = hashlib.sha256(b"weights").hexdigest()[:8]
    for name in (f"net-{digits}_20220913.pth", "net-00000000_20220913.pth", "mine.pth"):
        (tmp_path / name).write_bytes(b"weights")
    require_named_hash(tmp_path / f"net-{digits}_20220913.pth")
    require_named_hash(tmp_path / "mine.pth")
    with pytest.raises(CheckpointError, match=r"is damaged: its SHA-256 does not begin with 00000000; .* another file"):
        require_named_hash(tmp_path / "net-00000000_20220913.pth")
