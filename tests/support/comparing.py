"""One framework against the other on the same weights: what the parity tests assert on.

tests/meta breaks one side and shows that the same figures then exceed their tolerance.
"""

from dataclasses import replace

import numpy as np

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
)
from alexnet_impl.weights.initializers import initial_weights

TINY = Spec(
    name="tiny",
    input_shape=(3, 8, 8),
    layers=(
        Conv(name="conv1", out_channels=4, kernel_size=3, padding=(1, 1)),
        Relu(name="relu1"),
        MaxPool(name="pool1"),
        Flatten(name="flatten"),
        Dense(name="fc1", out_features=32),
        Relu(name="relu2"),
        Dense(name="fc2", out_features=10),
    ),
)
"""Where any network will do: a variant takes several times as long to build and step."""
ALL_LAYERS = replace(
    TINY,
    layers=(
        Conv(name="conv1", out_channels=4, kernel_size=3, padding=(1, 1)),
        LocalResponseNorm(name="norm1"),
        Conv(name="conv2", out_channels=8, kernel_size=3, groups=2),
        Relu(name="relu_conv"),
        *TINY.layers[2:],
    ),
)
"""With the kinds of layers that TINY lacks: LRN and a grouped convolution."""
TINY_DROPOUT = replace(TINY, layers=(*TINY.layers[:-1], Dropout(name="dropout1"), TINY.layers[-1]))


def starting_weights(spec, recipe):
    """The recipe's initial weights in the precision that it computes in."""
    weights = initial_weights(spec, recipe)
    if recipe.precision == "float64":
        return {name: array.astype(np.float64) for name, array in weights.items()}
    return weights


def make_trainer(framework_name, spec, recipe, weights=None):
    """A trainer on the CPU, from the recipe's initial weights if none are given."""
    given = starting_weights(spec, recipe) if weights is None else weights
    return get_framework(framework_name).make_trainer(spec, recipe, given, "cpu")


def relative(first, second):
    """Largest absolute difference over the largest absolute value of the first."""
    assert first.shape == second.shape
    largest = np.abs(first).max()
    assert largest > 0
    return float(np.abs(first - second).max() / largest)


def logits_apart(spec, recipe, images):
    """relative() of both frameworks' logits."""
    sides = [make_trainer(name, spec, recipe).logits(images) for name in ("torch", "tensorflow")]
    assert sides[0].shape == (len(images), spec.layers[-1].out_features)
    return relative(*sides)


def losses_of(trainer, images, labels, rates):
    """The loss of each step on one batch, with these learning rates."""
    handles = [trainer.train_step(images, labels, rate) for rate in rates]
    return np.array([value.loss for value in trainer.read(handles)])
