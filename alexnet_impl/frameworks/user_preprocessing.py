"""Calls a user's own preprocessing on image files, in whichever form it is written.

The adapters' user_preprocessing.py say which forms their framework has; alexnet_impl.ports compares
two such functions.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alexnet_impl.errors import FrameworkError, UserCodeError
from alexnet_impl.network.user_code import UserObject, load_user_object
from alexnet_impl.weights.canonical import Array

CHANNELS = (1, 3, 4)
"""Numbers of channels that an image may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreprocessedFile:
    """The result of a user's function for one file.

    Attributes:
        image: (height, width, channels), float32; None if it was refused.
        error: Why the function refused it; '' if it did not.
        random: Whether a second call returned other values.
    """

    image: Array | None
    error: str = ""
    random: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """An argument that a function may take.

    Attributes:
        name: Its name in messages.
        make: From a file's path to it.
    """

    name: str
    make: Callable[[str], Any]


PATH = Form(name="the path", make=str)


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """How a framework's functions return an image.

    Attributes:
        to_array: From what a function returned to an array; None if it is no tensor.
        shape: The shape in words.
        channels: The axis of the channels, of three.
    """

    to_array: Callable[[Any], Array | None]
    shape: str
    channels: int


def preprocess_files(
    place: str, folder: Path, files: Sequence[str], forms: Sequence[Form], results: Results
) -> list[PreprocessedFile]:
    """Calls a user's preprocessing on every file, on the first one twice.

    Args:
        place: 'module:name' or 'file.py:name': a function or a transform of one argument, or a
            function without arguments that returns one.
        folder: The user's folder, importable while the function runs.
        files: Paths of image files.
        forms: What the function may take. The first form that works for a file stays.
        results: How it returns an image.

    Raises:
        UserCodeError: If there is no such function.
        FrameworkError: If it accepts no file at all, or returns no image.
    """
    user = load_user_object(place, folder)
    if _takes_nothing(user.value):
        made = user.call()
        if not callable(made):
            raise UserCodeError(
                f"{place}: returned {type(made).__name__} when called without arguments; it must "
                "take one image, or return a function that does."
            )
        user = UserObject(place=place, value=made, folders=user.folders)
    found: list[PreprocessedFile] = []
    for path in files:
        try:
            forms, image = _first_that_works(user, path, forms, results)
            again = _first_that_works(user, path, forms, results)[1] if not found else image
            random = not np.array_equal(image, again, equal_nan=True)
            found.append(PreprocessedFile(image=image, random=random))
        except _RefusedError as error:
            found.append(PreprocessedFile(image=None, error=str(error)))
    if all(one.image is None for one in found):
        raise FrameworkError(f"{place}: {found[0].error}.")
    return found


class _RefusedError(Exception):
    """A function accepted a file in no form."""


def _takes_nothing(function: Any) -> bool:
    """Whether a function may be called without arguments; a module's (*args) does not count."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    needed = [one for one in parameters if one.default is one.empty]
    return all(one.kind is one.VAR_KEYWORD for one in needed)


def _first_that_works(
    user: UserObject, path: str, forms: Sequence[Form], results: Results
) -> tuple[Sequence[Form], Array]:
    """The form that a function takes, alone in a list, and the image that it returns."""
    refusals: dict[str, list[str]] = {}
    for form in forms:
        try:
            with user.importable():
                returned = user.value(form.make(path))
            array = results.to_array(returned)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's function raises any kind
            refusals.setdefault(user.said(error), []).append(form.name)
            continue
        if array is not None:
            return [form], _image(array, user.place, results)
        refusals.setdefault(f"it returned {type(returned).__name__}, no tensor", []).append(
            form.name
        )
    raise _RefusedError(
        "; ".join(f"given {' or '.join(names)}, {said}" for said, names in refusals.items())
    )


def _image(array: Array, place: str, results: Results) -> Array:
    """The image (height, width, channels) of a result.

    Raises:
        FrameworkError: If it has another shape.
    """
    image = array[0] if array.ndim == 4 and len(array) == 1 else array
    if image.ndim != 3 or image.shape[results.channels] not in CHANNELS or 0 in image.shape:
        raise FrameworkError(
            f"{place}: returned the shape {tuple(array.shape)}; it must return one image as "
            f"{results.shape}."
        )
    return np.moveaxis(image, results.channels, 2).astype(np.float32)
