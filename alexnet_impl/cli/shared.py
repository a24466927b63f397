"""Steps that several commands share: flags to a RunConfig, loading images, checking paths."""

import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from alexnet_impl.cli.flags import NetworkOptions, TrainingOptions
from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.dataset import Dataset
from alexnet_impl.data.loading import settle
from alexnet_impl.data.progress import terminal_progress
from alexnet_impl.errors import AlexNetWarning, RunError, StoppedError, UnknownNameError
from alexnet_impl.frameworks import FRAMEWORKS
from alexnet_impl.machine.facts import usable_cores
from alexnet_impl.network.variants import get_variant
from alexnet_impl.processes.precision import Ask, settle_precision
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.training.feeding import run_images
from alexnet_impl.training.prepare import find_given
from alexnet_impl.weights.pretrained_files import (
    Pretrained,
    adopt_preprocessing,
    check_preprocessing,
)

DEMO_WIDTH = 0.25
"""Default width for the digits: the first command ends in under two minutes on two cores."""
PREPROCESSING_FIELDS = {"input_scaling", "resize_to"}
"""Recipe fields that pretrained weights determine too."""


def warn_on(console: Console) -> Callable[[str], None]:
    """A function that prints a warning on the console as one line."""
    return lambda text: console.print(f"warning: {text}", style="yellow", soft_wrap=True)


def run_config(options: TrainingOptions, framework: str) -> RunConfig:
    """The RunConfig of these flags; see settle_run()."""
    return settle_run(options, framework)[0]


def settle_run(options: TrainingOptions, framework: str) -> tuple[RunConfig, Pretrained | None]:
    """The RunConfig of these flags, and the weights that --weights names.

    The weights are downloaded if needed, and the run adopts their preprocessing of images.

    Raises:
        WeightsError: If the weights cannot be found, or belong to another network.
        RecipeError: If a flag asks for another preprocessing than the weights'.
    """
    if options.own is None:
        get_variant(options.variant)
    data = settle(
        DataConfig(
            dataset=options.dataset,
            data_dir=options.data_dir,
            train_images=options.train_images,
            test_images=options.test_images,
            classes=options.classes,
            image_size=options.image_size,
        )
    )
    recipe, network = options.recipe, None
    if options.seed is not None:
        recipe = replace(recipe, seed=options.seed)
    if options.own is not None:
        network = options.own.network(input_size=recipe.input_size, width=options.width)
    is_demo = network is None and data.dataset == "digits"
    width = options.width if options.width is not None else DEMO_WIDTH if is_demo else 1.0
    config = RunConfig(
        framework=framework,
        variant=options.display_name,
        width=width,
        recipe=recipe,
        data=data,
        device=options.device,
        threads=options.threads,
        on_collapse=options.on_collapse,
        weights=options.weights,
        cache_features=options.cache_features,
        network=network,
    )
    given = None
    if options.weights is not None:
        with terminal_progress() as progress:
            given = find_given(options.weights, config, progress)
        config = replace(config, recipe=_fed_as_trained(options, recipe, given))
    _warn_of_threads(options.threads)
    return config, given


def _warn_of_threads(threads: int | None) -> None:
    """Warn if there are fewer cores than threads."""
    if threads is not None and threads > (cores := usable_cores()):
        warnings.warn(
            f"--threads {threads}: only {cores} CPU cores are available; more threads would slow "
            "it down.",
            AlexNetWarning,
            stacklevel=2,
        )


def refuse_weights(options: TrainingOptions, command: str) -> None:
    """Refuse flags that would have no effect on a command with weights of its own.

    Raises:
        RunError: If one is given.
    """
    for name in ("weights", "cache_features"):
        if getattr(options, name):
            raise RunError(
                f"--{name.replace('_', '-')} belongs to trainings; {command} draws its own weights."
            )


def _fed_as_trained(options: TrainingOptions, recipe: Recipe, given: Pretrained) -> Recipe:
    """The recipe with the preprocessing of the given weights, unless the user states another."""
    if PREPROCESSING_FIELDS.isdisjoint(options.given):
        return adopt_preprocessing(recipe, given)
    check_preprocessing(recipe, given)
    return recipe


def settled(configs: Sequence[RunConfig], ask: Ask, console: Console) -> list[RunConfig]:
    """The configs of a job's sides with precision=auto settled, once for all; see processes."""
    return settle_precision(configs, ask, lambda line: console.print(line, soft_wrap=True))


def load_images(config: RunConfig, console: Console) -> Dataset:
    """Load the images with a progress bar, and print their numbers and fingerprint."""
    with terminal_progress() as progress:
        dataset = run_images(config.data, config.recipe, progress)
    held_back = f" + {len(dataset.validation)} validation" if dataset.validation else ""
    console.print(
        f"{dataset.name}: {len(dataset.train)} training{held_back} and {len(dataset.test)} test "
        f"images of {dataset.num_classes} classes, {dataset.fingerprint[:12]}",
        soft_wrap=True,
    )
    return dataset


def new_folder(options: NetworkOptions, what: str) -> Path:
    """The folder that --output names, or a new one under runs/ named by time and `what`."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    return options.output or Path("runs") / f"{stamp}-{what}-{options.display_name}"


@contextmanager
def continued_by(how: str, begun: Path | None = None) -> Iterator[None]:
    """Adds to the error of a block that the user stops how to continue it.

    Without the file `begun` there is nothing to continue yet.
    """
    try:
        yield
    except (KeyboardInterrupt, StoppedError) as error:
        if begun is not None and not begun.is_file():
            raise
        raise StoppedError(f"{str(error) or 'Stopped'}; {how}") from None


def check_target(flag: str, path: Path | None) -> None:
    """Refuse a file that cannot be written, before any work is done for it.

    `path` is None if no file was asked for.

    Raises:
        RunError: If its folder does not exist or is read-only, or the path is a folder.
    """
    if path is None:
        return
    if path.is_dir():
        raise RunError(f"{flag} {path}: is a folder; give the path of a file.")
    if not path.parent.is_dir():
        raise RunError(
            f"{flag} {path}: there is no folder {path.parent}; create it, or choose another path."
        )
    if not os.access(path.parent, os.W_OK):
        raise RunError(
            f"{flag} {path}: the folder {path.parent} is not writable; choose another path."
        )


def check_output(folder: Path) -> None:
    """Refuse a folder for --output that cannot be created, before any work is done for it.

    Raises:
        RunError: If a file is in the way, or the folder above is not writable.
    """
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        raise RunError(f"--output {folder}: {there} is a file; choose another folder.")
    if not os.access(there, os.W_OK):
        raise RunError(f"--output {folder}: the folder {there} is not writable; choose another.")


def parse_interpreters(pairs: tuple[str, ...]) -> dict[str, str]:
    """A dict of framework to Python executable, from pairs FRAMEWORK=PYTHON.

    Raises:
        RunError: If an item is not such a pair.
        UnknownNameError: If a framework is unknown.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, python = pair.partition("=")
        if not equals or not python:
            raise RunError(f"--interpreter {pair}: must read FRAMEWORK=PYTHON.")
        if name not in FRAMEWORKS:
            raise UnknownNameError("framework", name, FRAMEWORKS)
        found[name] = python
    return found
