"""Sizes that weight files declare, checked before anything is unpacked or built.

A file of a few kilobytes can name a network, or an array, of many gigabytes.
"""

import zipfile
from pathlib import Path

from alexnet_impl.errors import WeightsError


def check_uncompressed(path: Path) -> None:
    """Refuses a compressed zip, which may unpack to any size; PyTorch and Keras write none.

    Raises:
        WeightsError: If it is one, or its content is larger than the file.
    """
    try:
        with zipfile.ZipFile(path) as file:
            entries = file.infolist()
    except Exception:  # noqa: BLE001 - no zip, or damaged: its own reader says so
        return
    unpacked, size = sum(entry.file_size for entry in entries), path.stat().st_size
    if unpacked > size or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise WeightsError(
            f"{path}: is compressed, {unpacked:,} bytes in {size:,}; weight files never are. "
            "Another program has changed it: get the original."
        )
