"""Starts a prepared run in a new run folder, or resumes one that was interrupted."""

from pathlib import Path

from alexnet_impl.data.dataset import Dataset
from alexnet_impl.errors import RunError
from alexnet_impl.files import file_digest
from alexnet_impl.frameworks import get_framework
from alexnet_impl.runs.environment import environment_fingerprint
from alexnet_impl.runs.folder import RunFolder, hold_folder, hold_new_folder
from alexnet_impl.runs.records import RunResult
from alexnet_impl.training.checkpoint import restore
from alexnet_impl.training.events import Observer
from alexnet_impl.training.initial_weights import first_weights
from alexnet_impl.training.network import make_network
from alexnet_impl.training.prepare import PreparedRun
from alexnet_impl.training.run import train
from alexnet_impl.training.state import initial_state
from alexnet_impl.weights.canonical import Weights, weights_sha256


def start_run(
    folder_path: Path, run: PreparedRun, dataset: Dataset, observer: Observer
) -> RunResult:
    """Trains from the run's first weights and writes a run folder: an empty one, or a new one.

    Raises:
        AlexNetError: If the run cannot start; nothing is left on disk then.
        DivergedError: If the loss is not finite any more; the folder keeps the last good state.
    """
    weights = _threads_and_weights(run)
    network = make_network(run, weights, dataset, observer)
    given = None if run.given is None else file_digest(run.given.path, "sha256")
    with hold_new_folder(folder_path):
        folder = RunFolder.create(
            folder_path, run.config, dataset, weights_sha256(weights), given_sha256=given
        )
        _write_environment(folder, run)
        return train(initial_state(folder, run.config, dataset, network, observer))


def resume_run(
    folder: RunFolder, run: PreparedRun, dataset: Dataset, observer: Observer
) -> RunResult:
    """Continues a run that was interrupted or killed, from its last checkpoint.

    The run was prepared again: its weights may lie elsewhere now.

    Raises:
        RunError: If the run is finished, diverged or collapsed, another process trains it, or the
            dataset or the weights it started from are others.
    """
    with hold_folder(folder.path):
        return _resume(folder, run, dataset, observer)


def _resume(folder: RunFolder, run: PreparedRun, dataset: Dataset, observer: Observer) -> RunResult:
    check_resumable(folder, dataset)
    weights, given = _threads_and_weights(run), run.config.weights
    if given is not None and weights_sha256(weights) != folder.initial_weights_sha256:
        raise RunError(
            f"{folder.path}: was started on other weights than {given} gives; give the "
            "run its own weights back."
        )
    network = make_network(run, weights, dataset, observer)
    if not (folder.path / "environment.json").is_file():  # killed before it was written
        _write_environment(folder, run)
    state = initial_state(folder, run.config, dataset, network, observer)
    restore(state)
    return train(state)


def check_resumable(folder: RunFolder, dataset: Dataset) -> None:
    """Refuses to resume a run that has ended, or was trained on other images.

    Raises:
        RunError: With what to do instead.
    """
    result = folder.result
    if result is not None and result.status == "finished":
        raise RunError(f"{folder.path}: this run is finished; there is nothing to resume.")
    if result is not None and result.status == "diverged":
        raise RunError(
            f"{folder.path}: this run diverged and would do so again; start a new one with a "
            "lower --recipe.learning-rate or with --recipe.clip-norm."
        )
    if result is not None and result.status == "collapsed":
        raise RunError(
            f"{folder.path}: this run collapsed and would not recover; start a new one with a "
            "lower --recipe.learning-rate, or with --on-collapse warn to let it go on."
        )
    recorded = folder.dataset.fingerprint
    if dataset.fingerprint != recorded:
        raise RunError(
            f"{folder.path}: was started on images with fingerprint {recorded[:12]}, but the "
            f"images given have {dataset.fingerprint[:12]}; give the run its own images back."
        )


def _threads_and_weights(run: PreparedRun) -> Weights:
    """Sets the framework's threads first: TensorFlow starts them to read a backbone's weights."""
    if run.config.threads is not None:
        get_framework(run.config.framework).set_threads(run.config.threads)
    return first_weights(run)


def _write_environment(folder: RunFolder, run: PreparedRun) -> None:
    framework = get_framework(run.config.framework).fingerprint(run.config.device)
    folder.write_json("environment.json", environment_fingerprint() | {"framework": framework})
