"""Canonical weights into and out of Keras: transposes, and the permutation of fc1's rows.

A convolution kernel goes from (out, in, height, width) to (height, width, in, out), a dense one
from (out, in) to (in, out). The first dense layer reads the flattened map channels-last here and
channels-first in the canonical layout, so its rows are permuted as well. This module imports
only Keras.
"""

import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from alexnet_impl.errors import WeightsError
from alexnet_impl.frameworks.tensorflow.backbones import build_backbone
from alexnet_impl.frameworks.tensorflow.model import build_model, flattened_maps
from alexnet_impl.frameworks.tensorflow.stored_files import open_arrays, read_stored, short_reason
from alexnet_impl.network import spec as s
from alexnet_impl.network.spec import Spec
from alexnet_impl.weights.canonical import Weights, check_weights, flattened_kernels, is_of_backbone
from alexnet_impl.weights.file_sizes import check_uncompressed
from alexnet_impl.weights.matching import to_network
from alexnet_impl.weights.wrong_files import refuse_wrong_file

_MOST_BYTES_A_WEIGHT = 4 * 8
"""In float64, with the two moments of Adam and an average."""


def get_weights(model: keras.Model, spec: Spec) -> Weights:
    """Copies the model's weights to the canonical layout, bit for bit."""
    names = [*backbone_names(model, spec), *s.weight_shapes(spec)]
    return {name: to_canonical(name, variable_of(model, name).numpy(), spec) for name in names}


def backbone_names(model: keras.Model, spec: Spec) -> list[str]:
    """Returns the names of the backbone's weights, statistics included, if there is a backbone."""
    backbone = s.backbone_of(spec)
    if backbone is None:
        return []
    variables = model.get_layer(backbone.name).variables
    return [f"{backbone.name}.{variable.path}" for variable in variables]


def set_weights(model: keras.Model, spec: Spec, weights: Weights) -> None:
    """Copies weights of the canonical layout into the model.

    A backbone keeps its own weights if none of them are given.

    Raises:
        WeightsError: If they belong to another network.
    """
    check_weights(weights, spec)
    given = {name for name in weights if is_of_backbone(name, spec)}
    if given and (differing := given.symmetric_difference(backbone_names(model, spec))):
        raise WeightsError(
            f"{spec.name}: {min(differing)} is missing or superfluous in its backbone's weights; "
            "weights of another framework do not fit."
        )
    for name, array in weights.items():
        variable = variable_of(model, name)
        moved = from_canonical(name, array, spec)
        if variable.shape != moved.shape:
            raise WeightsError(f"{name}: has shape {moved.shape}, not {tuple(variable.shape)}.")
        variable.assign(moved)


def read_backbone(path: Path, spec: Spec) -> Weights:
    """Reads a backbone's weights, in Keras's shapes, from a file of keras.applications.

    Args:
        path: An .h5, .weights.h5 or .keras file; only weights are read, no code in it runs.
        spec: A network with that backbone.

    Raises:
        WeightsError: If it is missing, damaged, or belongs to another network.
    """
    backbone = s.backbone_of(spec)
    if backbone is None:
        raise WeightsError(f"{path}: {spec.name} has no backbone, so that no file fits.")
    _check_sizes(path, spec)
    model = build_backbone(backbone.architecture, backbone.name, spec.input_shape, "float32")
    _load(model, path, f"keras.applications' {backbone.architecture} without its head")
    return {f"{backbone.name}.{v.path}": v.numpy() for v in model.variables}


def _check_sizes(path: Path, spec: Spec) -> None:
    """Checks the sizes that a file declares, before anything is unpacked or built.

    Raises:
        WeightsError: If the file is missing, or declares more than the network's weights and an
            optimizer's state need.
    """
    refuse_wrong_file(path)
    check_uncompressed(path)
    most = _MOST_BYTES_A_WEIGHT * s.trace(spec).num_params + (1 << 20)
    sizes: list[int] = []
    try:
        with open_arrays(path) as (file, _):
            file.visititems(lambda _, item: sizes.append(getattr(item, "nbytes", 0)))
    except Exception as error:  # damaged bytes raise many kinds
        raise WeightsError(
            f"{path}: is damaged, or not a file of Keras ({short_reason(error)})."
        ) from error
    if sum(sizes) > most:
        raise WeightsError(
            f"{path}: declares {sum(sizes):,} bytes of arrays, and {spec.name} with an optimizer "
            f"needs at most {most:,}; it belongs to another network, or is damaged."
        )


def _load(model: keras.Model, path: Path, what: str) -> None:
    try:
        with warnings.catch_warnings():
            # A layer missing in the file would keep its initial weights, with only a warning.
            warnings.filterwarnings("error", message="Skipping")
            model.load_weights(path)
    except Exception as error:  # Keras raises exceptions of any kind
        raise WeightsError(
            f"{path}: is damaged, or not a file of {what} ({short_reason(error)})."
        ) from error


def from_canonical(name: str, array: NDArray[Any], spec: Spec) -> NDArray[Any]:
    """Converts a weight, or an array of its shape such as its momentum, to Keras's layout.

    Args:
        name: The weight's canonical name.
        array: Array in the canonical layout.
        spec: The network, with the map that fc1 reads flattened.

    Returns:
        Shape (height, width, in, out), (in, out) or (out,).
    """
    if is_of_backbone(name, spec):
        return array
    flattened_map = flattened_kernels(spec).get(name)
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    if array.ndim == 2 and flattened_map is not None:
        out_features = array.shape[0]
        maps = array.reshape(out_features, *flattened_map)  # (out, channels, height, width)
        return maps.transpose(0, 2, 3, 1).reshape(out_features, -1).T
    return array.T


def to_canonical(name: str, array: NDArray[Any], spec: Spec) -> NDArray[Any]:
    """Reverses from_canonical(): copies an array to the canonical layout, C-contiguous."""
    flattened_map = flattened_kernels(spec).get(name)
    if is_of_backbone(name, spec):
        moved = array
    elif array.ndim == 4:
        moved = array.transpose(3, 2, 0, 1)
    elif array.ndim == 2 and flattened_map is not None:
        channels, height, width = flattened_map
        maps = array.T.reshape(-1, height, width, channels)
        moved = maps.transpose(0, 3, 1, 2).reshape(array.shape[1], -1)
    else:
        moved = array.T
    return np.ascontiguousarray(moved).copy()


def activation_to_canonical(name: str, array: NDArray[Any], spec: Spec) -> NDArray[Any]:
    """Copies a layer's output, channels first and C-contiguous.

    Args:
        name: The layer's name.
        array: (batch, height, width, channels) or (batch, features).
        spec: The network, with its flattened maps.
    """
    if array.ndim == 4:
        array = array.transpose(0, 3, 1, 2)
    elif (map_shape := flattened_maps(spec).get(name)) is not None:
        channels, height, width = map_shape
        maps = array.reshape(-1, height, width, channels)
        array = maps.transpose(0, 3, 1, 2).reshape(len(array), -1)
    return np.ascontiguousarray(array).copy()


def variable_of(model: keras.Model, name: str) -> keras.Variable:
    """Returns the variable of a canonical name, found by its layer."""
    layer_name, short = name.split(".", 1)
    layer = model.get_layer(layer_name)
    if isinstance(layer, keras.Model):  # a backbone
        return next(variable for variable in layer.variables if variable.path == short)
    variable: keras.Variable = getattr(layer, "kernel" if short == "weight" else short)
    return variable


def read_checkpoint(path: Path, spec: Spec) -> Weights:
    """Reads a .keras, .h5 or .weights.h5 file into the canonical layout.

    A .keras file is not deserialised: only its weights are read, so that no code in it runs. Those
    of a backbone are read by Keras, into a model of this Spec.

    Raises:
        WeightsError: If it is missing, damaged, or of another network.
    """
    if s.backbone_of(spec) is None:
        return to_network(read_stored(path), spec, str(path))[0]
    _check_sizes(path, spec)
    model = build_model(spec)
    _load(model, path, spec.name)
    return get_weights(model, spec)


def write_checkpoint(path: Path, spec: Spec, weights: Weights) -> None:
    """Writes weights of the canonical layout as .keras (whole model) or .weights.h5 (weights)."""
    model = build_model(spec)
    set_weights(model, spec, weights)
    if path.name.endswith(".weights.h5"):
        model.save_weights(path)
    else:
        model.save(path)
