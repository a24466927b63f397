"""The handler of `alexnet parity`."""

from dataclasses import replace

from rich.console import Console

from alexnet_impl.cli.flags import Parity
from alexnet_impl.cli.shared import load_images, new_folder, parse_interpreters, run_config
from alexnet_impl.comparison import check_frameworks
from alexnet_impl.errors import RunError
from alexnet_impl.frameworks import FRAMEWORKS
from alexnet_impl.parity.prove import prove
from alexnet_impl.parity.record import ParityRecord, RungResult, write_record
from alexnet_impl.report.parity import failure_lines, ladder_table, rung_line, write_lockstep_figure
from alexnet_impl.results import check_free, make_folder
from alexnet_impl.training import check_run


def parity_command(command: Parity, console: Console) -> int:
    """Climb the ladder for what was chosen; 0 only if every rung held."""
    interpreters = parse_interpreters(command.interpreter)
    check_frameworks(interpreters)
    if command.steps < 1:
        raise RunError(f"--steps {command.steps}: must be at least 1.")
    folder = new_folder(command.options, "parity")
    check_free(folder)
    config = run_config(command.options, FRAMEWORKS[0])
    for name in FRAMEWORKS:
        replace(config, framework=name)  # refuses what one of them cannot do
    dataset = load_images(config, console)
    check_run(config, dataset)
    make_folder(folder)

    def announce(rung: RungResult) -> None:
        console.print(rung_line(rung), highlight=False, soft_wrap=True)

    record = prove(config, dataset, command.steps, interpreters, announce)
    write_record(folder, record)
    if record.series:
        write_lockstep_figure(folder / "lockstep.png", record)
    console.print(f"Record: {folder}", highlight=False, soft_wrap=True)
    return show_record(record, console)


def show_record(record: ParityRecord, console: Console) -> int:
    """Print the ladder and what a failure comes from; the exit code."""
    console.print(ladder_table(record))
    for line in failure_lines(record):
        console.print(line, style="bold", highlight=False, soft_wrap=True)
    if record.holds:
        console.print(f"All {len(record.rungs)} rungs hold.", style="green")
    return 0 if record.holds else 1
