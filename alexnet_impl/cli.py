"""The `alexnet` command: each subcommand a dataclass whose fields are its flags.

A recipe is named with --recipe and changed field by field with --recipe.FIELD. Whatever the caller
can put right ends as one line on standard error and a non-zero exit code.
"""

import os
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from tyro.conf import Positional, arg

from alexnet_impl.errors import AlexNetError, RunError, StoppedError
from alexnet_impl.recipe import RECIPES, Recipe, get_recipe

DEFAULT_RECIPE = "quick"
DEMO_WIDTH = 0.25
"""Of the embedded digits: the first command ends in under two minutes on two cores."""
STOPPED = 130


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """What `train` and `compare` share."""

    variant: str = "cifar"
    """The architecture; `alexnet variants` lists them."""
    width: float | None = None
    """Multiplies channels and features. Default: 1, and 0.25 on the embedded digits."""
    recipe_name: Annotated[str, arg(name="recipe", metavar="NAME")] = DEFAULT_RECIPE
    """Every number of the training; `alexnet recipes` lists them, --recipe.FIELD changes one."""
    dataset: str | None = None
    """digits, cifar10, image_folder or synthetic. Default: what --data-dir holds, else digits."""
    data_dir: Path | None = None
    """A folder, zip or archive with the images."""
    train_images: int | None = None
    """Train on so many images only, evenly from every class."""
    test_images: int | None = None
    """Test on so many images only, evenly from every class."""
    image_size: int | None = None
    """Store images of a folder in this size, where they differ in size."""
    seed: int | None = None
    """The same as --recipe.seed."""
    device: str = "auto"
    """auto, cpu or gpu."""
    threads: int | None = None
    """CPU threads of the framework; its own choice by default."""
    output: Path | None = None
    """The folder to write, which must not hold anything yet. Default: one under runs/."""
    recipe: Recipe = field(default_factory=lambda: RECIPES[DEFAULT_RECIPE])


@dataclass(frozen=True, kw_only=True)
class Variants:
    """List the AlexNets: parameters, MACs, published totals, sources."""


@dataclass(frozen=True, kw_only=True)
class Recipes:
    """List the recipes and where they differ."""


@dataclass(frozen=True, kw_only=True)
class Describe:
    """Print a variant layer by layer: kernel, output shape, parameters, MACs."""

    variant: Positional[str]
    """A name from `alexnet variants`."""
    num_classes: int = 10
    """Number of logits."""
    input_size: int | None = None
    """Height and width of the images in pixels; the variant's own by default."""
    width: float = 1.0
    """Multiplies channels and features."""


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train one framework and write a run folder."""

    framework: str = "torch"
    """torch or tensorflow."""
    resume: Path | None = None
    """Go on with this interrupted run instead; every other flag is the run's own."""
    options: Annotated[TrainingOptions, arg(name="")] = field(default_factory=TrainingOptions)


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Train both frameworks on the same bytes from the same weights, and report."""

    interpreter: tuple[str, ...] = ()
    """FRAMEWORK=PYTHON: run that framework in another environment."""
    options: Annotated[TrainingOptions, arg(name="")] = field(default_factory=TrainingOptions)


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Print a run's accuracy, per-class figures and confusion matrix."""

    run: Positional[Path]
    """The run folder."""


@dataclass(frozen=True, kw_only=True)
class Predict:
    """Name the class of image files."""

    run: Positional[Path]
    """The run folder."""
    images: Positional[tuple[Path, ...]]
    """Image files of any kind and size."""
    framework: str | None = None
    """Run the weights in this framework; the run's own by default."""
    top: int = 3
    """How many classes to show."""
    device: str = "auto"
    """auto, cpu or gpu."""


@dataclass(frozen=True, kw_only=True)
class Convert:
    """Convert weights between .pt/.pth, .safetensors, .keras and .weights.h5, and check it."""

    source: Annotated[Positional[Path], arg(metavar="IN")]
    """The file to read."""
    target: Annotated[Positional[Path], arg(metavar="OUT")]
    """The file to write."""
    variant: str | None = None
    """The network, where the file does not say it."""
    num_classes: int | None = None
    """Number of logits, where the file does not say it."""
    input_size: int | None = None
    """Height and width in pixels, where the file does not say it."""
    width: float | None = None
    """Width multiplier, where the file does not say it."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """Write report.html again from run folders."""

    runs: Positional[tuple[Path, ...]]
    """Run folders, or the folder of a comparison."""
    output: Path = Path("report.html")
    """The file to write."""


@dataclass(frozen=True, kw_only=True)
class Worker:
    """Train what a request on standard input says; `alexnet compare` starts it."""


COMMANDS: dict[str, type] = {
    "compare": Compare,
    "train": Train,
    "evaluate": Evaluate,
    "predict": Predict,
    "variants": Variants,
    "describe": Describe,
    "recipes": Recipes,
    "convert": Convert,
    "report": Report,
    "worker": Worker,
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit code: 0, 1 for what the caller can put right, 2 for wrong flags, 130 if stopped.
    """
    given = sys.argv[1:] if arguments is None else arguments
    warnings.showwarning = _show_warning
    console = Console()
    try:
        return _HANDLERS[type(command := _parse(given))](command, console)
    except StoppedError as error:
        return _fail(error, STOPPED)
    except (AlexNetError, OSError, MemoryError) as error:
        return _fail(error, 1)
    except KeyboardInterrupt:
        return _fail("stopped", STOPPED)
    except Exception as error:
        if os.environ.get("ALEXNET_TRACEBACK"):
            raise
        hint = "; ALEXNET_TRACEBACK=1 shows where"
        return _fail(f"unexpected {type(error).__name__}: {error}{hint}", 1)


def _fail(error: object, code: int) -> int:
    text = str(error) or type(error).__name__
    print(f"alexnet: error: {' '.join(text.split())}", file=sys.stderr)  # noqa: T201 - its one line
    return code


def _show_warning(message: Warning | str, category: type[Warning], *_: Any) -> None:
    """Warnings of this package as one line; a library's are for its developers."""
    if category is UserWarning and "alexnet" in str(message):
        print(f"alexnet: warning: {message}", file=sys.stderr)  # noqa: T201


def _parse(arguments: list[str]) -> Any:
    """The chosen subcommand with its fields filled in."""
    name = _recipe_name(arguments)
    options = TrainingOptions(recipe_name=name, recipe=get_recipe(name))
    defaults = {Train: Train(options=options), Compare: Compare(options=options)}
    choices = {
        command: Annotated[kind, tyro.conf.subcommand(command, default=defaults[kind])]
        if kind in defaults
        else Annotated[kind, tyro.conf.subcommand(command)]
        for command, kind in COMMANDS.items()
    }
    union = tuple(choices.values())
    return tyro.cli(
        tyro.conf.OmitSubcommandPrefixes[_union(union)],  # type: ignore[misc]
        prog="alexnet",
        description=__doc__,
        args=arguments,
    )


def _union(members: tuple[Any, ...]) -> Any:
    from typing import Union  # noqa: PLC0415

    return Union[members]  # noqa: UP007 - made at run time


def _recipe_name(arguments: list[str]) -> str:
    """What --recipe says: it decides the defaults of all --recipe.FIELD flags."""
    for place, argument in enumerate(arguments):
        if argument.startswith("--recipe="):
            return argument.removeprefix("--recipe=")
        if argument == "--recipe" and place + 1 < len(arguments):
            return arguments[place + 1]
    return DEFAULT_RECIPE


def _config(options: TrainingOptions, framework: str) -> Any:
    """The RunConfig of these flags."""
    from alexnet_impl.data import DataConfig, settle
    from alexnet_impl.results import RunConfig
    from alexnet_impl.variants import get_variant

    get_variant(options.variant)
    data = settle(
        DataConfig(
            dataset=options.dataset,
            data_dir=options.data_dir,
            train_images=options.train_images,
            test_images=options.test_images,
            image_size=options.image_size,
        )
    )
    width = options.width
    if width is None:
        width = DEMO_WIDTH if data.dataset == "digits" else 1.0
    recipe = options.recipe
    if options.seed is not None:
        recipe = replace(recipe, seed=options.seed)
    return RunConfig(
        framework=framework,
        variant=options.variant,
        width=width,
        recipe=recipe,
        data=data,
        device=options.device,
        threads=options.threads,
    )


def _dataset(config: Any, console: Console) -> Any:
    """Load the images with a bar for decoding and downloading, and say what they are."""
    from alexnet_impl.data import load_dataset, terminal_progress

    with terminal_progress() as progress:
        dataset = load_dataset(
            config.data,
            validation_fraction=config.recipe.validation_fraction,
            seed=config.recipe.seed,
            progress=progress,
        )
    held_back = f" + {len(dataset.validation)} validation" if dataset.validation else ""
    console.print(
        f"{dataset.name}: {len(dataset.train)} training{held_back} and {len(dataset.test)} test "
        f"images of {dataset.num_classes} classes, {dataset.fingerprint[:12]}",
        highlight=False,
        soft_wrap=True,
    )
    return dataset


def _new_folder(options: TrainingOptions, what: str) -> Path:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    return options.output or Path("runs") / f"{stamp}-{what}-{options.variant}"


def _variants(_: Variants, console: Console) -> int:
    from alexnet_impl.report.tables import variants_table

    console.print(variants_table())
    return 0


def _recipes(_: Recipes, console: Console) -> int:
    from alexnet_impl.report.tables import recipes_table

    console.print(recipes_table())
    return 0


def _describe(command: Describe, console: Console) -> int:
    from alexnet_impl.report.tables import describe_table
    from alexnet_impl.variants import build_spec

    spec = build_spec(
        command.variant,
        num_classes=command.num_classes,
        input_size=command.input_size,
        width=command.width,
    )
    console.print(describe_table(spec))
    return 0


def _train(command: Train, console: Console) -> int:
    from alexnet_impl.frameworks import get_framework
    from alexnet_impl.observers import make_observer
    from alexnet_impl.results import RunFolder
    from alexnet_impl.training import resume_run, start_run

    if command.resume is not None:
        folder = RunFolder.open(command.resume)
        config = folder.config
    else:
        config = _config(command.options, command.framework)
        folder = RunFolder(_new_folder(command.options, command.framework))
    get_framework(config.framework)
    dataset = _dataset(config, console)
    with make_observer(console) as observer:
        if command.resume is not None:
            result = resume_run(folder, dataset, observer)
        else:
            result = start_run(folder.path, config, dataset, observer)
    if result.status == "interrupted":
        raise StoppedError(f"stopped; go on with: alexnet train --resume {folder.path}")
    from alexnet_impl.report.tables import comparison_table

    console.print(comparison_table([folder]))
    console.print(f"Run folder: {folder.path}", highlight=False, soft_wrap=True)
    return 0


def _compare(command: Compare, console: Console) -> int:
    from alexnet_impl.comparison import check_frameworks, compare
    from alexnet_impl.frameworks import FRAMEWORKS
    from alexnet_impl.results import make_folder

    interpreters = _interpreters(command.interpreter)
    check_frameworks(interpreters)
    config = _config(command.options, FRAMEWORKS[0])
    dataset = _dataset(config, console)
    config.spec(dataset.num_classes)
    del dataset  # each worker loads its own
    folder = _new_folder(command.options, "compare")
    make_folder(folder)
    console.print(
        f"{config.variant} at width {config.width:g}, recipe {command.options.recipe_name}, "
        f"seed {config.recipe.seed}",
        highlight=False,
    )
    runs = compare(config, folder, console, interpreters)
    return _show_report(runs, folder / "report.html", console)


def _show_report(runs: list[Any], path: Path, console: Console) -> int:
    from alexnet_impl.report.page import write_report
    from alexnet_impl.report.tables import comparison_table, equality_lines

    console.print(comparison_table(runs))
    for line in equality_lines(runs):
        console.print(f"{'yes' if line.holds else 'NO '}  {line.what}: {line.detail}")
    write_report(path, runs)
    console.print(f"Report: {path}", highlight=False, soft_wrap=True)
    return 0


def _interpreters(pairs: tuple[str, ...]) -> dict[str, str]:
    from alexnet_impl.errors import UnknownNameError
    from alexnet_impl.frameworks import FRAMEWORKS

    found = {}
    for pair in pairs:
        name, equals, python = pair.partition("=")
        if not equals or not python:
            raise RunError(f"--interpreter {pair}: must read FRAMEWORK=PYTHON.")
        if name not in FRAMEWORKS:
            raise UnknownNameError("framework", name, FRAMEWORKS)
        found[name] = python
    return found


def _evaluate(command: Evaluate, console: Console) -> int:
    from alexnet_impl.report.tables import evaluation_renderables
    from alexnet_impl.results import RunFolder

    folder = RunFolder.open(command.run)
    folder.finished_result()
    for renderable in evaluation_renderables(folder):
        console.print(renderable)
    return 0


def _predict(command: Predict, console: Console) -> int:
    from alexnet_impl.prediction import predict_files
    from alexnet_impl.report.tables import predictions_table
    from alexnet_impl.results import RunFolder

    folder = RunFolder.open(command.run)
    predictions = predict_files(
        folder, command.images, framework=command.framework, device=command.device
    )
    console.print(predictions_table(predictions, top=command.top))
    return 0


def _convert(command: Convert, console: Console) -> int:
    from alexnet_impl.conversion import Hints, convert

    done = convert(
        command.source,
        command.target,
        Hints(
            variant=command.variant,
            num_classes=command.num_classes,
            input_size=command.input_size,
            width=command.width,
        ),
    )
    console.print(
        f"{command.target}: {done.num_weights} weights of {done.spec.name}. Logits of {done.source} "
        f"({command.source.name}) and {done.target} ({command.target.name}) differ by at most "
        f"{done.max_absolute_difference:.2e}, relative {done.max_relative_difference:.2e}.",
        highlight=False,
        soft_wrap=True,
    )
    return 0


def _report(command: Report, console: Console) -> int:
    from alexnet_impl.results import RunFolder

    paths = []
    for path in command.runs:
        inner = sorted(entry.parent for entry in path.glob("*/run.json"))
        paths.extend(inner if inner and not (path / "run.json").is_file() else [path])
    return _show_report([RunFolder.open(path) for path in paths], command.output, console)


def _worker(_: Worker, __: Console) -> int:
    from alexnet_impl.workers import serve

    return serve()


_HANDLERS: dict[type, Callable[[Any, Console], int]] = {
    Variants: _variants,
    Recipes: _recipes,
    Describe: _describe,
    Train: _train,
    Compare: _compare,
    Evaluate: _evaluate,
    Predict: _predict,
    Convert: _convert,
    Report: _report,
    Worker: _worker,
}
