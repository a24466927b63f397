"""What a ladder found, as a table for the terminal and as a picture."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table
from rich.text import Text

from alexnet_impl.parity.lockstep import divergence
from alexnet_impl.parity.record import ParityRecord, RungResult, Series
from alexnet_impl.report.plots import GRID, INK, MUTED, house_style
from alexnet_impl.report.runs import COLOURS

LEAST = 1e-17
"""Where no difference is drawn on a logarithmic axis."""


def rung_line(rung: RungResult) -> str:
    """One rung while the ladder is climbed."""
    precision = f" in {rung.precision}" if rung.precision else ""
    verdict = "holds" if rung.holds else "FAILS"
    where = f" at {rung.where}" if rung.where else ""
    return f"{verdict}  {rung.rung}{precision}: {rung.measured:.1e} <= {rung.tolerance:.1e}{where}"


def ladder_table(record: ParityRecord) -> Table:
    """Every rung with what was measured, what is allowed, and the verdict."""
    table = Table(title="The ladder", title_justify="left", caption_justify="left", box=None)
    for name in ("rung", "precision"):
        table.add_column(name, no_wrap=True)
    for name in ("difference", "allowed"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("because", style="dim", ratio=1)
    for rung in record.rungs:
        table.add_row(
            rung.rung,
            rung.precision,
            f"{rung.measured:.1e}",
            f"{rung.tolerance:.1e}",
            Text("holds", style="green") if rung.holds else Text("FAILS", style="bold red"),
            rung.reason,
        )
    return table


def failure_lines(record: ParityRecord) -> list[str]:
    """Where the two part first, and why, in sentences; none if they do not."""
    if record.holds:
        return []
    rung = record.failures[0]
    precision = f" ({rung.precision})" if rung.precision else ""
    lines = [f"They part first at: {rung.rung}{precision}" + (f", {rung.where}" * bool(rung.where))]
    lines += [f"likely cause: {cause}" for cause in rung.causes]
    if not rung.causes:
        lines.append("No cause that this release knows explains the difference.")
    return lines


def lockstep_figure(record: ParityRecord) -> Figure:
    """The loss curves over each other, and how far they lie apart on a logarithmic axis."""
    with house_style():
        figure = Figure(figsize=(7.2, 6.4), layout="constrained", facecolor="white")
        curves, differences = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1.5))
        _draw_losses(curves, record.series[-1])
        _draw_differences(differences, record.series)
        return figure


def _draw_losses(axes: Axes, series: Series) -> None:
    styles = ({"linewidth": 3.2, "alpha": 0.45}, {"linewidth": 1.2})
    for (name, losses), style in zip(series.losses.items(), styles, strict=True):
        steps = np.arange(1, len(losses) + 1)
        axes.plot(steps, losses, color=COLOURS[name][0], label=name, **style)  # type: ignore[arg-type]
    axes.set_title(f"Loss, {series.name}")
    axes.legend(loc="upper right")
    axes.grid(axis="x", visible=False)


def _draw_differences(axes: Axes, every: tuple[Series, ...]) -> None:
    shades = (INK, MUTED, "#bf3989")
    for series, shade in zip(every, shades, strict=False):
        apart = np.abs(np.subtract(*series.losses.values()))
        steps = np.arange(1, len(apart) + 1)
        axes.plot(steps, np.maximum(apart, LEAST), color=shade, linewidth=1.3, label=series.name)
        for name, control in series.controls.items():
            values = np.maximum(control, LEAST)
            label = f"control: {name} against itself, one last bit"
            axes.plot(steps, values, color=COLOURS[name][0], linestyle=":", label=label)
        if series.controls:
            band = 3 * np.maximum.reduce([np.array(c) for c in series.controls.values()])
            axes.fill_between(steps, LEAST, np.maximum(band, LEAST), color=GRID, alpha=0.5)
            own = divergence(*series.losses.values())
            axes.plot(steps, np.maximum(own, LEAST), color=shade, linewidth=2.2, alpha=0.5)
    axes.set_yscale("log")
    axes.set_title("|difference of the two losses|")
    axes.set_xlabel("step")
    axes.legend(loc="center right", fontsize=8)


def write_lockstep_figure(path: Path, record: ParityRecord) -> None:
    """Write the picture as PNG."""
    with house_style():
        lockstep_figure(record).savefig(path, dpi=110)
