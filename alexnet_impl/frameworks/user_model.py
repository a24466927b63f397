"""A user's own model: how it is found by name, and what it says of itself in no framework's terms.

The adapters' foreign.py read such models; alexnet_impl.parity compares two of them.
"""

import importlib
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from alexnet_impl.errors import FrameworkError
from alexnet_impl.network.spec import same_padding
from alexnet_impl.weights.canonical import Array, Weights

LayerKind = Literal["conv", "dense", "batchnorm", "other"]
FeatureOrder = Literal["", "channels-first", "channels-last"]
ZeroPadding = tuple[tuple[int, int], tuple[int, int]]
"""Pixels of zeros: (above, below), (left, right)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What is computed between two layers that bear weights.

    Attributes:
        kind: relu, sigmoid, tanh, softmax, log_softmax, lrn, max_pool, avg_pool, adaptive_avg_pool,
            pad, flatten, permute, dropout; 'other' where the arithmetic is not known.
        name: What the user sees: the layer's name or the function's.
        numbers: Its arguments, such as size, stride, padding, alpha.
    """

    kind: str
    name: str
    numbers: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class UserLayer:
    """A layer that bears weights.

    Attributes:
        name: Dotted, from the model downwards.
        kind: What it computes.
        shapes: Short name of each weight ('weight', 'bias', 'running_mean', 'running_var') to its
            shape in PyTorch's layout.
        frozen: Weights that its framework does not train.
        before: What is computed between the layer called before and this one.
        stride: Of a convolution, (height, width).
        padding: Of a convolution, as pixels.
        padding_name: 'same' or 'valid' where the framework was told so.
        dilation: Of a convolution.
        groups: Of a convolution.
        epsilon: Of a batch normalisation.
        flattened: (channels, height, width) of the map that a dense layer reads flattened.
        features: In which order it reads it.
    """

    name: str
    kind: LayerKind
    shapes: dict[str, tuple[int, ...]]
    frozen: tuple[str, ...] = ()
    before: tuple[Operation, ...] = ()
    stride: tuple[int, int] = (1, 1)
    padding: ZeroPadding = ((0, 0), (0, 0))
    padding_name: str = ""
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    epsilon: float = 0.0
    flattened: tuple[int, int, int] | None = None
    features: FeatureOrder = ""

    @property
    def title(self) -> str:
        """The name as a text can use it: those in an nn.Sequential are numbers."""
        return f"layer {self.name}" if self.name.isdigit() else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class UserModelFacts:
    """A model's layers in the order of their calls, and what is computed behind the last."""

    layers: tuple[UserLayer, ...]
    after: tuple[Operation, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "UserModelFacts":
        """What to_dict made, through JSON as well."""
        return cls(
            layers=tuple(_read_layer(entry) for entry in plain["layers"]),
            after=_read_operations(plain["after"]),
        )


def _read_operations(entries: Any) -> tuple[Operation, ...]:
    return tuple(
        Operation(
            kind=entry["kind"],
            name=entry["name"],
            numbers={key: _tuples(value) for key, value in entry["numbers"].items()},
        )
        for entry in entries
    )


def _read_layer(entry: dict[str, Any]) -> UserLayer:
    values = {key: _tuples(value) for key, value in entry.items()}
    values["shapes"] = {key: tuple(shape) for key, shape in entry["shapes"].items()}
    values["before"] = _read_operations(entry["before"])
    return UserLayer(**values)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value


class UserModel(Protocol):
    """A user's model behind arrays; the names of its weights are '<layer>.<short name>'.

    Weights lie as in PyTorch, but for the features of a dense layer, which stay in the order in
    which the model reads them.
    """

    @property
    def input_shape(self) -> tuple[int, int, int] | None:
        """(height, width, channels) of the images, where the model says it."""

    def describe(self, images: Array) -> UserModelFacts:
        """The layers, as a call on these images shows them; before anything else is asked.

        Args:
            images: Floats of shape (batch, height, width, channels).
        """

    def use_precision(self, precision: str) -> str:
        """Compute in float32 or float64 from now on; '' or why that is not to be had."""

    def weights(self) -> Weights:
        """Copies of all weights."""

    def set_weights(self, weights: Weights) -> None:
        """Put some or all weights into the model."""

    def forward(self, images: Array) -> Weights:
        """'<layer>.input' and '<layer>.output' of every layer, and 'output'; in evaluation mode.

        Maps are (batch, channels, height, width). An output is taken before an activation that is
        part of the layer.
        """

    def gradients(self, images: Array, labels: Array) -> tuple[float, Weights]:
        """Mean softmax cross-entropy and the gradient of each weight that is trained.

        In evaluation mode. An output that consists of probabilities counts as their softmax.
        """

    def descend(
        self, images: Array, labels: Array, *, learning_rate: float, steps: int
    ) -> list[float]:
        """Take plain steps of gradient descent; the loss before each, and after the last."""


def descend(
    model: UserModel, images: Array, labels: Array, *, learning_rate: float, steps: int
) -> list[float]:
    """Take plain steps of gradient descent; the loss before each, and after the last."""
    losses = []
    for _ in range(steps):
        loss, gradients = model.gradients(images, labels)
        losses.append(loss)
        weights = model.weights()
        model.set_weights(
            {name: weights[name] - learning_rate * found for name, found in gradients.items()}
        )
    losses.append(model.gradients(images, labels)[0])
    return losses


def are_probabilities(output: Array) -> bool:
    """Whether the rows of an output of shape (batch, classes) are distributions."""
    return bool(
        output.ndim == 2 and (output >= 0).all() and np.abs(output.sum(axis=1) - 1).max() < 1e-4
    )


def feature_order(maps: Array, features: Array) -> FeatureOrder:
    """In which order features of shape (batch, n) are those of maps (batch, channels, h, w).

    Returns:
        '' if they are the maps' in neither order.
    """
    if maps[0].size != features[0].size:
        return ""
    if np.array_equal(maps.reshape(features.shape), features):
        return "channels-first"
    if np.array_equal(maps.transpose(0, 2, 3, 1).reshape(features.shape), features):
        return "channels-last"
    return ""


def same_sides(size: int, kernel_size: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """Pixels of zeros that TensorFlow's 'same' adds (before, after) a side of `size` pixels."""
    return same_padding(size, (kernel_size - 1) * dilation + 1, stride)


def pair_of(value: Any) -> tuple[Any, Any]:
    """(height, width) of an argument that may be one number for both."""
    if isinstance(value, list | tuple):
        return (value[0], value[-1])
    return (value, value)


def call_by_name(place: str, folder: Path) -> Any:
    """What a user's function returns.

    Args:
        place: 'package.module:function' or 'path/to/module.py:function'; it takes no arguments.
        folder: Where the user stands: importable while the function runs.

    Raises:
        FrameworkError: If there is no such module or function, or if one of them raises.
    """
    source, colon, function_name = place.rpartition(":")
    if not colon or not source or not function_name:
        raise FrameworkError(
            f"'{place}': must read module:function, such as my_port.nets:build_model."
        )
    module_name, folders = source, [folder]
    if source.endswith(".py"):
        path = folder / source
        if not path.is_file():
            raise FrameworkError(f"{place}: there is no file {path}.")
        module_name, folders = path.stem, [path.parent, folder]
    with _importable(folders):
        function = _function(place, module_name, function_name, folder)
        try:
            return function()
        except Exception as error:
            raise FrameworkError(
                f"{place}: {_said(error)}; it is called as it is, without arguments."
            ) from error


@contextmanager
def _importable(folders: list[Path]) -> Iterator[None]:
    """The folders come first while the block runs, and are not left behind."""
    names = [str(folder) for folder in folders]
    sys.path[:0] = names
    importlib.invalidate_caches()
    try:
        yield
    finally:
        for name in names:
            if name in sys.path:
                sys.path.remove(name)


def _function(place: str, module_name: str, function_name: str, folder: Path) -> Any:
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module_name != missing and not module_name.startswith(f"{missing}."):
            raise FrameworkError(
                f"{place}: {_said(error)}; install it or correct the import."
            ) from error
        raise FrameworkError(
            f"{place}: there is no module {missing}, neither installed nor in {folder}; start from "
            "its folder, or give the file: path/to/module.py:function."
        ) from error
    except Exception as error:
        raise FrameworkError(f"{place}: importing it failed: {_said(error)}.") from error
    function = getattr(module, function_name, None)
    if callable(function):
        return function
    known = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
    raise FrameworkError(
        f"{place}: {module_name} has no function {function_name}; it has "
        f"{', '.join(known) or 'none'}."
    )


def _said(error: BaseException) -> str:
    """The error's kind, its first line, and where it was raised."""
    text = str(error).strip().splitlines()
    where = traceback.extract_tb(error.__traceback__)[-1]
    said = f": {text[0]}" if text else ""
    return (
        f"it raised {type(error).__name__}{said} ({Path(where.filename).name}, line {where.lineno})"
    )
