import io
import sys

import pytest

from pirt.progress import progress, progress_over, say


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("screen", [io.StringIO, Terminal])
def test_a_bar_is_for_terminals(monkeypatch: pytest.MonkeyPatch, screen: type[io.StringIO]) -> None:
    monkeypatch.setattr(sys, "stderr", screen())
    assert list(progress_over("abc", "reading", "letter")) == ["a", "b", "c"]
    with progress(None, "unpacking", "B") as bar:
        bar.update(2_000_000)
    drawn = sys.stderr.getvalue()
    if screen is Terminal:
        assert "reading: 100%" in drawn
        assert "3/3" in drawn
        assert "2.00MB" in drawn
    else:
        assert drawn == ""


def test_what_is_said_is_a_line_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(3, "training", "step"):
        say("epoch 1")
    assert capsys.readouterr() == ("epoch 1\n", "")
