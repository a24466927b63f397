"""Keras ports of torchvision's networks, each with at most one mistake at a chosen place.

A port is written once, with a Builder. It counts its calls of each kind, so that a mistake is a
kind and a number; the layers have PyTorch's names with '_' for '.', by which they are paired.

`python -m support.mutated_ports 300 > support/mutations.csv` chooses the mistakes anew.
"""

import csv
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Mutation:
    """A mistake: its kind, and the number of the call that has it, of those that can."""

    kind: str = ""
    number: int = -1


@dataclass(frozen=True)
class Mistake:
    """What a mistake of one kind is recognised by: the call it changes, and a word of its cause."""

    call: str
    words: tuple[str, ...]
    stage: str = "layers"
    is_layers: bool = True


MISTAKES = {
    "same padding": Mistake("strided", ("'same'",)),
    "no padding": Mistake("padded", ("left out",)),
    "turned kernel": Mistake("conv", ("turned by 180",), stage="weights"),
    "transposed kernel": Mistake("conv", ("height and width exchanged",), stage="weights"),
    "swapped outputs": Mistake("conv", ("another order",), stage="weights"),
    "bgr": Mistake("first", ("BGR",), stage="weights"),
    "epsilon": Mistake("norm", ("epsilon were 0.001",)),
    "fresh statistics": Mistake("norm", ("never loaded",), stage="weights"),
    "momentum": Mistake("norm", ("took 0.01 of the new ones",), stage="architecture"),
    "lost activation": Mistake("act", ("were missing",), is_layers=False),
    "leaky": Mistake("act", ("LeakyReLU",), is_layers=False),
    "silu": Mistake("act", ("SiLU",), is_layers=False),
    "relu6 or not": Mistake("act", ("ReLU6", "a ReLU"), is_layers=False),
    "extra relu": Mistake("linear", ("there were a ReLU",), is_layers=False),
    "early activation": Mistake("norm act", ("came before",), is_layers=False),
    "max for average": Mistake("avg", ("max-pooling",), is_layers=False),
    "average for max": Mistake("max", ("average",), is_layers=False),
    "smaller pool": Mistake("max", ("pool_size (2, 2)",), is_layers=False),
    "pool padded same": Mistake("padded max", ("'same'",), is_layers=False),
    "no bias": Mistake("dense", ("no bias",), stage="architecture"),
    "unpermuted rows": Mistake("flat", ("channels first",), stage="weights"),
    "dropout rate": Mistake("dropout", ("dropout",), stage="architecture", is_layers=False),
    "lost dropout": Mistake("dropout", ("dropout",), stage="architecture", is_layers=False),
    "layer norm epsilon": Mistake("layer norm", ("epsilon were 0.001",)),
    "gelu": Mistake("gelu", ("tanh approximation",), is_layers=False),
    "heads": Mistake("attention", ("heads, where PyTorch has",)),
    "unscaled scores": Mistake("attention", ("were not divided by the root",)),
    "query and key": Mistake("attention", ("were its key_weight",), stage="weights"),
    "softmax": Mistake("end", ("softmax",), stage="logits", is_layers=False),
}


@dataclass
class Builder:
    """Keras layers with PyTorch's meaning, one of them mutated.

    Attributes:
        weights: PyTorch's state_dict as arrays.
        mutation: The mistake.
        counts: Calls so far in which a mistake of each kind could happen.
        place: PyTorch's name of the mutated layer, or of the layer after the mutated operation.
    """

    weights: dict
    mutation: Mutation = field(default_factory=Mutation)
    counts: dict = field(default_factory=dict)
    place: str = ""
    loads: list = field(default_factory=list)
    _open: bool = False

    def hit(self, call, name=""):
        """The kind of the mutation if this call has it; the place is noted."""
        found = ""
        for kind, mistake in MISTAKES.items():
            if mistake.call == call:
                number = self.counts.get(kind, 0)
                self.counts[kind] = number + 1
                if (kind, number) == (self.mutation.kind, self.mutation.number):
                    found = kind
        if found and name:
            self.place = name
        elif found:
            self._open = True
        return found

    def _layer(self, layer, name, kinds, change):
        """Names the next place, and keeps what is to be loaded."""
        if self._open:
            self.place, self._open = name, False
        arrays = [change(short, self.weights[f"{name}.{short}"]) for short in kinds]
        self.loads.append((layer, arrays))
        return layer

    def conv(  # noqa: C901 - one mistake of each kind
        self, x, name, filters, size, *, stride=1, padding=0, groups=1, bias=False
    ):
        from keras import layers

        channels = x.shape[-1]
        mistakes = [self.hit("conv", name)]
        if channels == 3:
            mistakes.append(self.hit("first", name))
        if padding:
            mistakes.append(self.hit("padded", name) if stride == 1 else self.hit("strided", name))
        kind = next(filter(None, mistakes), "")
        if kind in ("turned kernel", "transposed kernel") and size == 1:
            raise ValueError(f"{name}: a kernel of one pixel has no other side")
        options = {"use_bias": bias, "name": name.replace(".", "_"), "strides": stride}
        if kind == "same padding":
            options["padding"] = "same"
        elif padding and kind != "no padding":
            x = layers.ZeroPadding2D(padding)(x)
        if groups == channels and groups > 1:
            layer = layers.DepthwiseConv2D(size, **options)
        else:
            layer = layers.Conv2D(filters, size, groups=groups, **options)
        depthwise = groups == channels and groups > 1

        def change(short, array):
            if short == "bias":
                return array[[1, 0, *range(2, len(array))]] if kind == "swapped outputs" else array
            array = {
                "turned kernel": lambda a: a[:, :, ::-1, ::-1],
                "transposed kernel": lambda a: a.swapaxes(2, 3),
                "swapped outputs": lambda a: a[[1, 0, *range(2, len(a))]],
                "bgr": lambda a: a[:, ::-1],
            }.get(kind, lambda a: a)(array)
            return array.transpose(2, 3, 0, 1) if depthwise else array.transpose(2, 3, 1, 0)

        return self._layer(layer, name, ("weight", "bias")[: 1 + bias], change)(x)

    def norm(self, x, name, *, followed=False):
        from keras import layers

        kind = self.hit("norm", name)
        early = self.hit("norm act", name) if followed else ""
        if early:
            x = layers.ReLU(max_value=6 if followed == "relu6" else None)(x)
        layer = layers.BatchNormalization(
            epsilon=1e-3 if kind == "epsilon" else 1e-5,
            momentum=0.99 if kind == "momentum" else 0.9,
            name=name.replace(".", "_"),
        )
        shorts = ("weight", "bias", "running_mean", "running_var")

        def change(short, array):
            fresh = {"running_mean": np.zeros_like, "running_var": np.ones_like}
            return fresh[short](array) if kind == "fresh statistics" and short in fresh else array

        call = self._layer(layer, name, shorts, change)
        x = call(x)
        return self.act(x, followed) if followed and not early else x

    def linear(self, x):
        """The tensor, which no activation follows."""
        from keras import layers

        return layers.ReLU()(x) if self.hit("linear") else x

    def act(self, x, name="relu"):
        from keras import layers

        kind = self.hit("act")
        if kind == "lost activation":
            return x
        if kind == "leaky":
            return layers.LeakyReLU(0.2)(x)
        if kind == "silu":
            return layers.Activation("silu")(x)
        largest = {"relu": None, "relu6": 6}[name]
        if kind == "relu6 or not":
            largest = None if largest else 6
        return layers.ReLU(max_value=largest)(x)

    def max_pool(self, x, size, stride, padding=0):
        from keras import layers, ops

        mistakes = [self.hit("max")] + ([self.hit("padded max")] if padding else [])
        kind = next(filter(None, mistakes), "")
        if kind == "smaller pool" and size == 2:
            raise ValueError("the pooling has this size already")
        if kind == "pool padded same":
            return layers.MaxPooling2D(size, stride, padding="same")(x)
        if kind == "average for max" and padding:
            x = layers.ZeroPadding2D(padding)(x)
        elif padding:
            sides = ((0, 0), (padding, padding), (padding, padding), (0, 0))
            x = ops.pad(x, sides, constant_values=-1e9)
        if kind == "average for max":
            return layers.AveragePooling2D(size, stride)(x)
        return layers.MaxPooling2D(2 if kind == "smaller pool" else size, stride)(x)

    def avg_pool(self, x, size):
        from keras import layers

        pool = layers.MaxPooling2D if self.hit("avg") else layers.AveragePooling2D
        return pool(size)(x)

    def global_pool(self, x):
        from keras import layers

        return layers.GlobalAveragePooling2D()(x)

    def dropout(self, x, rate):
        from keras import layers

        kind = self.hit("dropout")
        return x if kind == "lost dropout" else layers.Dropout(0.3 if kind else rate)(x)

    def dense(self, x, name, features, *, maps=None):
        from keras import layers

        mistakes = [self.hit("dense", name)] + (
            [self.hit("flat", name)] if maps and maps[1] > 1 else []
        )
        kind = next(filter(None, mistakes), "")
        layer = layers.Dense(features, name=name.replace(".", "_"), use_bias=kind != "no bias")

        def change(short, array):
            if short == "weight" and maps and kind != "unpermuted rows":
                array = array.reshape(len(array), *maps).transpose(0, 2, 3, 1)
            return array.reshape(len(array), -1).T if short == "weight" else array

        return self._layer(layer, name, ("weight", "bias")[: 1 + (kind != "no bias")], change)(x)

    def layer_norm(self, x, name):
        from keras import layers

        epsilon = 1e-3 if self.hit("layer norm", name) else 1e-6
        layer = layers.LayerNormalization(epsilon=epsilon, name=name.replace(".", "_"))
        return self._layer(layer, name, ("weight", "bias"), lambda _, array: array)(x)

    def gelu(self, x):
        import keras

        approximate = bool(self.hit("gelu"))
        return keras.layers.Lambda(lambda v: keras.activations.gelu(v, approximate=approximate))(x)

    def attention(self, x, name, heads):
        """A self-attention; PyTorch stacks the weights of query, key and value."""
        import keras

        kind, width = self.hit("attention", name), x.shape[-1]
        count = heads // 2 if kind == "heads" else heads
        size = width // count
        layer = keras.layers.MultiHeadAttention(count, size, name=name.replace(".", "_"))
        x = layer(x, x)
        if kind == "unscaled scores":
            layer._inverse_sqrt_key_dim = 1.0  # noqa: SLF001 - as an attention by hand forgets it
        parts = [self.weights[f"{name}.in_proj_{short}"] for short in ("weight", "bias")]
        rows = [part.reshape(3, width, *part.shape[1:]) for part in parts]
        if kind == "query and key":
            rows = [part[[1, 0, 2]] for part in rows]
        arrays = []
        for weight, bias in zip(*rows, strict=True):
            arrays += [weight.T.reshape(width, count, size), bias.reshape(count, size)]
        out = self.weights[f"{name}.out_proj.weight"].T.reshape(count, size, width)
        self.loads.append((layer, [*arrays, out, self.weights[f"{name}.out_proj.bias"]]))
        return x

    def add_parameter(self, x, name, short, join):
        """A weight of the model's own, joined with the tokens."""
        import keras

        array = self.weights[short]

        class Own(keras.layers.Layer):
            def build(self, _):
                self.own = self.add_weight(shape=array.shape, name="own")

            def call(self, x):
                return join(self.own, x)

        layer = Own(name=name)
        self.loads.append((layer, [array]))
        return layer(x)

    def end(self, images, x):
        """The model, with its weights."""
        import keras

        if self.hit("end"):
            x = keras.layers.Softmax()(x)
        if self._open:
            self.place = "output"
        model = keras.Model(images, x)
        for layer, arrays in self.loads:
            layer.set_weights(arrays)
        return model


def vgg(build, images):
    """VGG16 without its adaptive pooling, for maps of one pixel, and with a small classifier."""
    x, number = images, 0
    for width in (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", *(512, 512, 512, "M") * 2):
        if width == "M":
            x, number = build.max_pool(x, 2, 2), number + 1
        else:
            x = build.conv(x, f"features.{number}", width, 3, padding=1, bias=True)
            x, number = build.act(x), number + 2
    import keras

    height, width, channels = x.shape[1:]
    x = keras.layers.Flatten()(x)
    x = build.dense(x, "classifier.0", 64, maps=(channels, height, width))
    x = build.dropout(build.act(x), 0.5)
    return build.dense(x, "classifier.3", 10)


def resnet(build, images):
    """ResNet50: torchvision's, with the stride in the 3x3 convolution."""
    import keras

    x = build.conv(images, "conv1", 64, 7, stride=2, padding=3)
    x = build.max_pool(build.norm(x, "bn1", followed="relu"), 3, 2, 1)
    for stage, (blocks, width) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512)), 1):
        for block in range(blocks):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = build.norm(build.conv(x, f"{name}.conv1", width, 1), f"{name}.bn1", followed="relu")
            y = build.conv(y, f"{name}.conv2", width, 3, stride=stride, padding=1)
            y = build.norm(y, f"{name}.bn2", followed="relu")
            y = build.norm(build.conv(y, f"{name}.conv3", 4 * width, 1), f"{name}.bn3")
            if block == 0:
                x = build.conv(x, f"{name}.downsample.0", 4 * width, 1, stride=stride)
                x = build.norm(x, f"{name}.downsample.1")
            x = build.act(keras.layers.Add()([y, x]))
    return build.dense(build.global_pool(x), "fc", 10)


def mobilenet(build, images):
    """MobileNetV2: torchvision's."""
    import keras

    x = build.conv(images, "features.0.0", 32, 3, stride=2, padding=1)
    x, number = build.norm(x, "features.0.1", followed="relu6"), 1
    plan = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2))
    for factor, width, repeats, first in (*plan, (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)):
        for repeat in range(repeats):
            stride, channels, y = first if repeat == 0 else 1, x.shape[-1], x
            name, part = f"features.{number}.conv", 0
            if factor > 1:
                y = build.conv(y, f"{name}.0.0", factor * channels, 1)
                y, part = build.norm(y, f"{name}.0.1", followed="relu6"), 1
            wide = y.shape[-1]
            y = build.conv(y, f"{name}.{part}.0", wide, 3, stride=stride, padding=1, groups=wide)
            y = build.norm(y, f"{name}.{part}.1", followed="relu6")
            y = build.norm(build.conv(y, f"{name}.{part + 1}", width, 1), f"{name}.{part + 2}")
            same = stride == 1 and channels == width
            x, number = keras.layers.Add()([x, y]) if same else build.linear(y), number + 1
    x = build.norm(build.conv(x, "features.18.0", 1280, 1), "features.18.1", followed="relu6")
    x = build.dropout(build.global_pool(x), 0.2)
    return build.dense(x, "classifier.1", 10)


def densenet(build, images):
    """DenseNet121: torchvision's."""
    import keras

    x = build.conv(images, "features.conv0", 64, 7, stride=2, padding=3)
    x = build.max_pool(build.norm(x, "features.norm0", followed="relu"), 3, 2, 1)
    width = 64
    for stage, layers in enumerate((6, 12, 24, 16), 1):
        for layer in range(1, layers + 1):
            name = f"features.denseblock{stage}.denselayer{layer}"
            y = build.norm(x, f"{name}.norm1", followed="relu")
            y = build.norm(build.conv(y, f"{name}.conv1", 128, 1), f"{name}.norm2", followed="relu")
            y = build.conv(y, f"{name}.conv2", 32, 3, padding=1)
            x, width = keras.layers.Concatenate()([x, y]), width + 32
        if stage < 4:
            name, width = f"features.transition{stage}", width // 2
            x = build.norm(x, f"{name}.norm", followed="relu")
            x = build.avg_pool(build.conv(x, f"{name}.conv", width, 1), 2)
    x = build.norm(x, "features.norm5", followed="relu")
    return build.dense(build.global_pool(x), "classifier", 10)


def transformer(build, images):
    """VisionTransformer: torchvision's, with eight small blocks."""
    from keras import layers, ops

    def before(token, x):
        return ops.concatenate([ops.repeat(token, ops.shape(x)[0], axis=0), x], axis=1)

    x = build.conv(images, "conv_proj", 32, 8, stride=8, bias=True)
    x = layers.Reshape((-1, 32))(x)
    x = build.add_parameter(x, "class_token", "class_token", before)
    x = build.add_parameter(x, "encoder_pos_embedding", "encoder.pos_embedding", ops.add)
    for number in range(8):
        name = f"encoder.layers.encoder_layer_{number}"
        y = build.attention(build.layer_norm(x, f"{name}.ln_1"), f"{name}.self_attention", 4)
        x = layers.Add()([x, y])
        y = build.dense(build.layer_norm(x, f"{name}.ln_2"), f"{name}.mlp.0", 64)
        x = layers.Add()([x, build.dense(build.gelu(y), f"{name}.mlp.3", 32)])
    x = build.layer_norm(x, "encoder.ln")
    return build.dense(layers.Lambda(lambda v: v[:, 0])(x), "heads.head", 10)


PORTS = {
    "vgg16": vgg,
    "resnet50": resnet,
    "mobilenet_v2": mobilenet,
    "densenet121": densenet,
    "vit": transformer,
}
SIZE = 32
"""Height and width of the images in pixels."""


def network(name):
    """torchvision's network with random weights and statistics of trained sizes."""
    import torch
    import torchvision
    from torch import nn

    torch.manual_seed(0)
    if name == "vit":
        sizes = {"num_layers": 8, "num_heads": 4, "hidden_dim": 32, "mlp_dim": 64}
        model = torchvision.models.VisionTransformer(SIZE, 8, num_classes=10, **sizes)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        return model.eval()
    model = getattr(torchvision.models, name)(num_classes=10)
    if name == "vgg16":
        model.avgpool = nn.Identity()
        sizes = nn.Linear(512, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 10)
        model.classifier = nn.Sequential(*sizes)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.3, 1.5)
                # Values that a ReLU6 cuts, in the network that has it.
                module.weight.uniform_(*((2, 4) if name == "mobilenet_v2" else (0.6, 1.4)))
                module.bias.normal_(0, 0.3)
            elif isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                module.bias.normal_(0, 0.1)
    return model.eval()


def port(name, weights, mutation):
    """A port, and the Builder that made it."""
    import keras

    keras.utils.clear_session()
    images = keras.Input((SIZE, SIZE, 3))
    build = Builder(weights, mutation)
    return build.end(images, PORTS[name](build, images)), build


LIST = Path(__file__).with_name("mutations.csv")
"""Network, kind, number and place of each mistake, networks in turns."""


def listed(number):
    """The first mistakes of the list: network to mutations and the places that they have."""
    with LIST.open() as file:
        rows = [row for row in csv.reader(file) if row][:number]
    found = {}
    for name, kind, count, place in rows:
        found.setdefault(name, []).append((Mutation(kind, int(count)), place))
    return found


def chosen(name, number, rng):
    """Mistakes of one network: kinds in turns, each at a random place."""
    weights = {key: tensor.numpy() for key, tensor in network(name).state_dict().items()}
    counts = port(name, weights, Mutation())[1].counts
    kinds = [str(kind) for kind in rng.permutation(sorted(counts))]
    tried, found = Counter(), {}
    while len(found) < number:
        kind = kinds[sum(tried.values()) % len(kinds)]
        tried[kind] += 1
        mutation = Mutation(kind, int(rng.integers(counts[kind])))
        if mutation not in found:
            with suppress(ValueError):  # its maps get too small, or nothing changes
                found[mutation] = port(name, weights, mutation)[1].place
    return [(name, mutation.kind, mutation.number, place) for mutation, place in found.items()]


if __name__ == "__main__":
    rng = np.random.default_rng(18)
    rows = [chosen(name, int(sys.argv[1]) // len(PORTS), rng) for name in PORTS]
    csv.writer(sys.stdout).writerows(row for rank in zip(*rows, strict=True) for row in rank)
