"""Runs an experiment: its run folder, what it is a run of, and what is refused.

DIR/BUDGET/ID/seed-N holds experiment.json (what was run, and how it departs from the report) and,
named by its framework, the run folder.
"""

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import psutil
from rich.console import Console

from alexnet_impl.data.config import DataConfig
from alexnet_impl.data.dataset import Dataset
from alexnet_impl.data.progress import Progress, silent
from alexnet_impl.errors import RecordError, RunError, StoppedError
from alexnet_impl.files import file_digest, write_bytes
from alexnet_impl.network.variants import get_variant
from alexnet_impl.processes.conversion import make_readable, prepare_job
from alexnet_impl.processes.training_worker import log_of, train_in_worker
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.reproduction.catalogue.budget import Budget
from alexnet_impl.reproduction.catalogue.experiment import Experiment
from alexnet_impl.reproduction.catalogue.scratch import EXPERIMENTS
from alexnet_impl.reproduction.checks.finding import NUM_TEST, NUM_TRAIN
from alexnet_impl.reproduction.checks.sizes import resized_bytes, resized_text
from alexnet_impl.reproduction.runs.dataset_check import other_images
from alexnet_impl.reproduction.runs.unpermuted import UNPERMUTED, unpermuted_path, write_unpermuted
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.runs.records import DatasetRecord
from alexnet_impl.training.observers import make_observer
from alexnet_impl.training.prepare import PreparedRun, find_given, prepare_run
from alexnet_impl.typed_json import read
from alexnet_impl.weights.published_files import PUBLISHED, is_published_name, published_of

RECORD = "experiment.json"
SCHEMA_VERSION = 1
ENDED = ("finished", "collapsed", "diverged")
"""Nothing is left to do for such a run."""
AGAIN = "remove the folder, and run the experiment again"
_WHERE = ("device", "threads", "data_dir")
"""What a config says of the machine; another machine may go on with the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One run of an experiment.

    Attributes:
        experiment: Which one.
        budget: How much of it.
        config: What is trained.
        mismatches: How that differs from what the report says, beyond the budget.
        source: The published name or the file of the weights that it begins with, before anything
            is done to them; None: they are drawn.
    """

    experiment: Experiment
    budget: Budget
    config: RunConfig
    mismatches: tuple[str, ...]
    source: str | None = None

    def folder(self, root: Path) -> Path:
        """Where the record and the run folder lie."""
        return seat(root, self.budget.name, self.experiment.id, self.config.recipe.seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What experiment.json says beside a run folder.

    Attributes:
        experiment: The id.
        budget: Its name.
        seed: Of the recipe.
        label: What the budget cut; empty for a full run.
        mismatches: How the run differs from the report's words beyond that.
    """

    experiment: str
    budget: str
    seed: int
    label: str
    mismatches: tuple[str, ...]

    @classmethod
    def of(cls, request: Request) -> Self:
        """The record of a request."""
        return cls(
            experiment=request.experiment.id,
            budget=request.budget.name,
            seed=request.config.recipe.seed,
            label=request.budget.label(request.experiment.recipe),
            mismatches=request.mismatches,
        )

    @classmethod
    def read(cls, path: Path) -> Self:
        """The record of that file.

        Raises:
            RunError: If it is missing, damaged or of another release.
        """
        try:
            values = json.loads(path.read_bytes())
            version = values.pop("schema_version", None) if isinstance(values, dict) else None
            if version == SCHEMA_VERSION:
                return read(cls, values)
            trouble = f"has schema_version={version!r}, not {SCHEMA_VERSION}"
        except OSError as error:
            trouble = f"cannot be read ({error.strerror})"
        except RecordError as error:
            trouble = f"is no record of an experiment ({error})"
        except ValueError:
            trouble = "is no JSON"
        raise RunError(f"{path}: {trouble}; {AGAIN}.")

    def write(self, path: Path) -> None:
        """Write the file whole."""
        values = {"schema_version": SCHEMA_VERSION} | asdict(self)
        write_bytes(path, json.dumps(values, indent=1).encode())


def seat(root: Path, budget: str, experiment: str, seed: int) -> Path:
    """The folder of one experiment, budget and seed."""
    return root / budget / experiment / f"seed-{seed}"


def make_request(
    experiment: Experiment,
    budget: Budget,
    base: RunConfig,
    *,
    framework: str | None = None,
    copy: Path | None = None,
) -> Request:
    """What to train for an experiment.

    Args:
        experiment: Which one.
        budget: How much of it.
        base: Its width, settled data, device, threads and seed are taken.
        framework: Train it in this one instead of its own.
        copy: A file in place of the published weights.
    """
    source = str(copy) if copy is not None and experiment.weights else experiment.weights
    recipe = replace(budget.recipe(experiment.recipe), seed=base.recipe.seed)
    mismatches = list(_of_stored_order(recipe, base.data))
    if mismatches:
        recipe = replace(recipe, shuffle_buffer=None)
    if base.width != 1:
        mismatches.append(f"width {base.width:g}")
    if source != experiment.weights and published_of(Path(str(source))) is None:
        mismatches.append(f"begins with {source}, not known to be {experiment.weights}")
    config = replace(
        base,
        framework=framework or experiment.framework,
        variant=experiment.variant,
        recipe=recipe,
        data=budget.data(base.data),
        weights=str(unpermuted_path(source)) if source and experiment.unpermuted else source,
        cache_features=experiment.cache_features,
    )
    return Request(
        experiment=experiment,
        budget=budget,
        config=config,
        mismatches=tuple(mismatches),
        source=source,
    )


def begins_as_published(weights: str | None, experiment: Experiment) -> bool:
    """Whether a run of these weights began with those that its experiment names, or with a copy.

    A copy is known by its file's published name, under which it was checked; one with the
    experiment's mistake in it by the digest in its name.
    """
    if weights is None or experiment.weights is None:
        return weights == experiment.weights
    entries = [
        entry
        for entry in PUBLISHED
        if (entry.name, entry.variant) == (experiment.weights, experiment.variant)
    ]
    name = Path(weights).name
    if not experiment.unpermuted:
        return weights == experiment.weights or name in [entry.file_name for entry in entries]
    keys = [entry.remote.sha256 for entry in entries if entry.remote.sha256]
    named = name == unpermuted_path(experiment.weights).name
    return named or (name.endswith(UNPERMUTED) and name.startswith(tuple(keys)))


def rebuilt_request(experiment: Experiment, budget: Budget, config: RunConfig) -> Request:
    """The request that a run of this config would be of, if it is one of the experiment's.

    What it began with is taken as it is, if the experiment begins with weights: a copy of those
    that were published may lie anywhere.
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


def on_images(request: Request, dataset: Dataset) -> Request:
    """The request, which departs from the report if these images are not CIFAR-10's."""
    other = other_images(DatasetRecord.of(dataset), request.config.data)
    return replace(request, mismatches=(*request.mismatches, *([other] if other else [])))


def prepare_request(
    request: Request, dataset: Dataset, interpreters: Mapping[str, str], progress: Progress = silent
) -> PreparedRun:
    """Prepare the run of a request: its weights are found, with the experiment's mistake in them.

    Args:
        request: What to train.
        dataset: The images that its config loads.
        interpreters: Framework to the Python that runs it; by default this one.
        progress: Reports a download.

    Raises:
        WeightsError: If the weights cannot be downloaded, are damaged, or belong to another
            network.
        RecipeError: If they were trained on other values than the recipe feeds.
    """
    config = request.config
    if request.source is None:
        return prepare_job(config, dataset)
    found = find_given(request.source, config.variant, config.recipe, config.framework, progress)
    if not request.experiment.unpermuted:
        return prepare_job(config, dataset, found, interpreters=interpreters)
    mistaken = replace(found, name=str(config.weights), path=Path(str(config.weights)))
    run = prepare_run(config, dataset, mistaken)
    readable = make_readable(
        found, run.spec, config.width, frameworks=(), interpreters=interpreters
    )
    write_unpermuted(mistaken.path, readable, run.spec, config.width)
    return run


def _of_stored_order(recipe: Recipe, data: DataConfig) -> Iterator[str]:
    """CIFAR-10's archive is in no order; folders are sorted by class."""
    if data.dataset == "image_folder" and recipe.shuffle_buffer is not None:
        yield (
            f"the images are stored class by class, so a buffer of {recipe.shuffle_buffer:,} "
            "would show one class after the other: each epoch is a permutation instead"
        )


def check_memory(request: Request, available: int | None = None) -> str:
    """Refuse to hold a dataset resized that the machine cannot hold.

    Args:
        request: An experiment that does so; of any other nothing is checked.
        available: Of the machine, in bytes; by default all of its memory.

    Returns:
        That the memory is enough, with the arithmetic; empty where nothing is checked.

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
    request: Request,
    run: PreparedRun,
    root: Path,
    console: Console,
    *,
    interpreter: str = sys.executable,
) -> RunFolder:
    """Train a request in a worker process, continue it, or return the run that has ended.

    Args:
        request: What to train.
        run: The same, prepared.
        root: Where all experiments' folders lie.
        console: Where progress is shown.
        interpreter: The Python to run.

    Returns:
        The run folder, also of a run that diverged: that is its result.

    Raises:
        RunError: If the folder holds something else, or the worker failed.
        StoppedError: If the user stopped it.
    """
    path = request.folder(root) / request.config.framework
    if (done := existing_run(request, path)) is not None:
        return done
    path.parent.mkdir(parents=True, exist_ok=True)
    Record.of(request).write(path.parent / RECORD)
    try:
        with make_observer(console) as observer:
            result = train_in_worker(run, path, observer, interpreter=interpreter)
    except RunError as error:
        left = RunFolder(path).result
        if left is not None and left.status in ENDED:
            return RunFolder.open(path)
        _forget_if_not_begun(path, error)
        raise
    if result.status == "interrupted":
        raise StoppedError(
            f"Stopped {path} after step {result.steps}; the same command continues it."
        )
    return RunFolder.open(path)


def _forget_if_not_begun(path: Path, error: RunError) -> None:
    """Leave nothing of a run that never began, but a log that the error names."""
    if (path / "run.json").is_file():
        return
    log = log_of(path)
    if str(log) not in str(error):
        log.unlink(missing_ok=True)
    if not any(path.parent.glob("*/run.json")):
        (path.parent / RECORD).unlink(missing_ok=True)
    for folder in (path, path.parent):
        with contextlib.suppress(OSError):  # it holds something else
            folder.rmdir()


def existing_run(request: Request, path: Path) -> RunFolder | None:
    """The run of this request that has ended; None if something is left to do.

    Raises:
        RunError: If the folder holds a run of something else.
    """
    if not (path / "run.json").is_file():
        return None
    run = RunFolder.open(path)
    asked, same = request.config, _is_given(run, request.config.weights)
    if same:
        asked = replace(asked, weights=run.config.weights)
    differing = differences(run.config, asked)
    if same is False:
        differing.append(f"weights of another content than {asked.weights}")
    if differing:
        raise RunError(
            f"{path}: holds a run with {'; '.join(differing)}; choose another folder with "
            "--output, or remove this one."
        )
    result = run.result
    return run if result is not None and result.status in ENDED else None


def check_images(path: Path, dataset: Dataset) -> None:
    """Refuse to take or go on with a run on other images; they may lie elsewhere than they did.

    Raises:
        RunError: If there is such a run.
    """
    if not (path / "run.json").is_file():
        return
    recorded = RunFolder.open(path).dataset.fingerprint
    if dataset.fingerprint != recorded:
        raise RunError(
            f"{path}: holds a run on images with fingerprint {recorded[:12]}, but those at hand "
            f"have {dataset.fingerprint[:12]}; choose another folder with --output, or give the "
            "run its own images back."
        )


def _is_given(run: RunFolder, weights: str | None) -> bool | None:
    """Whether a file has the content that a run began with; None if that cannot be told."""
    digest = run.given_weights_sha256
    if digest is None or weights is None or not Path(weights).is_file():
        return None
    return file_digest(Path(weights), "sha256") == digest


def differences(found: RunConfig, asked: RunConfig) -> list[str]:
    """Where two configs part, as 'field=its value, not the one asked for'."""
    one, other = _plain(found), _plain(asked)
    return [
        f"{name}={one.get(name)}, not {value}"
        for name, value in other.items()
        if one.get(name) != value
    ]


def _plain(config: RunConfig) -> dict[str, Any]:
    """All that decides a run's numbers, in one level."""
    values = config.to_dict() | config.data.to_dict() | config.recipe.to_dict()
    values["weights"] = _weights_name(config.weights)
    return {k: v for k, v in values.items() if k not in (*_WHERE, "data", "recipe")}


def _weights_name(weights: str | None) -> str | None:
    """Published weights by their name, others by their file's: it may lie anywhere."""
    if weights is None or is_published_name(weights):
        return weights
    published = published_of(Path(weights))
    return Path(weights).name if published is None else published.name
