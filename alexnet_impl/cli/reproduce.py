"""`alexnet reproduce` and `alexnet ledger`: run the five reports' experiments, judge their claims.

Only what `--list` needs is imported here; running and judging import SciPy and much else.
"""

from collections.abc import Iterator

from rich.console import Console

from alexnet_impl.cli.flags import Ledger, Reproduce
from alexnet_impl.errors import RunError
from alexnet_impl.report.ledger.experiments import assumption_lines, experiments_table
from alexnet_impl.report.ledger.stacked import PIPED_WIDTH
from alexnet_impl.reproduction.catalogue.experiment import Experiment
from alexnet_impl.reproduction.catalogue.scratch import EXPERIMENTS, get_experiment

ALL = "all"


def reproduce_command(command: Reproduce, console: Console) -> int:
    """Runs the experiments that were named, or lists what can be run.

    Raises:
        RunError: If no experiment was named, one could not start, or one failed.
        StoppedError: If the user stopped it.
    """
    experiments = list(_experiments(command.ids))
    if command.list:
        return _list(command, experiments, console)
    if not experiments:
        raise RunError("no experiment was given; name some, or 'all'; --list shows them.")
    from alexnet_impl.cli.experiment_runs import run_experiments  # noqa: PLC0415

    return run_experiments(command, experiments, console)


def ledger_command(command: Ledger, console: Console) -> int:
    """Judges every claim, prints the ledger and writes the files that were asked for.

    Raises:
        RunError: If the directory of the runs does not exist or holds none.
    """
    from alexnet_impl.cli.claim_verdicts import print_ledger  # noqa: PLC0415

    _widen(console)
    return print_ledger(command, console)


def _experiments(ids: tuple[str, ...]) -> Iterator[Experiment]:
    """Yields each named experiment once; 'all' leaves out those that exist to be refused."""
    names: dict[str, None] = {}
    for name in ids:
        runnable = [one.id for one in EXPERIMENTS.values() if not one.in_memory]
        names |= dict.fromkeys(runnable if name == ALL else [name])
    yield from (get_experiment(name) for name in names)


def _list(command: Reproduce, experiments: list[Experiment], console: Console) -> int:
    """Prints the table, and details of the experiments named, or with --all of every one."""
    _widen(console)
    console.print(experiments_table(console.width))
    detailed = experiments or (EXPERIMENTS.values() if command.all else ())
    for experiment in detailed:
        console.print(experiment.id, style="bold", highlight=False)
        for line in assumption_lines(experiment):
            console.print(f"  {line}", highlight=False, soft_wrap=True)
    if not detailed:
        console.print(
            "What each trains, and what its report leaves out: alexnet reproduce --list --all, or "
            "alexnet reproduce ID --list",
            highlight=False,
            soft_wrap=True,
        )
    return 0


def _widen(console: Console) -> None:
    """Gives tables more room in a file or a pipe, which have no width of their own."""
    if not console.is_terminal:
        console.width = max(console.width, PIPED_WIDTH)
