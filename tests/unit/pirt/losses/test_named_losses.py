import pytest

import pirt.losses
from pirt.core.errors import ParamsError
from pirt.losses import metric_loss_named
from pirt.losses.triplet import batch_hard_triplet


def test_a_loss_is_found_by_its_file() -> None:
    assert metric_loss_named("triplet") is batch_hard_triplet


def test_a_file_that_is_added_is_a_loss(tmp_path, monkeypatch) -> None:
    (tmp_path / "zero.py").write_text("def metric_loss(anchors, *_):\n    return 0 * anchors.sum()\n")
    monkeypatch.setattr(pirt.losses, "__path__", [*pirt.losses.__path__, str(tmp_path)])
    assert metric_loss_named("zero").__module__ == "pirt.losses.zero"


@pytest.mark.parametrize("name", ["circle", "", "triplet.py", "../core/files", "os.system", "__init__"])
def test_another_name_is_refused_with_those_that_are_there(name: str) -> None:
    with pytest.raises(ParamsError, match="no such loss, expected one of triplet"):
        metric_loss_named(name)
