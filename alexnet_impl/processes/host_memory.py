"""Lets a process keep freed memory; returning it slows training on a CPU by up to a quarter."""

import ctypes
import sys

_MALLOPT = {"M_TRIM_THRESHOLD": -1, "M_MMAP_MAX": -4}
"""Names of glibc's malloc.h."""
_kept = False


def keep_freed_memory() -> bool:
    """Lets this process keep freed memory for its next allocation, instead of returning it.

    glibc maps large blocks one by one and unmaps them when they are freed. A framework that frees
    its gradients and activations in every step makes the system clear their pages again in the
    next. PyTorch does so; TensorFlow has an allocator of its own. PyTorch's performance guide
    advises another malloc, such as jemalloc, for the same reason. Call it before the first large
    allocation; it holds for the whole process.

    Returns:
        Whether it does so now; False if the C library is not glibc.
    """
    global _kept  # noqa: PLW0603 - of the process, as the setting is
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return False
    no_mapping = libc.mallopt(_MALLOPT["M_MMAP_MAX"], 0)
    no_trimming = libc.mallopt(_MALLOPT["M_TRIM_THRESHOLD"], 2**31 - 1)
    _kept = bool(no_mapping and no_trimming)
    return _kept


def keeps_freed_memory() -> bool:
    """Whether keep_freed_memory() has taken effect in this process."""
    return _kept
