r"""torchvision's networks and those of keras.applications, as pairs for `alexnet parity`.

    alexnet parity --torch docs/examples/library_pairs.py:torch_resnet50 \
      --tensorflow docs/examples/library_pairs.py:keras_resnet50

Both have random weights; the Keras model gets those of PyTorch. docs/ports.md has the results.
"""

from collections.abc import Callable
from typing import Any

NETWORKS = {
    "vgg16": ("vgg16", "VGG16", 224),
    "resnet50": ("resnet50", "ResNet50", 64),
    "mobilenet_v2": ("mobilenet_v2", "MobileNetV2", 64),
    "mobilenet_v3": ("mobilenet_v3_small", "MobileNetV3Small", 64),
    "densenet121": ("densenet121", "DenseNet121", 64),
    "efficientnet_b0": ("efficientnet_b0", "EfficientNetB0", 64),
    "convnext_tiny": ("convnext_tiny", "ConvNeXtTiny", 64),
    "inception_v3": ("inception_v3", "InceptionV3", 139),
}
"""torchvision's name, Keras's, and height and width of the images in pixels."""


def __getattr__(name: str) -> Callable[[], Any]:
    """The function torch_<network> or keras_<network>, which builds the model."""
    framework, _, network = name.partition("_")
    if framework not in ("torch", "keras") or network not in NETWORKS:
        raise AttributeError(name)
    ours, theirs, size = NETWORKS[network]
    return (lambda: _torch(ours)) if framework == "torch" else (lambda: _keras(theirs, size))


def _torch(name: str) -> Any:
    import torch  # noqa: PLC0415 - each worker has one framework
    import torchvision  # noqa: PLC0415

    torch.manual_seed(0)
    options = {"init_weights": False} if name == "inception_v3" else {}
    return getattr(torchvision.models, name)(**options).eval()


def _keras(name: str, size: int) -> Any:
    import keras  # noqa: PLC0415

    build = getattr(keras.applications, name)
    return build(weights=None, input_shape=(size, size, 3), classifier_activation=None)
