"""The usual mistakes between two layers: an operation missing, added, moved or miscounted."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from alexnet_impl.frameworks.user_model import ORIGINAL, Edit, Operation, pair_of
from alexnet_impl.ports.hypotheses import Hypothesis, sides_text

Chain = tuple[Operation, ...]
Numbers = dict[str, Any]
"""An operation's arguments by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The operations between two layers.

    Attributes:
        before: PyTorch's name of the layer before them; '' for the images.
        after: PyTorch's name of the layer behind them, or 'output'.
        ours: PyTorch's operations.
        theirs: Keras's operations, as its layers declare them.
    """

    before: str
    after: str
    ours: Chain
    theirs: Chain

    def __str__(self) -> str:
        ours, theirs = (
            ", ".join(operation.name for operation in chain) or "nothing"
            for chain in (self.ours, self.theirs)
        )
        return f" (PyTorch: {ours}; Keras: {theirs})"

    def change(self, index: int, *chain: Operation) -> Edit:
        """Other operations in the place of one of PyTorch's."""
        return Edit(layer=self.before, index=index, chain=chain)

    def add(self, index: int, *chain: Operation) -> Edit:
        """Operations in front of one of PyTorch's, or at the end."""
        if index < len(self.ours):
            return self.change(index, *chain, ORIGINAL)
        around = (ORIGINAL, *chain) if self.after == "output" else (*chain, ORIGINAL)
        return Edit(layer=self.after, chain=around)


def span_hypotheses(span: Span) -> list[Hypothesis]:
    """Mistakes that Keras may make between two layers: first what its layers declare."""
    found = [*_ends(span), *_declared(span)]
    for index in range(len(span.ours)):
        found += _changes(span, index)
    return [*found, *_additions(span)]


def double_hypotheses(span: Span) -> list[Hypothesis]:
    """Pairs of mistakes in two different operations."""
    places = [_readings_at(span, index) for index in range(len(span.ours))]
    return [
        Hypothesis(
            what=f"{first.what}, and {second.what}",
            remedy=f"{first.remedy}; {second.remedy}",
            edits=(*first.edits, *second.edits),
        )
        for i, j in combinations(range(len(span.ours)), 2)
        for first in places[i]
        for second in places[j]
    ]


# --- what Keras declares --------------------------------------------------------------------------


FAMILIES = {
    **dict.fromkeys(
        (
            *("relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "softplus"),
            *("softsign", "tanh", "sigmoid", "hard_sigmoid", "hard_silu", "softmax", "log_softmax"),
        ),
        "activation",
    ),
    **dict.fromkeys(("max_pool", "avg_pool"), "pool"),
    **dict.fromkeys(("adaptive_avg_pool", "adaptive_max_pool"), "global pool"),
    "resize": "resize",
    "scale": "scaling",
}
"""Kind of an operation to the operations that may stand in its place."""


def _declared(span: Span) -> Iterator[Hypothesis]:
    """Differences between the operations of one family that both models declare."""
    for family in dict.fromkeys(FAMILIES.values()):
        places = [i for i, one in enumerate(span.ours) if FAMILIES.get(one.kind) == family]
        others = [one for one in span.theirs if FAMILIES.get(one.kind) == family]
        if len(places) == len(others):
            for index, other in zip(places, others, strict=True):
                yield from _exchanged(span, index, other)
        elif family == "scaling" and len(places) < len(others):
            names = " and ".join(one.name for one in others)
            yield Hypothesis(
                what=f"it scaled its input, in {names}",
                remedy=f"remove {names}, or scale PyTorch's input alike",
                edits=(span.add(0, *others),),
            )
        elif not places:
            for other in others:
                for index in range(len(span.ours) + 1):
                    what = f"there were {_words(other)}"
                    edits = (span.add(index, other),)
                    yield Hypothesis(what=what, remedy="remove it", edits=edits)


def _exchanged(span: Span, index: int, other: Operation) -> Iterator[Hypothesis]:
    """Another operation of the family, and a pooling with the padding that stands before it."""
    ours = span.ours[index]
    if ours.kind != other.kind or not _rounds_to(ours.numbers, other.numbers):
        yield Hypothesis(
            what=_difference(ours, other),
            remedy=f"give it PyTorch's: {keras_words(ours)}",
            edits=(span.change(index, other),),
        )
    if FAMILIES[ours.kind] == "pool" and other.numbers["size"] != ours.numbers["size"]:
        # Keras's pooling behind a padding that its layers do not declare
        numbers = other.numbers | {"padding": ours.numbers["padding"]}
        yield Hypothesis(
            what=_difference(ours, replace(other, numbers=numbers)),
            remedy=f"give it PyTorch's: {keras_words(ours)}",
            edits=(span.change(index, replace(other, numbers=numbers)),),
        )
    padded = [one for one in span.theirs if one.kind == "pad" and one.numbers["zeros"]]
    if other.kind in ("max_pool", "avg_pool") and padded:
        sides = padded[-1].numbers["sides"]
        yield Hypothesis(
            what=f"{TITLES[other.kind]} took its padding by {sides_text(sides)} zeros for values",
            remedy=f"give it PyTorch's: {keras_words(ours)}",
            edits=(span.change(index, padded[-1], replace(other, numbers=_counted(other))),),
        )


def _rounds_to(ours: Numbers, theirs: Numbers) -> bool:
    """Whether numbers are equal, but for what Keras's float32 rounds of a factor."""
    if ours.keys() != theirs.keys() or "by" not in ours:
        return ours == theirs
    return all(np.allclose(ours[key], theirs[key], 1e-6, 1e-9) for key in ours)


def _counted(pool: Operation) -> dict[str, Any]:
    return pool.numbers | ({"counted": True} if pool.kind == "avg_pool" else {})


def _difference(ours: Operation, theirs: Operation) -> str:
    title = TITLES.get(ours.kind, ours.kind)
    if ours.kind != theirs.kind:
        return f"{title} were {_words(theirs, ours)}"
    if FAMILIES[ours.kind] == "pool":
        return f"{title} {_pool_difference(ours.numbers, theirs.numbers)}"
    if ours.kind == "gelu":
        return f"{title} were {GELUS[theirs.numbers['approximate']]}"
    numbers = ", ".join(
        f"{key} {value}" for key, value in theirs.numbers.items() if value != ours.numbers.get(key)
    )
    return f"{title} had {numbers}"


def _pool_difference(ours: Numbers, theirs: Numbers) -> str:
    """The difference of Keras's pooling; its padding is 'same' or none."""
    said = []
    if any(ours[key] != theirs[key] for key in ("size", "stride")):
        said.append(f"had pool_size {theirs['size']} and strides {theirs['stride']}")
    if ours["padding"] != theirs["padding"]:
        padded = any(map(any, theirs["padding"]))
        said.append("had padding 'same'" if padded else "were not padded")
    if ours["ceil"] and not said:
        said.append("rounded its size down, and not up (ceil_mode)")
    if not said:
        said.append(
            "left the padding out of its mean" if ours["counted"] else "counted its padding"
        )
    return " and ".join(said)


TITLES = {
    "relu": "the ReLU",
    "relu6": "the ReLU6",
    "leaky_relu": "the LeakyReLU",
    "elu": "the ELU",
    "gelu": "the GELU",
    "silu": "the SiLU",
    "lrn": "the local response normalisation",
    "max_pool": "the max-pooling",
    "avg_pool": "the average pooling",
    "adaptive_avg_pool": "the global average pooling",
    "adaptive_max_pool": "the global max-pooling",
    "resize": "the resizing",
    "pixel_shuffle": "the pixel shuffle",
    "scale": "the scaling",
    "softmax": "the softmax",
    "log_softmax": "the log-softmax",
}


GELUS = {True: "its tanh approximation", False: "the exact one, of erf"}
"""What a GELU is, by whether it is approximate."""


def _words(operation: Operation, instead: Operation | None = None) -> str:
    """An operation and the numbers in which it differs: 'a LeakyReLU of slope 0.3'."""
    title = TITLES.get(operation.kind, operation.kind).removeprefix("the ")
    article = "an" if title[0] in "aeiouAEIOU" else "a"
    kept = ("size", "stride") if "stride" in operation.numbers else tuple(operation.numbers)
    known = instead.numbers if instead else {}
    said = [(key, operation.numbers[key]) for key in kept]
    numbers = ", ".join(f"{key} {value}" for key, value in said if value != known.get(key))
    return f"{article} {title}{f' of {numbers}' if numbers else ''}"


def keras_words(operation: Operation) -> str:
    """The Keras layers that compute what PyTorch's operation computes."""
    words = KERAS.get(operation.kind)
    if words is not None:
        return words(operation.numbers)
    return f"keras.activations.{operation.kind}"


def _pool_call(kind: str, numbers: Numbers) -> str:
    """A pooling, behind the padding that Keras's own lacks."""
    padding = numbers["padding"]
    said = f"{kind}({pair_of(numbers['size'])}, strides={pair_of(numbers['stride'])})"
    if numbers.get("ceil"):
        said += " after one more row and column of padding, as ceil_mode=True needs"
    if padding == "same" or not any(map(any, padding)):
        return said
    if kind == "MaxPooling2D":
        return f"pad by {sides_text(padding)} with the lowest value (keras.ops.pad), then {said}"
    if numbers.get("counted", True):
        return f"ZeroPadding2D({sides_text(padding)}), then {said}"
    return f"{said} with padding='same', which leaves the padding out of the mean"


KERAS: dict[str, Callable[[Numbers], str]] = {
    "scale": lambda numbers: f"x * {numbers['by']:g} + {numbers['plus']:g}",
    "relu": lambda _: "ReLU()",
    "relu6": lambda _: "ReLU(max_value=6)",
    "leaky_relu": lambda numbers: f"LeakyReLU(negative_slope={numbers.get('slope', 0.01):g})",
    "elu": lambda numbers: f"ELU(alpha={numbers.get('alpha', 1.0):g})",
    "gelu": lambda numbers: f"keras.activations.gelu(x, approximate={numbers['approximate']})",
    "max_pool": lambda numbers: _pool_call("MaxPooling2D", numbers),
    "avg_pool": lambda numbers: _pool_call("AveragePooling2D", numbers),
    "adaptive_avg_pool": lambda numbers: (
        "GlobalAveragePooling2D()" if numbers["size"] == (1, 1) else f"means of {numbers['size']}"
    ),
    "adaptive_max_pool": lambda _: "GlobalMaxPooling2D()",
    "resize": lambda numbers: (
        f"keras.ops.image.resize to {numbers['size']}, interpolation '{numbers['mode']}'"
        f"{', with aligned corners, which Keras lacks' if numbers['align_corners'] else ''}"
    ),
}
"""Kind of an operation to what computes it in Keras, from its numbers."""


# --- what is done wrong without a declaration -----------------------------------------------------


def _changes(span: Span, index: int) -> Iterator[Hypothesis]:
    """One operation read otherwise, left out, or exchanged with the next one."""
    operation = span.ours[index]
    yield from _readings_at(span, index)
    if operation.kind in ("flatten", "dropout", "pad", "permute", "attention", "other"):
        return
    name = TITLES.get(operation.kind, operation.kind)
    yield Hypothesis(
        what=f"{name} were missing",
        remedy=f"add it: {keras_words(operation)}",
        edits=(span.change(index),),
    )
    if index + 1 < len(span.ours):
        after = span.ours[index + 1]
        earlier = Operation(kind="call", name="call", numbers={"index": index})
        yield Hypothesis(
            what=f"{name} came after {TITLES.get(after.kind, after.kind)}",
            remedy="exchange the two",
            edits=(span.change(index), span.change(index + 1, ORIGINAL, earlier)),
        )


def _readings_at(span: Span, index: int) -> list[Hypothesis]:
    """The usual readings of one operation."""
    operation = span.ours[index]
    family = FAMILIES.get(operation.kind, operation.kind)
    readings = READINGS.get(operation.kind) or READINGS.get(family)
    return [
        Hypothesis(what=what, remedy=remedy, edits=(span.change(index, *chain),))
        for what, remedy, chain in (readings(operation) if readings else ())
    ]


Reading = tuple[str, str, Chain]
"""(what, remedy, the operations in the place of PyTorch's)"""


def _lrn_readings(operation: Operation) -> Iterator[Reading]:
    """TensorFlow's divides alpha by nothing and takes a radius for a window."""
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
    for what, changed in readings:
        yield what, right, (replace(operation, numbers=numbers | changed),)


def _pool_readings(operation: Operation) -> Iterator[Reading]:
    numbers, title = operation.numbers, TITLES[operation.kind]
    size = pair_of(numbers["size"])
    half = tuple((k // 2, k // 2) for k in size)
    none = ((0, 0), (0, 0))
    right = f"give it PyTorch's: {keras_words(operation)}"
    readings: list[tuple[str, dict[str, Any]]] = [
        ("had padding 'same'", {"padding": "same", "ceil": False}),
        (f"were padded by {size[0] // 2}", {"padding": half}),
        ("were not padded", {"padding": none, "ceil": False}),
        ("had strides of its window's size", {"stride": size}),
    ]
    if numbers.get("ceil"):
        readings.insert(0, ("were rounded down, and not up (ceil_mode)", {"ceil": False}))
    if operation.kind == "avg_pool":
        counted = not numbers.get("counted", True)
        said = "counted the zeros of its padding" if counted else "left its padding out of the mean"
        readings.insert(0, (said, {"counted": counted}))
    for what, changed in readings:
        yield f"{title} {what}", right, (replace(operation, numbers=numbers | changed),)
    other = "avg_pool" if operation.kind == "max_pool" else "max_pool"
    kept = {key: numbers[key] for key in ("size", "stride", "padding", "ceil")}
    said = f"{title} were {'an average' if other == 'avg_pool' else 'a max'}-pooling"
    yield said, right, (replace(operation, kind=other, numbers=kept),)
    if operation.kind == "max_pool" and numbers["padding"] != none:
        zeros = replace(operation, numbers=numbers | {"zeros": True})
        yield (
            f"{title} were padded with zeros, which are larger than negative values",
            right,
            (zeros,),
        )


def _activation_readings(operation: Operation) -> Iterator[Reading]:
    """Other activations, and other slopes."""
    title = TITLES.get(operation.kind, operation.kind)
    others = [Operation(kind=kind, name=kind, numbers=numbers) for kind, numbers in USUAL]
    for other in others:
        if (other.kind, other.numbers) != (operation.kind, operation.numbers):
            said = _difference(operation, other)
            yield said or title, f"give it PyTorch's: {keras_words(operation)}", (other,)


USUAL: tuple[tuple[str, dict[str, Any]], ...] = (
    ("relu", {}),
    *(("leaky_relu", {"slope": slope}) for slope in (0.3, 0.2, 0.1, 0.01)),
    ("relu6", {}),
    ("gelu", {"approximate": False}),
    ("gelu", {"approximate": True}),
    *((kind, {}) for kind in ("silu", "tanh", "sigmoid", "hard_sigmoid", "hard_silu", "selu")),
    ("elu", {"alpha": 1.0}),
    *((kind, {}) for kind in ("softplus", "mish")),
)
"""Activations that are taken for one another."""


def _global_readings(operation: Operation) -> Iterator[Reading]:
    is_mean = operation.kind == "adaptive_avg_pool"
    other = "adaptive_max_pool" if is_mean else "adaptive_avg_pool"
    right = f"give it PyTorch's: {keras_words(operation)}"
    said = f"{TITLES[operation.kind]} were {'a' if is_mean else 'an'} {TITLES[other][11:]}"
    yield said, right, (replace(operation, kind=other),)


def _resize_readings(operation: Operation) -> Iterator[Reading]:
    numbers = operation.numbers
    right = f"give it PyTorch's: {keras_words(operation)}"
    for mode in ("nearest", "nearest-exact", "bilinear", "bicubic"):
        for corners in (False, True):
            changed = {"mode": mode, "align_corners": corners and mode[0] == "b"}
            if changed != {key: numbers[key] for key in changed}:
                said = f"{mode}{' with aligned corners' if changed['align_corners'] else ''}"
                yield (
                    f"the resizing were {said}",
                    right,
                    (replace(operation, numbers=numbers | changed),),
                )


def _shuffle_readings(operation: Operation) -> Iterator[Reading]:
    yield (
        "the pixel shuffle took its channels in TensorFlow's order (depth_to_space)",
        "permute the channels before it: (channels, block) in PyTorch, (block, channels) there",
        (replace(operation, kind="depth_to_space"),),
    )


def _attention_readings(operation: Operation) -> Iterator[Reading]:
    """The scores of an attention, unscaled or scaled otherwise, and without its mask."""
    size = operation.numbers["size"]
    right = f"divide its scores by the root of the size of a head, {size}"
    for said, scale in (
        (f"not divided by the root of {size}", 1.0),
        (f"divided by {size}, and not by its root", 1 / size),
    ):
        numbers = {"scale": scale}
        yield f"the attention's scores were {said}", right, (replace(ORIGINAL, numbers=numbers),)
    if operation.numbers["causal"] or operation.numbers["masked"]:
        changed = {"is_causal": False} if operation.numbers["causal"] else {"attn_mask": None}
        yield (
            "the attention had no mask",
            "add the mask to its scores before the softmax",
            (replace(ORIGINAL, numbers=changed),),
        )
    else:
        yield (
            "the attention had a causal mask",
            "remove the mask",
            (replace(ORIGINAL, numbers={"is_causal": True}),),
        )


READINGS: dict[str, Callable[[Operation], Iterator[Reading]]] = {
    "lrn": _lrn_readings,
    "pool": _pool_readings,
    "activation": _activation_readings,
    "global pool": _global_readings,
    "resize": _resize_readings,
    "pixel_shuffle": _shuffle_readings,
    "attention": _attention_readings,
}
"""Kind or family of an operation to its usual mistakes."""


# --- what PyTorch does not compute ----------------------------------------------------------------


def _ends(span: Span) -> Iterator[Hypothesis]:
    """Activations behind the last layer."""
    remedy = (
        "let the model end in logits and train it with from_logits=True, or compare probabilities"
    )
    for kind in ("softmax", "log_softmax", "sigmoid") if span.after == "output" else ():
        what = f"its last layer were followed by a {kind.replace('_', '-')}"
        added = Operation(kind=kind, name=kind, numbers={})
        edits = (Edit(layer="output", chain=(ORIGINAL, added)),)
        yield Hypothesis(what=what, remedy=remedy, edits=edits)


def _additions(span: Span) -> Iterator[Hypothesis]:
    """A ReLU, and other scalings of the images."""
    if all(operation.kind != "relu" for operation in span.ours):
        relu = Operation(kind="relu", name="relu", numbers={})
        for index in range(len(span.ours) + 1):
            edits = (span.add(index, relu),)
            yield Hypothesis(what="there were a ReLU", remedy="remove it", edits=edits)
    for what, changed in () if span.before else SCALINGS:
        edits = (span.add(0, changed),)
        yield Hypothesis(what=what, remedy="feed both the same images", edits=edits)


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
