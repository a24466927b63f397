"""The usual mistakes between two layers: an operation missing, added, moved or miscounted."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from typing import Any

from alexnet_impl.frameworks.user_model import Operation, pair_of
from alexnet_impl.ports.arithmetic import compute_operations
from alexnet_impl.ports.hypotheses import Hypothesis, sides_text
from alexnet_impl.weights.canonical import Array

Chain = tuple[Operation, ...]
Change = tuple[str, str, Chain]
"""(what, remedy, the chain of operations that it makes)"""


def chain_hypotheses(
    ours: Chain, theirs: Chain, values: Array, *, first: bool = False, last: bool = False
) -> list[Hypothesis]:
    """Mistakes that Keras may make between two layers, from equal inputs.

    Args:
        ours: PyTorch's operations.
        theirs: Keras's operations, as its layers declare them.
        values: Input of both, (batch, channels, height, width) or (batch, features).
        first: Whether the operations stand between the images and the first layer.
        last: Whether they stand after the last layer.
    """
    changes = [change for index in range(len(ours)) for change in _changes(ours, index, theirs)]
    changes += _additions(ours, first=first, last=last)
    return [_hypothesis(change, values) for change in changes]


def double_hypotheses(ours: Chain, theirs: Chain, values: Array) -> list[Hypothesis]:
    """Pairs of mistakes in two different operations, from values of any shape.

    Arguments are those of chain_hypotheses().
    """
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
    """One operation of a chain changed, left out, or exchanged with the next one."""
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
    """Changed LRNs: TensorFlow's divides alpha by nothing and takes a radius for a window."""
    numbers = {"alpha": 1e-4, "beta": 0.75, "k": 1.0} | operation.numbers
    size, alpha, k = numbers["size"], numbers["alpha"], numbers["k"]
    wide = 2 * size + 1
    right = (
        f"give tf.nn.local_response_normalization depth_radius={size // 2}, bias={k:g}, "
        f"alpha={alpha:g} / {size}, beta={numbers['beta']:g}"
    )
    norm = TITLES["lrn"]
    # In PyTorch's numbers, with alpha divided by the window.
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
    padded = "" if not any(map(any, padding)) else f" and padding {sides_text(padding)}"
    return f"pool_size {pair_of(numbers['size'])} and strides {pair_of(numbers['stride'])}{padded}"


def _additions(chain: Chain, *, first: bool, last: bool) -> list[Change]:
    """Operations that PyTorch does not compute, added to its chain."""
    found: list[Change] = []
    if all(operation.kind != "relu" for operation in chain):
        relu = Operation(kind="relu", name="relu", numbers={})
        found.append(("there were a ReLU", "remove it", (relu, *chain)))
    if first:
        found += [
            (what, "feed both the same images", (changed, *chain)) for what, changed in SCALINGS
        ]
    if last:
        remedy = (
            "let the model end in logits and train it with from_logits=True, or compare "
            "probabilities"
        )
        for kind in ("softmax", "log_softmax", "sigmoid"):
            what = f"its last layer were followed by a {kind.replace('_', '-')}"
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
"""Changes of the images before the first layer."""
