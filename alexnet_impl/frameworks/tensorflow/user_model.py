"""Adapter from a user's keras.Model to the UserModel protocol.

Layers are recorded as they are called, so nested and subclassed models work too.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from alexnet_impl.errors import FrameworkError
from alexnet_impl.frameworks.user_model import (
    LayerCall,
    LayerKind,
    Operation,
    Sources,
    UserLayer,
    UserModel,
    UserModelFacts,
    ZeroPadding,
    are_probabilities,
    arrays_of,
    call_by_name,
    flatten_facts,
    pair_of,
    same_sides,
)
from alexnet_impl.weights.canonical import Array, Weights

CLONE_TOLERANCE = 1e-3
"""A float64 clone that differs by more than this, beyond rounding, computes something else."""
SHORT = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
    "alpha": "weight",
}
"""Keras's names of weights to PyTorch's, where they differ."""
STATISTICS = ("running_mean", "running_var")
NORMS = (keras.layers.LayerNormalization, keras.layers.GroupNormalization)
TRANSPOSED, SEPARABLE = keras.layers.Conv2DTranspose, keras.layers.SeparableConv2D
SPATIAL = (
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
)
FLATTENERS = (keras.layers.Flatten, keras.layers.Reshape)


def load_model(place: str, folder: Path) -> "TensorflowUserModel":
    """Builds the model by calling a user's function.

    Raises:
        UserCodeError: If there is no such function, or it raises.
        FrameworkError: If it returns no keras.Model.
    """
    keras.utils.clear_session()  # names are counted anew: dense, and not dense_1
    model = call_by_name(place, folder)
    if not isinstance(model, keras.Model):
        kind = f"{type(model).__module__}.{type(model).__name__}"
        raise FrameworkError(f"{place}: returned a {kind}; it must return a Keras 3 keras.Model.")
    return TensorflowUserModel(model)


@contextmanager
def borrow_model(model: Any) -> Iterator["TensorflowUserModel"]:
    """Runs a user's own keras.Model on the CPU; after the block it has its own weights again.

    Raises:
        FrameworkError: If it is no keras.Model, or runs on another backend.
    """
    if not isinstance(model, keras.Model):
        kind = f"{type(model).__module__}.{type(model).__name__}"
        raise FrameworkError(f"tensorflow: received a {kind}; give a Keras 3 keras.Model.")
    if keras.backend.backend() != "tensorflow":
        raise FrameworkError(
            f"tensorflow: Keras runs on {keras.backend.backend()} in this process; set "
            "KERAS_BACKEND=tensorflow before it is imported, or give 'module:function'."
        )
    borrowed = TensorflowUserModel(model)
    try:
        yield borrowed
    finally:
        borrowed.restore()


class TensorflowUserModel(UserModel):
    """The UserModel protocol over a keras.Model."""

    def __init__(self, model: keras.Model) -> None:
        self.original = self.model = model
        self.kept: list[Array] | None = None
        self.layers: dict[str, keras.layers.Layer] = {}
        self.dtype = "float32"
        self.sample: Array = np.empty(0)

    @property
    def input_shape(self) -> tuple[int, int, int] | None:
        """(height, width, channels) of a model with a fixed input, or that was called before.

        Raises:
            FrameworkError: If it has several inputs, or reads no images.
        """
        shapes = [tuple(tensor.shape) for tensor in getattr(self.model, "inputs", None) or []]
        built = (self.model.get_build_config() or {}).get("input_shape")
        if not shapes and isinstance(built, tuple):  # a subclassed model, of one input
            shapes = [built]
        if not shapes:
            return None
        if len(shapes) > 1 or len(shapes[0]) != 4:
            raise FrameworkError(
                f"tensorflow: the model reads {shapes}; it must read one batch of images, "
                "(batch, height, width, channels)."
            )
        self._refuse_channels_first()
        _, height, width, channels = shapes[0]
        return None if None in (height, width, channels) else (height, width, channels)

    def _refuse_channels_first(self) -> None:
        for layer in getattr(self.model, "layers", ()):
            if getattr(layer, "data_format", "") == "channels_first":
                raise FrameworkError(
                    f"tensorflow: {layer.name} keeps its maps channels-first; build the model with "
                    "data_format='channels_last'."
                )

    def describe(self, images: Array) -> UserModelFacts:
        """Describes the layers that a call on (batch, height, width, channels) reaches."""
        self.sample = images
        recording = self._record(images)
        self.kept = self.original.get_weights()  # now all are built
        self.layers = {call.name: call.layer for call in recording.calls}
        return UserModelFacts(
            layers=tuple(_layer(call) for call in recording.calls),
            after=tuple(recording.operations),
        )

    def use_precision(self, precision: str) -> str:
        """Switches to a clone whose layers compute in float64, if every layer supports it."""
        if precision == "float32":
            self._take(self.original, precision)
            return ""
        try:
            clone = _clone(self.original)
            clone(self.sample.astype(precision), training=False)  # says what it cannot
            self._take(clone, precision)
            self._check_clone()
        except Exception as error:  # noqa: BLE001 - Keras and the user's layers raise any kind
            self._take(self.original, "float32")
            return f"the Keras model does not run in float64 ({_line(error)})"
        return ""

    def restore(self) -> None:
        """Gives the original model the weights that it had when it was described."""
        if self.kept is not None:
            self.original.set_weights(self.kept)

    def _take(self, model: keras.Model, precision: str) -> None:
        """Continues with this model and the current weights."""
        if model is not self.model:
            model.set_weights(self.model.get_weights())
        self.model, self.dtype = model, precision
        self.layers = {call.name: call.layer for call in self._record(self.sample).calls}

    def _check_clone(self) -> None:
        """Refuses a clone that computes something else: a layer's config may be incomplete."""
        ours = keras.ops.convert_to_numpy(self._output(self.sample))
        theirs = self.original(self.sample.astype("float32"), training=False)
        apart = np.abs(ours - keras.ops.convert_to_numpy(theirs)).max()
        if ours.dtype != np.float64 or not apart <= CLONE_TOLERANCE * np.abs(ours).max():
            raise FrameworkError(f"its clone yields {ours.dtype} and lies {apart:.1e} off")

    def weights(self) -> Weights:
        """Copies the weights, their shapes in PyTorch's layout."""
        return {
            f"{name}.{short}": to_torch_layout(short, variable.numpy(), layer)
            for name, layer in self.layers.items()
            for short, variable in _variables(layer).items()
        }

    def set_weights(self, weights: Weights) -> None:
        """Loads some or all weights, their shapes in PyTorch's layout."""
        for name, layer in self.layers.items():
            for short, variable in _variables(layer).items():
                if (array := weights.get(f"{name}.{short}")) is not None:
                    variable.assign(_from_torch_layout(short, array, layer))

    def forward(self, images: Array) -> Weights:
        """See UserModel; images have shape (batch, height, width, channels)."""
        recording = self._record(images)
        return arrays_of(recording.calls, recording.output)

    def gradients(self, images: Array, labels: Array) -> tuple[float, Weights]:
        """See UserModel; labels have shape (batch,)."""
        trained = [
            (name, short, layer, variable)
            for name, layer in self.layers.items()
            for short, variable in _variables(layer).items()
            if variable.trainable
        ]
        with tf.device("/CPU:0"), tf.GradientTape() as tape:
            output = self._output(images)
            if are_probabilities(keras.ops.convert_to_numpy(output)):
                output = tf.math.log(output)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, output)
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, [variable.value for *_, variable in trained])
        found = {
            f"{name}.{short}": to_torch_layout(short, gradient.numpy(), layer)
            for (name, short, layer, _), gradient in zip(trained, gradients, strict=True)
            if gradient is not None
        }
        return float(loss), found

    def _output(self, images: Array) -> tf.Tensor:
        try:
            with tf.device("/CPU:0"):  # the tolerances were measured with its rounding
                output = self.model(tf.constant(images.astype(self.dtype)), training=False)
        except (ValueError, TypeError, tf.errors.InvalidArgumentError) as error:
            raise FrameworkError(
                f"tensorflow: the model does not run on images of shape {images.shape[1:]}: "
                f"{_line(error)}; give their size with --image-size."
            ) from error
        if not isinstance(output, tf.Tensor):
            raise FrameworkError(
                f"tensorflow: the model returned a {type(output).__name__}; it must return the "
                "logits, one tensor."
            )
        return output

    def _record(self, images: Array) -> "_Recording":
        recording = _Recording(self.model)
        with recording.recording():
            recording.output = keras.ops.convert_to_numpy(self._output(images))
        return recording


class _Part:
    """Half of a separable convolution: its depthwise or its pointwise one, with PyTorch's names."""

    def __init__(self, layer: keras.layers.SeparableConv2D, *, depthwise: bool) -> None:
        self.name = f"{layer.name}.{'depthwise' if depthwise else 'pointwise'}"
        self.depthwise, self.whole = depthwise, layer
        self.kernel = layer.depthwise_kernel if depthwise else layer.pointwise_kernel
        bias = [] if depthwise or layer.bias is None else [layer.bias]
        self.variables = dict(zip(("weight", "bias"), (self.kernel, *bias), strict=False))
        self.strides = layer.strides if depthwise else (1, 1)
        self.dilation_rate = layer.dilation_rate if depthwise else (1, 1)
        self.padding = layer.padding if depthwise else "valid"
        self.activation = None if depthwise else layer.activation

    def halfway(self, inputs: Any) -> Any:
        """The output of the depthwise half for maps (batch, height, width, channels)."""
        return keras.ops.depthwise_conv(
            inputs, self.kernel, self.strides, self.padding, "channels_last", self.dilation_rate
        )


class _Recording:
    """Records one call of a model: its layers with weights, and the layers between them.

    Attributes:
        calls: Calls of layers with weights, in order.
        operations: Operations since the last of them.
        output: The model's output.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        self.calls: list[LayerCall] = []
        self.operations: list[Operation] = []
        self.output: Array = np.empty(0)
        self._open: list[dict[str, Any]] = []
        self._map: Any = None
        self._sources = Sources()
        self._halves: dict[str, tuple[_Part, ...]] = {}

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Records every layer that is called while the block runs."""
        original, function = keras.layers.Layer.__call__, keras.Operation.__call__
        eager = tf.config.functions_run_eagerly()

        def call(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
            if layer is self.model:
                return original(layer, *args, **kwargs)
            return self._call(layer, original, args, kwargs)

        def compute(operation: keras.Operation, *args: Any, **kwargs: Any) -> Any:
            outputs = function(operation, *args, **kwargs)
            if not isinstance(operation, keras.layers.Layer):
                self._sources.keep(outputs, self._sources.of((*args, *kwargs.values())))
            return outputs

        keras.layers.Layer.__call__ = call
        keras.Operation.__call__ = compute
        tf.config.run_functions_eagerly(run_eagerly=True)
        try:
            yield
        finally:
            keras.layers.Layer.__call__ = original
            keras.Operation.__call__ = function
            tf.config.run_functions_eagerly(run_eagerly=eager)

    def _call(
        self, layer: keras.layers.Layer, original: Callable[..., Any], args: Any, kwargs: Any
    ) -> Any:
        """Calls a layer, then records it as a container, a layer with weights or an operation."""
        frame = {"name": layer.name, "inner": False, "weighted": False}
        start = len(self.operations)
        self._open.append(frame)
        outputs = original(layer, *args, **kwargs)
        path = ".".join(entry["name"] for entry in self._open)
        self._open.pop()
        weighted = bool(_variables(layer))
        if self._open:
            self._open[-1]["inner"] = True
            self._open[-1]["weighted"] |= weighted
        if not frame["inner"] and not weighted:
            self._sources.keep(outputs, self._sources.of((*args, *kwargs.values())))
        if not frame["weighted"] and weighted:
            linear = _before_activation(layer, original, args, kwargs, outputs)
            before = self.operations[:start]
            if isinstance(layer, SEPARABLE):
                name = self._note_halves(layer, args[0], linear, before)
            else:
                name = self._note(path, layer, args[0], linear, before)
            self._sources.keep(outputs, [name])
        elif not frame["inner"] and (found := _operation(layer, args[0], outputs)) is not None:
            self.operations.append(found)
        if len(outputs.shape) == 4 and not isinstance(layer, keras.layers.Permute):
            self._map = outputs
        return outputs

    def _note_halves(
        self, layer: keras.layers.Layer, inputs: Any, outputs: Any, before: list[Operation]
    ) -> str:
        """Keeps a separable convolution as the two convolutions that it is."""
        first, second = self._halves.setdefault(
            layer.name, tuple(_Part(layer, depthwise=depthwise) for depthwise in (True, False))
        )
        between = first.halfway(inputs)
        self._sources.keep(between, [self._note(first.name, first, inputs, between, before)])
        return self._note(second.name, second, between, outputs, [])

    def _note(
        self,
        path: str,
        layer: Any,
        inputs: Any,
        outputs: Any,
        before: list[Operation],
    ) -> str:
        """Keeps the first call of a layer with weights; returns the layer's name."""
        name = next((call.name for call in self.calls if call.layer is layer), "")
        if not name:
            taken = layer.name in [call.name for call in self.calls]
            name = path if taken else layer.name
            self.calls.append(
                LayerCall(
                    name=name,
                    layer=layer,
                    before=tuple(before),
                    inputs=_channels_first(inputs),
                    outputs=_channels_first(outputs),
                    maps=None if self._map is None else _channels_first(self._map),
                    follows=tuple(sorted(self._sources.of([inputs]))),
                )
            )
        self.operations = []
        if activation := _activation(layer):
            title = f"{layer.name}'s activation"
            self.operations.append(_activation_operation(activation, title, outputs))
        return name


def _line(error: BaseException) -> str:
    """The first informative line of an error; Keras's own first line is a heading."""
    lines = [line.strip() for line in str(error).splitlines()]
    said = [line for line in lines if line and not line.startswith("Exception encountered")]
    return re.sub(r"\x1b\[\d*m", "", said[0])[:200].rstrip(".") if said else repr(error)


def _channels_first(values: Any) -> Array:
    array: Array = keras.ops.convert_to_numpy(values)
    return np.ascontiguousarray(array.transpose(0, 3, 1, 2) if array.ndim == 4 else array)


def _variables(layer: Any) -> dict[str, keras.Variable]:
    """A layer's weights by PyTorch's short names."""
    if isinstance(layer, _Part):
        return layer.variables
    return {
        SHORT.get(variable.name, variable.name): variable
        for variable in layer.weights
        if "float" in str(variable.dtype)
    }


def _activation(layer: keras.layers.Layer) -> str:
    """The name of the activation that is part of a convolution or a dense layer, or ''."""
    activation = getattr(layer, "activation", None)
    has_kernel = _kind(layer) in ("conv", "dense") or isinstance(layer, (TRANSPOSED, SEPARABLE))
    if not has_kernel or activation in (None, keras.activations.linear):
        return ""
    return _function_name(activation)


def _function_name(activation: Any) -> str:
    return str(getattr(activation, "__name__", getattr(activation, "name", "other")))


def _before_activation(
    layer: keras.layers.Layer, original: Callable[..., Any], args: Any, kwargs: Any, outputs: Any
) -> Any:
    """The layer's output without its activation."""
    if not _activation(layer):
        return outputs
    activation = layer.activation
    # object's, as Keras guards the attributes of a built layer
    object.__setattr__(layer, "activation", keras.activations.linear)
    try:
        return original(layer, *args, **kwargs)
    finally:
        object.__setattr__(layer, "activation", activation)


def _operation(layer: keras.layers.Layer, inputs: Any, outputs: Any) -> Operation | None:
    """The call of a layer without weights as an Operation; None if it changes no value."""
    if isinstance(layer, keras.layers.Activation):
        if layer.activation is keras.activations.linear:
            return None
        return _activation_operation(_function_name(layer.activation), layer.name, outputs)
    if isinstance(layer, keras.layers.ReLU):
        return _relu_operation(layer)
    kind = next((kind for kind, found in KINDS if found(layer)), "other")
    if isinstance(layer, FLATTENERS):
        kind = "flatten" if len(inputs.shape) > len(outputs.shape) else "other"
    if kind == "linear":
        return None
    numbers = NUMBERS[kind](layer, inputs, outputs) if kind in NUMBERS else {}
    return Operation(kind=kind, name=layer.name, numbers=numbers)


def _relu_operation(layer: keras.layers.ReLU) -> Operation:
    """A ReLU, ReLU6 or leaky ReLU; with a threshold or another maximum its kind is 'other'."""
    largest, slope = layer.max_value, float(layer.negative_slope)
    if layer.threshold != 0 or (largest is not None and (largest != 6 or slope)):
        return Operation(kind="other", name=layer.name, numbers={})
    if slope:
        return Operation(kind="leaky_relu", name=layer.name, numbers={"slope": slope})
    return Operation(kind="relu" if largest is None else "relu6", name=layer.name, numbers={})


def _is(*kinds: type) -> Callable[[keras.layers.Layer], bool]:
    return lambda layer: isinstance(layer, kinds)


KINDS: tuple[tuple[str, Callable[[keras.layers.Layer], bool]], ...] = (
    ("linear", _is(keras.layers.InputLayer, keras.layers.Identity)),
    ("softmax", _is(keras.layers.Softmax)),
    ("leaky_relu", _is(keras.layers.LeakyReLU)),
    ("elu", _is(keras.layers.ELU)),
    ("max_pool", _is(keras.layers.MaxPooling2D)),
    ("avg_pool", _is(keras.layers.AveragePooling2D)),
    ("adaptive_avg_pool", _is(keras.layers.GlobalAveragePooling2D)),
    ("adaptive_max_pool", _is(keras.layers.GlobalMaxPooling2D)),
    ("resize", _is(keras.layers.UpSampling2D, keras.layers.Resizing)),
    ("pad", _is(keras.layers.ZeroPadding2D)),
    ("permute", _is(keras.layers.Permute)),
    ("dropout", _is(keras.layers.Dropout, *SPATIAL, keras.layers.AlphaDropout)),
    ("noise", _is(keras.layers.GaussianNoise, keras.layers.GaussianDropout)),
)
"""Kind of an operation and the test that recognises its layer; the first match counts."""
PLAIN = (
    *("relu", "relu6", "selu", "silu", "mish", "softplus", "softsign", "tanh", "sigmoid"),
    *("hard_sigmoid", "hard_silu"),
)
"""Keras's activation functions without numbers that PyTorch has too."""
DEFAULTS: dict[str, dict[str, Any]] = {
    "softmax": {"axis": -1},
    "log_softmax": {"axis": -1},
    "leaky_relu": {"slope": 0.2},
    "elu": {"alpha": 1.0},
    "gelu": {"approximate": False},
}
"""Those with numbers, and their defaults."""


def _activation_operation(activation: str, name: str, outputs: Any) -> Operation:
    """The call of an activation function that was given by its name."""
    kind = activation if activation in PLAIN or activation in DEFAULTS else "other"
    numbers = _channel_axis(DEFAULTS.get(kind, {}), outputs)
    return Operation(kind=kind, name=name, numbers=numbers)


def _channel_axis(numbers: dict[str, Any], outputs: Any) -> dict[str, Any]:
    """Numbers whose axis is that of PyTorch, where the channels come first."""
    rank = len(outputs.shape)
    order = [0, *range(2, rank), 1]
    axis = numbers.get("axis")
    return numbers if axis is None else numbers | {"axis": order[axis % rank]}


def _resize_numbers(layer: keras.layers.Layer, outputs: Any) -> dict[str, Any]:
    return {
        "size": tuple(outputs.shape[1:3]),
        "mode": layer.interpolation,
        "align_corners": False,
        "antialias": bool(getattr(layer, "antialias", False)),
    }


def _dropout_numbers(layer: keras.layers.Layer) -> dict[str, Any]:
    shape = getattr(layer, "noise_shape", None)
    whole = isinstance(layer, SPATIAL) or (shape and all(size == 1 for size in shape[1:-1]))
    form = "alpha" if isinstance(layer, keras.layers.AlphaDropout) else "maps" if whole else "units"
    return {"rate": layer.rate, "active": False, "form": form}


NUMBERS: dict[str, Callable[[keras.layers.Layer, Any, Any], dict[str, Any]]] = {
    "max_pool": lambda layer, inputs, _: _pool_numbers(layer, inputs),
    "avg_pool": lambda layer, inputs, _: _pool_numbers(layer, inputs) | {"counted": False},
    "adaptive_avg_pool": lambda *_: {"size": (1, 1)},
    "adaptive_max_pool": lambda *_: {"size": (1, 1)},
    "pad": lambda layer, *_: {"zeros": True, "sides": layer.padding},
    "dropout": lambda layer, *_: _dropout_numbers(layer),
    "noise": lambda layer, *_: {
        "rate": getattr(layer, "stddev", None) or getattr(layer, "rate", 0.0),
        "form": type(layer).__name__,
    },
    "softmax": lambda layer, _, outputs: _channel_axis({"axis": layer.axis}, outputs),
    "leaky_relu": lambda layer, *_: {"slope": float(layer.negative_slope)},
    "elu": lambda layer, *_: {"alpha": float(layer.alpha)},
    "resize": lambda layer, _, outputs: _resize_numbers(layer, outputs),
}
"""Kind of an operation to the numbers of its layer, from the layer, its inputs and its outputs."""


def _pool_numbers(layer: keras.layers.Layer, inputs: Any) -> dict[str, Any]:
    size, stride = pair_of(layer.pool_size), pair_of(layer.strides)
    padding: ZeroPadding = ((0, 0), (0, 0))
    if layer.padding == "same":
        padding = same_sides(inputs.shape[1:3], size, stride)
    return {"size": size, "stride": stride, "padding": padding, "ceil": False}


def _kind(layer: keras.layers.Layer) -> LayerKind:
    """Kind of a layer; a custom layer with kernel and bias is classified by the kernel's rank."""
    if isinstance(layer, keras.layers.BatchNormalization):
        return "batchnorm"
    variables = _variables(layer)
    kernel = variables.get("weight")
    if kernel is None or not set(variables) <= {"weight", "bias"}:
        return "other"
    if len(kernel.shape) == 4 and not isinstance(layer, TRANSPOSED):
        return "conv"
    return "dense" if len(kernel.shape) == 2 else "other"


def to_torch_layout(short: str, array: Array, layer: Any) -> Array:
    """A kernel or its gradient in PyTorch's layout: (out, in, height, width) or (out, in)."""
    if short == "weight":
        array = _kernel(layer)[0](array)
    return np.ascontiguousarray(array).copy()


def _from_torch_layout(short: str, array: Array, layer: Any) -> Array:
    return _kernel(layer)[1](array) if short == "weight" else array


def _kernel(layer: Any) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    """How a layer's kernel takes PyTorch's layout, and its own again."""
    if isinstance(layer, keras.layers.PReLU):  # alpha (1, 1, channels)
        return lambda a: a.reshape(-1), lambda a: a.reshape(layer.alpha.shape)
    if _is_depthwise(layer):
        height, width, channels, multiple = layer.kernel.shape
        return (
            lambda a: a.transpose(2, 3, 0, 1).reshape(-1, 1, height, width),
            lambda a: a.reshape(channels, multiple, height, width).transpose(2, 3, 0, 1),
        )
    if _kind(layer) == "conv" or isinstance(layer, TRANSPOSED):
        return lambda a: a.transpose(3, 2, 0, 1), lambda a: a.transpose(2, 3, 1, 0)
    if _kind(layer) == "dense":
        return lambda a: a.T, lambda a: a.T
    return _same, _same


def _same(array: Array) -> Array:
    return array


def _is_depthwise(layer: Any) -> bool:
    return isinstance(layer, keras.layers.DepthwiseConv2D) or getattr(layer, "depthwise", False)


def _layer(call: LayerCall) -> UserLayer:
    layer, kind = call.layer, _kind(call.layer)
    variables = _variables(layer)
    facts: dict[str, Any] = {}
    training = {"penalties": _parts(layer, "regularizer")}
    training["constraints"] = _parts(layer, "constraint")
    if kind == "batchnorm":
        training["momentum"] = 1 - layer.momentum
    if kind == "conv":
        facts = _convolution(layer, variables["weight"].shape, call.inputs)
    elif kind == "batchnorm" or isinstance(layer, NORMS):
        facts = {"epsilon": layer.epsilon}
    elif kind == "dense":
        facts = flatten_facts(call.maps, call.inputs)
    return UserLayer(
        name=call.name,
        kind=kind,
        shapes={
            short: to_torch_layout(short, variable.numpy(), layer).shape
            for short, variable in variables.items()
        },
        frozen=tuple(
            short
            for short, variable in variables.items()
            if not variable.trainable and short not in STATISTICS
        ),
        before=call.before,
        follows=call.follows,
        training={key: value for key, value in training.items() if value not in ({}, None)},
        **facts,
    )


def _parts(layer: keras.layers.Layer, what: str) -> dict[str, str]:
    """The weights of a layer, or its outputs, that have a regularizer or a constraint."""
    found = {}
    for part in ("kernel", "depthwise", "pointwise", "bias", "gamma", "beta", "activity"):
        value = getattr(layer, f"{part}_{what}", None)
        if value is not None:
            config = value.get_config() if hasattr(value, "get_config") else {}
            numbers = ", ".join(f"{k}={v:g}" for k, v in config.items() if isinstance(v, float))
            found[part] = f"{getattr(value, '__name__', type(value).__name__)}({numbers})"
    return found


def _convolution(
    layer: keras.layers.Layer, kernel_shape: tuple[int, ...], inputs: Array
) -> dict[str, Any]:
    """Settings of a convolution; a custom layer without an attribute gets Keras's default."""
    if getattr(layer, "data_format", "channels_last") == "channels_first":
        raise FrameworkError(
            f"tensorflow: {layer.name} keeps its maps channels-first; build the model with "
            "data_format='channels_last'."
        )
    stride = pair_of(getattr(layer, "strides", 1))
    dilation = pair_of(getattr(layer, "dilation_rate", 1))
    name = str(getattr(layer, "padding", "valid"))
    padding: ZeroPadding = ((0, 0), (0, 0))
    if name == "same":
        padding = same_sides(inputs.shape[2:], kernel_shape[:2], stride, dilation)
    return {
        "stride": stride,
        "dilation": dilation,
        "groups": kernel_shape[2] if _is_depthwise(layer) else getattr(layer, "groups", 1),
        "padding": padding,
        "padding_name": name,
    }


def _clone(model: keras.Model) -> keras.Model:
    """A model of the same layers in float64, with weights of its own.

    Raises:
        FrameworkError: If the model is neither a Sequential nor functional.
    """
    if not getattr(model, "inputs", None):
        raise FrameworkError("it is a subclassed model, which has no graph to clone")
    image = keras.Input(batch_shape=model.inputs[0].shape, dtype="float64")
    nested = {} if isinstance(model, keras.Sequential) else {"recursive": True}
    clone: keras.Model = keras.models.clone_model(
        model, input_tensors=image, clone_function=_clone_layer, **nested
    )
    return clone


def _clone_layer(layer: Any) -> Any:
    """A layer of the graph in float64; its functions, such as keras.ops.relu, have no type."""
    if not isinstance(layer, keras.layers.Layer):
        return layer
    if isinstance(layer, keras.layers.Lambda):  # its config would carry code
        return keras.layers.Lambda(layer.function, name=layer.name, dtype="float64")
    return layer.__class__.from_config({**layer.get_config(), "dtype": "float64"})
