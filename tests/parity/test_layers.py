"""Each kind of layer, the loss and each optimiser against plain NumPy in float64.

A layer is put at the front of a network whose last layer is the identity, so that the logits of
the framework's own model, built and filled by the package, are the layer's output.
"""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import strategies
from support.reference import (
    apart,
    cross_entropy,
    drawn_batch,
    drawn_weights,
    framework_train,
    framework_values,
    headed,
    preprocessed,
    reference_values,
    train,
    training_apart,
    values_apart,
)

from alexnet_impl.network.spec import (
    Conv,
    Dense,
    Dropout,
    Flatten,
    LocalResponseNorm,
    MaxPool,
    Relu,
    Spec,
    same_padding,
    trace,
)
from alexnet_impl.parity.tolerances import tolerance
from alexnet_impl.recipe.recipe import Recipe

# Sums of at most 500 terms at 1e-16, as for the logits; 3.4e-14 measured, where a gradient is all
# but 0 after its terms have cancelled. Gradients have no row of their own in the table yet.
BOUND = tolerance("logits", "float64")

SCALES = (1.0, 10.0, 100.0)
"""Of activations, as they are in trained networks. Near 0 every LRN looks like every other."""

MAX_SIZE = 7


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network to try, and what its arrays are drawn from."""

    spec: Spec
    scale: float = 1.0
    ties: bool = False
    seed: int = 0
    training: bool = False
    layout: str = "channels-last"
    batch: int = 2


def drawn_inputs(case, rng):
    """Shape (batch, channels, height, width); with ties, of five values that include 0."""
    shape = (case.batch, *case.spec.input_shape)
    values = rng.integers(-2, 3, shape) if case.ties else rng.standard_normal(shape)
    return values * case.scale


def kept(case, values):
    """Where the network's dropout kept a value, seen from outside: nothing else makes it 0."""
    first = case.spec.layers[0]
    if not (case.training and isinstance(first, Dropout)):
        return {}
    return {first.name: (values.output != 0).reshape(-1, *case.spec.input_shape)}


def case_apart(framework_name, case):
    """How far a framework's model of the case lies from the reference, by what is compared."""
    rng = np.random.default_rng(case.seed)
    weights, inputs = drawn_weights(case.spec, rng, case.scale), drawn_inputs(case, rng)
    upstream = rng.standard_normal((case.batch, *trace(case.spec).output_shape))
    how = {"training": case.training, "layout": case.layout}
    found = framework_values(framework_name, case.spec, weights, inputs, upstream, **how)
    keep = kept(case, found)
    expected = reference_values(case.spec, weights, inputs, upstream, keep)
    return values_apart(expected, found)


@st.composite
def shapes(draw):
    """(channels, height, width) of a map."""
    return draw(st.integers(1, 6)), draw(st.integers(1, MAX_SIZE)), draw(st.integers(1, MAX_SIZE))


@st.composite
def same_convs(draw, name, shape):
    """A convolution with the padding that TensorFlow calls 'same'; it may be uneven."""
    _, height, _ = shape
    layer = draw(strategies.convs(name, shape))
    return replace(layer, padding=same_padding(height, layer.kernel_size, layer.stride))


@st.composite
def norms(draw, name):
    """A local response normalisation with numbers like those of the papers."""
    return LocalResponseNorm(
        name=name,
        size=draw(st.sampled_from([1, 3, 5, 7])),
        alpha=draw(st.floats(2e-5, 1e-3)),
        beta=draw(st.floats(0.5, 1)),
        k=draw(st.floats(1, 2)),
    )


@st.composite
def specs_of(draw, kind):
    """A network for one kind of layer, of random shape and numbers."""
    shape = draw(shapes())
    if kind == "same-conv":
        shape = (*shape[:2], shape[1])
        return headed([draw(same_convs("conv", shape))], shape)
    if kind == "dense":
        outs = draw(st.integers(1, 8)), draw(st.integers(1, 8))
        dense = [Dense(name=f"fc{i}", out_features=n) for i, n in enumerate(outs)]
        return Spec(name="two", input_shape=shape, layers=(Flatten(name="flatten"), *dense))
    strategy = {
        "conv": strategies.convs("conv", shape),
        "relu": st.just(Relu(name="relu")),
        "pool": strategies.pools("pool", shape),
        "norm": norms("norm"),
        "dropout": strategies.rates.map(lambda rate: Dropout(name="dropout", rate=rate)),
        "flatten": st.none(),
    }[kind]
    layer = draw(strategy)
    return headed([] if layer is None else [layer], shape)


@st.composite
def cases(draw, kind):
    """A Case for one kind of layer."""
    return Case(
        spec=draw(specs_of(kind)),
        scale=draw(st.sampled_from(SCALES)),
        ties=kind in ("relu", "pool") and draw(st.booleans()),
        seed=draw(st.integers(0, 2**32 - 1)),
        training=draw(st.booleans()),
        layout=draw(st.sampled_from(["channels-last", "channels-first"])),
        batch=draw(st.integers(1, 3)),
    )


KINDS = ("conv", "same-conv", "relu", "pool", "norm", "flatten", "dropout", "dense")


def assert_follows_the_reference(framework_name, case):
    found = case_apart(framework_name, case)
    assert max(found.values()) <= BOUND, found


@pytest.mark.fast
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=2)
@given(data=st.data())
def test_layer_and_its_gradients_are_those_of_the_formula(framework_name, kind, data):
    assert_follows_the_reference(framework_name, data.draw(cases(kind)))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=50)
@given(data=st.data())
def test_layer_and_its_gradients_are_those_of_the_formula_at_length(framework_name, kind, data):
    assert_follows_the_reference(framework_name, data.draw(cases(kind)))


TELLING = {
    "conv-groups": (Conv(name="conv", out_channels=6, kernel_size=3, groups=2), (4, 5, 6)),
    "conv-uneven": (
        Conv(name="conv", out_channels=2, kernel_size=3, stride=2, padding=(0, 1)),
        (3, 6, 6),
    ),
    "conv-stride-over-kernel": (
        Conv(name="conv", out_channels=2, kernel_size=1, stride=3, padding=(1, 0)),
        (2, 5, 6),
    ),
    "pool-drops-the-rest": (MaxPool(name="pool"), (2, 6, 6)),
    "norm-of-the-paper": (LocalResponseNorm(name="norm"), (8, 2, 2)),
    "norm-wider-than-the-map": (LocalResponseNorm(name="norm", size=7), (2, 2, 2)),
}


@pytest.mark.fast
@pytest.mark.parametrize("name", TELLING)
def test_layers_that_are_easily_got_wrong_are_those_of_the_formula(framework_name, name):
    layer, shape = TELLING[name]
    assert_follows_the_reference(framework_name, Case(spec=headed([layer], shape), scale=100.0))


@pytest.mark.fast
@pytest.mark.parametrize("layer", [Relu(name="relu"), MaxPool(name="pool")], ids=["relu", "pool"])
def test_gradient_at_zeros_and_ties_is_that_of_the_formula(framework_name, layer):
    case = Case(spec=headed([layer], (3, 7, 7)), ties=True)
    for layout in ("channels-last", "channels-first"):
        assert_follows_the_reference(framework_name, replace(case, layout=layout))


@pytest.mark.fast
def test_dropout_drops_the_share_it_is_told_to(framework_name):
    layer = Dropout(name="dropout", rate=0.25)
    case = Case(spec=headed([layer], (4, 8, 8)), training=True)
    inputs = np.ones((8, 4, 8, 8))
    weights = drawn_weights(case.spec, np.random.default_rng(0))
    upstream = np.ones((8, inputs[0].size))
    found = framework_values(framework_name, case.spec, weights, inputs, upstream, training=True)
    share, deviation = (found.output == 0).mean(), np.sqrt(0.25 * 0.75 / inputs.size)
    assert abs(share - layer.rate) < 5 * deviation


# --- LRN can be seen at real scale alone ----------------------------------------------------

PAPER_NORM = LocalResponseNorm(name="norm")
OTHER_NORMS = {
    "alpha-over-the-window": replace(PAPER_NORM, alpha=PAPER_NORM.alpha / PAPER_NORM.size),
    "twice-the-radius": replace(PAPER_NORM, size=9),
}


def norm_output_apart(framework_name, built, scale):
    """How far a framework's float32 output of the norm `built` lies from the paper's norm."""
    case = Case(spec=headed([PAPER_NORM], (16, 3, 3)), scale=scale)
    rng = np.random.default_rng(0)
    weights, inputs = drawn_weights(case.spec, rng, case.scale), drawn_inputs(case, rng)
    upstream = rng.standard_normal((case.batch, inputs[0].size))
    expected = reference_values(case.spec, weights, inputs, upstream)
    spec, narrow = headed([built], (16, 3, 3)), inputs.astype(np.float32)
    found = framework_values(framework_name, spec, weights, narrow, upstream)
    return apart(expected.output, found.output)


@pytest.mark.fast
@pytest.mark.parametrize("scale", SCALES)
def test_norm_in_float32_is_that_of_the_formula_at_every_scale(framework_name, scale):
    found = norm_output_apart(framework_name, PAPER_NORM, scale)
    assert found <= tolerance("logits", "float32")


@pytest.mark.slow
@pytest.mark.parametrize("built", OTHER_NORMS.values(), ids=OTHER_NORMS)
def test_another_norm_shows_at_scale_100_and_hides_at_a_tenth(framework_name, built):
    """Why SCALES goes up to 100: on inputs below 1 even float32's narrow bound lets it pass."""
    bound = tolerance("logits", "float32")
    assert norm_output_apart(framework_name, built, 0.1) <= bound
    assert norm_output_apart(framework_name, built, 100.0) > 1e4 * bound


# --- loss -----------------------------------------------------------------------------------

LINEAR = Spec(
    name="linear",
    input_shape=(3, 2, 2),
    layers=(Flatten(name="flatten"), Dense(name="fc", out_features=5)),
)
PLAIN = Recipe(precision="float64", compile_mode="eager", momentum=0.0)


def loss_apart(framework_name, smoothing, scale, seed):
    """How far loss and gradient of a linear network of logits of this scale lie apart.

    The gradient is what one step of plain SGD at rate 1 takes off the weights.
    """
    rng = np.random.default_rng(seed)
    weights = drawn_weights(LINEAR, rng, scale)
    weights["fc.weight"] *= scale
    images, labels = drawn_batch(LINEAR, rng)
    recipe = replace(PLAIN, label_smoothing=smoothing)
    run = (LINEAR, recipe, weights, (images, labels), [1.0])
    found_losses, after = framework_train(framework_name, *run)

    inputs = preprocessed(images, recipe.input_scaling)
    logits = inputs.reshape(len(images), -1) @ weights["fc.weight"].T + weights["fc.bias"]
    loss, upstream = cross_entropy(logits, labels, smoothing)
    expected = reference_values(LINEAR, weights, inputs, upstream).weight_gradients
    return {"loss": apart(loss, found_losses[0])} | {
        f"{name} gradient": apart(expected[name], weights[name] - after[name]) for name in weights
    }


@pytest.mark.fast
@settings(max_examples=2)
@given(
    smoothing=st.sampled_from([0.0, 0.1, 0.125, 0.9]),
    scale=st.sampled_from(SCALES),
    seed=st.integers(0, 2**32 - 1),
)
def test_loss_and_its_gradient_are_those_of_the_formula(framework_name, smoothing, scale, seed):
    found = loss_apart(framework_name, smoothing, scale, seed)
    assert max(found.values()) <= BOUND, found


# --- updates --------------------------------------------------------------------------------

ALL_KINDS = Spec(
    name="all-kinds",
    input_shape=(3, 8, 8),
    layers=(
        Conv(name="conv1", out_channels=4, kernel_size=3, padding=(0, 1)),
        Relu(name="relu1"),
        LocalResponseNorm(name="norm1", alpha=0.125),
        MaxPool(name="pool1"),
        Conv(name="conv2", out_channels=6, kernel_size=2, padding=(1, 1), groups=2),
        Relu(name="relu2"),
        Flatten(name="flatten"),
        Dense(name="fc1", out_features=8),
        Relu(name="relu3"),
        Dense(name="fc2", out_features=5),
    ),
)
"""Its alpha is so large that the LRN divides as much as the paper's does at scale 100."""

DEEP = Recipe(precision="float64", compile_mode="eager", label_smoothing=0.1)
OPTIMIZERS = {
    "sgd-l2": replace(DEEP, momentum=0.0, weight_decay=0.03),
    "momentum": DEEP,
    "nesterov-l2-kernels-clipped": replace(
        DEEP, nesterov=True, weight_decay=0.03, weight_decay_on="kernels", clip_norm=0.1
    ),
    "adam": replace(DEEP, optimizer="adam"),
    "adam-l2-epsilon": replace(DEEP, optimizer="adam", weight_decay=0.03, epsilon=1e-3),
    "adamw": replace(DEEP, optimizer="adamw", weight_decay=0.03),
}
RATES = (2.0**-5, 2.0**-8, 2.0**-6)
"""Exact in float32; momentum's two formulas differ once the rate changes."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe",
    [
        pytest.param(
            recipe,
            # tests/meta/test_reference.py trains plain SGD, Adam and AdamW against the formulas.
            marks=pytest.mark.fast
            if name.startswith(("nesterov", "adam-l2"))
            else pytest.mark.slow,
            id=name,
        )
        for name, recipe in OPTIMIZERS.items()
    ],
)
def test_training_with_each_optimizer_is_that_of_the_formulas(framework_name, recipe):
    rng = np.random.default_rng(0)
    weights = drawn_weights(ALL_KINDS, rng, scale=0.1)
    run = (ALL_KINDS, recipe, weights, drawn_batch(ALL_KINDS, rng), RATES)
    expected = train(*run)
    assert all((array != weights[name]).any() for name, array in expected[1].items())
    found = training_apart(expected, framework_train(framework_name, *run))
    assert max(found.values()) <= tolerance("update", "float64"), found
