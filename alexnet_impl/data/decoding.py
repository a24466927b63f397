"""Decoding of one image file to uint8 RGB pixels."""

import io
import logging
import math
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from alexnet_impl.errors import DataError

logging.getLogger("PIL").addHandler(logging.NullHandler())  # it says on stderr what it also raises

MOST_PIXELS = 1 << 26
"""The largest number of pixels of an image; one with more is refused before it is decoded."""
_COMMON_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM", "ICO", "AVIF", "JPEG2000")
# They run a program, decode on one system only, or are only named by Pillow, not decoded. TGA has
# no mark of its own, so that any bytes might be one: it is tried last.
_OTHER_FORMATS = {"EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG", "IPTC", "TGA"}
# Decoding takes up to 20 bytes a pixel: images of 16 million pixels or more take turns.
_LARGE_PIXELS = 1 << 24
_large_image = threading.Lock()


@cache
def image_formats() -> tuple[str, ...]:
    """The names of the formats that are decoded, in the order in which they are tried."""
    Image.init()
    with_suffix = set(Image.registered_extensions().values()) & set(Image.OPEN)
    others = sorted(with_suffix - {*_COMMON_FORMATS} - _OTHER_FORMATS)
    return (*(name for name in _COMMON_FORMATS if name in Image.OPEN), *others, "TGA")


@cache
def image_suffixes() -> frozenset[str]:
    """Every suffix of a file that Pillow decodes, with its dot, in lower case."""
    formats = {*image_formats(), "MPO"}  # several JPEGs in one file, of which the first is decoded
    return frozenset(s for s, name in Image.registered_extensions().items() if name in formats)


def decode_image(data: bytes | Path, *, where: str) -> NDArray[np.uint8]:
    """Decodes an image as a viewer shows it: upright, opaque over white, first frame, 8 bits.

    Args:
        data: The encoded bytes, or a file.
        where: Its name in messages.

    Returns:
        Shape (height, width, 3), RGB.

    Raises:
        DataError: If it has more than MOST_PIXELS, does not decode to its end, or is missing.
    """
    with _opened(data, where) as image, _turn(image):
        image.load()
        # In place, because the copy that it makes otherwise costs as much as a small image.
        ImageOps.exif_transpose(image, in_place=True)
        return np.array(_to_rgb(image))


def image_dimensions(data: bytes | Path, *, where: str) -> tuple[int, int]:
    """Reads (width, height) from the file's header, before any EXIF rotation.

    Raises:
        DataError: If it is no image.
    """
    with _opened(data, where) as image:
        return image.size


def fit_to_square(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Crops the centre square of an image and resizes it with antialiased bilinear interpolation.

    Args:
        image: Shape (height, width, 3).
        size: Height and width of the result, in pixels.

    Returns:
        Shape (size, size, 3); the image itself if it has this shape already.
    """
    height, width, _ = image.shape
    if height == width == size:
        return image
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = Image.fromarray(image[top : top + side, left : left + side])
    return np.array(square.resize((size, size), Image.Resampling.BILINEAR))


def _turn(image: Image.Image) -> AbstractContextManager[object]:
    return _large_image if math.prod(image.size) >= _LARGE_PIXELS else nullcontext()


@contextmanager
def _opened(data: bytes | Path, where: str) -> Iterator[Image.Image]:
    if isinstance(data, Path) and data.exists() and not data.is_file():
        raise DataError(f"{where}: is a folder, a pipe or a device; give an image file.")
    try:
        source = data if isinstance(data, Path) else io.BytesIO(data)
        with Image.open(source, formats=image_formats()) as image:
            _refuse_huge(image)
            yield image
    except UnidentifiedImageError as error:
        raise DataError(
            f"{where}: not an image of a known format; replace or remove it."
        ) from error
    except FileNotFoundError as error:
        raise DataError(f"{where}: there is no such file.") from error
    # Pillow's readers raise whatever damaged bytes provoke: OSError, SyntaxError, struct.error ...
    except Exception as error:
        raise DataError(f"{where}: does not decode ({error}); replace or remove it.") from error


def _refuse_huge(image: Image.Image) -> None:
    if math.prod(image.size) > MOST_PIXELS:
        raise ValueError(f"{image.width}x{image.height} pixels, more than {MOST_PIXELS:,}")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("floating-point pixels, whose range is not known")
    if image.mode.startswith("I"):
        image = _sixteen_to_eight_bits(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    foreground = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, foreground).convert("RGB")


def _sixteen_to_eight_bits(image: Image.Image) -> Image.Image:
    """Scales grey levels of 0 to 65535 to 8 bits; Pillow's own conversion clips them at 255."""
    levels = np.asarray(image, dtype=np.float32) / 257
    return Image.fromarray(np.rint(levels.clip(0, 255)).astype(np.uint8))
