"""The one way to read an image: upright RGB, or an error that names the file and the reason."""

import re
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from pirt.core.errors import DataError
from pirt.core.files import is_refusal, is_stream

MAX_PIXELS = 100_000_000
# Named ones only: Pillow also opens formats that start other programs (EPS).
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "PPM")
_MAX_SAMPLE_VALUE, _BITS_PER_SAMPLE, _PHOTOMETRIC = 281, 258, 262  # tags of TIFF
_DEEP_COLOURS = re.compile(r";16[BLN]")
_ALL_16 = 65_535
_DARK = 64
"""No 16-bit photograph is below a quarter of the brightness, but 14 bits in 16 are."""


def read_image(path: Path, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Read an image file as RGB with its EXIF rotation applied.

    Grey, CMYK, palette and 16-bit images are converted, transparency is dropped, and only the first frame is read.
    DataError for a file that is missing, empty, truncated, neither a file nor an image or has more than `max_pixels`;
    the size is checked before anything is decoded.
    """
    try:
        if is_stream(path):
            raise DataError(f"image {path} is a pipe or device, not a file")
        if path.stat().st_size == 0:
            raise DataError(f"image {path} has zero bytes")
        with Image.open(path, formats=FORMATS) as image:
            _require_pixels(path, image.width * image.height, max_pixels)
            return _as_rgb(image)
    # Pillow holds a limit of its own against the header, before `_require_pixels` sees it.
    except Image.DecompressionBombError as error:
        raise DataError(f"image {path} is over the limit of {max_pixels} pixels") from error
    except UnidentifiedImageError as error:
        raise DataError(f"image {path} is not an image ({', '.join(FORMATS)})") from error
    except FileNotFoundError as error:
        raise DataError(f"image {path} is missing") from error
    # Pillow's decoders raise these on truncated and damaged files.
    except (OSError, SyntaxError, ValueError, EOFError, OverflowError) as error:
        if isinstance(error, DataError):  # which is a ValueError
            raise
        if is_refusal(error):
            raise DataError(f"the system refused to read image {path}, which may be good: {error}; fix that") from error
        raise DataError(f"image {path} cannot be decoded: {error}") from error


def _require_pixels(path: Path, pixels: int, max_pixels: int) -> None:
    if pixels > max_pixels:
        raise DataError(f"image {path} has {pixels} pixels, over the limit of {max_pixels}")


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF rotation; Pillow reads and writes back every tag, and these are what damaged ones raise."""
    try:
        return ImageOps.exif_transpose(image)
    except (struct.error, TypeError, AttributeError) as error:
        raise ValueError(f"its EXIF is damaged: {error}") from error


def _as_rgb(image: Image.Image) -> Image.Image:
    tiles = getattr(image, "tile", [])  # before decoding, which forgets them
    # Pillow keeps the upper 8 bits of such colours, and of an image that uses the lower ones alone nothing is left.
    deep = any(_DEEP_COLOURS.search(str(tile.args)) for tile in tiles)
    # Of a PPM Pillow keeps as much, by the highest value that the file names; all 16 bits say nothing of the camera.
    undecided = any(tile.args in ("I;16B", ("L", _ALL_16), ("RGB", _ALL_16)) for tile in tiles)
    # Pillow gives a PGM of 16 bits the mode of 32.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        # By the depth that the file has, not by its brightest pixel: a dark photograph stays dark.
        bits = None if undecided else _bits_said(image)
        white_is_zero = getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0
        values = np.asarray(_upright(image)).astype(np.int64)
        depth = max(bits or 0, _bits_held(values))
        if white_is_zero:  # which Pillow minds of 8 bits alone
            values = 2**depth - 1 - values
        return Image.fromarray((values >> (depth - 8)).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError(f"its pixels have 32 bits (mode {image.mode}); save it with 8 or 16")
    upright = _upright(image)
    # Pillow warns of a palette with several transparent colours, which it drops here like any other.
    upright.info.pop("transparency", None)
    colours = upright.convert("RGB")
    if (deep or undecided) and np.asarray(colours).max() <= _DARK:  # some decoders round up
        raise ValueError("its colours have 16 bits, of which the upper ones are not used; scale them or save 8 bits")
    return colours


def _bits_said(image: Image.Image) -> int | None:
    """Return how many bits of 16 the file says that its grey values have."""
    if image.format == "PPM":  # Pillow has scaled them
        return 16
    tags = getattr(image, "tag_v2", {})
    said = tags.get(_MAX_SAMPLE_VALUE) or tags.get(_BITS_PER_SAMPLE)
    value = said[0] if isinstance(said, tuple) and said else said
    if not isinstance(value, int):
        return None
    bits = value if _MAX_SAMPLE_VALUE not in tags else value.bit_length()
    # 16 is the size of what holds the values, whatever the camera's depth was.
    return bits if 8 <= bits < 16 else None


def _bits_held(values: NDArray[np.int64]) -> int:
    """Return the depth of the cameras and scanners that write such values: 8, 10, 12, 14 or 16 bits."""
    needed = int(values.max(initial=0)).bit_length()
    return max(8, needed + needed % 2)
