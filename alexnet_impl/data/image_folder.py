"""A dataset of image files in a folder or an archive, decoded once and cached."""

import hashlib
import os
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from alexnet_impl.data.cache import cached_dataset
from alexnet_impl.data.dataset import Dataset, Split
from alexnet_impl.data.decoding import decode_image, fit_to_square, image_dimensions
from alexnet_impl.data.image_sources import ImageSource, open_source
from alexnet_impl.data.listing import Listing, list_images
from alexnet_impl.data.progress import Progress, counted, silent
from alexnet_impl.errors import AlexNetWarning, DataError

_DECODER_VERSION = 3  # raise it when the same files give other images
_LARGEST_CHOSEN_SIZE = 256
# Small images decode faster than two threads hand each other the interpreter: 60,000 JPEGs of 1 KB
# take 10 s in one thread and 13 s in two; JPEGs of 5 KB take two threads 0.6 of the time of one.
_THREADS_FROM_BYTES = 4_000


def load_image_folder(
    path: Path, *, image_size: int | None = None, progress: Progress = silent
) -> Dataset:
    """Loads the images in a folder or an archive; from the second time on, from the cache.

    Args:
        path: A folder, zip or tar with train/CLASS/ and test/CLASS/ (otherwise val/CLASS/), or
            with train/ and a table of labels, perhaps inside other folders.
        image_size: Height and width in pixels of the stored images. None means unchanged if all
            are squares of one size, otherwise the smallest side, at most 256. Other images are
            cropped to their centre square and resized.
        progress: Receives the progress of decoding.

    Raises:
        DataError: If there are no images in this layout, the classes of the two parts differ, or
            an image does not decode.
    """
    with closing(open_source(path)) as source:
        return load_images(
            source, partial(list_images, source), image_size=image_size, progress=progress
        )


def load_images(
    source: ImageSource,
    list_them: Callable[[], Listing],
    *,
    image_size: int | None = None,
    progress: Progress = silent,
) -> Dataset:
    """Loads the images of any source; see load_image_folder().

    Args:
        source: Where the images lie.
        list_them: Gives the images of both parts; called only if they are not in the cache.
        image_size: Height and width of the stored images.
        progress: Receives the progress of decoding.
    """
    name = f"{source.dataset} {_name(source)}"
    identity = f"{_DECODER_VERSION} {name} {image_size} {source.digest}"
    key = hashlib.sha256(identity.encode()).hexdigest()
    return cached_dataset(key, lambda: _decode(source, list_them(), image_size, progress))


def _name(source: ImageSource) -> str:
    """The source's name without its folder, even if its path is '.', as text that can be stored."""
    return source.path.resolve().name.encode(errors="backslashreplace").decode()


def _decode(
    source: ImageSource, listing: Listing, image_size: int | None, progress: Progress
) -> Dataset:
    if listing.left_out:
        warnings.warn(f"{source.path}: {listing.left_out}.", AlexNetWarning, stacklevel=2)
    paths = listing.train.paths + listing.test.paths
    images = _decode_pixels(source, paths, image_size, progress)
    size, num_train = images.shape[1], len(listing.train.paths)
    kinds = sorted({Path(path).suffix.lower().lstrip(".") for path in paths})
    name = _name(source)
    about = f"{len(images):,} images ({', '.join(kinds)}) in '{name}', stored as {size}x{size}"
    return Dataset(
        name=source.dataset,
        source="; ".join(filter(None, (about, listing.held_out, listing.left_out))) + ".",
        class_names=listing.class_names,
        train=Split(images=images[:num_train], labels=listing.train.labels),
        test=Split(images=images[num_train:], labels=listing.test.labels),
    )


class _SizesDifferError(Exception):
    """Raised if an image is not a square of the first one's size."""


def _decode_pixels(
    source: ImageSource, paths: list[str], image_size: int | None, progress: Progress
) -> NDArray[np.uint8]:
    """Decodes all images: shape (num_images, size, size, 3)."""
    if image_size is None:
        width, _ = _dimensions(source, paths[0])
        try:
            # Reading 60,000 headers takes as long as decoding small images. So decode at once, and
            # read the headers only after the first image of another size.
            return _decode_all(source, paths, width, _expect_square, progress)
        except _SizesDifferError:
            image_size = _choose_size(source, paths, progress)
    return _decode_all(source, paths, image_size, fit_to_square, progress)


def _dimensions(source: ImageSource, path: str) -> tuple[int, int]:
    return image_dimensions(source.read(path), where=f"{source.path}: {path}")


def _expect_square(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    if pixels.shape != (size, size, 3):
        raise _SizesDifferError
    return pixels


def _choose_size(source: ImageSource, paths: list[str], progress: Progress) -> int:
    every = (min(_dimensions(source, path)) for path in paths)
    smallest = min(counted(every, "Reading image sizes", len(paths), progress))
    return min(smallest, _LARGEST_CHOSEN_SIZE)


def _allocate(source: ImageSource, num_images: int, size: int) -> NDArray[np.uint8]:
    num_bytes, available = num_images * size * size * 3, psutil.virtual_memory().available
    if num_bytes > available:
        raise DataError(
            f"{source.path}: {num_images} images of {size}x{size} need {num_bytes / 1e9:,.0f} GB "
            f"of memory, and {available / 1e9:,.0f} GB are available; choose a smaller image_size."
        )
    return np.empty((num_images, size, size, 3), np.uint8)


def _decode_all(
    source: ImageSource,
    paths: list[str],
    size: int,
    fit: Callable[[NDArray[np.uint8], int], NDArray[np.uint8]],
    progress: Progress,
) -> NDArray[np.uint8]:
    """Decodes into one array; `fit` brings each image to (size, size, 3)."""
    images = _allocate(source, len(paths), size)

    def decode(index: int) -> None:
        path = paths[index]
        pixels = decode_image(source.read(path), where=f"{source.path}: {path}")
        images[index] = fit(pixels, size)

    sizes = source.files
    num_bytes = sum(sizes[path] for path in paths)
    is_threaded = num_bytes >= _THREADS_FROM_BYTES * len(paths)
    done = _map_in_threads(decode, len(paths)) if is_threaded else map(decode, range(len(paths)))
    for _ in counted(done, "Decoding images", len(paths), progress):
        pass
    return images


def _map_in_threads(work: Callable[[int], None], count: int) -> Iterator[None]:
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        try:
            yield from threads.map(work, range(count))
        finally:
            # After a bad image, or if the caller stops, do not wait for the rest.
            threads.shutdown(wait=True, cancel_futures=True)
