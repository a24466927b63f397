"""Arrays of a Keras file under its own names, whatever the network; no code in it runs.

Keras 3 names the arrays of a layer LAYER/vars/0 and /1, in a .keras file beside the config; so did
the .keras and .weights.h5 files of Keras 2. Its .h5 files have LAYER/LAYER/kernel:0.
"""

import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
from numpy.typing import NDArray

from alexnet_impl.errors import WeightsError
from alexnet_impl.frameworks.tensorflow.model import NAME_SEPARATOR
from alexnet_impl.network.spec_changes import SEPARATOR
from alexnet_impl.typed_json import parse_json
from alexnet_impl.weights.file_sizes import check_uncompressed
from alexnet_impl.weights.stored import StoredWeights, natural_key, widen_bfloat16
from alexnet_impl.weights.wrong_files import refuse_wrong_file


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
        with open_arrays(path) as (file, read_config):
            datasets = _datasets(file, path)
            config = read_config()
            order = _layer_order(file, config)
            layers = _layers_of(datasets, order)
            ordered = set(layers) <= set(order) or _are_numbered(layers)
            types = frozenset(_type_of(item) for items in layers.values() for item in items)
            arrays = dict(_named_arrays(layers))
    except WeightsError:
        raise
    except Exception as error:  # damaged bytes raise many kinds
        raise WeightsError(
            f"{path}: is not a Keras model, or it is damaged ({short_reason(error)})."
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
        ordered=ordered,
    )


@contextmanager
def open_arrays(path: Path) -> Iterator[tuple[h5py.File, Callable[[], Any]]]:
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


_NUMBERED = re.compile(r"/(layers|_layer_checkpoint_dependencies)/[^/]+/vars")


def _are_numbered(layers: Mapping[str, list[h5py.Dataset]]) -> bool:
    """Whether the layers lie in one list, whose groups Keras numbers by class: conv2d, conv2d_1."""
    groups = (str(items[0].parent.name) for items in layers.values())
    return all(_NUMBERED.fullmatch(group) for group in groups)


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


def short_reason(error: Exception) -> str:
    """The message of a library's error as one line of at most 300 letters."""
    return " ".join(str(error).split())[:300] or type(error).__name__
