"""The first mismatch of a user's two models as two small Python files, which need neither model.

mismatch_torch.py and mismatch_keras.py hold the layer that differs, or the operations between two
layers, with the arguments that each model declares. mismatch.npz has what both read: one image of
the input, and the weights. Where channels do not mix, one output channel is kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from textwrap import indent
from typing import Any

import numpy as np

from alexnet_impl.frameworks.user_model import Operation, UserLayer
from alexnet_impl.ports.layer_differences import largest_difference
from alexnet_impl.ports.pairing import LayerPair, trailing_pad
from alexnet_impl.ports.session import PairSession
from alexnet_impl.ports.span_hypotheses import Span
from alexnet_impl.weights.canonical import Array, Weights

ARRAYS, OUTPUT = "mismatch.npz", "mismatch_torch.npy"
FILES = {"torch": "mismatch_torch.py", "tensorflow": "mismatch_keras.py"}
"""Framework to its file, in the order in which they run."""
WORDS = {"torch": "PyTorch", "tensorflow": "Keras"}
MAP = 4
"""Dimensions of maps (batch, channels, height, width)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairDraft:
    """A minimal pair that was not run yet.

    Attributes:
        where: The place of the mismatch.
        texts: Framework to the text of its file; empty if there is none.
        arrays: 'input' (1, channels, height, width) or (1, features), and the layer's weights in
            PyTorch's layout.
        difference: The largest absolute difference of the models there; infinite if shapes differ.
        answer: What the second file prints if the shapes differ.
        reason: Why no files can be written; '' if they can.
    """

    where: str
    texts: dict[str, str] = field(default_factory=dict)
    arrays: Weights = field(default_factory=dict)
    difference: float = 0.0
    answer: str = ""
    reason: str = ""


class _UnwritableError(Exception):
    """Something that the files cannot hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """One image of the place of a mismatch.

    Attributes:
        chains: Framework to its layers, as Python expressions.
        ours: PyTorch's output, (1, channels, height, width) or (1, features).
        theirs: Keras's, channels first.
        arrays: See PairDraft.
        weights: Short names of Keras's weights, in Keras's order.
    """

    chains: dict[str, list[str]]
    ours: Array
    theirs: Array
    arrays: Weights
    weights: tuple[str, ...] = ()


def minimal_pair(session: PairSession, where: str) -> PairDraft | None:
    """Write the first mismatch as two files; None if the layers and the logits agree.

    Args:
        session: The models, after their comparison.
        where: Name of the place.
    """
    place = session.mismatch
    if place is None:
        return None
    try:
        if isinstance(place, LayerPair):
            case = _layer_case(session, place)
        else:
            case = _span_case(session, place)
    except _UnwritableError as error:
        return PairDraft(where=where, reason=str(error))
    arrays = {
        name: np.ascontiguousarray(array, dtype=session.precision)
        for name, array in case.arrays.items()
    }
    ours, theirs = case.ours, case.theirs
    same, title = ours.shape == theirs.shape, where.partition(" (PyTorch: ")[0]
    return PairDraft(
        where=where,
        texts={
            "torch": _torch_text(title, case, session.precision),
            "tensorflow": _keras_text(title, case, session.precision),
        },
        arrays=arrays,
        difference=float(np.abs(ours - theirs).max()) if same else float("inf"),
        answer="" if same else f"shapes differ: {ours.shape} {theirs.shape}",
    )


# --- what is kept ---------------------------------------------------------------------------------


def _most_different(ours: Array, theirs: Array) -> tuple[int, int]:
    """Image and channel in which two arrays (batch, channels, ...) differ most."""
    largest = largest_difference(ours, theirs)
    return (0, 0) if largest is None else (largest.index[0], largest.index[1])


def _layer_case(session: PairSession, pair: LayerPair) -> _Case:
    """A layer with one image, of which one output channel is computed."""
    torch, keras = pair.torch, pair.tensorflow
    inputs = session.values[0][f"{pair.name}.input"]
    ours, theirs = (values[f"{pair.name}.output"] for values in session.values)
    weights = {short: session.weights[f"{pair.name}.{short}"] for short in torch.shapes}
    _check_layer(pair, inputs, weights)
    image, channel = _most_different(ours, theirs)
    inputs = inputs[[image]]
    if torch.kind == "conv":
        width = weights["weight"].shape[1]
        first = channel // (len(weights["weight"]) // torch.groups) * width
        inputs = inputs[:, first : first + width]
    elif torch.kind == "batchnorm":
        inputs = inputs[:, [channel]]
    weights = {short: array[[channel]] for short, array in weights.items()}
    chains = {
        "torch": [*_pads(torch, "torch"), TORCH_LAYERS[torch.kind](torch, weights, inputs.ndim)],
        "tensorflow": [*_pads(keras, "tensorflow"), KERAS_LAYERS[keras.kind](keras, weights)],
    }
    return _Case(
        chains=chains,
        ours=ours[[image]][:, [channel]],
        theirs=theirs[[image]][:, [channel]],
        arrays={"input": inputs, **weights},
        weights=tuple(short for short in ORDER if short in keras.shapes),
    )


ORDER = ("weight", "bias", "running_mean", "running_var")
"""Keras's order of the weights of a layer, by PyTorch's names."""


def _check_layer(pair: LayerPair, inputs: Array, weights: Weights) -> None:
    """Refuse a layer that the files cannot hold."""
    kinds = "a convolution, a dense layer or a batch normalisation"
    if pair.torch.kind not in TORCH_LAYERS or pair.tensorflow.own_shape is not None:
        raise _UnwritableError(f"{pair.label} is not {kinds} in both models")
    if pair.torch.kind == "dense" and inputs.ndim != MAP - 2:
        raise _UnwritableError(f"{pair.label} reads an input of shape {inputs.shape}, not rows")
    if pair.torch.kind == "batchnorm" and "running_mean" not in weights:
        raise _UnwritableError(f"{pair.torch.title} keeps no running statistics")
    if alone := [short for short in pair.tensorflow.shapes if short not in pair.shared]:
        title = f"{pair.tensorflow.title}'s {' and '.join(alone)}"
        raise _UnwritableError(f"{title} in Keras cannot take PyTorch's values")


def _pads(layer: UserLayer, framework: str) -> list[str]:
    """The padding before a layer, which counts as its own."""
    pad = trailing_pad(layer)
    return [] if pad is None else [OPERATIONS[framework][pad.kind](pad.numbers)]


def _span_case(session: PairSession, span: Span) -> _Case:
    """The operations between two layers for one image, of one channel if they do not mix them."""
    name = "output" if span.after == "output" else f"{span.after}.input"
    inputs = session.values[0][f"{span.before}.output"] if span.before else _maps(session.images)
    ours, theirs = (values[name] for values in session.values)
    if min(ours.ndim, theirs.ndim) < MAP - 2:
        raise _UnwritableError("the output is one number for each image")
    image, channel = _most_different(ours, theirs)
    image_of = slice(image, image + 1)
    keep = slice(None)
    apart = all(one.kind in CHANNELWISE for one in (*span.ours, *span.theirs))
    if apart and inputs.shape[1] == ours.shape[1] == theirs.shape[1]:
        keep = slice(channel, channel + 1)
    pair = next((pair for pair in session.pairs if pair.name == span.after), None)
    reordered = pair is not None and pair.tensorflow.features == "channels-last"
    inputs, ours, theirs = (array[image_of, keep] for array in (inputs, ours, theirs))
    chains = {
        "torch": _chain("torch", span.ours),
        "tensorflow": _chain("tensorflow", span.theirs, reordered=reordered),
    }
    if _is_map(inputs, span.ours) and ours.ndim < MAP:
        chains["torch"].append("nn.Flatten()")  # a mean over height and width keeps neither
    return _Case(chains=chains, ours=ours, theirs=theirs, arrays={"input": inputs})


def _maps(images: Array) -> Array:
    """Images (batch, height, width, channels) as maps (batch, channels, height, width)."""
    return np.moveaxis(images, -1, 1) if images.ndim == len("NHWC") else images


def _is_map(inputs: Array, chain: Sequence[Operation]) -> bool:
    """Whether a chain of operations ends in maps: a global pooling keeps its map of one pixel."""
    return inputs.ndim == MAP and all(operation.kind != "flatten" for operation in chain)


def _chain(
    framework: str, operations: Sequence[Operation], *, reordered: bool = False
) -> list[str]:
    """Operations as expressions.

    With `reordered` the features stay a map, which the file then flattens in PyTorch's order: the
    kernel that reads them is permuted.
    """
    found = []
    for number, operation in enumerate(operations):
        after = operations[number + 1 :]
        if not _is_known(framework, operation):
            raise _UnwritableError(
                f"{operation.name} in {WORDS[framework]} is no operation that the files can hold"
            )
        kept_as_map = operation.kind == "flatten" and reordered
        if kept_as_map and any(one.kind not in CHANNELWISE for one in after):
            raise _UnwritableError(f"{after[0].name} in {WORDS[framework]} reads flattened maps")
        if operation.kind not in UNCHANGED and not kept_as_map:
            found.append(OPERATIONS[framework][operation.kind](operation.numbers))
    return found


def _is_known(framework: str, operation: Operation) -> bool:
    """Whether an operation can be written with what is recorded of it."""
    numbers = operation.numbers
    if operation.kind in UNCHANGED:
        return not numbers.get("active")
    is_whole = numbers.get("zeros", True) and not numbers.get("antialias")
    return operation.kind in OPERATIONS[framework] and is_whole


# --- layers and operations as expressions ---------------------------------------------------------


Numbers = dict[str, Any]


def _call(name: str, *given: Any, **named: Any) -> str:
    """A call as text; None leaves an argument out."""
    words = [repr(value) for value in given]
    words += [f"{key}={value!r}" for key, value in named.items() if value is not None]
    return f"{name}({', '.join(words)})".replace("'", '"')


def _unless(usual: Any, value: Any) -> Any:
    """A value, or None if it is the usual one."""
    return None if value == usual else value


def _if_false(value: Any) -> Any:
    """A flag, or None if it is true, which is usual."""
    return None if value else value


def _torch_conv(layer: UserLayer, weights: Weights, _: int) -> str:
    outputs, inputs, *size = weights["weight"].shape
    rows, columns = layer.padding
    return _call(
        "nn.Conv2d",
        inputs,
        outputs,
        tuple(size),
        stride=layer.stride,
        padding=layer.padding_name or (rows[0], columns[0]),
        dilation=_unless((1, 1), layer.dilation),
        bias=_if_false("bias" in weights),
    )


def _torch_dense(_: UserLayer, weights: Weights, __: int) -> str:
    outputs, inputs = weights["weight"].shape
    return _call("nn.Linear", inputs, outputs, bias=_if_false("bias" in weights))


def _torch_norm(layer: UserLayer, weights: Weights, rank: int) -> str:
    name = "nn.BatchNorm2d" if rank == MAP else "nn.BatchNorm1d"
    affine = _if_false("weight" in weights)
    return _call(name, len(weights["running_mean"]), eps=layer.epsilon, affine=affine)


def _keras_conv(layer: UserLayer, weights: Weights) -> str:
    outputs, _, *size = weights["weight"].shape
    return _call(
        "layers.Conv2D",
        outputs,
        tuple(size),
        strides=layer.stride,
        padding=layer.padding_name,
        dilation_rate=_unless((1, 1), layer.dilation),
        use_bias=_if_false("bias" in layer.shapes),
    )


def _keras_dense(layer: UserLayer, weights: Weights) -> str:
    use_bias = _if_false("bias" in layer.shapes)
    return _call("layers.Dense", len(weights["weight"]), use_bias=use_bias)


def _keras_norm(layer: UserLayer, _: Weights) -> str:
    return _call(
        "layers.BatchNormalization",
        epsilon=layer.epsilon,
        scale=_if_false("weight" in layer.shapes),
        center=_if_false("bias" in layer.shapes),
    )


TORCH_LAYERS = {"conv": _torch_conv, "dense": _torch_dense, "batchnorm": _torch_norm}
KERAS_LAYERS = {"conv": _keras_conv, "dense": _keras_dense, "batchnorm": _keras_norm}
"""Kind of a layer to its expression, of the layer and the weights that are kept."""


def _torch_pool(name: str) -> Callable[[Numbers], str]:
    def write(numbers: Numbers) -> str:
        rows, columns = numbers["padding"]
        return _call(
            name,
            numbers["size"],
            numbers["stride"],
            padding=_unless((0, 0), (rows[0], columns[0])),
            ceil_mode=numbers["ceil"] or None,
            count_include_pad=_if_false(numbers.get("counted", True)),
        )

    return write


def _keras_pool(name: str) -> Callable[[Numbers], str]:
    def write(numbers: Numbers) -> str:
        # 'same' without a pixel of padding is 'valid'
        padding = "same" if np.any(numbers["padding"]) else "valid"
        return _call(name, numbers["size"], strides=numbers["stride"], padding=padding)

    return write


def _torch_pad(numbers: Numbers) -> str:
    (above, below), (left, right) = numbers["sides"]
    return _call("nn.ZeroPad2d", (left, right, above, below))


def _torch_resize(numbers: Numbers) -> str:
    aligned = numbers["align_corners"] if numbers["mode"] in ("bilinear", "bicubic") else None
    return _call("nn.Upsample", numbers["size"], mode=numbers["mode"], align_corners=aligned)


def _keras_axis(numbers: Numbers) -> int:
    """An axis of (batch, channels, ...) as one of (batch, ..., channels)."""
    axis: int = numbers["axis"]
    return {0: 0, 1: -1}.get(axis, axis - 1)


ACTIVATIONS = {
    "relu": "ReLU",
    "relu6": "ReLU6",
    "selu": "SELU",
    "silu": "SiLU",
    "mish": "Mish",
    "softplus": "Softplus",
    "softsign": "Softsign",
    "tanh": "Tanh",
    "sigmoid": "Sigmoid",
    "hard_sigmoid": "Hardsigmoid",
    "hard_silu": "Hardswish",
}
"""Keras's activations without numbers to PyTorch's modules."""


def _torch_activation(kind: str) -> Callable[[Numbers], str]:
    return lambda _: f"nn.{ACTIVATIONS[kind]}()"


def _keras_activation(kind: str) -> Callable[[Numbers], str]:
    return lambda _: f'layers.Activation("{kind}")'


UNCHANGED = ("dropout", "noise")
"""Operations without an effect in evaluation mode."""


OPERATIONS: dict[str, dict[str, Callable[[Numbers], str]]] = {
    "torch": {
        **{kind: _torch_activation(kind) for kind in ACTIVATIONS},
        "leaky_relu": lambda n: _call("nn.LeakyReLU", n["slope"]),
        "elu": lambda n: _call("nn.ELU", n["alpha"]),
        "gelu": lambda n: _call("nn.GELU", approximate="tanh" if n["approximate"] else None),
        "softmax": lambda n: _call("nn.Softmax", dim=n["axis"]),
        "log_softmax": lambda n: _call("nn.LogSoftmax", dim=n["axis"]),
        "lrn": lambda n: _call("nn.LocalResponseNorm", **n),
        "max_pool": _torch_pool("nn.MaxPool2d"),
        "avg_pool": _torch_pool("nn.AvgPool2d"),
        "adaptive_avg_pool": lambda n: _call("nn.AdaptiveAvgPool2d", n["size"]),
        "adaptive_max_pool": lambda n: _call("nn.AdaptiveMaxPool2d", n["size"]),
        "pad": _torch_pad,
        "resize": _torch_resize,
        "pixel_shuffle": lambda n: _call("nn.PixelShuffle", n["factor"]),
        "flatten": lambda _: "nn.Flatten()",
    },
    "tensorflow": {
        **{kind: _keras_activation(kind) for kind in ACTIVATIONS},
        "leaky_relu": lambda n: _call("layers.LeakyReLU", negative_slope=n["slope"]),
        "elu": lambda n: _call("layers.ELU", alpha=n["alpha"]),
        "gelu": _keras_activation("gelu"),
        "softmax": lambda n: _call("layers.Softmax", axis=_keras_axis(n)),
        "log_softmax": _keras_activation("log_softmax"),
        "max_pool": _keras_pool("layers.MaxPooling2D"),
        "avg_pool": _keras_pool("layers.AveragePooling2D"),
        "adaptive_avg_pool": lambda _: _call("layers.GlobalAveragePooling2D", keepdims=True),
        "adaptive_max_pool": lambda _: _call("layers.GlobalMaxPooling2D", keepdims=True),
        "pad": lambda n: _call("layers.ZeroPadding2D", n["sides"]),
        "resize": lambda n: _call("layers.Resizing", *n["size"], interpolation=n["mode"]),
        "flatten": lambda _: "layers.Flatten()",
    },
}
"""Framework and kind of an operation to its expression, of the operation's numbers."""
CHANNELWISE = (
    *(*ACTIVATIONS, *UNCHANGED, "leaky_relu", "elu", "gelu", "max_pool", "avg_pool"),
    *("adaptive_avg_pool", "adaptive_max_pool", "pad", "resize"),
)
"""Operations that compute each channel alone."""


# --- the two files --------------------------------------------------------------------------------


def _listed(expressions: Sequence[str]) -> str:
    return indent(",\n".join((*expressions, "")), " " * 4)


def _torch_text(title: str, case: _Case, precision: str) -> str:
    shorts = [short for short in case.arrays if short != "input"]
    load = [f"    model[-1].{short}.copy_(arrays[{short!r}])\n" for short in shorts]
    return f'''"""PyTorch's side of a mismatch: {title}."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

FOLDER = Path(__file__).parent
arrays = {{name: torch.from_numpy(array) for name, array in np.load(FOLDER / "{ARRAYS}").items()}}

model = nn.Sequential(
{_listed(case.chains["torch"])})
model.to(torch.{precision}).eval()
with torch.no_grad():
{"".join(load).replace("'", '"')}    output = model(arrays["input"])

np.save(FOLDER / "{OUTPUT}", output.numpy())
print("output of shape", tuple(output.shape))
'''


def _keras_text(title: str, case: _Case, precision: str) -> str:
    inputs, back = 'inputs = arrays["input"]', ""
    if case.arrays["input"].ndim == MAP:
        inputs = 'inputs = np.moveaxis(arrays["input"], 1, -1)  # (batch, height, width, channels)'
    is_map = (
        case.arrays["input"].ndim == MAP and "layers.Flatten()" not in case.chains["tensorflow"]
    )
    if is_map:
        back = "output = np.moveaxis(output, -1, 1)  # (batch, channels, height, width)\n"
    if is_map and case.theirs.ndim < MAP:
        back += "output = output.reshape(len(output), -1)  # features in PyTorch's order\n"
    kernel = {MAP: ".transpose(2, 3, 1, 0)", MAP - 2: ".T"}
    held = [
        f'arrays["{short}"]' + kernel.get(case.arrays[short].ndim, "") for short in case.weights
    ]
    load = f"model.set_weights([{', '.join(held)}])\n" if held else ""
    return f'''"""Keras's side of a mismatch: {title}.

Run {FILES["torch"]} first: this prints the largest difference of the two outputs.
"""

from pathlib import Path

import keras
import numpy as np
from keras import layers

FOLDER = Path(__file__).parent
arrays = dict(np.load(FOLDER / "{ARRAYS}"))
{inputs}

keras.config.set_dtype_policy("{precision}")
model = keras.Sequential([
    keras.Input(inputs.shape[1:], dtype="{precision}"),
{_listed(case.chains["tensorflow"] or ["layers.Identity()"])}])
{load}output = keras.ops.convert_to_numpy(model(inputs, training=False))
{back}
expected = np.load(FOLDER / "{OUTPUT}")
if output.shape == expected.shape:
    print("largest difference:", float(np.abs(output - expected).max()))
else:
    print("shapes differ:", expected.shape, output.shape)
'''
