import numpy as np
import pytest

from pirt.core.errors import ParamsError
from pirt.heatmaps.codec import CodecName, code_dtype, decode, decode_table, encode


@pytest.mark.parametrize("codec", ["tau8", "float16", "float32"])
def test_shape_and_type_are_kept(codec: CodecName) -> None:
    values = np.linspace(0, 1, 60, dtype=np.float32).reshape(3, 4, 5)
    codes = encode(values, codec, 0.001)
    assert codes.shape == values.shape
    assert codes.dtype == code_dtype(codec)
    decoded = decode(codes, codec, 0.001)
    assert decoded.dtype == np.float32
    np.testing.assert_allclose(decoded, values, rtol={"tau8": 0.015, "float16": 1e-3, "float32": 0}[codec], atol=1e-3)


def test_ends_of_the_code_are_exact() -> None:
    limit = np.float32(0.001)
    above = np.nextafter(limit, np.float32(1))
    values = np.array([-0.0, 0, 1e-45, limit, above, 1], dtype=np.float32)
    codes = encode(values, "tau8", 0.001)
    assert codes.tolist() == [0, 0, 0, 0, 1, 255]
    table = decode_table(0.001)
    assert table[0] == 0
    assert table[255] == 1
    assert (np.diff(table) > 0).all()


@pytest.mark.parametrize("tau", [0.0, 1.0, 0.0001, 0.9999999, -1.0])
def test_a_tau_that_cannot_be_kept_is_refused_by_its_value(tau: float) -> None:
    with pytest.raises(ParamsError, match=rf"tau8.*{tau}.*float16"):
        encode(np.zeros(1, np.float32), "tau8", tau)


def test_only_tau8_cares_about_tau() -> None:
    assert encode(np.ones(1, np.float32), "float16", 0.0)[0] == 1
