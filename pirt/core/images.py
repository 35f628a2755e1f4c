"""The one way to read an image: upright RGB, or an error that names the file and the reason."""

import struct
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from pirt.core.errors import DataError

MAX_PIXELS = 100_000_000
# Named ones only: Pillow also opens formats that start other programs (EPS).
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "PPM")


def read_image(path: Path, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Read an image file as RGB with its EXIF rotation applied.

    Grey, CMYK, palette and 16-bit images are converted, transparency is dropped, of several frames the first counts.
    DataError for a file that is missing, empty, truncated, not an image or has more than `max_pixels`; the size is
    checked before anything is decoded.
    """
    try:
        if path.stat().st_size == 0:
            raise DataError(f"image {path} has zero bytes")
        with Image.open(path, formats=FORMATS) as image:
            _require_pixels(path, image.width * image.height, max_pixels)
            return _as_rgb(_upright(image))
    except Image.DecompressionBombError as error:
        raise DataError(f"image {path} is over the limit of {max_pixels} pixels") from error
    except UnidentifiedImageError as error:
        raise DataError(f"image {path} is not an image ({', '.join(FORMATS)})") from error
    except FileNotFoundError as error:
        raise DataError(f"image {path} is missing") from error
    # Pillow's decoders raise these on truncated and damaged files.
    except (OSError, SyntaxError, ValueError, EOFError, OverflowError) as error:
        if isinstance(error, DataError):
            raise
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
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError(f"its pixels have 32 bits (mode {image.mode}); save it with 8 or 16")
    return image.convert("RGB")
