"""The headline and the sentences of a run report, computed from the run folders alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from alexnet_impl.report import formatting as numbers
from alexnet_impl.report.run.differences import accuracy_difference, equalities, other_work_note
from alexnet_impl.report.run.views import RunView, with_predictions
from alexnet_impl.training.collapse import collapse_text

SPEED_NOTE = (
    "Times and images/s come from one run of each, neither repeated nor interleaved. "
    "A fair comparison of speed needs the paired rounds of the benchmark."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The outcome of one run or several: a headline and a few sentences.

    Attributes:
        headline: The outcome.
        sentences: The evidence for it.
        is_settled: Whether every run is finished, none collapsed, and with several runs every
            equality check holds. If not, the headline or the sentences say what is wrong.
    """

    headline: str
    sentences: tuple[str, ...]
    is_settled: bool


def verdict(views: Sequence[RunView]) -> Verdict:
    """Compare the accuracies of runs, and name what prevents a comparison."""
    unfinished = [view for view in views if not view.finished]
    if unfinished:
        return Verdict(
            headline=_and([f"{view.label} {_end(view)}" for view in unfinished]),
            sentences=(*(_state(view) for view in unfinished), *_accuracies(views)),
            is_settled=False,
        )
    broken = [check.what for check in equalities(views) if check.holds is not True]
    lost = [view for view in views if _has_only_guessed(view)]
    return Verdict(
        headline=_and([f"{view.label} collapsed" for view in lost]) if lost else _headline(views),
        sentences=(
            *collapses(views),
            *_accuracies(views),
            *_difference(views),
            *([f"Not shown to be equal in all runs: {', '.join(broken)}."] if broken else []),
            *([] if other_work_note(views) else [f"{_and(_speeds(views))}."]),
        ),
        is_settled=not broken and not lost,
    )


def _has_only_guessed(view: RunView) -> bool:
    """Whether the network collapsed and its accuracy is no better than guessing."""
    chance = 1 / len(view.dataset.class_names)
    collapsed = view.collapse is not None
    return collapsed and view.accuracy is not None and view.accuracy.low <= chance


def collapses(views: Sequence[RunView]) -> Iterator[str]:
    """Yields the collapse warning of each run whose network collapsed in the first epoch."""
    for view in views:
        if view.collapse is not None:
            yield f"{view.label}: {collapse_text(view.collapse, view.config.recipe)}"


def _headline(views: Sequence[RunView]) -> str:
    found = accuracy_difference(views)
    if found is None:
        shares = [
            f"{view.label} {numbers.percent(view.accuracy.value)}"
            for view in views
            if view.accuracy is not None
        ]
        return f"Test images classified correctly: {_and(shares)}"
    if not _same_images(views):
        return "Trained on different images: the accuracies cannot be compared"
    difference, low, high = found
    first, second = views[0].label, views[1].label
    if low <= 0 <= high:
        count = numbers.count(min(view.accuracy.num_images for view in views if view.accuracy))
        return f"No measurable difference between {first} and {second} on these {count} test images"
    better = first if difference > 0 else second
    return f"{better} is more accurate by {abs(100 * difference):.2f} points in these two runs"


def _same_images(views: Sequence[RunView]) -> bool:
    return len({view.dataset.fingerprint for view in views}) == 1


def _accuracies(views: Sequence[RunView]) -> Iterator[str]:
    for view in views:
        if view.accuracy is not None:
            yield (
                f"{view.label} classifies {numbers.percent(view.accuracy.value)} of "
                f"{numbers.count(view.accuracy.num_images)} test images correctly (95% interval "
                f"{numbers.percent(view.accuracy.low)} to {numbers.percent(view.accuracy.high)})."
            )


def _difference(views: Sequence[RunView]) -> Iterator[str]:
    found = accuracy_difference(views)
    if found is None or not _same_images(views):
        return
    difference, low, high = found
    where = "contains 0" if low <= 0 <= high else "does not contain 0"
    yield (
        f"The difference is {numbers.points(difference)} points; its 95% interval, "
        f"{numbers.points(low)} to {numbers.points(high)}, {where}. The interval covers the "
        "choice of test images only. Runs of one framework also differ by seed and by rounding; "
        "only runs with several seeds show how much."
    )
    predicted = [predictions.predicted for _, predictions in with_predictions(views)]
    agreed = int((predicted[0] == predicted[1]).sum())
    yield (
        f"Same prediction for {numbers.count(agreed)} of "
        f"{numbers.count(len(predicted[0]))} test images."
    )


def _speeds(views: Sequence[RunView]) -> list[str]:
    return [
        f"{view.label} trained {numbers.rate(view.result.timing.images_per_second)} images/s"
        for view in views
        if view.result is not None
    ]


def _and(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _end(view: RunView) -> str:
    if view.result is None:
        return "has not finished"
    return "was interrupted" if view.result.status == "interrupted" else view.result.status


def _state(view: RunView) -> str:
    text = f"{view.label}: {view.state}"
    return text if text.endswith(".") else f"{text}."
