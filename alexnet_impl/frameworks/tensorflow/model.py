"""AlexNet as a keras.Model built from a Spec; its layers have the Spec's names.

A layer that only Keras needs is named after the layer it serves and a dot: `conv1.padding`.

Tensors are (batch, height, width, channels) and (batch, features). This module imports only Keras.
"""

from collections.abc import Callable, Iterator
from typing import Any, assert_never

import keras
import numpy as np

from alexnet_impl.frameworks.tensorflow.backbones import build_backbone
from alexnet_impl.frameworks.tensorflow.layers import (
    GroupedConv2D,
    LocalResponseNorm,
    SharedDropout,
)
from alexnet_impl.network import spec as s
from alexnet_impl.network.spec import Spec
from alexnet_impl.network.spec_changes import SEPARATOR

POLICIES = {"bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}
"""Keras's dtype policy by precision, if its name differs."""
NAME_SEPARATOR = "."
"""Replaces the plus of a changed variant in a model's name, which TensorFlow does not allow."""


def build_model(
    spec: Spec, precision: str = "float32", seed: int = 0, *, shared_masks: bool = False
) -> keras.Sequential:
    """Builds a keras.Sequential with Keras's own initial weights.

    Args:
        spec: The network.
        precision: 'float32', 'float64', or 'bfloat16' and 'float16' as Keras's mixed policies.
        seed: Seed of the initial weights and of dropout.
        shared_masks: Whether dropout draws the masks of dropout_masks.

    Returns:
        A model that reads (batch, height, width, 3) and yields logits (batch, num_classes).
    """
    policy = POLICIES.get(precision, precision)
    keras.utils.set_random_seed(seed)
    channels, *sizes = spec.input_shape
    dtype = "float64" if precision == "float64" else "float32"
    layers: list[keras.layers.Layer] = [keras.Input((*sizes, channels), name="images", dtype=dtype)]
    for place, step in enumerate(s.trace(spec).layers, start=spec.skipped):
        if isinstance(step.layer, s.Flatten) and not flattened_maps(spec):
            # No dense kernel absorbs the map's order, and logits must be channels first.
            name = _own_name(step.layer, "permutation")
            layers.append(keras.layers.Permute((3, 1, 2), name=name, dtype=policy))
        if shared_masks and isinstance(step.layer, s.Dropout):
            layers.append(_shared_dropout(step.layer, policy, spec))
        else:
            layers.extend(_layers(step, policy, _layer_seed(seed, place)))
    return keras.Sequential(layers, name=spec.name.replace(SEPARATOR, NAME_SEPARATOR))


def _shared_dropout(layer: s.Dropout, policy: str, spec: Spec) -> SharedDropout:
    map_shape = flattened_maps(spec).get(layer.name)
    return SharedDropout(layer.rate, map_shape=map_shape, name=layer.name, dtype=policy)


def flattened_maps(spec: Spec) -> dict[str, s.Shape]:
    """Returns the (channels, height, width) of the map of every flattened output, by layer name.

    These are the layers from Flatten up to the first dense layer; there Keras orders features
    channels last. There are none in a network without a flattening, or without a dense layer, whose
    model flattens channels first.
    """
    steps = iter(s.trace(spec).layers)
    flatten = next((step for step in steps if isinstance(step.layer, s.Flatten)), None)
    if flatten is None:
        return {}
    found = {flatten.layer.name: flatten.input_shape}
    for step in steps:
        if isinstance(step.layer, s.Dense):
            return found
        found[step.layer.name] = flatten.input_shape
    return {}


def _own_name(layer: s.Layer, what: str) -> str:
    """Names a layer that only Keras needs; names of a Spec's layers have no dot."""
    return f"{layer.name}.{what}"


def _layer_seed(seed: int, place: int) -> int:
    """Derives a seed for each layer: two dropouts with one seed would draw the same masks."""
    return int(np.random.SeedSequence([seed, place]).generate_state(1)[0])


_WITHOUT_NUMBERS: dict[type, Callable[..., keras.layers.Layer]] = {
    s.Relu: keras.layers.ReLU,
    s.Flatten: keras.layers.Flatten,
    s.GlobalAveragePool: keras.layers.GlobalAveragePooling2D,
}


def _layers(step: s.LayerTrace, policy: str, seed: int) -> Iterator[keras.layers.Layer]:
    name = step.layer.name
    match step.layer:
        case s.Conv() as layer:
            yield from _convolution(layer, step, policy)
        case s.Relu() | s.Flatten() | s.GlobalAveragePool() as layer:
            yield _WITHOUT_NUMBERS[type(layer)](name=name, dtype=policy)
        case s.MaxPool(kernel_size=kernel_size, stride=stride):
            yield keras.layers.MaxPooling2D(kernel_size, stride, name=name, dtype=policy)
        case s.LocalResponseNorm(size=size, alpha=alpha, beta=beta, k=k):
            wide = policy if policy.startswith("float") else "float32"
            yield LocalResponseNorm(size=size, alpha=alpha, beta=beta, k=k, name=name, dtype=wide)
        case s.Dropout(rate=rate):
            yield keras.layers.Dropout(rate, seed=seed, name=name, dtype=policy)
        case s.Dense(out_features=out_features):
            yield keras.layers.Dense(out_features, name=name, dtype=policy)
        case s.Backbone(architecture=architecture):
            yield build_backbone(architecture, name, step.input_shape, policy)
        case _:
            assert_never(step.layer)


def _convolution(layer: s.Conv, step: s.LayerTrace, policy: str) -> Iterator[keras.layers.Layer]:
    """Yields the convolution, after a zero-padding layer if Keras has no such padding."""
    padding = "valid"
    _, *sizes = step.input_shape
    same = [s.same_padding(size, layer.kernel_size, layer.stride) for size in sizes]
    if all(layer.padding == sides for sides in same):
        padding = "same"
    elif layer.padding != (0, 0):
        yield keras.layers.ZeroPadding2D(
            (layer.padding, layer.padding), name=_own_name(layer, "padding"), dtype=policy
        )
    numbers: dict[str, Any] = {"filters": layer.out_channels, "kernel_size": layer.kernel_size}
    numbers |= {"strides": layer.stride, "padding": padding, "name": layer.name, "dtype": policy}
    if layer.groups > 1:
        yield GroupedConv2D(groups=layer.groups, **numbers)
    else:
        yield keras.layers.Conv2D(**numbers)
