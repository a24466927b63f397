"""Shapes, totals and errors of a Spec, computed by hand or counted one by one."""

import itertools
import math
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import count_windows, next_shape, specs

from alexnet_impl.errors import SpecError
from alexnet_impl.network.spec import (
    Conv,
    Dense,
    Dropout,
    Flatten,
    LocalResponseNorm,
    MaxPool,
    Relu,
    Spec,
    kernel_text,
    same_padding,
    trace,
    weight_shapes,
)

pytestmark = pytest.mark.fast

CONV = Conv(name="conv1", out_channels=4, kernel_size=3, padding=(1, 1))
FLATTEN = Flatten(name="flatten")
LOGITS = Dense(name="fc1", out_features=10)


def spec_of(*layers, input_shape=(3, 8, 8)):
    return Spec(name="small", input_shape=input_shape, layers=layers)


def refusal_of(spec):
    with pytest.raises(SpecError) as caught:
        trace(spec)
    return str(caught.value)


def test_trace_of_a_small_network_is_the_one_worked_out_by_hand():
    traced = trace(
        spec_of(
            Conv(name="conv1", out_channels=4, kernel_size=3, stride=2, padding=(1, 0)),
            Relu(name="relu1"),
            LocalResponseNorm(name="norm1"),
            MaxPool(name="pool1"),
            Conv(name="conv2", out_channels=6, kernel_size=1, groups=2),
            FLATTEN,
            Dropout(name="dropout1"),
            LOGITS,
            input_shape=(3, 12, 8),
        )
    )
    # conv1: (12 + 1 - 3) // 2 + 1 = 6 rows and (8 + 1 - 3) // 2 + 1 = 4 columns;
    # pool1: (6 - 3) // 2 + 1 = 2 and (4 - 3) // 2 + 1 = 1.
    assert [step.output_shape for step in traced.layers] == [
        (4, 6, 4),
        (4, 6, 4),
        (4, 6, 4),
        (4, 2, 1),
        (6, 2, 1),
        (12,),
        (12,),
        (10,),
    ]
    # conv1 has 4 kernels of 3 * 3 * 3, conv2 6 of 4 / 2, fc1 10 of 12; each has a bias.
    assert [step.num_params for step in traced.layers] == [112, 0, 0, 0, 18, 0, 0, 130]
    # conv1 has 4 * 6 * 4 outputs of 27 products, conv2 6 * 2 * 1 of 2, fc1 10 of 12.
    assert [step.num_macs for step in traced.layers] == [2592, 0, 0, 0, 24, 0, 0, 120]
    assert traced.num_params == 260
    assert traced.num_macs == 2736
    assert traced.output_shape == (10,)


def test_trace_gives_each_layer_the_shape_that_the_one_before_yields():
    steps = trace(spec_of(CONV, FLATTEN, LOGITS)).layers
    assert steps[0].input_shape == (3, 8, 8)
    for before, after in itertools.pairwise(steps):
        assert after.input_shape == before.output_shape


def test_weight_shapes_are_canonical_and_in_the_order_of_the_layers():
    grouped = replace(CONV, name="conv2", out_channels=6, groups=2)
    assert list(weight_shapes(spec_of(CONV, grouped, FLATTEN, LOGITS)).items()) == [
        ("conv1.weight", (4, 3, 3, 3)),
        ("conv1.bias", (4,)),
        ("conv2.weight", (6, 2, 3, 3)),
        ("conv2.bias", (6,)),
        ("fc1.weight", (10, 6 * 8 * 8)),
        ("fc1.bias", (10,)),
    ]


@given(specs())
def test_trace_totals_are_the_sums_over_the_weight_shapes(spec):
    traced = trace(spec)
    shapes = weight_shapes(spec)
    assert traced.num_params == sum(math.prod(shape) for shape in shapes.values())
    kernels = {
        name.removesuffix(".weight"): shape
        for name, shape in shapes.items()
        if name.endswith(".weight")
    }
    places = {step.layer.name: math.prod(step.output_shape[1:]) for step in traced.layers}
    assert traced.num_macs == sum(
        math.prod(kernel) * places[name] for name, kernel in kernels.items()
    )


@given(specs())
def test_trace_shapes_are_those_of_windows_counted_one_by_one(spec):
    shape = spec.input_shape
    for step in trace(spec).layers:
        if isinstance(step.layer, Flatten):
            assert step.output_shape == (math.prod(shape),)
            break
        shape = next_shape(step.layer, shape)
        assert step.output_shape == shape


@given(st.integers(1, 64), st.integers(1, 12), st.integers(1, 6))
def test_same_padding_is_the_least_that_reaches_the_output_size(size, kernel_size, stride):
    """TensorFlow's definition: ceil(size / stride) windows, the odd pixel after the map."""
    wanted = math.ceil(size / stride)
    least = next(
        total
        for total in range(kernel_size + 1)
        if count_windows(size, kernel_size, stride, (total, 0)) >= wanted
    )
    before, after = same_padding(size, kernel_size, stride)
    assert before + after == least
    assert after - before in (0, 1)
    if size + least >= kernel_size:
        assert count_windows(size, kernel_size, stride, (before, after)) == wanted


@pytest.mark.parametrize(
    ("size", "padding"), [(224, (3, 4)), (227, (4, 4)), (32, (3, 4))], ids=["224", "227", "32"]
)
def test_same_padding_of_the_first_convolution_is_the_published_one(size, padding):
    assert same_padding(size, 11, 4) == padding


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (Conv(name="a", out_channels=1, kernel_size=11, stride=4, padding=(2, 2)), "11x11 s4 p2"),
        (Conv(name="a", out_channels=1, kernel_size=5, padding=(3, 4)), "5x5 s1 p(3,4)"),
        (Conv(name="a", out_channels=2, kernel_size=5, groups=2), "5x5 s1 p0 g2"),
        (MaxPool(name="a"), "3x3 s2"),
        (LocalResponseNorm(name="a"), "n5 alpha=0.0001 beta=0.75 k=2"),
        (Dropout(name="a", rate=0.25), "rate 0.25"),
        (Relu(name="a"), ""),
        (Flatten(name="a"), ""),
        (Dense(name="a", out_features=3), ""),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value or "nothing",
)
def test_kernel_text_shows_a_layers_own_numbers(layer, text):
    assert kernel_text(layer) == text


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        pytest.param((), "small: has no layers.", id="no layers"),
        pytest.param(
            (CONV, FLATTEN, LOGITS, replace(LOGITS, out_features=2)),
            "small: two layers are named fc1.",
            id="two of one name",
        ),
        pytest.param(
            (FLATTEN, replace(LOGITS, name="")),
            "small: '' cannot name a layer: '.' and '/' separate.",
            id="no name",
        ),
        pytest.param(
            (FLATTEN, replace(LOGITS, name="head.fc")),
            "small: 'head.fc' cannot name a layer: '.' and '/' separate.",
            id="dot in a name",
        ),
        pytest.param(
            (FLATTEN, replace(LOGITS, name="head/fc")),
            "small: 'head/fc' cannot name a layer: '.' and '/' separate.",
            id="slash in a name",
        ),
        pytest.param(
            (CONV,),
            "small: ends in a map of shape (4, 8, 8); it must end in one row of logits.",
            id="ends in a map",
        ),
        pytest.param(
            (CONV, LOGITS),
            "fc1: a dense layer reads one row of features, but the layer before yields a map of "
            "shape (4, 8, 8); put a Flatten between them.",
            id="dense before flatten",
        ),
        pytest.param(
            (FLATTEN, CONV),
            "conv1: Conv reads a map (channels, height, width), but the layer before yields "
            "(192,).",
            id="convolution after flatten",
        ),
        pytest.param(
            (FLATTEN, MaxPool(name="pool1"), LOGITS),
            "pool1: MaxPool reads a map (channels, height, width), but the layer before yields "
            "(192,).",
            id="pool after flatten",
        ),
        pytest.param(
            (FLATTEN, LocalResponseNorm(name="norm1"), LOGITS),
            "norm1: LocalResponseNorm reads a map (channels, height, width), but the layer "
            "before yields (192,).",
            id="norm after flatten",
        ),
        pytest.param(
            (FLATTEN, replace(FLATTEN, name="again"), LOGITS),
            "again: Flatten reads a map (channels, height, width), but the layer before yields "
            "(192,).",
            id="flatten after flatten",
        ),
        pytest.param(
            (replace(CONV, groups=2), FLATTEN, LOGITS),
            "conv1: groups=2 must divide both the 3 input channels and the 4 output channels.",
            id="groups and input channels",
        ),
        pytest.param(
            (replace(CONV, groups=3), FLATTEN, LOGITS),
            "conv1: groups=3 must divide both the 3 input channels and the 4 output channels.",
            id="groups and output channels",
        ),
        pytest.param(
            (replace(CONV, kernel_size=11), FLATTEN, LOGITS),
            "conv1: the map shrinks below 1: a window of 11 pixels does not fit into 10; take a "
            "larger input.",
            id="convolution larger than the map",
        ),
        pytest.param(
            (MaxPool(name="pool1"), MaxPool(name="pool2"), MaxPool(name="pool3"), FLATTEN, LOGITS),
            "pool3: the map shrinks below 1: a window of 3 pixels does not fit into 1; take a "
            "larger input.",
            id="pools until nothing is left",
        ),
    ],
)
def test_trace_refuses_layers_that_no_framework_could_build(layers, message):
    assert refusal_of(spec_of(*layers)) == message


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (replace(CONV, out_channels=0), "conv1: out_channels=0 must be at least 1."),
        (replace(CONV, kernel_size=-1), "conv1: kernel_size=-1 must be at least 1."),
        (replace(CONV, stride=0), "conv1: stride=0 must be at least 1."),
        (replace(CONV, groups=0), "conv1: groups=0 must be at least 1."),
        (replace(CONV, padding=(0, -1)), "conv1: padding=(0, -1) must not be negative."),
        (MaxPool(name="pool1", kernel_size=0), "pool1: kernel_size=0 must be at least 1."),
        (MaxPool(name="pool1", stride=-2), "pool1: stride=-2 must be at least 1."),
        (Dropout(name="drop", rate=1.0), "drop: rate=1.0 must lie in [0, 1)."),
        (Dropout(name="drop", rate=-0.1), "drop: rate=-0.1 must lie in [0, 1)."),
        (Dropout(name="drop", rate=math.nan), "drop: rate=nan must lie in [0, 1)."),
        (LocalResponseNorm(name="n", size=4), "n: size=4 must be odd, to have a centre."),
        (LocalResponseNorm(name="n", size=0), "n: size=0 must be at least 1."),
        (
            LocalResponseNorm(name="n", k=0.0),
            "n: k=0.0 must be above 0, or a dark pixel divides by 0.",
        ),
        (
            LocalResponseNorm(name="n", k=-1),
            "n: k=-1 must be above 0, or a dark pixel divides by 0.",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_trace_refuses_numbers_that_mean_nothing(layer, message):
    assert refusal_of(spec_of(layer, FLATTEN, LOGITS)) == message


def test_trace_refuses_a_dense_layer_without_features():
    refusal = refusal_of(spec_of(FLATTEN, replace(LOGITS, out_features=0)))
    assert refusal == "fc1: out_features=0 must be at least 1."


@pytest.mark.parametrize(
    "layer", [Dropout(name="a", rate=0), LocalResponseNorm(name="a", alpha=0, beta=0, k=1)]
)
def test_trace_takes_the_integer_zero_where_a_real_number_may_be_zero(layer):
    assert trace(spec_of(layer, FLATTEN, LOGITS)).output_shape == (10,)


@pytest.mark.parametrize("shape", [(3, 8), (3, 8, 8, 1), (3, 0, 8), (0, 8, 8), (3, 8, -1)], ids=str)
def test_trace_refuses_an_input_that_is_no_map(shape):
    message = (
        f"small: input_shape={shape} must be (channels, height, width) or (features,), "
        "each at least 1."
    )
    with pytest.raises(SpecError, match=re.escape(message)):
        trace(spec_of(FLATTEN, LOGITS, input_shape=shape))


def test_specs_are_values():
    """Equal layers make equal specs, so that a spec can be compared and kept in a set."""
    first, second = spec_of(CONV, FLATTEN, LOGITS), spec_of(CONV, FLATTEN, LOGITS)
    assert first == second
    assert len({first, second}) == 1
    with pytest.raises(AttributeError):
        CONV.stride = 2
