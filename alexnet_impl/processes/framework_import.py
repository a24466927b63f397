"""The import of a framework in a worker process, which short jobs mostly wait for."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alexnet_impl.frameworks import Framework, get_framework

UNUSED = ("sklearn", "matplotlib")
"""Libraries that Keras imports, if they are installed, for its wrappers and galleries: a quarter of
the time of TensorFlow's import. No worker uses those."""


def timed_import(name: str) -> tuple[Framework, dict[str, Any]]:
    """Imports a framework's adapter without what workers do not use, and says how long that took.

    Returns:
        The adapter, and two facts: 'import_s', and 'uncompiled', the folder of the installation if
        Python keeps no bytecode of it and so compiles it in every process; '' otherwise.
    """
    started = time.perf_counter()
    with _hidden(UNUSED):
        framework = get_framework(name)
    facts = {"import_s": round(time.perf_counter() - started, 2), "uncompiled": uncompiled(name)}
    return framework, facts


@contextmanager
def _hidden(libraries: tuple[str, ...]) -> Iterator[None]:
    """Makes libraries that were not imported yet look as if not installed, while the block runs."""
    hidden = [name for name in libraries if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # import then raises ImportError
    try:
        yield
    finally:
        for name in hidden:
            if sys.modules.get(name) is None:
                del sys.modules[name]


def uncompiled(name: str) -> str:
    """The folder that a package was installed into, if its bytecode is not kept; '' otherwise."""
    spec = getattr(sys.modules.get(name), "__spec__", None)
    if spec is None or spec.cached is None or spec.origin is None or Path(spec.cached).exists():
        return ""
    return str(Path(spec.origin).parents[1])
