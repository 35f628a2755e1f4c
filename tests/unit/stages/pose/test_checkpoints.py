"""Checkpoints as MMEngine writes them load; anything that would run code is refused by name."""

import hashlib
import http.client
import os
import urllib.error
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pirt.core.errors import CheckpointError
from pirt_stages.pose.extraction.checkpoints import find_checkpoint, load_weights, read_weights


class _Evil:
    def __reduce__(self) -> Any:
        return os.system, ("echo this must never run",)


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
    linear = nn.Linear(2, 2)
    torch.save(_mmengine_checkpoint(linear), tmp_path / "epoch_3.pth")
    with pytest.raises(Exception, match="Weights only load failed"):
        torch.load(tmp_path / "epoch_3.pth", weights_only=True)
    weights = read_weights(tmp_path / "epoch_3.pth")
    assert weights.keys() == {"weight", "bias"}
    assert torch.equal(weights["weight"], linear.weight)


def test_reading_leaves_mmengines_statistics_as_they_were(tmp_path: Path) -> None:
    from mmengine.logging import HistoryBuffer

    torch.save(_mmengine_checkpoint(nn.Linear(2, 2)), tmp_path / "epoch_3.pth")
    read_weights(tmp_path / "epoch_3.pth")
    assert HistoryBuffer([1.0, 3.0], [1, 1]).statistics("mean") == 2.0


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_any_other_global_is_refused_by_name(tmp_path: Path, zipped: bool, capfd: pytest.CaptureFixture[str]) -> None:
    table = {"state_dict": {"weight": torch.ones(1)}, "meta": _Evil()}
    torch.save(table, tmp_path / "evil.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"posix\.system"):
        read_weights(tmp_path / "evil.pth")
    assert "never run" not in capfd.readouterr().out


class _Getattr:
    def __reduce__(self) -> Any:
        from mmengine.logging import HistoryBuffer

        return getattr, (HistoryBuffer, "update")


def test_getattr_is_only_for_mmengines_statistics(tmp_path: Path) -> None:
    torch.save({"state_dict": {"weight": torch.ones(1)}, "meta": _Getattr()}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match=r"names builtins\.getattr, which is refused"):
        read_weights(tmp_path / "evil.pth")


@pytest.mark.parametrize("content", [b"", b"hello" * 100, b"PK\x03\x04broken"])
def test_damaged_files_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"broken\.pth"):
        read_weights(tmp_path / "broken.pth")


def test_a_bare_state_dict_and_one_of_data_parallel_load(tmp_path: Path) -> None:
    torch.save({"module.weight": torch.ones(1)}, tmp_path / "bare.pth")
    assert read_weights(tmp_path / "bare.pth").keys() == {"weight"}


@pytest.mark.parametrize(
    "table",
    [{"state_dict": {"weight": 3}}, {"state_dict": [1]}, {"state_dict": {1: torch.ones(1)}}, {1: torch.ones(1)}, [1]],
)
def test_a_checkpoint_without_tensors_is_refused(tmp_path: Path, table: Any) -> None:
    torch.save(table, tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match="no 'state_dict' of tensors"):
        read_weights(tmp_path / "odd.pth")


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"weight": torch.ones(3, 3), "bias": torch.ones(2)}, "size mismatch for weight"),
        ({"weight": torch.ones(2, 2)}, "lacks 1 weights, as bias"),
        ({"weight": torch.ones(2, 2), "bias": torch.ones(2), "more": torch.ones(1)}, "has besides 1 weights, as more"),
    ],
)
def test_another_architecture_is_refused(tmp_path: Path, weights: dict[str, torch.Tensor], said: str) -> None:
    torch.save({"state_dict": weights}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=said):
        load_weights(nn.Linear(2, 2), tmp_path / "other.pth", "linear")


def test_offline_the_url_and_the_place_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(url: str, path: str) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(CheckpointError) as told:
        find_checkpoint("https://example.org/net-0e67c616_20220913.pth")
    assert "https://example.org/net-0e67c616_20220913.pth" in str(told.value)
    assert str(tmp_path / "checkpoints" / "net-0e67c616_20220913.pth") in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("error", [http.client.InvalidURL("nonnumeric port: 'port'"), ValueError("Invalid IPv6 URL")])
def test_what_is_no_url_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refuse(url: str, path: str) -> None:
        raise error

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    with pytest.raises(CheckpointError, match="cannot be fetched"):
        find_checkpoint("http://any:port/weights.pth")


def test_a_fetched_file_is_checked_by_the_hash_in_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    content = b"weights"
    digits = hashlib.sha256(content).hexdigest()[:8]
    for name in (f"net-{digits}_20220913.pth", "net-00000000_20220913.pth"):
        (tmp_path / "checkpoints" / name).write_bytes(content)
    assert find_checkpoint(f"https://example.org/net-{digits}_20220913.pth").read_bytes() == content
    with pytest.raises(CheckpointError, match="does not begin with 00000000"):
        find_checkpoint("https://example.org/net-00000000_20220913.pth")


def _fetch_the_url(url: str, path: str) -> None:
    Path(path).write_text(url)


def test_a_file_here_is_checked_too(tmp_path: Path) -> None:
    content = b"weights"
    digits = hashlib.sha256(content).hexdigest()[:8]
    for name in (f"net-{digits}_20220913.pth", "net-00000000_20220913.pth", "mine.pth"):
        (tmp_path / name).write_bytes(content)
    assert find_checkpoint(str(tmp_path / f"net-{digits}_20220913.pth")).read_bytes() == content
    assert find_checkpoint(str(tmp_path / "mine.pth")).read_bytes() == content
    with pytest.raises(CheckpointError, match=r"is damaged: its SHA-256 does not begin with 00000000; .* another file"):
        find_checkpoint(str(tmp_path / "net-00000000_20220913.pth"))


def test_a_date_in_a_name_is_no_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", _fetch_the_url)
    assert find_checkpoint("https://example.org/net-20220913.pth").name == "net-20220913.pth"
    with pytest.raises(CheckpointError, match="does not begin with 12345678"):
        find_checkpoint("https://example.org/net-20220913-12345678.pth")


def test_namesakes_are_fetched_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", _fetch_the_url)
    for url in ("https://example.org/a/best.pth", "https://example.org/b/best.pth"):
        assert find_checkpoint(url).read_text() == url


def test_a_missing_file_is_named() -> None:
    with pytest.raises(CheckpointError, match=r"nowhere\.pth does not exist"):
        find_checkpoint("nowhere.pth")
