"""Runs a user's PyTorch preprocessing, such as a torchvision transform, on image files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from alexnet_impl.frameworks.user_preprocessing import (
    PATH,
    Form,
    PreprocessedFile,
    Results,
    preprocess_files,
)
from alexnet_impl.weights.canonical import Array


def run_preprocessing(place: str, folder: Path, files: Sequence[str]) -> list[PreprocessedFile]:
    """Runs a function of a path, of Pillow's RGB image, or of a uint8 tensor, on image files.

    The function returns (channels, height, width). See preprocess_files().
    """
    forms = (
        PATH,
        Form(name="Pillow's image", make=_pillow_image),
        Form(name="the uint8 tensor", make=_tensor),
    )
    results = Results(to_array=_array, shape="(channels, height, width)", channels=0)
    with torch.no_grad():
        return preprocess_files(place, folder, files, forms, results)


def decode_jpeg(data: bytes) -> dict[str, NDArray[np.uint8]]:  # noqa: ARG001
    """No pixels (height, width, 3): torchvision.io decodes a JPEG file as Pillow does."""
    return {}


def _pillow_image(path: str) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


def _tensor(path: str) -> torch.Tensor:
    return torch.from_numpy(np.array(_pillow_image(path))).permute(2, 0, 1)


def _array(result: Any) -> Array | None:
    if isinstance(result, torch.Tensor):
        return result.detach().cpu().float().numpy()
    return result if isinstance(result, np.ndarray) else None
