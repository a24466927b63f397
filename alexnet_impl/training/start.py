"""Starts a run in a new folder, or resumes one that was interrupted."""

from dataclasses import replace
from typing import Any

from alexnet_impl.data.batches import num_batches
from alexnet_impl.data.dataset import Dataset
from alexnet_impl.errors import RunError
from alexnet_impl.files import file_digest
from alexnet_impl.frameworks import get_framework
from alexnet_impl.network.spec import Spec
from alexnet_impl.recipe.phases import phase_recipes
from alexnet_impl.recipe.trainable import rate_factors, trainable_layers
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.runs.environment import environment_fingerprint
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.runs.records import (
    RunResult,
)
from alexnet_impl.training.checkpoint import restore
from alexnet_impl.training.events import Observer
from alexnet_impl.training.features import (
    cut_network,
)
from alexnet_impl.training.feeding import batch_plan
from alexnet_impl.training.initial_weights import first_weights
from alexnet_impl.training.network import make_network, set_threads
from alexnet_impl.training.run import train
from alexnet_impl.training.state import initial_state
from alexnet_impl.weights.canonical import weights_sha256
from alexnet_impl.weights.pretrained_files import check_preprocessing, find_pretrained


def start_run(
    folder_path: Any, config: RunConfig, dataset: Dataset, observer: Observer
) -> RunResult:
    """Train from the recipe's initial weights and write a run folder.

    Args:
        folder_path: A folder that is empty or not there yet.
        config: What to do.
        dataset: What config.data loads.
        observer: Is told of the progress.

    Returns:
        What is in result.json; its status says whether the run came to its end.

    Raises:
        AlexNetError: If the run cannot start; nothing is left behind then.
        DivergedError: If the loss is not finite any more; the folder keeps the last good state.
    """
    spec = check_run(config, dataset)
    set_threads(config)
    weights = first_weights(config, spec)
    network = make_network(config, spec, weights, dataset, observer)
    folder = RunFolder.create(
        folder_path,
        config,
        dataset,
        weights_sha256(weights),
        given_sha256=_given_sha256(config, spec),
    )
    folder.write_json("environment.json", _environment(config))
    return train(initial_state(folder, config, dataset, network, observer))


def check_run(config: RunConfig, dataset: Dataset) -> Spec:
    """The network of a run, once it is clear that these images can train it.

    Raises:
        UnknownNameError: If there is no such variant.
        SpecError: If the variant does not allow these numbers.
        DataError: If an epoch would not have a single batch.
        RecipeError: If no layer would learn, none is frozen whose features could be cached, or
            the weights it begins with were trained on other values than it feeds.
        WeightsError: If those weights are not to be had.
    """
    num_batches(batch_plan(config.recipe), len(dataset.train))
    spec = config.spec(dataset.num_classes)
    for recipe in phase_recipes(config.recipe):
        trainable_layers(spec, recipe)
    rate_factors(spec, config.recipe)
    if config.cache_features:
        cut_network(spec, config.recipe)
    if config.weights is not None:
        found = find_pretrained(
            config.weights, config.variant, spec.input_shape[1], framework=config.framework
        )
        check_preprocessing(config.recipe, found)
    return spec


def _given_sha256(config: RunConfig, spec: Spec) -> str | None:
    if config.weights is None:
        return None
    found = find_pretrained(config.weights, config.variant, spec.input_shape[1])
    return file_digest(found.path, "sha256")


def resume_run(
    folder: RunFolder, dataset: Dataset, observer: Observer, *, weights: str | None = None
) -> RunResult:
    """Go on from the last checkpoint of a run that was interrupted or killed.

    Args:
        folder: The run.
        dataset: Its images.
        observer: Is told of the progress.
        weights: Where those that it was given lie now; by default where they lay.

    Raises:
        RunError: If the run is finished, diverged or collapsed, or the dataset or the weights it
            was given are others.
    """
    _check_resumable(folder, dataset)
    config = replace(folder.config, weights=weights or folder.config.weights)
    spec = config.spec(dataset.num_classes)
    set_threads(config)
    begun = first_weights(config, spec)
    if config.weights is not None and weights_sha256(begun) != folder.initial_weights_sha256:
        raise RunError(
            f"{folder.path}: was started on other weights than {config.weights} gives; give the "
            "run its own weights back."
        )
    folder.clean()
    network = make_network(config, spec, begun, dataset, observer)
    if not (folder.path / "environment.json").is_file():  # killed before it was written
        folder.write_json("environment.json", _environment(config))
    state = initial_state(folder, config, dataset, network, observer)
    restore(state)
    return train(state)


def _check_resumable(folder: RunFolder, dataset: Dataset) -> None:
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
            f"{folder.path}: was started on images with fingerprint {recorded[:12]}, but those "
            f"at hand have {dataset.fingerprint[:12]}; give the run its own images back."
        )


def _environment(config: RunConfig) -> dict[str, Any]:
    framework = get_framework(config.framework).fingerprint(config.device)
    return environment_fingerprint() | {"framework": framework}
