"""Accuracy, its intervals, confusion and probabilities, against published values."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet_impl.data.dataset import Split
from alexnet_impl.stats.accuracy import (
    Accuracy,
    confusion_matrix,
    difference_interval,
    mean_cross_entropy,
    per_class_accuracy,
    softmax,
    top1_accuracy,
    wilson_accuracy,
)
from alexnet_impl.training.evaluation import eval_batch_size, predict_probabilities

pytestmark = pytest.mark.fast

counts = st.integers(1, 10_000).flatmap(
    lambda total: st.tuples(st.integers(0, total), st.just(total))
)


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    # Newcombe 1998, Statistics in Medicine 17 (8), p. 857-872, table I, method 3
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_is_the_published_one(correct, total, low, high):
    accuracy = wilson_accuracy(correct, total)
    assert accuracy.value == correct / total
    assert (round(accuracy.low, 4), round(accuracy.high, 4)) == (low, high)
    assert accuracy.num_images == total


@settings(max_examples=25)
@given(counts)
def test_wilson_interval_holds_the_accuracy_and_stays_within_0_and_1(drawn):
    accuracy = wilson_accuracy(*drawn)
    assert 0 <= accuracy.low <= accuracy.value + 1e-12
    assert accuracy.value - 1e-12 <= accuracy.high <= 1


@settings(max_examples=25)
@given(counts)
def test_wilson_ends_solve_its_equation(drawn):
    """Each end p satisfies |share - p| = z * sqrt(p * (1 - p) / n), with z = 1.96."""
    correct, total = drawn
    accuracy = wilson_accuracy(correct, total)
    for end in (accuracy.low, accuracy.high):
        reach = 1.959963984540054 * math.sqrt(max(end * (1 - end), 0) / total)
        assert abs(accuracy.value - end) == pytest.approx(reach, abs=1e-7)


def test_wilson_interval_of_no_images_is_everything():
    accuracy = wilson_accuracy(0, 0)
    assert math.isnan(accuracy.value)
    assert (accuracy.low, accuracy.high, accuracy.num_images) == (0.0, 1.0, 0)


def test_accuracy_reads_as_a_percentage_with_its_interval():
    assert str(Accuracy(value=0.8076, low=0.799, high=0.8154, num_images=10_000)) == (
        "80.76% [79.90%, 81.54%]"
    )


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    # Newcombe 1998, Statistics in Medicine 17 (8), p. 873-890, table II, method 10
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((10, 10), (0, 20), 0.6791, 1.0000),
        ((5, 56), (0, 29), -0.0381, 0.1926),
    ],
)
def test_difference_interval_is_the_published_one(first, second, low, high):
    found = difference_interval(wilson_accuracy(*first), wilson_accuracy(*second))
    assert found == pytest.approx((low, high), abs=6e-5)


@settings(max_examples=25)
@given(counts, counts)
def test_difference_interval_turns_round_with_its_operands(first, second):
    one, other = wilson_accuracy(*first), wilson_accuracy(*second)
    low, high = difference_interval(one, other)
    assert difference_interval(other, one) == pytest.approx((-high, -low))
    assert low - 1e-12 <= one.value - other.value <= high + 1e-12


def test_top1_accuracy_counts_the_right_ones():
    accuracy = top1_accuracy(np.array([0, 1, 2, 2]), np.array([0, 1, 1, 2]))
    assert (accuracy.value, accuracy.num_images) == (0.75, 4)


def test_confusion_matrix_has_labels_in_rows_and_predictions_in_columns():
    labels = np.array([0, 0, 0, 2, 2])
    predicted = np.array([0, 1, 1, 2, 0])
    assert confusion_matrix(predicted, labels, 4).tolist() == [
        [1, 2, 0, 0],
        [0, 0, 0, 0],
        [1, 0, 1, 0],
        [0, 0, 0, 0],
    ]


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=60))
def test_per_class_accuracy_is_the_diagonal_over_the_rows(pairs):
    labels, predicted = np.array(pairs, np.int64).reshape(-1, 2).T
    matrix = confusion_matrix(predicted, labels, 5)
    assert matrix.sum() == len(pairs)
    for found, row, correct in zip(
        per_class_accuracy(predicted, labels, 5), matrix, matrix.diagonal(), strict=True
    ):
        assert found.num_images == row.sum()
        if found.num_images:
            assert found.value == correct / row.sum()
        else:
            assert math.isnan(found.value)


def test_mean_cross_entropy_is_the_mean_of_minus_log_probabilities():
    probabilities = np.array([[0.5, 0.5], [0.25, 0.75]], np.float32)
    expected = (math.log(2) + math.log(4)) / 2
    assert mean_cross_entropy(probabilities, np.array([1, 0])) == pytest.approx(expected)


def test_mean_cross_entropy_of_an_impossible_label_is_large_and_finite():
    found = mean_cross_entropy(np.array([[1.0, 0.0]]), np.array([1]))
    assert 700 < found < 710


def test_softmax_is_exponentials_over_their_sum():
    assert softmax(np.log(np.array([[1.0, 2.0, 5.0]]))) == pytest.approx(
        np.array([[0.125, 0.25, 0.625]])
    )


def test_softmax_takes_huge_logits():
    huge = np.array([[3e38, 3e38, -3e38], [-3e38, -3e38, -3e38]], np.float32)
    found = softmax(huge)
    assert found.dtype == np.float64
    assert found.tolist() == [[0.5, 0.5, 0.0], [1 / 3, 1 / 3, 1 / 3]]


@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=2, max_size=10), st.floats(-1e4, 1e4))
def test_softmax_sums_to_1_and_ignores_a_shift(logits, shift):
    row = np.array([logits])
    found = softmax(row)
    assert found.sum() == pytest.approx(1)
    assert softmax(row + shift) == pytest.approx(found, abs=1e-9)


@pytest.mark.parametrize(
    ("input_size", "batch_size"), [(32, 256), (64, 256), (128, 64), (224, 32), (1000, 32)]
)
def test_eval_batch_size_shrinks_with_the_image(input_size, batch_size):
    assert eval_batch_size(input_size) == batch_size


def fake_trainer():
    """Two logits: the mean of the left column of pixels, and 0; remembers its batches' sizes."""
    sizes = []

    def logits(images):
        sizes.append(len(images))
        left = images[:, :, 0].astype(np.float32).mean(axis=(1, 2))
        return np.stack([left, np.zeros_like(left)], axis=1)

    return SimpleNamespace(logits=logits, sizes=sizes)


def left_and_right(num_images):
    """Images whose left column is 1 and whose right column is 3."""
    images = np.zeros((num_images, 4, 4, 3), np.uint8)
    images[:, :, 0], images[:, :, -1] = 1, 3
    return Split(images=images, labels=np.zeros(num_images, np.int64))


def test_predict_probabilities_goes_through_all_images_in_batches():
    trainer = fake_trainer()
    found = predict_probabilities(trainer, left_and_right(10), batch_size=4, flip=False)
    assert trainer.sizes == [4, 4, 2]
    assert found == pytest.approx(np.tile(softmax(np.array([[1.0, 0.0]])), (10, 1)))


def test_predict_probabilities_averages_an_image_with_its_mirror_image():
    found = predict_probabilities(fake_trainer(), left_and_right(3), batch_size=4, flip=True)
    both = softmax(np.array([[1.0, 0.0], [3.0, 0.0]])).mean(axis=0)
    assert found == pytest.approx(np.tile(both, (3, 1)))
