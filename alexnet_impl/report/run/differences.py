"""Equality checks of the inputs of several runs, and their results side by side."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from alexnet_impl.network.spec import Dropout
from alexnet_impl.parity.tolerances import tolerance
from alexnet_impl.report import formatting as numbers
from alexnet_impl.report.run.views import RunView
from alexnet_impl.stats.accuracy import difference_interval


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRow:
    """One result of every run, as text.

    Attributes:
        what: Its name, with the unit where the values have none.
        values: One text per run.
        difference: First - second, or first / second followed by 'x'; empty unless there are two
            runs.
    """

    what: str
    values: tuple[str, ...]
    difference: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Equality:
    """One check that all runs had the same input.

    Attributes:
        what: The input that must be equal in all runs.
        holds: Whether it is; None if unknown, because a run stopped too early or uses dropout.
        detail: The common value, or the values that differ.
    """

    what: str
    holds: bool | None
    detail: str


def comparison_rows(views: Sequence[RunView]) -> list[ResultRow]:
    """The results of runs side by side, with the difference if there are exactly two."""
    rows = [
        _row(views, "test loss", _test_loss, numbers.loss_text, numbers.loss_difference),
        _accuracy_row(views),
        _row(
            views,
            "last epoch's train loss",
            lambda view: view.history.epochs[-1].loss if view.history.epochs else None,
            numbers.loss_text,
            numbers.loss_difference,
        ),
        *_timing_rows(views),
        *_memory_rows(views),
    ]
    if any(view.collapse is not None for view in views):
        rows.insert(0, ResultRow(what="collapsed", values=tuple(_collapse(view) for view in views)))
    if not all(view.finished for view in views):
        rows.insert(0, ResultRow(what="state", values=tuple(view.state for view in views)))
    return rows


def _collapse(view: RunView) -> str:
    return "no" if view.collapse is None else f"by step {view.collapse.step:,}"


def _row(
    views: Sequence[RunView],
    what: str,
    figure: Callable[[RunView], Any],
    text: Callable[[Any], str],
    difference: Callable[[Any, Any], str],
) -> ResultRow:
    figures = [figure(view) for view in views]
    comparable = len(figures) == 2 and None not in figures
    return ResultRow(
        what=what,
        values=tuple(numbers.MISSING if value is None else text(value) for value in figures),
        difference=difference(*figures) if comparable else "",
    )


def _test_loss(view: RunView) -> float | None:
    return view.result.test_loss if view.result else None


def _accuracy_row(views: Sequence[RunView]) -> ResultRow:
    row = _row(
        views,
        "test top-1 accuracy [95% interval]",
        lambda view: view.accuracy,
        numbers.accuracy_text,
        lambda first, second: numbers.points(first.value - second.value),
    )
    interval = accuracy_difference(views)
    if interval is None:
        return row
    _, low, high = interval
    difference = f"{row.difference} points [{numbers.points(low)}, {numbers.points(high)}]"
    return ResultRow(what=row.what, values=row.values, difference=difference)


def accuracy_difference(views: Sequence[RunView]) -> tuple[float, float, float] | None:
    """Difference of two test accuracies with its 95 % interval: (first - second, low, high).

    None unless there are exactly two runs, both finished.
    """
    accuracies = [view.accuracy for view in views]
    if len(accuracies) != 2 or accuracies[0] is None or accuracies[1] is None:
        return None
    first, second = accuracies[0], accuracies[1]
    low, high = difference_interval(first, second)
    return first.value - second.value, low, high


_TIMING_ROWS: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("training time without the first step", "training_time_s", numbers.seconds),
    ("time of the first step", "first_step_time_s", numbers.seconds),
    ("evaluation time", "evaluation_time_s", numbers.seconds),
    ("training images/s", "images_per_second", numbers.rate),
)


def _timing_rows(views: Sequence[RunView]) -> Iterator[ResultRow]:
    for what, name, text in _TIMING_ROWS:

        def figure(view: RunView, name: str = name) -> Any:
            return getattr(view.result.timing, name) if view.result else None

        yield _row(views, what, figure, text, numbers.ratio)


def _memory_rows(views: Sequence[RunView]) -> Iterator[ResultRow]:
    def process(view: RunView) -> int | None:
        return view.result.peak_memory_bytes if view.result else None

    def device(view: RunView) -> int | None:
        return view.result.peak_device_memory_bytes if view.result else None

    yield _row(views, "peak memory of the process", process, numbers.mebibytes, numbers.ratio)
    if any(device(view) is not None for view in views):
        yield _row(views, "peak memory on the device", device, numbers.mebibytes, numbers.ratio)


def equalities(views: Sequence[RunView]) -> list[Equality]:
    """Check that all runs had the same input; empty for fewer than two runs."""
    if len(views) < 2:
        return []
    return [
        _same(
            "variant and width",
            [f"{view.config.variant}, width {view.config.width:g}" for view in views],
        ),
        _same_recipe(views),
        _same("images (fingerprint)", [_short(view.dataset.fingerprint) for view in views]),
        _same("initial weights (sha256)", [_short(view.initial_weights_sha256) for view in views]),
        _same_batches(views),
        _first_loss(views),
    ]


def _short(digest: str) -> str:
    return f"{digest[:16]}…"


def _same(what: str, values: Sequence[str]) -> Equality:
    holds = len(set(values)) == 1
    detail = values[0] if holds else " vs. ".join(values)
    return Equality(what=what, holds=holds, detail=detail)


def _same_recipe(views: Sequence[RunView]) -> Equality:
    recipes = [view.config.recipe.to_dict() for view in views]
    differing = [
        f"{name}: {' vs. '.join(numbers.value_text(recipe[name]) for recipe in recipes)}"
        for name in recipes[0]
        if any(recipe[name] != recipes[0][name] for recipe in recipes)
    ]
    detail = "; ".join(differing) or f"all {len(recipes[0])} fields"
    return Equality(what="recipe", holds=not differing, detail=detail)


def _same_batches(views: Sequence[RunView]) -> Equality:
    what = "batches, every byte (sha256)"
    results = [view.result for view in views if view.result is not None]
    steps = [result.steps for result in results]
    if len(results) < len(views) or len(set(steps)) > 1:
        detail = "the runs did not take the same number of steps"
        return Equality(what=what, holds=None, detail=detail)
    return _same(what, [_short(result.batches_sha256) for result in results])


def _first_loss(views: Sequence[RunView]) -> Equality:
    what = "first step's loss"
    losses = [view.history.step_loss[0] for view in views if view.history.step_loss]
    if len(losses) < len(views) or not all(math.isfinite(loss) for loss in losses):
        return Equality(what=what, holds=None, detail="not every run has a finite first loss")
    if any(_has_dropout(view) for view in views):
        detail = "unknown: each framework draws its own dropout masks"
        return Equality(what=what, holds=None, detail=detail)
    precisions = [view.config.recipe.precision for view in views]
    bound = max(tolerance("first loss", precision) for precision in precisions)
    scale = max(abs(loss) for loss in losses)
    apart = (max(losses) - min(losses)) / scale if scale else 0.0
    detail = (
        f"relative difference {apart:.1e}, at most {bound:.0e} in {precisions[0]}. A weak check: "
        "with small initial weights even different networks start with nearly equal losses"
    )
    return Equality(what=what, holds=apart <= bound, detail=detail)


def _has_dropout(view: RunView) -> bool:
    layers = view.config.spec(len(view.dataset.class_names)).layers
    return any(isinstance(layer, Dropout) for layer in layers)
