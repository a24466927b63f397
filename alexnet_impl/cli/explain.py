"""The handler of `alexnet explain`: finds which framework default made the difference."""

from dataclasses import replace
from pathlib import Path

from rich.console import Console

from alexnet_impl.cli.flags import Explain
from alexnet_impl.cli.output import keep_result
from alexnet_impl.cli.shared import (
    load_images,
    new_folder,
    parse_interpreters,
    settle_run,
)
from alexnet_impl.compare import check_frameworks
from alexnet_impl.data.dataset import Dataset
from alexnet_impl.errors import RunError
from alexnet_impl.explain.results import read_explanation, to_dict, write_explanation
from alexnet_impl.explain.study import (
    ExplainPlan,
    ExplainRequest,
    aligned_config,
    dataset_facts,
    execute,
    make_plan,
    make_request,
    prepare_arms,
    read_request,
    seeds_from,
    write_request,
)
from alexnet_impl.network.variants import get_variant
from alexnet_impl.processes.precision import ask_workers, settle_precision
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.runs.folder import check_free, hold_folder
from alexnet_impl.training.stopping import continued_by
from alexnet_impl.weights.pretrained_files import Pretrained

WIDTH = 0.125
"""Default width: dozens of runs end in minutes on a CPU."""
INPUT_SIZE = 67
"""Default input size of variants for larger images, at which strides and padding still matter."""


def explain_command(command: Explain, console: Console) -> int:
    """Train every arm with every seed, and show the effect of each factor."""
    interpreters = parse_interpreters(command.interpreter)
    check_frameworks(interpreters)
    given = None
    if command.resume is not None:
        request, folder = _resumed(command), command.resume
        dataset = load_images(request.config, console)
    else:
        folder = new_folder(command.options, "explain")
        config, given = _config(command)
        request, dataset = _requested(command, config, folder, console)
    plan = make_plan(request, dataset_facts(dataset))
    if not (folder / "plan.json").is_file():
        _warn_of_slow_arms(plan, interpreters)
    arms = prepare_arms(plan, dataset, given, interpreters)
    del dataset  # each worker loads its own
    with hold_folder(folder):
        _check_study(folder, request)  # once more: another process may have made it by now
        if not (folder / "plan.json").is_file():
            write_request(folder, request)
        with continued_by(f"continue with: alexnet explain --resume {folder}"):
            execute(plan, arms, folder, console, interpreters)
            return _show(folder, console)


def _warn_of_slow_arms(plan: ExplainPlan, interpreters: dict[str, str]) -> None:
    """Warn if the factor precision will take long, with how slow bfloat16 was measured to be."""
    configs = [plan.config(arm, plan.request.seeds[0]) for arm in plan.arms]
    slow = [config for config in configs if config.recipe.precision == "bfloat16"]
    leave_out = "to leave the factor precision out, name the others with --only."
    settle_precision(slow, ask_workers(interpreters), lambda _: None, leave_out)


def _resumed(command: Explain) -> ExplainRequest:
    """The request of an interrupted study; other flags are refused, as they would be ignored."""
    given = replace(command, resume=None, interpreter=(), json=False)
    if given != Explain() or command.resume is None:
        raise RunError(
            "--resume continues a study with the flags it was started with; leave other flags out."
        )
    return read_request(command.resume)


def _requested(
    command: Explain, config: RunConfig, folder: Path, console: Console
) -> tuple[ExplainRequest, Dataset]:
    """The request of these flags with its images; a folder that holds the same one is continued."""
    names = [name for given in command.only for name in given.split(",") if name]
    seeds = seeds_from(config.recipe.seed, command.seeds)
    ExplainRequest(config=config, seeds=seeds, factors=tuple(names))  # refuses what is unknown
    if not (folder / "plan.json").is_file():
        check_free(folder)
    dataset = load_images(config, console)
    request = make_request(config, len(dataset.train), seeds, names)
    _check_study(folder, request)
    return request, dataset


def _check_study(folder: Path, request: ExplainRequest) -> None:
    """Refuse a folder with anything else than this study.

    Raises:
        RunError: If it holds another study, or other files.
    """
    if not (folder / "plan.json").is_file():
        check_free(folder)
    elif read_request(folder) != request:
        raise RunError(
            f"{folder}: holds a study with other flags; choose another folder with --output, or "
            "continue that study with --resume and no other flag."
        )


def _config(command: Explain) -> tuple[RunConfig, Pretrained | None]:
    """The aligned training of these flags, small by default, and the weights it starts from."""
    options = command.options
    recipe = options.recipe
    if command.steps is not None:
        recipe = replace(recipe, steps=command.steps)
    width = WIDTH if options.width is None and options.own is None else options.width
    if recipe.input_size is None and options.own is None:
        usual = get_variant(options.variant).input_size
        recipe = replace(recipe, input_size=INPUT_SIZE if usual > INPUT_SIZE else None)
    options = replace(options, recipe=recipe, width=width)
    config, given = settle_run(options, command.framework)
    return aligned_config(config), given


def _show(folder: Path, console: Console) -> int:
    explanation = read_explanation(folder)
    write_explanation(explanation)
    keep_result(console, lambda: to_dict(explanation))
    # matplotlib and jinja2 take a second, which only a report should cost.
    from alexnet_impl.report.explain.page import write_explain_page  # noqa: PLC0415
    from alexnet_impl.report.explain.tables import effects_table, not_applicable_lines, notes  # noqa: PLC0415

    console.print(effects_table(explanation))
    for line in [*not_applicable_lines(explanation), *notes(explanation)]:
        console.print(line)
    path = folder / "explain.html"
    write_explain_page(path, explanation)
    console.print(f"Report: {path}", soft_wrap=True)
    return 0
