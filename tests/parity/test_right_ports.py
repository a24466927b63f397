"""Right ports of every kind of layer: no false alarm, and none that is refused."""

import pytest

from alexnet_impl.errors import FrameworkError
from alexnet_impl.frameworks import get_framework
from alexnet_impl.ports.request import PairRequest
from alexnet_impl.ports.user_pair import compare_models

pytestmark = [pytest.mark.torch, pytest.mark.tensorflow]
fast, slow = pytest.mark.fast, pytest.mark.slow


def compared(torch, tensorflow, **request):
    with (
        get_framework("torch").borrow_model(torch) as ours,
        get_framework("tensorflow").borrow_model(tensorflow) as theirs,
    ):
        return compare_models(ours, theirs, PairRequest(torch="t", tensorflow="k", **request))


def ours(*layers, channels=4):
    """A PyTorch network: these layers, a mean over the map and a dense layer."""
    from torch import manual_seed, nn

    manual_seed(0)
    tail = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 3))
    return nn.Sequential(*layers, *tail).eval()


def theirs(*layers):
    """Its port."""
    import keras

    tail = (keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3))
    return keras.Sequential([keras.Input((12, 12, 3)), *layers, *tail])


def norm(**changes):
    """A batch normalisation with PyTorch's numbers."""
    from keras.layers import BatchNormalization

    return BatchNormalization(**{"epsilon": 1e-5, "momentum": 0.9} | changes)


def case(name):
    """Both models by the name of what is special in them."""
    from keras import layers as k
    from keras.initializers import Constant
    from torch import nn

    conv, port = nn.Conv2d(3, 4, 3), k.Conv2D(4, 3)
    relu = k.Conv2D(4, 3, activation="relu")
    group = k.GroupNormalization
    same = {"padding": "same"}
    quarter = Constant(0.25)
    deep = nn.Conv2d(4, 8, 3, padding=1, groups=4)
    plain = nn.BatchNorm2d(4, affine=False)
    cases = {
        "depthwise": (
            ours(conv, nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.ReLU()),
            theirs(relu, k.DepthwiseConv2D(3, activation="relu", **same)),
        ),
        "depthwise, two outputs a channel": (
            ours(conv, deep, channels=8),
            theirs(port, k.DepthwiseConv2D(3, depth_multiplier=2, **same)),
        ),
        "separable": (
            ours(conv, nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False), nn.Conv2d(4, 4, 1)),
            theirs(port, k.SeparableConv2D(4, 3, **same)),
        ),
        "separable, two outputs a channel, with activation": (
            ours(conv, nn.Conv2d(4, 8, 3, groups=4, bias=False), nn.Conv2d(8, 4, 1), nn.ReLU()),
            theirs(port, k.SeparableConv2D(4, 3, depth_multiplier=2, activation="relu")),
        ),
        "grouped": (
            ours(conv, nn.Conv2d(4, 4, 3, groups=2)),
            theirs(port, k.Conv2D(4, 3, groups=2)),
        ),
        "dilated": (
            ours(nn.Conv2d(3, 4, 3, dilation=2, padding=2)),
            theirs(k.Conv2D(4, 3, dilation_rate=2, **same)),
        ),
        "strides": (
            ours(nn.Conv2d(3, 4, 3, stride=2, padding=1)),
            theirs(k.ZeroPadding2D(1), k.Conv2D(4, 3, 2)),
        ),
        "padding layer": (
            ours(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 4, 3, stride=2)),
            theirs(k.Conv2D(4, 3, 2, **same)),
        ),
        "transposed": (
            ours(conv, nn.ReLU(), nn.ConvTranspose2d(4, 4, 4, 2, 1), nn.ReLU()),
            theirs(relu, k.Conv2DTranspose(4, 4, 2, activation="relu", **same)),
        ),
        "transposed without overlap": (
            ours(conv, nn.ConvTranspose2d(4, 4, 2, 2)),
            theirs(port, k.Conv2DTranspose(4, 2, 2)),
        ),
        "bias before a normalisation": (
            ours(conv, nn.InstanceNorm2d(4, affine=True), nn.ReLU()),
            theirs(port, group(-1, epsilon=1e-5), k.ReLU()),
        ),
        "group normalisation": (
            ours(conv, nn.GroupNorm(2, 4)),
            theirs(port, group(2, epsilon=1e-5)),
        ),
        "batch normalisation": (ours(conv, nn.BatchNorm2d(4)), theirs(port, norm())),
        "batch normalisation without gamma and beta": (
            ours(conv, plain, nn.ReLU()),
            theirs(port, norm(center=False, scale=False), k.ReLU()),
        ),
        "slopes of each channel": (
            ours(conv, nn.PReLU(4)),
            theirs(port, k.PReLU(shared_axes=[1, 2], alpha_initializer=quarter)),
        ),
        "average pooling": (ours(conv, nn.AvgPool2d(2)), theirs(port, k.AveragePooling2D(2))),
        "average pooling that counts no padding": (
            ours(conv, nn.AvgPool2d(3, 1, 1, count_include_pad=False)),
            theirs(port, k.AveragePooling2D(3, 1, **same)),
        ),
        "average pooling that counts its padding": (
            ours(conv, nn.AvgPool2d(3, 1, 1)),
            theirs(port, k.ZeroPadding2D(1), k.AveragePooling2D(3, 1)),
        ),
        "max-pooling of positive values over zeros": (
            ours(conv, nn.ReLU(), nn.MaxPool2d(3, 2, 1)),
            theirs(relu, k.ZeroPadding2D(1), k.MaxPooling2D(3, 2)),
        ),
        "rounded up": (
            ours(nn.Conv2d(3, 4, 4), nn.ReLU(), nn.MaxPool2d(2, 2, ceil_mode=True)),
            theirs(k.Conv2D(4, 4, activation="relu"), k.MaxPooling2D(2, 2, **same)),
        ),
        "nearest resizing": (
            ours(conv, nn.Upsample(scale_factor=2)),
            theirs(port, k.UpSampling2D(2)),
        ),
        "bilinear resizing": (
            ours(conv, nn.Upsample(scale_factor=2, mode="bilinear")),
            theirs(port, k.UpSampling2D(2, interpolation="bilinear")),
        ),
        "dense layer for a 1x1 convolution": (
            nn.Sequential(
                conv, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 3, 1), nn.Flatten()
            ),
            theirs(relu),
        ),
        "1x1 convolution for a dense layer on channels-last maps": (
            Last(),
            theirs(port, k.Conv2D(4, 1)),
        ),
        "normalised channels-last maps": (
            LastNorm(),
            theirs(k.Conv2D(4, 4, 4), k.LayerNormalization(epsilon=1e-6), k.Dense(4)),
        ),
        "lazy": (
            nn.Sequential(
                *(nn.LazyConv2d(4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
                nn.LazyLinear(3),
            ),
            theirs(relu),
        ),
        **{
            f"activation {name}": (ours(conv, layer), theirs(port, other))
            for name, layer, other in (
                ("elu", nn.ELU(), k.ELU()),
                ("gelu", nn.GELU(), k.Activation("gelu")),
                ("leaky relu", nn.LeakyReLU(0.3), k.LeakyReLU()),
                ("relu6", nn.ReLU6(), k.ReLU(max_value=6)),
                ("selu", nn.SELU(), k.Activation("selu")),
                ("silu", nn.SiLU(), k.Activation("silu")),
                ("swish of hard kind", nn.Hardswish(), k.Activation("hard_silu")),
                ("sigmoid of hard kind", nn.Hardsigmoid(), k.Activation("hard_sigmoid")),
                ("mish", nn.Mish(), k.Activation("mish")),
                ("softplus", nn.Softplus(), k.Activation("softplus")),
                ("softmax over channels", nn.Softmax(1), k.Softmax()),
                ("tanh", nn.Tanh(), k.Activation("tanh")),
            )
        },
    }
    return cases[name]


def Last():  # noqa: N802 - a module
    from torch import manual_seed, nn

    manual_seed(0)

    class ChannelsLast(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.dense, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 4), nn.Linear(4, 3)

        def forward(self, x):
            return self.head(self.dense(self.conv(x).permute(0, 2, 3, 1)).mean((1, 2)))

    return ChannelsLast()


def LastNorm():  # noqa: N802 - a module
    from torch import nn

    network = Last()
    network.conv, network.norm = nn.Conv2d(3, 4, 4, 4), nn.LayerNorm(4, eps=1e-6)

    def forward(x):
        maps = network.norm(network.conv(x).permute(0, 2, 3, 1))
        return network.head(network.dense(maps).mean((1, 2)))

    network.forward = forward
    return network


NAMES = (
    "depthwise",
    "depthwise, two outputs a channel",
    "separable",
    "separable, two outputs a channel, with activation",
    *("grouped", "dilated", "strides", "padding layer", "transposed", "transposed without overlap"),
    "bias before a normalisation",
    "group normalisation",
    "batch normalisation",
    "batch normalisation without gamma and beta",
    "slopes of each channel",
    "average pooling",
    "average pooling that counts no padding",
    "average pooling that counts its padding",
    "max-pooling of positive values over zeros",
    *("rounded up", "nearest resizing", "bilinear resizing"),
    "dense layer for a 1x1 convolution",
    "1x1 convolution for a dense layer on channels-last maps",
    "normalised channels-last maps",
    "lazy",
    *("activation elu", "activation gelu", "activation leaky relu", "activation relu6"),
    *("activation selu", "activation silu", "activation swish of hard kind"),
    *("activation sigmoid of hard kind", "activation mish", "activation softplus"),
    *("activation softmax over channels", "activation tanh"),
)


@slow
@pytest.mark.parametrize("name", NAMES)
def test_right_port_holds(name):
    record = compared(*case(name))
    assert [str(check) for check in record.failures] == []
    assert record.checks[-1].name == "steps"


def block():
    """A residual block whose shortcut is called last."""
    from torch import manual_seed, nn, relu

    manual_seed(0)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, 2, 1, bias=False), nn.BatchNorm2d(4)
            self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, 1, 1, bias=False), nn.BatchNorm2d(4)
            self.down = nn.Sequential(nn.Conv2d(3, 4, 1, 2, bias=False), nn.BatchNorm2d(4))
            self.fc = nn.Linear(4, 3)

        def forward(self, x):
            y = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
            return self.fc(relu(y + self.down(x)).mean((2, 3)))

    return Block().eval()


def ported_block(*names, epsilon=1e-5, functions=False):
    """Its port, whose shortcut is called first; with names of Keras's or others."""
    from keras import Input, Model, layers, ops

    conv1, bn1, conv2, bn2, down, bn, head = names
    images = Input((12, 12, 3))
    short = layers.Conv2D(4, 1, 2, use_bias=False, name=down)(images)
    short = norm(name=bn)(short)
    y = layers.Conv2D(4, 3, 2, use_bias=False, name=conv1)(layers.ZeroPadding2D(1)(images))
    y = layers.ReLU()(norm(name=bn1, epsilon=epsilon)(y))
    y = norm(name=bn2)(layers.Conv2D(4, 3, padding="same", use_bias=False, name=conv2)(y))
    total = ops.relu(short + y) if functions else layers.ReLU()(layers.Add()([short, y]))
    return Model(images, layers.Dense(3, name=head)(layers.GlobalAveragePooling2D()(total)))


OTHER = ("c1", "b1", "c2", "b2", "s", "sb", "head")


@slow
@pytest.mark.parametrize("functions", [False, True])
@pytest.mark.parametrize(
    "names",
    [OTHER, ("conv1", "bn1", "conv2", "bn2", "down_0", "down_1", "fc")],
    ids=["own", "same"],
)
def test_shortcut_that_is_called_first_is_paired_by_the_connections(names, functions):
    record = compared(block(), ported_block(*names, functions=functions))
    assert [str(check) for check in record.failures] == []
    pairs = {layer.names["torch"]: layer.names["tensorflow"] for layer in record.layers}
    assert list(pairs.values())[:-1] == list(names)


@slow
def test_mistake_in_a_block_that_is_paired_by_its_connections_is_found():
    """The other order of the calls hides nothing: the first layer that differs is bn1."""
    layers = compared(block(), ported_block(*OTHER, epsilon=1e-3)).failures[0]
    assert (layers.name, layers.where) == ("layers", "bn1 (b1 in Keras)")
    assert layers.causes[0].what.startswith("bn1's epsilon were 0.001")


@slow
def test_zero_gradient_that_is_wrong_is_no_rounding():
    """A bias before a normalisation has no gradient; a frozen one is still told."""
    from keras import layers
    from torch import nn

    port = theirs(layers.Conv2D(4, 3), layers.GroupNormalization(-1, epsilon=1e-5))
    port.layers[0].bias.trainable = False
    check = compared(ours(nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4, affine=True)), port).failures[0]
    assert (check.name, check.where.split(" (")[0]) == ("architecture", "layer 0")
    assert check.causes[0].what.startswith("the bias of layer 0")
    assert check.causes[0].what.endswith("were frozen")


@slow
def test_keras_model_with_its_channels_first_is_refused_by_its_own_name():
    import keras
    from torch import nn

    layer = keras.layers.Conv2D(4, 3, data_format="channels_first", name="first")
    port = keras.Sequential([keras.Input((3, 12, 12)), layer])
    with pytest.raises(FrameworkError, match=r"^tensorflow: first keeps its maps channels-first"):
        compared(nn.Sequential(nn.Conv2d(3, 4, 3)), port)
