"""The commands that list what there is and train nothing; they import no statistics."""

from collections.abc import Iterator

from rich.console import Console

from alexnet_impl.cli.flags import Describe, Recipes, Reproduce, Variants
from alexnet_impl.network.variants import build_spec
from alexnet_impl.report.ledger.experiments import assumption_lines, experiments_table
from alexnet_impl.report.ledger.stacked import PIPED_WIDTH
from alexnet_impl.report.listings import (
    describe_table,
    recipe_fields,
    recipes_table,
    sources_table,
    variants_table,
)
from alexnet_impl.reproduction.catalogue.experiment import Experiment
from alexnet_impl.reproduction.catalogue.scratch import EXPERIMENTS, get_experiment

ALL = "all"
"""Stands for every experiment that can be run."""


def variants_command(_: Variants, console: Console) -> int:
    """List the variants."""
    console.print(variants_table())
    console.print(sources_table())
    return 0


def recipes_command(command: Recipes, console: Console) -> int:
    """List the named recipes, or every field of a recipe."""
    if command.fields:
        for renderable in recipe_fields():
            console.print(renderable, highlight=False)
        return 0
    console.print(recipes_table())
    console.print("Defaults, choices and meanings of all fields: alexnet recipes --fields")
    return 0


def describe_command(command: Describe, console: Console) -> int:
    """Print a variant's layers."""
    spec = build_spec(
        command.variant,
        num_classes=command.num_classes,
        input_size=command.input_size,
        width=command.width,
    )
    console.print(describe_table(spec))
    return 0


def reproduce_command(command: Reproduce, console: Console) -> int:
    """List the experiments, or run those that are named."""
    if not command.list:
        # Running imports the training and its statistics, which a list does not need.
        from alexnet_impl.cli.reproduce import reproduce_command as run  # noqa: PLC0415

        return run(command, console)
    widen(console)
    console.print(experiments_table(console.width))
    for experiment in list(chosen_experiments(command.ids)) or EXPERIMENTS.values():
        console.print(experiment.id, style="bold", highlight=False)
        for line in assumption_lines(experiment):
            console.print(f"  {line}", highlight=False, soft_wrap=True)
    return 0


def chosen_experiments(ids: tuple[str, ...]) -> Iterator[Experiment]:
    """The named experiments, each once; 'all' leaves out those that are listed only to be refused.

    Raises:
        UnknownNameError: If there is no such experiment.
    """
    names: dict[str, None] = {}
    for name in ids:
        runnable = [one.id for one in EXPERIMENTS.values() if not one.in_memory]
        names |= dict.fromkeys(runnable if name == ALL else [name])
    yield from (get_experiment(name) for name in names)


def widen(console: Console) -> None:
    """Give tables room in a file or a pipe, which have no width of their own."""
    if not console.is_terminal:
        console.width = max(console.width, PIPED_WIDTH)
