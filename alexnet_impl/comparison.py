"""The main job: the same variant, recipe, seed, images and weights in both frameworks."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from alexnet_impl.errors import StoppedError
from alexnet_impl.frameworks import FRAMEWORKS, get_framework, is_installed
from alexnet_impl.observers import make_observer
from alexnet_impl.results import RunConfig, RunFolder
from alexnet_impl.workers import train_in_worker


def check_frameworks(interpreters: Mapping[str, str]) -> None:
    """Refuse to start where a framework is missing, before any work is done.

    Raises:
        FrameworkError: With the line that installs it.
    """
    for name in FRAMEWORKS:
        if interpreters.get(name, sys.executable) == sys.executable and not is_installed(name):
            get_framework(name)


def compare(
    config: RunConfig, folder: Path, console: Console, interpreters: Mapping[str, str]
) -> list[RunFolder]:
    """Train in both frameworks, each in a worker of its own, one after the other.

    Args:
        config: What to do; its framework is put in for each.
        folder: An empty folder; each run becomes a folder in it, named by its framework.
        console: Where progress is shown.
        interpreters: Framework to the Python that runs it; this one by default.

    Returns:
        The two run folders.

    Raises:
        RunError: If a worker failed.
        StoppedError: If the user stopped it.
    """
    runs = []
    for name in FRAMEWORKS:
        path = folder / name
        with make_observer(console) as observer:
            result = train_in_worker(
                replace(config, framework=name),
                path,
                observer,
                interpreter=interpreters.get(name, sys.executable),
            )
        if result.status == "interrupted":
            raise StoppedError(f"stopped; go on with: alexnet train --resume {path}")
        runs.append(RunFolder.open(path))
    return runs
