"""The canonical layout of weights, which belongs to no framework, with its checks and digest.

The canonical layout is a dict from '<layer>.weight' and '<layer>.bias' to arrays, in the order of
the Spec's layers:

- convolution: (out_channels, in_channels / groups, height, width);
- dense: (out_features, in_features), where the features of a flattened map run channels first:
  feature = (channel * height + row) * width + column;
- bias: (out_channels,) or (out_features,).
"""

import functools
import hashlib
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from alexnet_impl.errors import WeightsError
from alexnet_impl.network.spec import (
    Dense,
    Flatten,
    Shape,
    Spec,
    backbone_of,
    trace,
    weight_shapes,
)

Array: TypeAlias = NDArray[Any]
Weights: TypeAlias = dict[str, Array]

SCHEMA_VERSION = "1"


def inner_kernels(dimensions: Mapping[str, int]) -> frozenset[str]:
    """Names of the kernels of all convolutions after the first, which muon updates differently.

    Args:
        dimensions: Number of axes of each weight, by name in the Spec's order.
    """
    kernels = [name for name, count in dimensions.items() if count == 4]
    return frozenset(kernels[1:])


def check_weights(weights: Weights, spec: Spec, *, where: str = "weights") -> None:
    """Checks that weights in the canonical layout fit a network.

    A backbone's own weights (BACKBONE.NAME) are checked by its framework.

    Raises:
        WeightsError: If a weight is missing, superfluous or of another shape; it names the first.
    """
    expected = weight_shapes(spec)
    for name, shape in expected.items():
        if name not in weights:
            raise WeightsError(f"{where}: {name} of shape {shape} is missing for {spec.name}.")
        found: Shape = tuple(weights[name].shape)
        if found != shape:
            raise WeightsError(
                f"{where}: {name} has shape {found}, but {spec.name} needs {shape}; these are "
                "weights of another variant, width, input size or number of classes."
            )
    for name in weights:
        if name not in expected and not is_of_backbone(name, spec):
            raise WeightsError(f"{where}: {name} is not a weight of {spec.name}.")


@functools.lru_cache(maxsize=16)
def flattened_kernels(spec: Spec) -> dict[str, Shape]:
    """Returns the (channels, height, width) that fc1's kernel reads flattened, by canonical name.

    It is empty for a network without a dense layer or a flattening, which permutes no weight, and
    cached, since every converted array needs it.
    """
    steps = trace(spec).layers
    flattened = next((step for step in steps if isinstance(step.layer, Flatten)), None)
    dense = next((step for step in steps if isinstance(step.layer, Dense)), None)
    if flattened is None or dense is None:
        return {}
    return {f"{dense.layer.name}.weight": flattened.input_shape}


def is_of_backbone(name: str, spec: Spec) -> bool:
    """Whether a weight belongs to the network's backbone, whose library names it."""
    backbone = backbone_of(spec)
    return backbone is not None and name.startswith(f"{backbone.name}.")


def weights_sha256(weights: Weights) -> str:
    """Returns the sha256 of the names, types, shapes and bytes of weights, as hex."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        array = np.ascontiguousarray(weights[name])
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()
