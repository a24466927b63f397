"""keras.applications' networks as the reports use them: without their heads. Speaks Keras alone."""

from collections.abc import Callable
from typing import Any

import keras

from alexnet_impl.network.spec import Shape

MAKERS: dict[str, Callable[..., keras.Model]] = {
    "vgg16": keras.applications.VGG16,
    "resnet50": keras.applications.ResNet50,
    "mobilenetv2": keras.applications.MobileNetV2,
}


def build_backbone(architecture: str, name: str, input_shape: Shape, policy: str) -> keras.Model:
    """A backbone with Keras's own initial weights; (batch, height, width, 3) to a map.

    Args:
        architecture: A key of MAKERS.
        name: Of the model as a layer.
        input_shape: (channels, height, width) of an image.
        policy: Of its layers, which keras.applications takes from the process's own.
    """
    channels, height, width = input_shape
    before: Any = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        return MAKERS[architecture](
            include_top=False, weights=None, input_shape=(height, width, channels), name=name
        )
    finally:
        keras.config.set_dtype_policy(before)
