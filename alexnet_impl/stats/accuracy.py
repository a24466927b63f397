"""Accuracy with its interval, per class and as a confusion matrix; cross-entropy of predictions."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Z_95 = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """The share of images that were classified correctly, with its 95 % interval.

    Attributes:
        value: num_correct / num_images.
        low: Lower end of the Wilson score interval.
        high: Upper end of it.
        num_images: Number of images that were classified.
    """

    value: float
    low: float
    high: float
    num_images: int

    def __str__(self) -> str:
        return f"{self.value:.2%} [{self.low:.2%}, {self.high:.2%}]"


def wilson_accuracy(num_correct: int, num_images: int) -> Accuracy:
    """Accuracy with the Wilson score interval, which stays inside [0, 1] at either end.

    References:
        Wilson 1927, JASA 22 (158).
    """
    from scipy.stats import binomtest  # noqa: PLC0415 - takes 0.9 s to import

    if num_images == 0:
        return Accuracy(value=math.nan, low=0.0, high=1.0, num_images=0)
    interval = binomtest(num_correct, num_images).proportion_ci(method="wilson")
    return Accuracy(
        value=num_correct / num_images,
        low=float(interval.low),
        high=float(interval.high),
        num_images=num_images,
    )


def top1_accuracy(predicted: NDArray[np.int64], labels: NDArray[np.int64]) -> Accuracy:
    """Accuracy of predicted classes; both arrays have shape (num_images,)."""
    return wilson_accuracy(int((predicted == labels).sum()), len(labels))


def per_class_accuracy(
    predicted: NDArray[np.int64], labels: NDArray[np.int64], num_classes: int
) -> list[Accuracy]:
    """Recall of each class, from predicted and true classes of shape (num_images,)."""
    counts = confusion_matrix(predicted, labels, num_classes)
    return [wilson_accuracy(int(row[label]), int(row.sum())) for label, row in enumerate(counts)]


def confusion_matrix(
    predicted: NDArray[np.int64], labels: NDArray[np.int64], num_classes: int
) -> NDArray[np.int64]:
    """Numbers of images of shape (num_classes, num_classes): rows are labels, columns predictions.

    Predicted classes and labels have shape (num_images,).
    """
    if not len(labels):  # scikit-learn refuses no images
        return np.zeros((num_classes, num_classes), np.int64)
    from sklearn import metrics  # noqa: PLC0415 - takes a second to import

    found: NDArray[np.int64] = metrics.confusion_matrix(
        labels, predicted, labels=np.arange(num_classes)
    )
    return found


def difference_interval(first: Accuracy, second: Accuracy) -> tuple[float, float]:
    """95 % interval of the difference first - second of two independent accuracies.

    References:
        Newcombe 1998, Statistics in Medicine 17 (8), method 10.
    """
    difference = first.value - second.value
    low = math.hypot(first.value - first.low, second.high - second.value)
    high = math.hypot(first.high - first.value, second.value - second.low)
    return difference - low, difference + high


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """Difference of two accuracies on the same images, with its 95 % interval.

    Attributes:
        value: Accuracy of the first - accuracy of the second.
        low: Lower end of Bonett and Price's interval.
        high: Upper end of it.
        only_first: Number of images that only the first classifies correctly.
        only_second: Number of images that only the second classifies correctly.
        num_images: Number of images.
    """

    value: float
    low: float
    high: float
    only_first: int
    only_second: int
    num_images: int

    @property
    def p_value(self) -> float:
        """P value of McNemar's exact test of no difference."""
        from scipy.stats import binomtest  # noqa: PLC0415 - takes 0.9 s to import

        unequal = self.only_first + self.only_second
        return float(binomtest(self.only_first, unequal).pvalue) if unequal else 1.0


def paired_difference(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> PairedDifference:
    """Compare two classifiers on the same images: which are correct, both of shape (num_images,).

    Only images that one of the two classifies correctly count, so the interval is narrower than
    that of two independent accuracies. It stays honest for few such images, and has a width even
    without one.

    References:
        Bonett and Price 2012, Journal of Educational and Behavioral Statistics 37 (4).
        McNemar 1947, Psychometrika 12 (2).
    """
    count = len(first)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    shares = [(number + 1) / (count + 2) for number in (only_first, only_second)]
    middle = shares[0] - shares[1]
    reach = Z_95 * math.sqrt((sum(shares) - middle**2) / (count + 2))
    return PairedDifference(
        value=(only_first - only_second) / count if count else math.nan,
        low=max(middle - reach, -1.0),
        high=min(middle + reach, 1.0),
        only_first=only_first,
        only_second=only_second,
        num_images=count,
    )


def mean_cross_entropy(probabilities: NDArray[Any], labels: NDArray[np.int64]) -> float:
    """Mean of -log(probability of the label), in nats.

    Probabilities have shape (num_images, num_classes), labels (num_images,).
    """
    picked = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(picked, np.finfo(np.float64).tiny)).mean())


def softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Probabilities in float64 from logits of shape (num_images, num_classes, ...)."""
    from scipy import special  # noqa: PLC0415 - takes 0.25 s to import

    found: NDArray[np.float64] = special.softmax(logits.astype(np.float64), axis=1)
    return found
