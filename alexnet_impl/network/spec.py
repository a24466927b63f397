"""An architecture as data (Spec), and the shapes, parameters and MACs that follow from it.

Shapes are unbatched and channels-first: (channels, height, width) or (features,). Whatever an
adapter, a test or a table needs to know of an architecture is derived from a Spec; this module
imports no framework and no NumPy.
"""

import math
from dataclasses import dataclass, fields
from typing import TypeAlias, assert_never

from alexnet_impl.errors import SpecError, UnknownNameError
from alexnet_impl.network.backbones import BACKBONES, SMALLEST_INPUT

LARGEST_INPUT = 4096
"""Largest height and width of a network's images, in pixels."""

Shape: TypeAlias = tuple[int, ...]
Padding: TypeAlias = tuple[int, int]
"""Zero pixels (before, after) the map, alike for height and width."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conv:
    """Square 2-D convolution with bias and explicit zero padding."""

    name: str
    out_channels: int
    kernel_size: int
    stride: int = 1
    padding: Padding = (0, 0)
    groups: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Relu:
    """max(x, 0), with derivative 0 at 0."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxPool:
    """Square max pooling without padding; a last window that does not fit is dropped (floor)."""

    name: str
    kernel_size: int = 3
    stride: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalResponseNorm:
    """x / (k + alpha * sum(x**2 over a window of `size` channels around x)) ** beta.

    Alpha multiplies the raw sum: it is not divided by the window. The window is centred and cut
    off at the first and the last channel.

    References:
        Krizhevsky et al. 2012, section 3.3.
    """

    name: str
    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Flatten:
    """Flattens (channels, height, width) to (features,), channels outermost, width innermost."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropout:
    """Zeroes each value with probability `rate` in training, and divides the others by 1 - rate."""

    name: str
    rate: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Dense:
    """Fully connected layer with bias, on a flattened map."""

    name: str
    out_features: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Backbone:
    """A network of the framework's own library without its head, from images to feature maps.

    Its weights bear the library's names, prefixed by this layer's name and a dot.
    """

    name: str
    architecture: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalAveragePool:
    """Mean of each channel: (channels, height, width) to (channels,)."""

    name: str


Layer: TypeAlias = (
    Conv
    | Relu
    | MaxPool
    | LocalResponseNorm
    | Flatten
    | Dropout
    | Dense
    | Backbone
    | GlobalAveragePool
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One network: its variant's name, its input shape, and its layers in order.

    Attributes:
        name: The key of VARIANTS it was built from.
        input_shape: (channels, height, width) of one image; (features,) for the head of a larger
            network, which reads a row of features.
        layers: At least one layer, with names that differ.
        skipped: Layers of that larger network before this head.
    """

    name: str
    input_shape: Shape
    layers: tuple[Layer, ...]
    skipped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTrace:
    """One layer's input and output shape, weight shapes and cost, for one image.

    Attributes:
        weight_shapes: Shape of each of the layer's weights in the canonical layout, by its
            short name: convolution (out, in / groups, height, width), dense (out, in). Empty for a
            backbone, whose weights its library names.
        num_macs: Multiply-accumulates of one forward pass; one MAC is two FLOPs. Biases,
            ReLU, pooling, LRN, dropout and a backbone's inside are not counted.
        library_params: Number of a backbone's weights.
    """

    layer: Layer
    input_shape: Shape
    output_shape: Shape
    weight_shapes: dict[str, Shape]
    num_macs: int = 0
    library_params: int = 0

    @property
    def num_params(self) -> int:
        """Weights and biases of the layer."""
        own = sum(math.prod(shape) for shape in self.weight_shapes.values())
        return own + self.library_params


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """The shapes and costs of every layer of a Spec."""

    layers: tuple[LayerTrace, ...]

    @property
    def num_params(self) -> int:
        """Weights and biases of all layers."""
        return sum(step.num_params for step in self.layers)

    @property
    def num_macs(self) -> int:
        """Multiply-accumulates of one forward pass of one image."""
        return sum(step.num_macs for step in self.layers)

    @property
    def output_shape(self) -> Shape:
        """Shape of the logits: (num_classes,)."""
        return self.layers[-1].output_shape


def same_padding(size: int, kernel_size: int, stride: int) -> Padding:
    """Returns the zero padding that 'same' means in TensorFlow, the smaller half first.

    Args:
        size: Height or width of the map, in pixels.
        kernel_size: Height and width of the kernel.
        stride: The convolution's.

    Returns:
        (before, after), so that the output has ceil(size / stride) pixels.
    """
    total = max((math.ceil(size / stride) - 1) * stride + kernel_size - size, 0)
    return total // 2, total - total // 2


def trace(spec: Spec) -> Trace:
    """Computes every layer's shapes, weights and costs without a framework.

    Raises:
        SpecError: If no framework could build it; the message names the layer and the reason.
    """
    _check_frame(spec)
    shape = spec.input_shape
    steps = []
    for layer in spec.layers:
        _check_numbers(layer)
        step = _trace_layer(layer, shape)
        steps.append(step)
        shape = step.output_shape
    if len(shape) != 1:
        raise SpecError(
            f"{spec.name}: ends in a map of shape {shape}; it must end in one row of logits."
        )
    return Trace(layers=tuple(steps))


def weight_shapes(spec: Spec) -> dict[str, Shape]:
    """Shape of every weight by canonical name ('conv1.weight'), in the order of the layers."""
    return {
        f"{step.layer.name}.{short}": shape
        for step in trace(spec).layers
        for short, shape in step.weight_shapes.items()
    }


def backbone_of(spec: Spec) -> Backbone | None:
    """The Spec's backbone, if it has one."""
    return next((layer for layer in spec.layers if isinstance(layer, Backbone)), None)


def kernel_text(layer: Layer) -> str:
    """Short text of a layer's own numbers for a layer table, such as '11x11 s4 p2'."""
    match layer:
        case Conv(kernel_size=size, stride=stride, padding=(before, after), groups=groups):
            padding = f"p{before}" if before == after else f"p({before},{after})"
            return f"{size}x{size} s{stride} {padding}" + (f" g{groups}" if groups > 1 else "")
        case MaxPool(kernel_size=size, stride=stride):
            return f"{size}x{size} s{stride}"
        case LocalResponseNorm(size=size, alpha=alpha, beta=beta, k=k):
            return f"n{size} alpha={alpha:g} beta={beta:g} k={k:g}"
        case Dropout(rate=rate):
            return f"rate {rate:g}"
        case Backbone(architecture=architecture):
            return architecture
        case Relu() | Flatten() | Dense() | GlobalAveragePool():
            return ""
        case _:
            assert_never(layer)


def _check_frame(spec: Spec) -> None:
    if len(spec.input_shape) not in (1, 3) or min(spec.input_shape) < 1:
        raise SpecError(
            f"{spec.name}: input_shape={spec.input_shape} must be "
            "(channels, height, width) or (features,), each at least 1."
        )
    if not spec.layers:
        raise SpecError(f"{spec.name}: has no layers.")
    names = [layer.name for layer in spec.layers]
    for name in names:
        if not name or "." in name or "/" in name:
            raise SpecError(f"{spec.name}: '{name}' cannot name a layer: '.' and '/' separate.")
        if names.count(name) > 1:
            raise SpecError(f"{spec.name}: two layers are named {name}.")


def _check_numbers(layer: Layer) -> None:
    """Raises SpecError on values that are invalid whatever layer comes before."""
    for field in fields(layer):
        value = getattr(layer, field.name)
        if field.type is int and value < 1:
            raise SpecError(f"{layer.name}: {field.name}={value} must be at least 1.")
    match layer:
        case Conv(padding=padding) if min(padding) < 0:
            raise SpecError(f"{layer.name}: padding={padding} must not be negative.")
        case Dropout(rate=rate) if not 0 <= rate < 1:
            raise SpecError(f"{layer.name}: rate={rate} must lie in [0, 1).")
        case LocalResponseNorm(size=size) if size % 2 == 0:
            raise SpecError(f"{layer.name}: size={size} must be odd, to have a centre.")
        case LocalResponseNorm(k=k) if k <= 0:
            raise SpecError(f"{layer.name}: k={k} must be above 0, or a dark pixel divides by 0.")
        case _:
            pass


def _trace_layer(layer: Layer, shape: Shape) -> LayerTrace:
    match layer:
        case Conv():
            return _trace_conv(layer, _map(layer, shape))
        case MaxPool(kernel_size=kernel_size, stride=stride):
            channels, height, width = _map(layer, shape)
            sides = [_windows(layer, size, kernel_size, stride) for size in (height, width)]
            return _weightless(layer, shape, (channels, *sides))
        case LocalResponseNorm():
            return _weightless(layer, shape, _map(layer, shape))
        case Flatten() | GlobalAveragePool():
            sizes = _map(layer, shape)
            features = math.prod(sizes) if isinstance(layer, Flatten) else sizes[0]
            return _weightless(layer, shape, (features,))
        case Backbone():
            return _trace_backbone(layer, _map(layer, shape))
        case Dense():
            return _trace_dense(layer, shape)
        case Relu() | Dropout():
            return _weightless(layer, shape, shape)
        case _:
            assert_never(layer)


def _weightless(layer: Layer, input_shape: Shape, output_shape: Shape) -> LayerTrace:
    return LayerTrace(
        layer=layer, input_shape=input_shape, output_shape=output_shape, weight_shapes={}
    )


def _trace_conv(layer: Conv, shape: Shape) -> LayerTrace:
    channels, height, width = shape
    if channels % layer.groups or layer.out_channels % layer.groups:
        raise SpecError(
            f"{layer.name}: groups={layer.groups} must divide both the {channels} input "
            f"channels and the {layer.out_channels} output channels."
        )
    sides = [
        _windows(layer, size + sum(layer.padding), layer.kernel_size, layer.stride)
        for size in (height, width)
    ]
    output_shape = (layer.out_channels, *sides)
    kernel = (layer.out_channels, channels // layer.groups, layer.kernel_size, layer.kernel_size)
    return LayerTrace(
        layer=layer,
        input_shape=shape,
        output_shape=output_shape,
        weight_shapes={"weight": kernel, "bias": (layer.out_channels,)},
        num_macs=math.prod(output_shape) * math.prod(kernel[1:]),
    )


def _trace_dense(layer: Dense, shape: Shape) -> LayerTrace:
    if len(shape) != 1:
        raise SpecError(
            f"{layer.name}: a dense layer reads one row of features, but the layer before "
            f"yields a map of shape {shape}; put a Flatten between them."
        )
    kernel = (layer.out_features, shape[0])
    return LayerTrace(
        layer=layer,
        input_shape=shape,
        output_shape=(layer.out_features,),
        weight_shapes={"weight": kernel, "bias": (layer.out_features,)},
        num_macs=math.prod(kernel),
    )


def _trace_backbone(layer: Backbone, shape: Shape) -> LayerTrace:
    if layer.architecture not in BACKBONES:
        raise UnknownNameError("backbone", layer.architecture, BACKBONES)
    channels, *sizes = shape
    if channels != 3 or min(sizes) < SMALLEST_INPUT:
        raise SpecError(
            f"{layer.name}: {layer.architecture} reads images of 3 channels and at least "
            f"{SMALLEST_INPUT} pixels, not {shape}."
        )
    facts = BACKBONES[layer.architecture]
    return LayerTrace(
        layer=layer,
        input_shape=shape,
        output_shape=(facts.out_channels, *map(facts.out_size, sizes)),
        weight_shapes={},
        library_params=facts.num_params,
    )


def _map(layer: Layer, shape: Shape) -> Shape:
    if len(shape) != 3:
        raise SpecError(
            f"{layer.name}: {type(layer).__name__} reads a map (channels, height, width), "
            f"but the layer before yields {shape}."
        )
    return shape


def _windows(layer: Layer, size: int, kernel_size: int, stride: int) -> int:
    """Number of windows that fit into `size` pixels, padding included."""
    if size < kernel_size:
        raise SpecError(
            f"{layer.name}: the map shrinks below 1: a window of {kernel_size} pixels does not "
            f"fit into {size}; take a larger input."
        )
    return (size - kernel_size) // stride + 1
