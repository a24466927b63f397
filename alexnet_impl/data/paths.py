"""A path that does not exist, and what was probably meant."""

import difflib
from pathlib import Path

from alexnet_impl.errors import DataError


def require_existing(path: Path) -> Path:
    """The path, if there is something at it.

    Raises:
        DataError: If there is nothing; the message names the nearest entry beside it.
    """
    try:
        if path.exists():
            return path
        missing = path
        while not missing.parent.is_dir() and missing.parent != missing:
            missing = missing.parent
        names = [entry.name for entry in missing.parent.iterdir()]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check its rights.") from error
    near = difflib.get_close_matches(missing.name, names, n=1, cutoff=0.5)
    hint = f" Did you mean '{missing.parent / near[0]}'?" if near else ""
    raise DataError(f"{path}: does not exist; '{missing.parent}' has no '{missing.name}'.{hint}")
