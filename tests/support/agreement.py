"""When two accuracies count as one, and which runs can be asked to have what was published."""

from alexnet_impl.reproduction.claims.queries import CLAIMS
from alexnet_impl.reproduction.verdicts.our_figures import measure
from alexnet_impl.stats.accuracy import difference_interval, wilson_accuracy

BY_LUCK = ("R0-torch", "R0-tf")
"""Whether their networks die is chance (docs/collapse.md), in either framework and for any seed."""
APART = 0.005
"""By so much the two frameworks may differ."""


def agree(first, second):
    """Whether the 95 % interval of their difference reaches into what is allowed.

    Not a fixed cut: both are draws, and what they differ by has an interval of its own.
    """
    low, high = difference_interval(first, second)
    return low <= APART and high >= -APART


def died(run):
    """Whether a finished run's network died: the watch saw it, or it does no better than chance."""
    share, num_images = run.result.test_top1_accuracy, run.dataset.num_test_images
    report = run.result.collapse
    seen = report is not None and report.seen is not None
    accuracy = wilson_accuracy(round(share * num_images), num_images)
    return seen or accuracy.low <= 1 / len(run.dataset.class_names)


def of_one_fate(name, runs):
    """Whether runs of an experiment can be asked to agree: of R0's, all died or none did."""
    return name not in BY_LUCK or len({died(run) for run in runs}) == 1


def judged(name, runs):
    """The runs that can be held against what was published: of R0's, those that died.

    R0 says 71.95 % of a run whose own losses cannot give it, so no bar is known for others.
    """
    return [run for run in runs if name not in BY_LUCK or died(run)]


def held_claims(claims, runs):
    """Those that lie in our interval; it holds the spread between seeds where there are several."""
    measured = ((claim, measure(claim, runs, CLAIMS)) for claim in claims)
    return [claim for claim, found in measured if found.holds(claim.low, claim.high)]
