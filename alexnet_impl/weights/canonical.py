"""Weights that belong to no framework: their layout, how they are drawn, and their file.

The canonical layout is a dict from '<layer>.weight' and '<layer>.bias' to arrays, in the order of
the Spec's layers:

- convolution: (out_channels, in_channels / groups, height, width);
- dense: (out_features, in_features), where the features of a flattened map run channels first:
  feature = (channel * height + row) * width + column;
- bias: (out_channels,) or (out_features,).
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from alexnet_impl.errors import WeightsError
from alexnet_impl.network.spec import (
    Conv,
    Dense,
    LayerTrace,
    Shape,
    Spec,
    backbone_of,
    trace,
    weight_shapes,
)
from alexnet_impl.recipe.recipe import Recipe

Array: TypeAlias = NDArray[Any]
Weights: TypeAlias = dict[str, Array]

SCHEMA_VERSION = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsInfo:
    """What a weight file says of itself: which network the weights belong to, and what they read.

    Attributes:
        variant: The network's.
        num_classes: Number of logits.
        input_size: Height and width in pixels.
        width: Multiplier of the variant's channels and features.
        input_scaling: A key of INPUT_SCALINGS that they were trained with; None: not known.
        resize_to: Recipe.resize_to that they were trained with.
        class_names: One name per logit, where they are known.
    """

    variant: str
    num_classes: int
    input_size: int
    width: float
    input_scaling: str | None = None
    resize_to: int | None = None
    class_names: tuple[str, ...] = ()


def initial_weights(spec: Spec, recipe: Recipe) -> Weights:
    """Draw initial weights in NumPy, so that both frameworks start from the same bytes.

    Each layer has a random stream of its own, keyed by the seed and its place: a layer put in
    elsewhere without weights changes nothing.

    Args:
        spec: The network.
        recipe: Its initializer, last_layer_std and seed.

    Returns:
        float32 arrays in the canonical layout.
    """
    steps = [step for step in trace(spec).layers if step.weight_shapes]
    weights: Weights = {}
    for index, step in enumerate(steps):
        rng = np.random.default_rng([recipe.seed, index])
        kernel, bias = _draw(step, recipe, rng)
        if recipe.initializer == "he-dirac" and index > 0 and isinstance(step.layer, Conv):
            _hand_channels_on(kernel, step.layer.groups)
        bias = _bias(step, recipe, rng, bias)
        if step is steps[-1] and recipe.last_layer_std is not None:
            kernel = rng.standard_normal(kernel.shape) * recipe.last_layer_std
        weights[f"{step.layer.name}.weight"] = kernel.astype(np.float32)
        weights[f"{step.layer.name}.bias"] = bias.astype(np.float32)
    return weights


def _draw(step: LayerTrace, recipe: Recipe, rng: np.random.Generator) -> tuple[Array, Array]:
    shape = step.weight_shapes["weight"]
    num_out = shape[0]
    fan_in, fan_out = _fans(step)
    zeros = np.zeros(num_out)
    match recipe.initializer:
        case "torch-default":
            bound = 1 / math.sqrt(fan_in)
            return rng.uniform(-bound, bound, shape), rng.uniform(-bound, bound, num_out)
        case "keras-default":
            bound = math.sqrt(6 / (fan_in + fan_out))
            return rng.uniform(-bound, bound, shape), zeros
        case "paper":
            one = step.layer.name in _BIAS_ONE
            return rng.standard_normal(shape) * 0.01, np.full(num_out, float(one))
        case "he" | "he-dirac":
            return rng.standard_normal(shape) * math.sqrt(2 / fan_in), zeros


def _hand_channels_on(kernel: Array, groups: int) -> None:
    """Let filter i of each group be the identity of its input channel i, while there are such.

    Args:
        kernel: Shape (out_channels, in_channels / groups, height, width); is changed.
        groups: Of the convolution.
    """
    out_channels, in_channels, height, width = kernel.shape
    count = min(out_channels // groups, in_channels)
    for first in range(0, out_channels, out_channels // groups):
        kernel[first : first + count] = 0
        places = np.arange(count)
        kernel[first + places, places, height // 2, width // 2] = 1


def _bias(step: LayerTrace, recipe: Recipe, rng: np.random.Generator, own: Array) -> Array:
    """The bias that the recipe asks for, where it is not the initializer's own."""
    match recipe.bias_initializer:
        case "own":
            return own
        case "zeros":
            return np.zeros_like(own)
        case "uniform":
            bound = 1 / math.sqrt(_fans(step)[0])
            return rng.uniform(-bound, bound, own.shape)


_BIAS_ONE = frozenset({"conv2", "conv4", "conv5", "fc1", "fc2"})
"""Krizhevsky et al. 2012, section 5: 'the second, fourth, and fifth convolutional layers, as well
as the fully-connected hidden layers'."""


def _fans(step: LayerTrace) -> tuple[int, int]:
    """(fan_in, fan_out) as both frameworks count them; fan_out as Keras: groups not divided."""
    shape = step.weight_shapes["weight"]
    match step.layer:
        case Conv(kernel_size=size, out_channels=out_channels):
            return math.prod(shape[1:]), out_channels * size * size
        case Dense(out_features=out_features):
            return shape[1], out_features
        case _:
            raise WeightsError(f"{step.layer.name}: has no kernel to draw.")


def inner_kernels(dimensions: Mapping[str, int]) -> frozenset[str]:
    """The kernels of convolutions behind the first, which optimizer=muon treats otherwise.

    Args:
        dimensions: Number of axes by weight, in the Spec's order.
    """
    kernels = [name for name, count in dimensions.items() if count == 4]
    return frozenset(kernels[1:])


def check_weights(weights: Weights, spec: Spec, *, where: str = "weights") -> None:
    """Refuse weights that are not those of this network.

    A backbone's own, behind its name and a dot, are its framework's to check.

    Raises:
        WeightsError: Naming the first weight that is missing, superfluous or of another shape.
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


def is_of_backbone(name: str, spec: Spec) -> bool:
    """Whether a weight is one that the network's backbone names itself."""
    backbone = backbone_of(spec)
    return backbone is not None and name.startswith(f"{backbone.name}.")


def save_weights(path: Path, weights: Weights, info: WeightsInfo) -> None:
    """Write weights as safetensors, whole or not at all.

    Args:
        path: The file.
        weights: In the canonical layout.
        info: Kept in the file's metadata beside the schema version.
    """
    write_safetensors(path, weights, info_to_metadata(info))


def load_weights(path: Path) -> tuple[Weights, WeightsInfo]:
    """Read a file that save_weights wrote.

    Raises:
        WeightsError: If it is missing, damaged, or not of this package.
    """
    weights, metadata = read_safetensors(path)
    return weights, info_from_metadata(metadata, path)


def info_to_metadata(info: WeightsInfo) -> dict[str, str]:
    """What a file keeps of it, as strings."""
    return {
        "schema_version": SCHEMA_VERSION,
        "variant": info.variant,
        "num_classes": str(info.num_classes),
        "input_size": str(info.input_size),
        "width": json.dumps(info.width),
        "input_scaling": json.dumps(info.input_scaling),
        "resize_to": json.dumps(info.resize_to),
        "class_names": json.dumps(info.class_names),
    }


def info_from_metadata(metadata: Mapping[str, str], path: Path) -> WeightsInfo:
    """What a file says of itself.

    Raises:
        WeightsError: If it is not of this package, of a newer release, or damaged.
    """
    if metadata.get("schema_version") != SCHEMA_VERSION:
        raise WeightsError(
            f"{path}: schema_version is {metadata.get('schema_version')!r}, not "
            f"{SCHEMA_VERSION!r}: not a weight file of this package, or of a newer release."
        )
    try:
        return WeightsInfo(
            variant=metadata["variant"],
            num_classes=int(metadata["num_classes"]),
            input_size=int(metadata["input_size"]),
            width=float(metadata["width"]),
            input_scaling=json.loads(metadata.get("input_scaling", "null")),
            resize_to=json.loads(metadata.get("resize_to", "null")),
            class_names=tuple(json.loads(metadata.get("class_names", "[]"))),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise WeightsError(f"{path}: its metadata is damaged ({error}).") from error


def write_safetensors(path: Path, arrays: Weights, metadata: dict[str, str]) -> None:
    """Write arrays and metadata as safetensors, whole or not at all."""
    with replace_whole(path) as temporary, _disk_errors(path):
        save_file({k: np.asarray(v, order="C") for k, v in arrays.items()}, temporary, metadata)


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """Safetensors reports a full disk as an error of its own kind."""
    try:
        yield
    except SafetensorError as error:
        raise OSError(f"{path}: cannot be written ({error}).") from error


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file, without its arrays.

    Raises:
        WeightsError: If it is missing or damaged.
    """
    with _read_errors(path), safe_open(path, framework="numpy") as file:
        return dict(file.metadata() or {})


def read_safetensors(path: Path) -> tuple[Weights, dict[str, str]]:
    """Arrays and metadata of a safetensors file.

    Raises:
        WeightsError: If it is missing or damaged.
    """
    try:
        with _read_errors(path), safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
            info = dict(file.metadata() or {})
    except (TypeError, AttributeError) as error:
        raise WeightsError(_FOREIGN_NUMBERS.format(path=path, why=error)) from error
    # TensorFlow teaches NumPy bfloat16, whose kind is V: what is refused must not depend on it.
    foreign = [array.dtype for array in arrays.values() if array.dtype.kind not in "fiu"]
    if foreign:
        raise WeightsError(_FOREIGN_NUMBERS.format(path=path, why=foreign[0]))
    return arrays, info


@contextmanager
def _read_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: there is no such file.") from error
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path}: cannot be read as safetensors ({error}); it is truncated or damaged."
        ) from error


_FOREIGN_NUMBERS = "{path}: holds numbers of a type that NumPy has not ({why}): of another package."


@contextmanager
def replace_whole(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, renamed to it if the block succeeds: whole, or not there."""
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())  # safetensors makes files that only their owner reads
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with replace_whole(path) as temporary:
        temporary.write_bytes(content)
