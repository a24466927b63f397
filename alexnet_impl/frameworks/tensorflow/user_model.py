"""Adapter from a user's keras.Model to the UserModel protocol.

Layers are recorded as they are called, so nested and subclassed models work too.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from alexnet_impl.errors import FrameworkError
from alexnet_impl.frameworks.tensorflow.user_calls import Recording
from alexnet_impl.frameworks.tensorflow.user_layers import user_layer, values_of, weights_of
from alexnet_impl.frameworks.tensorflow.user_training import UserTraining
from alexnet_impl.frameworks.user_model import (
    UserModel,
    UserModelFacts,
    are_probabilities,
    arrays_of,
    call_by_name,
    recurrent,
)
from alexnet_impl.frameworks.user_training import Training, TrainingFacts, TrainingStep
from alexnet_impl.weights.canonical import Array, Weights

CLONE_TOLERANCE = 1e-3
"""A float64 clone that differs by more than this, beyond rounding, computes something else."""


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
        self.training: UserTraining

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """Shape of one input of a model with a fixed input, or that was called before.

        It is (height, width, channels) for images.

        Raises:
            FrameworkError: If the model has several inputs, or maps with their channels first.
        """
        shapes = [tuple(tensor.shape) for tensor in getattr(self.model, "inputs", None) or []]
        built = (self.model.get_build_config() or {}).get("input_shape")
        if not shapes and isinstance(built, tuple):  # a subclassed model, of one input
            shapes = [built]
        if not shapes:
            return None
        if len(shapes) > 1:
            raise FrameworkError(
                f"tensorflow: the model reads {shapes}; it must read one batch, such as images "
                "(batch, height, width, channels)."
            )
        self._refuse_channels_first()
        return None if None in shapes[0][1:] else shapes[0][1:]

    def _refuse_channels_first(self) -> None:
        for layer in getattr(self.model, "layers", ()):
            if getattr(layer, "data_format", "") == "channels_first":
                raise FrameworkError(
                    f"tensorflow: {layer.name} keeps its maps channels-first; build the model with "
                    "data_format='channels_last'."
                )

    def describe(self, images: Array) -> UserModelFacts:
        """Describes the layers that a call on (batch, height, width, channels) reaches."""
        for layer in self.model._flatten_layers():  # noqa: SLF001 - also those inside layers
            if isinstance(layer, keras.layers.RNN):
                raise FrameworkError(f"tensorflow: {recurrent(layer.name)}")
        self.sample = images
        if not self.model.built:
            self._output(images[:1])  # a model without an Input makes its weights now
        recording = self._record(images)
        self.kept = self.original.get_weights()  # now all are built
        self.layers = {call.name: call.layer for call in recording.calls}
        return UserModelFacts(
            layers=tuple(user_layer(call) for call in recording.calls),
            after=tuple(recording.operations),
        )

    def use_precision(self, precision: str) -> str:
        """Switches to a clone whose layers compute in float64, if every layer supports it."""
        if precision == "float32":
            self._take(self.original, precision)
            return ""
        try:
            clone = _clone(self.original)
            self.dtype = precision
            clone(self._typed(self.sample), training=False)  # says what it cannot
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
        self.dtype, precision = "float32", self.dtype
        theirs = self.original(self._typed(self.sample), training=False)
        self.dtype = precision
        apart = np.abs(ours - keras.ops.convert_to_numpy(theirs)).max()
        if ours.dtype != np.float64 or not apart <= CLONE_TOLERANCE * np.abs(ours).max():
            raise FrameworkError(f"its clone yields {ours.dtype} and lies {apart:.1e} off")

    def weights(self) -> Weights:
        """Copies the weights, their shapes in PyTorch's layout."""
        return {
            f"{name}.{short}": weight.of(weight.variable)
            for name, layer in self.layers.items()
            for short, weight in weights_of(layer).items()
        }

    def set_weights(self, weights: Weights) -> None:
        """Loads some or all weights, their shapes in PyTorch's layout."""
        for name, layer in self.layers.items():
            for short, weight in weights_of(layer).items():
                if (array := weights.get(f"{name}.{short}")) is not None:
                    weight.variable.assign(weight.to_keras(array))

    def forward(self, images: Array) -> Weights:
        """See UserModel; images have shape (batch, height, width, channels)."""
        recording = self._record(images)
        return arrays_of(recording.calls, recording.output)

    def gradients(self, images: Array, labels: Array) -> tuple[float, Weights]:
        """See UserModel; labels have shape (batch,)."""
        trained = [
            (f"{name}.{short}", weight)
            for name, layer in self.layers.items()
            for short, weight in weights_of(layer).items()
            if weight.variable.trainable
        ]
        with tf.device("/CPU:0"), tf.GradientTape() as tape:
            output = self._output(images)
            if are_probabilities(keras.ops.convert_to_numpy(output)):
                output = tf.math.log(output)
            rows = tf.reshape(output, (len(labels), -1))
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, rows)
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, [weight.variable.value for _, weight in trained])
        found = {
            name: weight.of(gradient)
            for (name, weight), gradient in zip(trained, gradients, strict=True)
            if gradient is not None
        }
        return float(loss), found

    def prepare_training(self, training: Training, folder: Path) -> TrainingFacts:
        """See UserModel."""
        self.training = UserTraining(self.model, self.original, training, folder, self.dtype)
        return self.training.facts()

    def training_step(self, images: Array, labels: Array, *, update: bool) -> TrainingStep:
        """See UserModel; images (batch, height, width, channels), labels (batch,)."""
        weights = {
            f"{name}.{short}": weight
            for name, layer in self.layers.items()
            for short, weight in weights_of(layer).items()
        }
        return self.training.step(self._typed(images), labels, weights, update=update)

    def _typed(self, inputs: Array) -> Array:
        """Inputs (batch, ...) in the model's precision; integers, such as tokens, as they are."""
        return inputs if inputs.dtype.kind == "i" else inputs.astype(self.dtype)

    def _output(self, images: Array) -> tf.Tensor:
        try:
            with tf.device("/CPU:0"):  # the tolerances were measured with its rounding
                output = self.model(tf.constant(self._typed(images)), training=False)
        except Exception as error:  # of the user's own code
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

    def _record(self, images: Array) -> Recording:
        recording = Recording(self.model)
        with recording.recording():
            recording.output = values_of(None, self._output(images))
        return recording


def _line(error: BaseException) -> str:
    """The first informative line of an error; Keras's own first line is a heading."""
    lines = [line.strip() for line in str(error).splitlines()]
    said = [line for line in lines if line and not line.startswith("Exception encountered")]
    return re.sub(r"\x1b\[\d*m", "", said[0])[:200].rstrip(".") if said else repr(error)


def _clone(model: keras.Model) -> keras.Model:
    """A model of the same layers in float64, with weights of its own.

    Raises:
        FrameworkError: If the model is neither a Sequential nor functional.
    """
    if not getattr(model, "inputs", None):
        raise FrameworkError("it is a subclassed model, which has no graph to clone")
    (read,) = model.inputs
    dtype = read.dtype if "int" in read.dtype else "float64"
    image = keras.Input(batch_shape=read.shape, dtype=dtype)
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
