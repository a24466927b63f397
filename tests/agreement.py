"""When two accuracies count as one."""

from alexnet_impl.evaluation import difference_interval

APART = 0.005
"""By so much the two frameworks may differ."""


def agree(first, second):
    """Whether the 95 % interval of their difference reaches into what is allowed.

    Not a fixed cut: both are draws, and what they differ by has an interval of its own.
    """
    low, high = difference_interval(first, second)
    return low <= APART and high >= -APART
