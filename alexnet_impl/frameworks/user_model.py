"""Protocol for a user's own model: its layers, weights, forward pass and gradients as arrays.

The adapters' user_model.py implement it for nn.Module and keras.Model; alexnet_impl.ports compares
two such models.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from alexnet_impl.errors import FrameworkError
from alexnet_impl.frameworks.user_training import Training, TrainingFacts, TrainingStep
from alexnet_impl.network.spec import same_padding
from alexnet_impl.network.user_code import load_user_object
from alexnet_impl.weights.canonical import Array, Weights

LayerKind = Literal[
    "conv", "dense", "transposed", "batchnorm", "attention", "embedding", "parameter", "other"
]
FeatureOrder = Literal["", "channels-first", "channels-last"]
ZeroPadding = tuple[tuple[int, int], tuple[int, int]]
"""Pixels of zeros: (above, below), (left, right)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """An operation between two layers with weights.

    Attributes:
        kind: relu, leaky_relu, gelu, ..., softmax, lrn, max_pool, avg_pool, adaptive_avg_pool,
            adaptive_max_pool, resize, pixel_shuffle, pad, scale, flatten, permute, dropout, noise;
            'other' if its arithmetic is unknown. In an Edit also 'original', which is the changed
            call itself, and 'call', an earlier operation of the same span by its index.
        name: Name of the layer or function in the user's code.
        numbers: Arguments such as size, stride, padding, alpha, in PyTorch's sense.
    """

    kind: str
    name: str
    numbers: dict[str, Any]

    def __post_init__(self) -> None:
        # JSON makes lists of tuples.
        tuples = {key: _tuples(value) for key, value in self.numbers.items()}
        object.__setattr__(self, "numbers", tuples)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class UserLayer:
    """A layer with weights.

    Attributes:
        name: Dotted path inside the model.
        kind: The layer's arithmetic; 'parameter' is one that belongs to no layer, such as the class
            token of a vision transformer, and has no input and no output.
        shapes: Short name of each weight ('weight', 'bias', 'running_mean', 'running_var') to its
            shape in PyTorch's layout.
        frozen: Weights that its framework does not train.
        before: Operations between the previously called layer and this one.
        follows: Layers whose outputs reach this one's input; empty for the images, or if unknown.
        pooled: Poolings with a window between them and this one, on the path that has most.
        stride: (vertical, horizontal) stride of a convolution.
        padding: Zero padding of a convolution in pixels.
        padding_name: 'same' or 'valid' if the user gave the padding by name.
        dilation: (vertical, horizontal) dilation of a convolution.
        groups: Groups of a convolution.
        output_padding: (vertical, horizontal) size added to the output of a transposed convolution.
        epsilon: Epsilon of a batch normalisation.
        heads: Heads of an attention.
        flattened: (channels, height, width) of the map that a dense layer reads flattened.
        features: Order in which the map was flattened.
        own_shape: Shape of the kernel in the model, if the layer counts as one of another kind.
        training: What acts in training alone: 'momentum' is the share of the new statistics of a
            batch normalisation (None for the mean over all batches), 'penalties' and 'constraints'
            have a text for each weight that has one.
    """

    name: str
    kind: LayerKind
    shapes: dict[str, tuple[int, ...]]
    frozen: tuple[str, ...] = ()
    before: tuple[Operation, ...] = ()
    follows: tuple[str, ...] = ()
    pooled: int = 0
    stride: tuple[int, int] = (1, 1)
    padding: ZeroPadding = ((0, 0), (0, 0))
    padding_name: str = ""
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    output_padding: tuple[int, int] = (0, 0)
    epsilon: float = 0.0
    heads: int = 0
    flattened: tuple[int, int, int] | None = None
    features: FeatureOrder = ""
    own_shape: tuple[int, ...] | None = None
    training: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The name for use in a sentence; in an nn.Sequential names are numbers."""
        return f"layer {self.name}" if self.name.isdigit() else self.name


ORIGINAL = Operation(kind="original", name="original", numbers={})


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A change of one call in a PyTorch model, with which it computes as a port may.

    Attributes:
        layer: The changed layer; of a changed operation the layer before it, '' before the first.
            'output' changes the model's output.
        index: Position of the changed operation behind the layer; None to change the layer itself.
        chain: Operations in the place of the call, which is ORIGINAL among them, its numbers other
            arguments of the call; around a layer a padding directly before it counts as its own.
        attributes: Other values of the layer's attributes.
        arguments: Other arguments of the layer's call.
        weights: Short name of a weight to another array, in PyTorch's layout.
    """

    layer: str
    index: int | None = None
    chain: tuple[Operation, ...] = (ORIGINAL,)
    attributes: dict[str, Any] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)
    weights: Weights = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserModelFacts:
    """A model's layers in the order of their calls, and the operations after the last layer.

    Attributes:
        layers: The layers with weights.
        after: The operations after the last of them.
        notes: Sentences on what was changed for the comparison.
    """

    layers: tuple[UserLayer, ...]
    after: tuple[Operation, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCall:
    """A call of a layer with weights, its maps (batch, channels, height, width).

    Attributes:
        name: Dotted path of the layer inside the model.
        layer: The framework's own layer.
        before: Operations between the previous call and this one.
        inputs: Input of the layer; None for a parameter that belongs to no layer.
        outputs: Output, without an activation that is part of the layer; likewise.
        maps: The last feature map before the layer.
        follows: See UserLayer.
        pooled: See UserLayer.
    """

    name: str
    layer: Any
    before: tuple[Operation, ...]
    inputs: Array | None
    outputs: Array | None
    maps: Array | None
    follows: tuple[str, ...] = ()
    pooled: int = 0


class Sources:
    """The layers whose outputs reached each tensor of a call."""

    def __init__(self, *, active: bool = True) -> None:
        self._active = active
        self._names: dict[int, frozenset[str]] = {}
        self._poolings: dict[int, int] = {}
        self._kept: list[Any] = []  # an identity stands for a tensor only while that lives

    def of(self, tensors: Iterable[Any]) -> frozenset[str]:
        """The layers behind some tensors, also in lists of them."""
        found: set[str] = set()
        for one in tensors:
            inner = isinstance(one, list | tuple)
            found |= self.of(one) if inner else self._names.get(id(one), frozenset())
        return frozenset(found)

    def facts(self, tensors: Iterable[Any]) -> dict[str, Any]:
        """The fields of a LayerCall that say where its inputs come from."""
        return {"follows": tuple(sorted(self.of(tensors))), "pooled": self._pooled(tensors)}

    def _pooled(self, tensors: Iterable[Any]) -> int:
        return max(
            (
                self._pooled(one)
                if isinstance(one, list | tuple)
                else self._poolings.get(id(one), 0)
                for one in tensors
            ),
            default=0,
        )

    def pass_on(self, tensor: Any, sources: Sequence[Any], *, pools: bool = False) -> None:
        """Notes that a tensor is computed from others, without a layer with weights."""
        count = self._pooled(sources) + pools
        self.keep(tensor, self.of(sources))
        self._poolings[id(tensor)] = count

    def keep(self, tensor: Any, names: Iterable[str]) -> None:
        """Notes which layers a tensor comes from."""
        if self._active:
            self._names[id(tensor)] = frozenset(names)
            self._kept.append(tensor)


def arrays_of(calls: Iterable[LayerCall], output: Array | None) -> Weights:
    """Returns the result of UserModel.forward(), an output (batch, classes) included if given."""
    arrays: Weights = {}
    for call in calls:
        ends = {"input": call.inputs, "output": call.outputs}
        arrays |= {f"{call.name}.{end}": a for end, a in ends.items() if a is not None}
    return arrays if output is None else arrays | {"output": output}


class UserModel(Protocol):
    """A user's model with NumPy arrays in and out; weights are named '<layer>.<short name>'.

    Weights have PyTorch's layout, except that the features of a dense layer keep the model's order.
    """

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """(height, width, channels) of images, or another shape of one input; None if undeclared.

        What the methods below call images may be any array (batch, ...) of floats or integers.
        """

    def describe(self, images: Array) -> UserModelFacts:
        """Describes the layers, as seen in a call on these images; must be called first.

        Args:
            images: Floats of shape (batch, height, width, channels).
        """

    def use_precision(self, precision: str) -> str:
        """Switches to float32 or float64; returns '' or the reason why it is not supported."""

    def weights(self) -> Weights:
        """Copies all weights, their shapes in PyTorch's layout."""

    def set_weights(self, weights: Weights) -> None:
        """Loads some or all weights, their shapes in PyTorch's layout."""

    def forward(self, images: Array) -> Weights:
        """Runs the model in evaluation mode on images (batch, height, width, channels).

        Returns:
            '<layer>.input', '<layer>.output' and 'output': maps (batch, channels, height, width) or
            rows (batch, features); outputs without an activation that is part of the layer.
        """

    def replay(self, images: Array, edits: Sequence[Edit], place: str = "") -> Weights:  # noqa: ARG002
        """Runs the model with some of its calls changed, which PyTorch's models can.

        Args:
            images: Floats of shape (batch, height, width, channels).
            edits: The changes.
            place: '<layer>.input', '<layer>.output' or 'output': where the call ends; '' for all.

        Returns:
            What forward() returns, or the array of the place; without what cannot be computed, such
            as a pooling with a window that is larger than the map.
        """
        raise FrameworkError("only the calls of a PyTorch model can be changed.")

    def gradients(self, images: Array, labels: Array) -> tuple[float, Weights]:
        """Computes the mean softmax cross-entropy, and its gradient by each trained weight.

        The model is in evaluation mode; of a map, every value counts as a logit. Images have shape
        (batch, height, width, channels), labels (batch,). An output of probabilities counts as that
        of a softmax.
        """

    def prepare_training(self, training: Training, folder: Path) -> TrainingFacts:  # noqa: ARG002
        """Starts the user's own training step anew, with a fresh optimizer.

        Args:
            training: The user's function; '' for what a Keras model was compiled with.
            folder: Where it is looked for.

        Raises:
            UserCodeError: If there is no such function, or it raises.
            FrameworkError: If it does not return a loss and an optimizer.
        """
        raise FrameworkError("the model has no training step of its own.")

    def training_step(self, images: Array, labels: Array, *, update: bool) -> TrainingStep:  # noqa: ARG002
        """Takes a training step, or only computes its loss and gradients.

        Args:
            images: Floats of shape (batch, height, width, channels).
            labels: Classes or 0 and 1, shape (batch,).
            update: Whether the optimizer changes the weights.
        """
        raise FrameworkError("the model has no training step of its own.")

    def descend(
        self, images: Array, labels: Array, *, learning_rate: float, steps: int
    ) -> list[float]:
        """Takes steps of gradient descent; returns the loss before each and after the last.

        Images have shape (batch, height, width, channels), labels (batch,).
        """
        losses = []
        for _ in range(steps):
            loss, gradients = self.gradients(images, labels)
            losses.append(loss)
            weights = self.weights()
            self.set_weights({n: weights[n] - learning_rate * g for n, g in gradients.items()})
        return [*losses, self.gradients(images, labels)[0]]


def are_probabilities(output: Array) -> bool:
    """Whether the rows of an output of shape (batch, classes) are distributions."""
    return bool(
        output.ndim == 2 and (output >= 0).all() and np.abs(output.sum(axis=1) - 1).max() < 1e-4
    )


def feature_order(maps: Array, features: Array) -> FeatureOrder:
    """Order in which features (batch, n) were flattened from maps (batch, channels, height, width).

    Returns:
        '' if neither order fits.
    """
    if maps[0].size != features[0].size:
        return ""
    if np.array_equal(maps.reshape(features.shape), features):
        return "channels-first"
    if np.array_equal(maps.transpose(0, 2, 3, 1).reshape(features.shape), features):
        return "channels-last"
    return ""


def flatten_facts(maps: Array | None, inputs: Array | None) -> dict[str, Any]:
    """The fields of a UserLayer that say which map a dense layer reads flattened, if any.

    Args:
        maps: The last feature map before the layer, (batch, channels, height, width).
        inputs: The layer's input, (batch, features) if it is flat.
    """
    if maps is None or inputs is None:
        return {}
    order = feature_order(maps, inputs) if inputs.ndim == 2 else ""
    return {"flattened": maps.shape[1:], "features": order} if order else {}


def same_sides(
    sizes: Sequence[int],
    kernel_size: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int] = (1, 1),
) -> ZeroPadding:
    """Pixels of zeros that TensorFlow's 'same' adds to a map; every argument is (height, width)."""
    rows, columns = (
        same_padding(size, (kernel - 1) * wide + 1, step)
        for size, kernel, step, wide in zip(sizes, kernel_size, stride, dilation, strict=True)
    )
    return rows, columns


def sequence_kernel(shape: Sequence[int]) -> tuple[int, ...]:
    """Shape of a kernel (out, in, length) as one over maps with a height of 1."""
    out, inner, length = shape
    return (out, inner, 1, length)


def squeezed(shape: Sequence[int]) -> tuple[int, ...]:
    """A shape without the axes of size 1."""
    return tuple(size for size in shape if size > 1)


def recurrent(layer: str) -> str:
    """The message for a layer whose weights have no common layout here."""
    return (
        f"{layer} is a recurrent layer, whose gates and biases are not read; compare the parts "
        "before and after it, each as a model of its own with --inputs."
    )


def pair_of(value: Any) -> tuple[Any, Any]:
    """(height, width) from an argument that may be one number for both."""
    if isinstance(value, list | tuple):
        return (value[0], value[-1])
    return (value, value)


def call_training(training: Training, model: Any, folder: Path) -> Any:
    """Calls a user's function with the model, and returns its loss and optimizer.

    Raises:
        UserCodeError: If there is no such function, or if it raises.
    """
    if callable(training):
        return training(model)
    return load_user_object(training, folder).call(model=model)


def call_by_name(place: str, folder: Path) -> Any:
    """Calls a user's function and returns its result.

    Args:
        place: 'package.module:function' or 'path/to/module.py:function'; it takes no arguments.
        folder: The user's folder, importable while the function runs.

    Raises:
        UserCodeError: If there is no such module or function, or if one of them raises.
    """
    return load_user_object(place, folder).call()
