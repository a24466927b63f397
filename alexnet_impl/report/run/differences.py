"""Equality checks of the inputs of several runs, and their results side by side."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from alexnet_impl.network.spec import Dropout
from alexnet_impl.parity.tolerances import tolerance
from alexnet_impl.report import formatting as numbers
from alexnet_impl.report.run.views import RunView
from alexnet_impl.stats.accuracy import Accuracy, difference_interval


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
    rows = [_row(views, *result) for result in _RESULTS]
    if all(value == numbers.MISSING for value in rows[-1].values):  # no accelerator
        rows.pop()
    if any(view.collapse is not None for view in views):
        rows.insert(0, ResultRow(what="collapsed", values=tuple(_collapse(view) for view in views)))
    if not all(view.finished for view in views):
        rows.insert(0, ResultRow(what="state", values=tuple(view.state for view in views)))
    return rows


def _row(
    views: Sequence[RunView],
    what: str,
    value_of: Callable[[RunView], Any],
    text: Callable[[Any], str],
    difference: Callable[[Any, Any], str],
) -> ResultRow:
    found = [value_of(view) for view in views]
    comparable = len(found) == 2 and None not in found
    texts = [numbers.MISSING if value is None else text(value) for value in found]
    if what in _SPEEDS and other_work_note(views):
        comparable = False
        texts = [
            f"{cell}{OTHER_WORK}" if view.is_beside_other_work else cell
            for view, cell in zip(views, texts, strict=True)
        ]
    return ResultRow(
        what=what,
        values=tuple(texts),
        difference=difference(*found) if comparable else "",
    )


def other_work_note(views: Sequence[RunView]) -> str:
    """A sentence on the runs whose times were measured beside other work; '' if there are none."""
    marked = [view for view in views if view.is_beside_other_work]
    if not marked:
        return ""
    shares = [f"{view.label}: {view.interference:.0%}" for view in marked if view.interference]
    used = f" ({', '.join(shares)} of all cores)" if shares else ""
    timings = [view.result.timing for view in marked if view.result is not None]
    signs = dict.fromkeys(sign for timing in timings for sign in timing.other_work)
    note = (
        f"Times with {OTHER_WORK.strip()} were measured while other work used the machine{used} "
        "and show no speed; `alexnet bench` compares speeds."
    )
    return " ".join((note, *signs))


def _result(name: str) -> Callable[[RunView], Any]:
    """Reads a value of result.json; None if the run has no result yet."""
    read = attrgetter(name)
    return lambda view: None if view.result is None else read(view.result)


def _last_train_loss(view: RunView) -> float | None:
    return view.history.epochs[-1].loss if view.history.epochs else None


def _collapse(view: RunView) -> str:
    return "no" if view.collapse is None else f"by step {view.collapse.step:,}"


def _accuracy_difference(first: Accuracy, second: Accuracy) -> str:
    low, high = difference_interval(first, second)
    difference = numbers.points(first.value - second.value)
    return f"{difference} points [{numbers.points(low)}, {numbers.points(high)}]"


OTHER_WORK = " *"
"""Mark of a time that was measured beside other work."""
_TIMING = (numbers.seconds, numbers.ratio)
_MEMORY = (numbers.mebibytes, numbers.ratio)
_LOSS = (numbers.loss_text, numbers.loss_difference)
_RESULTS: tuple[tuple[Any, ...], ...] = (
    ("test loss", _result("test_loss"), *_LOSS),
    (
        "test top-1 accuracy [95% interval]",
        attrgetter("accuracy"),
        numbers.accuracy_text,
        _accuracy_difference,
    ),
    ("last epoch's train loss", _last_train_loss, *_LOSS),
    ("training time without the first step", _result("timing.training_time_s"), *_TIMING),
    ("time of the first step", _result("timing.first_step_time_s"), *_TIMING),
    ("evaluation time", _result("timing.evaluation_time_s"), *_TIMING),
    ("training images/s", _result("timing.images_per_second"), numbers.rate, numbers.ratio),
    ("peak memory of the process", _result("peak_memory_bytes"), *_MEMORY),
    ("peak memory on the device", _result("peak_device_memory_bytes"), *_MEMORY),
)
"""Name, value of a run, its text, and the text of the difference of two values."""
_SPEEDS = {name for name, *_ in _RESULTS if "time" in name or name.endswith("images/s")}
"""Rows that other work on the machine changes."""


def accuracy_difference(views: Sequence[RunView]) -> tuple[float, float, float] | None:
    """Difference of two test accuracies with its 95 % interval: (first - second, low, high).

    None unless there are exactly two runs, both finished.
    """
    accuracies = [view.accuracy for view in views]
    if len(accuracies) != 2 or accuracies[0] is None or accuracies[1] is None:
        return None
    first, second = accuracies[0], accuracies[1]
    return first.value - second.value, *difference_interval(first, second)


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
