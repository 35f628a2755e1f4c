"""What is cut all at once, and what is left to `csv.reader`; that both read alike is a property test."""

import pytest

from pirt.core.plain_rows import plain_rows

LINES = ["k,p/é.jpg,train,-1,0,ab\n", ",,query,007,-12,\n", "k3,p,gallery,123456789012345678,3,cd\n"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("ended", [True, False])
def test_plain_lines_are_cut(delimiter: str, ended: bool) -> None:
    text = "".join(LINES).replace(",", delimiter)
    rows = plain_rows(text if ended else text[:-1], delimiter)
    assert rows is not None
    cut = [
        [rows.utf8[start : start + length].decode() for start, length in zip(*column, strict=True)]
        for column in rows.texts
    ]
    assert cut == [["k", "", "k3"], ["p/é.jpg", "", "p"], ["ab", "", "cd"]]
    assert rows.splits.tolist() == [0, 1, 2]
    assert rows.pids.tolist() == [-1, 7, 123456789012345678]
    assert rows.camids.tolist() == [0, -12, 3]


@pytest.mark.parametrize(
    "line",
    [
        '"k",p,train,1,1,ab\n',
        "k,p,train,1,1,ab\r\n",
        "k,p,train,1,1,a\0\n",
        "\n",
        ",,,,,\n",
        "k,p,train,1,1\n",
        "k,p,train,1,1,ab,c\n",
        "k,p,train,1,1\nk,p,train,1,1,ab,c\n",
        "k,p,train,1,1,ab,c\nk,p,train,1,1\n",
        "k,p,trains,1,1,ab\n",
        "k,p,Train,1,1,ab\n",
        "k,p,train,,1,ab\n",
        "k,p,train,-,1,ab\n",
        "k,p,train,+1,1,ab\n",
        "k,p,train, 1,1,ab\n",
        "k,p,train,1_0,1,ab\n",
        "k,p,train,1,٣,ab\n",
        "k,p,train,1234567890123456789,1,ab\n",
        f"{'k' * 200_000},p,train,1,1,ab\n",
    ],
    ids=lambda line: line[:20],
)
def test_anything_else_is_not(line: str) -> None:
    assert plain_rows("".join([*LINES, line, *LINES]), ",") is None
