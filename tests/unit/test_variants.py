"""The variants against the figures of their sources; every number here is a literal."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet_impl.errors import SpecError, UnknownNameError
from alexnet_impl.network.spec import (
    Conv,
    Dense,
    Dropout,
    Flatten,
    LocalResponseNorm,
    MaxPool,
    trace,
)
from alexnet_impl.network.variants import (
    BACKBONE_VARIANTS,
    VARIANTS,
    build_spec,
    get_variant,
    refuse_library,
)

pytestmark = pytest.mark.fast


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What a variant's source says of it, as literals; the shapes are those at its own input size.

    Attributes:
        totals: Number of classes to the number of parameters.
        is_published: Whether the source states these totals.
        channels: Of the five convolutions.
        padding: Of the first convolution.
        first: Shape of its output.
        features: Number of flattened features.
        dropout: The layers before each Dropout.
        dense: Features of the dense layers.
        num_pools: Number of pools.
        groups: Of the five convolutions.
        num_norms: Number of local response normalisations.
    """

    totals: dict[int, int]
    is_published: bool = True
    channels: tuple[int, ...] = (96, 256, 384, 384, 256)
    padding: tuple[int, int]
    first: tuple[int, int, int]
    features: int = 9216
    dropout: tuple[str, ...] = ("relu6", "relu7")
    dense: tuple[int, ...] = (4096, 4096, 10)
    num_pools: int = 3
    groups: tuple[int, ...] = (1, 1, 1, 1, 1)
    num_norms: int = 0


EXPECTED = {
    # torchvision.models.alexnet's documentation, AlexNet_Weights.IMAGENET1K_V1; R0-torch
    "torchvision": Expected(
        totals={1000: 61_100_840, 10: 57_044_810},
        channels=(64, 192, 384, 256, 256),
        padding=(2, 2),
        first=(64, 55, 55),
        dropout=("flatten", "relu6"),
    ),
    # R0-tf: torchvision's network with ten classes
    "torchvision-same": Expected(
        totals={10: 57_044_810},
        channels=(64, 192, 384, 256, 256),
        padding=(4, 4),
        first=(64, 57, 57),
    ),
    # Caffe's bvlc_alexnet, which has the paper's two towers
    "krizhevsky2012": Expected(
        totals={1000: 60_965_224},
        padding=(0, 0),
        first=(96, 55, 55),
        groups=(1, 2, 1, 2, 2),
        num_norms=2,
    ),
    # imgclsmob's alexnet and most ports that run on one device
    "krizhevsky2012-ungrouped": Expected(
        totals={1000: 62_378_344}, padding=(0, 0), first=(96, 55, 55), num_norms=2
    ),
    # The layer table printed in R2-tf; R1-tf and R2-torch have the same layers
    "caffenet-like": Expected(totals={10: 58_322_314}, padding=(0, 0), first=(96, 55, 55)),
    "caffenet-like-same": Expected(totals={10: 58_322_314}, padding=(3, 4), first=(96, 56, 56)),
    "caffenet-like-pad2": Expected(totals={10: 58_322_314}, padding=(2, 2), first=(96, 55, 55)),
    # R1-torch
    "slim": Expected(
        totals={10: 56_278_666},
        channels=(64, 128, 256, 256, 256),
        padding=(2, 2),
        first=(64, 55, 55),
    ),
    # R2-tf-big: "Total params: 202,839,952", 773.77 MB
    "big": Expected(
        totals={1000: 202_839_952},
        padding=(3, 4),
        first=(96, 56, 56),
        features=43_264,
        dropout=(),
        dense=(4096, 4096, 1000, 10),
        num_pools=2,
    ),
    # R3-torch and R3-tf
    "cifar": Expected(
        totals={10: 29_585_290}, padding=(1, 1), first=(96, 32, 32), features=2304, dropout=()
    ),
    # R4 publishes no total, and Dropout has no parameters
    "cifar-dropout": Expected(
        totals={10: 29_585_290},
        is_published=False,
        padding=(1, 1),
        first=(96, 32, 32),
        features=2304,
    ),
}
"""Run folders, weight files and published results name these variants."""
IDS = tuple(EXPECTED)
PUBLISHED_TOTALS = [
    (name, num_classes, total)
    for name, expected in EXPECTED.items()
    for num_classes, total in expected.totals.items()
]


def layers_of(name, kind, **options):
    return [layer for layer in build_spec(name, **options).layers if isinstance(layer, kind)]


def names_of(name, **options):
    return [layer.name for layer in build_spec(name, **options).layers]


def test_variant_ids_are_stable():
    assert tuple(VARIANTS) == IDS


@pytest.mark.parametrize(("name", "num_classes", "total"), PUBLISHED_TOTALS)
def test_variant_has_its_published_parameter_total(name, num_classes, total):
    assert trace(build_spec(name, num_classes=num_classes)).num_params == total


@pytest.mark.parametrize("name", IDS)
def test_variant_states_the_same_totals_as_published(name):
    expected = EXPECTED[name]
    assert VARIANTS[name].published_num_params == (expected.totals if expected.is_published else {})


@pytest.mark.parametrize("name", IDS)
def test_variant_has_the_layers_of_its_source(name):
    expected = EXPECTED[name]
    convolutions, dense = layers_of(name, Conv), layers_of(name, Dense)
    assert tuple(layer.out_channels for layer in convolutions) == expected.channels
    assert tuple(layer.groups for layer in convolutions) == expected.groups
    assert convolutions[0].padding == expected.padding
    assert tuple(layer.out_features for layer in dense) == expected.dense
    assert len(layers_of(name, MaxPool)) == expected.num_pools
    assert len(layers_of(name, LocalResponseNorm)) == expected.num_norms
    names = names_of(name)
    places = [names[names.index(layer.name) - 1] for layer in layers_of(name, Dropout)]
    assert tuple(places) == expected.dropout


@pytest.mark.parametrize("name", IDS)
def test_variant_has_its_published_shapes(name):
    steps = trace(build_spec(name)).layers
    shapes = {step.layer.name: step.output_shape for step in steps}
    assert shapes["conv1"] == EXPECTED[name].first
    assert shapes["flatten"] == (EXPECTED[name].features,)
    assert steps[-1].output_shape == (10,)


@pytest.mark.parametrize(
    ("name", "num_classes", "macs"),
    [
        # AlexNet_Weights.IMAGENET1K_V1: _ops 0.714, in billions of MACs
        ("torchvision", 1000, 714_188_480),
        # conv1 2,654,208 + conv2 49,766,400 + conv3 43,352,064 + conv4 65,028,096
        # + conv5 43,352,064 + fc1 9,437,184 + fc2 16,777,216 + fc3 40,960
        ("cifar", 10, 230_408_192),
    ],
)
def test_variant_has_the_multiply_accumulates_of_its_source(name, num_classes, macs):
    assert trace(build_spec(name, num_classes=num_classes)).num_macs == macs


def test_torchvision_is_layer_by_layer_the_published_one():
    """torchvision 0.29, models/alexnet.py, with Dropout ahead of the first two dense layers."""
    steps = {step.layer.name: step for step in trace(build_spec("torchvision")).layers}
    shapes = [steps[name].output_shape for name in ("pool1", "conv2", "pool2", "conv3", "pool5")]
    assert shapes == [(64, 27, 27), (192, 27, 27), (192, 13, 13), (384, 13, 13), (256, 6, 6)]
    names = names_of("torchvision")
    assert names[names.index("flatten") :] == [
        "flatten",
        "dropout1",
        "fc1",
        "relu6",
        "dropout2",
        "fc2",
        "relu7",
        "fc3",
    ]


def test_krizhevsky_has_two_towers_and_normalises_before_it_pools():
    """Krizhevsky et al. 2012, sections 3.3 to 3.5."""
    assert [layer.groups for layer in layers_of("krizhevsky2012", Conv)] == [1, 2, 1, 2, 2]
    assert names_of("krizhevsky2012")[:4] == ["conv1", "relu1", "norm1", "pool1"]
    norms = layers_of("krizhevsky2012", LocalResponseNorm)
    assert [(norm.size, norm.alpha, norm.beta, norm.k) for norm in norms] == [
        (5, 1e-4, 0.75, 2.0),
        (5, 1e-4, 0.75, 2.0),
    ]
    pools = layers_of("krizhevsky2012", MaxPool)
    assert {(pool.kernel_size, pool.stride) for pool in pools} == {(3, 2)}


def test_krizhevsky_ungrouped_differs_in_the_groups_alone():
    grouped, ungrouped = build_spec("krizhevsky2012"), build_spec("krizhevsky2012-ungrouped")
    assert [layer.groups for layer in layers_of("krizhevsky2012-ungrouped", Conv)] == [1] * 5
    for ours, theirs in zip(grouped.layers, ungrouped.layers, strict=True):
        assert ours == theirs or ours.name in ("conv2", "conv4", "conv5")


def test_big_ends_in_a_linear_layer_of_1000_units():
    names = names_of("big")
    assert names[names.index("flatten") :] == [
        "flatten",
        "fc1",
        "relu6",
        "fc2",
        "relu7",
        "fc3",
        "fc4",
    ]
    assert [layer.out_features for layer in layers_of("big", Dense)] == [4096, 4096, 1000, 10]


@pytest.mark.parametrize("name", IDS)
def test_build_spec_takes_a_number_of_classes(name):
    spec = build_spec(name, num_classes=7)
    assert trace(spec).output_shape == (7,)
    assert spec.layers[:-1] == build_spec(name).layers[:-1]


@pytest.mark.parametrize("name", IDS)
def test_build_spec_reads_the_input_size_of_the_source_unless_told(name):
    size = VARIANTS[name].input_size
    assert build_spec(name).input_shape == (3, size, size)


@pytest.mark.parametrize(
    ("name", "input_size", "features"),
    [("torchvision", 227, 9216), ("torchvision", 64, 256), ("cifar", 64, 12544)],
)
def test_build_spec_takes_an_input_size(name, input_size, features):
    spec = build_spec(name, input_size=input_size)
    assert spec.input_shape == (3, input_size, input_size)
    assert layers_of(name, Flatten, input_size=input_size)
    fc1 = next(step for step in trace(spec).layers if step.layer.name == "fc1")
    assert fc1.input_shape == (features,)


def test_build_spec_works_same_padding_out_from_the_input_size():
    padding = {
        size: layers_of("caffenet-like-same", Conv, input_size=size)[0].padding
        for size in (224, 225, 226, 227)
    }
    assert padding == {224: (3, 4), 225: (5, 5), 226: (4, 5), 227: (4, 4)}


@pytest.mark.parametrize("name", IDS)
def test_build_spec_narrows_all_layers_but_the_last(name):
    spec = build_spec(name, width=1 / 16)
    widths = [
        layer.out_channels if isinstance(layer, Conv) else layer.out_features
        for layer in spec.layers
        if isinstance(layer, Conv | Dense)
    ]
    expected = EXPECTED[name]
    full = [*expected.channels, *expected.dense[:-1]]
    assert widths == [*(max(2, count // 32 * 2) for count in full), 10]


@given(st.sampled_from(IDS), st.floats(0, 1, exclude_min=True), st.integers(1, 20))
def test_build_spec_makes_a_valid_network_of_any_width(name, width, num_classes):
    traced = trace(build_spec(name, width=width, num_classes=num_classes))
    assert traced.output_shape == (num_classes,)
    hidden = [step for step in traced.layers if isinstance(step.layer, Conv)]
    assert all(step.output_shape[0] % 2 == 0 for step in hidden)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, "torchvision: num_classes=0 must be at least 1."),
        ({"num_classes": -3}, "torchvision: num_classes=-3 must be at least 1."),
        ({"width": 0.0}, "torchvision: width=0.0 must be above 0 and at most 16."),
        ({"width": -1.0}, "torchvision: width=-1.0 must be above 0 and at most 16."),
        ({"width": 16.5}, "torchvision: width=16.5 must be above 0 and at most 16."),
        ({"width": float("nan")}, "torchvision: width=nan must be above 0 and at most 16."),
        (
            {"input_size": 0},
            (
                "torchvision: input_shape=(3, 0, 0) must be (channels, height, width) or "
                "(features,), each at least 1."
            ),
        ),
        (
            {"input_size": 62},
            (
                "pool5: the map shrinks below 1: a window of 3 pixels does not fit into 2; take a "
                "larger input."
            ),
        ),
    ],
    ids=lambda value: (
        ", ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else ""
    ),
)
def test_build_spec_refuses_numbers_that_the_network_does_not_allow(options, message):
    with pytest.raises(SpecError) as caught:
        build_spec("torchvision", **options)
    assert str(caught.value) == message


def test_torchvision_takes_63_pixels_and_no_less():
    assert trace(build_spec("torchvision", input_size=63)).output_shape == (10,)


@pytest.mark.parametrize("get", [get_variant, build_spec], ids=lambda get: get.__name__)
@pytest.mark.parametrize(
    ("name", "nearest"), [("torchvison", "torchvision"), ("cifar10", "cifar"), ("SLIM", "slim")]
)
def test_unknown_variant_is_refused_with_the_nearest(get, name, nearest):
    with pytest.raises(UnknownNameError, match=f"Unknown variant '{name}'. .*'{nearest}'"):
        get(name)


@pytest.mark.parametrize("name", IDS)
def test_variant_says_where_it_comes_from(name):
    variant = get_variant(name)
    assert variant.source
    assert variant.about
    assert "\n" not in variant.source + variant.about


@pytest.mark.parametrize(
    ("name", "total", "out"),
    [
        # backbones without statistics, as torchvision counts them, and the reports' heads
        ("vgg16", 14_714_688 + 25_088 * 512 + 512 + 512 * 512 + 512 + 5_130, (512, 7, 7)),
        ("resnet50", 23_508_032 + 2048 * 1024 + 1024 + 1024 * 512 + 512 + 5_130, (2048, 7, 7)),
        ("mobilenetv2", 2_223_872 + 12_810, (1280, 4, 4)),
    ],
)
def test_networks_with_a_backbone_have_the_reports_heads(name, total, out):
    found = trace(build_spec(name))
    assert found.layers[0].output_shape == out
    assert found.num_params == total
    assert found.output_shape == (10,)
    assert tuple(BACKBONE_VARIANTS) == ("vgg16", "resnet50", "mobilenetv2")


def test_a_backbone_needs_images_that_it_can_halve_five_times():
    with pytest.raises(SpecError, match="at least 32 pixels"):
        build_spec("vgg16", input_size=31)


def test_networks_with_a_backbone_are_no_comparison_of_frameworks():
    with pytest.raises(SpecError, match="different backbones"):
        refuse_library("vgg16")
    refuse_library("cifar")
