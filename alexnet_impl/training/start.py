"""Starts a prepared run in a new run folder, or resumes one that was interrupted."""

from functools import partial
from pathlib import Path
from typing import Any

from alexnet_impl.data.dataset import Dataset
from alexnet_impl.errors import RunError
from alexnet_impl.files import file_digest
from alexnet_impl.frameworks import get_framework
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.runs.environment import environment_fingerprint
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.runs.records import RunResult
from alexnet_impl.training.checkpoint import restore
from alexnet_impl.training.events import Observer
from alexnet_impl.training.initial_weights import first_weights
from alexnet_impl.training.network import make_network, set_threads
from alexnet_impl.training.prepare import PreparedRun
from alexnet_impl.training.run import train
from alexnet_impl.training.state import initial_state
from alexnet_impl.weights.canonical import weights_sha256


def start_run(
    folder_path: Path, run: PreparedRun, dataset: Dataset, observer: Observer
) -> RunResult:
    """Train from the run's first weights and write a run folder.

    Args:
        folder_path: A folder that is empty or does not exist yet.
        run: What to train.
        dataset: The images that the run's config loads.
        observer: Is told of the progress.

    Returns:
        The content of result.json; its status says whether the run finished.

    Raises:
        AlexNetError: If the run cannot start; nothing is left behind then.
        DivergedError: If the loss is not finite any more; the folder keeps the last good state.
    """
    config = run.config
    set_threads(config)
    weights = first_weights(run)
    first = partial(first_weights, run)
    network = make_network(config, run.spec, weights, dataset, observer, first_weights=first)
    given = None if run.given is None else file_digest(run.given.path, "sha256")
    folder = RunFolder.create(
        folder_path, config, dataset, weights_sha256(weights), given_sha256=given
    )
    folder.write_json("environment.json", _environment(config))
    return train(initial_state(folder, config, dataset, network, observer))


def resume_run(
    folder: RunFolder, run: PreparedRun, dataset: Dataset, observer: Observer
) -> RunResult:
    """Continue a run that was interrupted or killed, from its last checkpoint.

    Args:
        folder: The run folder.
        run: The same run, prepared again: its weights may lie elsewhere now.
        dataset: Its images.
        observer: Is told of the progress.

    Raises:
        RunError: If the run is finished, diverged or collapsed, or the dataset or the weights it
            started from are others.
    """
    check_resumable(folder, dataset)
    config = run.config
    set_threads(config)
    weights = first_weights(run)
    if config.weights is not None and weights_sha256(weights) != folder.initial_weights_sha256:
        raise RunError(
            f"{folder.path}: was started on other weights than {config.weights} gives; give the "
            "run its own weights back."
        )
    folder.clean()
    first = partial(first_weights, run)
    network = make_network(config, run.spec, weights, dataset, observer, first_weights=first)
    if not (folder.path / "environment.json").is_file():  # killed before it was written
        folder.write_json("environment.json", _environment(config))
    state = initial_state(folder, config, dataset, network, observer)
    restore(state)
    return train(state)


def check_resumable(folder: RunFolder, dataset: Dataset) -> None:
    """Refuse to resume a run that has ended, or was trained on other images.

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


def _environment(config: RunConfig) -> dict[str, Any]:
    framework = get_framework(config.framework).fingerprint(config.device)
    return environment_fingerprint() | {"framework": framework}
