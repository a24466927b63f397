"""`alexnet reproduce`: lists the experiments, or hands over to the module that runs them."""

from rich.console import Console

from alexnet_impl.cli.flags import Reproduce
from alexnet_impl.cli.output import keep_result
from alexnet_impl.report.ledger.experiments import (
    assumption_lines,
    experiments_json,
    experiments_table,
)
from alexnet_impl.reproduction.catalogue.scratch import EXPERIMENTS, get_experiments

MORE = (
    "What each trains, and what its report leaves out: alexnet reproduce --list --all, or "
    "alexnet reproduce ID --list"
)


def reproduce_command(command: Reproduce, console: Console) -> int:
    """List the experiments, or run those that are named."""
    if not command.list:
        # Running imports the training and its statistics, which a list does not need.
        from alexnet_impl.cli.reproduce import reproduce_command as run  # noqa: PLC0415

        return run(command, console)
    keep_result(console, experiments_json)
    console.print(experiments_table(console.options.max_width))
    detailed = get_experiments(command.ids) or (EXPERIMENTS.values() if command.all else ())
    for experiment in detailed:
        console.print(experiment.id, style="bold")
        for line in assumption_lines(experiment):
            console.print(f"  {line}", soft_wrap=True)
    if not detailed:
        console.print(MORE, soft_wrap=True)
    return 0
