import pytest

from pirt_stages.report.plain import plain_cell, plain_code, plain_markdown


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_formula_stands_behind_an_apostrophe(text):
    assert plain_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["-1.25", "+3", "0.5", "pirt", "a=b", "", "–", "✓"])
def test_numbers_and_names_stay(text):
    assert plain_cell(text) == text


def test_markup_is_shown_and_not_followed():
    shown = plain_markdown("[x](http://e.com) <b>|`\n# h")
    assert not set("[]<>|`\n") & set(shown)
    assert plain_code("a`b\nc") == "a'b c"
