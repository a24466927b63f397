"""Runs of one framework with several seeds as one group, and the difference of two groups."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from alexnet_impl.report.formatting import COLOURS, framework_label
from alexnet_impl.report.run.seeds import seed_comparison
from alexnet_impl.report.run.views import RunView
from alexnet_impl.stats.accuracy import paired_difference


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunGroup:
    """One run, or the runs of one framework that differ only by their seed.

    Attributes:
        label: The run's label; for several runs the framework's name.
        colour: '#rrggbb'.
        views: The runs, in the order given.
    """

    label: str
    colour: str
    views: tuple[RunView, ...]

    @property
    def accuracy(self) -> float | None:
        """Mean top-1 accuracy over the finished runs; None if there are none."""
        found = [view.accuracy.value for view in self.views if view.accuracy is not None]
        return fmean(found) if found else None

    @property
    def is_beside_other_work(self) -> bool:
        """Whether a run was timed while other work used the machine."""
        return any(view.is_beside_other_work for view in self.views)

    def values(self, read: Callable[[RunView], Any]) -> list[Any]:
        """A value of every run that has it."""
        return [value for view in self.views if (value := read(view)) is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyDifference:
    """Difference of the test accuracies of two groups, first - second.

    Attributes:
        low: Lower end of the 95 % interval; None without one.
        high: Upper end of it.
        method: The method in one line.
        only_first: Number of images that only the first run classifies correctly; None for groups
            of several runs.
        only_second: Number of images that only the second run classifies correctly.
        p_value: P value of McNemar's exact test, or of Student's t test over the seeds.
    """

    value: float
    low: float | None
    high: float | None
    method: str
    only_first: int | None = None
    only_second: int | None = None
    p_value: float | None = None

    @property
    def is_measurable(self) -> bool:
        """Whether there is an interval, and it leaves out 0."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


def group_runs(views: Sequence[RunView]) -> list[RunGroup]:
    """Put runs that differ only by their seed together; every other run is a group of its own."""
    found: dict[str, list[RunView]] = {}
    for view in views:
        found.setdefault(_without_seed(view), []).append(view)
    if not all(_is_group(group) for group in found.values()):
        return [_group([view]) for view in views]
    return [_group(group) for group in found.values()]


def _without_seed(view: RunView) -> str:
    config = replace(view.config, recipe=replace(view.config.recipe, seed=0))
    return str((config.to_dict(), view.dataset.class_names))


def _is_group(views: Sequence[RunView]) -> bool:
    """Whether runs are of different seeds; two of one seed are to be compared with each other."""
    return len({view.config.recipe.seed for view in views}) == len(views)


def _group(views: Sequence[RunView]) -> RunGroup:
    first = views[0]
    if len(views) == 1:
        return RunGroup(label=first.label, colour=first.colour, views=tuple(views))
    framework = first.config.framework
    colour = COLOURS.get(framework, (first.colour,))[0]
    return RunGroup(label=framework_label(framework), colour=colour, views=tuple(views))


def pairs(groups: Sequence[RunGroup]) -> list[tuple[RunView, RunView]]:
    """The runs of two groups, paired by their seed; two single runs are a pair in any case.

    Empty unless there are two groups.
    """
    if len(groups) != 2:
        return []
    first, second = (group.views for group in groups)
    if len(first) == len(second) == 1:
        return [(first[0], second[0])]
    by_seed = {view.config.recipe.seed: view for view in second}
    return [
        (view, by_seed[view.config.recipe.seed])
        for view in first
        if view.config.recipe.seed in by_seed
    ]


def accuracy_difference(groups: Sequence[RunGroup]) -> AccuracyDifference | None:
    """Paired difference of two groups' test accuracies.

    Of several seeds, those count with which both finished. None unless there are two groups, and
    two single runs are finished and saw the same images.
    """
    if (seeds := seed_comparison([view for group in groups for view in group.views])) is not None:
        over = seeds.accuracy
        return AccuracyDifference(
            value=over.mean,
            low=over.low,
            high=over.high,
            p_value=over.p_value,
            method=f"paired by seed: Student's t over {len(over.differences)} seeds",
        )
    found = pairs(groups)
    if len(found) != 1 or not _same_test_images(*found[0]):
        return None
    done = paired_difference(*map(_correct, found[0]))
    return AccuracyDifference(
        value=done.value,
        low=done.low,
        high=done.high,
        p_value=done.p_value,
        only_first=done.only_first,
        only_second=done.only_second,
        method="paired, image by image (Bonett and Price)",
    )


def _same_test_images(first: RunView, second: RunView) -> bool:
    finished = first.predictions is not None and second.predictions is not None
    return finished and first.dataset.fingerprint == second.dataset.fingerprint


def _correct(view: RunView) -> Any:
    """Which test images are classified correctly, bool of shape (num_images,)."""
    predictions = view.predictions
    return None if predictions is None else predictions.predicted == predictions.labels
