"""Mean and deviation as the tables of an analysis print them."""

import math

import pytest

from pirt_stages.study.writing import with_spread


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([0.5], "0.50"),
        ([-0.5, -1.0], "−0.75 ± 0.35"),
        ([math.nan], "nan"),
        ([math.nan, 0.5], "nan"),
    ],
)
def test_values_and_what_is_no_number(values: list[float], said: str) -> None:
    assert with_spread(values) == said
