"""Writes explain.html and explain.png: effects as a forest plot and a table, with the budget."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from alexnet_impl.explain.results import Effect, ExplainResults
from alexnet_impl.report import formatting as numbers
from alexnet_impl.report.explain.tables import METRIC_LABELS, effect_text, headline, notes, verdict
from alexnet_impl.report.figure_style import GRID, INK, MUTED, figure_png, house_style, inline_svg
from alexnet_impl.report.formatting import COLOURS, framework_label
from alexnet_impl.report.templates import render_page, write_page

_PANELS = {"test_top1_accuracy": "Test accuracy, points", "test_loss": "Test loss"}
_SHOWN = COLOURS["tensorflow"][0]
"""Colour of measurable effects; others are muted."""


def write_explain_page(path: Path, explanation: ExplainResults) -> None:
    """Write the page, and its figure as a PNG beside it, each whole or not at all.

    Raises:
        RunError: If a file cannot be written.
    """
    figure = forest_figure(explanation)
    write_page(path, render(explanation, inline_svg(figure)), figure_png(figure))


def render(explanation: ExplainResults, image: Markup) -> str:
    """The page as text with the figure as an inline SVG."""
    config = explanation.plan.request.config
    context = {
        "title": f"PyTorch's and Keras's defaults: {config.variant} on {explanation.dataset.name}",
        "headline": headline(explanation),
        "notes": notes(explanation),
        "image": image,
        "metrics": list(METRIC_LABELS.values()),
        "factors": [_row_text(effect) for effect in explanation.factors],
        "summaries": [_row_text(effect) for effect in explanation.summaries],
        "runs": _run_rows(explanation),
    }
    return render_page("explain/explain.html.jinja", context)


def _row_text(effect: Effect) -> dict[str, Any]:
    """A row of the page's table."""
    factor, found = effect.row.factor, effect.estimates
    return {
        "name": effect.row.name,
        "kind": "" if factor is None or factor.kind == "default" else factor.kind,
        "in_torch": "" if factor is None else factor.in_torch,
        "in_keras": "" if factor is None else factor.in_keras,
        "source": "" if factor is None else factor.source,
        "cells": [effect_text(effect, metric) for metric in METRIC_LABELS],
        "measurable": [metric in found and found[metric].measurable for metric in METRIC_LABELS],
        "says": verdict(effect),
    }


def _run_rows(explanation: ExplainResults) -> list[tuple[str, ...]]:
    """Rows (framework, arm, seed, status, accuracy, loss, folder), one per run."""
    rows: list[tuple[str, ...]] = []
    for (arm, seed), outcome in explanation.outcomes.items():
        accuracy, loss = outcome.figures["test_top1_accuracy"], outcome.figures["test_loss"]
        figures = (
            numbers.MISSING if accuracy is None else numbers.percent(accuracy),
            numbers.MISSING if loss is None else numbers.loss_text(loss),
        )
        name, folder = framework_label(arm.framework), outcome.path.relative_to(explanation.folder)
        rows.append((name, arm.name, str(seed), outcome.status, *figures, str(folder)))
    return rows


def forest_figure(explanation: ExplainResults) -> Figure:
    """Forest plot: each effect as a point with its interval, summary comparisons at the bottom."""
    factors = [effect for effect in explanation.factors if effect.estimates]
    summaries = [effect for effect in explanation.summaries if effect.estimates]
    shown = [*factors, *summaries]
    with house_style():
        figure = Figure(figsize=(8.6, 1.1 + 0.29 * len(shown)), layout="constrained", dpi=110)
        figure.patch.set_facecolor("#ffffff")  # a PNG may be shown on any background
        panels = figure.subplots(1, len(_PANELS), sharey=True, squeeze=False)[0]
        for axes, metric in zip(panels, _PANELS, strict=True):
            _forest(axes, shown, metric)
            axes.axhline(len(factors) - 0.5, color=MUTED, linewidth=0.8)
        panels[0].set_yticks(range(len(shown)), [effect.row.name for effect in shown], color=INK)
        panels[0].set_ylim(len(shown) - 0.5, -0.5)
        count = len(explanation.plan.request.seeds)
        what = "95% intervals over" if count > 1 else "no interval from"
        figure.supxlabel(
            f"after - before switching; {what} {count} seed{'s' if count > 1 else ''}; "
            "blue: the interval excludes 0",
            fontsize=8.5,
            color=MUTED,
        )
        return figure


def _forest(axes: Axes, effects: Sequence[Effect], metric: str) -> None:
    scale = 100 if metric == "test_top1_accuracy" else 1
    for place, effect in enumerate(effects):
        found = effect.estimates[metric]
        if not found.differences:
            continue
        colour = _SHOWN if found.measurable else MUTED
        if found.low is not None and found.high is not None:
            ends = [scale * found.low, scale * found.high]
            axes.plot(ends, [place, place], color=colour, linewidth=1.6)
        axes.plot(scale * found.mean, place, marker="o", markersize=5, color=colour)
    axes.axvline(0, color=INK, linewidth=0.9)
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x", color=GRID)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.set_title(_PANELS[metric])
