"""The main job: the same variant, recipe, seed, images and weights in both frameworks."""

import shutil
import sys
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from alexnet_impl.errors import RunError, StoppedError
from alexnet_impl.frameworks import FRAMEWORKS, get_framework, is_installed
from alexnet_impl.processes.training_worker import train_in_worker
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.training.observers import make_observer


def check_frameworks(
    interpreters: Mapping[str, str], frameworks: Collection[str] = FRAMEWORKS
) -> None:
    """Refuse to start where a framework is missing, before any work is done.

    Args:
        interpreters: Framework to the Python that runs it; this one by default.
        frameworks: Those that the work needs.

    Raises:
        FrameworkError: With the line that installs it.
        RunError: If an interpreter is not there.
    """
    for name in FRAMEWORKS:
        if name not in frameworks:
            continue
        interpreter = interpreters.get(name, sys.executable)
        if shutil.which(interpreter) is None:
            raise RunError(f"--interpreter {name}={interpreter}: is no program that can be run.")
        if interpreter == sys.executable and not is_installed(name):
            get_framework(name)


def compare(
    config: RunConfig, folder: Path, console: Console, interpreters: Mapping[str, str]
) -> list[RunFolder]:
    """Train in both frameworks, each in a worker of its own, one after the other.

    Args:
        config: What to do; its framework is put in for each.
        folder: Each run becomes a folder in it, named by its framework. A run that is there
            already is kept if it has ended, and gone on with if it was interrupted.
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
        if (done := _ended(path)) is not None:
            runs.append(done)
            continue
        try:
            with make_observer(console) as observer:
                result = train_in_worker(
                    replace(config, framework=name),
                    path,
                    observer,
                    interpreter=interpreters.get(name, sys.executable),
                )
        except StoppedError as error:
            raise _stopped(folder) from error
        if result.status == "interrupted":
            raise _stopped(folder, f" {name} after step {result.steps}")
        runs.append(RunFolder.open(path))
    return runs


def _stopped(folder: Path, where: str = "") -> StoppedError:
    """Returns the message after Ctrl-C, which says how to continue."""
    if any(folder.glob("*/run.json")):
        return StoppedError(f"Stopped{where}; continue with: alexnet compare --resume {folder}")
    return StoppedError(f"Stopped before the first step; {folder} holds no run to continue.")


def _ended(path: Path) -> RunFolder | None:
    """The run in this folder, if there is one and nothing is left to do for it."""
    if not (path / "run.json").is_file():
        return None
    run = RunFolder.open(path)
    ended = run.result is not None and run.result.status in ("finished", "collapsed")
    return run if ended else None


def comparison_config(folder: Path) -> RunConfig:
    """What a comparison that was interrupted is about.

    Raises:
        RunError: If no run of it was started.
    """
    for name in FRAMEWORKS:
        if (folder / name / "run.json").is_file():
            return RunFolder.open(folder / name).config
    raise RunError(f"{folder}: holds no run of a comparison; start one without --resume.")
