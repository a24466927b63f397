import numpy as np
import pytest
from PIL import Image

from alexnet_impl.data.preprocessing import INPUT_SCALINGS, preprocess
from alexnet_impl.errors import DataError

pytestmark = pytest.mark.fast

FLOAT32_ROUNDING = 1e-5  # of values up to 3, through two matrix products


def random_images(num_images=2, height=8, width=8) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (num_images, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", INPUT_SCALINGS)
def test_preprocessing_scales_by_mean_and_std_of_each_channel(name):
    scaling, images = INPUT_SCALINGS[name], random_images()
    expected = (images / 255 - np.array(scaling.mean)) / np.array(scaling.std)
    preprocessed = preprocess(images, scaling, 8)
    assert preprocessed.dtype == np.float32
    in_rgb = preprocessed[..., ::-1] if scaling.blue_first else preprocessed
    near = FLOAT32_ROUNDING * max(1, np.abs(expected).max())
    np.testing.assert_allclose(in_rgb, expected, rtol=0, atol=near)
    low, high = scaling.value_range()
    assert low - near <= preprocessed.min() <= preprocessed.max() <= high + near


def test_caffes_scaling_takes_imagenets_mean_off_and_puts_blue_first():
    """keras.applications.imagenet_utils: means 103.939, 116.779 and 123.68 in the order BGR."""
    images = np.full((1, 1, 1, 3), (10, 20, 30), np.uint8)
    preprocessed = preprocess(images, INPUT_SCALINGS["caffe"], 1)
    expected = [30 - 103.939, 20 - 116.779, 10 - 123.68]
    np.testing.assert_allclose(preprocessed[0, 0, 0], expected, rtol=1e-5)


def test_only_what_no_weights_were_trained_on_is_a_mistake():
    mistaken = [name for name, scaling in INPUT_SCALINGS.items() if scaling.mistaken]
    assert mistaken == ["symmetric-then-caffe"]


def test_the_middle_is_cut_out_of_a_larger_image():
    images = random_images(height=8, width=8)
    larger = preprocess(images, INPUT_SCALINGS["unit"], 12)
    cut = preprocess(images, INPUT_SCALINGS["unit"], 6, resize_to=12)
    np.testing.assert_allclose(cut, larger[:, 3:9, 3:9], atol=FLOAT32_ROUNDING)


def test_no_middle_is_cut_out_of_a_smaller_image():
    with pytest.raises(DataError, match="resize_to=4 is below the 6 pixels"):
        preprocess(random_images(height=8, width=8), INPUT_SCALINGS["unit"], 6, resize_to=4)


@pytest.mark.parametrize(("name", "low", "high"), [("unit", 0, 1), ("symmetric", -1, 1)])
def test_preprocessing_maps_black_and_white_to_the_ends(name, low, high):
    images = np.zeros((2, 4, 4, 3), np.uint8)
    images[1] = 255
    preprocessed = preprocess(images, INPUT_SCALINGS[name], 4)
    assert (preprocessed[0] == low).all()
    assert (preprocessed[1] == high).all()


@pytest.mark.parametrize("target", [5, 11, 27])
def test_preprocessing_resizes_height_and_width_apart(target):
    images = random_images(height=10, width=14)
    preprocessed = preprocess(images, INPUT_SCALINGS["unit"], target)
    assert preprocessed.shape == (2, target, target, 3)
    for image, result in zip(images, preprocessed, strict=True):
        for channel in range(3):
            plane = Image.fromarray(image[..., channel].astype(np.float32) / 255)
            expected = plane.resize((target, target), Image.Resampling.BILINEAR)
            np.testing.assert_allclose(result[..., channel], expected, atol=FLOAT32_ROUNDING)
