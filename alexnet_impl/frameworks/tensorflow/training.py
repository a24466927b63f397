"""The training step in TensorFlow: preprocessing, forward, loss, gradients and update."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from alexnet_impl.data.batches import GatherIndices
from alexnet_impl.data.preprocessing import INPUT_SCALINGS
from alexnet_impl.data.resize import resize_and_cut
from alexnet_impl.errors import FrameworkError
from alexnet_impl.frameworks import Activations, Labels, Logits, Pixels, StepValues
from alexnet_impl.frameworks.tensorflow.device import (
    find_device,
    peak_memory_bytes,
    reset_peak_memory,
    synchronize,
)
from alexnet_impl.frameworks.tensorflow.fused import make_fused_optimizer
from alexnet_impl.frameworks.tensorflow.layers import SharedDropout
from alexnet_impl.frameworks.tensorflow.model import build_model
from alexnet_impl.frameworks.tensorflow.optimizers import make_optimizer
from alexnet_impl.frameworks.tensorflow.weights import (
    activation_to_canonical,
    backbone_names,
    from_canonical,
    get_weights,
    set_weights,
    to_canonical,
    variable_of,
)
from alexnet_impl.network.dropout_masks import mask_key
from alexnet_impl.network.spec import Spec, backbone_of, weight_shapes
from alexnet_impl.recipe.recipe import LOSS_SCALE, LOSS_SCALE_GROWTH_STEPS, Recipe
from alexnet_impl.recipe.trainable import rate_factors, trainable_layers
from alexnet_impl.weights.canonical import Weights

Feed = tuple[Any, ...]
"""(uint8 images,), or the gather indices (indices, rows, columns) into the device's dataset."""


def make_trainer(spec: Spec, recipe: Recipe, weights: Weights, device: str) -> "TensorflowTrainer":
    """Makes a trainer that starts from weights in the canonical layout.

    Raises:
        FrameworkError: If there is no such device, or TensorFlow cannot run the recipe.
    """
    if recipe.memory_layout != "channels-last":
        raise FrameworkError(
            f"tensorflow: memory_layout={recipe.memory_layout} is not supported by TensorFlow; "
            "use channels-last, or train in PyTorch only."
        )
    found = find_device(device)
    # float32 means float32: by default TensorFlow allows TF32 throughout, PyTorch only in part.
    tf.config.experimental.enable_tensor_float_32_execution(enabled=False)
    reset_peak_memory(found)
    return TensorflowTrainer(spec, recipe, weights, found)


def freeze(model: keras.Model, spec: Spec, recipe: Recipe) -> None:
    """Makes the variables of layers that do not learn untrainable."""
    found = trainable_layers(spec, recipe)
    for layer in model.layers:
        # A layer that only Keras needs is named after the layer it serves and a dot.
        layer.trainable = layer.name.partition(".")[0] in found.layers
    backbone = backbone_of(spec)
    if backbone is not None and found.backbone_layers is not None:
        layers = model.get_layer(backbone.name).layers
        for layer in layers[: max(0, len(layers) - found.backbone_layers)]:
            layer.trainable = False


class InputPreprocessing:
    """Maps uint8 images to the network's float input, on the device."""

    def __init__(self, spec: Spec, recipe: Recipe) -> None:
        self.dtype = tf.float64 if recipe.precision == "float64" else tf.float32
        self.method, self.between = recipe.resize, recipe.resize_to
        scaling = INPUT_SCALINGS[recipe.input_scaling]
        self.blue_first = scaling.blue_first
        self.mean = tf.constant(scaling.mean, self.dtype)
        self.std = tf.constant(scaling.std, self.dtype)
        self.input_shape = spec.input_shape

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Maps images (batch, height, width, 3) to (batch, input height, input width, 3).

        They are scaled, normalised and, if the stored size is not the network's, resized. Float
        features of a frozen network pass; a map of them becomes channels-last.
        """
        images = tf.convert_to_tensor(images)
        if images.dtype.is_floating:
            features = tf.cast(images, self.dtype)
            return tf.transpose(features, (0, 2, 3, 1)) if len(images.shape) == 4 else features
        scaled = (tf.cast(images, self.dtype) / 255 - self.mean) / self.std
        if self.blue_first:
            scaled = tf.reverse(scaled, (3,))
        _, height, width, _ = scaled.shape
        _, target_height, target_width = self.input_shape
        if self.between is None and (height, width) == (target_height, target_width):
            return scaled
        rows, columns = self._matrix(height, target_height), self._matrix(width, target_width)
        wide = tf.matmul(columns, scaled)  # (batch, stored height, width, 3)
        tall = tf.matmul(rows, tf.reshape(wide, (-1, height, target_width * 3)))
        return tf.reshape(tall, (-1, target_height, target_width, 3))

    def _matrix(self, source_size: int, target_size: int) -> tf.Tensor:
        matrix = resize_and_cut(
            source_size, target_size, self.between, method=self.method, dtype=np.float64
        )
        return tf.cast(tf.constant(matrix), self.dtype)


class TensorflowTrainer:
    """The DeviceTrainer protocol for a keras.Sequential."""

    def __init__(self, spec: Spec, recipe: Recipe, weights: Weights, device: str) -> None:
        self.spec, self.recipe, self.device = spec, recipe, device
        with tf.device(device):
            shared_masks = recipe.dropout_masks == "shared"
            self.model = build_model(spec, recipe.precision, recipe.seed, shared_masks=shared_masks)
            set_weights(self.model, spec, weights)
            freeze(self.model, spec, recipe)
            self.preprocessing = InputPreprocessing(spec, recipe)
            make = make_fused_optimizer if recipe.fused_update else make_optimizer
            self.rules = make(recipe)
            self.optimizer = self.rules
            if recipe.precision == "float16":
                self.optimizer = keras.optimizers.LossScaleOptimizer(
                    self.rules,
                    initial_scale=LOSS_SCALE,
                    dynamic_growth_steps=LOSS_SCALE_GROWTH_STEPS,
                )
            self.optimizer.build(self.model.trainable_variables)
            self.rules.rate_factors = self._rate_factors()
            self.names = self._trainable_names()
        self.step = 0
        self.prefixes: dict[str, keras.Model] = {}
        self.functions: dict[tuple[Any, ...], Callable[..., Any]] = {}
        self.dataset: tf.Tensor | None = None
        self.apply: Callable[..., Any] | None = None
        self.latest_gradients: list[tf.Tensor] = []

    def _trainable_names(self) -> list[str]:
        """Returns the canonical names of the weights that learn, in the model's order."""
        names = {
            variable_of(self.model, name).path: name
            for name in (*backbone_names(self.model, self.spec), *weight_shapes(self.spec))
        }
        return [names[variable.path] for variable in self.model.trainable_variables]

    def _rate_factors(self) -> dict[str, float]:
        """Returns the learning-rate factor by a variable's path."""
        return {
            variable.path: factor
            for name, factor in rate_factors(self.spec, self.recipe).items()
            for variable in self.model.get_layer(name).trainable_variables
        }

    def put_dataset_on_device(self, images: Pixels, padding: int) -> None:
        """Copies the dataset (num_images, height, width, 3) to the device and pads it once."""
        sides = (padding, padding)
        self.functions.clear()  # they would keep the previous dataset
        with tf.device(self.device):
            self.dataset = tf.pad(tf.constant(images), ((0, 0), sides, sides, (0, 0)))

    def train_step(
        self, images: Pixels | GatherIndices, labels: Labels, learning_rate: float
    ) -> tf.Tensor:
        """Updates the weights on one batch; the handle has shape (2,): loss, number correct."""
        self._set_masks()
        self.step += 1
        rate = np.float32(learning_rate)
        return self._call("train", self._train_step, self._feed(images), labels, rate)

    def train_steps(
        self,
        images: Sequence[Pixels] | Sequence[GatherIndices],
        labels: Sequence[Labels],
        learning_rates: Sequence[float],
    ) -> tf.Tensor:
        """Calls a graph with a loop over the steps; the handle has shape (steps, 2)."""
        self.step += len(learning_rates)
        parts = zip(*(self._feed(batch) for batch in images), strict=True)
        feed = tuple(np.stack(part) for part in parts)
        rates = np.array(learning_rates, np.float32)
        steps = self._train_steps
        return self._call("train many", steps, feed, np.stack(labels), rates, free_axes=2)

    def _train_steps(self, feed: Feed, labels: tf.Tensor, rates: tf.Tensor) -> tf.Tensor:
        """Takes several steps; every argument has a leading axis of steps."""
        rows = tf.TensorArray(self.preprocessing.dtype, tf.shape(rates)[0])
        for step in tf.range(tf.shape(rates)[0]):
            batch = tuple([part[step] for part in feed])  # AutoGraph reads no generators
            rows = rows.write(step, self._train_step(batch, labels[step], rates[step]))
        return rows.stack()

    def _train_step(self, feed: Feed, labels: tf.Tensor, rate: tf.Tensor) -> tf.Tensor:
        loss, logits, gradients = self._backward(feed, labels)
        self._update(gradients, rate)
        correct = tf.equal(tf.argmax(logits, axis=1), labels)
        return tf.stack([loss, tf.reduce_sum(tf.cast(correct, loss.dtype))])

    def _update(self, gradients: list[tf.Tensor], rate: tf.Tensor) -> None:
        self.rules.learning_rate = rate
        self.optimizer.apply(gradients, self.model.trainable_variables)

    def forward(self, images: Pixels, labels: Labels) -> tf.Tensor:
        """Computes the scalar loss of a train_step."""
        self._set_masks()
        return self._call("forward", self._forward, self._feed(images), labels)[0]

    def backward(self, images: Pixels, labels: Labels) -> tf.Tensor:
        """Computes the scalar loss and keeps the scaled loss's gradients for update()."""
        self._set_masks()
        found = self._call("gradients", self._gradients, self._feed(images), labels)
        loss, self.latest_gradients = found
        return loss

    def update(self, learning_rate: float) -> None:
        """Updates the weights by the gradients of the latest backward()."""
        with tf.device(self.device):
            if self.apply is None:
                compiled = self.recipe.compile_mode == "compiled"
                graph = tf.function(self._update, jit_compile=compiled)
                self.apply = self._update if self.recipe.compile_mode == "eager" else graph
            self.apply(self.latest_gradients, tf.constant(learning_rate, tf.float32))
            self.step += 1

    def _forward(self, feed: Feed, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Computes the scalar loss and logits (batch, num_classes)."""
        logits = self._logits(feed, training=True)
        return self._loss(logits, labels), logits

    def _backward(
        self, feed: Feed, labels: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        """Computes loss, logits and the scaled loss's gradients by trainable variable."""
        with tf.GradientTape() as tape:
            loss, logits = self._forward(feed, labels)
            scaled_loss = self.optimizer.scale_loss(loss)
        variables = [variable.value for variable in self.model.trainable_variables]
        return loss, logits, tape.gradient(scaled_loss, variables)

    def _set_masks(self) -> None:
        """Sets the keys of shared dropout masks for the next step."""
        names = self._layer_names()
        for layer in self.model.layers:
            if isinstance(layer, SharedDropout):
                key = mask_key(self.recipe.seed, self.step, names.index(layer.name))
                layer.key.assign(np.uint32(key))

    def _log_probabilities(self, logits: tf.Tensor) -> tf.Tensor:
        """Log-probabilities (batch, num_classes) for the loss (see Recipe.loss_input)."""
        # No match statement: AutoGraph cannot read it.
        if self.recipe.loss_input == "logits":
            return tf.nn.log_softmax(logits)
        probabilities = tf.nn.softmax(logits)
        if self.recipe.loss_input == "softmax-twice":
            return tf.nn.log_softmax(probabilities)
        return tf.math.log(tf.clip_by_value(probabilities, 1e-7, 1 - 1e-7))

    def _loss(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Mean cross-entropy with the Recipe's label smoothing."""
        log_probabilities = self._log_probabilities(logits)
        picked = tf.gather(log_probabilities, labels, batch_dims=1)
        smoothing = self.recipe.label_smoothing
        if not smoothing:
            return -tf.reduce_mean(picked)
        spread = tf.reduce_mean(log_probabilities, axis=1)
        return -tf.reduce_mean((1 - smoothing) * picked + smoothing * spread)

    def _feed(self, images: Pixels | GatherIndices) -> Feed:
        """Arrays to copy to the device: the images, or their gather indices."""
        if not isinstance(images, GatherIndices):
            return (images,)
        if self.dataset is None:
            raise FrameworkError(
                "tensorflow: the device has no images; call put_dataset_on_device() before "
                "steps on GatherIndices."
            )
        return images.indices, images.rows, images.columns

    def _pixels(self, feed: Feed) -> tf.Tensor:
        """Returns uint8 (batch, height, width, 3), gathered on the device if need be."""
        if len(feed) == 1:
            return feed[0]
        indices, rows, columns = feed
        tall = tf.gather(tf.gather(self.dataset, indices), rows, axis=1, batch_dims=1)
        return tf.gather(tall, columns, axis=2, batch_dims=1)

    def _logits(self, feed: Feed, *, training: bool) -> tf.Tensor:
        """Maps images to logits (batch, num_classes) of full precision."""
        logits = self.model(self._preprocess(feed), training=training)
        return logits if logits.dtype == tf.float64 else tf.cast(logits, tf.float32)

    def _call(
        self, name: str, work: Callable[..., Any], feed: Feed, *rest: Any, free_axes: int = 1
    ) -> Any:
        """Calls work(feed, *rest) as one graph for any batch size of images of this stored size.

        Args:
            name: Name of the graph.
            work: The function; it has no match statement, which AutoGraph cannot read.
            feed: NumPy arrays.
            rest: Labels and rates, NumPy arrays too.
            free_axes: Number of leading axes of any length.
        """
        arrays = (feed, *rest)
        with tf.device(self.device):
            tensors = tf.nest.map_structure(tf.constant, arrays)
            if self.recipe.compile_mode == "eager":
                return work(*tensors)
            key = (name, *(array.shape[free_axes:] for array in feed))
            if key not in self.functions:
                signature = tf.nest.map_structure(lambda one: _signature(one, free_axes), arrays)
                compiled = self.recipe.compile_mode == "compiled"
                self.functions[key] = tf.function(
                    work, input_signature=signature, jit_compile=compiled
                )
            return self.functions[key](*tensors)

    def read(self, handles: list[tf.Tensor]) -> list[StepValues]:
        """Reads handles of shape (2,) or (steps, 2); waits for the device."""
        if not handles:
            return []
        rows = tf.concat([tf.reshape(handle, (-1, 2)) for handle in handles], 0).numpy().tolist()
        return [StepValues(loss=loss, num_correct=round(correct)) for loss, correct in rows]

    def logits(self, images: Pixels) -> Logits:
        """Computes logits without dropout, shape (batch, num_classes)."""
        logits: Logits = self.infer(images).numpy()
        return logits

    def infer(self, images: Pixels) -> tf.Tensor:
        """Computes logits without dropout on the device, shape (batch, num_classes)."""
        return self._call("logits", self._eval_logits, self._feed(images))

    def move(self, images: Pixels) -> tf.Tensor:
        """Copies images to the device: uint8 of shape (batch, height, width, 3)."""
        with tf.device(self.device):
            return tf.constant(images)

    def preprocess(self, images: Pixels) -> tf.Tensor:
        """Computes the first layer's input on the device, shape (batch, height, width, 3)."""
        return self._call("preprocess", self._preprocess, self._feed(images))

    def _preprocess(self, feed: Feed) -> tf.Tensor:
        return self.preprocessing(self._pixels(feed))

    def _eval_logits(self, feed: Feed) -> tf.Tensor:
        return self._logits(feed, training=False)

    def features(self, images: Pixels, layer: str) -> NDArray[np.float32]:
        """Computes one layer's output in inference: (batch, channels, height, width) or 2-D."""
        if layer not in self.prefixes:
            names = [part.name for part in self.model.layers]
            self.prefixes[layer] = keras.Sequential(
                [self.model.inputs[0], *self.model.layers[: names.index(layer) + 1]]
            )
        prefix = self.prefixes[layer]
        found = self._call(
            f"features {layer}", lambda feed: prefix(self._preprocess(feed)), self._feed(images)
        )
        return self._canonical(layer, found)

    def activations(self, images: Pixels, *, training: bool = False) -> Activations:
        """Computes every layer's output (batch, channels, height, width) or 2-D, and 'images'."""
        outputs: Activations = {}
        with tf.device(self.device):
            self._set_masks()
            values = self.preprocessing(tf.constant(images))
            outputs["images"] = self._canonical("images", values)
            for layer in self.model.layers:
                kinds = keras.layers.Dropout | SharedDropout | keras.Model
                mode = {"training": training} if isinstance(layer, kinds) else {}
                values = layer(values, **mode)
                outputs[layer.name] = self._canonical(layer.name, values)
        # A padding layer of Keras is not in the Spec.
        return {name: outputs[name] for name in ("images", *self._layer_names())}

    def _layer_names(self) -> list[str]:
        return [layer.name for layer in self.spec.layers]

    def _canonical(self, name: str, values: tf.Tensor) -> np.ndarray[Any, Any]:
        """Copies a layer's output to the host, channels first; half precision becomes float32."""
        wide = values if values.dtype == tf.float64 else tf.cast(values, tf.float32)
        return activation_to_canonical(name, wide.numpy(), self.spec)

    def gradients(self, images: Pixels, labels: Labels) -> tuple[float, Weights]:
        """Computes the loss and its gradients in the canonical layout; updates nothing."""
        self._set_masks()
        loss, gradients = self._call("gradients", self._gradients, self._feed(images), labels)
        scale = float(self.optimizer.scale_loss(1.0))
        by_variable = {
            variable.path: gradient.numpy() / scale
            for variable, gradient in zip(self.model.trainable_variables, gradients, strict=True)
        }
        found = {
            name: to_canonical(name, by_variable[variable_of(self.model, name).path], self.spec)
            for name in self.names
        }
        return float(loss), found

    def _gradients(self, feed: Feed, labels: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        loss, _logits, gradients = self._backward(feed, labels)
        return loss, gradients

    def synchronize(self) -> None:
        """Waits until the device has finished its work."""
        synchronize(self.device)

    def weights(self) -> Weights:
        """Copies the weights, in the canonical layout."""
        return get_weights(self.model, self.spec)

    def state(self) -> Weights:
        """Copies optimizer slots in the canonical layout, dropout's seeds and the loss scale."""
        state: Weights = {
            "step": np.array(self.step, np.int64),
            "optimizer.step": self.rules.iterations.numpy().astype(np.int64),
        }
        for key, name, variable in self._slots():
            state[key] = to_canonical(name, variable.numpy(), self.spec)
        for key, variable in self._own_variables().items():
            state[key] = variable.numpy()
        return state

    def restore(self, weights: Weights, state: Weights) -> None:
        """Continues from weights() and state() (canonical layout) of an earlier trainer."""
        set_weights(self.model, self.spec, weights)
        self.step = int(state.get("step", 0))
        self.rules.iterations.assign(state["optimizer.step"])
        for key, name, variable in self._slots():
            array = state.get(key)
            zeros = np.zeros(variable.shape)
            variable.assign(zeros if array is None else from_canonical(name, array, self.spec))
        for key, variable in self._own_variables().items():
            if key in state:
                variable.assign(state[key])

    def _slots(self) -> list[tuple[str, str, keras.Variable]]:
        """Returns (name in a run's state, the weight's canonical name, variable) of each slot."""
        return [
            (f"optimizer.{name}.{slot}", name, self.rules.slot(slot, variable_of(self.model, name)))
            for name in self.names
            for slot in self.rules.slot_names
        ]

    def _own_variables(self) -> dict[str, keras.Variable]:
        """Returns the variables that only TensorFlow has, by name in a run's state."""
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
        """Peak memory allocated on the GPU, in bytes; None on a CPU."""
        return peak_memory_bytes(self.device)


def _signature(array: np.ndarray[Any, Any], free_axes: int) -> tf.TensorSpec:
    """Returns the type and shape of an array, whose leading axes may have any length."""
    free = min(free_axes, array.ndim)
    return tf.TensorSpec((None,) * free + array.shape[free:], array.dtype)
