"""Figure of two sides of a benchmark: the time of every group and the ratio of every round."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alexnet_impl.measurement.measured_cases import MeasuredCase, MeasuredPair
from alexnet_impl.report.bench.speeds import ratio_text
from alexnet_impl.report.figure_style import GRID, INK, MUTED, house_style
from alexnet_impl.report.formatting import COLOURS

GROUPS_A_ROUND = 2
"""Groups of each side in a round."""


def rounds_figure(compared: MeasuredPair) -> Figure:
    """Figure with the groups in the order timed, above the ratios of the rounds."""
    with house_style():
        figure = Figure(figsize=(7.2, 5.6), layout="constrained", facecolor="white")
        times, ratios = figure.subplots(2, 1, height_ratios=(1.2, 1))
        sides = compared.first, compared.second
        same = sides[0].case.config.framework == sides[1].case.config.framework
        for place, side in enumerate(sides):
            shade = COLOURS[side.case.config.framework][place if same else 0]
            _draw_times(times, side, shade)
        times.set_title(f"Milliseconds per call, {GROUPS_A_ROUND} groups a round")
        times.set_ylim(bottom=0)
        times.legend(loc="lower right", fontsize=8)
        _draw_ratios(ratios, compared)
        return figure


def _draw_times(axes: Axes, side: MeasuredCase, shade: str) -> None:
    rounds = 1 + np.arange(len(side.times_s)) / GROUPS_A_ROUND
    label = f"{side.case.title}: {side.per_second:,.0f} {side.unit}/s"
    axes.plot(rounds, 1e3 * np.array(side.times_s), ".", color=shade, markersize=5, label=label)
    axes.axhline(1e3 * side.call_s, color=shade, linewidth=0.8, alpha=0.6)


def _draw_ratios(axes: Axes, compared: MeasuredPair) -> None:
    ratio, margin = compared.ratio, 1 + compared.plan.margin
    by_round = [
        np.array(side.times_s).reshape(-1, GROUPS_A_ROUND).sum(1) / side.amount
        for side in (compared.first, compared.second)
    ]
    found = by_round[1] / by_round[0]
    axes.axhspan(1 / margin, margin, color=GRID, alpha=0.6, label="margin")
    if math.isfinite(ratio.high):
        axes.axhspan(ratio.low, ratio.high, color="#bf3989", alpha=0.18, label="interval")
    axes.plot(1 + np.arange(len(found)), found, ".", color=INK, markersize=6, label="a round")
    axes.axhline(1, color=MUTED, linewidth=0.8)
    axes.set_title(f"Speed of the first over the second: {ratio_text(ratio)}: {compared.verdict}")
    axes.set_xlabel("round")
    axes.legend(loc="best", fontsize=8)
