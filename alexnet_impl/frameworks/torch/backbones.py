"""Backbones from torchvision: its networks without their classifier heads."""

from collections import OrderedDict

from torch import nn

HEADS = {
    "vgg16": ("avgpool", "classifier"),
    "resnet50": ("avgpool", "fc"),
    "mobilenetv2": ("classifier",),
}
"""Children of torchvision's module that are no part of the backbone."""
NAMES = {"mobilenetv2": "mobilenet_v2"}
"""Torchvision's name of an architecture, where it differs."""


def build_backbone(architecture: str) -> nn.Module:
    """Builds a backbone with torchvision's own initial weights.

    It maps images (batch, 3, height, width) to feature maps (batch, channels, height, width).
    """
    from torchvision import models  # noqa: PLC0415 - takes a second, and for backbones alone

    whole = getattr(models, NAMES.get(architecture, architecture))(weights=None)
    parts = OrderedDict(
        (name, child) for name, child in whole.named_children() if name not in HEADS[architecture]
    )
    return nn.Sequential(parts)


def is_of_head(architecture: str, name: str) -> bool:
    """Whether a name of torchvision's state_dict belongs to the head."""
    return name.partition(".")[0] in HEADS[architecture]


def leaves(module: nn.Module) -> list[nn.Module]:
    """The layers of a backbone, in torchvision's order."""
    return [part for part in module.modules() if not list(part.children())]
