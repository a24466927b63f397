"""The handler of `alexnet versions`."""

from rich import box
from rich.console import Console
from rich.table import Table

from alexnet_impl.cli.flags import Versions
from alexnet_impl.cli.shared import check_target
from alexnet_impl.measurement.releases import read_environments
from alexnet_impl.report.bench.releases import HEADER, conclusion, version_rows, write_versions_page


def versions_command(command: Versions, console: Console) -> int:
    """Print the table and write the page; 1 if a set of releases was not shown equal."""
    check_target("--output", command.output)
    environments, troubles = read_environments(command.folder)
    # Releases side by side: a row for each would be wider than a terminal.
    table = Table(box=box.SIMPLE, show_header=False)
    for cells in zip(HEADER, *version_rows(environments), strict=True):
        table.add_row(*cells)
    console.print(table, highlight=False, markup=False)
    write_versions_page(command.output, environments)
    for trouble in troubles:
        console.print(f"left out: {trouble}", style="bold red", highlight=False, soft_wrap=True)
    holds = all(one.holds for one in environments) and not troubles
    console.print(conclusion(environments), style="green" if holds else "bold red")
    console.print(f"Page: {command.output}", highlight=False, soft_wrap=True)
    return 0 if holds else 1
