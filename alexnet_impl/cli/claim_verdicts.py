"""The handler of `alexnet ledger`: prints the ledger, and writes its page."""

from pathlib import Path

from rich.console import Console

from alexnet_impl.cli.flags import Ledger
from alexnet_impl.cli.output import keep_result
from alexnet_impl.cli.shared import check_target
from alexnet_impl.errors import RunError
from alexnet_impl.report.ledger.json_values import ledger_json
from alexnet_impl.report.ledger.terminal import ledger_renderables, short_renderables
from alexnet_impl.reproduction.verdicts.ledger import make_ledger


def ledger_command(command: Ledger, console: Console) -> int:
    """Judge every claim, print the ledger and write the files that were asked for.

    Raises:
        RunError: If the directory of the runs does not exist or holds none.
    """
    _check_runs(command.runs)
    check_target("--html", command.html)
    ledger = make_ledger(command.runs)
    if command.runs is not None and not (ledger.evidence or ledger.problems):
        raise RunError(
            f"{command.runs}: holds no runs of experiments (BUDGET/ID/seed-N/FRAMEWORK); name the "
            "folder given to reproduce --output."
        )
    keep_result(console, lambda: ledger_json(ledger))
    renderables = ledger_renderables if command.all else short_renderables
    for renderable in renderables(ledger, console.options.max_width):
        console.print(renderable)
    if not command.all:
        console.print("Every claim, pair and finding: alexnet ledger --all")
    if command.html is not None:
        # matplotlib and jinja2 take a second to import, which only a page should cost.
        from alexnet_impl.report.ledger.page import write_ledger_page  # noqa: PLC0415

        write_ledger_page(command.html, ledger)
        console.print(f"Page: {command.html}", soft_wrap=True)
    return 0


def _check_runs(path: Path | None) -> None:
    if path is None or path.is_dir():
        return
    if path.exists():
        raise RunError(f"{path}: is a file; name the folder given to reproduce --output.")
    raise RunError(f"{path}: there is no such folder; alexnet reproduce writes one.")
