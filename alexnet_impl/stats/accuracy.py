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
    """A share of images that were classified rightly, with its 95 % interval.

    Attributes:
        value: num_correct / num_images.
        low: Lower end of the Wilson score interval.
        high: Upper end of it.
        num_images: How many were counted.
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
    if num_images == 0:
        return Accuracy(value=math.nan, low=0.0, high=1.0, num_images=0)
    share = num_correct / num_images
    spread = Z_95**2 / num_images
    centre = (share + spread / 2) / (1 + spread)
    reach = Z_95 * math.sqrt(share * (1 - share) / num_images + spread / (4 * num_images))
    reach /= 1 + spread
    return Accuracy(
        value=share,
        low=max(0.0, centre - reach),
        high=min(1.0, centre + reach),
        num_images=num_images,
    )


def top1_accuracy(predicted: NDArray[np.int64], labels: NDArray[np.int64]) -> Accuracy:
    """Accuracy of predicted classes, both of shape (num_images,)."""
    return wilson_accuracy(int((predicted == labels).sum()), len(labels))


def per_class_accuracy(
    predicted: NDArray[np.int64], labels: NDArray[np.int64], num_classes: int
) -> list[Accuracy]:
    """Accuracy among the images of each class, which is that class's recall."""
    return [
        wilson_accuracy(int((predicted[labels == k] == k).sum()), int((labels == k).sum()))
        for k in range(num_classes)
    ]


def confusion_matrix(
    predicted: NDArray[np.int64], labels: NDArray[np.int64], num_classes: int
) -> NDArray[np.int64]:
    """Counts of shape (num_classes, num_classes): rows are labels, columns predictions."""
    flat = np.bincount(labels * num_classes + predicted, minlength=num_classes**2)
    return flat.reshape(num_classes, num_classes).astype(np.int64)


def difference_interval(first: Accuracy, second: Accuracy) -> tuple[float, float]:
    """95 % interval of first - second, of two independent accuracies.

    References:
        Newcombe 1998, Statistics in Medicine 17 (8), method 10.
    """
    difference = first.value - second.value
    low = math.hypot(first.value - first.low, second.high - second.value)
    high = math.hypot(first.high - first.value, second.value - second.low)
    return difference - low, difference + high


def mean_cross_entropy(probabilities: NDArray[Any], labels: NDArray[np.int64]) -> float:
    """Mean of -log(probability of the label); probabilities of shape (num_images, num_classes)."""
    picked = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(picked, np.finfo(np.float64).tiny)).mean())


def softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Probabilities over the last axis, in float64; the largest logit is taken off first."""
    wide = logits.astype(np.float64)
    exponentials = np.exp(wide - wide.max(axis=1, keepdims=True))
    result: NDArray[np.float64] = exponentials / exponentials.sum(axis=1, keepdims=True)
    return result
