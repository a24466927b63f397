"""Trains an experiment in a worker process, resumes it, or takes the run that has ended."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import psutil
from rich.console import Console

from alexnet_impl.data.dataset import Dataset
from alexnet_impl.data.progress import Progress, silent
from alexnet_impl.errors import RunError, StoppedError
from alexnet_impl.files import file_digest
from alexnet_impl.network.variants import get_variant
from alexnet_impl.processes.conversion import make_readable, prepare_job
from alexnet_impl.processes.training_worker import log_of, train_in_worker
from alexnet_impl.reproduction.catalogue.scratch import EXPERIMENTS
from alexnet_impl.reproduction.checks.finding import NUM_TEST, NUM_TRAIN
from alexnet_impl.reproduction.checks.sizes import resized_bytes, resized_text
from alexnet_impl.reproduction.runs.experiment_record import RECORD
from alexnet_impl.reproduction.runs.requests import ExperimentRequest, config_differences
from alexnet_impl.reproduction.runs.unpermuted import write_unpermuted
from alexnet_impl.runs.folder import RunFolder, hold_folder
from alexnet_impl.training.observers import make_observer
from alexnet_impl.training.prepare import PreparedRun, find_given, prepare_run

RESUME = "Ctrl-C at any time; the same command continues"


def prepare_request(
    request: ExperimentRequest,
    dataset: Dataset,
    interpreters: Mapping[str, str],
    progress: Progress = silent,
) -> PreparedRun:
    """Prepares the run of a request: finds its weights, makes the experiment's mistake in them.

    `interpreters` maps a framework to the Python that runs it; by default this one.

    Raises:
        WeightsError: If the weights cannot be downloaded, are damaged, or belong to another
            network.
        RecipeError: If they were trained on other values than the recipe feeds.
    """
    config = request.config
    if request.source is None:
        return prepare_job(config, dataset)
    found = find_given(request.source, config, progress)
    if not request.experiment.unpermuted:
        return prepare_job(config, dataset, found, interpreters=interpreters)
    mistaken = replace(found, name=str(config.weights), path=Path(str(config.weights)))
    run = prepare_run(config, dataset, mistaken)
    readable = make_readable(found, run.spec, config, frameworks=(), interpreters=interpreters)
    write_unpermuted(mistaken.path, readable, run.spec, config.width)
    return run


def check_memory(request: ExperimentRequest, available: int | None = None) -> str:
    """Refuses an experiment that holds a resized dataset too large for the machine's memory.

    Returns the arithmetic if the `available` bytes (the machine's total by default) are enough;
    empty for an experiment that does not hold a resized dataset.

    Raises:
        RunError: With the arithmetic, and the experiment that does without.
    """
    if not request.experiment.in_memory:
        return ""
    memory = psutil.virtual_memory().total if available is None else available
    size = request.config.recipe.input_size or get_variant(request.config.variant).input_size
    data = request.config.data
    counts = (data.train_images or NUM_TRAIN, data.test_images or NUM_TEST)
    needed = sum(resized_bytes(count, size) for count in counts)
    texts = " and ".join(resized_text(count, size) for count in counts)
    arithmetic = f"{texts} make {needed / 1e9:.1f} GB of {memory / 1e9:.1f} GB"
    if needed > memory:
        mistaken = request.experiment.id
        without = next(one.id for one in EXPERIMENTS.values() if one.corrects == mistaken)
        raise RunError(
            f"{mistaken}: holds every resized image as float32 at once: {arithmetic}; run "
            f"{without} instead, which corrects it and resizes batch by batch."
        )
    return f"{request.experiment.id}: {arithmetic}: the memory is enough."


def reproduce(
    request: ExperimentRequest,
    run: PreparedRun,
    root: Path,
    console: Console,
    *,
    interpreter: str = sys.executable,
) -> RunFolder:
    """Trains the experiment in a worker process, resumes it, or returns the run that has ended.

    The run folder lies below `root`, the directory of all experiments' runs. A run that diverged is
    returned too: divergence is its result.

    Raises:
        RunError: If the folder holds something else, another process writes to it, or the worker
            failed.
        StoppedError: If the user stopped it.
    """
    folder = request.folder(root)
    path = folder / request.config.framework
    with hold_folder(folder):  # before the log in it is written
        if (done := existing_run(request, path)) is not None:
            return done
        request.record.write(folder / RECORD)
        try:
            with make_observer(console, resume=RESUME) as observer:
                train_in_worker(run, path, observer, interpreter=interpreter)
        except RunError as error:
            _remove_unstarted(path, error)
            if isinstance(error, StoppedError) or not RunFolder(path).has_ended:
                raise
        return RunFolder.open(path)


def _remove_unstarted(path: Path, error: RunError) -> None:
    """Removes all traces of a run that did not start, except a log that the error names."""
    if (path / "run.json").is_file():
        return
    log = log_of(path)
    if str(log) not in str(error):
        log.unlink(missing_ok=True)
    if not any(path.parent.glob("*/run.json")):
        (path.parent / RECORD).unlink(missing_ok=True)


def existing_run(request: ExperimentRequest, path: Path) -> RunFolder | None:
    """Returns the run of this request that has ended; None if something is left to do.

    Raises:
        RunError: If the folder holds a run of something else.
    """
    if not (path / "run.json").is_file():
        return None
    run = RunFolder.open(path)
    asked, same = request.config, _has_same_weights(run, request.config.weights)
    if same:
        asked = replace(asked, weights=run.config.weights)
    differing = config_differences(run.config, asked)
    if same is False:
        differing.append(f"weights of another content than {asked.weights}")
    if differing:
        raise RunError(
            f"{path}: holds a run with {'; '.join(differing)}; choose another folder with "
            "--output, or remove this one."
        )
    return run if run.has_ended else None


def check_images(path: Path, dataset: Dataset) -> None:
    """Refuses to take or resume a run on other images; the images may have moved.

    Raises:
        RunError: If the folder holds a run on other images.
    """
    if not (path / "run.json").is_file():
        return
    recorded = RunFolder.open(path).dataset.fingerprint
    if dataset.fingerprint != recorded:
        raise RunError(
            f"{path}: holds a run on images with fingerprint {recorded[:12]}, but the images given "
            f"have {dataset.fingerprint[:12]}; choose another folder with --output, or give the "
            "images of that run."
        )


def _has_same_weights(run: RunFolder, weights: str | None) -> bool | None:
    """Whether a file has the content that the run started from; None if that is not known."""
    digest = run.given_weights_sha256
    if digest is None or weights is None or not Path(weights).is_file():
        return None
    return file_digest(Path(weights), "sha256") == digest
