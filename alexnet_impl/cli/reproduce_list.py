"""`alexnet reproduce`: lists the experiments, or hands over to the module that runs them."""

from rich.console import Console

from alexnet_impl.cli.flags import Reproduce
from alexnet_impl.report.ledger.experiments import assumption_lines, experiments_table
from alexnet_impl.report.ledger.stacked import widen
from alexnet_impl.reproduction.catalogue.scratch import EXPERIMENTS, get_experiments


def reproduce_command(command: Reproduce, console: Console) -> int:
    """List the experiments, or run those that are named."""
    if not command.list:
        # Running imports the training and its statistics, which a list does not need.
        from alexnet_impl.cli.reproduce import reproduce_command as run  # noqa: PLC0415

        return run(command, console)
    widen(console)
    console.print(experiments_table(console.width))
    for experiment in get_experiments(command.ids) or EXPERIMENTS.values():
        console.print(experiment.id, style="bold", highlight=False)
        for line in assumption_lines(experiment):
            console.print(f"  {line}", highlight=False, soft_wrap=True)
    return 0
