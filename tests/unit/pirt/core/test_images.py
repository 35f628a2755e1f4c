import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pirt.core.errors import DataError
from pirt.core.images import read_image

PHOTO = np.random.default_rng(0).integers(0, 256, (60, 40, 3), dtype=np.uint8)


def saved(path: Path, image: Image.Image, **how: object) -> Path:
    image.save(path, **how)  # type: ignore[arg-type]
    return path


def pixels(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    image = read_image(path)
    assert image.mode == "RGB"
    return np.asarray(image)


@pytest.mark.parametrize("suffix", ["png", "bmp", "ppm", "tif"])
def test_lossless_formats_come_back(tmp_path: Path, suffix: str) -> None:
    np.testing.assert_array_equal(pixels(saved(tmp_path / f"a.{suffix}", Image.fromarray(PHOTO))), PHOTO)


@pytest.mark.parametrize("bits", [12, 16])
def test_white_may_be_zero(tmp_path: Path, bits: int) -> None:
    brightness = np.linspace(0, 2**bits - 1, 60).reshape(6, 10).astype(np.uint16)
    path = saved(tmp_path / "a.tif", Image.fromarray(2**bits - 1 - brightness), tiffinfo={262: 0})
    np.testing.assert_array_equal(pixels(path)[..., 0], brightness >> (bits - 8))


def test_one_pixel(tmp_path: Path) -> None:
    assert pixels(saved(tmp_path / "a.jpg", Image.new("RGB", (1, 1), "white"))).tolist() == [[[255, 255, 255]]]


def test_grey_is_repeated(tmp_path: Path) -> None:
    grey = PHOTO[..., 0]
    np.testing.assert_array_equal(
        pixels(saved(tmp_path / "a.png", Image.fromarray(grey))), grey[..., None].repeat(3, 2)
    )


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_keep_the_upper_eight(tmp_path: Path, suffix: str) -> None:
    deep = np.random.default_rng(1).integers(0, 65536, (20, 10), dtype=np.uint16)
    np.testing.assert_array_equal(pixels(saved(tmp_path / f"a.{suffix}", Image.fromarray(deep)))[..., 1], deep >> 8)


def test_thirty_two_bits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="32 bits"):
        read_image(saved(tmp_path / "a.tif", Image.fromarray(np.ones((4, 4), np.float32))))


def test_cmyk_is_converted(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jpg", Image.new("CMYK", (8, 8), (0, 255, 255, 0)), quality=100)
    red, green, blue = pixels(path)[4, 4].tolist()
    assert red > 240
    assert green < 15
    assert blue < 15


def test_palette_and_transparency_are_converted(tmp_path: Path) -> None:
    assert pixels(saved(tmp_path / "a.gif", Image.new("P", (3, 2)))).shape == (2, 3, 3)
    assert pixels(saved(tmp_path / "a.png", Image.new("RGBA", (3, 2), (9, 8, 7, 0)))).tolist() == [[[9, 8, 7]] * 3] * 2
    # As programs that make PNGs smaller save them; a warning would be an error here.
    palette = Image.new("P", (3, 2))
    palette.putpalette([9, 8, 7] * 256)
    clear = saved(tmp_path / "b.png", palette, transparency=bytes(range(256)))
    assert pixels(clear).tolist() == [[[9, 8, 7]] * 3] * 2


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [(1, PHOTO), (3, PHOTO[::-1, ::-1]), (6, np.rot90(PHOTO, -1)), (8, np.rot90(PHOTO)), (5, PHOTO.transpose(1, 0, 2))],
)
def test_exif_rotation_is_applied(
    tmp_path: Path, orientation: int, upright: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(pixels(saved(tmp_path / "a.png", Image.fromarray(PHOTO), exif=exif)), upright)


def exif(*entries: tuple[int, int, int]) -> bytes:
    """EXIF of one value (tag, type, value) each."""
    table = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + table + bytes(4)


ROTATED, BYTE, TEXT, RATIO = (0x0112, 3, 6), 1, 2, 5


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(b"II*\0", id="ends after its first four bytes"),
        pytest.param(exif((0xA005, BYTE, 6), ROTATED), id="a pointer of the wrong type"),
        pytest.param(exif((0x010E, RATIO, 6), ROTATED), id="a text that is a ratio"),
        pytest.param(exif(ROTATED, (0x011B, TEXT, ord("a"))), id="a ratio that is a text"),
    ],
)
def test_damaged_exif(tmp_path: Path, damage: bytes, suffix: str) -> None:
    head = b"Exif\0\0" if suffix == "jpg" else b""
    path = saved(tmp_path / f"a.{suffix}", Image.fromarray(PHOTO), exif=head + damage, dpi=(72, 72))
    with pytest.raises(DataError, match=rf"a.{suffix} cannot be decoded: its EXIF is damaged: "):
        read_image(path)


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp"])
@pytest.mark.parametrize("kept", [0.5, 0.95])
def test_truncated(tmp_path: Path, suffix: str, kept: float) -> None:
    path = saved(tmp_path / f"a.{suffix}", Image.fromarray(PHOTO))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(DataError, match=f"a.{suffix} cannot be decoded") as error:
        read_image(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "is missing"),
        (lambda path: path.write_bytes(b""), "has zero bytes"),
        (lambda path: path.write_bytes(b"Not an image at all, however long it may be."), "is not an image"),
        (lambda path: path.write_bytes(b"\xff\xd8\xff\xe0"), "is not an image|cannot be decoded"),
        (lambda path: path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"), "is not an image"),
        (lambda path: path.mkdir(), "cannot be decoded"),
    ],
)
def test_no_image(tmp_path: Path, make: Callable[[Path], object], reason: str) -> None:
    make(tmp_path / "a.jpg")
    with pytest.raises(DataError, match=rf"a\.jpg ({reason})"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(("width", "height"), [(10001, 10000), (20000, 20000)])
def test_over_a_hundred_megapixels_is_refused_before_decoding(tmp_path: Path, width: int, height: int) -> None:
    header = f"P6 {width} {height} 255\n".encode()
    (tmp_path / "a.ppm").write_bytes(header + b"\0" * 10)
    with pytest.raises(DataError, match=r"a\.ppm .*over the limit of 100000000"):
        read_image(tmp_path / "a.ppm")


def test_the_limit_can_be_set(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.fromarray(PHOTO))
    assert read_image(path, max_pixels=2400).size == (40, 60)
    with pytest.raises(DataError, match="has 2400 pixels, over the limit of 2399"):
        read_image(path, max_pixels=2399)


def deep_png(values: np.ndarray[tuple[int, ...], np.dtype[np.uint16]], colour_type: int) -> bytes:
    """A PNG with 16 bits a sample of H×W×samples, which Pillow does not write in colour."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


RAMP = np.linspace(0, 1, 200).reshape(20, 10)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_sixteen_bits_of_which_fewer_are_used_are_as_bright_as_eight(tmp_path: Path, suffix: str, bits: int) -> None:
    deep = np.round(RAMP * (2**bits - 1)).astype(np.uint16)
    expected = np.floor(RAMP * 255.99)
    found = pixels(saved(tmp_path / f"a.{suffix}", Image.fromarray(deep)))[..., 0]
    assert np.abs(found - expected).max() <= 1


def test_a_tiff_that_says_its_highest_value_is_scaled_by_it(tmp_path: Path) -> None:
    night = np.round(RAMP * 200).astype(np.uint16)
    said = saved(tmp_path / "said.tif", Image.fromarray(night), tiffinfo={281: 4095})
    assert pixels(said).max() == 200 >> 4
    assert pixels(saved(tmp_path / "silent.tif", Image.fromarray(night))).max() == 200


@pytest.mark.parametrize("highest", [4095, 65535])
def test_a_pgm_of_two_bytes_is_scaled_by_its_highest_value(tmp_path: Path, highest: int) -> None:
    content = np.round(RAMP * highest).astype(">u2").tobytes()
    (tmp_path / "a.pgm").write_bytes(f"P5 10 20 {highest}\n".encode() + content)
    assert np.abs(pixels(tmp_path / "a.pgm")[..., 0] - np.floor(RAMP * 255.99)).max() <= 1


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
def test_a_netpbm_of_two_bytes_of_which_fewer_are_used_is_scaled_or_refused(tmp_path: Path, bits: int) -> None:
    deep = np.round(RAMP * (2**bits - 1)).astype(np.uint16)
    plain = " ".join(map(str, deep.flatten().tolist()))
    (tmp_path / "a.pgm").write_bytes(b"P5 10 20 65535\n" + deep.astype(">u2").tobytes())
    (tmp_path / "plain.pgm").write_text(f"P2 10 20 65535\n{plain}\n")
    for name in ("a.pgm", "plain.pgm"):
        assert np.abs(pixels(tmp_path / name)[..., 0] - np.floor(RAMP * 255.99)).max() <= 1
    (tmp_path / "a.ppm").write_bytes(b"P6 10 20 65535\n" + deep[..., None].repeat(3, axis=2).astype(">u2").tobytes())
    with pytest.raises(DataError, match=r"a\.ppm .*16 bits, of which the upper ones are not used"):
        read_image(tmp_path / "a.ppm")


def test_a_dark_netpbm_that_says_its_depth_stays_dark(tmp_path: Path) -> None:
    night = np.round(RAMP * 200).astype(">u2")
    (tmp_path / "a.pgm").write_bytes(b"P5 10 20 4095\n" + night.tobytes())
    (tmp_path / "a.ppm").write_bytes(b"P6 10 20 4095\n" + night[..., None].repeat(3, axis=2).tobytes())
    assert pixels(tmp_path / "a.pgm").max() == pixels(tmp_path / "a.ppm").max() == 200 >> 4


@pytest.mark.parametrize(("colour_type", "samples"), [(2, 3), (4, 2), (6, 4)])
def test_dark_colours_of_sixteen_bits_are_refused_by_name(tmp_path: Path, colour_type: int, samples: int) -> None:
    deep = np.repeat(np.round(RAMP * 4095).astype(np.uint16)[..., None], samples, axis=2)
    if samples in (2, 4):
        deep[..., -1] = 65535
    (tmp_path / "a.png").write_bytes(deep_png(deep, colour_type))
    with pytest.raises(DataError, match=r"a\.png .*16 bits, of which the upper ones are not used"):
        read_image(tmp_path / "a.png")
    bright = deep * np.uint16(16)
    (tmp_path / "a.png").write_bytes(deep_png(bright, colour_type))
    np.testing.assert_array_equal(pixels(tmp_path / "a.png")[..., 0], bright[..., 0] >> 8)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    for path in (tmp_path / "a.jpg", Path("/dev/zero")):
        with pytest.raises(DataError, match="is a pipe or device"):
            read_image(path)
