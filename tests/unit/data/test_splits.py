import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet_impl.data.splits import balanced_indices, remaining_indices, stratified_indices
from alexnet_impl.errors import DataError

pytestmark = pytest.mark.fast

class_sizes = st.lists(st.integers(1, 30), min_size=1, max_size=8)


def make_labels(sizes: list[int]) -> np.ndarray:
    """Sorted by class, as image folders are."""
    return np.repeat(np.arange(len(sizes)), sizes)


@given(class_sizes, st.data(), st.integers(0, 99))
def test_balanced_indices_spread_evenly_over_the_classes(sizes, data, seed):
    labels = make_labels(sizes)
    count = data.draw(st.integers(1, len(labels)))
    indices = balanced_indices(labels, count, np.random.default_rng(seed))
    assert len(indices) == count == len(set(indices.tolist()))
    assert (np.diff(indices) > 0).all()
    counts = np.bincount(labels[indices], minlength=len(sizes))
    # A class that gives less than another one by more than 1 has nothing left to give.
    assert all(
        got == size or got >= counts.max() - 1 for got, size in zip(counts, sizes, strict=True)
    )
    if count >= len(sizes):
        assert counts.min() >= 1


def test_balanced_indices_are_exact_where_the_count_divides():
    labels = make_labels([100] * 10)
    indices = balanced_indices(labels, 50, np.random.default_rng(0))
    assert np.bincount(labels[indices]).tolist() == [5] * 10


def test_balanced_indices_are_not_simply_the_first_ones():
    labels = make_labels([100] * 10)
    indices = balanced_indices(labels, 500, np.random.default_rng(0))
    assert 0 < (indices % 100 >= 50).sum() < 500


@pytest.mark.parametrize("count", [0, -1, 31])
def test_balanced_indices_refuse_more_images_than_there_are(count):
    with pytest.raises(DataError, match=f"{count} images .* 1 to 30"):
        balanced_indices(make_labels([10, 20]), count, np.random.default_rng(0))


@given(class_sizes, st.data())
def test_stratified_indices_follow_the_classes_sizes(sizes, data):
    labels = make_labels([size + 1 for size in sizes])
    count = data.draw(st.integers(1, len(labels) - len(sizes)))
    indices = stratified_indices(labels, count, np.random.default_rng(0))
    assert len(set(indices.tolist())) == count
    counts = np.bincount(labels[indices], minlength=len(sizes))
    sizes_now = np.bincount(labels)
    assert (counts < sizes_now).all()
    assert (counts >= np.floor(sizes_now * count / len(labels))).all()


def test_stratified_indices_are_proportional():
    labels = make_labels([100, 300])
    indices = stratified_indices(labels, 40, np.random.default_rng(0))
    assert np.bincount(labels[indices]).tolist() == [10, 30]


@pytest.mark.parametrize("count", [0, 29, 30])
def test_stratified_indices_leave_an_image_to_every_class(count):
    with pytest.raises(DataError, match=f"{count} of 30 images cannot be split off"):
        stratified_indices(make_labels([10, 20]), count, np.random.default_rng(0))


def test_remaining_indices_are_all_others():
    assert remaining_indices(6, np.array([1, 4])).tolist() == [0, 2, 3, 5]
