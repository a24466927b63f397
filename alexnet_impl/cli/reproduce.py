"""`alexnet reproduce` and `alexnet ledger`: the reports' experiments, and what became of them."""

import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from alexnet_impl.cli.flags import Ledger, Reproduce
from alexnet_impl.cli.shared import check_output, check_target, load_images, parse_interpreters
from alexnet_impl.compare import check_frameworks
from alexnet_impl.data.config import DataConfig
from alexnet_impl.data.dataset import Dataset
from alexnet_impl.data.loading import settle
from alexnet_impl.data.progress import terminal_progress
from alexnet_impl.errors import RecipeError, RunError, StoppedError, TooFewImagesError, WeightsError
from alexnet_impl.frameworks import FRAMEWORKS
from alexnet_impl.network.variants import BACKBONE_VARIANTS, build_spec
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.report.ledger.stacked import widen
from alexnet_impl.report.ledger.terminal import (
    ledger_renderables,
    write_ledger_json,
)
from alexnet_impl.report.run.tables import comparison_table
from alexnet_impl.reproduction.catalogue.budget import get_budget
from alexnet_impl.reproduction.catalogue.experiment import Experiment
from alexnet_impl.reproduction.catalogue.scratch import get_experiments
from alexnet_impl.reproduction.runs.runner import (
    Request,
    check_images,
    check_memory,
    existing_run,
    make_request,
    on_images,
    prepare_request,
    reproduce,
)
from alexnet_impl.reproduction.verdicts.ledger import make_ledger
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.weights.pretrained_files import file_kind
from alexnet_impl.weights.published_files import Published, find_published, published_of


def reproduce_command(command: Reproduce, console: Console) -> int:
    """Run what was asked for, one after the other, and show how it ended.

    One that cannot start, such as for weights that are not to be had, does not keep the others from
    running.

    Raises:
        RunError: At the end if one could not start, at once if one failed later.
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
    done = [existing_run(*each) for each in zip(requests, paths, strict=True)]  # refuses first
    runs, troubles = [], []
    for request, run in zip(requests, done, strict=True):
        try:
            again = run and _taken(run, request, console)
            runs.append(again or _run(request, command.output, console, interpreters))
        except StoppedError:
            raise
        except (WeightsError, RecipeError, RunError) as error:
            if (_path(request, command.output) / "run.json").is_file():
                raise
            troubles.append(f"{_title(request)} did not start: {error}")
    _show(runs, troubles, command.output, console)
    return 0


def _show(runs: list[RunFolder], troubles: list[str], output: Path, console: Console) -> None:
    """How the runs ended, and why others did not start.

    Raises:
        RunError: If one did not.
    """
    if runs:
        console.print(comparison_table(runs))
        console.print(
            f"Runs: {output}; judge them with: alexnet ledger {output}",
            highlight=False,
            soft_wrap=True,
        )
    if len(troubles) == 1:
        raise RunError(troubles[0])
    for trouble in troubles:
        console.print(trouble, highlight=False, soft_wrap=True)
    if troubles:
        count = len(runs) + len(troubles)
        raise RunError(f"{len(troubles)} of {count} runs did not start, for the reasons above.")


def _path(request: Request, root: Path) -> Path:
    return request.folder(root) / request.config.framework


def _requests(command: Reproduce, experiments: list[Experiment]) -> Iterator[Request]:
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
    """The file that each experiment begins with instead of a download, by its id.

    Raises:
        WeightsError: If a name has no ending of a weight file.
        RunError: If there is no such file, or no experiment begins with such weights.
    """
    found: dict[str, Path] = {}
    for file in files:
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
            raise RunError(f"--weights {file}: no experiment that was named begins with it.")
        found |= dict.fromkeys(takers, path)
    return found


def _published(experiment: Experiment) -> Published:
    size = build_spec(experiment.variant, input_size=experiment.recipe.input_size).input_shape[1]
    return find_published(str(experiment.weights), experiment.variant, size)


def _title(request: Request) -> str:
    return f"{request.experiment.id} in {request.config.framework}"


def _taken(run: RunFolder, request: Request, console: Console) -> RunFolder:
    """A run that has ended, once it is clear that it saw the images that are asked for."""
    if run.config.data.data_dir != request.config.data.data_dir:
        check_images(run.path, load_images(request.config, console))
    return run


def _run(request: Request, root: Path, console: Console, interpreters: dict[str, str]) -> RunFolder:
    label = request.budget.label(request.experiment.recipe) or "as long as the report's"
    console.print(f"{_title(request)}: {label}", style="bold", highlight=False)
    said = check_memory(request)
    dataset = _load_images(request, console)
    check_images(_path(request, root), dataset)
    request = on_images(request, dataset)
    for mismatch in request.mismatches:
        console.print(f"  departs from the report: {mismatch}", highlight=False, soft_wrap=True)
    if said:
        console.print(said, highlight=False, soft_wrap=True)
    with terminal_progress() as progress:
        run = prepare_request(request, dataset, interpreters, progress)
    del dataset  # the worker loads its own
    interpreter = interpreters.get(request.config.framework, sys.executable)
    return reproduce(request, run, root, console, interpreter=interpreter)


def _load_images(request: Request, console: Console) -> Dataset:
    """The images that the budget takes.

    Raises:
        RunError: If there are not as many.
    """
    try:
        return load_images(request.config, console)
    except TooFewImagesError as error:
        raise RunError(
            f"budget {request.budget.name} takes {request.budget.about}, and "
            f"{request.config.data.data_dir} has fewer; give all of CIFAR-10 with --data-dir."
        ) from error


def ledger_command(command: Ledger, console: Console) -> int:
    """Judge every claim, and write what was asked for."""
    _check_runs(command.runs)
    check_target("--html", command.html)
    check_target("--json", command.json)
    ledger = make_ledger(command.runs)
    if command.runs is not None and not (ledger.evidence or ledger.troubles):
        raise RunError(
            f"{command.runs}: holds no runs of experiments (BUDGET/ID/seed-N/FRAMEWORK); name the "
            "folder given to reproduce --output."
        )
    widen(console)
    for renderable in ledger_renderables(ledger, console.width):
        console.print(renderable, highlight=False)
    if command.json is not None:
        write_ledger_json(command.json, ledger)
        console.print(f"JSON: {command.json}", highlight=False, soft_wrap=True)
    if command.html is not None:
        # matplotlib and jinja2 take a second, which only a page should cost.
        from alexnet_impl.report.ledger.page import write_ledger_page  # noqa: PLC0415

        write_ledger_page(command.html, ledger)
        console.print(f"Page: {command.html}", highlight=False, soft_wrap=True)
    return 0


def _check_runs(path: Path | None) -> None:
    if path is None or path.is_dir():
        return
    if path.exists():
        raise RunError(f"{path}: is a file; name the folder given to reproduce --output.")
    raise RunError(f"{path}: there is no such folder; alexnet reproduce writes one.")
