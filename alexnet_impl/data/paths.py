"""Checks of paths: that one exists, with a suggestion if not, and that a home folder is known."""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alexnet_impl.errors import DataError


def require_existing(path: Path) -> Path:
    """Returns the path if it exists.

    Raises:
        DataError: If it does not; the message suggests the entry with the nearest name.
    """
    try:
        if path.exists():
            return path
        missing = path
        while not missing.parent.is_dir() and missing.parent != missing:
            missing = missing.parent
        names = [entry.name for entry in missing.parent.iterdir()]
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); check its permissions."
        ) from error
    near = difflib.get_close_matches(missing.name, names, n=1, cutoff=0.5)
    hint = f" Did you mean '{missing.parent / near[0]}'?" if near else ""
    raise DataError(f"{path}: does not exist; '{missing.parent}' has no '{missing.name}'.{hint}")


@contextmanager
def require_home(remedy: str) -> Iterator[None]:
    """Runs a block that looks for a home folder.

    Args:
        remedy: What to do where there is none, as in a container with a user id of its own.

    Raises:
        DataError: If HOME is not set and the user is unknown, or a path names an unknown user.
    """
    try:
        yield
    except RuntimeError as error:
        raise DataError(f"The home folder is not known ({error}); {remedy}.") from error
