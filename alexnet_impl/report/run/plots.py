"""Figures of runs: loss, accuracy, differences and confusion matrices, as matplotlib objects.

A curve shows every run; a run that stopped early is drawn up to its last step.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    MaxNLocator,
    NullLocator,
    PercentFormatter,
)
from numpy.typing import NDArray

from alexnet_impl.report.figure_style import INK, MUTED, house_style
from alexnet_impl.report.run.groups import AccuracyDifference, RunGroup
from alexnet_impl.report.run.views import RunView, with_predictions
from alexnet_impl.stats.accuracy import Accuracy, confusion_matrix, per_class_accuracy

MAX_WRITTEN_CLASSES = 20
"""A confusion matrix with more classes is drawn without counts and names."""
MAX_SHOWN_CLASSES = 20
"""The figure of classes shows at most this number of classes: those with the lowest accuracy."""
_MAX_POINTS = 1200
_MARKERS = ("o", "s", "D", "^", "v")
_WIDTH_INCHES = 4.5
"""Narrow enough that the text can be read on a phone."""


@house_style()
def loss_figure(groups: Sequence[RunGroup]) -> Figure:
    """Loss by step: every step (faint), the running mean, and the evaluated loss of each epoch.

    Of several seeds the mean of the running means, with the band from the lowest to the highest.
    """
    figure, axes = _figure(3.7)
    for rank, group in enumerate(groups):
        curves = [_finite(view.history.step_loss) for view in group.views]
        smooth = [(steps, _running_mean(losses)) for steps, losses in curves]
        if len(curves) == 1:
            axes.plot(*_thinned(*curves[0]), color=group.colour, alpha=0.28, linewidth=0.7)
        _draw_band(axes, group, rank, smooth)
        epochs = [
            [(epoch.step, epoch.eval_loss) for epoch in view.history.epochs] for view in group.views
        ]
        axes.plot(*_means(epochs), **_marks(group, rank))
    _limit_loss(axes, groups)
    _titles(axes, "Loss", "step")
    _end_labels(axes, groups)
    kinds = {"running mean": "solid", _evaluated_on(groups): "mark"}
    if any(len(group.views) == 1 for group in groups):
        kinds = {"each step": "faint"} | kinds
    _kind_legend(figure, kinds | _band_kind(groups))
    return figure


@house_style()
def accuracy_figure(groups: Sequence[RunGroup]) -> Figure:
    """Accuracy by epoch: on the training images (dashed) and on the evaluated images (solid).

    Of several seeds the mean, with the band from the lowest to the highest on evaluated images.
    """
    figure, axes = _figure(3.7)
    for rank, group in enumerate(groups):
        train, evaluated = (
            [
                [(one.epoch, getattr(one, name)) for one in view.history.epochs]
                for view in group.views
            ]
            for name in ("train_top1_accuracy", "eval_top1_accuracy")
        )
        axes.plot(*_means(train), **_line(group, rank) | {"linestyle": _DASHES})
        curves = [tuple(zip(*one, strict=True)) for one in evaluated if one]
        _draw_band(axes, group, rank, [(np.array(x), np.array(y)) for x, y in curves])
        axes.plot(*_means(evaluated), **_marks(group, rank))
    _titles(axes, "Top-1 accuracy", "epoch")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    _end_labels(axes, groups)
    kinds = {"training images": "dashed", _evaluated_on(groups): "solid"}
    _kind_legend(figure, kinds | _band_kind(groups))
    return figure


def _draw_band(axes: Axes, group: RunGroup, rank: int, curves: Sequence[tuple[Any, Any]]) -> None:
    """Draw the mean of curves, and with several the band from the lowest to the highest.

    A curve is places and values, both of shape (num_points,); the band covers common places.
    """
    curves = [curve for curve in curves if len(curve[0])]
    if not curves:
        return
    if len(curves) == 1:
        axes.plot(*_thinned(*curves[0]), **_line(group, rank))
        return
    common = sorted(set.intersection(*({*map(float, places)} for places, _ in curves)))
    stack = np.stack([np.interp(common, places, values) for places, values in curves])
    places = np.array(common)
    axes.fill_between(
        places, stack.min(axis=0), stack.max(axis=0), color=group.colour, alpha=0.22, linewidth=0
    )
    axes.plot(*_thinned(places, stack.mean(axis=0)), **_line(group, rank))


def _means(runs: Sequence[Sequence[tuple[float, float]]]) -> tuple[list[float], list[float]]:
    """Mean value at every place that all runs reached; values that are not finite are left out."""
    found: dict[float, list[float]] = {}
    for run in runs:
        for place, value in run:
            if math.isfinite(value):
                found.setdefault(place, []).append(value)
    means = {place: np.mean(one) for place, one in found.items() if len(one) == len(runs)}
    return list(means), [float(mean) for mean in means.values()]


@house_style()
def difference_figure(views: Sequence[RunView]) -> Figure:
    """Absolute difference of the first two runs' losses at each step, on a logarithmic axis."""
    figure, axes = _figure(3.0)
    difference = step_loss_difference(views[0], views[1])
    steps = np.arange(1, len(difference) + 1)
    shown = np.isfinite(difference) & (difference > 0)
    axes.plot(*_thinned(steps[shown], difference[shown]), color=INK, linewidth=1.2)
    _titles(axes, "Difference of the two losses", "step")
    if shown.any():
        _decades(axes, difference[shown])
    equal = int((difference == 0).sum())
    if equal:
        note = f"equal to the last bit at {equal:,} of {len(difference):,} steps"
        axes.text(0.99, 0.04, note, transform=axes.transAxes, ha="right", color=MUTED)
    return figure


def step_loss_difference(first: RunView, second: RunView) -> NDArray[np.float64]:
    """Absolute difference of the losses of two runs, shape (num_common_steps,)."""
    both = min(len(first.history.step_loss), len(second.history.step_loss))
    losses = [np.array(view.history.step_loss[:both], dtype=float) for view in (first, second)]
    with np.errstate(invalid="ignore"):  # inf - inf, where both diverged
        difference: NDArray[np.float64] = np.abs(losses[0] - losses[1])
    return difference


@house_style()
def interval_figure(groups: Sequence[RunGroup], difference: AccuracyDifference | None) -> Figure:
    """Test accuracies on a scale that shows their difference, and the difference beside 0.

    A run is a point with its 95 % interval; several seeds are points, and their mean is a line.
    """
    shown = [group for group in groups if group.accuracy is not None]
    panels = 1 if difference is None else 2
    heights = [0.75 + 0.5 * len(shown), 1.15][:panels]
    figure = Figure(figsize=(_WIDTH_INCHES, sum(heights)), layout="constrained", dpi=144)
    axes = figure.subplots(panels, 1, height_ratios=heights, squeeze=False)[:, 0]
    for row, group in enumerate(shown):
        _draw_accuracies(axes[0], row, group)
    _rows(axes[0], [group.label for group in shown])
    axes[0].xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    alone = all(len(group.views) == 1 for group in shown)
    axes[0].set_title(f"Test top-1 accuracy, {'95% interval' if alone else 'each seed and mean'}")
    if difference is not None:
        _draw_difference(axes[1], difference)
    return figure


def _draw_accuracies(axes: Axes, row: int, group: RunGroup) -> None:
    found = [view.accuracy for view in group.views if view.accuracy is not None]
    values = [one.value for one in found]
    if len(found) == 1:
        axes.errorbar(values, [row], xerr=_reach(found), **_WHISKER | {"ecolor": group.colour})
    else:
        mean = float(np.mean(values))
        axes.plot([mean, mean], [row - 0.3, row + 0.3], color=group.colour, linewidth=2.4)
    axes.plot(values, [row] * len(values), "o", color=group.colour, markersize=7, alpha=0.9)


def _draw_difference(axes: Axes, difference: AccuracyDifference) -> None:
    axes.axvline(0, color=MUTED, linewidth=1.2, linestyle=_DASHES)
    if difference.low is not None and difference.high is not None:
        ends = [100 * difference.low, 100 * difference.high]
        axes.plot(ends, [0, 0], color=INK, linewidth=2.4)
    axes.plot(100 * difference.value, 0, "o", color=INK, markersize=7)
    _rows(axes, ["difference"])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+g}" if value else "0"))
    axes.set_title("Paired difference, points" + (", 95% interval" if difference.low else ""))


@house_style()
def per_class_figure(groups: Sequence[RunGroup]) -> Figure:
    """Accuracy per class: of a run with its 95 % interval, of seeds the mean and the range."""
    rows, classes = class_accuracies(groups)
    chosen = _lowest_classes(rows)
    apart = 0.72 / len(rows)
    figure, axes = _figure(0.9 + len(chosen) * (0.14 + 0.15 * len(rows)))
    for index, (group, accuracies) in enumerate(zip(groups, rows, strict=True)):
        shown = [accuracies[k] for k in chosen]
        places = np.arange(len(chosen)) + (index - (len(rows) - 1) / 2) * apart
        values = [accuracy.value for accuracy in shown]
        whisker = _WHISKER | {"ecolor": group.colour, "elinewidth": 1.6}
        axes.errorbar(values, places, xerr=_reach(shown), **whisker)
        axes.plot(values, places, color=group.colour, **_DOTS | {"marker": _MARKERS[index % 5]})
    _rows(axes, [_short(classes[k]) for k in chosen])
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    few = f": the {len(chosen)} lowest of {len(classes)}" if len(chosen) < len(classes) else ""
    alone = all(len(group.views) == 1 for group in groups)
    of_what = "95% interval" if alone else "mean and range of the seeds"
    axes.set_title(f"Accuracy per class{few}" if few else f"Accuracy per class, {of_what}")
    handles = [
        Line2D([], [], color=group.colour, label=group.label, **_DOTS | {"marker": _MARKERS[n % 5]})
        for n, group in enumerate(groups)
    ]
    figure.legend(handles=handles, **_BELOW, ncols=len(handles))
    return figure


def with_equal_classes(groups: Sequence[RunGroup]) -> list[RunGroup]:
    """The groups whose runs are finished and have the classes of the first of them."""
    measured = [group for group in groups if group.accuracy is not None]
    names = [group.views[0].dataset.class_names for group in measured]
    return [group for group, own in zip(measured, names, strict=True) if own == names[0]]


def class_accuracies(groups: Sequence[RunGroup]) -> tuple[list[list[Accuracy]], tuple[str, ...]]:
    """Accuracy per class of each of with_equal_classes(), and the names of the classes.

    Of several seeds the mean, with the lowest and the highest in place of the interval.
    """
    classes = groups[0].views[0].dataset.class_names
    return [_class_accuracies(group, len(classes)) for group in groups], classes


def _class_accuracies(group: RunGroup, num_classes: int) -> list[Accuracy]:
    found = [
        per_class_accuracy(predictions.predicted, predictions.labels, num_classes)
        for _, predictions in with_predictions(group.views)
    ]
    return found[0] if len(found) == 1 else [_over_seeds(one) for one in zip(*found, strict=True)]


def _over_seeds(accuracies: Sequence[Accuracy]) -> Accuracy:
    values = [one.value for one in accuracies if one.num_images]
    return Accuracy(
        value=float(np.mean(values)) if values else math.nan,
        low=min(values, default=0.0),
        high=max(values, default=1.0),
        num_images=sum(one.num_images for one in accuracies),
    )


@house_style()
def confusion_figure(group: RunGroup) -> Figure:
    """Confusion matrix of a group's finished runs; colour is the fraction of the true class."""
    num_classes = len(group.views[0].dataset.class_names)
    side = min(5.2, max(3.2, 0.9 + 0.36 * num_classes))
    figure = Figure(figsize=(side, side + 0.25), layout="constrained", dpi=144)
    _confusion(figure.subplots(), group)
    return figure


def _confusion(axes: Axes, group: RunGroup) -> None:
    names = group.views[0].dataset.class_names
    matrix = np.sum(
        [
            confusion_matrix(predictions.predicted, predictions.labels, len(names))
            for _, predictions in with_predictions(group.views)
        ],
        axis=0,
    )
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    # The run's colour with varying opacity is legible on a light and on a dark page: at most half
    # of it, so that the ink of either page stands out.
    cells = np.empty((*matrix.shape, 4))
    cells[..., :3] = mpl.colors.to_rgb(group.colour)
    cells[..., 3] = np.where(matrix > 0, 0.10 + 0.42 * shares, 0.03)
    edges = np.arange(len(names) + 1) - 0.5
    many = len(names) > MAX_WRITTEN_CLASSES
    axes.pcolormesh(edges, edges, cells, rasterized=many)
    title = group.label if len(group.views) == 1 else f"{group.label}, {len(group.views)} seeds"
    axes.set(aspect="equal", title=title, xlabel="predicted class", ylabel="true class")
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(length=0)
    if many:
        return
    labels = [_short(name) for name in names]
    turned = max(len(label) for label in labels) > 3
    axes.set_xticks(range(len(names)), labels, **_TURNED if turned else {})
    axes.set_yticks(range(len(names)), labels)
    for (row, column), value in np.ndenumerate(matrix):
        if value:
            axes.text(column, row, f"{value}", ha="center", va="center", color=INK, size=8)


_TURNED: dict[str, Any] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
_WHISKER: dict[str, Any] = {"fmt": "none", "elinewidth": 2.4, "capsize": 0}
_DOTS: dict[str, Any] = {"linestyle": "none", "markersize": 5.5}


def _figure(height_inches: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH_INCHES, height_inches), layout="constrained", dpi=144)
    return figure, figure.subplots()


def _titles(axes: Axes, title: str, unit: str) -> None:
    axes.set_title(title)
    axes.set_xlabel(unit)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _line(group: RunGroup, rank: int) -> dict[str, Any]:
    """Later runs are thinner and on top, so that curves that coincide remain visible."""
    return {"color": group.colour, "linewidth": max(1.4, 3.4 - 2.0 * rank)}


def _marks(group: RunGroup, rank: int) -> dict[str, Any]:
    return {
        "color": group.colour,
        "linestyle": "none",
        "marker": _MARKERS[rank % len(_MARKERS)],
        "markersize": max(4.0, 8.0 - 3.5 * rank),
        "markeredgecolor": "#ffffff",
        "markeredgewidth": 0.7,
        "zorder": 4,
        "clip_on": False,
    }


def _evaluated_on(groups: Sequence[RunGroup]) -> str:
    kinds = {record.evaluated_on for view in _views(groups) for record in view.history.epochs}
    return f"{' or '.join(sorted(kinds)) or 'evaluated'} images"


def _views(groups: Sequence[RunGroup]) -> list[RunView]:
    return [view for group in groups for view in group.views]


def _finite(values: Sequence[float]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Steps (from 1) and losses of the steps with a finite loss, both of shape (num_finite,)."""
    losses = np.array(values, dtype=float)
    steps = np.flatnonzero(np.isfinite(losses))
    return steps + 1, losses[steps]


def _running_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over a centred window of about 1/40 of the curve, smaller at its ends; same shape."""
    reach = max(1, len(values) // 80)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    around = np.minimum(reach, np.minimum(places, len(values) - 1 - places))
    means: NDArray[np.float64] = (sums[places + around + 1] - sums[places - around]) / (
        2 * around + 1
    )
    return means


def _thinned(
    steps: NDArray[np.int64], values: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """A long curve reduced to the lowest and highest point of each part, which looks the same."""
    if len(values) <= _MAX_POINTS:
        return steps, values
    kept: list[int] = []
    for part in np.array_split(np.arange(len(values)), _MAX_POINTS // 2):
        low, high = part[values[part].argmin()], part[values[part].argmax()]
        kept.extend(sorted({int(low), int(high)}))
    return steps[kept], values[kept]


def _limit_loss(axes: Axes, groups: Sequence[RunGroup]) -> None:
    """Start the loss axis at 0 and cut off spikes that would flatten the curves."""
    views = _views(groups)
    losses = [_finite(view.history.step_loss)[1] for view in views]
    losses += [_finite([record.eval_loss for record in view.history.epochs])[1] for view in views]
    everything = np.concatenate(losses)
    if len(everything):
        top = min(everything.max(), 2.5 * float(np.percentile(everything, 95)))
        axes.set_ylim(0, top * 1.05 or 1)


def _decades(axes: Axes, values: NDArray[np.float64]) -> None:
    """Make the y axis logarithmic, with labels such as 10⁻³ that need no math text."""
    low, high = math.floor(np.log10(values.min())), math.ceil(np.log10(values.max()))
    high = max(high, low + 1)
    step = max(1, math.ceil((high - low) / 6))
    axes.set_yscale("log")
    axes.set_ylim(10.0**low, 10.0**high)
    axes.yaxis.set_major_locator(FixedLocator([10.0**k for k in range(low, high + 1, step)]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(_power_of_ten))


_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def _power_of_ten(value: float, _: int) -> str:
    return "10" + str(round(math.log10(value))).translate(_SUPERSCRIPTS)


def _end_labels(axes: Axes, groups: Sequence[RunGroup]) -> None:
    """Name each run beside the end of its curve, with a line of its colour; one alone needs none.

    Names whose curves end close together are moved apart, in the order of their curves.
    """
    if len(groups) < 2:
        return
    low, high = axes.get_ylim()
    ends = [_curve_end(axes, group.colour) for group in groups]
    wanted = [(0.5 if math.isnan(end) else (end - low) / (high - low)) for end in ends]
    for rank, place in zip(np.argsort(wanted, kind="stable"), _spread(sorted(wanted)), strict=True):
        group = groups[int(rank)]
        axes.annotate(
            group.label, (1.07, place), xycoords="axes fraction", va="center", color=INK, size=9,
            annotation_clip=False,
        )  # fmt: skip
        axes.plot(
            [1.015, 1.055], [place, place], transform=axes.transAxes, color=group.colour,
            linewidth=3, clip_on=False, solid_capstyle="butt",
        )  # fmt: skip


def _curve_end(axes: Axes, colour: str) -> float:
    """Height of the last point of the last curve of this colour."""
    curves = [np.asarray(line.get_ydata()) for line in axes.lines if line.get_color() == colour]
    ends = [curve[-1] for curve in curves if curve.size]
    return float(ends[-1]) if ends else math.nan


def _spread(places: Sequence[float], apart: float = 0.09) -> list[float]:
    """Rising places between 0 and 1, moved so that neighbours are at least `apart`."""
    found = list(places)
    for index in range(1, len(found)):
        found[index] = max(found[index], found[index - 1] + apart)
    found[-1] = min(found[-1], 1.0)
    for index in range(len(found) - 2, -1, -1):
        found[index] = min(found[index], found[index + 1] - apart)
    return found


def _band_kind(groups: Sequence[RunGroup]) -> dict[str, str]:
    several = max(len(group.views) for group in groups)
    return {f"range of {several} seeds": "band"} if several > 1 else {}


def _kind_legend(figure: Figure, kinds: dict[str, str]) -> None:
    """Add a legend of the kinds of lines in grey, below the axes."""
    handles = [_KINDS[kind](label) for label, kind in kinds.items()]
    figure.legend(handles=handles, **_BELOW, ncols=len(handles))


_DASHES = (0, (3, 1.5))
_BELOW: dict[str, Any] = {"loc": "outside lower left", "columnspacing": 1.4, "handlelength": 1.7}
_KINDS: dict[str, Callable[[str], Line2D]] = {
    "faint": lambda label: Line2D([], [], color=MUTED, alpha=0.6, linewidth=0.7, label=label),
    "solid": lambda label: Line2D([], [], color=MUTED, linewidth=1.9, label=label),
    "dashed": lambda label: Line2D(
        [], [], color=MUTED, linewidth=1.6, linestyle=_DASHES, label=label
    ),
    "band": lambda label: Line2D([], [], color=MUTED, alpha=0.4, linewidth=7, label=label),
    "mark": lambda label: Line2D([], [], color=MUTED, linestyle="none", marker="o", label=label),
}


def _reach(accuracies: Sequence[Accuracy]) -> NDArray[np.float64]:
    """Lengths of the error bars below and above each value, shape (2, num_accuracies)."""
    reaches = [(one.value - one.low, one.high - one.value) for one in accuracies]
    return np.array(reaches).clip(min=0).T


def _rows(axes: Axes, labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), labels, color=INK)
    axes.set_ylim(len(labels) - 0.45, -0.55)
    axes.margins(x=0.06)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid(visible=False, axis="y")


def _lowest_classes(rows: Sequence[Sequence[Accuracy]]) -> list[int]:
    """Indices of the classes with the lowest mean accuracy, in class order."""
    means = np.mean([[accuracy.value for accuracy in row] for row in rows], axis=0)
    return sorted(int(k) for k in np.argsort(means, kind="stable")[:MAX_SHOWN_CLASSES])


def _short(name: str, limit: int = 16) -> str:
    return name if len(name) <= limit else f"{name[: limit - 1]}…"
