"""Published experiments that start from weights from elsewhere.

What is claimed of them can be checked, but `alexnet reproduce` does not train them: one that it
does train moves to `catalogue`.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignExperiment:
    """What a report says of a network that it did not train from scratch.

    Attributes:
        network: What was loaded, and what was put on top.
        images: Size and scaling.
        explains: What its figure comes from, where that is known.
    """

    network: str
    images: str
    explains: str = ""


FOREIGN: dict[str, ForeignExperiment] = {
    "R1-torch-pretrained": ForeignExperiment(
        network="torchvision's AlexNet with ImageNet weights; no new last layer is shown",
        images="not said",
    ),
    "R1-tf-resnet50": ForeignExperiment(
        network="ResNet50 with ImageNet weights, the last 15 layers trainable, 1024, 512",
        images="not said",
    ),
    "R2-tf-converted": ForeignExperiment(
        network="torchvision's weights moved into Keras by transposes alone",
        images="224 pixels, ImageNet's mean and deviation",
        explains="fc1 reads the flattened map channels first in PyTorch and channels last in "
        "Keras: transposes alone leave its 9,216 inputs in the wrong order (docs/parity.md)",
    ),
    "R2-torch-pretrained": ForeignExperiment(
        network="torchvision's AlexNet with ImageNet weights and a new last layer",
        images="224 pixels",
    ),
    "R3-torch-pretrained": ForeignExperiment(
        network="torchvision's AlexNet with ImageNet weights and a new last layer",
        images="resized to 256, centre 224, ImageNet's mean and deviation",
    ),
    "R3-tf-vgg16": ForeignExperiment(
        network="VGG16 with ImageNet weights, frozen, and 512, 512 without Dropout",
        images="224 pixels through VGG16's preprocess_input",
    ),
    "R4-torch-pretrained": ForeignExperiment(
        network="torchvision's AlexNet with ImageNet weights and a new last layer",
        images="224 pixels",
    ),
    "R4-tf-vgg16": ForeignExperiment(
        network="VGG16 with ImageNet weights; never trained to its end",
        images="224 pixels, the whole dataset at once",
    ),
    "R4-tf-mobilenetv2": ForeignExperiment(
        network="MobileNetV2 with ImageNet weights, frozen, and a small head",
        images="128 pixels",
    ),
}
