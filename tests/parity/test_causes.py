"""The cause of each usual mistake of a port, found by making it in the PyTorch model too."""

import pytest

from alexnet_impl.frameworks import get_framework
from alexnet_impl.ports.request import PairRequest
from alexnet_impl.ports.user_pair import compare_models

pytestmark = [pytest.mark.torch, pytest.mark.tensorflow]
fast, slow = pytest.mark.fast, pytest.mark.slow


def compared(torch, tensorflow):
    """The record of two models, built here."""
    models = {"torch": torch, "tensorflow": tensorflow}
    request = PairRequest(torch="ours", tensorflow="theirs")
    with (
        get_framework("torch").borrow_model(models["torch"]) as ours,
        get_framework("tensorflow").borrow_model(models["tensorflow"]) as theirs,
    ):
        return compare_models(ours, theirs, request)


def causes_of(record):
    """What each cause of the forward pass says."""
    checks = [check for check in record.failures if check.name in ("layers", "logits")]
    return [cause.what for check in checks for cause in check.causes]


def ours(*layers, channels=4):
    """A PyTorch network: these layers, a convolution, a mean over the map, a dense layer."""
    from torch import manual_seed, nn

    manual_seed(0)
    return nn.Sequential(
        *layers,
        *(nn.Conv2d(channels, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        nn.Linear(5, 3),
    )


def theirs(*layers, pool="GlobalAveragePooling2D"):
    """Its port."""
    import keras

    every = keras.layers
    return keras.Sequential(
        [
            keras.Input((13, 13, 3)),
            *layers,
            *(every.Conv2D(5, 3, activation="relu"), getattr(every, pool)(), every.Dense(3)),
        ]
    )


def conv_then(*layers, **first):
    """PyTorch's first layer, and those behind it."""
    from torch import nn

    return [nn.Conv2d(3, 4, 3, **first), *layers]


def case(name):
    """PyTorch's layers and Keras's by the name of the mistake."""
    import keras
    import tensorflow as tf
    from torch import nn

    k, lambda_ = keras.layers, keras.layers.Lambda
    conv = conv_then
    gelu = keras.activations.gelu
    relu = k.Conv2D(4, 3, activation="relu")
    cases = {
        "slope": (conv(nn.LeakyReLU(0.1)), [k.Conv2D(4, 3), k.LeakyReLU(0.3)]),
        "relu6": (conv(nn.ReLU()), [k.Conv2D(4, 3, activation="relu6")]),
        "tanh": (conv(nn.ReLU()), [k.Conv2D(4, 3, activation="tanh")]),
        "gelu": (conv(nn.GELU()), [k.Conv2D(4, 3), lambda_(lambda x: gelu(x, approximate=True))]),
        "silu": (conv(nn.SiLU()), [k.Conv2D(4, 3, activation="hard_silu")]),
        "elu": (conv(nn.ELU(0.5)), [k.Conv2D(4, 3), k.ELU(1.0)]),
        "unnamed slope": (
            conv(nn.LeakyReLU(0.1)),
            [k.Conv2D(4, 3), lambda_(tf.nn.leaky_relu)],
        ),
        "ceil": (conv(nn.ReLU(), nn.MaxPool2d(2, 2, ceil_mode=True)), [relu, k.MaxPooling2D(2, 2)]),
        "zeros": (
            conv(nn.MaxPool2d(3, 2, 1)),
            [k.Conv2D(4, 3), k.ZeroPadding2D(1), k.MaxPooling2D(3, 2)],
        ),
        "included": (
            conv(nn.ReLU(), nn.AvgPool2d(3, 1, 1)),
            [relu, k.AveragePooling2D(3, 1, padding="same")],
        ),
        "excluded": (
            conv(nn.ReLU(), nn.AvgPool2d(3, 1, 1, count_include_pad=False)),
            [relu, k.ZeroPadding2D(1), k.AveragePooling2D(3, 1)],
        ),
        "max for average": (conv(nn.ReLU(), nn.AvgPool2d(2)), [relu, k.MaxPooling2D(2)]),
        "smaller pool": (
            conv(nn.LeakyReLU(0.1), nn.MaxPool2d(3, 2)),
            [k.Conv2D(4, 3), k.LeakyReLU(0.1), k.MaxPooling2D(2, 2)],
        ),
        "group norm": (
            conv(nn.GroupNorm(2, 4), nn.ReLU()),
            [k.Conv2D(4, 3), k.GroupNormalization(2, epsilon=1e-3), k.ReLU()],
        ),
        "resize": (
            conv(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)),
            [k.Conv2D(4, 3), k.UpSampling2D(2, interpolation="bilinear")],
        ),
        "early relu": (
            conv(nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)),
            [relu, k.BatchNormalization(epsilon=1e-5, momentum=0.9), k.MaxPooling2D(2)],
        ),
        "dilation": (
            conv(nn.ReLU(), dilation=2),
            [k.Conv2D(4, 3, activation="relu")],
        ),
        "uneven padding": (
            [nn.Conv2d(3, 4, 4, stride=2, padding=1), nn.ReLU()],
            [k.Conv2D(4, 4, 2, padding="same", activation="relu")],
        ),
    }
    return cases[name]


EXPECTED = {
    "slope": "the LeakyReLU had slope 0.3",
    "relu6": "the ReLU were a ReLU6",
    "tanh": "the ReLU were a tanh",
    "gelu": "the GELU were its tanh approximation",
    "silu": "the SiLU were a hard_silu",
    "elu": "the ELU had alpha 1.0",
    "unnamed slope": "the LeakyReLU had slope 0.2",
    "ceil": "the max-pooling rounded its size down, and not up (ceil_mode)",
    "zeros": "the max-pooling took its padding by 1 zeros for values",
    "included": "the average pooling left the padding out of its mean",
    "excluded": "the average pooling took its padding by 1 zeros for values",
    "max for average": "the average pooling were a max-pooling",
    "smaller pool": "the max-pooling had pool_size (2, 2) and strides (2, 2)",
    "group norm": "layer 1's epsilon were 0.001, where PyTorch's is 1e-05",
    "resize": "the resizing had align_corners False",
    "early relu": "the ReLU came before layer 1, and not after it",
    "dilation": "layer 0 had dilation (1, 1), where PyTorch has dilation (2, 2)",
    "uneven padding": "layer 0's padding were TensorFlow's 'same', (1, 2)",
}
QUICK = ("slope", "early relu")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=fast if name in QUICK else slow) for name in EXPECTED]
)
def test_mistake_between_or_in_layers_has_its_cause(name):
    first, second = case(name)
    causes = causes_of(compared(ours(*first), theirs(*second)))
    assert len(causes) == 1
    assert causes[0].startswith(EXPECTED[name])


@slow
def test_channels_of_a_pixel_shuffle_have_their_order():
    import tensorflow as tf
    from keras import layers
    from torch import nn

    shuffled = [nn.Conv2d(3, 16, 3), nn.ReLU(), nn.PixelShuffle(2)]
    blocks = layers.Lambda(lambda x: tf.nn.depth_to_space(x, 2))
    record = compared(ours(*shuffled), theirs(layers.Conv2D(16, 3, activation="relu"), blocks))
    (cause,) = causes_of(record)
    assert "depth_to_space" in cause


@slow
def test_kind_of_the_global_pooling_is_named():
    from torch import nn

    right = conv_then(nn.ReLU())
    import keras

    port = theirs(keras.layers.Conv2D(4, 3, activation="relu"), pool="GlobalMaxPooling2D")
    (cause,) = causes_of(compared(ours(*right), port))
    assert cause == "the global average pooling were a global max-pooling"


@slow
def test_stride_that_moved_is_found_at_both_places():
    from keras import layers
    from torch import nn

    right = conv_then(nn.ReLU(), nn.Conv2d(4, 4, 3, stride=2), nn.ReLU())
    port = theirs(
        layers.Conv2D(4, 3, strides=2, activation="relu"), layers.Conv2D(4, 3, activation="relu")
    )
    first, second = causes_of(compared(ours(*right), port))
    assert first.startswith("layer 0 had stride (2, 2), where PyTorch has stride (1, 1)")
    assert second.startswith("layer 2 had stride (1, 1), where PyTorch has stride (2, 2)")


@slow
def test_three_mistakes_are_found_in_one_comparison():
    from keras import layers
    from torch import nn

    right = conv_then(nn.LeakyReLU(0.1), nn.BatchNorm2d(4), nn.GELU(), nn.AvgPool2d(2))
    port = theirs(
        *(layers.Conv2D(4, 3), layers.LeakyReLU(0.3), layers.BatchNormalization(epsilon=1e-3)),
        *(layers.Activation("gelu"), layers.MaxPooling2D(2)),
    )
    record = compared(ours(*right), port)
    assert causes_of(record) == [
        "the LeakyReLU had slope 0.3",
        "layer 2's epsilon were 0.001, where PyTorch's is 1e-05",
        "the average pooling were a max-pooling",
    ]
    (check,) = [check for check in record.failures if check.name == "layers"]
    assert [cause.where != "" for cause in check.causes] == [False, True, True]
    assert "layer 2" in str(check.causes[1]).partition(":")[0]


@slow
def test_lazy_layers_own_first_call_hides_no_cause():
    from keras import layers
    from torch import nn

    lazy = nn.Sequential(
        *(nn.LazyConv2d(4, 4), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.LazyConv2d(5, 3), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(3)),
    )
    port = theirs(layers.Conv2D(4, 4, activation="relu"), layers.MaxPooling2D(3, 2, padding="same"))
    (cause,) = causes_of(compared(lazy, port))
    assert cause == "the max-pooling had padding 'same'"


@slow
def test_dropout_that_is_active_in_evaluation_is_pytorchs_mistake():
    from keras import layers
    from torch import nn

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = ours(*conv_then(nn.ReLU()))

        def forward(self, x):
            return self.body[-1](nn.functional.dropout(self.body[:-1](x), 0.5))

    record = compared(Network(), theirs(layers.Conv2D(4, 3, activation="relu")))
    (check,) = [check for check in record.failures if check.name == "layers"]
    assert check.causes[0].side == "torch"
    assert "random" in check.causes[0].what


@slow
@pytest.mark.parametrize("wrapper", ["compile", "parallel"])
def test_wrapped_module_is_compared_as_the_module_in_it(wrapper):
    import torch
    from keras import layers
    from torch import nn

    net = ours(*conv_then(nn.ReLU()))
    wrapped = torch.compile(net, backend="eager") if wrapper == "compile" else nn.DataParallel(net)
    assert compared(wrapped, theirs(layers.Conv2D(4, 3, activation="relu"))).holds


@slow
def test_two_mistakes_before_and_in_the_first_layer_are_both_found():
    from keras import layers
    from torch import nn

    right = [nn.Conv2d(3, 4, 4, stride=2, padding=1), nn.ReLU()]
    strided = layers.Conv2D(4, 4, 2, padding="same", activation="relu")
    record = compared(ours(*right), theirs(layers.Rescaling(1 / 127.5, -1.0), strided))
    first, second = causes_of(record)
    assert first.startswith("it scaled its input, in rescaling")
    assert second.startswith("layer 0's padding were TensorFlow's 'same', (1, 2)")
    assert "with the mistakes above made in PyTorch too" in record.failures[-1].notes[0]


@slow
def test_difference_that_layers_share_is_one_cause():
    from keras import layers
    from torch import nn

    right = conv_then(nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
    norms = [layers.BatchNormalization(epsilon=1e-3, momentum=0.9) for _ in range(2)]
    port = theirs(layers.Conv2D(4, 3), norms[0], layers.ReLU(), layers.Conv2D(4, 3), norms[1])
    (cause,) = causes_of(compared(ours(*right), port))
    assert cause == (
        "layer 1's epsilon, and that of 1 more layer, were 0.001, where PyTorch's is 1e-05"
    )


@slow
def test_same_mistake_at_two_places_is_one_cause():
    from keras import layers
    from torch import nn

    right = conv_then(nn.LeakyReLU(0.1), nn.Conv2d(4, 4, 3), nn.LeakyReLU(0.1))
    port = theirs(
        *(layers.Conv2D(4, 3), layers.LeakyReLU(0.3), layers.Conv2D(4, 3), layers.LeakyReLU(0.3))
    )
    record = compared(ours(*right), port)
    (check,) = [check for check in record.failures if check.name == "layers"]
    (cause,) = check.causes
    assert cause.also[0].startswith("the operations between layer 2 and layer 4")
    assert "likewise at the operations between" in str(cause)
