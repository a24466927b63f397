"""Which layer of a PyTorch model belongs to which of a Keras model, and both in one layout."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from alexnet_impl.errors import ParityError
from alexnet_impl.frameworks.user_model import Operation, UserLayer, UserModel, UserModelFacts
from alexnet_impl.weights.canonical import Array, Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerPair:
    """Two layers that ought to compute the same; known by the name of the PyTorch one."""

    torch: UserLayer
    tensorflow: UserLayer

    @property
    def name(self) -> str:
        """What the pair is called."""
        return self.torch.name

    @property
    def label(self) -> str:
        """Both names, where they differ."""
        ours, theirs = self.torch, self.tensorflow
        return ours.title if ours.name == theirs.name else f"{ours.title} ({theirs.title} in Keras)"

    @property
    def shared(self) -> tuple[str, ...]:
        """Short names of the weights that both have, in one shape."""
        others = self.tensorflow.shapes
        return tuple(k for k, shape in self.torch.shapes.items() if others.get(k) == shape)


def pair_layers(
    torch: UserModelFacts, tensorflow: UserModelFacts, names: dict[str, str]
) -> tuple[LayerPair, ...]:
    """Put the layers that bear weights side by side.

    By the name map; those that it leaves over by name where all names are equal, else by order.

    Returns:
        In the order in which PyTorch calls them.

    Raises:
        ParityError: If a name is unknown, or if counts, kinds or shapes do not fit.
    """
    ours = {layer.name: layer for layer in torch.layers}
    theirs = {layer.name: layer for layer in tensorflow.layers}
    _check_names(names, ours, theirs)
    left = [name for name in ours if name not in names]
    right = [name for name in theirs if name not in names.values()]
    if len(left) != len(right):
        raise ParityError(_counts(torch.layers, tensorflow.layers, left, right))
    by_name = set(left) == set(right)
    partners = names | dict(zip(left, left if by_name else right, strict=True))
    pairs = [LayerPair(torch=ours[name], tensorflow=theirs[partners[name]]) for name in ours]
    for pair in pairs:
        _check_pair(pair)
    return tuple(_with_order(pair) for pair in pairs)


def _check_names(
    names: dict[str, str], ours: dict[str, UserLayer], theirs: dict[str, UserLayer]
) -> None:
    for name, other in names.items():
        for framework, wanted, known in (("torch", name, ours), ("tensorflow", other, theirs)):
            if wanted not in known:
                raise ParityError(
                    f"--names {name}={other}: the {framework} model has no layer with weights "
                    f"called {wanted}; it has {', '.join(known) or 'none'}."
                )
    if len(set(names.values())) < len(names):
        twice = next(other for other in names.values() if [*names.values()].count(other) > 1)
        raise ParityError(f"--names: {twice} is given to two layers; each has one partner.")


def _counts(
    ours: Sequence[UserLayer],
    theirs: Sequence[UserLayer],
    left: list[str],
    right: list[str],
) -> str:
    alone = [name for name in left if name not in right], [n for n in right if n not in left]
    return (
        f"the torch model has {len(ours)} layers with weights, the tensorflow model {len(theirs)}; "
        f"without a partner of their own name are, in torch, {_list(ours, alone[0])}, and, in "
        f"tensorflow, {_list(theirs, alone[1])}: one of the models lacks a layer, or calls one "
        "that is not part of it."
    )


def _list(layers: Sequence[UserLayer], names: list[str]) -> str:
    return ", ".join(_describe(layer) for layer in layers if layer.name in names) or "none"


def _describe(layer: UserLayer) -> str:
    kernel = layer.shapes.get("weight")
    return f"{layer.name} ({layer.kind}{f' {kernel}' if kernel else ''})"


def _check_pair(pair: LayerPair) -> None:
    """Refuse what cannot be the same layer.

    A missing bias and other numbers of input features are let through: the first is a finding, and
    the second what a mismatch farther up looks like from below.
    """
    ours, theirs = pair.torch, pair.tensorflow
    if ours.kind != theirs.kind:
        raise ParityError(
            f"{_describe(ours)} in torch and {_describe(theirs)} in tensorflow are of different "
            "kinds; pair them otherwise with --names."
        )
    for short in ours.shapes.keys() & theirs.shapes.keys():
        first, second = ours.shapes[short], theirs.shapes[short]
        rows_only = ours.kind == "dense" and short == "weight" and first[0] == second[0]
        if first != second and not rows_only:
            groups = f", with groups={ours.groups} and groups={theirs.groups}"
            raise ParityError(
                f"{ours.name}.{short} has shape {first} in torch, but {theirs.name}.{short} in "
                f"tensorflow has {second} in the same layout"
                f"{groups if ours.groups != theirs.groups else ''}; correct the port, or pair the "
                "layers otherwise with --names."
            )


def _with_order(pair: LayerPair) -> LayerPair:
    """A dense layer in Keras whose map was not seen reads, as Keras does, channels last."""
    ours, theirs = pair.torch, pair.tensorflow
    if theirs.features or ours.features != "channels-first" or "weight" not in pair.shared:
        return pair
    read = replace(theirs, flattened=ours.flattened, features="channels-last")
    return LayerPair(torch=ours, tensorflow=read)


def trailing_pad(layer: UserLayer) -> Operation | None:
    """The zero padding that stands right before a convolution: it counts as the convolution's."""
    if layer.kind != "conv" or not layer.before or layer.before[-1].kind != "pad":
        return None
    return layer.before[-1] if layer.before[-1].numbers["zeros"] else None


def whole_padding(layer: UserLayer) -> tuple[tuple[int, int], tuple[int, int]]:
    """A convolution's padding, with that of a padding layer right before it."""
    pad = trailing_pad(layer)
    if pad is None:
        return layer.padding
    (above, below), (left, right) = pad.numbers["sides"]
    (own_above, own_below), (own_left, own_right) = layer.padding
    return ((above + own_above, below + own_below), (left + own_left, right + own_right))


class PairedModel:
    """A model whose arrays bear PyTorch's names and lie in the canonical layout."""

    def __init__(self, model: UserModel, layers: dict[str, UserLayer]) -> None:
        self.model = model
        self.layers = layers
        """The name of each pair to this model's layer."""

    def weights(self) -> Weights:
        """Of the paired layers, in the canonical layout."""
        return self._ours(self.model.weights())

    def set_weights(self, weights: Weights) -> None:
        """Put canonical weights into the model."""
        found: Weights = {}
        for name, array in weights.items():
            layer_name, _, short = name.rpartition(".")
            layer = self.layers[layer_name]
            found[f"{layer.name}.{short}"] = _columns(layer, short, array, back=True)
        self.model.set_weights(found)

    def forward(self, images: Array) -> Weights:
        """'<pair>.input' and '<pair>.output', and 'output'; an input without zero padding."""
        arrays = self.model.forward(images)
        found = {"output": arrays["output"]}
        for name, layer in self.layers.items():
            found[f"{name}.input"] = _unpadded(layer, arrays[f"{layer.name}.input"])
            found[f"{name}.output"] = arrays[f"{layer.name}.output"]
        return found

    def gradients(self, images: Array, labels: Array) -> tuple[float, Weights]:
        """Loss, and gradients in the canonical layout."""
        loss, found = self.model.gradients(images, labels)
        return loss, self._ours(found)

    def _ours(self, weights: Weights) -> Weights:
        return {
            f"{name}.{short}": _columns(layer, short, weights[f"{layer.name}.{short}"])
            for name, layer in self.layers.items()
            for short in layer.shapes
            if f"{layer.name}.{short}" in weights
        }


def _unpadded(layer: UserLayer, inputs: Array) -> Array:
    """A layer's input with dense features channels first and without the padding before it."""
    if layer.features == "channels-last":
        return _reorder(layer, inputs, back=False)
    if (pad := trailing_pad(layer)) is None:
        return inputs
    (above, below), (left, right) = pad.numbers["sides"]
    height, width = inputs.shape[2:]
    return inputs[:, :, above : height - below, left : width - right]


def _columns(layer: UserLayer, short: str, array: Array, *, back: bool = False) -> Array:
    """A kernel (out, features) with its features channels first, or back in the model's order."""
    if short != "weight" or layer.features != "channels-last":
        return array
    return _reorder(layer, array, back=back)


def _reorder(layer: UserLayer, rows: Array, *, back: bool) -> Array:
    """(n, features), the features of a channels-last map, to channels-first; or back."""
    channels, height, width = layer.flattened or (rows.shape[1], 1, 1)
    if back:
        maps = rows.reshape(-1, channels, height, width).transpose(0, 2, 3, 1)
    else:
        maps = rows.reshape(-1, height, width, channels).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(maps.reshape(len(rows), -1))
