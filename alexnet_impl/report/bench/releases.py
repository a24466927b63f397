"""Parity and speed over releases: table for the terminal, figure of the trend and HTML page."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alexnet_impl.frameworks import FRAMEWORKS
from alexnet_impl.measurement.releases import Environment
from alexnet_impl.report import formatting as numbers
from alexnet_impl.report.figure_style import (
    INK,
    LEAST_SHOWN,
    MUTED,
    WRONG,
    figure_png,
    house_style,
    inline_svg,
    scale_logarithmically,
)
from alexnet_impl.report.formatting import COLOURS, framework_label
from alexnet_impl.report.templates import render_page, write_page

TURNS_NOTE = (
    "Within an environment the gate compared the two models, and the two frameworks were timed in "
    "turns. Environments were measured one after another: compare their % of peak FLOP/s, whose "
    "peak was measured in the same process, and not their images per second."
)
HEADER = (
    *("torch", "tensorflow", "keras", "parity", "float64 lockstep"),
    *("torch images/s", "% of peak FLOP/s", "tensorflow images/s", "% of peak FLOP/s"),
    *("torch / tensorflow", "verdict of torch", "measured"),
)


def version_rows(environments: Sequence[Environment]) -> list[tuple[str, ...]]:
    """Table rows, one for each environment, with the columns of HEADER."""
    return [
        (
            *(one.releases[name] for name in ("torch", "tensorflow", "keras")),
            _parity_text(one),
            numbers.MISSING if one.lockstep is None else f"{one.lockstep.measured:.1e}",
            *_speed(one, "torch"),
            *_speed(one, "tensorflow"),
            *_ratio(one),
            ", ".join(filter(None, (one.bench.measured_at[:10], _stopped(one)))) or numbers.MISSING,
        )
        for one in environments
    ]


def _stopped(one: Environment) -> str:
    """Words on a bench that was stopped, whose rounds are fewer than were asked for."""
    entries = one.bench.entries
    return one.bench.stopped_after(entries[0]) if entries else ""


def releases_json(environments: Sequence[Environment], problems: Sequence[str]) -> dict[str, Any]:
    """Parity, speeds and ratio of every set of releases, for --json."""
    return {
        "environments": [
            {
                "name": one.name,
                "releases": one.releases,
                "holds": one.holds,
                "checks": len(one.parity.checks),
                "failures": [check.name for check in one.parity.failures],
                "lockstep": None if one.lockstep is None else one.lockstep.measured,
                "speeds": {
                    name: {key: entry.rest.get(key) for key in ("per_second", "fraction_of_peak")}
                    for name in FRAMEWORKS
                    if (entry := one.entry(name))
                },
                "pair": one.pair,
                "stopped": _stopped(one),
                "measured_at": one.bench.measured_at,
            }
            for one in environments
        ],
        "problems": list(problems),
    }


def _parity_text(one: Environment) -> str:
    checks, failures = one.parity.checks, one.parity.failures
    if failures:
        return f"fails: {failures[0].name}"
    return f"{len(checks)} checks hold" if one.parity.complete else "incomplete"


def _speed(one: Environment, framework: str) -> tuple[str, str]:
    entry = one.entry(framework)
    if entry is None:
        return numbers.MISSING, numbers.MISSING
    share = entry.rest.get("fraction_of_peak")
    return (
        numbers.rate(entry.rest["per_second"]),
        numbers.MISSING
        if share is None
        else f"{numbers.percent(share)}{'' if entry.peaks_are_medians else ' (best of 3)'}",
    )


def _ratio(one: Environment) -> tuple[str, str]:
    """Ratio and verdict; blank where the gate did not hold."""
    if one.pair is None:
        return numbers.MISSING, numbers.MISSING
    gate = one.pair["gate"] or {}
    if not gate.get("holds"):
        return numbers.MISSING, f"gate: {gate.get('outcome', 'not compared')}"
    ratio = one.pair["ratio"]
    known = f"{ratio['low']:.3f}, {ratio['high']:.3f}"
    text = f"{ratio['ratio']:.3f} [{known if math.isfinite(ratio['high']) else 'no interval'}]"
    return text, one.pair["verdict"]


def conclusion(environments: Sequence[Environment]) -> str:
    """The number of environments in which both frameworks were shown equal."""
    equal = sum(one.holds for one in environments)
    count = len(environments)
    return f"Shown equal with {equal} of {count} set{'s' * (count != 1)} of releases."


def trend_figure(environments: Sequence[Environment]) -> Figure:
    """Figure by release: % of peak FLOP/s, speed ratio and float64 loss difference."""
    with house_style():
        figure = Figure(figsize=(8.2, 7.0), layout="constrained", facecolor="white")
        shares, ratios, losses = figure.subplots(3, 1, sharex=True)
        places = np.arange(len(environments))
        _draw_shares(shares, environments)
        _draw_ratios(ratios, environments)
        _draw_lockstep(losses, environments)
        labels = [
            "\n".join(f"{name} {one.releases[name]}" for name in FRAMEWORKS) for one in environments
        ]
        losses.set_xticks(places, labels)
        losses.set_xlim(-0.5, len(environments) - 0.5)
        return figure


def _draw_shares(axes: Axes, environments: Sequence[Environment]) -> None:
    for framework, above in zip(FRAMEWORKS, (6, -12), strict=True):
        entries = [one.entry(framework) for one in environments]
        shown = [(p, e) for p, e in enumerate(entries) if e and e.rest.get("fraction_of_peak")]
        medians = any(entry.peaks_are_medians for _, entry in shown)
        found = [(p, e) for p, e in shown if e.peaks_are_medians == medians]
        values = [100 * entry.rest["fraction_of_peak"] for _, entry in found]
        places = [place for place, _ in found]
        colour = COLOURS[framework][0]
        axes.plot(places, values, "o-", color=colour, label=framework_label(framework))
        for (place, entry), value in zip(found, values, strict=True):
            axes.annotate(
                f"{numbers.rate(entry.rest['per_second'])}/s",
                (place, value),
                textcoords="offset points",
                xytext=(8, above),
                fontsize=7.5,
                color=colour,
            )
    axes.set_title("% of peak FLOP/s, with images per second")
    axes.set_ylim(bottom=0, top=1.2 * axes.get_ylim()[1])
    axes.legend(loc="lower right")


def _draw_ratios(axes: Axes, environments: Sequence[Environment]) -> None:
    for place, one in enumerate(environments):
        if one.pair is None or not (one.pair["gate"] or {}).get("holds"):
            axes.text(place, 1, "not shown equal", ha="center", va="bottom", color=MUTED)
            continue
        ratio = one.pair["ratio"]
        if math.isfinite(ratio["high"]):
            axes.plot([place, place], [ratio["low"], ratio["high"]], color=INK, linewidth=1.6)
        axes.plot(place, ratio["ratio"], "o", color=INK, markersize=5)
    axes.axhline(1, color=MUTED, linewidth=0.8)
    axes.set_title("Speed of PyTorch over TensorFlow, timed in turns, with 95 % interval")


def _draw_lockstep(axes: Axes, environments: Sequence[Environment]) -> None:
    checks = [(place, one.lockstep) for place, one in enumerate(environments)]
    found = [(place, check) for place, check in checks if check is not None]
    for place, check in found:
        colour = INK if check.holds else WRONG
        axes.plot(place, max(check.measured, LEAST_SHOWN), "o", color=colour, markersize=5)
    scale_logarithmically(axes)
    for bound in {check.tolerance for _, check in found}:
        axes.axhline(bound, color=MUTED, linewidth=0.8, linestyle="--")
    axes.set_title("Largest loss difference of a float64 training in lockstep; dashed: tolerance")


def write_versions_page(path: Path, environments: Sequence[Environment]) -> None:
    """Write the page, and its figure as a PNG beside it."""
    figure = trend_figure(environments)
    titles = [entry.title for name in FRAMEWORKS if (entry := environments[0].entry(name))]
    context = {
        "title": f"Over releases: {', '.join(titles)}",
        "headline": conclusion(environments),
        "notes": [TURNS_NOTE],
        "image": inline_svg(figure),
        "header": HEADER,
        "rows": version_rows(environments),
    }
    write_page(path, render_page("bench/releases.html.jinja", context), figure_png(figure))
