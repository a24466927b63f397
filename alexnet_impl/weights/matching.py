"""Matches the arrays of a weight file to a network: by names, otherwise by their shapes.

The networks are the variants: their widths, numbers of classes and input sizes are derived from
the shapes of weight_shapes(), so that a new variant is found too.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from alexnet_impl.errors import SpecError, WeightsError
from alexnet_impl.network import spec as s
from alexnet_impl.network.own_network import with_classes
from alexnet_impl.network.spec import Shape, Spec, backbone_of, trace, weight_shapes
from alexnet_impl.network.variants import build_spec
from alexnet_impl.weights.canonical import Array, Weights, check_weights, flattened_kernels
from alexnet_impl.weights.stored import StoredWeights, ordered_by_numbers

LARGEST_SEARCHED_INPUT = 512
"""Largest height and width in pixels that are tried for a first dense layer of an odd size."""
WIDEST = 16.0


class LayerShapes(NamedTuple):
    """Shapes of a layer's kernel and bias, in the canonical layout."""

    kernel: Shape
    bias: Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLayer:
    """A layer of a file: the names of its kernel and bias there, and their shapes."""

    kernel: str
    bias: str
    shapes: LayerShapes


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """A weight of a file that was matched by its shape: its name there, and its canonical name."""

    theirs: str
    shape: Shape
    ours: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A network whose weights have the shapes of a file.

    Attributes:
        variant: Its name.
        width: Multiplier of the variant's channels and features.
        num_classes: Number of logits.
        input_sizes: Heights of images, in pixels, with which the shapes are these; only the
            variant's own if that is one of them.
    """

    variant: str
    width: float
    num_classes: int
    input_sizes: tuple[int, ...]


def torchvision_names(spec: Spec) -> dict[str, str]:
    """Maps canonical names to torchvision's state_dict: conv1.weight to features.0.weight.

    torchvision numbers the layers before the flattening as `features` and those after it as
    `classifier`, so the names follow from the positions in the Spec.
    """
    kinds = [isinstance(layer, s.Flatten) for layer in spec.layers]
    flatten = kinds.index(True) if True in kinds else len(kinds)
    names: dict[str, str] = {}
    for place, step in enumerate(trace(spec).layers):
        part = f"features.{place}" if place < flatten else f"classifier.{place - flatten - 1}"
        names |= {f"{step.layer.name}.{short}": f"{part}.{short}" for short in step.weight_shapes}
    return names


def stored_layers(arrays: Mapping[str, Array]) -> list[StoredLayer] | None:
    """Groups arrays into layers of a kernel and a bias, in the order of the kernels.

    Args:
        arrays: Kernels of shape (out, in / groups, height, width) or (out, in), biases (out,).

    Returns:
        None if an array belongs to no such layer. Counters, which have no axes, are left out.
    """
    kernels = {n: a for n, a in arrays.items() if a.ndim > 1}
    biases = {n.rpartition(".")[0]: n for n, a in arrays.items() if a.ndim == 1}
    if len(biases) < sum(a.ndim == 1 for a in arrays.values()):
        return None  # a layer with a second array of one axis, such as a scale
    layers = [
        StoredLayer(
            kernel=name,
            bias=biases.pop(name.rpartition(".")[0], ""),
            shapes=LayerShapes(tuple(array.shape), (len(array),)),
        )
        for name, array in kernels.items()
    ]
    sizes = {name: array.shape for name, array in arrays.items()}
    whole = all(layer.bias and sizes[layer.bias] == layer.shapes.bias for layer in layers)
    return layers if whole and not biases and layers else None


def spec_layers(spec: Spec) -> dict[str, LayerShapes]:
    """Returns the shapes of kernel and bias of every layer with weights, by name and in order."""
    steps = (step for step in trace(spec).layers if step.weight_shapes)
    return {
        step.layer.name: LayerShapes(step.weight_shapes["weight"], step.weight_shapes["bias"])
        for step in steps
    }


def find_fits(
    arrays: Mapping[str, Array],
    variants: Iterable[str],
    *,
    width: float | None = None,
    num_classes: int | None = None,
    input_size: int | None = None,
) -> list[Fit]:
    """Finds the variants whose weights have the shapes of these arrays, whatever their order.

    What is given holds; what is None is found.
    """
    layers = stored_layers(arrays)
    if layers is None:
        return []
    shapes = [layer.shapes for layer in layers]
    fits = []
    for variant in variants:
        for one_width, count in _scales(shapes, variant, width):
            if num_classes in (None, count) and (
                sizes := _input_sizes(shapes, variant, one_width, count, input_size)
            ):
                fits.append(
                    Fit(variant=variant, width=one_width, num_classes=count, input_sizes=sizes)
                )
                break
    return fits


def classes_of(arrays: Mapping[str, Array], spec: Spec) -> int | None:
    """Finds the number of classes with which a network has the shapes of these arrays.

    Arrays are kernels of shape (out, in / groups, height, width) or (out, in) and biases (out,).

    Returns:
        None if there is none.
    """
    shapes = Counter(layer.shapes for layer in stored_layers(arrays) or ())
    for count in {one.bias[0] for one in shapes}:
        if Counter(spec_layers(with_classes(spec, count)).values()) == shapes:
            return count
    return None


def _scales(
    shapes: Sequence[LayerShapes], variant: str, width: float | None
) -> Iterator[tuple[float, int]]:
    """Yields widths and numbers of classes that a variant may have, each layer being the last.

    All layers but the last grow with the width, so that sorted by size they pair with the sizes
    at width 1.
    """
    *hidden, last = spec_layers(build_spec(variant)).values()
    if len(shapes) != len(hidden) + 1:
        return
    usual = sorted(layer.bias[0] for layer in hidden)
    for place, one in enumerate(shapes):
        if len(one.kernel) != len(last.kernel):
            continue
        found = sorted(layer.bias[0] for n, layer in enumerate(shapes) if n != place)
        sizes = list(zip(found, usual, strict=True))
        # A size is 2 * round(usual * width / 2), and at least 2.
        low = max([0.0, *((size - 1) / was for size, was in sizes if size > 2)])
        high = min([WIDEST, *((size + 1) / was for size, was in sizes)])
        if width is not None:
            yield width, one.bias[0]
        elif low <= high:
            yield _simplest(low, high), one.bias[0]


def _simplest(low: float, high: float) -> float:
    """A number of few digits between two others: 1, a fraction of a power of 2, or a decimal."""
    middle = (low + high) / 2
    tried = (1.0, *(round(middle * 2**k) / 2**k for k in range(7)))
    decimals = (round(middle, digits) for digits in range(1, 6))
    return next((one for one in (*tried, *decimals) if low <= one <= high and one > 0), middle)


def _input_sizes(
    shapes: Sequence[LayerShapes],
    variant: str,
    width: float,
    num_classes: int,
    input_size: int | None,
) -> tuple[int, ...]:
    """Input sizes with which a variant has these shapes; only its own if that is one of them."""

    def of_size(size: int | None) -> tuple[Counter[LayerShapes], int] | None:
        try:
            spec = build_spec(variant, num_classes=num_classes, input_size=size, width=width)
        except SpecError:
            return None
        return Counter(spec_layers(spec).values()), spec.input_shape[1]

    wanted = Counter(shapes)
    usual = of_size(input_size)
    if usual is not None and usual[0] == wanted:
        return (usual[1],)
    # Only the first dense layer's kernel depends on the input size.
    if input_size is not None or usual is None or (usual[0] - wanted).total() != 1:
        return ()
    found = map(of_size, range(1, LARGEST_SEARCHED_INPUT + 1))
    return tuple(one[1] for one in found if one is not None and one[0] == wanted)


def to_network(
    stored: StoredWeights, spec: Spec, where: str
) -> tuple[Weights, tuple[Pairing, ...]]:
    """Brings the arrays of a file into the canonical layout of a network, in float32.

    Returns:
        Arrays by canonical name, in the shapes of weight_shapes(spec); and how they were paired,
        if neither our names nor torchvision's did it.

    Raises:
        WeightsError: If they belong to another network, have no order that pairs layers of one
            shape, or are no floats that float32 can hold.
    """
    arrays = stored.arrays
    if backbone_of(spec) is None:  # its library has counters
        arrays = {name: array for name, array in arrays.items() if array.ndim}
    names, pairing = _names(arrays, spec, where)
    if not stored.ordered:
        _check_order(pairing, spec, where)
    weights = {ours: arrays[theirs] for ours, theirs in names.items()}
    if stored.channels_last:
        for name, map_shape in flattened_kernels(spec).items():
            weights[name] = _channels_first(weights[name], map_shape)
    for ours, theirs in names.items():
        _check_range(weights[ours], f"{where}: {theirs}")
        if weights[ours].dtype.kind != "f":
            raise WeightsError(
                f"{where}: {theirs} has numbers of type {weights[ours].dtype}; weights are floats. "
                "A quantised network cannot be converted: give the one it was made from."
            )
    return {n: np.ascontiguousarray(a, dtype=np.float32) for n, a in weights.items()}, pairing


def _check_range(array: Array, what: str) -> None:
    """Checks that no number is finite in float64, and infinite in float32."""
    if array.dtype != np.float64 or not array.size:
        return
    largest = float(np.max(np.abs(array), where=np.isfinite(array), initial=0.0))
    if largest > float(np.finfo(np.float32).max):
        raise WeightsError(
            f"{what} has a number of magnitude {largest:.3g} in float64, which float32 cannot "
            "hold; weights are float32. Has its training diverged?"
        )


def _names(
    arrays: Mapping[str, Array], spec: Spec, where: str
) -> tuple[dict[str, str], tuple[Pairing, ...]]:
    """The file's name of each weight by canonical name, and the pairing if shapes decided it.

    The shapes fit then.
    """
    expected = weight_shapes(spec)
    theirs = torchvision_names(spec)
    if set(theirs.values()) == set(arrays):
        check_weights({ours: arrays[name] for ours, name in theirs.items()}, spec, where=where)
        return theirs, ()
    if not set(expected) <= set(arrays) and (pairing := _by_shape(arrays, spec)):
        return {one.ours: one.theirs for one in pairing}, pairing
    if set(expected).isdisjoint(arrays):
        raise WeightsError(_difference(arrays, spec, where))
    check_weights(dict(arrays), spec, where=where)
    return {name: name for name in (*expected, *(set(arrays) - set(expected)))}, ()


def _by_shape(arrays: Mapping[str, Array], spec: Spec) -> tuple[Pairing, ...]:
    """Pairs the layers of a file with those of the same shapes; layers of one shape in order."""
    left = stored_layers(arrays) or []
    paired: list[Pairing] = []
    for name, shapes in spec_layers(spec).items():
        one = next((layer for layer in left if layer.shapes == shapes), None)
        if one is None:
            return ()
        left.remove(one)
        for theirs, short, shape in (
            (one.kernel, "weight", shapes.kernel),
            (one.bias, "bias", shapes.bias),
        ):
            paired.append(Pairing(theirs=theirs, shape=shape, ours=f"{name}.{short}"))
    return () if left else tuple(paired)


def _check_order(pairing: Sequence[Pairing], spec: Spec, where: str) -> None:
    """Checks that numbers in the names order the layers of one shape, for files without an order.

    Raises:
        WeightsError: If two layers could be exchanged.
    """
    latest: dict[Shape, str] = {}
    for one in pairing:
        if len(one.shape) == 1:
            continue
        name = one.theirs.rpartition(".")[0]
        before = latest.setdefault(one.shape, name)
        latest[one.shape] = name
        if before != name and not ordered_by_numbers(before, name):
            raise WeightsError(
                f"{where}: keeps no order of its layers, so that {before} and {name}, both of "
                f"shape {one.shape}, could be exchanged. Name the layers as in `alexnet describe "
                f"{spec.name}`, or give a .pt or .keras file, which keeps their order."
            )


def pairing_remark(pairing: Sequence[Pairing]) -> tuple[str, ...]:
    """Returns a phrase that names the pairs of layers, if shapes paired them."""
    pairs = (
        f"{one.theirs.rpartition('.')[0]} as {one.ours.rpartition('.')[0]}"
        for one in pairing
        if len(one.shape) > 1
    )
    said = "names are not known: layers were paired by shape"
    return (f"{said} ({', '.join(pairs)})",) if pairing else ()


def _difference(arrays: Mapping[str, Array], spec: Spec, where: str) -> str:
    """The first layer that a file lacks or has too many, for an error message."""
    layers = stored_layers(arrays)
    if layers is None:
        return f"{where}: {unpaired(arrays)}, which {spec.name} has not."
    left = Counter(layer.shapes for layer in layers)
    for name, shapes in spec_layers(spec).items():
        if not left[shapes]:
            found = ", ".join(f"{one.kernel} {one.shapes.kernel}" for one in layers[:3])
            return (
                f"{where}: no layer has the shape {shapes.kernel} of {name}.weight in {spec.name}; "
                f"its first are {found:.300}. These are weights of another variant, width, input "
                "size or number of classes."
            )
        left[shapes] -= 1
    more = next(one for one in layers if left[one.shapes] > 0)
    return f"{where}: {more.kernel} {more.shapes.kernel} is not a weight of {spec.name}."


def unpaired(arrays: Mapping[str, Array]) -> str:
    """Names an array that is no kernel with a bias, for an error message.

    Shapes are as for stored_layers().
    """
    kernels = {n.rpartition(".")[0]: a for n, a in arrays.items() if a.ndim > 1}
    for name, array in arrays.items():
        stem = name.rpartition(".")[0]
        if array.ndim == 1 and (stem not in kernels or len(array) != len(kernels[stem])):
            return f"{name} {tuple(array.shape)} is the bias of no layer"
        if array.ndim == 1:
            del kernels[stem]
    for stem in kernels:
        return f"layer {stem} has no bias"
    return "there is no kernel in it"


def _channels_first(kernel: Array, map_shape: Shape) -> Array:
    """A dense kernel (out, features) whose features ran channels last, in the canonical order."""
    channels, height, width = map_shape
    maps = kernel.reshape(len(kernel), height, width, channels)
    return maps.transpose(0, 3, 1, 2).reshape(len(kernel), -1)
