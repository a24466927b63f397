"""Preprocessing of uint8 images before the first layer: scaling, then resizing.

The frameworks do it on their device, batch by batch; `preprocess` is the slow NumPy reference.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alexnet_impl.data.resize import resize_and_cut


@dataclass(frozen=True, kw_only=True)
class InputScaling:
    """Scaling of pixels to `(pixels / 255 - mean) / std`, channel by channel in RGB order.

    It divides by 255 instead of multiplying by 1/255: the two differ in the last bit.

    Attributes:
        mean: Means of the red, green and blue channel, of pixels from 0 to 1.
        std: Standard deviations, likewise.
        blue_first: Whether the channels are then put in the order blue, green, red.
        mistaken: Whether it is a known mistake on which no published weights were trained; it
            exists to reproduce that mistake.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    blue_first: bool = False
    mistaken: bool = False

    def value_range(self) -> tuple[float, float]:
        """Returns the (lowest, highest) value that a pixel can become."""
        lowest = min(-mean / std for mean, std in zip(self.mean, self.std, strict=True))
        highest = max((1 - mean) / std for mean, std in zip(self.mean, self.std, strict=True))
        return lowest, highest


_CAFFE_MEAN = (123.68, 116.779, 103.939)
"""Mean of ImageNet's pixels from 0 to 255, red first, as VGG's authors published it."""


def _over(divisor: float, values: tuple[float, float, float]) -> tuple[float, float, float]:
    red, green, blue = values
    return red / divisor, green / divisor, blue / divisor


INPUT_SCALINGS: dict[str, InputScaling] = {
    # from 0 to 1
    "unit": InputScaling(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
    # from -1 to 1
    "symmetric": InputScaling(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
    # the scaling of torchvision's ImageNet weights
    "imagenet": InputScaling(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    # mean and standard deviation over the training images' pixels
    "cifar10": InputScaling(mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616)),
    # pixels minus ImageNet's mean, blue first: keras.applications' VGG16 and ResNet50
    "caffe": InputScaling(mean=_over(255, _CAFFE_MEAN), std=_over(255, (1, 1, 1)), blue_first=True),
    # caffe's mean subtracted from values that are in [-1, 1] already
    "symmetric-then-caffe": InputScaling(
        mean=_over(2, (124.68, 117.779, 104.939)),
        std=(0.5, 0.5, 0.5),
        blue_first=True,
        mistaken=True,
    ),
}


def preprocess(
    images: NDArray[np.uint8],
    scaling: InputScaling,
    target_size: int,
    *,
    resize: str = "antialiased",
    resize_to: int | None = None,
) -> NDArray[np.float32]:
    """Scales and resizes images as every framework must.

    Args:
        images: Shape (batch, height, width, 3).
        scaling: The scaling of the pixels.
        target_size: Height and width of the result, in pixels.
        resize: The method of interpolation_matrix().
        resize_to: Height and width in pixels before the middle is cut out; None: target_size.

    Returns:
        Shape (batch, target_size, target_size, 3).
    """
    batch, height, width, channels = images.shape
    mean = np.array(scaling.mean, np.float32)
    std = np.array(scaling.std, np.float32)
    scaled = (images.astype(np.float32) / np.float32(255) - mean) / std
    if scaling.blue_first:
        scaled = scaled[..., ::-1]
    rows = resize_and_cut(height, target_size, resize_to, method=resize)
    columns = resize_and_cut(width, target_size, resize_to, method=resize)
    # (target, height) @ (batch, height, width * channels), then the same along the width
    tall = rows @ scaled.reshape(batch, height, width * channels)
    wide: NDArray[np.float32] = columns @ tall.reshape(batch, target_size, width, channels)
    return wide
