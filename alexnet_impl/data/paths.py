"""Paths: checks with suggestions, and a walk through the folders near to one."""

import difflib
import os
from collections.abc import Iterator
from pathlib import Path

from alexnet_impl.errors import DataError

# ~/.keras/datasets/cifar-10-batches-py-target/cifar-10-batches-py, and
# datasets--uoft-cs--cifar10/snapshots/REVISION/plain_text
_MOST_DEPTH = 3
_MOST_FOLDERS = 2_000


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


def near_folders(root: Path) -> Iterator[tuple[Path, set[str]]]:
    """Yields the folders down to a small depth, level by level, with the names of their files.

    Pipes and devices, hidden folders, and those below `root` that cannot be read, are left out.

    Raises:
        OSError: If `root` cannot be read.
    """
    level, count = [root], 0
    for _ in range(_MOST_DEPTH + 1):
        deeper: list[Path] = []
        for folder in level[: max(_MOST_FOLDERS - count, 0)]:
            try:
                entries = list(os.scandir(folder))
            except OSError:
                if folder == root:
                    raise
                continue
            yield folder, {entry.name for entry in entries if entry.is_file()}
            visible = (e.name for e in entries if e.is_dir() and not e.name.startswith("."))
            deeper += [folder / name for name in sorted(visible)]
        count += len(level)
        level = deeper
