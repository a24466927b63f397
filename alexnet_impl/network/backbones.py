"""Backbones (VGG16, ResNet50, MobileNetV2): pretrained networks without their classifier heads.

This table holds the facts that a Spec needs; the layers themselves are torchvision's and
keras.applications' own. The two libraries' networks of one name differ: see docs/transfer.md.
"""

from collections.abc import Callable
from dataclasses import dataclass

LIBRARIES = ("torchvision", "keras")
"""Libraries with pretrained networks; names of published weights are LIBRARY:NAME."""
SMALLEST_INPUT = 32
"""Smallest height and width in pixels that keras.applications accepts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneFacts:
    """Facts that follow from a backbone's architecture.

    Attributes:
        source: The paper.
        out_channels: Channels of its output map.
        num_params: Trainable weights, as torchvision counts them, without the statistics of
            batch normalisation.
        halve: Maps a height or width to that after one of the five halvings.
    """

    source: str
    out_channels: int
    num_params: int
    halve: Callable[[int], int]

    def out_size(self, size: int) -> int:
        """Height or width of the output map, given that of the image in pixels."""
        for _ in range(5):
            size = self.halve(size)
        return size


def _floor(size: int) -> int:
    return size // 2


def _ceil(size: int) -> int:
    return -(-size // 2)


BACKBONES: dict[str, BackboneFacts] = {
    "vgg16": BackboneFacts(
        source="Simonyan and Zisserman 2014, arXiv:1409.1556, configuration D",
        out_channels=512,
        num_params=14_714_688,
        halve=_floor,
    ),
    "resnet50": BackboneFacts(
        source="He et al. 2015, arXiv:1512.03385",
        out_channels=2048,
        num_params=23_508_032,
        halve=_ceil,
    ),
    "mobilenetv2": BackboneFacts(
        source="Sandler et al. 2018, arXiv:1801.04381",
        out_channels=1280,
        num_params=2_223_872,
        halve=_ceil,
    ),
}
