"""Image files that preprocessing is compared on: the user's own, or generated ones."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alexnet_impl.data.decoding import decode_image, image_suffixes
from alexnet_impl.errors import DataError, require_home
from alexnet_impl.ports.image_readings import ORIENTATION

MOST_FILES = 12
"""Files of a folder that are compared; of more, as many at equal distances by name."""
OCTAVES = (3, 10, 40, 120)
"""Cells of noise along a side; coarse ones show the framing, fine ones the antialias."""


@contextmanager
def sample_files(images: str | None, seed: int) -> Iterator[dict[str, Path]]:
    """Yields the files to compare by name: a file's, those in a folder, or generated ones.

    Args:
        images: A file or a folder; None to generate files, which last as long as the block.
        seed: Seed of generated files.

    Raises:
        DataError: If there is no image, or a file is none.
    """
    if images is not None:
        yield _given(images)
        return
    with TemporaryDirectory(prefix="alexnet-images-") as folder:
        yield write_samples(Path(folder), seed)


def _given(images: str) -> dict[str, Path]:
    with require_home("give the absolute path of the images"):
        path = Path(images).expanduser().absolute()
    if not path.is_dir():
        decode_image(path, where=f"--images {images}")
        return {path.name: path}
    found = sorted(one for one in path.rglob("*") if one.suffix.lower() in image_suffixes())
    if not found:
        raise DataError(f"--images {images}: the folder has no image file.")
    places = np.linspace(0, len(found) - 1, min(len(found), MOST_FILES)).round().astype(int)
    files = {str(found[place].relative_to(path)): found[place] for place in places}
    for name, file in files.items():
        decode_image(file, where=name)
    return files


def write_samples(folder: Path, seed: int) -> dict[str, Path]:
    """Writes images into a folder; returns them by name.

    They are JPEG files with subsampled chroma and with an EXIF orientation, PNG files with alpha
    and in grey, larger and smaller than the usual inputs, with odd sides.
    """
    random = np.random.default_rng(seed)
    colour = {
        name: Image.fromarray(_noise(random, *size))
        for name, size in {
            "large.jpg": (375, 500),
            "odd.jpg": (251, 333),
            "turned.jpg": (200, 320),
            "tall.png": (301, 183),
            "square.png": (256, 256),
            "small.png": (20, 24),
            "alpha.png": (180, 241),
            "grey.png": (131, 150),
        }.items()
    }
    colour["alpha.png"].putalpha(Image.fromarray(_noise(random, 180, 241)[..., 0]))
    colour["grey.png"] = colour["grey.png"].convert("L")
    colour["turned.jpg"].getexif()[ORIENTATION] = 6
    chroma = {"large.jpg": "4:2:0", "odd.jpg": "4:2:2", "turned.jpg": "4:4:4"}
    for name, image in colour.items():
        options: dict[str, Any] = {}
        if name in chroma:
            options = {"subsampling": chroma[name], "quality": 90}
        image.save(folder / name, exif=image.getexif(), **options)
    return {name: folder / name for name in colour}


def _noise(random: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    """An image (height, width, 3) with contents of every size."""
    layers = [
        Image.fromarray(random.integers(0, 256, (cells, cells, 3), dtype=np.uint8)).resize(
            (width, height), Image.Resampling.BILINEAR
        )
        for cells in OCTAVES
    ]
    mean = np.mean([np.asarray(layer) for layer in layers], axis=0)
    image: NDArray[np.uint8] = ((mean - 127.5) * 2.2 + 127.5).clip(0, 255).astype(np.uint8)
    return image
