"""Check that a path exists, with a suggestion if it does not."""

import difflib
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
