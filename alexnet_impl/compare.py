"""Trains one prepared run in both frameworks: the same recipe, seed, images and weights."""

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
from alexnet_impl.training.prepare import PreparedRun

COMPARISON = "compare.json"
"""The config of a comparison, written into its folder first."""


def check_frameworks(
    interpreters: Mapping[str, str], frameworks: Collection[str] = FRAMEWORKS
) -> None:
    """Refuses a job whose frameworks are not installed, before any work is done.

    `interpreters` maps a framework to the Python that runs it, by default this one.

    Raises:
        FrameworkError: If one is not installed; with the command that installs it.
        RunError: If an interpreter cannot be found.
    """
    for name in FRAMEWORKS:
        if name not in frameworks:
            continue
        interpreter = interpreters.get(name, sys.executable)
        if shutil.which(interpreter) is None:
            raise RunError(f"--interpreter {name}={interpreter}: is not an executable program.")
        if interpreter == sys.executable and not is_installed(name):
            get_framework(name)


def compare(
    run: PreparedRun, folder: Path, console: Console, interpreters: Mapping[str, str]
) -> list[RunFolder]:
    """Trains in both frameworks, each in a worker process, one after the other.

    Args:
        run: What to train; its framework is replaced by each.
        folder: Each run becomes a folder in it, named by its framework. A run that is there
            already is kept if it has ended, and continued if it was interrupted.
        console: Shows the progress.
        interpreters: Framework to the Python that runs it; by default this one.

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
            scope = "" if name == FRAMEWORKS[-1] else " per framework"
            with make_observer(console, scope=scope) as observer:
                result = train_in_worker(
                    replace(run, config=replace(run.config, framework=name)),
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
    return StoppedError(f"Stopped{where}; continue with: alexnet compare --resume {folder}")


def _ended(path: Path) -> RunFolder | None:
    """The run in this folder if it has ended; None if there is something left to train."""
    if not (path / "run.json").is_file():
        return None
    run = RunFolder.open(path)
    ended = run.result is not None and run.result.status in ("finished", "collapsed")
    return run if ended else None


def write_comparison(folder: Path, config: RunConfig) -> None:
    """Writes compare.json: from then on the comparison can be resumed."""
    RunFolder(folder).clean()
    RunFolder(folder).write_json(COMPARISON, config.to_dict())


def comparison_config(folder: Path) -> RunConfig:
    """The config of a comparison that was interrupted.

    Raises:
        RunError: If none was started.
    """
    if (folder / COMPARISON).is_file():
        return RunConfig.from_dict(RunFolder(folder).read_json(COMPARISON))
    for name in FRAMEWORKS:  # folders written before compare.json was
        if (folder / name / "run.json").is_file():
            return RunFolder.open(folder / name).config
    raise RunError(f"{folder}: holds no run of a comparison; start one without --resume.")
