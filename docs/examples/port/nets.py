"""The original network: an AlexNet for 32x32 images with local response normalisation.

port.py holds its port to Keras. From this folder:

    alexnet parity --torch nets:net --tensorflow port:first_draft
"""

import torch
from torch import nn


class Net(nn.Module):
    """Maps images (batch, 3, 32, 32) to logits (batch, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 32, 5, stride=2, padding=2),  # 16x16
            nn.ReLU(inplace=True),
            nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0),
            nn.MaxPool2d(3, 2),  # 7x7
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0),
            nn.MaxPool2d(3, 2),  # 3x3
        )
        self.classifier = nn.Sequential(
            nn.Dropout(0.5),
            nn.Linear(64 * 3 * 3, 128),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(128, 10),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Computes logits of shape (batch, 10)."""
        return self.classifier(self.features(images).flatten(1))


def net() -> nn.Module:
    """Builds the model; --torch names this function, which takes no arguments."""
    torch.manual_seed(0)
    return Net()
