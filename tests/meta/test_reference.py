"""The NumPy reference is right by its own lights, and one line broken in it is noticed."""

from dataclasses import replace

import numpy as np
import pytest
from support import reference
from support.comparing import TINY
from support.reference import (
    adam,
    adamw,
    apart,
    backward,
    clip_factor,
    cross_entropy,
    drawn_batch,
    drawn_weights,
    forward,
    framework_train,
    framework_values,
    headed,
    network_gradients,
    network_reads,
    reference_values,
    sgd,
    train,
    training_apart,
    values_apart,
)

from alexnet_impl.network.spec import (
    Conv,
    Dropout,
    Flatten,
    LocalResponseNorm,
    MaxPool,
    Relu,
    trace,
)
from alexnet_impl.parity.tolerances import tolerance
from alexnet_impl.recipe.recipe import Recipe

fast, slow = pytest.mark.fast, pytest.mark.slow

BOUND = tolerance("logits", "float64")

# --- the reference by itself ----------------------------------------------------------------

# The error of a central difference is about step**2 + 1e-16 / step; 1.6e-10 measured.
DIFFERENCE_STEP = 1e-5
DIFFERENCE_BOUND = 1e-8

LAYERS = {
    "conv": Conv(name="conv", out_channels=3, kernel_size=3, stride=2, padding=(1, 0)),
    "conv-groups": Conv(name="conv", out_channels=4, kernel_size=2, groups=2),
    "conv-stride-over-kernel": Conv(name="conv", out_channels=2, kernel_size=1, stride=3),
    "relu": Relu(name="relu"),
    "pool": MaxPool(name="pool"),
    "norm": LocalResponseNorm(name="norm", alpha=0.125),
    "norm-of-one-channel": LocalResponseNorm(name="norm", size=1, alpha=0.5, beta=0.5, k=1.0),
    "norm-wider-than-the-map": LocalResponseNorm(name="norm", size=9, alpha=0.125, beta=1.0),
    "flatten": Flatten(name="flatten"),
    "dropout": Dropout(name="dropout", rate=0.25),
}


def by_differences(value_of, array):
    """The gradient of value_of() with respect to an array, which is moved in place and put back."""
    gradient = np.zeros_like(array)
    for place in np.ndindex(array.shape):
        before = array[place]
        values = []
        for step in (DIFFERENCE_STEP, -DIFFERENCE_STEP):
            array[place] = before + step
            values.append(value_of())
        array[place] = before
        gradient[place] = (values[0] - values[1]) / (2 * DIFFERENCE_STEP)
    return gradient


@fast
@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_gradients_of_a_layer_are_those_by_differences(layer):
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((2, 4, 3, 4))
    keep = rng.random(inputs.shape) < 0.75
    weights = {}
    if isinstance(layer, Conv):
        shape = (layer.out_channels, 4 // layer.groups, layer.kernel_size, layer.kernel_size)
        weights = {"weight": rng.standard_normal(shape), "bias": rng.standard_normal(shape[0])}
    upstream = rng.standard_normal(forward(layer, inputs, weights, keep).shape)

    found, found_by_weight = backward(layer, inputs, upstream, weights, keep)

    def value():
        return (upstream * forward(layer, inputs, weights, keep)).sum()

    assert apart(by_differences(value, inputs), found) <= DIFFERENCE_BOUND
    assert found_by_weight.keys() == weights.keys()
    for name, weight in weights.items():
        assert apart(by_differences(value, weight), found_by_weight[name]) <= DIFFERENCE_BOUND


@fast
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_gradient_of_the_loss_is_that_by_differences(smoothing):
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((3, 5)) * 3, np.array([4, 0, 2])
    _, found = cross_entropy(logits, labels, smoothing)
    expected = by_differences(lambda: cross_entropy(logits, labels, smoothing)[0], logits)
    assert apart(expected, found) <= DIFFERENCE_BOUND


@fast
def test_gradients_of_a_whole_network_are_those_by_differences():
    rng = np.random.default_rng(0)
    narrow = tuple(
        replace(layer, out_features=5) if layer.name == "fc1" else layer for layer in TINY.layers
    )
    spec = replace(TINY, input_shape=(3, 4, 4), layers=narrow)
    weights = drawn_weights(spec, rng)
    inputs, labels = rng.standard_normal((2, *spec.input_shape)), np.array([1, 7])

    def loss():
        return cross_entropy(network_reads(spec, weights, inputs, {})[-1], labels)[0]

    reads = network_reads(spec, weights, inputs, {})
    _, upstream = cross_entropy(reads[-1], labels)
    _, found = network_gradients(spec, weights, reads, upstream, {})
    for name, weight in weights.items():
        assert apart(by_differences(loss, weight), found[name]) <= DIFFERENCE_BOUND


@fast
def test_loss_of_equal_logits_is_the_logarithm_of_the_number_of_classes():
    for smoothing in (0.0, 0.3):
        loss, _ = cross_entropy(np.full((2, 10), 100.0), np.array([3, 9]), smoothing)
        assert loss == pytest.approx(np.log(10), rel=BOUND)


@fast
def test_norm_of_one_pixel_is_that_worked_out_by_hand():
    layer = LocalResponseNorm(name="norm", size=3, alpha=0.5, beta=2.0, k=1.0)
    inputs = np.array([2.0, 4.0, 6.0]).reshape(1, 3, 1, 1)
    bases = np.array([1 + 0.5 * (4 + 16), 1 + 0.5 * (4 + 16 + 36), 1 + 0.5 * (16 + 36)])
    np.testing.assert_allclose(forward(layer, inputs).ravel(), [2, 4, 6] / bases**2, rtol=BOUND)


@fast
def test_convolution_is_not_flipped_and_reads_its_own_group():
    layer = Conv(name="conv", out_channels=2, kernel_size=2, groups=2)
    inputs = np.arange(8.0).reshape(1, 2, 2, 2)
    weight = np.array([[1.0, 10.0], [100.0, 1000.0]]) * np.ones((2, 1, 1, 1))
    found = forward(layer, inputs, {"weight": weight, "bias": np.array([0.0, 0.5])})
    np.testing.assert_array_equal(found.ravel(), [3210.0, 7654.5])


@fast
def test_momentum_on_a_constant_gradient_sums_a_geometric_series():
    weight, buffer = np.array(0.0), np.array(0.0)
    for _ in range(4):
        weight, buffer = sgd(weight, 1.0, buffer, rate=1.0, momentum=0.5)
    assert buffer == 1 + 0.5 + 0.25 + 0.125
    assert weight == -(1 + 1.5 + 1.75 + 1.875)


@fast
def test_nesterov_looks_one_step_ahead():
    weight, buffer = np.array(0.0), np.array(0.0)
    for _ in range(2):
        weight, buffer = sgd(weight, 1.0, buffer, rate=1.0, momentum=0.5, nesterov=True)
    assert weight == -(1 + 0.5 * 1) - (1 + 0.5 * 1.5)


@fast
def test_adam_on_a_constant_gradient_moves_by_the_rate():
    numbers = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1.0, "rate": 0.5}
    weight, moments = np.array(0.0), (0.0, 0.0)
    for step in (1, 2, 3):
        weight, moments = adam(weight, -4.0, moments, step=step, **numbers)
    assert weight == pytest.approx(3 * 0.5 * 4 / (4 + 1), rel=BOUND)


@fast
def test_decay_alone_shrinks_a_weight_as_each_optimizer_says():
    numbers = {"beta1": 0.9, "beta2": 0.999, "epsilon": 0.0, "rate": 0.5, "decay": 0.25, "step": 1}
    assert sgd(2.0, 0.0, 0.0, rate=0.5, decay=0.25)[0] == 2 - 0.5 * 0.25 * 2
    assert adam(2.0, 0.0, (0.0, 0.0), **numbers)[0] == pytest.approx(2 - 0.5, rel=BOUND)
    decoupled, _ = adamw(2.0, 0.0, (0.0, 0.0), **(numbers | {"epsilon": 1.0}))
    assert decoupled == 2 - 0.5 * 0.25 * 2


@fast
def test_clipping_takes_the_norm_of_all_gradients_together():
    gradients = [np.array([3.0, 0.0]), np.array([[4.0]])]
    assert clip_factor(gradients, None) == clip_factor(gradients, 5.1) == 1.0
    assert clip_factor(gradients, 1.0) == pytest.approx(1 / (5 + 1e-6), rel=BOUND)


# --- one line broken ------------------------------------------------------------------------

FAR = 100
"""How many times the bound a break must lie apart. The least lies at 1,700: a clipping without its
1e-6; the others at 1e8 and more."""


CONV = Conv(name="conv", out_channels=6, kernel_size=3, stride=2, padding=(0, 1))
GROUPED = Conv(name="conv", out_channels=6, kernel_size=3, groups=2)
RELU = Relu(name="relu")
POOL = MaxPool(name="pool")
NORM = LocalResponseNorm(name="norm")
DROPOUT = Dropout(name="dropout", rate=0.25)


def other_layer(layer, **change):
    """The reference computes the layer with another number."""

    def broken(asked, *args):
        return ORIGINAL["forward"](replace(asked, **change) if asked == layer else asked, *args)

    return broken


def interleaved(layer, out_channel, in_channels):
    """Every second channel instead of one half."""
    group = out_channel // (layer.out_channels // layer.groups)
    return slice(group, in_channels, layer.groups)


def last_maximum(window):
    """Of equals, the last."""
    return np.argwhere(window == window.max())[-1]


def only_before(layer, channel, _):
    """A window that ends at the channel itself."""
    return range(max(channel - layer.size // 2, 0), channel + 1)


def flipped(layer, inputs, weights=None, keep=None):
    """A convolution as mathematicians mean it."""
    if isinstance(layer, Conv):
        weights = weights | {"weight": weights["weight"][..., ::-1, ::-1]}
    return ORIGINAL["forward"](layer, inputs, weights, keep)


def channels_last_flatten(layer, inputs, weights=None, keep=None):
    """Features in the order of another layout."""
    if isinstance(layer, Flatten):
        inputs = inputs.transpose(0, 2, 3, 1)
    return ORIGINAL["forward"](layer, inputs, weights, keep)


def always_dropping(layer, inputs, weights=None, keep=None):
    """A dropout that is scaled at evaluation, too."""
    keep = np.ones(inputs.shape, dtype=bool) if isinstance(layer, Dropout) else keep
    return ORIGINAL["forward"](layer, inputs, weights, keep)


def other_gradient(layer, **change):
    """The output is right, the gradient is that of a layer with another number."""

    def broken(asked, *args):
        return ORIGINAL["backward"](replace(asked, **change) if asked == layer else asked, *args)

    return broken


def kernel_gradient_turned(layer, *args):
    """Height and width swapped, where no shape shows it."""
    upstream, gradients = ORIGINAL["backward"](layer, *args)
    if isinstance(layer, Conv):
        gradients["weight"] = gradients["weight"].swapaxes(2, 3)
    return upstream, gradients


FAST_BREAKS = ("padding-from-the-other-side", "pool-ties-to-the-last", "norm-alpha-divided")
ORIGINAL = {name: getattr(reference, name) for name in ("forward", "backward", "sgd", "adam")}

LAYER_BREAKS = {
    "padding-from-the-other-side": (CONV, "forward", other_layer(CONV, padding=(1, 0))),
    "kernel-flipped": (CONV, "forward", flipped),
    "kernel-gradient-turned": (CONV, "backward", kernel_gradient_turned),
    "groups-interleaved": (GROUPED, "group_channels", interleaved),
    "relu-slope-1-at-0": (RELU, "relu_slope", lambda inputs: np.where(inputs >= 0, 1.0, 0.0)),
    "pool-ties-to-the-last": (POOL, "first_maximum", last_maximum),
    "norm-alpha-divided": (NORM, "forward", other_layer(NORM, alpha=NORM.alpha / 5)),
    "norm-twice-the-radius": (NORM, "forward", other_layer(NORM, size=9)),
    "norm-gradient-of-another-alpha": (
        NORM,
        "backward",
        other_gradient(NORM, alpha=NORM.alpha / 5),
    ),
    "norm-window-off-centre": (NORM, "norm_channels", only_before),
    "flatten-channels-last": (RELU, "forward", channels_last_flatten),
    "dropout-at-evaluation": (DROPOUT, "forward", always_dropping),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=fast if name in FAST_BREAKS else slow) for name in LAYER_BREAKS],
)
def test_a_broken_layer_pushes_the_figure_over_the_bound(monkeypatch, framework_name, name):
    layer, rule, broken = LAYER_BREAKS[name]
    spec = headed([layer], (4, 6, 6))
    rng = np.random.default_rng(0)
    weights = drawn_weights(spec, rng)
    inputs = 100.0 * rng.integers(-2, 3, (2, *spec.input_shape))  # with zeros and ties
    upstream = rng.standard_normal((2, *trace(spec).output_shape))
    found = framework_values(framework_name, spec, weights, inputs, upstream)

    def figure():
        return max(values_apart(reference_values(spec, weights, inputs, upstream), found).values())

    assert figure() <= BOUND
    monkeypatch.setattr(reference, rule, broken)
    assert figure() > FAR * BOUND


def keras_sgd(weight, gradient, velocity, *, rate, momentum, **_):
    """The learning rate inside the buffer: the same until the rate changes."""
    velocity = momentum * velocity - rate * gradient
    return weight + velocity, velocity


def plain_sgd(*args, nesterov, **numbers):
    """Momentum that does not look ahead."""
    del nesterov
    return ORIGINAL["sgd"](*args, **numbers)


def smoothed_over_others(labels, num_classes, smoothing):
    """The share goes to the wrong classes alone."""
    one_hot = np.eye(num_classes)[labels]
    return (1 - smoothing) * one_hot + smoothing / (num_classes - 1) * (1 - one_hot)


def keras_adam_root(second, correction, epsilon):
    """Epsilon before the bias correction."""
    return (np.sqrt(second) + epsilon) / np.sqrt(correction)


def bare_clip_factor(gradients, clip_norm):
    """Without the 1e-6 beside the norm."""
    return min(1.0, clip_norm / np.sqrt(sum((gradient**2).sum() for gradient in gradients)))


SGD = Recipe(precision="float64", compile_mode="eager")
ADAM = replace(SGD, optimizer="adam")
UPDATE_BREAKS = {
    "rate-inside-the-momentum": (SGD, "sgd", keras_sgd),
    "no-look-ahead": (replace(SGD, nesterov=True), "sgd", plain_sgd),
    "smoothing-over-the-others": (
        replace(SGD, label_smoothing=0.1),
        "smoothed_targets",
        smoothed_over_others,
    ),
    "clipping-by-the-bare-norm": (replace(SGD, clip_norm=0.1), "clip_factor", bare_clip_factor),
    "epsilon-before-the-correction": (ADAM, "adam_root", keras_adam_root),
    "decay-coupled": (
        replace(ADAM, optimizer="adamw", weight_decay=0.03),
        "adamw",
        ORIGINAL["adam"],
    ),
}
RATES = (2.0**-6, 2.0**-6, 2.0**-9)


def cases_of_updates():
    """Every break with each framework; TensorFlow, slow to build, with most of them in `slow`."""
    for name in UPDATE_BREAKS:
        for framework_name in ("torch", "tensorflow"):
            quick = framework_name == "torch" or name == "no-look-ahead"
            speed = pytest.mark.fast if quick else pytest.mark.slow
            marks = [speed, getattr(pytest.mark, framework_name)]
            yield pytest.param(name, framework_name, marks=marks, id=f"{framework_name}-{name}")


@pytest.mark.parametrize(("name", "trained_by"), list(cases_of_updates()))
def test_a_broken_update_pushes_the_figure_over_the_bound(monkeypatch, name, trained_by):
    recipe, rule, broken = UPDATE_BREAKS[name]
    rng = np.random.default_rng(0)
    weights, batch = drawn_weights(TINY, rng, scale=0.1), drawn_batch(TINY, rng)
    run = (TINY, recipe, weights, batch, RATES)
    found = framework_train(trained_by, *run)
    bound = tolerance("update", "float64")
    assert max(training_apart(train(*run), found).values()) <= bound
    monkeypatch.setattr(reference, rule, broken)
    assert max(training_apart(train(*run), found).values()) > FAR * bound
