"""The layers, the loss and the updates once more, slow and plain, in NumPy and float64.

It is the lowest check of parity: what either framework computes is compared with what the formulas
say, read off the docstrings of alexnet_impl.network.spec and of alexnet_impl.recipe. Gradients
follow the definition, window by window and term by term, and tests/meta/test_reference.py checks
them by finite differences. Maps are (batch, channels, height, width), rows (batch, features),
weights in the canonical layout. At the end stands what puts a framework's model beside it.

Small rules that could be read in two ways are functions of their own: the tests in tests/meta
replace them, one by one, to show that the other reading would be noticed.
"""

from dataclasses import dataclass
from typing import assert_never

import numpy as np

from alexnet_impl.data.preprocessing import INPUT_SCALINGS
from alexnet_impl.frameworks import get_framework
from alexnet_impl.network.spec import (
    Conv,
    Dense,
    Dropout,
    Flatten,
    LocalResponseNorm,
    MaxPool,
    Relu,
    Spec,
    trace,
    weight_shapes,
)

# --- one layer ------------------------------------------------------------------------------


def forward(layer, inputs, weights=None, keep=None):
    """What a layer yields.

    Args:
        layer: Of alexnet_impl.network.spec.
        inputs: float64, what the layer reads.
        weights: 'weight' and 'bias' of a Conv or a Dense.
        keep: Of a Dropout in training, where it keeps a value; None at evaluation.
    """
    match layer:
        case Conv():
            return _conv(layer, inputs, **weights)
        case Relu():
            return np.maximum(inputs, 0)
        case MaxPool():
            return _max_pool(layer, inputs)
        case LocalResponseNorm():
            return inputs * _norm_base(layer, inputs) ** -layer.beta
        case Flatten():
            return inputs.reshape(len(inputs), -1)
        case Dropout():
            return inputs * _dropout_factor(layer, keep)
        case Dense():
            return inputs @ weights["weight"].T + weights["bias"]
        case _:
            assert_never(layer)


def backward(layer, inputs, upstream, weights=None, keep=None):
    """The gradient of sum(upstream * forward(layer, inputs, ...)).

    Returns:
        That with respect to the inputs, and that with respect to each of the weights by name.
    """
    match layer:
        case Conv():
            return _conv_gradient(layer, inputs, upstream, weights["weight"])
        case Relu():
            return upstream * relu_slope(inputs), {}
        case MaxPool():
            return _max_pool_gradient(layer, inputs, upstream), {}
        case LocalResponseNorm():
            return _norm_gradient(layer, inputs, upstream), {}
        case Flatten():
            return upstream.reshape(inputs.shape), {}
        case Dropout():
            return upstream * _dropout_factor(layer, keep), {}
        case Dense():
            gradients = {"weight": upstream.T @ inputs, "bias": upstream.sum(0)}
            return upstream @ weights["weight"], gradients
        case _:
            assert_never(layer)


def relu_slope(inputs):
    """1 above 0, and 0 from 0 downwards."""
    return np.where(inputs > 0, 1.0, 0.0)


def group_channels(layer, out_channel, in_channels):
    """The input channels that an output channel reads: groups are blocks of neighbours."""
    group = out_channel // (layer.out_channels // layer.groups)
    size = in_channels // layer.groups
    return slice(group * size, (group + 1) * size)


def first_maximum(window):
    """(row, column) of the pixel of a window that gets the gradient: of equals, the first."""
    return np.unravel_index(np.argmax(window), window.shape)


def norm_channels(layer, channel, channels):
    """The channels whose squares are summed for this one."""
    radius = layer.size // 2
    return range(max(channel - radius, 0), min(channel + radius + 1, channels))


def _starts(layer, size):
    """Where windows start along a side of that many pixels; one that does not fit is dropped."""
    return range(0, size - layer.kernel_size + 1, layer.stride)


def _windows(layer, maps):
    """(row, column, view of the maps) of each window, by its place in the output."""
    for i, top in enumerate(_starts(layer, maps.shape[2])):
        for j, left in enumerate(_starts(layer, maps.shape[3])):
            rows = slice(top, top + layer.kernel_size)
            columns = slice(left, left + layer.kernel_size)
            yield i, j, maps[:, :, rows, columns]


def _padded(layer, inputs):
    return np.pad(inputs, ((0, 0), (0, 0), layer.padding, layer.padding))


def _conv(layer, inputs, weight, bias):
    maps = _padded(layer, inputs)
    sides = [len(_starts(layer, size)) for size in maps.shape[2:]]
    outputs = np.zeros((len(inputs), layer.out_channels, *sides))
    for out in range(layer.out_channels):
        read = maps[:, group_channels(layer, out, maps.shape[1])]
        for i, j, window in _windows(layer, read):
            outputs[:, out, i, j] = (window * weight[out]).sum((1, 2, 3)) + bias[out]
    return outputs


def _conv_gradient(layer, inputs, upstream, weight):
    maps = _padded(layer, inputs)
    map_gradient, weight_gradient = np.zeros_like(maps), np.zeros_like(weight)
    for out in range(layer.out_channels):
        channels = group_channels(layer, out, maps.shape[1])
        gradient_windows = _windows(layer, map_gradient[:, channels])
        for i, j, window in _windows(layer, maps[:, channels]):
            above = upstream[:, out, i, j].reshape(-1, 1, 1, 1)
            weight_gradient[out] += (above * window).sum(0)
            _, _, spot = next(gradient_windows)
            spot += above * weight[out]
    before = layer.padding[0]
    height, width = inputs.shape[2:]
    input_gradient = map_gradient[:, :, before : before + height, before : before + width]
    return input_gradient, {"weight": weight_gradient, "bias": upstream.sum((0, 2, 3))}


def _max_pool(layer, inputs):
    sides = [len(_starts(layer, size)) for size in inputs.shape[2:]]
    outputs = np.zeros((*inputs.shape[:2], *sides))
    for i, j, window in _windows(layer, inputs):
        outputs[:, :, i, j] = window.max((2, 3))
    return outputs


def _max_pool_gradient(layer, inputs, upstream):
    gradient = np.zeros_like(inputs)
    gradient_windows = _windows(layer, gradient)
    for i, j, window in _windows(layer, inputs):
        _, _, spot = next(gradient_windows)
        for image, channel in np.ndindex(inputs.shape[:2]):
            pixel = first_maximum(window[image, channel])
            spot[image, channel][pixel] += upstream[image, channel, i, j]
    return gradient


def _norm_base(layer, inputs):
    """k + alpha * the sum of squares, for each value: what beta is the exponent of."""
    base = np.full_like(inputs, layer.k)
    channels = inputs.shape[1]
    for channel in range(channels):
        for other in norm_channels(layer, channel, channels):
            base[:, channel] += layer.alpha * inputs[:, other] ** 2
    return base


def _norm_gradient(layer, inputs, upstream):
    """Product rule: each value stands in front of its own base, and in its neighbours' bases."""
    base = _norm_base(layer, inputs)
    gradient = upstream * base**-layer.beta
    channels = inputs.shape[1]
    for channel in range(channels):
        by_base = inputs[:, channel] * -layer.beta * base[:, channel] ** (-layer.beta - 1)
        for other in norm_channels(layer, channel, channels):
            base_by_other = layer.alpha * 2 * inputs[:, other]
            gradient[:, other] += upstream[:, channel] * by_base * base_by_other
    return gradient


def _dropout_factor(layer, keep):
    return 1.0 if keep is None else np.where(keep, 1 / (1 - layer.rate), 0.0)


# --- a whole network ------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Values:
    """What a network makes of a batch and of a gradient from above.

    Attributes:
        output: Shape (batch, features).
        input_gradient: Shape (batch, channels, height, width).
        weight_gradients: By canonical name.
    """

    output: np.ndarray
    input_gradient: np.ndarray
    weight_gradients: dict


def layer_weights(layer, weights):
    """The weights of one layer by their short names."""
    prefix = f"{layer.name}."
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


def network_reads(spec, weights, inputs, keep):
    """What each layer reads, in order, and last what the network yields."""
    reads = [inputs]
    for layer in spec.layers:
        own = layer_weights(layer, weights)
        reads.append(forward(layer, reads[-1], own, keep.get(layer.name)))
    return reads


def network_gradients(spec, weights, reads, upstream, keep):
    """The gradient with respect to the input, and to each weight by canonical name."""
    gradients = {}
    for layer, inputs in zip(reversed(spec.layers), reads[-2::-1], strict=True):
        own = layer_weights(layer, weights)
        upstream, found = backward(layer, inputs, upstream, own, keep.get(layer.name))
        gradients |= {f"{layer.name}.{short}": gradient for short, gradient in found.items()}
    return upstream, {name: gradients[name] for name in weights}


def reference_values(spec, weights, inputs, upstream, keep=None):
    """What a network should make of a batch.

    Args:
        spec: The network.
        weights: By canonical name.
        inputs: Shape (batch, channels, height, width).
        upstream: The gradient of some loss with respect to the output, shape (batch, features).
        keep: In training, where each Dropout keeps a value, by its name.
    """
    keep = keep or {}
    reads = network_reads(spec, weights, inputs, keep)
    input_gradient, gradients = network_gradients(spec, weights, reads, upstream, keep)
    return Values(output=reads[-1], input_gradient=input_gradient, weight_gradients=gradients)


# --- loss and updates -----------------------------------------------------------------------


def smoothed_targets(labels, num_classes, smoothing):
    """The distribution that the softmax should come near; each row sums to 1."""
    return (1 - smoothing) * np.eye(num_classes)[labels] + smoothing / num_classes


def cross_entropy(logits, labels, smoothing=0.0):
    """The mean softmax cross-entropy over a batch, and its gradient with respect to the logits."""
    batch, num_classes = logits.shape
    shifted = logits - logits.max(1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    targets = smoothed_targets(labels, num_classes, smoothing)
    loss = -(targets * log_probabilities).sum() / batch
    return loss, (np.exp(log_probabilities) - targets) / batch


def sgd(weight, gradient, buffer, *, rate, momentum=0.0, nesterov=False, decay=0.0):
    """One step of SGD with coupled L2: the new weight and its new momentum buffer."""
    gradient = gradient + decay * weight
    buffer = momentum * buffer + gradient
    step = gradient + momentum * buffer if nesterov else buffer
    return weight - rate * step, buffer


def adam_root(second, correction, epsilon):
    """What Adam divides by; epsilon is added after the bias correction."""
    return np.sqrt(second / correction) + epsilon


def adam(weight, gradient, moments, *, rate, step, beta1, beta2, epsilon, decay=0.0):
    """One step of Adam with coupled L2: the new weight and its new moments (first, second).

    `step` is 1 for the first.
    """
    gradient = gradient + decay * weight
    first = beta1 * moments[0] + (1 - beta1) * gradient
    second = beta2 * moments[1] + (1 - beta2) * gradient**2
    root = adam_root(second, 1 - beta2**step, epsilon)
    return weight - rate * (first / (1 - beta1**step)) / root, (first, second)


def adamw(weight, gradient, moments, *, rate, decay=0.0, **numbers):
    """One step of Adam with decay decoupled from the gradient: the new weight, its new moments."""
    decayed = weight - rate * decay * weight
    return adam(decayed, gradient, moments, rate=rate, **numbers)


def clip_factor(gradients, clip_norm):
    """What all gradients are multiplied by, so that their common norm is at most clip_norm."""
    if clip_norm is None:
        return 1.0
    norm = np.sqrt(sum((gradient**2).sum() for gradient in gradients))
    return min(1.0, clip_norm / (norm + 1e-6))


def update(recipe, weight, gradient, state, *, rate, step):
    """One step of the recipe's optimiser; `state` is what the step before returned, first None."""
    decays = weight.ndim > 1 or recipe.weight_decay_on == "all"
    decay = recipe.weight_decay if decays else 0.0
    zeros = np.zeros_like(weight)
    if recipe.optimizer == "sgd":
        buffer = zeros if state is None else state
        numbers = {"momentum": recipe.momentum, "nesterov": recipe.nesterov, "decay": decay}
        return sgd(weight, gradient, buffer, rate=rate, **numbers)
    rule = adam if recipe.optimizer == "adam" else adamw
    numbers = {"beta1": recipe.beta1, "beta2": recipe.beta2, "epsilon": recipe.epsilon}
    moments = (zeros, zeros) if state is None else state
    return rule(weight, gradient, moments, rate=rate, step=step, decay=decay, **numbers)


def preprocessed(images, scaling):
    """uint8 (batch, height, width, channels) to what the first layer reads."""
    numbers = INPUT_SCALINGS[scaling]
    return ((images / 255 - numbers.mean) / numbers.std).transpose(0, 3, 1, 2)


def train(spec, recipe, weights, batch, rates):
    """Train on one batch of (images, labels), one step for each learning rate.

    Returns:
        The loss before each step, and the weights after the last.
    """
    images, labels = batch
    inputs = preprocessed(images, recipe.input_scaling)
    weights, states, losses = dict(weights), dict.fromkeys(weights), []
    for step, rate in enumerate(rates, start=1):
        reads = network_reads(spec, weights, inputs, {})
        loss, upstream = cross_entropy(reads[-1], labels, recipe.label_smoothing)
        _, gradients = network_gradients(spec, weights, reads, upstream, {})
        factor = clip_factor(gradients.values(), recipe.clip_norm)
        for name, weight in weights.items():
            gradient = factor * gradients[name]
            weights[name], states[name] = update(
                recipe, weight, gradient, states[name], rate=rate, step=step
            )
        losses.append(loss)
    return np.array(losses), weights


# --- a framework's model beside it ----------------------------------------------------------


def headed(layers, input_shape):
    """These layers, flattened, and a dense layer of as many outputs as inputs.

    Where drawn_weights makes it the identity, the network's output is that of its layers.
    """
    before = Spec(name="headed", input_shape=input_shape, layers=(*layers, Flatten(name="flatten")))
    (features,) = trace(before).output_shape
    head = Dense(name="identity", out_features=features)
    return Spec(name="headed", input_shape=input_shape, layers=(*before.layers, head))


def drawn_weights(spec, rng, scale=1.0):
    """Kernels that keep the scale of what they read, biases of that scale, and the identity."""
    weights = {}
    for name, shape in weight_shapes(spec).items():
        fan_in = np.prod(shape[1:])
        weights[name] = rng.standard_normal(shape) * (scale if len(shape) == 1 else fan_in**-0.5)
    if "identity.weight" in weights:
        weights["identity.weight"] = np.eye(len(weights["identity.bias"]))
        weights["identity.bias"] = np.zeros_like(weights["identity.bias"])
    return weights


def drawn_batch(spec, rng, count=4):
    """(images, labels) of the size that the network reads, so that nothing is resized."""
    channels, height, width = spec.input_shape
    images = rng.integers(0, 256, (count, height, width, channels), dtype=np.uint8)
    return images, rng.integers(0, spec.layers[-1].out_features, count)


def framework_values(
    framework_name, spec, weights, inputs, upstream, *, training=False, layout="channels-last"
):
    """What a framework's own model makes of a batch, in the precision of `inputs`.

    Args:
        framework_name: One of FRAMEWORKS.
        spec: The network.
        weights: By canonical name.
        inputs: Shape (batch, channels, height, width).
        upstream: The gradient from above, shape (batch, features).
        training: Whether dropout acts.
        layout: Of PyTorch's maps in memory; TensorFlow's are channels-last.
    """
    framework = get_framework(framework_name)
    model = framework.build_model(spec, inputs.dtype.name)
    dtype = inputs.dtype
    framework.set_weights(model, spec, {k: v.astype(dtype) for k, v in weights.items()})
    upstream = upstream.astype(dtype)
    if framework_name == "torch":
        return _torch_values(model.train(training), inputs, upstream, layout)
    return _tensorflow_values(model, spec, inputs, upstream, training=training)


def _torch_values(model, inputs, upstream, layout):
    import torch

    last = layout == "channels-last"
    memory_format = torch.channels_last if last else torch.contiguous_format
    model = model.to(memory_format=memory_format)
    images = torch.from_numpy(inputs).requires_grad_()
    # A copy, since ReLU works in place and PyTorch lets nothing write into what wants a gradient.
    output = model(images.clone(memory_format=memory_format))
    output.backward(torch.from_numpy(upstream))
    return Values(
        output=output.detach().numpy(),
        input_gradient=images.grad.numpy(),
        weight_gradients={n: p.grad.numpy() for n, p in model.named_parameters()},
    )


def _tensorflow_values(model, spec, inputs, upstream, *, training):
    import tensorflow as tf

    from alexnet_impl.frameworks.tensorflow.weights import to_canonical, variable_of

    images = tf.constant(inputs.transpose(0, 2, 3, 1))
    names = list(weight_shapes(spec))
    variables = [variable_of(model, name).value for name in names]
    with tf.GradientTape() as tape:
        tape.watch(images)
        output = model(images, training=training)
    sources = [images, *variables]
    first, *rest = tape.gradient(output, sources, output_gradients=tf.constant(upstream))
    return Values(
        output=output.numpy(),
        input_gradient=first.numpy().transpose(0, 3, 1, 2),
        weight_gradients={
            name: to_canonical(name, gradient.numpy(), spec)
            for name, gradient in zip(names, rest, strict=True)
        },
    )


def framework_train(framework_name, spec, recipe, weights, batch, rates):
    """The same as train(), in steps of a framework's own trainer."""
    trainer = get_framework(framework_name).make_trainer(spec, recipe, weights, "cpu")
    handles = [trainer.train_step(*batch, rate) for rate in rates]
    losses = [value.loss for value in trainer.read(handles)]
    return np.array(losses), trainer.weights()


def apart(expected, found):
    """Largest absolute difference over the largest absolute value expected.

    Where all that is expected is 0, as behind a ReLU that is off everywhere, the absolute one.
    """
    assert expected.shape == found.shape
    return float(np.abs(expected - found).max() / (np.abs(expected).max() or 1.0))


def values_apart(expected, found):
    """apart() of everything in two Values, by name."""
    assert list(expected.weight_gradients) == list(found.weight_gradients)
    return {
        "output": apart(expected.output, found.output),
        "input gradient": apart(expected.input_gradient, found.input_gradient),
    } | {
        f"{name} gradient": apart(gradient, found.weight_gradients[name])
        for name, gradient in expected.weight_gradients.items()
    }


def training_apart(expected, found):
    """apart() of the losses and of each weight, in what two of train() return."""
    losses, weights = expected
    found_losses, found_weights = found
    return {"losses": apart(losses, found_losses)} | {
        name: apart(weight, found_weights[name]) for name, weight in weights.items()
    }
