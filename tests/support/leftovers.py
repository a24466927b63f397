"""Temporary files that killed writers leave."""

import os
import time

from alexnet_impl.files import _place

GONE = 2**22 + 1
"""The id of no process: above the largest that Linux gives."""


def write_leftover(path, *, pid=GONE, place=None, age_s=0.0):
    """What a writer of `path` left that was killed in the middle; by default just now and here."""
    leftover = path.with_name(f".alexnet-{place or _place()}-{pid}-{path.name}")
    leftover.write_bytes(b"half")
    written = time.time() - age_s
    os.utime(leftover, (written, written))
    return leftover
