"""The headline and the sentences of a run report, computed from the run folders alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from alexnet_impl.report import formatting as numbers
from alexnet_impl.report.run.differences import equalities
from alexnet_impl.report.run.groups import accuracy_difference, group_runs
from alexnet_impl.report.run.seeds import seed_comparison
from alexnet_impl.report.run.views import RunView
from alexnet_impl.training.collapse import collapse_text


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
    if (seeds := seed_comparison(views)) is not None:
        alike = all(check.holds for check in equalities(views))
        return Verdict(
            headline=seeds.headline,
            sentences=(*collapses(views), *seeds.sentences),
            is_settled=alike and not seeds.ended_badly,
        )
    unfinished = [view for view in views if not view.finished]
    if unfinished:
        return Verdict(
            headline=_and([f"{view.label} {_end(view)}" for view in unfinished]),
            sentences=tuple(_state(view) for view in unfinished),
            is_settled=False,
        )
    broken = [check.what for check in equalities(views) if check.holds is not True]
    lost = [view for view in views if _has_only_guessed(view)]
    return Verdict(
        headline=_and([f"{view.label} collapsed" for view in lost]) if lost else _headline(views),
        sentences=(
            *collapses(views),
            *([f"Not shown to be equal in all runs: {', '.join(broken)}."] if broken else []),
            *_reach(views),
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
    groups = group_runs(views)
    if len(groups) != 2:
        shares = [
            f"{group.label} {numbers.percent(group.accuracy)}"
            for group in groups
            if group.accuracy is not None
        ]
        return f"Test images classified correctly: {_and(shares)}"
    found = accuracy_difference(groups)
    if found is None:
        several = any(len(group.views) > 1 for group in groups)
        why = "Trained with different seeds" if several else "Trained on different images"
        return f"{why}: the accuracies cannot be compared"
    first, second = (group.label for group in groups)
    if not found.is_measurable:
        count = numbers.count(groups[0].views[0].dataset.num_test_images)
        return f"No measurable difference between {first} and {second} on these {count} test images"
    better = first if found.value > 0 else second
    return f"{better} is more accurate by {abs(100 * found.value):.2f} points in these two runs"


def _reach(views: Sequence[RunView]) -> Iterator[str]:
    """A sentence on what the interval of the difference covers."""
    if accuracy_difference(group_runs(views)) is not None:
        yield (
            "The interval covers the choice of test images only. Runs of one framework also "
            "differ by seed and by rounding: `alexnet compare --seeds 5` shows how much."
        )


def _and(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _end(view: RunView) -> str:
    if view.result is None:
        return "has not finished"
    return "was interrupted" if view.result.status == "interrupted" else view.result.status


def _state(view: RunView) -> str:
    text = f"{view.label}: {view.state}"
    return text if text.endswith(".") else f"{text}."
