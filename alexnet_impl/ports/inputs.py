"""Inputs of a comparison that are the user's own: an array that both models read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from alexnet_impl.errors import AlexNetError, ParityError
from alexnet_impl.network.user_code import load_user_object
from alexnet_impl.weights.canonical import Array

Inputs = str | Callable[[], Any]
"""A file (.npy, or .npz with one array), a function that returns an array, or 'module:function'."""
FORM = "it must be numbers in one array with the batch as its first axis, of at least two rows"


def load_inputs(given: Inputs, folder: Path) -> Array:
    """Load an array (batch, ...): images (batch, height, width, channels), sequences or tokens.

    Args:
        given: See Inputs.
        folder: Where a file or a module is looked for.

    Returns:
        Integers as int64, other numbers as float32.

    Raises:
        UserCodeError: If there is no such function, or it raises.
        ParityError: If the file cannot be read, or what it contains is no such array.
    """
    name = given if isinstance(given, str) else "inputs"
    try:
        array = np.asarray(_read(given, folder))
    except AlexNetError:
        raise
    except (OSError, ValueError, EOFError) as error:
        raise ParityError(f"--inputs {name}: cannot be read ({error}); {FORM}.") from error
    if array.dtype.kind not in "iufb" or array.ndim < len(("batch", "values")) or len(array) < 2:
        raise ParityError(f"--inputs {name}: has shape {array.shape}, {array.dtype}; {FORM}.")
    if not np.isfinite(array).all():
        raise ParityError(f"--inputs {name}: holds NaN or infinity.")
    return array.astype(np.int64 if array.dtype.kind in "iu" else np.float32)


def _read(given: Inputs, folder: Path) -> Any:
    if not isinstance(given, str):
        return given()
    if not given.endswith((".npy", ".npz")):
        return load_user_object(given, folder).call()
    found: Any = np.load(folder / given, allow_pickle=False)
    if given.endswith(".npy"):
        return found
    if len(found.files) != 1:
        raise ValueError(f"it holds {len(found.files)} arrays")
    return found[found.files[0]]
