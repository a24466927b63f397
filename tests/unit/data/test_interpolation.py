import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from alexnet_impl.data.resize import interpolation_matrix
from alexnet_impl.errors import DataError

pytestmark = pytest.mark.fast

sizes = st.integers(1, 90)

FLOAT32_ROUNDING = 1e-6  # a row's weights are rounded one by one
FLOAT64_ROUNDING = 1e-12


@given(sizes, sizes, st.booleans())
def test_interpolation_rows_are_averages(source, target, antialias):
    matrix = interpolation_matrix(source, target, method="antialiased" if antialias else "bilinear")
    assert matrix.shape == (target, source)
    assert matrix.dtype == np.float32
    assert (matrix >= 0).all()
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=FLOAT32_ROUNDING)


@given(sizes, st.booleans())
def test_interpolation_to_the_same_size_changes_nothing(size, antialias):
    matrix = interpolation_matrix(size, size, method="antialiased" if antialias else "bilinear")
    np.testing.assert_array_equal(matrix, np.eye(size))


@given(sizes, st.integers(0, 200))
def test_interpolation_when_enlarging_is_the_same_with_antialias(source, more):
    plain = interpolation_matrix(source, source + more, method="bilinear")
    np.testing.assert_array_equal(interpolation_matrix(source, source + more), plain)


@given(sizes, sizes)
def test_interpolation_is_symmetric_left_to_right(source, target):
    matrix = interpolation_matrix(source, target, dtype=np.float64)
    np.testing.assert_allclose(matrix, matrix[::-1, ::-1], atol=FLOAT64_ROUNDING)


def test_interpolation_from_two_to_four_has_the_known_weights():
    expected = [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]]
    np.testing.assert_array_equal(interpolation_matrix(2, 4), np.array(expected, np.float32))


def test_interpolation_with_antialias_uses_every_source_pixel():
    assert (interpolation_matrix(32, 7).sum(axis=0) > 0).all()
    assert (interpolation_matrix(32, 7, method="bilinear").sum(axis=0) == 0).any()


def test_interpolation_in_float64_is_not_rounded():
    matrix = interpolation_matrix(32, 224, dtype=np.float64)
    assert matrix.dtype == np.float64
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=FLOAT64_ROUNDING)


@pytest.mark.parametrize("target", [5, 13, 32, 100])
def test_interpolation_equals_pillow_on_float_pixels(target):
    pixels = np.random.default_rng(0).random((32, 32), np.float32)
    expected = Image.fromarray(pixels).resize((target, target), Image.Resampling.BILINEAR)
    matrix = interpolation_matrix(32, target)
    np.testing.assert_allclose(matrix @ pixels @ matrix.T, expected, atol=1e-5)


@pytest.mark.parametrize(("source", "target"), [(0, 4), (4, 0), (4, -1)])
def test_interpolation_refuses_sizes_below_one(source, target):
    with pytest.raises(DataError, match=f"{source} pixels to {target}"):
        interpolation_matrix(source, target)
