"""The handler of `alexnet versions`."""

from rich import box
from rich.console import Console
from rich.table import Table

from alexnet_impl.cli.flags import Versions
from alexnet_impl.report.versions import HEADER, conclusion, version_rows, write_versions_page
from alexnet_impl.versions import read_environments


def versions_command(command: Versions, console: Console) -> int:
    """Print the table and write the page; 1 if a set of releases was not shown equal."""
    environments, troubles = read_environments(command.folder)
    table = Table(box=box.SIMPLE, header_style="dim")
    for cell in HEADER:
        table.add_column(cell)
    for row in version_rows(environments):
        table.add_row(*row)
    console.print(table, highlight=False, markup=False)
    write_versions_page(command.output, environments)
    for trouble in troubles:
        console.print(f"left out: {trouble}", style="bold red", highlight=False, soft_wrap=True)
    holds = all(one.holds for one in environments) and not troubles
    console.print(conclusion(environments), style="green" if holds else "bold red")
    console.print(f"Page: {command.output}", highlight=False, soft_wrap=True)
    return 0 if holds else 1
