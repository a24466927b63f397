"""Requests: the run config, starting weights and mismatches with which an experiment is trained."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from alexnet_impl.data.cache import cache_dir
from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.dataset import Dataset
from alexnet_impl.errors import WeightsError
from alexnet_impl.files import file_digest
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.reproduction.catalogue.budget import Budget
from alexnet_impl.reproduction.catalogue.experiment import Experiment
from alexnet_impl.reproduction.runs.dataset_check import other_images
from alexnet_impl.reproduction.runs.experiment_record import ExperimentRecord
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.runs.records import DatasetRecord
from alexnet_impl.weights.published_files import PUBLISHED, is_published_name, published_of

UNPERMUTED = "-unpermuted.safetensors"
"""Ending of files of weights whose fc1 rows were left in PyTorch's order (see `unpermuted`)."""
_MACHINE_FIELDS = ("device", "threads", "data_dir")
"""Fields of a config that describe the machine; another machine may resume the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentRequest:
    """One run of an experiment that is to be trained.

    Attributes:
        mismatches: How the config differs from what the report says, beyond the budget.
        source: The published name or the file of the starting weights, before the experiment's
            mistake is made in them; None: the weights are drawn.
    """

    experiment: Experiment
    budget: Budget
    config: RunConfig
    mismatches: tuple[str, ...]
    source: str | None = None

    def folder(self, root: Path) -> Path:
        """Directory of the record and of the run folder."""
        seed = f"seed-{self.config.recipe.seed}"
        return root / self.budget.name / self.experiment.id / seed

    @property
    def record(self) -> ExperimentRecord:
        """The content of experiment.json for this request."""
        return ExperimentRecord(
            experiment=self.experiment.id,
            budget=self.budget.name,
            seed=self.config.recipe.seed,
            label=self.budget.label(self.experiment.recipe),
            mismatches=self.mismatches,
        )


def make_request(
    experiment: Experiment,
    budget: Budget,
    base: RunConfig,
    *,
    framework: str | None = None,
    copy: Path | None = None,
) -> ExperimentRequest:
    """Returns what to train for an experiment.

    Args:
        experiment: The experiment.
        budget: How much of it to run.
        base: Supplies width, resolved data, device, threads and seed.
        framework: The framework to train in instead of the experiment's own.
        copy: A file to use in place of the published weights.
    """
    source = str(copy) if copy is not None and experiment.weights else experiment.weights
    recipe = replace(budget.recipe(experiment.recipe), seed=base.recipe.seed)
    mismatches = list(_stored_order_mismatch(recipe, base.data))
    if mismatches:
        recipe = replace(recipe, shuffle_buffer=None)
    if base.width != 1:
        mismatches.append(f"width {base.width:g}")
    if source != experiment.weights and published_of(Path(str(source))) is None:
        mismatches.append(f"starts from {source}, not known to be {experiment.weights}")
    config = replace(
        base,
        framework=framework or experiment.framework,
        variant=experiment.variant,
        recipe=recipe,
        data=budget.data(base.data),
        weights=str(unpermuted_path(source)) if source and experiment.unpermuted else source,
        cache_features=experiment.cache_features,
    )
    return ExperimentRequest(
        experiment=experiment,
        budget=budget,
        config=config,
        mismatches=tuple(mismatches),
        source=source,
    )


def unpermuted_path(source: str) -> Path:
    """Cache file of weights with unpermuted fc1 rows, keyed by published name or file content.

    Raises:
        WeightsError: If the file does not exist.
    """
    key = source.replace(":", "-")
    if not is_published_name(source):
        if not Path(source).is_file():
            raise WeightsError(f"{source}: there is no such file.")
        key = file_digest(Path(source), "sha256")[:16]
    return cache_dir() / "weights" / f"{key}{UNPERMUTED}"


def starts_as_published(weights: str | None, experiment: Experiment) -> bool:
    """Whether these weights are the ones that the experiment names, or a known copy of them.

    A copy is recognised by the published name of its file, under which it was checked; a file with
    the experiment's mistake in it, by the digest in its name.
    """
    if weights is None or experiment.weights is None:
        return weights == experiment.weights
    wanted = (experiment.weights, experiment.variant)
    entries = [entry for entry in PUBLISHED if (entry.name, entry.variant) == wanted]
    name = Path(weights).name
    if not experiment.unpermuted:
        return weights == experiment.weights or name in [entry.file_name for entry in entries]
    keys = [entry.remote.sha256 for entry in entries if entry.remote.sha256]
    named = name == unpermuted_path(experiment.weights).name
    return named or (name.endswith(UNPERMUTED) and name.startswith(tuple(keys)))


def rebuilt_request(experiment: Experiment, budget: Budget, config: RunConfig) -> ExperimentRequest:
    """Returns the request that would train a run of this config, if it is of the experiment.

    If the experiment starts from weights, those of the config are taken as they are: a copy of the
    published ones may lie anywhere.
    """
    base = RunConfig(
        framework=config.framework,
        variant=experiment.variant,
        width=config.width,
        recipe=Recipe(seed=config.recipe.seed),
        data=DataConfig(dataset=config.data.dataset, data_dir=config.data.data_dir),
        device=config.device,
        threads=config.threads,
    )
    given = config.weights if experiment.weights is not None else None
    copied = given is not None and not experiment.unpermuted and not is_published_name(given)
    copy = Path(str(given)) if copied else None
    request = make_request(experiment, budget, base, framework=config.framework, copy=copy)
    if experiment.unpermuted and given is not None and Path(given).name.endswith(UNPERMUTED):
        return replace(request, config=replace(request.config, weights=given))
    return request


def on_images(request: ExperimentRequest, dataset: Dataset) -> ExperimentRequest:
    """The request, with a mismatch added if the images are not CIFAR-10's."""
    other = other_images(DatasetRecord.of(dataset), request.config.data)
    return replace(request, mismatches=(*request.mismatches, *([other] if other else [])))


def _stored_order_mismatch(recipe: Recipe, data: DataConfig) -> Iterator[str]:
    """Yields why a shuffle buffer is not used: folders are sorted by class, the archive is not."""
    if data.dataset == "image_folder" and recipe.shuffle_buffer is not None:
        yield (
            f"the images are stored class by class, so a buffer of {recipe.shuffle_buffer:,} "
            "would show one class after the other: each epoch is a permutation instead"
        )


def config_differences(found: RunConfig, asked: RunConfig) -> list[str]:
    """Fields in which two configs differ, as 'field=found value, not the value asked for'."""
    one, other = _deciding_fields(found), _deciding_fields(asked)
    return [
        f"{name}={one.get(name)}, not {value}"
        for name, value in other.items()
        if one.get(name) != value
    ]


def _deciding_fields(config: RunConfig) -> dict[str, Any]:
    """All fields that decide a run's numbers, in one level."""
    values = config.to_dict() | config.data.to_dict() | config.recipe.to_dict()
    values["weights"] = _weights_name(config.weights)
    return {k: v for k, v in values.items() if k not in (*_MACHINE_FIELDS, "data", "recipe")}


def _weights_name(weights: str | None) -> str | None:
    """Published weights by their name; other weights by their file's name: it may lie anywhere."""
    if weights is None or is_published_name(weights):
        return weights
    published = published_of(Path(weights))
    return Path(weights).name if published is None else published.name
