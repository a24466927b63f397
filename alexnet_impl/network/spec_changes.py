"""Named changes of an architecture, appended to a variant's name: 'torchvision+same-padding'.

Ports of one network differ in these. A changed variant can be trained, described and compared like
any other.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from alexnet_impl.errors import SpecError
from alexnet_impl.network.spec import (
    Conv,
    Dense,
    Dropout,
    Flatten,
    Layer,
    Relu,
    Spec,
    same_padding,
    trace,
)

SEPARATOR = "+"
RATE = 0.5
"""Rate of a Dropout that a change inserts: Krizhevsky et al. 2012, section 4.2."""


def same_padded(spec: Spec) -> Spec:
    """Gives every padded convolution the padding that TensorFlow calls 'same'.

    At stride 1 odd kernels have it already; at conv1's stride of 4 it differs.
    """
    layers: list[Layer] = []
    for layer in spec.layers:
        changed = layer
        if isinstance(layer, Conv) and layer.padding != (0, 0):
            size = _size_before(spec, layers)
            changed = replace(layer, padding=same_padding(size, layer.kernel_size, layer.stride))
        layers.append(changed)
    return replace(spec, layers=tuple(layers))


def _size_before(spec: Spec, layers: list[Layer]) -> int:
    """Height of the map after these layers."""
    if not layers:
        return spec.input_shape[1]
    # trace() demands that a network ends in one row of logits.
    walked = trace(replace(spec, layers=(*layers, Flatten(name="end"))))
    return walked.layers[-1].input_shape[1]


def without_dropout(spec: Spec) -> Spec:
    """Removes every Dropout."""
    return replace(spec, layers=tuple(x for x in spec.layers if not isinstance(x, Dropout)))


def dropout_before_dense(spec: Spec) -> Spec:
    """Moves Dropout before each hidden dense layer, as torchvision has it."""
    return _with_dropout(spec, before=True)


def dropout_after_dense(spec: Spec) -> Spec:
    """Moves Dropout after each hidden dense layer's ReLU, as the paper has it."""
    return _with_dropout(spec, before=False)


def _with_dropout(spec: Spec, *, before: bool) -> Spec:
    bare = without_dropout(spec)
    rates = {layer.rate for layer in spec.layers if isinstance(layer, Dropout)} or {RATE}
    if len(rates) > 1:
        raise SpecError(f"{spec.name}: its Dropouts have several rates; their place cannot change.")
    if (other := next(_elsewhere(spec.layers), None)) is not None:
        raise SpecError(
            f"{spec.name}: {other.name} stands neither before a hidden dense layer nor after its "
            "ReLU; its place cannot change."
        )
    return replace(spec, layers=tuple(_placed(bare.layers, rates.pop(), before=before)))


def _elsewhere(layers: tuple[Layer, ...]) -> Iterator[Dropout]:
    """Yields the Dropouts at other places than the two between which they can move."""
    for place, layer in enumerate(layers):
        around = (layers[place + 1 : place + 3], layers[max(place - 2, 0) : place])
        kinds = [tuple(map(type, pair)) for pair in around]
        if isinstance(layer, Dropout) and (Dense, Relu) not in kinds:
            yield layer


def _placed(layers: tuple[Layer, ...], rate: float, *, before: bool) -> Iterator[Layer]:
    number = 0
    for layer, following in zip(layers, (*layers[1:], None), strict=True):
        hidden = isinstance(layer, Dense) and isinstance(following, Relu)
        number += hidden
        if hidden and before:
            yield Dropout(name=f"dropout{number}", rate=rate)
        yield layer
        if number and isinstance(layer, Relu) and not before:
            yield Dropout(name=f"dropout{number}", rate=rate)


SPEC_CHANGES: dict[str, Callable[[Spec], Spec]] = {
    "same-padding": same_padded,
    "dropout-before": dropout_before_dense,
    "dropout-behind": dropout_after_dense,
    "no-dropout": without_dropout,
}
"""The changes that a variant's name may carry, each after a plus."""
