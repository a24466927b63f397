"""Backbones from keras.applications: its networks without their heads. It imports only Keras."""

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
    """Builds a backbone with Keras's own initial weights.

    It maps images (batch, height, width, 3) to feature maps (batch, height, width, channels).

    Args:
        architecture: A key of MAKERS.
        name: Name of the model as a layer.
        input_shape: (channels, height, width) of an image.
        policy: Dtype policy of its layers; keras.applications reads the process's own.
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
