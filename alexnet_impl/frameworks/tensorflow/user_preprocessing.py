"""Runs a user's TensorFlow or Keras preprocessing on image files, and TensorFlow's JPEG decoder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from alexnet_impl.frameworks.user_preprocessing import (
    PATH,
    Form,
    PreprocessedFile,
    Results,
    preprocess_files,
)
from alexnet_impl.weights.canonical import Array


def run_preprocessing(place: str, folder: Path, files: Sequence[str]) -> list[PreprocessedFile]:
    """Runs a function of a path, or of the array of keras.utils.load_img(), on image files.

    The function returns (height, width, channels). See preprocess_files().
    """
    forms = (
        PATH,
        Form(name="the array of keras.utils.load_img", make=_loaded),
        Form(name="a batch of it", make=lambda path: _loaded(path)[None]),
    )
    results = Results(to_array=_array, shape="(height, width, channels)", channels=2)
    return preprocess_files(place, folder, files, forms, results)


def decode_jpeg(data: bytes) -> dict[str, NDArray[np.uint8]]:
    """Pixels (height, width, 3) of a JPEG file by the arguments of tf.io.decode_jpeg.

    They are 'fast', TensorFlow's default, and with chroma that is repeated, not interpolated,
    'fast repeated' and 'accurate repeated'. Pillow's pixels are those of 'INTEGER_ACCURATE'.
    """
    ways = {
        "fast": ("INTEGER_FAST", True),
        "fast repeated": ("INTEGER_FAST", False),
        "accurate repeated": ("INTEGER_ACCURATE", False),
    }
    return {
        name: tf.io.decode_jpeg(data, 3, dct_method=dct, fancy_upscaling=smooth).numpy()
        for name, (dct, smooth) in ways.items()
    }


def _loaded(path: str) -> Array:
    array: Array = keras.utils.img_to_array(keras.utils.load_img(path))
    return array


def _array(result: Any) -> Array | None:
    if isinstance(result, np.ndarray):
        return result
    if not keras.ops.is_tensor(result):
        return None
    array: Array = keras.ops.convert_to_numpy(result)
    return array.astype(np.float32)
