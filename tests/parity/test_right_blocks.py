"""Right ports of blocks: sequences, attention, branches, and weights that belong to no layer."""

import pytest
from parity.test_right_ports import compared, norm, theirs

from alexnet_impl.errors import FrameworkError

pytestmark = [pytest.mark.torch, pytest.mark.tensorflow]
slow = pytest.mark.slow
PIXELS = 12 * 12


def module(forward, **parts):
    """A PyTorch module of these parts, with a dense layer at its end."""
    from torch import manual_seed, nn

    manual_seed(0)

    class Module(nn.Module):
        def __init__(self):
            super().__init__()
            for name, part in parts.items():
                setattr(self, name, part() if callable(part) else part)

        def forward(self, x):
            return forward(self, x)

    return Module().eval()


def model(body, *, sequence=False):
    """A Keras model of the same images; `body` takes them, or their pixels as a sequence."""
    import keras

    images = keras.Input((12, 12, 3))
    x = keras.layers.Reshape((PIXELS, 3))(images) if sequence else images
    return keras.Model(images, body(x))


def pixels(x):
    """The pixels (batch, length, channels) of PyTorch's images."""
    return x.flatten(2).transpose(1, 2)


def sequence_convolution(padding, **changes):
    from keras import layers as k
    from torch import nn
    from torch.nn import functional

    left = {"causal": 2 * changes.get("dilation_rate", 1), "same": 0}[padding]
    first = {"dilation": changes.get("dilation_rate", 1), "stride": changes.get("strides", 1)}
    ours = module(
        lambda m, x: m.fc(m.bn(m.conv(functional.pad(x.flatten(2), (left, 0)))).relu().mean(2)),
        conv=lambda: nn.Conv1d(3, 4, 3, padding=1 if padding == "same" else 0, **first),
        bn=lambda: nn.BatchNorm1d(4),
        fc=lambda: nn.Linear(4, 3),
    )

    def body(x):
        x = k.ReLU()(norm()(k.Conv1D(4, 3, padding=padding, **changes)(x)))
        return k.Dense(3)(k.GlobalAveragePooling1D()(x))

    return ours, model(body, sequence=True)


def attention(*, causal=False, by_name=False, heads=2):
    import torch
    from keras import layers as k
    from torch import nn

    mask = torch.ones(PIXELS, PIXELS, dtype=torch.bool).triu(1) if causal else None

    def forward(m, x):
        x = m.embed(pixels(x))
        if by_name:
            y, _ = m.attention(query=x, key=x, value=x, attn_mask=mask)
        else:
            y, _ = m.attention(x, x, x, need_weights=False, attn_mask=mask)
        return m.fc((x + y).mean(1))

    ours = module(
        forward,
        embed=lambda: nn.Linear(3, 8),
        attention=lambda: nn.MultiheadAttention(8, 2, batch_first=True),
        fc=lambda: nn.Linear(8, 3),
    )

    def body(x):
        x = k.Dense(8)(x)
        call = k.MultiHeadAttention(heads, 8 // heads)
        y = call(query=x, value=x, use_causal_mask=causal) if by_name else call(x, x)
        return k.Dense(3)(k.GlobalAveragePooling1D()(k.Add()([x, y])))

    return ours, model(body, sequence=True)


def encoder_layer():
    from keras import layers as k
    from torch import nn

    sizes = {"dropout": 0.0, "batch_first": True, "norm_first": True}
    ours = module(
        lambda m, x: m.fc(m.layer(m.embed(pixels(x))).mean(1)),
        embed=lambda: nn.Linear(3, 8),
        layer=lambda: nn.TransformerEncoderLayer(8, 2, 16, **sizes),
        fc=lambda: nn.Linear(8, 3),
    )

    def body(x):
        x = k.Dense(8)(x)
        y = k.LayerNormalization(epsilon=1e-5)(x)
        x = k.Add()([x, k.MultiHeadAttention(2, 4)(y, y)])
        y = k.Dense(16, activation="relu")(k.LayerNormalization(epsilon=1e-5)(x))
        return k.Dense(3)(k.GlobalAveragePooling1D()(k.Add()([x, k.Dense(8)(y)])))

    return ours, model(body, sequence=True)


def attention_by_hand(*, scale=None):
    """The projections in one dense layer, and the scores by hand."""
    import keras
    from keras import layers as k
    from torch import nn
    from torch.nn import functional

    def forward(m, x):
        query, key, value = m.qkv(pixels(x)).chunk(3, 2)
        return m.fc(functional.scaled_dot_product_attention(query, key, value).mean(1))

    ours = module(forward, qkv=lambda: nn.Linear(3, 24), fc=lambda: nn.Linear(8, 3))

    class Scores(k.Layer):
        def call(self, x):
            query, key, value = keras.ops.split(x, 3, axis=-1)
            scores = keras.ops.matmul(query, keras.ops.swapaxes(key, 1, 2))
            weights = keras.ops.softmax(scores * (8**-0.5 if scale is None else scale))
            return keras.ops.mean(keras.ops.matmul(weights, value), axis=1)

    return ours, model(lambda x: k.Dense(3)(Scores()(k.Dense(24)(x))), sequence=True)


def scaled_branch():
    """A residual branch with a factor for each channel, which belongs to the block."""
    import torch
    from keras import layers as k
    from torch import nn

    ours = module(
        lambda m, x: m.fc((m.first(x) + m.gamma * m.second(m.first(x))).mean((2, 3))),
        first=lambda: nn.Conv2d(3, 4, 1),
        second=lambda: nn.Conv2d(4, 4, 1),
        gamma=lambda: nn.Parameter(torch.rand(4, 1, 1)),
        fc=lambda: nn.Linear(4, 3),
    )

    class Scale(k.Layer):
        def build(self, shape):
            self.factor = self.add_weight(shape=(shape[-1],), name="factor")

        def call(self, x):
            return x * self.factor

    def body(x):
        x = k.Conv2D(4, 1, name="first")(x)
        x = k.Add()([x, Scale(name="gamma")(k.Conv2D(4, 1, name="second")(x))])
        return k.Dense(3, name="fc")(k.GlobalAveragePooling2D()(x))

    return ours, model(body)


def stochastic_depth(*, rate=0.2):
    from keras import layers as k
    from torch import nn
    from torchvision.ops import StochasticDepth

    ours = module(
        lambda m, x: m.fc((m.first(x) + m.drop(m.second(m.first(x)))).mean((2, 3))),
        first=lambda: nn.Conv2d(3, 4, 1),
        second=lambda: nn.Conv2d(4, 4, 1),
        drop=lambda: StochasticDepth(0.2, "row"),
        fc=lambda: nn.Linear(4, 3),
    )

    def body(x):
        x = k.Conv2D(4, 1)(x)
        y = k.Dropout(rate, noise_shape=(None, 1, 1, 1))(k.Conv2D(4, 1)(x))
        return k.Dense(3)(k.GlobalAveragePooling2D()(k.Add()([x, y])))

    return ours, model(body)


def squeeze_and_excite():
    from keras import layers as k
    from torch import nn
    from torchvision.ops import SqueezeExcitation

    ours = module(
        lambda m, x: m.fc(m.se(m.conv(x)).mean((2, 3))),
        conv=lambda: nn.Conv2d(3, 4, 3),
        se=lambda: SqueezeExcitation(4, 2),
        fc=lambda: nn.Linear(4, 3),
    )

    def body(x):
        x = k.Conv2D(4, 3)(x)
        y = k.GlobalAveragePooling2D(keepdims=True)(x)
        y = k.Conv2D(4, 1, activation="sigmoid")(k.Conv2D(2, 1, activation="relu")(y))
        return k.Dense(3)(k.GlobalAveragePooling2D()(k.Multiply()([x, y])))

    return ours, model(body)


def branches():
    """Branches of one shape, in another order in each framework, one behind a pooling."""
    from keras import layers as k
    from torch import cat, nn

    def forward(m, x):
        x = m.stem(x)
        second = m.b(m.pool(x))
        return m.fc(cat([m.a(x), second], 1).relu().mean((2, 3)))

    ours = module(
        forward,
        stem=lambda: nn.Conv2d(3, 4, 3),
        pool=lambda: nn.MaxPool2d(3, 1, 1),
        a=lambda: nn.Conv2d(4, 4, 1),
        b=lambda: nn.Conv2d(4, 4, 1),
        fc=lambda: nn.Linear(8, 3),
    )

    def body(x):
        x = k.Conv2D(4, 3)(x)
        second = k.Conv2D(4, 1)(k.MaxPooling2D(3, 1, padding="same")(x))
        both = k.Concatenate()([k.Conv2D(4, 1)(x), second])
        return k.Dense(3)(k.GlobalAveragePooling2D()(k.ReLU()(both)))

    return ours, model(body)


def scaled_images():
    from keras import layers as k
    from torch import nn

    ours = module(
        lambda m, x: m.fc(m.conv(x / 255).mean((2, 3))),
        conv=lambda: nn.Conv2d(3, 4, 3),
        fc=lambda: nn.Linear(4, 3),
    )
    return ours, theirs(k.Rescaling(1 / 255), k.Conv2D(4, 3))


def channels_first_norm():
    from keras import layers as k
    from torch import nn
    from torchvision.models.convnext import LayerNorm2d

    ours = module(
        lambda m, x: m.fc(m.norm(m.conv(x)).mean((2, 3))),
        conv=lambda: nn.Conv2d(3, 4, 3),
        norm=lambda: LayerNorm2d(4),
        fc=lambda: nn.Linear(4, 3),
    )
    return ours, theirs(k.Conv2D(4, 3), k.LayerNormalization(epsilon=1e-5))


def shared_layer():
    from keras import layers as k
    from torch import nn

    ours = module(
        lambda m, x: m.fc(m.again(m.again(m.conv(x)).relu()).mean((2, 3))),
        conv=lambda: nn.Conv2d(3, 4, 3),
        again=lambda: nn.Conv2d(4, 4, 1),
        fc=lambda: nn.Linear(4, 3),
    )

    def body(x):
        again = k.Conv2D(4, 1)
        x = again(k.ReLU()(again(k.Conv2D(4, 3)(x))))
        return k.Dense(3)(k.GlobalAveragePooling2D()(x))

    return ours, model(body)


def nested():
    """Networks inside a network, with other borders in each framework."""
    import keras
    from keras import layers as k
    from torch import nn

    ours = module(
        lambda m, x: m.fc(m.body(x).amax((2, 3))),
        body=lambda: nn.Sequential(
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), nn.Conv2d(4, 4, 3)
        ),
        fc=lambda: nn.Linear(4, 3),
    )
    inner = keras.Sequential([keras.Input((10, 10, 4)), k.Conv2D(4, 3)])

    def body(x):
        return k.Dense(3)(k.GlobalMaxPooling2D()(inner(k.Conv2D(4, 3, activation="relu")(x))))

    return ours, model(body)


def u_net():
    """A network that returns maps: a step down and up again, with a shortcut."""
    from keras import layers as k
    from torch import cat, nn

    ours = module(
        lambda m, x: m.head(cat([m.a(x).relu(), m.up(m.b(m.pool(m.a(x).relu())).relu())], 1)),
        a=lambda: nn.Conv2d(3, 4, 3, padding=1),
        pool=lambda: nn.MaxPool2d(2),
        b=lambda: nn.Conv2d(4, 6, 3, padding=1),
        up=lambda: nn.ConvTranspose2d(6, 4, 2, 2),
        head=lambda: nn.Conv2d(8, 5, 1),
    )

    def body(x):
        first = k.Conv2D(4, 3, padding="same", activation="relu")(x)
        x = k.Conv2D(6, 3, padding="same", activation="relu")(k.MaxPooling2D()(first))
        x = k.Concatenate()([first, k.Conv2DTranspose(4, 2, 2)(x)])
        return k.Conv2D(5, 1)(x)

    return ours, model(body)


PORTS = {
    "maps as the output": u_net,
    "sequence convolution": lambda: sequence_convolution("same"),
    "causal convolution": lambda: sequence_convolution("causal"),
    "causal and dilated convolution": lambda: sequence_convolution("causal", dilation_rate=2),
    "attention": attention,
    "attention called by names": lambda: attention(by_name=True),
    "causal attention": lambda: attention(causal=True, by_name=True),
    "transformer's encoder layer": encoder_layer,
    "attention by hand": attention_by_hand,
    "scaled branch": scaled_branch,
    "stochastic depth": stochastic_depth,
    "squeeze and excite": squeeze_and_excite,
    "branches in another order": branches,
    "scaled images": scaled_images,
    "normalisation of maps with their channels first": channels_first_norm,
    "shared layer": shared_layer,
    "nested": nested,
}


@slow
@pytest.mark.parametrize("name", PORTS)
def test_right_block_holds(name):
    record = compared(*PORTS[name]())
    assert [str(check) for check in record.failures] == []
    assert record.checks[-1].name == "steps"


MISTAKES = {
    "heads": (lambda: attention(heads=4), "attention had 4 heads, where PyTorch has 2"),
    "causal mask": (
        lambda: (attention(causal=True)[0], attention(by_name=True)[1]),
        "attention had no mask",
    ),
    "scores": (lambda: attention_by_hand(scale=1.0), "scores were not divided by the root of 8"),
    "stride": (
        lambda: (sequence_convolution("same", strides=2)[0], sequence_convolution("same")[1]),
        "conv had stride (1, 1), where PyTorch has stride (1, 2)",
    ),
    "one-sided": (
        lambda: (sequence_convolution("same")[0], sequence_convolution("causal")[1]),
        "conv's padding were",
    ),
}


@slow
@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_in_a_block_has_its_cause(name):
    build, words = MISTAKES[name]
    first = compared(*build()).failures[0]
    assert first.name == "layers"
    assert words in first.causes[0].what


@slow
@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_recurrent_layer_is_refused_by_its_name(framework):
    from keras import layers as k
    from torch import nn

    ours = module(
        lambda m, x: m.fc(m.rnn(pixels(x))[0][:, -1]),
        rnn=lambda: nn.GRU(3, 4, batch_first=True),
        fc=lambda: nn.Linear(4, 3),
    )
    if framework == "tensorflow":
        ours = sequence_convolution("same")[0]
    port = model(lambda x: k.Dense(3)(k.GRU(4, name="rnn")(x)), sequence=True)
    with pytest.raises(FrameworkError, match=rf"{framework}: rnn is a recurrent layer"):
        compared(ours, port)


@slow
def test_rate_of_a_stochastic_depth_is_compared():
    (check,) = compared(*stochastic_depth(rate=0.1)).failures
    assert check.causes[0].what.endswith(
        "were 0.1 of whole branches, where PyTorch has 0.2 of whole branches"
    )


@slow
@pytest.mark.parametrize(
    ("ours", "theirs_", "words"),
    [
        ((4, 2, 0), (4, 2, "same"), "cropped as by padding='same', by 1"),
        ((4, 2, 1), (4, 2, "valid"), "cropped as by padding='valid', by 0"),
        ((3, 2, 1, 1), (3, 2, "same"), "cropped as by padding='same', by (0, 1)"),
    ],
)
def test_crop_of_a_transposed_convolution_is_named(ours, theirs_, words):
    from keras import layers as k
    from torch import nn

    size, stride, padding = theirs_
    first = module(
        lambda m, x: m.fc(m.up(x).mean((2, 3))),
        up=lambda: nn.ConvTranspose2d(3, 4, *ours),
        fc=lambda: nn.Linear(4, 3),
    )
    second = theirs(k.Conv2DTranspose(4, size, stride, padding=padding))
    check = compared(first, second).failures[0]
    assert words in check.causes[0].what
