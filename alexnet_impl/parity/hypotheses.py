"""What a layer would yield if it were computed otherwise: NumPy readings of the usual mistakes.

Maps are (batch, channels, height, width), weights canonical. Each reading is compared with what was
seen; the one that lies nearest is the likeliest cause.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from alexnet_impl.evaluation import softmax
from alexnet_impl.frameworks.foreign import ForeignLayer, Operation, Sides, pair_of, same_sides
from alexnet_impl.parity.pairing import whole_padding
from alexnet_impl.parity.record import Cause
from alexnet_impl.weights import Array, Weights

MAX_CAUSES = 3
EXPLAINED = 0.05
"""A reading that leaves no more than this share of a difference explains it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """One way in which the other side may compute.

    Attributes:
        what: The end of 'tensorflow computes as if ...'.
        remedy: What makes it right.
        compute: What would then come out.
    """

    what: str
    remedy: str
    compute: Callable[[], Array]


def apart(first: Array, second: Array) -> float:
    """How far two arrays lie apart: of the rows' relative differences, the largest.

    Relative to a row's largest value, so that images of every scale count alike.

    Returns:
        Infinity if the shapes differ.
    """
    if first.shape != second.shape:
        return float("inf")
    rows = first.reshape(len(first), -1), second.reshape(len(second), -1)
    scale = np.abs(rows[0]).max(axis=1)
    if not scale.any():
        return 0.0 if not rows[1].any() else float("inf")
    difference = np.abs(rows[0] - rows[1]).max(axis=1)
    return float((difference / np.where(scale > 0, scale, scale.max())).max())


def rank(
    expected: Array, observed: Array, hypotheses: Iterable[Hypothesis], *, noise: float
) -> tuple[Cause, ...]:
    """The hypotheses that come nearer to what was seen than what was expected, nearest first.

    Args:
        expected: What PyTorch yields.
        observed: What Keras yields.
        hypotheses: What Keras may have done instead.
        noise: A hypothesis that lies so near to what was expected, or to one before it, says
            nothing.
    """
    found: list[Cause] = []
    seen = [expected]
    bound = apart(observed, expected) / 2
    for hypothesis in hypotheses:
        predicted = hypothesis.compute()
        known = any(apart(predicted, other) <= noise for other in seen)
        if predicted.shape != observed.shape or known:
            continue
        seen.append(predicted)
        distance = apart(observed, predicted)
        if distance < bound:
            what, remedy = hypothesis.what, hypothesis.remedy
            found.append(Cause(side="tensorflow", what=what, remedy=remedy, distance=distance))
    return best_causes(found, apart(observed, expected))


def best_causes(causes: Iterable[Cause], difference: float) -> tuple[Cause, ...]:
    """The nearest few; those alone that explain the difference, if any does."""
    best = sorted(causes, key=lambda cause: cause.distance or 0.0)[:MAX_CAUSES]
    explaining = tuple(cause for cause in best if explains(cause, difference))
    return explaining or tuple(best)


def explains(cause: Cause, difference: float) -> bool:
    """Whether a cause leaves next to nothing of a difference."""
    return cause.distance is not None and cause.distance <= EXPLAINED * min(difference, 1.0)


# --- layers with weights ----------------------------------------------------------------------


def compute_layer(layer: ForeignLayer, inputs: Array, weights: Weights) -> Array:
    """What a layer yields.

    Args:
        layer: A convolution, dense layer or batch normalisation.
        inputs: What it reads, without zero padding.
        weights: By short name.
    """
    match layer.kind:
        case "conv":
            return convolve(layer, whole_padding(layer), inputs, weights)
        case "dense":
            return np.asarray(inputs @ weights["weight"].T + weights.get("bias", 0.0))
        case "batchnorm":
            return _normalise(inputs, weights, layer.epsilon)
        case "other":
            return np.empty(0)


def convolve(layer: ForeignLayer, padding: Sides, inputs: Array, weights: Weights) -> Array:
    """Cross-correlation, group by group."""
    kernel = weights["weight"]
    maps = np.pad(inputs, ((0, 0), (0, 0), *padding))
    extent = [(k - 1) * d + 1 for k, d in zip(kernel.shape[2:], layer.dilation, strict=True)]
    if any(size < wide for size, wide in zip(maps.shape[2:], extent, strict=True)):
        return np.empty(0)
    windows = sliding_window_view(maps, extent, axis=(2, 3))[
        :, :, :: layer.stride[0], :: layer.stride[1], :: layer.dilation[0], :: layer.dilation[1]
    ]
    if windows.shape[1] != kernel.shape[1] * layer.groups:
        return np.empty(0)
    parts = [
        np.tensordot(part, kernels, axes=((1, 4, 5), (1, 2, 3)))
        for part, kernels in zip(
            np.split(windows, layer.groups, axis=1),
            np.split(kernel, layer.groups),
            strict=True,
        )
    ]
    outputs = np.concatenate(parts, axis=3).transpose(0, 3, 1, 2)
    return np.asarray(outputs + weights.get("bias", np.zeros(1)).reshape(1, -1, 1, 1))


def _normalise(inputs: Array, weights: Weights, epsilon: float) -> Array:
    shape = (1, -1) + (1,) * (inputs.ndim - 2)
    mean, variance = weights["running_mean"], weights["running_var"]
    scaled = (inputs - mean.reshape(shape)) / np.sqrt(variance.reshape(shape) + epsilon)
    gamma, beta = weights.get("weight", np.ones(1)), weights.get("bias", np.zeros(1))
    return np.asarray(scaled * gamma.reshape(shape) + beta.reshape(shape))


def layer_hypotheses(
    ours: ForeignLayer, theirs: ForeignLayer, inputs: Array, weights: Weights
) -> list[Hypothesis]:
    """What the Keras layer may compute from an input that agrees.

    Args:
        ours: The PyTorch layer.
        theirs: The Keras layer.
        inputs: What both read.
        weights: PyTorch's, by short name.
    """
    found: list[Hypothesis] = []
    match ours.kind:
        case "conv":
            found = [*_padding_hypotheses(ours, theirs, inputs, weights)]
            found += _declared_hypotheses(ours, theirs, inputs, weights)
            found += _kernel_hypotheses(ours, inputs, weights)
        case "dense":
            found = _dense_hypotheses(ours, inputs, weights)
        case "batchnorm":
            found = _norm_hypotheses(ours, theirs, inputs, weights)
        case "other":
            return []
    if "bias" in weights:
        without = {k: v for k, v in weights.items() if k != "bias"}
        found.append(
            Hypothesis(
                what=f"{ours.title} had no bias",
                remedy="take use_bias=True and load the bias",
                compute=lambda: compute_layer(ours, inputs, without),
            )
        )
    return found


def _padding_hypotheses(
    ours: ForeignLayer, theirs: ForeignLayer, inputs: Array, weights: Weights
) -> Iterator[Hypothesis]:
    here, kernel = whole_padding(ours), weights["weight"].shape[2:]
    same: Any = tuple(
        same_sides(*numbers)
        for numbers in zip(inputs.shape[2:], kernel, ours.stride, ours.dilation, strict=True)
    )
    symmetric: Any = tuple((k // 2, k // 2) for k in kernel)
    remedy = (
        f"put keras.layers.ZeroPadding2D({_sides_text(here)}) before it and take padding='valid'"
        if any(map(any, here))
        else "take padding='valid'"
    )
    readings: list[tuple[str, Sides]] = [
        ("TensorFlow's 'same'", same),
        ("symmetric", symmetric),
        ("left out", ((0, 0), (0, 0))),
        ("as it is declared", whole_padding(theirs)),
    ]
    seen = {here}
    for name, padding in readings:
        if padding not in seen:
            yield Hypothesis(
                what=f"{ours.title}'s padding were {name}, {_sides_text(padding)}, where PyTorch's "
                f"is {_sides_text(here)}",
                remedy=remedy,
                compute=lambda padding=padding: convolve(ours, padding, inputs, weights),  # type: ignore[misc]
            )
        seen.add(padding)


def _sides_text(sides: Sides) -> str:
    """As short as it can be said: 2, (3, 4) or ((1, 2), (0, 1))."""
    rows, columns = sides
    if rows != columns:
        return str(sides)
    return str(rows[0] if rows[0] == rows[1] else rows)


def _declared_hypotheses(
    ours: ForeignLayer, theirs: ForeignLayer, inputs: Array, weights: Weights
) -> list[Hypothesis]:
    """Where the two layers say different numbers: each alone, and all together."""
    fields = [f for f in ("stride", "dilation") if getattr(ours, f) != getattr(theirs, f)]
    variants = [(field,) for field in fields] + ([tuple(fields)] if len(fields) > 1 else [])
    both = [*variants, (*fields, "padding")] if fields else []
    found = []
    for names in both:
        changed = replace(
            ours, **{name: getattr(theirs, name) for name in names if name != "padding"}
        )
        padding = whole_padding(theirs if "padding" in names else ours)
        said = ", ".join(f"{name} {getattr(theirs, name)}" for name in names)
        right = ", ".join(f"{name} {getattr(ours, name)}" for name in names)
        found.append(
            Hypothesis(
                what=f"{ours.title} had {said}, where PyTorch has {right}",
                remedy=f"give it PyTorch's {' and '.join(names)}",
                compute=lambda c=changed, p=padding: convolve(c, p, inputs, weights),  # type: ignore[misc]
            )
        )
    return found


def _kernel_hypotheses(layer: ForeignLayer, inputs: Array, weights: Weights) -> list[Hypothesis]:
    def compute(kernel: Array) -> Callable[[], Array]:
        changed = weights | {"weight": kernel}
        return lambda: convolve(layer, whole_padding(layer), inputs, changed)

    return [
        Hypothesis(what=what, remedy=remedy, compute=compute(kernel))
        for what, remedy, kernel in kernel_readings(layer, weights["weight"])
    ]


Reading = tuple[str, str, Array]
"""(what, remedy, the kernel that it makes)"""


def kernel_readings(layer: ForeignLayer, kernel: Array) -> list[Reading]:
    """Each way in which a kernel is usually converted wrongly, by what it then is."""
    match layer.kind:
        case "conv":
            return list(_convolution_readings(layer, kernel))
        case "dense":
            return list(_dense_readings(layer, kernel))
        case _:
            return []


def _convolution_readings(layer: ForeignLayer, kernel: Array) -> Iterator[Reading]:
    name = layer.title
    yield (
        f"{name}'s kernel had height and width exchanged, as w.T leaves them",
        "convert it with w.transpose(2, 3, 1, 0)",
        kernel.swapaxes(2, 3),
    )
    if kernel.shape[1] == 3:
        yield (
            f"{name} read BGR images",
            "feed both the same order of colours, or reverse the kernel's input channels",
            kernel[:, ::-1],
        )
    yield (
        f"{name}'s kernel were turned by 180 degrees, as for a true convolution",
        "leave it unturned: both frameworks compute a cross-correlation",
        kernel[:, :, ::-1, ::-1],
    )
    if layer.groups > 1:
        shape = (layer.groups, len(kernel) // layer.groups, *kernel.shape[1:])
        yield (
            f"{name}'s groups were interleaved",
            "keep the output channels of a group together",
            kernel.reshape(shape).swapaxes(0, 1).reshape(kernel.shape),
        )


PERMUTED = "transpose(0, 2, 3, 1).reshape(len(w), -1).T"


def _dense_readings(layer: ForeignLayer, kernel: Array) -> Iterator[Reading]:
    name = layer.title
    if layer.flattened is not None:
        channels, height, width = layer.flattened
        maps = kernel.reshape(-1, height, width, channels).transpose(0, 3, 1, 2)
        yield (
            f"{name} read a map flattened channels first: the rows of its kernel were not permuted",
            f"convert it with w.reshape(-1, {channels}, {height}, {width}).{PERMUTED}",
            maps.reshape(kernel.shape),
        )
    if kernel.shape[0] == kernel.shape[1]:
        yield (
            f"{name}'s kernel were not transposed, which its square shape does not show",
            "convert it with w.T",
            kernel.T,
        )


def _dense_hypotheses(layer: ForeignLayer, inputs: Array, weights: Weights) -> list[Hypothesis]:
    return [
        Hypothesis(
            what=what,
            remedy=remedy,
            compute=lambda kernel=kernel: compute_layer(  # type: ignore[misc]
                layer, inputs, weights | {"weight": kernel}
            ),
        )
        for what, remedy, kernel in kernel_readings(layer, weights["weight"])
    ]


def _norm_hypotheses(
    ours: ForeignLayer, theirs: ForeignLayer, inputs: Array, weights: Weights
) -> list[Hypothesis]:
    axes = (0, *range(2, inputs.ndim))
    of_batch = {"running_mean": inputs.mean(axes), "running_var": inputs.var(axes)}
    fresh = {
        "running_mean": np.zeros_like(weights["running_mean"]),
        "running_var": np.ones_like(weights["running_var"]),
    }
    return [
        Hypothesis(
            what=f"{ours.title}'s epsilon were {theirs.epsilon:g}, where PyTorch's is "
            f"{ours.epsilon:g}",
            remedy=f"give BatchNormalization epsilon={ours.epsilon:g}",
            compute=lambda: _normalise(inputs, weights, theirs.epsilon),
        ),
        Hypothesis(
            what=f"{ours.title} took the batch's own statistics, as in training",
            remedy="call it with training=False",
            compute=lambda: _normalise(inputs, weights | of_batch, ours.epsilon),
        ),
        Hypothesis(
            what=f"{ours.title}'s running statistics were never loaded",
            remedy="load running_mean and running_var into moving_mean and moving_variance",
            compute=lambda: _normalise(inputs, weights | fresh, ours.epsilon),
        ),
    ]


# --- between the layers -----------------------------------------------------------------------


def compute_operations(operations: Sequence[Operation], values: Array) -> Array:
    """What a chain of operations yields; an empty array where one is not known."""
    for operation in operations:
        if not values.size:
            break
        values = _compute_operation(operation, values)
    return values


def _compute_operation(operation: Operation, values: Array) -> Array:
    compute = OPERATIONS.get(operation.kind)
    if compute is None or (operation.kind in ON_MAPS and values.ndim != 4):
        return np.empty(0)
    return np.asarray(compute(values, operation.numbers))


def _norm(values: Array, numbers: dict[str, Any]) -> Array:
    """Across channels: x / (k + alpha / size * sum of squares) ** beta."""
    size = numbers["size"]
    squares = np.pad(values**2, ((0, 0), (size // 2, (size - 1) // 2), (0, 0), (0, 0)))
    total = sliding_window_view(squares, size, axis=1).sum(axis=-1)
    alpha, beta, k = (numbers.get(n, d) for n, d in (("alpha", 1e-4), ("beta", 0.75), ("k", 1.0)))
    return np.asarray(values / (k + alpha / size * total) ** beta)


def _sides(values: Array, numbers: dict[str, Any]) -> Any:
    if numbers["padding"] != "same":
        return numbers["padding"]
    size, stride = pair_of(numbers["size"]), pair_of(numbers["stride"])
    return [same_sides(*each) for each in zip(values.shape[2:], size, stride, strict=True)]


def _windows(values: Array, numbers: dict[str, Any], fill: float) -> Array:
    """Each window of a pooling, as the last two axes."""
    size, stride = pair_of(numbers["size"]), pair_of(numbers["stride"])
    sides = [list(pair) for pair in _sides(values, numbers)]
    if numbers.get("ceil"):
        for axis in (0, 1):
            beyond = (values.shape[2 + axis] + sum(sides[axis]) - size[axis]) % stride[axis]
            sides[axis][1] += (stride[axis] - beyond) % stride[axis]
    maps = np.pad(values, ((0, 0), (0, 0), *map(tuple, sides)), constant_values=fill)
    if maps.shape[2] < size[0] or maps.shape[3] < size[1]:
        return np.empty((0, 0, 0, 0, 1, 1))
    return sliding_window_view(maps, size, axis=(2, 3))[:, :, :: stride[0], :: stride[1]]


def _adaptive(values: Array, numbers: dict[str, Any]) -> Array:
    """Means over windows that cover a map in equal parts, as PyTorch cuts them."""
    for axis, count in zip((2, 3), pair_of(numbers["size"]), strict=True):
        size = values.shape[axis]
        parts = [
            values.take(range(i * size // count, -(-(i + 1) * size // count)), axis)
            for i in range(count or size)
        ]
        values = np.concatenate([part.mean(axis, keepdims=True) for part in parts], axis)
    return values


def _flatten(values: Array, _: dict[str, Any]) -> Array:
    return values.reshape(len(values), -1)


def _average(values: Array, numbers: dict[str, Any]) -> Array:
    return np.asarray(_windows(values, numbers, 0).mean((-2, -1)))


OPERATIONS: dict[str, Callable[[Array, dict[str, Any]], Array]] = {
    "relu": lambda values, _: np.maximum(values, 0),
    "sigmoid": lambda values, _: 1 / (1 + np.exp(-values)),
    "tanh": lambda values, _: np.tanh(values),
    "softmax": lambda values, _: softmax(values),
    "log_softmax": lambda values, _: np.log(softmax(values)),
    "lrn": _norm,
    "max_pool": lambda values, numbers: _windows(values, numbers, -np.inf).max((-2, -1)),
    "avg_pool": _average,
    "adaptive_avg_pool": _adaptive,
    "flatten": _flatten,
    "dropout": lambda values, _: values,
    "scale": lambda values, numbers: values * numbers["by"] + numbers["plus"],
    "bgr": lambda values, _: values[:, ::-1],
}
ON_MAPS = ("lrn", "max_pool", "avg_pool", "adaptive_avg_pool")
Chain = tuple[Operation, ...]
Change = tuple[str, str, Chain]
"""(what, remedy, the chain of operations that it makes)"""


def chain_hypotheses(
    ours: Chain, theirs: Chain, values: Array, *, first: bool = False, last: bool = False
) -> list[Hypothesis]:
    """What Keras may compute between two layers, from values that agree.

    Args:
        ours: What PyTorch computes there.
        theirs: What Keras's layers say they compute there.
        values: What both start from.
        first: Whether it is between the images and the first layer.
        last: Whether it is behind the last layer.
    """
    changes = [change for index in range(len(ours)) for change in _changes(ours, index, theirs)]
    changes += _additions(ours, first=first, last=last)
    return [_hypothesis(change, values) for change in changes]


def double_hypotheses(ours: Chain, theirs: Chain, values: Array) -> list[Hypothesis]:
    """Two changes at once, each of another operation."""
    places = [list(_changes(ours, index, theirs)) for index in range(len(ours))]
    doubles: list[Change] = []
    for i, j in combinations(range(len(ours)), 2):
        for what, remedy, chain in places[i]:
            if len(chain) != len(ours):
                continue
            for other, more, changed in places[j]:
                both = (*chain[:j], *changed[j:])
                doubles.append((f"{what}, and {other}", f"{remedy}; {more}", both))
    return [_hypothesis(change, values) for change in doubles]


def _hypothesis(change: Change, values: Array) -> Hypothesis:
    what, remedy, chain = change
    return Hypothesis(what=what, remedy=remedy, compute=lambda: compute_operations(chain, values))


def _changes(chain: Chain, index: int, theirs: Chain) -> Iterator[Change]:
    """One operation of a chain computed otherwise, left out, or after the next one."""
    operation = chain[index]
    for what, remedy, changed in _readings(operation, theirs):
        yield what, remedy, (*chain[:index], changed, *chain[index + 1 :])
    if operation.kind not in ("flatten", "dropout", "pad"):
        name = TITLES.get(operation.kind, operation.kind)
        yield (
            f"{name} were missing",
            f"add it: {_call(operation)}",
            (*chain[:index], *chain[index + 1 :]),
        )
        if index + 1 < len(chain):
            after = chain[index + 1]
            yield (
                f"{name} came after {TITLES.get(after.kind, after.kind)}",
                "exchange the two",
                (*chain[:index], after, operation, *chain[index + 2 :]),
            )


TITLES = {
    "relu": "the ReLU",
    "lrn": "the local response normalisation",
    "max_pool": "the max-pooling",
    "avg_pool": "the average pooling",
    "adaptive_avg_pool": "the adaptive pooling",
    "softmax": "the softmax",
    "log_softmax": "the log-softmax",
}


def _call(operation: Operation) -> str:
    numbers = ", ".join(f"{key} {value}" for key, value in operation.numbers.items())
    return f"{operation.kind}{f' with {numbers}' if numbers else ''}"


def _readings(operation: Operation, theirs: Chain) -> list[tuple[str, str, Operation]]:
    match operation.kind:
        case "lrn":
            return _norm_readings(operation)
        case "max_pool":
            return _pool_readings(operation, theirs)
        case _:
            return []


def _norm_readings(operation: Operation) -> list[tuple[str, str, Operation]]:
    """TensorFlow's own divides alpha by nothing, and its window is 2 * depth_radius + 1."""
    numbers = {"alpha": 1e-4, "beta": 0.75, "k": 1.0} | operation.numbers
    size, alpha, k = numbers["size"], numbers["alpha"], numbers["k"]
    wide = 2 * size + 1
    right = (
        f"give tf.nn.local_response_normalization depth_radius={size // 2}, bias={k:g}, "
        f"alpha={alpha:g} / {size}, beta={numbers['beta']:g}"
    )
    norm = TITLES["lrn"]
    # In PyTorch's numbers, whose alpha is divided by the window.
    readings: list[tuple[str, dict[str, Any]]] = [
        (f"the alpha of {norm} were not divided by its window", {"alpha": alpha * size}),
        (f"the alpha of {norm} were divided by its window twice", {"alpha": alpha / size}),
        (
            f"{norm} had its window's {size} for a radius: a window of {wide}",
            {"size": wide, "alpha": alpha / size * wide},
        ),
        (
            f"{norm} had its window's {size} for a radius, and its alpha were not divided",
            {"size": wide, "alpha": alpha * wide},
        ),
        (f"the k (bias) of {norm} were 1, and not {k:g}", {"k": 1.0}),
        (
            f"the k (bias) of {norm} were 1, and its alpha not divided by its window",
            {"k": 1.0, "alpha": alpha * size},
        ),
        (f"the beta of {norm} were 0.5, TensorFlow's default", {"beta": 0.5}),
        (
            f"{norm} had all of TensorFlow's defaults",
            {"size": 11, "alpha": 11.0, "beta": 0.5, "k": 1.0},
        ),
    ]
    return [
        (what, right, replace(operation, numbers=numbers | changed)) for what, changed in readings
    ]


def _pool_readings(operation: Operation, theirs: Chain) -> list[tuple[str, str, Operation]]:
    numbers = operation.numbers
    size = pair_of(numbers["size"])
    declared = [other.numbers for other in theirs if other.kind == "max_pool"]
    right = f"give MaxPooling2D {_pool_words(numbers)}"
    readings: list[tuple[str, dict[str, Any]]] = [
        ("had padding 'same'", {"padding": "same"}),
        (f"were padded by {size[0] // 2}", {"padding": tuple((k // 2, k // 2) for k in size)}),
        ("were not padded", {"padding": ((0, 0), (0, 0)), "ceil": False}),
        ("had strides of its window's size", {"stride": size}),
        *((f"had {_pool_words(other)}", other) for other in declared),
    ]
    found = [
        (f"the max-pooling {what}", right, replace(operation, numbers=numbers | changed))
        for what, changed in readings
    ]
    averaged = replace(operation, kind="avg_pool")
    return [*found, ("the max-pooling were an average pooling", right, averaged)]


def _pool_words(numbers: dict[str, Any]) -> str:
    padding = numbers["padding"]
    padded = "" if not any(map(any, padding)) else f" and padding {_sides_text(padding)}"
    return f"pool_size {pair_of(numbers['size'])} and strides {pair_of(numbers['stride'])}{padded}"


def _additions(chain: Chain, *, first: bool, last: bool) -> list[Change]:
    """Something that PyTorch does not compute."""
    found: list[Change] = []
    kinds = {operation.kind for operation in chain}
    relu = Operation(kind="relu", name="relu", numbers={})
    if "relu" not in kinds:
        found.append(("there were a ReLU", "take it away", (relu, *chain)))
    if first:
        found += [
            (what, "feed both the same numbers", (changed, *chain)) for what, changed in SCALINGS
        ]
    if last:
        for kind, what in (
            ("softmax", "its last layer were followed by a softmax"),
            ("log_softmax", "its last layer were followed by a log-softmax"),
            ("sigmoid", "its last layer were followed by a sigmoid"),
        ):
            remedy = (
                "let the model end in logits and train it with from_logits=True, or compare "
                "probabilities"
            )
            found.append((what, remedy, (*chain, Operation(kind=kind, name=kind, numbers={}))))
    return found


def _scaling(by: float, plus: float) -> Operation:
    return Operation(kind="scale", name="scale", numbers={"by": by, "plus": plus})


SCALINGS: tuple[tuple[str, Operation], ...] = (
    ("it read BGR images", Operation(kind="bgr", name="bgr", numbers={})),
    ("it scaled [0, 1] to [-1, 1]", _scaling(2.0, -1.0)),
    ("it scaled [-1, 1] to [0, 1]", _scaling(0.5, 0.5)),
    ("it divided the images by 255", _scaling(1 / 255, 0.0)),
    ("it scaled [0, 255] to [-1, 1]", _scaling(1 / 127.5, -1.0)),
    ("it multiplied the images by 255", _scaling(255.0, 0.0)),
)
"""What is done to images; images themselves are what the first layer of a model should read."""
