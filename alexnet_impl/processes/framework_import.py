"""Facts about the import of a framework in a worker process, which short jobs mostly wait for."""

import sys
import time
from pathlib import Path
from typing import Any

from alexnet_impl.frameworks import Framework, get_framework


def timed_import(name: str) -> tuple[Framework, dict[str, Any]]:
    """Imports a framework's adapter, and says how long that took.

    Returns:
        The adapter, and two facts: 'import_s', and 'uncompiled', the folder of the installation if
        Python keeps no bytecode of it and so compiles it in every process; '' otherwise.
    """
    started = time.perf_counter()
    framework = get_framework(name)
    facts = {"import_s": round(time.perf_counter() - started, 2), "uncompiled": uncompiled(name)}
    return framework, facts


def uncompiled(name: str) -> str:
    """The folder that a package was installed into, if its bytecode is not kept; '' otherwise."""
    spec = getattr(sys.modules.get(name), "__spec__", None)
    if spec is None or spec.cached is None or spec.origin is None or Path(spec.cached).exists():
        return ""
    return str(Path(spec.origin).parents[1])
