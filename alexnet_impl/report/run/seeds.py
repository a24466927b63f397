"""Pairs of runs over several seeds: whether the frameworks differ in accuracy, and by how much."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from alexnet_impl.report import formatting as numbers
from alexnet_impl.report.run.views import RunView
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.stats.paired_effects import Estimate, detectable_difference, estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedPair:
    """Two runs of one seed, one of each framework.

    Attributes:
        seed: What both drew their initial weights, batches and dropout from.
        first: The run of the first framework.
        second: The run of the other one.
    """

    seed: int
    first: RunView
    second: RunView

    @property
    def finished(self) -> bool:
        """Whether both runs have test results."""
        return self.first.finished and self.second.finished

    @property
    def same_input(self) -> bool:
        """Whether both started from the same weights and received the same images and batches."""
        found = {
            (
                view.initial_weights_sha256,
                view.dataset.fingerprint,
                view.result.batches_sha256 if view.result else "",
            )
            for view in (self.first, self.second)
        }
        return len(found) == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedComparison:
    """Two frameworks over several seeds.

    Attributes:
        labels: The frameworks' names.
        pairs: One pair of runs for each seed.
        accuracy: The mean difference of the test accuracies, first - second, as a share.
        test_loss: The mean difference of the test losses.
        detectable: The true difference of accuracy that as many seeds would show in 80 % of
            repetitions; None if the seeds give no interval.
    """

    labels: tuple[str, str]
    pairs: tuple[SeedPair, ...]
    accuracy: Estimate
    test_loss: Estimate
    detectable: float | None

    @property
    def ended_badly(self) -> list[SeedPair]:
        """The pairs of which a run did not finish, and which count in no figure."""
        return [pair for pair in self.pairs if not pair.finished]

    @property
    def headline(self) -> str:
        """Whether the frameworks differ in accuracy, in one line."""
        first, second = self.labels
        over = f"over {len(self.accuracy.differences)} seeds"
        if len(self.accuracy.differences) < 2:
            return f"Fewer than two seeds finished in both {first} and {second}"
        if not self.accuracy.measurable:
            if self.accuracy.low is None and self.accuracy.mean:
                return f"{first} and {second} differ by the same amount with every seed"
            return f"No measurable difference between {first} and {second} {over}"
        better = first if self.accuracy.mean > 0 else second
        return f"{better} is more accurate by {abs(100 * self.accuracy.mean):.2f} points {over}"

    @property
    def sentences(self) -> list[str]:
        """The evidence: the interval, what it covers, and what it could have shown."""
        found, count = self.accuracy, len(self.accuracy.differences)
        told = []
        if found.low is not None and found.high is not None and self.detectable is not None:
            told.append(
                f"Mean difference of {count} pairs of runs: {numbers.points(found.mean)} points, "
                f"95% interval {numbers.points(found.low)} to {numbers.points(found.high)}. "
                f"{count} seeds would show a true difference of {100 * self.detectable:.2f} points "
                "in 80% of such comparisons; more seeds would show smaller ones. The interval is "
                "over seeds, which draw initial weights, validation images, the order of the "
                "images and dropout; the test images are the same."
            )
        elif count >= 2:
            told.append(
                f"Every pair differs by {numbers.points(found.mean)} points, so that the spread "
                "over the seeds is unknown: take more test images."
            )
        if lost := self.ended_badly:
            seeds = ", ".join(str(pair.seed) for pair in lost)
            told.append(f"Left out, since a run did not finish: seed {seeds}.")
        if unequal := [pair.seed for pair in self.pairs if pair.finished and not pair.same_input]:
            seeds = ", ".join(map(str, unequal))
            told.append(
                f"Not shown to have had equal weights and batches: seed {seeds}. The difference "
                "may come from these."
            )
        return told


def seed_comparison(views: Sequence[RunView]) -> SeedComparison | None:
    """Pairs the runs of two frameworks by seed.

    None unless they are runs of one configuration with two seeds or more, each in the same two
    frameworks.
    """
    frameworks = list(dict.fromkeys(view.config.framework for view in views))
    runs = {(view.config.framework, view.config.recipe.seed): view for view in views}
    seeds = list(dict.fromkeys(view.config.recipe.seed for view in views))
    if len(frameworks) != 2 or len(seeds) < 2 or not len(runs) == len(views) == 2 * len(seeds):
        return None
    if len({_without_seed(view) for view in views}) > 1:
        return None
    pairs = tuple(
        SeedPair(seed=seed, first=runs[frameworks[0], seed], second=runs[frameworks[1], seed])
        for seed in seeds
    )
    finished = [pair for pair in pairs if pair.finished]
    # Rounded: equal differences of whole images would differ in the last bit.
    accuracies = [round(_accuracy(one.first) - _accuracy(one.second), 12) for one in finished]
    losses = [_test_loss(pair.first) - _test_loss(pair.second) for pair in finished]
    return SeedComparison(
        labels=(numbers.framework_label(frameworks[0]), numbers.framework_label(frameworks[1])),
        pairs=pairs,
        accuracy=estimate(accuracies),
        test_loss=estimate(losses),
        detectable=detectable_difference(accuracies),
    )


def _without_seed(view: RunView) -> RunConfig:
    recipe = replace(view.config.recipe, seed=0)
    return replace(view.config, framework="torch", recipe=recipe)


def _accuracy(view: RunView) -> float:
    if view.accuracy is None:
        raise ValueError(f"{view.path}: is not finished")
    return view.accuracy.value


def _test_loss(view: RunView) -> float:
    if view.result is None or view.result.test_loss is None:
        raise ValueError(f"{view.path}: is not finished")
    return view.result.test_loss
