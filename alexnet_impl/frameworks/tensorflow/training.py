"""The training step in TensorFlow: treat the images, forward, loss, gradients, update."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from alexnet_impl.data.resize import interpolation_matrix
from alexnet_impl.data.treatment import INPUT_SCALINGS
from alexnet_impl.errors import FrameworkError
from alexnet_impl.frameworks import Labels, Logits, Pixels, StepValues
from alexnet_impl.frameworks.tensorflow.device import find_device, peak_memory_bytes, synchronize
from alexnet_impl.frameworks.tensorflow.model import build_model
from alexnet_impl.frameworks.tensorflow.optimizers import make_optimizer
from alexnet_impl.frameworks.tensorflow.weights import (
    from_canonical,
    get_weights,
    set_weights,
    to_canonical,
    variable_of,
)
from alexnet_impl.recipe import LOSS_SCALE, LOSS_SCALE_GROWTH_STEPS, Recipe
from alexnet_impl.spec import Spec, weight_shapes
from alexnet_impl.weights import Weights


def make_trainer(spec: Spec, recipe: Recipe, weights: Weights, device: str) -> "TensorflowTrainer":
    """A trainer that starts from these weights.

    Raises:
        FrameworkError: If there is no such device, or TensorFlow cannot run the recipe.
    """
    if recipe.memory_layout != "channels-last":
        raise FrameworkError(
            f"tensorflow: memory_layout={recipe.memory_layout} is not to be had: these Keras "
            "layers keep feature maps channels-last; take channels-last, or PyTorch alone."
        )
    found = find_device(device)
    # float32 means float32: by default TensorFlow allows TF32 throughout, PyTorch only in part.
    tf.config.experimental.enable_tensor_float_32_execution(enabled=False)
    return TensorflowTrainer(spec, recipe, weights, found)


class InputTreatment:
    """uint8 (batch, height, width, 3) to floats (batch, *input size, 3), on the device."""

    def __init__(self, spec: Spec, recipe: Recipe) -> None:
        self.dtype = tf.float64 if recipe.precision == "float64" else tf.float32
        scaling = INPUT_SCALINGS[recipe.input_scaling]
        self.mean = tf.constant(scaling.mean, self.dtype)
        self.std = tf.constant(scaling.std, self.dtype)
        _, self.height, self.width = spec.input_shape

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Scale, normalise, and resize if the stored size is not the network's."""
        scaled = (tf.cast(images, self.dtype) / 255 - self.mean) / self.std
        _, height, width, _ = scaled.shape
        if (height, width) == (self.height, self.width):
            return scaled
        rows, columns = self._matrix(height, self.height), self._matrix(width, self.width)
        wide = tf.matmul(columns, scaled)  # (batch, stored height, width, 3)
        tall = tf.matmul(rows, tf.reshape(wide, (-1, height, self.width * 3)))
        return tf.reshape(tall, (-1, self.height, self.width, 3))

    def _matrix(self, source_size: int, target_size: int) -> tf.Tensor:
        matrix = interpolation_matrix(source_size, target_size, dtype=np.float64)
        return tf.cast(tf.constant(matrix), self.dtype)


class TensorflowTrainer:
    """The Trainer protocol over a keras.Sequential."""

    def __init__(self, spec: Spec, recipe: Recipe, weights: Weights, device: str) -> None:
        self.spec, self.recipe, self.device = spec, recipe, device
        with tf.device(device):
            self.model = build_model(spec, recipe.precision, recipe.seed)
            set_weights(self.model, spec, weights)
            self.treatment = InputTreatment(spec, recipe)
            self.rules = make_optimizer(recipe)
            self.optimizer = self.rules
            if recipe.precision == "float16":
                self.optimizer = keras.optimizers.LossScaleOptimizer(
                    self.rules,
                    initial_scale=LOSS_SCALE,
                    dynamic_growth_steps=LOSS_SCALE_GROWTH_STEPS,
                )
            self.optimizer.build(self.model.trainable_variables)
        self.functions: dict[tuple[str, tuple[int, ...]], Callable[..., Any]] = {}

    def train_step(self, images: Pixels, labels: Labels, learning_rate: float) -> tf.Tensor:
        """Update the weights on one batch; the handle holds (loss, number correct)."""
        with tf.device(self.device):
            step = self._function("train", self._train_step, images, labels)
            rate = tf.constant(learning_rate, tf.float32)
            return step(tf.constant(images), tf.constant(labels), rate)

    def _train_step(self, images: tf.Tensor, labels: tf.Tensor, rate: tf.Tensor) -> tf.Tensor:
        self.rules.learning_rate = rate
        with tf.GradientTape() as tape:
            logits = self._logits(images, training=True)
            loss = self._loss(logits, labels)
            scaled_loss = self.optimizer.scale_loss(loss)
        variables = self.model.trainable_variables
        self.optimizer.apply(tape.gradient(scaled_loss, [v.value for v in variables]), variables)
        correct = tf.equal(tf.argmax(logits, axis=1), labels)
        return tf.stack([loss, tf.reduce_sum(tf.cast(correct, loss.dtype))])

    def _loss(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Mean cross-entropy with the Recipe's label smoothing."""
        log_probabilities = tf.nn.log_softmax(logits)
        picked = tf.gather(log_probabilities, labels, batch_dims=1)
        smoothing = self.recipe.label_smoothing
        if not smoothing:
            return -tf.reduce_mean(picked)
        spread = tf.reduce_mean(log_probabilities, axis=1)
        return -tf.reduce_mean((1 - smoothing) * picked + smoothing * spread)

    def _logits(self, images: tf.Tensor, *, training: bool) -> tf.Tensor:
        """uint8 (batch, height, width, 3) to logits (batch, num_classes) of full precision."""
        logits = self.model(self.treatment(images), training=training)
        return logits if logits.dtype == tf.float64 else tf.cast(logits, tf.float32)

    def _function(
        self, name: str, work: Callable[..., Any], images: Pixels, *rest: np.ndarray[Any, Any]
    ) -> Callable[..., Any]:
        """`work` as one graph for any batch size of images of this stored size."""
        if self.recipe.compile_mode == "eager":
            return work
        key = (name, images.shape[1:])
        if key not in self.functions:
            signature = [tf.TensorSpec((None, *images.shape[1:]), tf.uint8)]
            if rest:
                signature += [tf.TensorSpec((None,), tf.int64), tf.TensorSpec((), tf.float32)]
            compiled = self.recipe.compile_mode == "compiled"
            self.functions[key] = tf.function(work, input_signature=signature, jit_compile=compiled)
        return self.functions[key]

    def read(self, handles: list[tf.Tensor]) -> list[StepValues]:
        """The values of steps taken earlier; waits for the device."""
        if not handles:
            return []
        rows = tf.stack(handles).numpy().tolist()
        return [StepValues(loss=loss, num_correct=round(correct)) for loss, correct in rows]

    def logits(self, images: Pixels) -> Logits:
        """Logits without dropout, shape (batch, num_classes)."""
        with tf.device(self.device):
            function = self._function("logits", self._eval_logits, images)
            logits: Logits = function(tf.constant(images)).numpy()
        return logits

    def _eval_logits(self, images: tf.Tensor) -> tf.Tensor:
        return self._logits(images, training=False)

    def synchronize(self) -> None:
        """Wait until the device has finished its work."""
        synchronize(self.device)

    def weights(self) -> Weights:
        """A copy of the weights in the canonical layout."""
        return get_weights(self.model, self.spec)

    def state(self) -> Weights:
        """Optimiser slots by weight, dropout's seed states, and the loss scale."""
        state: Weights = {"optimizer.step": self.rules.iterations.numpy().astype(np.int64)}
        for key, name, variable in self._slots():
            state[key] = to_canonical(name, variable.numpy(), self.spec)
        for key, variable in self._own_variables().items():
            state[key] = variable.numpy()
        return state

    def restore(self, weights: Weights, state: Weights) -> None:
        """Continue from weights() and state() of an earlier trainer."""
        set_weights(self.model, self.spec, weights)
        self.rules.iterations.assign(state["optimizer.step"])
        for key, name, variable in self._slots():
            array = state.get(key)
            zeros = np.zeros(variable.shape)
            variable.assign(zeros if array is None else from_canonical(name, array, self.spec))
        for key, variable in self._own_variables().items():
            if key in state:
                variable.assign(state[key])

    def _slots(self) -> list[tuple[str, str, keras.Variable]]:
        """(name in a run's state, the weight's canonical name, variable) of each slot."""
        return [
            (f"optimizer.{name}.{slot}", name, self.rules.slot(slot, variable_of(self.model, name)))
            for name in weight_shapes(self.spec)
            for slot in self.rules.slot_names
        ]

    def _own_variables(self) -> dict[str, keras.Variable]:
        """What only TensorFlow's side keeps, by its name in a run's state."""
        own = {
            f"generator.{layer.name}": layer.seed_generator.state
            for layer in self.model.layers
            if isinstance(layer, keras.layers.Dropout)
        }
        if self.optimizer is not self.rules:
            own["loss_scale"] = self.optimizer.dynamic_scale
            own["loss_scale.counter"] = self.optimizer.step_counter
        return own

    def peak_memory_bytes(self) -> int | None:
        """Most memory allocated on the GPU; None on a CPU."""
        return peak_memory_bytes(self.device)
