import html

import pytest

from pirt.core.texts import plain_cell
from pirt_stages.report.plain import plain_code, plain_markdown


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1+1"])
def test_a_formula_stands_behind_an_apostrophe(text):
    assert plain_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["-1.25", "+3", "0.5", "pirt", "a=b", "", "–", "✓"])
def test_numbers_and_names_stay(text):
    assert plain_cell(text) == text


def test_markup_is_shown_and_not_followed():
    text = "[x](http://e.com) www.e.com <b>|`*a* __b__ ~~c~~ @name $d$ \\e\n# h"
    shown = plain_markdown(text)
    assert not set("[]<>|`*~@$\\\n") & set(shown)
    assert not any(mark in shown for mark in ("://", "www.", "__"))
    assert html.unescape(shown) == text.replace("\n", " ")
    assert plain_markdown("resnet18_ibn_a: 1.5 ± 0.2") == "resnet18_ibn_a: 1.5 ± 0.2"
    assert plain_code("a`b\nc") == "a'b c"
