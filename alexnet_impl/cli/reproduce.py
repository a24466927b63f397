"""The handler of `alexnet reproduce`: runs experiments in turn, and shows how they ended."""

import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from alexnet_impl.cli.flags import Reproduce
from alexnet_impl.cli.output import keep_result
from alexnet_impl.cli.shared import check_output, load_images, parse_interpreters
from alexnet_impl.compare import check_frameworks
from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.dataset import Dataset
from alexnet_impl.data.loading import settle
from alexnet_impl.data.progress import terminal_progress
from alexnet_impl.errors import (
    RecipeError,
    RunError,
    StoppedError,
    TooFewImagesError,
    WeightsError,
    require_home,
)
from alexnet_impl.frameworks import FRAMEWORKS
from alexnet_impl.network.variants import BACKBONE_VARIANTS, build_spec
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.report.run.json_values import runs_json
from alexnet_impl.report.run.tables import comparison_table
from alexnet_impl.reproduction.catalogue.budget import get_budget
from alexnet_impl.reproduction.catalogue.experiment import Experiment
from alexnet_impl.reproduction.catalogue.scratch import get_experiments
from alexnet_impl.reproduction.runs.requests import ExperimentRequest, make_request, on_images
from alexnet_impl.reproduction.runs.runner import (
    check_images,
    check_memory,
    existing_run,
    prepare_request,
    reproduce,
)
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.training.stopping import continued_by
from alexnet_impl.weights.pretrained_files import file_kind
from alexnet_impl.weights.published_files import Published, find_published, published_of


def reproduce_command(command: Reproduce, console: Console) -> int:
    """Run the named experiments one after the other, and show how they ended.

    One that cannot start, for example because its weights cannot be downloaded, does not stop the
    others.

    Raises:
        RunError: At the end if one could not start; at once if one failed later.
        StoppedError: If the user stopped it.
    """
    experiments = get_experiments(command.ids)
    if not experiments:
        raise RunError("no experiment was given; name some, or 'all'; --list shows them.")
    check_output(command.output)
    interpreters = parse_interpreters(command.interpreter)
    requests = list(_requests(command, experiments))
    check_frameworks(interpreters, {request.config.framework for request in requests})
    paths = [_path(request, command.output) for request in requests]
    # Refuses before any work is done.
    done = [existing_run(*each) for each in zip(requests, paths, strict=True)]
    runs, problems = [], []
    for request, run in zip(requests, done, strict=True):
        try:
            with continued_by("the same command continues it"):
                again = run and _taken(run, request, console)
                runs.append(again or _run(request, command.output, console, interpreters))
        except (WeightsError, RecipeError, RunError) as error:
            has_begun = (_path(request, command.output) / "run.json").is_file()
            if has_begun or isinstance(error, StoppedError):
                raise
            problems.append(f"{_title(request)} did not start: {error}")
    _show(runs, problems, command.output, console)
    return 0


def _show(runs: list[RunFolder], problems: list[str], output: Path, console: Console) -> None:
    """Show how the runs ended, and why others did not start.

    Raises:
        RunError: If one did not.
    """
    if runs:
        keep_result(console, lambda: runs_json(runs))
        console.print(comparison_table(runs))
        console.print(f"Runs: {output}; judge them with: alexnet ledger {output}", soft_wrap=True)
    if len(problems) == 1:
        raise RunError(problems[0])
    for problem in problems:
        console.print(problem, soft_wrap=True)
    if problems:
        count = len(runs) + len(problems)
        raise RunError(f"{len(problems)} of {count} runs did not start, for the reasons above.")


def _path(request: ExperimentRequest, root: Path) -> Path:
    return request.folder(root) / request.config.framework


def _requests(command: Reproduce, experiments: list[Experiment]) -> Iterator[ExperimentRequest]:
    budget = get_budget(command.budget)
    data = settle(
        DataConfig(dataset=None if command.data_dir else "cifar10", data_dir=command.data_dir)
    )
    base = RunConfig(
        framework=FRAMEWORKS[0],
        variant="cifar",
        width=1.0,
        recipe=Recipe(seed=command.seed),
        data=data,
        device=command.device,
        threads=command.threads,
    )
    copies = _copies(command.weights, experiments)
    for experiment in experiments:
        own = [experiment.framework]
        twice = command.both and experiment.variant not in BACKBONE_VARIANTS
        others = [name for name in FRAMEWORKS if name not in own] if twice else []
        for framework in own + others:
            yield make_request(
                experiment, budget, base, framework=framework, copy=copies.get(experiment.id)
            )


def _copies(files: tuple[Path, ...], experiments: list[Experiment]) -> dict[str, Path]:
    """The file that each experiment starts from instead of a download, by the experiment's id.

    Raises:
        WeightsError: If a file name has no known ending of a weight file.
        RunError: If there is no such file, or no experiment starts from such weights.
        DataError: If the home folder of a path is not known.
    """
    found: dict[str, Path] = {}
    for file in files:
        with require_home("give the absolute path of the weights"):
            path = file.expanduser().resolve()
        file_kind(path)
        if not path.is_file():
            raise RunError(f"--weights {file}: there is no such file.")
        named = published_of(path)
        takers = [
            one.id
            for one in experiments
            if one.weights is not None and (named is None or named == _published(one))
        ]
        if not takers:
            raise RunError(f"--weights {file}: none of the named experiments starts from it.")
        found |= dict.fromkeys(takers, path)
    return found


def _published(experiment: Experiment) -> Published:
    size = build_spec(experiment.variant, input_size=experiment.recipe.input_size).input_shape[1]
    return find_published(str(experiment.weights), experiment.variant, size)


def _title(request: ExperimentRequest) -> str:
    return f"{request.experiment.id} in {request.config.framework}"


def _taken(run: RunFolder, request: ExperimentRequest, console: Console) -> RunFolder:
    """Check that a run that has ended saw the images that are given, and return it."""
    if run.config.data.data_dir != request.config.data.data_dir:
        check_images(run.path, load_images(request.config, console))
    return run


def _run(
    request: ExperimentRequest, root: Path, console: Console, interpreters: dict[str, str]
) -> RunFolder:
    label = request.budget.label(request.experiment.recipe) or "the report's full length"
    console.print(f"{_title(request)}: {label}", style="bold")
    memory_note = check_memory(request)
    dataset = _load_images(request, console)
    check_images(_path(request, root), dataset)
    request = on_images(request, dataset)
    for mismatch in request.mismatches:
        console.print(f"  differs from the report: {mismatch}", soft_wrap=True)
    if memory_note:
        console.print(memory_note, soft_wrap=True)
    with terminal_progress() as progress:
        run = prepare_request(request, dataset, interpreters, progress)
    del dataset  # the worker loads its own
    interpreter = interpreters.get(request.config.framework, sys.executable)
    return reproduce(request, run, root, console, interpreter=interpreter)


def _load_images(request: ExperimentRequest, console: Console) -> Dataset:
    """Load the images that the budget takes.

    Raises:
        RunError: If there are fewer.
    """
    try:
        return load_images(request.config, console)
    except TooFewImagesError as error:
        raise RunError(
            f"budget {request.budget.name} takes {request.budget.about}, and "
            f"{request.config.data.data_dir} has fewer; give all of CIFAR-10 with --data-dir."
        ) from error
