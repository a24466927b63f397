import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch) -> Path:
    """A cache of its own for each test: none reads or fills the user's."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("ALEXNET_CACHE_DIR", str(folder))
    return folder


@pytest.fixture
def encode() -> Callable[..., bytes]:
    """Any Pillow image or array as the bytes of a file."""

    def encode(image, kind="PNG", **options) -> bytes:
        buffer = io.BytesIO()
        image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
        image.save(buffer, kind, **options)
        return buffer.getvalue()

    return encode


@pytest.fixture
def image_tree(tmp_path, encode) -> Path:
    """train/ with 3 and test/ with 2 grey PNGs in each of cat/ and dog/, every level different."""
    root = tmp_path / "pets"
    level = 0
    for part, count in (("train", 3), ("test", 2)):
        for class_name in ("cat", "dog"):
            folder = root / part / class_name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = np.full((8, 8, 3), level, np.uint8)
                (folder / f"{number}.png").write_bytes(encode(pixels))
                level += 10
    return root
