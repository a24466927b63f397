"""Pairs of layers of a PyTorch and a Keras model, and access to both models in one layout."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import Any

import numpy as np

from alexnet_impl.errors import ParityError
from alexnet_impl.frameworks.user_model import (
    Edit,
    Operation,
    UserLayer,
    UserModel,
    UserModelFacts,
    ZeroPadding,
    squeezed,
)
from alexnet_impl.frameworks.user_training import TrainingStep
from alexnet_impl.weights.canonical import Array, Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerPair:
    """A PyTorch layer and the Keras layer that should compute the same.

    Attributes:
        torch: PyTorch's.
        tensorflow: Keras's.
        computes_alike: Whether inputs and outputs should be equal; not of an embedding of places
            and a layer that adds its table.
    """

    torch: UserLayer
    tensorflow: UserLayer
    computes_alike: bool = True

    @property
    def name(self) -> str:
        """The name of the PyTorch layer."""
        return self.torch.name

    @property
    def label(self) -> str:
        """Both names if they differ, otherwise one."""
        ours, theirs = self.torch, self.tensorflow
        return ours.title if ours.name == theirs.name else f"{ours.title} ({theirs.title} in Keras)"

    @property
    def shared(self) -> tuple[str, ...]:
        """Short names of the weights that both layers have in the same shape."""
        others = self.tensorflow.shapes
        return tuple(k for k, shape in self.torch.shapes.items() if others.get(k) == shape)


def pair_layers(
    torch: UserModelFacts, tensorflow: UserModelFacts, names: dict[str, str]
) -> tuple[LayerPair, ...]:
    """Pair the layers with weights, in the order in which PyTorch calls them.

    The name map decides first. The remaining layers are paired by name if all names are equal but
    for their separators; otherwise by order, or, where kinds, shapes or connections then differ, by
    the layers that each follows.

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
    plain = {_plain(name): name for name in right}
    if {_plain(name) for name in left} == plain.keys() and len(plain) == len(right):
        partners = {name: plain[_plain(name)] for name in left}
    else:
        partners = dict(zip(left, right, strict=True))
        colours = _neighbourhoods(ours, theirs)
        if not all(
            _fits(ours[name], theirs[other]) and colours[0][name] == colours[1][other]
            for name, other in partners.items()
        ):
            found = _by_graph(ours, theirs, names)
            partners = partners if found is None else found
    partners = names | partners
    pairs = [_adapted(ours[name], theirs[partners[name]]) for name in ours]
    for pair in pairs:
        _check_pair(pair)
    return tuple(_with_order(pair) for pair in pairs)


def called(pairs: Sequence[LayerPair]) -> tuple[LayerPair, ...]:
    """The pairs that have inputs and outputs on both sides: all but those of parameters."""
    return tuple(pair for pair in pairs if pair.torch.kind != "parameter" and pair.computes_alike)


def _plain(name: str) -> str:
    """A name without its separators: Keras allows no dots."""
    return re.sub(r"[./_]+", "_", name)


def _fits(ours: UserLayer, theirs: UserLayer) -> bool:
    """Whether two layers have one kind and one shape of their kernel, or of their statistics."""
    pair = _adapted(ours, theirs)
    first, second = pair.torch, pair.tensorflow
    if first.kind != second.kind:
        return False
    shared = first.shapes.keys() & second.shapes.keys()
    return all(_same_rows(pair, short) for short in shared)


def _by_graph(
    ours: dict[str, UserLayer], theirs: dict[str, UserLayer], names: dict[str, str]
) -> dict[str, str] | None:
    """Partners that fit and follow partners; None if a layer has none.

    Of several candidates one with the same neighbours counts, and of these the first in the order
    of the calls.
    """
    found = dict(names)
    colours = _neighbourhoods(ours, theirs)
    for name, layer in ours.items():
        if name in names:
            continue
        wanted = {found[before] for before in layer.follows if before in found}
        candidates = [
            other
            for other, theirs_layer in theirs.items()
            if other not in found.values()
            and _fits(layer, theirs_layer)
            and (layer.kind == "parameter" or wanted == set(theirs_layer.follows))
        ]
        if not candidates:
            return None
        alike = [other for other in candidates if colours[1][other] == colours[0][name]]
        found[name] = (alike or candidates)[0]
    return found


def _neighbourhoods(*models: dict[str, UserLayer]) -> list[dict[str, int]]:
    """A number for each layer of some models, equal for layers with equal surroundings.

    Every round lets each layer see one connection further in both directions.
    """
    found: list[dict[str, Any]] = [
        {name: (_trait(layer), layer.pooled) for name, layer in model.items()} for model in models
    ]
    links: list[dict[str, tuple[set[str], set[str]]]] = []
    for model in models:
        both: dict[str, tuple[set[str], set[str]]] = {
            name: (set(layer.follows) & model.keys(), set()) for name, layer in model.items()
        }
        for name, (before, _) in both.items():
            for other in before:
                both[other][1].add(name)
        links.append(both)
    count = 0
    while True:
        known: dict[Any, int] = {}
        numbered: list[dict[str, Any]] = []
        for colours, both in zip(found, links, strict=True):
            numbered.append({})
            for name, sides in both.items():
                around = [tuple(sorted(str(colours[other]) for other in side)) for side in sides]
                key = (colours[name], *around)
                numbered[-1][name] = known.setdefault(key, len(known))
        if len(known) == count:
            return numbered
        found, count = numbered, len(known)


def _trait(layer: UserLayer) -> tuple[str, int]:
    """Kind of a layer and size of its output, which are equal in two layers that pair."""
    kind = "kernel" if layer.kind in ("conv", "dense") else layer.kind
    shape = next((layer.shapes[s] for s in ("weight", "running_mean") if s in layer.shapes), (0,))
    return kind, shape[0] if shape else 0


def _adapted(ours: UserLayer, theirs: UserLayer) -> LayerPair:
    """A pair; a dense layer for a 1x1 convolution, or the reverse, counts as PyTorch's kind."""
    kinds = {ours.kind: ours, theirs.kind: theirs}
    if kinds.keys() == {"conv", "dense"}:
        first, second = kinds["conv"].shapes["weight"], kinds["dense"].shapes["weight"]
        if first == (*second, 1, 1):
            shapes = {**theirs.shapes, "weight": ours.shapes["weight"]}
            own = theirs.shapes["weight"]
            theirs = replace(theirs, kind=ours.kind, shapes=shapes, features="", own_shape=own)
    if "parameter" in kinds and ours.kind != theirs.kind:
        ours, theirs = _as_parameter(ours), _as_parameter(theirs)
    if ours.kind == "embedding" and theirs.kind != "embedding":
        table = _as_parameter(theirs)
        if table.kind == "parameter":
            shapes = {"weight": squeezed(ours.shapes["weight"])}
            ours = replace(ours, shapes=shapes, own_shape=ours.shapes["weight"])
            theirs = replace(table, kind="embedding")
            return LayerPair(torch=ours, tensorflow=theirs, computes_alike=False)
    return LayerPair(torch=ours, tensorflow=theirs)


def _as_parameter(layer: UserLayer) -> UserLayer:
    """The layer; one of a single weight, as for a class token, counts as a parameter."""
    if layer.kind == "parameter" or layer.shapes.keys() != {"weight"}:
        return layer
    own = layer.own_shape or layer.shapes["weight"]
    return replace(layer, kind="parameter", shapes={"weight": squeezed(own)}, own_shape=own)


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
    first = [layer for layer in ours if layer.name in alone[0]]
    second = [layer for layer in theirs if layer.name in alone[1]]
    traits = [[_trait(layer) for layer in layers] for layers in (first, second)]
    matcher = SequenceMatcher(None, traits[0], traits[1], autojunk=False)
    for block in matcher.get_matching_blocks()[::-1]:
        del first[block.a : block.a + block.size], second[block.b : block.b + block.size]
    return (
        f"the torch model has {len(ours)} layers with weights, the tensorflow model {len(theirs)}. "
        f"No partner of their kind in this order: in torch {_list(first)}; in tensorflow "
        f"{_list(second)}. Add the missing layer, or pair layers with --names."
    )


def _list(layers: Sequence[UserLayer]) -> str:
    said = ", ".join(_describe(layer) for layer in layers[:MOST_NAMED])
    more = len(layers) - MOST_NAMED
    return f"{said} and {more} more" if more > 0 else said or "none"


MOST_NAMED = 6
"""Layers without a partner that are listed."""


def _describe(layer: UserLayer) -> str:
    kernel = layer.shapes.get("weight")
    return f"{layer.name} ({layer.kind}{f' {kernel}' if kernel else ''})"


def _check_pair(pair: LayerPair) -> None:
    """Refuse a pair that cannot be the same layer.

    A missing bias is accepted, since a check reports it; so is another number of input features,
    since it results from a mismatch in an earlier layer.
    """
    ours, theirs = pair.torch, pair.tensorflow
    if ours.kind != theirs.kind:
        raise ParityError(
            f"{_describe(ours)} in torch and {_describe(theirs)} in tensorflow are of different "
            "kinds; choose other pairs with --names."
        )
    for short in ours.shapes.keys() & theirs.shapes.keys():
        first, second = ours.shapes[short], theirs.shapes[short]
        if not _same_rows(pair, short):
            groups = f", with groups={ours.groups} and groups={theirs.groups}"
            raise ParityError(
                f"{ours.name}.{short} has shape {first} in torch, but {theirs.name}.{short} in "
                f"tensorflow has {second} in the same layout"
                f"{groups if ours.groups != theirs.groups else ''}; correct the port, or choose "
                "other pairs with --names."
            )


def _same_rows(pair: LayerPair, short: str) -> bool:
    """Whether a weight has one shape on both sides, except for a dense layer's input features."""
    ours, first, second = pair.torch, pair.torch.shapes[short], pair.tensorflow.shapes[short]
    return first == second or (ours.kind == "dense" and short == "weight" and first[0] == second[0])


def _with_order(pair: LayerPair) -> LayerPair:
    """The pair; a Keras dense layer whose input map was not seen counts as channels last."""
    ours, theirs = pair.torch, pair.tensorflow
    if theirs.features or ours.features != "channels-first" or "weight" not in pair.shared:
        return pair
    read = replace(theirs, flattened=ours.flattened, features="channels-last")
    return replace(pair, tensorflow=read)


def trailing_pad(layer: UserLayer) -> Operation | None:
    """The zero padding directly before a convolution, which counts as the convolution's own."""
    if layer.kind != "conv" or not layer.before or layer.before[-1].kind != "pad":
        return None
    return layer.before[-1] if layer.before[-1].numbers["zeros"] else None


def whole_padding(layer: UserLayer) -> ZeroPadding:
    """A convolution's padding in pixels, including that of a padding layer directly before it."""
    pad = trailing_pad(layer)
    if pad is None:
        return layer.padding
    (above, below), (left, right) = pad.numbers["sides"]
    (own_above, own_below), (own_left, own_right) = layer.padding
    return ((above + own_above, below + own_below), (left + own_left, right + own_right))


class PairedModel:
    """A user's model whose arrays have PyTorch's names and the canonical layout."""

    def __init__(self, model: UserModel, layers: dict[str, UserLayer]) -> None:
        self.model = model
        self.layers = layers
        """Name of each pair to this model's layer."""

    def weights(self) -> Weights:
        """Weights of the paired layers in the canonical layout."""
        return self._ours(self.model.weights())

    def set_weights(self, weights: Weights) -> None:
        """Load weights of the canonical layout into the model."""
        found: Weights = {}
        for name, array in weights.items():
            layer_name, _, short = name.rpartition(".")
            layer = self.layers[layer_name]
            found[f"{layer.name}.{short}"] = _columns(layer, short, array, back=True)
        self.model.set_weights(found)

    def forward(self, images: Array) -> Weights:
        """Inputs and outputs of the paired layers, and the model's output.

        Args:
            images: Floats of shape (batch, height, width, channels).

        Returns:
            '<pair>.input' (without zero padding), '<pair>.output' and 'output': maps (batch,
            channels, height, width) or rows (batch, features), channels first.
        """
        return self._paired(self.model.forward(images))

    def replay(self, images: Array, edits: Sequence[Edit], place: str = "") -> Weights:
        """The arrays of forward(), or one of them, with some calls of PyTorch's model changed.

        Args:
            images: Floats of shape (batch, height, width, channels).
            edits: The changes.
            place: The array that is needed; '' for all.

        Returns:
            Nothing if a change cannot be computed.
        """
        return self._paired(self.model.replay(images, edits, place))

    def _paired(self, arrays: Weights) -> Weights:
        found = {"output": arrays["output"]} if "output" in arrays else {}
        for name, layer in self.layers.items():
            if (inputs := arrays.get(f"{layer.name}.input")) is not None:
                found[f"{name}.input"] = _unpadded(layer, _shaped(layer, inputs))
            if (outputs := arrays.get(f"{layer.name}.output")) is not None:
                found[f"{name}.output"] = _shaped(layer, outputs)
        return found

    def gradients(self, images: Array, labels: Array) -> tuple[float, Weights]:
        """Loss and canonical gradients for images (batch, height, width, channels)."""
        loss, found = self.model.gradients(images, labels)
        return loss, self._ours(found)

    def training_step(self, images: Array, labels: Array, *, update: bool) -> TrainingStep:
        """A training step with canonical gradients; images (batch, height, width, channels)."""
        step = self.model.training_step(images, labels, update=update)
        return replace(step, gradients=self._ours(step.gradients))

    def _ours(self, weights: Weights) -> Weights:
        return {
            f"{name}.{short}": _columns(layer, short, weights[f"{layer.name}.{short}"])
            for name, layer in self.layers.items()
            for short in layer.shapes
            if f"{layer.name}.{short}" in weights
        }


def _shaped(layer: UserLayer, values: Array) -> Array:
    """Values of a layer that counts as one of another kind: a map of one pixel is a row."""
    if layer.own_shape is None:
        return values
    if len(layer.own_shape) == SEQUENCES and layer.kind == "conv":
        return values[:, :, None]
    if layer.kind == "conv" and values.ndim == ROWS:
        return values[:, :, None, None]
    one = layer.kind == "dense" and values.shape[ROWS:] == (1, 1)
    return values[:, :, 0, 0] if one else values


ROWS, SEQUENCES = 2, 3
"""Dimensions of rows (batch, features) and of sequences (batch, channels, length)."""


def _unpadded(layer: UserLayer, inputs: Array) -> Array:
    """A layer's input without the padding before it, dense features in channels-first order."""
    if layer.features == "channels-last":
        return _reorder(layer, inputs, back=False)
    if (pad := trailing_pad(layer)) is None:
        return inputs
    (above, below), (left, right) = pad.numbers["sides"]
    height, width = inputs.shape[2:]
    return inputs[:, :, above : height - below, left : width - right]


def _columns(layer: UserLayer, short: str, array: Array, *, back: bool = False) -> Array:
    """A kernel (out, features) with its features in channels-first or in the model's order."""
    if short == "weight" and layer.own_shape is not None:
        return array.reshape(layer.own_shape if back else layer.shapes["weight"])
    if short != "weight" or layer.features != "channels-last":
        return array
    return _reorder(layer, array, back=back)


def _reorder(layer: UserLayer, rows: Array, *, back: bool) -> Array:
    """Rows (n, features) of a channels-last map in channels-first order, or back."""
    channels, height, width = layer.flattened or (rows.shape[1], 1, 1)
    if back:
        maps = rows.reshape(-1, channels, height, width).transpose(0, 2, 3, 1)
    else:
        maps = rows.reshape(-1, height, width, channels).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(maps.reshape(len(rows), -1))
