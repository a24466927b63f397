"""The environment of a run: package versions, git commit, machine, peak memory."""

import contextlib
import functools
import platform
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from alexnet_impl.machine.facts import hardware_facts, set_variables


def environment_fingerprint() -> dict[str, Any]:
    """Returns the machine, versions and settings that affect speed and numerics."""
    return {
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        **hardware_facts(),
        "packages": dict(_package_versions()),
        "git_commit": _git_commit(),
        "variables": set_variables(),
    }


_PACKAGES = ("alexnet_impl", "numpy", "torch", "torchvision", "tensorflow", "keras", "safetensors")


@functools.cache
def _package_versions() -> tuple[tuple[str, str], ...]:
    """Returns names and versions of the installed packages."""
    found = []
    for name in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found.append((name, metadata.version(name)))
    return tuple(found)


@functools.cache
def _git_commit() -> str | None:
    """Returns the commit this package runs from, followed by '+' if the work tree differs."""
    here = Path(__file__).parents[1]
    if _git(here, "rev-parse", "--show-prefix") != f"{here.name}/":
        return None  # installed somewhere inside another project's checkout
    return _git(here, "describe", "--always", "--dirty=+", "--abbrev=12")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        command = ["git", "-C", str(folder), *arguments]
        found = subprocess.run(  # noqa: S603 - fixed words and our own folder
            command, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None


def process_peak_memory_bytes() -> int:
    """Returns the peak resident set size of this process, in bytes."""
    status = Path("/proc/self/status")
    if status.is_file():  # ru_maxrss would count the parent's memory as well, where it forked
        match = re.search(r"VmHWM:\s*(\d+) kB", status.read_text())
        if match:
            return int(match.group(1)) * 1024
    memory = psutil.Process().memory_info()
    return int(getattr(memory, "peak_wset", memory.rss))
