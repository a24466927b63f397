"""Figure of the loss curves of a training in lockstep."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from alexnet_impl.parity.lockstep import differences, divergence
from alexnet_impl.parity.record import ParityRecord, Series
from alexnet_impl.report.figure_style import (
    GRID,
    INK,
    LEAST_SHOWN,
    MUTED,
    house_style,
    scale_logarithmically,
)
from alexnet_impl.report.formatting import COLOURS


def lockstep_figure(record: ParityRecord) -> Figure:
    """Figure of both loss curves, and of their differences on a logarithmic axis."""
    with house_style():
        figure = Figure(figsize=(7.2, 6.4), layout="constrained", facecolor="white")
        curves, gaps = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1.5))
        _draw_losses(curves, record.series[-1])
        _draw_differences(gaps, record.series)
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
        apart = differences(*series.losses.values())
        steps = np.arange(1, len(apart) + 1)
        dots = np.where(apart > 0, apart, np.nan)
        axes.plot(steps, dots, ".", color=shade, markersize=3.5, label=series.name)
        for name, control in series.controls.items():
            values = np.maximum(control, LEAST_SHOWN)
            label = f"control: {name} against itself, last bit changed"
            axes.plot(steps, values, color=COLOURS[name][0], linestyle=":", label=label)
        if series.controls:
            axes.fill_between(steps, LEAST_SHOWN, series.allowed, color=GRID, alpha=0.5)
            own = np.maximum(divergence(*series.losses.values()), LEAST_SHOWN)
            axes.plot(steps, own, color=shade, linewidth=1.6, label="free, largest up to the step")
    scale_logarithmically(axes)
    axes.set_ylim(bottom=LEAST_SHOWN)
    axes.yaxis.set_major_locator(LogLocator(base=1000, numticks=8))
    axes.set_title("Difference of the two losses; shaded: allowed for free training")
    axes.set_xlabel("step")
    axes.grid(axis="x", visible=False)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, fontsize=8)
