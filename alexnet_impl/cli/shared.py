"""Steps that several commands share: flags to a RunConfig, loading images, checking paths."""

import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from alexnet_impl.cli.flags import NetworkOptions, TrainingOptions
from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.dataset import Dataset
from alexnet_impl.data.progress import terminal_progress
from alexnet_impl.errors import RunError, UnknownNameError
from alexnet_impl.frameworks import FRAMEWORKS
from alexnet_impl.processes.precision import Ask, settle_precision
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.runs.folder import stamped_folder
from alexnet_impl.training.feeding import run_images
from alexnet_impl.training.run_request import RunRequest, settle_request
from alexnet_impl.weights.pretrained_files import Pretrained


def run_config(options: TrainingOptions, framework: str) -> RunConfig:
    """The RunConfig of these flags."""
    return settle_run(options, framework)[0]


def settle_run(options: TrainingOptions, framework: str) -> tuple[RunConfig, Pretrained | None]:
    """The RunConfig of these flags, and the weights that --weights names; see settle_request()."""
    request = RunRequest(
        framework=framework,
        variant=options.own or options.variant,
        recipe=options.recipe,
        stated=options.given,
        data=DataConfig(
            dataset=options.dataset,
            data_dir=options.data_dir,
            train_images=options.train_images,
            test_images=options.test_images,
            classes=options.classes,
            image_size=options.image_size,
        ),
        width=options.width,
        seed=options.seed,
        device=options.device,
        threads=options.threads,
        on_collapse=options.on_collapse,
        weights=options.weights,
        cache_features=options.cache_features,
    )
    if options.weights is None:
        return settle_request(request)
    with terminal_progress() as progress:
        return settle_request(request, progress)


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


def new_folder(options: NetworkOptions, what: str, name: str = "") -> Path:
    """The folder that --output names, or a new one under runs/ named by time and `what`.

    `name` stands in the place of the variant's.
    """
    return options.output or stamped_folder(what, name or options.display_name)


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
