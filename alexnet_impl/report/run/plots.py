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
from alexnet_impl.report.run.views import RunView, with_predictions
from alexnet_impl.runs.records import Predictions
from alexnet_impl.stats.accuracy import Accuracy, confusion_matrix, per_class_accuracy

MAX_WRITTEN_CLASSES = 20
"""A confusion matrix with more classes is drawn without counts and names."""
MAX_BAR_CLASSES = 20
"""Per-class bars show at most this number of classes: those with the lowest accuracy."""
_MAX_POINTS = 1200
_MARKERS = ("o", "s", "D", "^", "v")
_WIDTH_INCHES = 5.4


@house_style()
def loss_figure(views: Sequence[RunView]) -> Figure:
    """Loss by step: every step (faint), the running mean, and the evaluated loss of each epoch."""
    figure, axes = _figure(3.7)
    for rank, view in enumerate(views):
        steps, losses = _finite(view.history.step_loss)
        axes.plot(*_thinned(steps, losses), color=view.colour, alpha=0.28, linewidth=0.7)
        axes.plot(*_thinned(steps, _running_mean(losses)), **_line(view, rank))
        epochs = [epoch for epoch in view.history.epochs if math.isfinite(epoch.eval_loss)]
        axes.plot(
            [epoch.step for epoch in epochs],
            [epoch.eval_loss for epoch in epochs],
            **_marks(view, rank),
        )
    _limit_loss(axes, views)
    _titles(axes, "Loss", "step")
    _run_legend(axes, views, "upper right")
    kinds = {"each step": "faint", "running mean": "solid", _evaluated_on(views): "mark"}
    _kind_legend(figure, kinds)
    return figure


@house_style()
def accuracy_figure(views: Sequence[RunView]) -> Figure:
    """Accuracy by epoch: on the training images (dashed) and on the evaluated images (solid)."""
    figure, axes = _figure(3.7)
    for rank, view in enumerate(views):
        epochs = [record.epoch for record in view.history.epochs]
        train = [record.train_top1_accuracy for record in view.history.epochs]
        evaluated = [record.eval_top1_accuracy for record in view.history.epochs]
        axes.plot(epochs, train, **_line(view, rank) | {"linestyle": _DASHES})
        axes.plot(epochs, evaluated, **_line(view, rank))
        axes.plot(epochs, evaluated, **_marks(view, rank))
    _titles(axes, "Top-1 accuracy", "epoch")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    _run_legend(axes, views, "lower right")
    _kind_legend(figure, {"training images": "dashed", _evaluated_on(views): "solid"})
    return figure


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
def accuracy_bars(views: Sequence[RunView]) -> Figure:
    """Test accuracy of each finished run with its 95 % interval."""
    measured = [(view, view.accuracy) for view in views if view.accuracy is not None]
    figure, axes = _figure(1.0 + 0.55 * len(measured))
    for row, (view, accuracy) in enumerate(measured):
        axes.barh(row, accuracy.value, height=0.62, color=view.colour, alpha=0.85)
        axes.errorbar(accuracy.value, row, xerr=_reach([accuracy]), **_WHISKER)
        axes.annotate(
            f"{accuracy.value:.2%}", (0, row), (8, 0), textcoords="offset points", va="center",
            color="#ffffff", weight="bold",
        )  # fmt: skip
    _bar_rows(axes, [view.label for view, _ in measured])
    axes.set_title("Test top-1 accuracy, 95% interval")
    return figure


@house_style()
def per_class_bars(views: Sequence[RunView]) -> Figure:
    """Accuracy of each class in each finished run, with 95 % intervals."""
    measured = with_equal_classes(views)
    rows, classes = class_accuracies(measured)
    chosen = _lowest_classes(rows)
    height = 0.8 / len(measured)
    figure, axes = _figure(0.9 + len(chosen) * (0.14 + 0.15 * len(measured)))
    for index, (view, accuracies) in enumerate(zip(measured, rows, strict=True)):
        shown = [accuracies[k] for k in chosen]
        places = np.arange(len(chosen)) + (index - (len(measured) - 1) / 2) * height
        values = [accuracy.value for accuracy in shown]
        axes.barh(places, values, height=height * 0.9, color=view.colour, alpha=0.85)
        axes.errorbar(values, places, xerr=_reach(shown), **_WHISKER | {"elinewidth": 0.8})
    _bar_rows(axes, [_short(classes[k]) for k in chosen])
    few = f": the {len(chosen)} lowest of {len(classes)}" if len(chosen) < len(classes) else ""
    axes.set_title(f"Accuracy per class{few}" if few else "Accuracy per class, 95% interval")
    handles = [Line2D([], [], color=v.colour, linewidth=5, label=v.label) for v in measured]
    figure.legend(handles=handles, **_BELOW, ncols=len(handles))
    return figure


def with_equal_classes(views: Sequence[RunView]) -> list[RunView]:
    """The finished runs whose classes equal those of the first finished run."""
    measured = [view for view, _ in with_predictions(views)]
    names = [view.dataset.class_names for view in measured]
    return [view for view, own in zip(measured, names, strict=True) if own == names[0]]


def class_accuracies(views: Sequence[RunView]) -> tuple[list[list[Accuracy]], tuple[str, ...]]:
    """Accuracy per class of each of with_equal_classes(), and the names of the classes."""
    classes = views[0].dataset.class_names
    return [
        per_class_accuracy(predictions.predicted, predictions.labels, len(classes))
        for _, predictions in with_predictions(views)
    ], classes


@house_style()
def confusion_figure(views: Sequence[RunView]) -> Figure:
    """Confusion matrices of the finished runs; colour is the fraction of the true class."""
    measured = with_predictions(views)
    num_classes = len(measured[0][0].dataset.class_names)
    side = min(5.2, max(3.2, 0.9 + 0.36 * num_classes))
    figure = Figure(figsize=(side * len(measured), side + 0.25), layout="constrained", dpi=144)
    grid = figure.subplots(1, len(measured), squeeze=False)[0]
    for axes, (view, predictions) in zip(grid, measured, strict=True):
        _confusion(axes, view, predictions)
    return figure


def _confusion(axes: Axes, view: RunView, predictions: Predictions) -> None:
    names = view.dataset.class_names
    matrix = confusion_matrix(predictions.predicted, predictions.labels, len(names))
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    # The run's colour with varying opacity is legible on a light and on a dark page.
    cells = np.empty((*matrix.shape, 4))
    cells[..., :3] = mpl.colors.to_rgb(view.colour)
    cells[..., 3] = np.where(matrix > 0, 0.10 + 0.85 * shares, 0.03)
    edges = np.arange(len(names) + 1) - 0.5
    many = len(names) > MAX_WRITTEN_CLASSES
    axes.pcolormesh(edges, edges, cells, rasterized=many)
    axes.set(aspect="equal", title=view.label, xlabel="predicted class", ylabel="true class")
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
            colour = "#ffffff" if cells[row, column, 3] > 0.5 else INK
            axes.text(column, row, f"{value}", ha="center", va="center", color=colour, size=8)


_TURNED: dict[str, Any] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
_WHISKER: dict[str, Any] = {"fmt": "none", "ecolor": INK, "elinewidth": 1.2, "capsize": 2.5}


def _figure(height_inches: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH_INCHES, height_inches), layout="constrained", dpi=144)
    return figure, figure.subplots()


def _titles(axes: Axes, title: str, unit: str) -> None:
    axes.set_title(title)
    axes.set_xlabel(unit)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _line(view: RunView, rank: int) -> dict[str, Any]:
    """Later runs are thinner and on top, so that curves that coincide remain visible."""
    return {"color": view.colour, "linewidth": max(1.4, 3.4 - 2.0 * rank)}


def _marks(view: RunView, rank: int) -> dict[str, Any]:
    return {
        "color": view.colour,
        "linestyle": "none",
        "marker": _MARKERS[rank % len(_MARKERS)],
        "markersize": max(4.0, 8.0 - 3.5 * rank),
        "markeredgecolor": "#ffffff",
        "markeredgewidth": 0.7,
        "zorder": 4,
        "clip_on": False,
    }


def _evaluated_on(views: Sequence[RunView]) -> str:
    kinds = {record.evaluated_on for view in views for record in view.history.epochs}
    return f"{' or '.join(sorted(kinds)) or 'evaluated'} images"


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


def _limit_loss(axes: Axes, views: Sequence[RunView]) -> None:
    """Start the loss axis at 0 and cut off spikes that would flatten the curves."""
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


def _run_legend(axes: Axes, views: Sequence[RunView], place: str) -> None:
    """Add a legend of the runs in the corner that such curves leave empty."""
    handles = [
        Line2D([], [], label=view.label, **_marks(view, rank) | _line(view, rank) | _SOLID)
        for rank, view in enumerate(views)
    ]
    axes.legend(handles=handles, loc=place, handlelength=1.7)  # type: ignore[call-overload]


def _kind_legend(figure: Figure, kinds: dict[str, str]) -> None:
    """Add a legend of the kinds of lines in grey, below the axes."""
    handles = [_KINDS[kind](label) for label, kind in kinds.items()]
    figure.legend(handles=handles, **_BELOW, ncols=len(handles))


_DASHES = (0, (3, 1.5))
_SOLID: dict[str, Any] = {"linestyle": "-"}
_BELOW: dict[str, Any] = {"loc": "outside lower left", "columnspacing": 1.4, "handlelength": 1.7}
_KINDS: dict[str, Callable[[str], Line2D]] = {
    "faint": lambda label: Line2D([], [], color=MUTED, alpha=0.6, linewidth=0.7, label=label),
    "solid": lambda label: Line2D([], [], color=MUTED, linewidth=1.9, label=label),
    "dashed": lambda label: Line2D(
        [], [], color=MUTED, linewidth=1.6, linestyle=_DASHES, label=label
    ),
    "mark": lambda label: Line2D([], [], color=MUTED, linestyle="none", marker="o", label=label),
}


def _reach(accuracies: Sequence[Accuracy]) -> NDArray[np.float64]:
    """Lengths of the error bars below and above each value, shape (2, num_accuracies)."""
    reaches = [(one.value - one.low, one.high - one.value) for one in accuracies]
    return np.array(reaches).clip(min=0).T


def _bar_rows(axes: Axes, labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), labels, color=INK)
    axes.set_ylim(len(labels) - 0.45, -0.55)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.grid(visible=False, axis="y")
    axes.spines["bottom"].set_visible(False)


def _lowest_classes(rows: Sequence[Sequence[Accuracy]]) -> list[int]:
    """Indices of the classes with the lowest mean accuracy, in class order."""
    means = np.mean([[accuracy.value for accuracy in row] for row in rows], axis=0)
    return sorted(int(k) for k in np.argsort(means, kind="stable")[:MAX_BAR_CLASSES])


def _short(name: str, limit: int = 16) -> str:
    return name if len(name) <= limit else f"{name[: limit - 1]}…"
