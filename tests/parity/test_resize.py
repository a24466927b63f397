"""The interpolation matrix against the frameworks' own resizing."""

import numpy as np
import pytest

from alexnet_impl.data.resize import interpolation_matrix
from alexnet_impl.frameworks import keep_frameworks_apart

# Both frameworks place their pixels in float32, so at 32 pixels they are off by up to 2e-6 of a
# pixel; measured on images from 0 to 1: at most 3.4e-6. Our matrix is computed in float64.
FLOAT32_TOLERANCE = 1e-5
FLOAT64_TOLERANCE = 1e-12

SIZES = dict.fromkeys([(32, 224), (8, 32), (100, 32)], pytest.mark.fast) | dict.fromkeys(
    [(32, 227), (32, 64), (32, 32), (32, 17), (227, 32), (33, 32), (5, 1)], pytest.mark.slow
)
CASES = [
    pytest.param(source, target, antialias, marks=speed, id=f"{source}-{target}-{kind}")
    for (source, target), speed in SIZES.items()
    for antialias, kind in [(True, "antialias"), (False, "plain")]
]


def make_images(size: int) -> np.ndarray:
    """Shape (2, size, size, 3), from 0 to 1."""
    return np.random.default_rng(size).random((2, size, size, 3), np.float32)


def resize(images: np.ndarray, target: int, *, antialias: bool) -> np.ndarray:
    size = images.shape[1]
    matrix = interpolation_matrix(
        size, target, method="antialiased" if antialias else "bilinear", dtype=images.dtype
    )
    return np.einsum("yh,xw,bhwc->byxc", matrix, matrix, images, optimize=True)


@pytest.mark.torch
@pytest.mark.parametrize(("source", "target", "antialias"), CASES)
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [("float32", FLOAT32_TOLERANCE), ("float64", FLOAT64_TOLERANCE)],
    ids=["float32", "float64"],
)
def test_resize_matrix_equals_torch_interpolate(source, target, antialias, dtype, tolerance):
    keep_frameworks_apart()
    import torch

    images = make_images(source).astype(dtype)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(images.transpose(0, 3, 1, 2)),
        size=(target, target),
        mode="bilinear",
        align_corners=False,
        antialias=antialias,
    )
    result = resize(images, target, antialias=antialias).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(result, expected.numpy(), rtol=0, atol=tolerance)


@pytest.mark.tensorflow
@pytest.mark.parametrize(("source", "target", "antialias"), CASES)
def test_resize_matrix_equals_tf_image_resize(source, target, antialias):
    keep_frameworks_apart()
    import tensorflow as tf

    images = make_images(source)
    expected = tf.image.resize(images, (target, target), "bilinear", antialias=antialias)
    result = resize(images, target, antialias=antialias)
    np.testing.assert_allclose(result, expected.numpy(), rtol=0, atol=FLOAT32_TOLERANCE)
