"""Equality checks of the inputs of several runs, and their results side by side."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from statistics import fmean
from typing import Any

from alexnet_impl.network.spec import Dropout
from alexnet_impl.parity.tolerances import tolerance
from alexnet_impl.report import formatting as numbers
from alexnet_impl.report.run.groups import (
    AccuracyDifference,
    RunGroup,
    accuracy_difference,
    group_runs,
    pairs,
)
from alexnet_impl.report.run.views import RunView
from alexnet_impl.stats.accuracy import Accuracy


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRow:
    """One result of every group of runs, as text.

    Attributes:
        what: Its name, with the unit where the values have none.
        values: One text per group; of several runs the mean, with the lowest and the highest.
        difference: First - second, or first / second followed by 'x'; empty unless there are two
            groups.
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
    """The results of groups of runs side by side, with the difference if there are exactly two."""
    groups = group_runs(views)
    rows = [_row(groups, *result) for result in _RESULTS]
    if len(views) > len(groups):  # the range of seeds stands in the place of an interval
        rows = [replace(row, what=row.what.removesuffix(_WITH_INTERVAL)) for row in rows]
    if all(value == numbers.MISSING for value in rows[-1].values):  # no accelerator
        rows.pop()
    if any(view.collapse is not None for view in views):
        rows.insert(0, _state_row("collapsed", groups, _collapse))
    if not all(view.finished for view in views):
        rows.insert(0, _state_row("state", groups, lambda view: view.state))
    return rows


def _state_row(what: str, groups: Sequence[RunGroup], text: Callable[[RunView], str]) -> ResultRow:
    """A row of words; each different one once."""
    texts = ("; ".join(dict.fromkeys(map(text, group.views))) for group in groups)
    return ResultRow(what=what, values=tuple(texts))


def _row(
    groups: Sequence[RunGroup],
    what: str,
    value_of: Callable[[RunView], Any],
    text: Callable[[Any], str],
    difference: Callable[[Any, Any], str] | None,
) -> ResultRow:
    found = [group.values(value_of) for group in groups]
    texts = [_cell(values, text) for values in found]
    comparable = len(found) == 2 and all(found)
    views = [view for group in groups for view in group.views]
    if what in _SPEEDS and other_work_note(views):
        comparable = False
        texts = [
            f"{cell}{OTHER_WORK}" if group.is_beside_other_work else cell
            for group, cell in zip(groups, texts, strict=True)
        ]
    told = ""
    if difference is None:
        told = difference_text(accuracy_difference(groups))
    elif comparable:
        told = difference(*(fmean(values) for values in found))
    return ResultRow(what=what, values=tuple(texts), difference=told)


def _cell(values: Sequence[Any], text: Callable[[Any], str]) -> str:
    """One value, or the mean of several with the lowest and the highest."""
    if len(values) < 2:
        return text(values[0]) if values else numbers.MISSING
    bare = [value.value if isinstance(value, Accuracy) else value for value in values]
    number = numbers.percent if isinstance(values[0], Accuracy) else text
    mean, low, high = (number(one) for one in (fmean(bare), min(bare), max(bare)))
    return f"{mean} ({low} to {high})"


def difference_text(found: AccuracyDifference | None) -> str:
    """A difference of accuracies with its interval: '+5.00 points [-9.96, +19.71]'; '' for None."""
    if found is None:
        return ""
    points = f"{numbers.points(found.value)} points"
    if found.low is None or found.high is None:
        return points
    return f"{points} [{numbers.points(found.low)}, {numbers.points(found.high)}]"


def other_work_note(views: Sequence[RunView]) -> str:
    """A sentence on the runs whose times were measured beside other work; '' if there are none."""
    marked = [view for view in views if view.is_beside_other_work]
    if not marked:
        return ""
    found = {
        group.label: [view.interference for view in group.views if view.interference]
        for group in group_runs(views)
    }
    shares = [
        f"{label}: {'up to ' if len(busy) > 1 else ''}{max(busy):.0%}"
        for label, busy in found.items()
        if busy
    ]
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


_WITH_INTERVAL = " [95% interval]"
OTHER_WORK = " *"
"""Mark of a time that was measured beside other work."""
_TIMING = (numbers.seconds, numbers.ratio)
_MEMORY = (numbers.mebibytes, numbers.ratio)
_LOSS = (numbers.loss_text, numbers.loss_difference)
_RESULTS: tuple[tuple[Any, ...], ...] = (
    ("test loss", _result("test_loss"), *_LOSS),
    (
        f"test top-1 accuracy{_WITH_INTERVAL}",
        attrgetter("accuracy"),
        numbers.accuracy_text,
        None,  # paired: accuracy_difference()
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


def equalities(views: Sequence[RunView]) -> list[Equality]:
    """Check that all runs had the same input; empty for fewer than two runs.

    Runs with several seeds are checked pair by pair: equal seeds must have equal input.
    """
    found = pairs(group_runs(views))
    if len(found) < 2:
        return _equalities(views)
    each = [(_equalities(pair), pair[0].config.recipe.seed) for pair in found]
    return [
        _in_all([(checks[place], seed) for checks, seed in each])
        for place in range(len(each[0][0]))
    ]


def _in_all(checks: Sequence[tuple[Equality, int]]) -> Equality:
    """One check of every pair as one: with the first pair in which it does not hold."""
    what = checks[0][0].what
    for bad in (False, None):
        for check, seed in checks:
            if check.holds is bad:
                return Equality(what=what, holds=bad, detail=f"seed {seed}: {check.detail}")
    return Equality(what=what, holds=True, detail=f"equal in all {len(checks)} pairs of one seed")


def _equalities(views: Sequence[RunView]) -> list[Equality]:
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
