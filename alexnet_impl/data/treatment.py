"""What is done to uint8 images before the first layer: scaling, then resizing.

The frameworks do it on their device, batch by batch; `treat` is the slow plain reference.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alexnet_impl.data.resize import interpolation_matrix


@dataclass(frozen=True, kw_only=True)
class InputScaling:
    """Pixels become `(pixels / 255 - mean) / std`, channel by channel in RGB order.

    It is a division by 255, not a product with 1/255: those differ in the last bit.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


INPUT_SCALINGS: dict[str, InputScaling] = {
    # from 0 to 1
    "unit": InputScaling(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
    # from -1 to 1
    "symmetric": InputScaling(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
    # what torchvision's ImageNet weights were trained with
    "imagenet": InputScaling(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    # mean and standard deviation over the training images' pixels
    "cifar10": InputScaling(mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616)),
}


def treat(
    images: NDArray[np.uint8],
    scaling: InputScaling,
    target_size: int,
    *,
    resize: str = "antialiased",
) -> NDArray[np.float32]:
    """Scale and resize images as every framework must.

    Args:
        images: Shape (batch, height, width, 3).
        scaling: What the pixels become.
        target_size: Height and width of the result, in pixels.
        resize: The method of interpolation_matrix().

    Returns:
        Shape (batch, target_size, target_size, 3).
    """
    batch, height, width, channels = images.shape
    mean = np.array(scaling.mean, np.float32)
    std = np.array(scaling.std, np.float32)
    scaled = (images.astype(np.float32) / np.float32(255) - mean) / std
    rows = interpolation_matrix(height, target_size, method=resize)
    columns = interpolation_matrix(width, target_size, method=resize)
    # (target, height) @ (batch, height, width * channels), then the same along the width
    tall = rows @ scaled.reshape(batch, height, width * channels)
    wide: NDArray[np.float32] = columns @ tall.reshape(batch, target_size, width, channels)
    return wide
