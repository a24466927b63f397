"""Canonical weights into and out of Keras: transposes, and the permutation of fc1's rows.

A convolution kernel goes from (out, in, height, width) to (height, width, in, out), a dense one
from (out, in) to (in, out). The first dense layer reads the flattened map channels-last here and
channels-first in the canonical layout, so its rows are permuted as well. This module imports
only Keras.
"""

import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
from numpy.typing import NDArray

from alexnet_impl.errors import WeightsError
from alexnet_impl.frameworks.tensorflow.backbones import build_backbone
from alexnet_impl.frameworks.tensorflow.model import NAME_SEPARATOR, build_model, flattened_maps
from alexnet_impl.network import spec as s
from alexnet_impl.network.spec import Spec
from alexnet_impl.network.spec_changes import SEPARATOR
from alexnet_impl.typed_json import parse_json
from alexnet_impl.weights.canonical import Weights, check_weights, flattened_kernels, is_of_backbone
from alexnet_impl.weights.file_sizes import check_uncompressed
from alexnet_impl.weights.matching import to_network
from alexnet_impl.weights.stored import StoredWeights, natural_key, widen_bfloat16
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
        with _opened(path) as (file, _):
            file.visititems(lambda _, item: sizes.append(getattr(item, "nbytes", 0)))
    except Exception as error:  # damaged bytes raise many kinds
        raise WeightsError(
            f"{path}: is damaged, or not a file of Keras ({_line(error)})."
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
            f"{path}: is damaged, or not a file of {what} ({_line(error)})."
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


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


def read_stored(path: Path, key: str | None = None) -> StoredWeights:
    """Reads the weights of any network in a .keras, .h5 or .weights.h5 file of Keras 3 or 2.

    Nothing is deserialised: arrays are read, and the names and the input size in the config. They
    are named LAYER.weight and LAYER.bias.

    Raises:
        WeightsError: If it is missing, damaged, or of a network that runs channels first; or a key
            is given.
    """
    if key is not None:
        raise WeightsError(f"{path}: is a file of Keras, which has no keys; leave --key out.")
    check_uncompressed(path)
    refuse_wrong_file(path)
    try:
        with _opened(path) as (file, read_config):
            datasets = _datasets(file, path)
            config = read_config()
            layers = _layers_of(datasets, _layer_order(file, config))
            types = frozenset(_type_of(item) for items in layers.values() for item in items)
            arrays = dict(_named_arrays(layers))
    except WeightsError:
        raise
    except Exception as error:  # damaged bytes raise many kinds
        raise WeightsError(
            f"{path}: is not a Keras model, or it is damaged ({_line(error)})."
        ) from error
    described = _described(config)
    if "channels_first" in described.data_formats:
        raise WeightsError(
            f"{path}: its network runs channels first; build it with data_format='channels_last' "
            "and save it again."
        )
    return StoredWeights(
        arrays=arrays,
        types=types,
        channels_last=True,
        model_name=described.name.replace(NAME_SEPARATOR, SEPARATOR),
        input_size=described.input_size,
    )


@contextmanager
def _opened(path: Path) -> Iterator[tuple[h5py.File, Callable[[], Any]]]:
    """Opens the arrays of a file, and what reads its config, which only .weights.h5 lacks."""
    with ExitStack() as opened:
        if path.suffix == ".keras":
            archive = opened.enter_context(zipfile.ZipFile(path))
            weights = opened.enter_context(archive.open("model.weights.h5"))
            yield (
                opened.enter_context(h5py.File(weights, "r")),
                lambda: parse_json(archive.read("config.json")),
            )
        else:
            file = opened.enter_context(h5py.File(path, "r"))
            text = file.attrs.get("model_config")
            yield file, lambda: None if text is None else parse_json(text)


def _datasets(file: h5py.File, path: Path) -> list[h5py.Dataset]:
    """Finds the arrays of the layers in a file, without an optimizer's and a metric's.

    Raises:
        WeightsError: If they declare more bytes than the file has.
    """
    found: list[h5py.Dataset] = []

    def visit(name: str, item: Any) -> None:
        part = name.partition("/")[0]
        if isinstance(item, h5py.Dataset) and not part.startswith(("optimizer", "metrics")):
            found.append(item)

    file.visititems(visit)
    declared, size = sum(item.nbytes for item in found), path.stat().st_size
    if declared > size or any(item.external or item.is_virtual for item in found):
        raise WeightsError(
            f"{path}: declares {declared:,} bytes of arrays in a file of {size:,}; it is damaged, "
            "or another program than Keras has written it."
        )
    return found


def _layers_of(
    datasets: Sequence[h5py.Dataset], order: Sequence[str]
) -> dict[str, list[h5py.Dataset]]:
    """The arrays of each layer by its name, in the model's order where all names are known."""
    groups: dict[str, list[h5py.Dataset]] = {}
    for item in sorted(datasets, key=lambda item: natural_key(item.name)):
        if item.dtype.kind in "fV" or _type_of(item) == "bfloat16":  # no seeds of a Dropout
            groups.setdefault(item.parent.name, []).append(item)
    names = [_layer_name(items[0].parent) for items in groups.values()]
    if len(set(names)) < len(names):  # models within a model
        names = [place.strip("/").replace("/", ".") for place in groups]
    layers = dict(zip(names, groups.values(), strict=True))
    if set(names) <= set(order):
        layers = {name: layers[name] for name in order if name in layers}
    return layers


def _layer_name(group: h5py.Group) -> str:
    """The layer's name: Keras 3 stores it beside its arrays, others in the path."""
    stored = group.attrs.get("name")
    if isinstance(stored, str) and stored:
        return stored
    return str(group.name).removesuffix("/vars").rpartition("/")[2]


def _layer_order(file: h5py.File, config: Any) -> list[str]:
    """Names of the layers in the model's order; empty if the file does not have it."""
    group = file.get("model_weights", file)
    if "layer_names" in group.attrs:
        names = group.attrs["layer_names"]
        return [n.decode() if isinstance(n, bytes) else str(n) for n in names]
    return list(_described(config).layer_names)


def _named_arrays(
    layers: Mapping[str, list[h5py.Dataset]],
) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yields the arrays with canonical axes; the kernel and bias of a layer as weight and bias."""
    for name, items in layers.items():
        kernels = [item for item in items if item.ndim > 1]
        if len(items) == 2 and len(kernels) == 1:
            (bias,) = (item for item in items if item.ndim < 2)
            yield f"{name}.weight", _array_of(kernels[0]).transpose(_AXES[kernels[0].ndim])
            yield f"{name}.bias", _array_of(bias)
            continue
        for item in items:
            array = _array_of(item)
            short = str(item.name).rpartition("/")[2]
            yield f"{name}.{short}", array.transpose(_AXES.get(item.ndim))


_AXES: dict[int, tuple[int, ...]] = {2: (1, 0), 3: (2, 1, 0), 4: (3, 2, 0, 1)}
"""Axes of a kernel of Keras in the canonical order, by their number."""


def _type_of(item: h5py.Dataset) -> str:
    """The number type of an array; Keras stores bfloat16 as integers with a note."""
    return str(item.attrs.get("dtype", item.dtype))


def _array_of(item: h5py.Dataset) -> NDArray[Any]:
    array: NDArray[Any] = item[()]
    return widen_bfloat16(array) if _type_of(item) == "bfloat16" else array


@dataclass(frozen=True, slots=True, kw_only=True)
class _Described:
    """Facts from the config of a model, any of which may be missing."""

    name: str = ""
    layer_names: tuple[str, ...] = ()
    input_size: int | None = None
    data_formats: frozenset[str] = frozenset()


def _described(config: Any) -> _Described:
    """Reads the config of Keras 3 or 2, in which nothing is where it ought to be for sure."""
    model = _dict(_dict(config).get("config"))
    layers = [_dict(_dict(one).get("config")) for one in _list(model.get("layers"))]
    shapes = [_list(one.get("batch_shape") or one.get("batch_input_shape")) for one in layers]
    sizes = [shape[1] for shape in shapes if len(shape) == 4 and shape[1] == shape[2]]
    return _Described(
        name=str(model.get("name", "")),
        layer_names=tuple(str(one.get("name")) for one in layers),
        input_size=next((size for size in sizes if isinstance(size, int)), None),
        data_formats=frozenset(str(one.get("data_format")) for one in layers),
    )


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def write_checkpoint(path: Path, spec: Spec, weights: Weights) -> None:
    """Writes weights of the canonical layout as .keras (whole model) or .weights.h5 (weights)."""
    model = build_model(spec)
    set_weights(model, spec, weights)
    if path.name.endswith(".weights.h5"):
        model.save_weights(path)
    else:
        model.save(path)
