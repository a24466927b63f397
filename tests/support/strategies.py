"""Hypothesis strategies that several test modules share: random valid specs and recipes."""

from dataclasses import fields
from typing import Literal, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

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
from alexnet_impl.recipe.recipe import Recipe

rates = st.floats(0, 0.9)
MAX_CHANNELS = 6


def count_windows(size, kernel_size, stride, padding=(0, 0)):
    """How many windows fit, counted one by one: the definition, not the formula."""
    return len(range(0, size + sum(padding) - kernel_size + 1, stride))


@st.composite
def convs(draw, name, shape):
    """A convolution that fits a map of this (channels, height, width)."""
    channels, height, width = shape
    padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    groups = draw(st.sampled_from([n for n in range(1, channels + 1) if channels % n == 0]))
    return Conv(
        name=name,
        out_channels=groups * draw(st.integers(1, max(1, MAX_CHANNELS // groups))),
        kernel_size=draw(st.integers(1, min(5, min(height, width) + sum(padding)))),
        stride=draw(st.integers(1, 3)),
        padding=padding,
        groups=groups,
    )


@st.composite
def pools(draw, name, shape):
    """A max-pool that fits a map of this (channels, height, width)."""
    kernel_size = draw(st.integers(1, min(3, *shape[1:])))
    return MaxPool(name=name, kernel_size=kernel_size, stride=draw(st.integers(1, 3)))


@st.composite
def norms(draw, name):
    """A local response normalisation of any odd window."""
    return LocalResponseNorm(
        name=name,
        size=draw(st.sampled_from([1, 3, 5])),
        alpha=draw(st.floats(0, 1)),
        beta=draw(st.floats(0, 1)),
        k=draw(st.floats(0.5, 2)),
    )


@st.composite
def map_layers(draw, name, shape):
    """Any layer that reads and yields a map of this (channels, height, width)."""
    kind = draw(st.sampled_from(["conv", "conv", "pool", "relu", "norm", "dropout"]))
    match kind:
        case "conv":
            return draw(convs(name, shape))
        case "pool":
            return draw(pools(name, shape))
        case "norm":
            return draw(norms(name))
        case "dropout":
            return Dropout(name=name, rate=draw(rates))
        case _:
            return Relu(name=name)


def next_shape(layer, shape):
    """(channels, height, width) after a map layer."""
    channels, height, width = shape
    match layer:
        case Conv():
            windows = (layer.kernel_size, layer.stride, layer.padding)
            channels = layer.out_channels
        case MaxPool():
            windows = (layer.kernel_size, layer.stride)
        case _:
            return shape
    return channels, count_windows(height, *windows), count_windows(width, *windows)


@st.composite
def specs(draw, *, channels=None, square=False, max_size=16, max_layers=6):
    """A random Spec that every framework can build, small enough to run in milliseconds.

    Args:
        channels: Of the input; drawn where None.
        square: Whether height and width are the same.
        max_size: Most pixels of a side.
        max_layers: Most layers before Flatten.
    """
    sizes = st.integers(4, max_size)
    height = draw(sizes)
    input_shape = shape = (
        draw(st.integers(1, 4)) if channels is None else channels,
        height,
        height if square else draw(sizes),
    )
    layers = []
    for number in range(draw(st.integers(0, max_layers))):
        layer = draw(map_layers(f"layer{number}", shape))
        shape = next_shape(layer, shape)
        layers.append(layer)
    layers.append(Flatten(name="flatten"))
    for number in range(1, draw(st.integers(0, 2)) + 1):
        layers.append(Dense(name=f"fc{number}", out_features=draw(st.integers(1, 8))))
        layers.append(Relu(name=f"fc{number}_relu"))
        if draw(st.booleans()):
            layers.append(Dropout(name=f"fc{number}_dropout", rate=draw(rates)))
    layers.append(Dense(name="logits", out_features=draw(st.integers(1, 5))))
    return Spec(name="drawn", input_shape=input_shape, layers=tuple(layers))


fractions = st.floats(0, 1, exclude_max=True)
positive = st.floats(1e-12, 1e6)

RECIPE_FIELDS = {
    "learning_rate": st.floats(0, 1e6),
    "momentum": fractions,
    "nesterov": st.booleans(),
    "muon_scale": st.floats(0, 10),
    "beta1": fractions,
    "beta2": fractions,
    "epsilon": positive,
    "weight_decay": st.floats(0, 10),
    "clip_norm": st.none() | positive,
    "warmup": fractions,
    "step_at": st.lists(st.floats(0, 1, exclude_min=True, exclude_max=True), max_size=4).map(tuple),
    "step_factor": st.floats(0, 1),
    "trainable": st.sampled_from(["all", "head", "last-3", "conv5,fc1,fc2,fc3"]),
    "reset_layers": st.lists(st.sampled_from(["fc2", "fc3"]), max_size=2).map(tuple),
    "rate_factors": st.lists(st.sampled_from(["fc3=10", "conv1=0.1"]), max_size=2).map(tuple),
    "phases": st.lists(
        st.sampled_from(["epochs=2,trainable=head", "learning_rate=0.5"]), max_size=2
    ).map(tuple),
    "epochs": st.integers(1, 500),
    "shuffle_buffer": st.none() | st.integers(1, 10**5),
    "reshuffle": st.booleans(),
    "steps": st.none() | st.integers(1, 10**6),
    "global_batch_size": st.integers(1, 4096),
    "drop_last": st.booleans(),
    "validation_fraction": fractions,
    "label_smoothing": fractions,
    "flip": st.booleans(),
    "alternate_flips": st.booleans(),
    "crop_padding": st.integers(0, 8),
    "fused_update": st.booleans(),
    "prefetch": st.integers(0, 8),
    "steps_per_call": st.integers(1, 64),
    "device_data": st.booleans(),
    "eval_flip": st.booleans(),
    "input_size": st.none() | st.integers(1, 512),
    "resize_to": st.none() | st.integers(1, 512),
    "last_layer_std": st.none() | st.floats(0, 10),
    "seed": st.integers(0, 2**32 - 1),
}
"""Every field whose type does not list its values."""


def recipes(**fixed):
    """Any valid Recipe, with these fields as they are given."""
    listed = {
        name: st.sampled_from(get_args(hint))
        for name, hint in get_type_hints(Recipe).items()
        if get_origin(hint) is Literal
    }
    drawn = listed | RECIPE_FIELDS
    assert set(drawn) == {field.name for field in fields(Recipe)}
    drawn |= {name: st.just(value) for name, value in fixed.items()}
    return st.fixed_dictionaries(drawn).map(_with_allowed_pairs).map(lambda d: Recipe(**d))


def _with_allowed_pairs(values):
    optimizer = values["optimizer"]
    allowed = optimizer in ("sgd", "sgdw", "muon") and values["momentum"] > 0
    return values | {
        "momentum_formula": values["momentum_formula"] if optimizer != "muon" else "torch",
        "nesterov": values["nesterov"] and allowed,
        "alternate_flips": values["alternate_flips"] and values["flip"],
        "phases": values["phases"] if values["steps"] is None else (),
        "steps_per_call": values["steps_per_call"] if values["dropout_masks"] != "shared" else 1,
    }
