"""A user's own training step of a keras.Model: loss and optimizer."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from alexnet_impl.errors import FrameworkError
from alexnet_impl.frameworks.tensorflow.user_layers import Weight
from alexnet_impl.frameworks.user_model import call_training
from alexnet_impl.frameworks.user_training import Rule, Training, TrainingFacts, TrainingStep
from alexnet_impl.weights.canonical import Array

RANDOM = ("rate", "stddev")
"""Attributes of layers that drop values, or add noise."""


class UserTraining:
    """The training of one model; every object starts with a fresh optimizer."""

    def __init__(
        self,
        model: keras.Model,
        compiled: keras.Model,
        training: Training,
        folder: Path,
        precision: str,
    ) -> None:
        """Takes the user's function, or what the model was compiled with if there is none.

        Args:
            model: The model, or its copy in float64.
            compiled: The user's own model.
            training: The user's function; '' for a compiled model.
            folder: Where it is looked for.
            precision: The model's.

        Raises:
            UserCodeError: If there is no such function, or it raises.
            FrameworkError: If it returns something else than a loss and an optimizer.
        """
        if training:
            given = call_training(training, model, folder)
        else:
            given = (getattr(compiled, "loss", None), getattr(compiled, "optimizer", None))
        if not isinstance(given, tuple | list) or len(given) != len(("loss", "optimizer")):
            raise FrameworkError(f"tensorflow: the training function {FORM}.")
        try:
            self.loss = keras.losses.get(given[0])
            optimizer = keras.optimizers.get(given[1])
        except (ValueError, TypeError) as error:
            raise FrameworkError(f"tensorflow: the training function {FORM}.") from error
        if self.loss is None or optimizer is None:
            raise FrameworkError(f"tensorflow: the training function {FORM}.")
        if isinstance(self.loss, keras.losses.Loss):
            config = {**self.loss.get_config(), "dtype": precision}
            self.loss = type(self.loss).from_config(config)
        self.model = model
        self.optimizer = type(optimizer).from_config(optimizer.get_config())
        self.optimizer.build(model.trainable_variables)

    def facts(self) -> TrainingFacts:
        """Describe the loss and the optimizer."""
        loss = getattr(self.loss, "__name__", type(self.loss).__name__)
        return TrainingFacts(
            loss=loss, optimizer=type(self.optimizer).__name__, rule=_rule(self.optimizer)
        )

    def step(
        self,
        images: Array,
        labels: Array,
        weights: Mapping[str, Weight],
        *,
        update: bool,
    ) -> TrainingStep:
        """Take a step, or only compute its loss and gradients.

        Args:
            images: Shape (batch, height, width, channels).
            labels: Classes or 0 and 1, shape (batch,).
            weights: The weights whose gradients are returned.
            update: Whether the optimizer changes the weights.
        """
        variables = self.model.trainable_variables
        with tf.device("/CPU:0"), _without_dropout(self.model):
            with tf.GradientTape() as tape:
                output = self.model(tf.constant(images), training=True)
                loss = tf.reduce_mean(self.loss(self._targets(output, labels), output))
                loss = tf.add_n([loss, *(tf.cast(one, loss.dtype) for one in self.model.losses)])
            gradients = tape.gradient(loss, [variable.value for variable in variables])
            rate = float(self.optimizer.learning_rate)
            if update:
                pairs = zip(gradients, variables, strict=True)
                known = [pair for pair in pairs if pair[0] is not None]
                self.optimizer.apply(*map(list, zip(*known, strict=True)))
        by_variable = {
            id(variable): gradient
            for variable, gradient in zip(variables, gradients, strict=True)
            if gradient is not None
        }
        return TrainingStep(
            loss=float(loss),
            rate=rate,
            output=keras.ops.convert_to_numpy(output),
            gradients={
                name: weight.of(by_variable[id(weight.variable)])
                for name, weight in weights.items()
                if id(weight.variable) in by_variable
            },
        )

    def _targets(self, output: tf.Tensor, labels: Array) -> tf.Tensor:
        """Classes for a sparse loss; otherwise numbers, or rows with a single 1."""
        name = getattr(self.loss, "__name__", type(self.loss).__name__).lower()
        if "sparse" in name:
            return tf.constant(labels)
        if output.shape.rank == 1 or output.shape[-1] == 1:
            return tf.constant(labels.astype(output.dtype.as_numpy_dtype))
        return tf.one_hot(labels, output.shape[-1], dtype=output.dtype)


FORM = (
    "must return (loss, optimizer), as compile() takes them; or leave it out and compile the model"
)


@contextmanager
def _without_dropout(model: keras.Model) -> Iterator[None]:
    """No dropout and no noise, while the block runs."""
    kept = [
        (layer, name, getattr(layer, name))
        for layer in model._flatten_layers()  # noqa: SLF001 - also the layers inside layers
        for name in RANDOM
        if isinstance(getattr(layer, name, None), float)
    ]
    try:
        for layer, name, _ in kept:
            object.__setattr__(layer, name, 0.0)
        yield
    finally:
        for layer, name, value in kept:
            object.__setattr__(layer, name, value)


def _rule(optimizer: keras.optimizers.Optimizer) -> Rule | None:
    """The formula of one of Keras's optimizers."""
    config = optimizer.get_config()
    numbers: dict[str, Any] = {
        "framework": "tensorflow",
        "decay": float(np.float32(config.get("weight_decay") or 0.0)),
        "decoupled": True,
        "clip_norm": config.get("clipnorm") or 0.0,
        "clip_all": config.get("global_clipnorm") or 0.0,
        "clip_value": config.get("clipvalue") or 0.0,
    }
    match type(optimizer).__name__:
        case "SGD":
            momentum = float(np.float32(config["momentum"]))
            return Rule(formula="sgd", momentum=momentum, nesterov=config["nesterov"], **numbers)
        case "Adam" | "AdamW":
            return Rule(
                formula="adam",
                betas=(config["beta_1"], config["beta_2"]),
                epsilon=config["epsilon"],
                amsgrad=config["amsgrad"],
                **numbers,
            )
        case "RMSprop":
            kept = {key: config[key] for key in ("rho", "momentum", "epsilon", "centered")}
            return Rule(formula="rmsprop", **kept, **numbers)
        case "Adagrad":
            start = float(np.float32(config["initial_accumulator_value"]))
            return Rule(formula="adagrad", start=start, epsilon=config["epsilon"], **numbers)
        case _:
            return None
