"""A user's own pair: a right port passes, and each classical mistake is named with its layer."""

import sys

import pytest

from alexnet_impl.errors import AlexNetError, ParityError
from alexnet_impl.frameworks import get_framework
from alexnet_impl.ports.request import PairRequest
from alexnet_impl.ports.user_pair import compare_models

pytestmark = [pytest.mark.torch, pytest.mark.tensorflow]
fast, slow = pytest.mark.fast, pytest.mark.slow

SOURCE = '''
"""A small network of AlexNet's kind and its port, with one mistake a function."""

def net(dropout=0.5):
    from collections import OrderedDict
    import torch
    from torch import nn
    print("a user's function may print")
    torch.manual_seed(0)
    return nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(3, 8, 5, stride=2, padding=2),
        relu1=nn.ReLU(inplace=True),
        norm1=nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0),
        pool1=nn.MaxPool2d(3, 2),
        conv2=nn.Conv2d(8, 6, 3, padding=1),
        relu2=nn.ReLU(inplace=True),
        pool2=nn.MaxPool2d(2, 2),
        flatten=nn.Flatten(),
        dropout=nn.Dropout(dropout),
        fc1=nn.Linear(24, 12),
        relu3=nn.ReLU(inplace=True),
        fc2=nn.Linear(12, 10),
    ))

def port(*, conv1="explicit", alpha=1e-4 / 5, radius=2, pool="valid", relu="relu", end=None,
         bgr=False, weights=None, names=("conv1", "conv2", "fc1", "fc2")):
    import keras, numpy as np, tensorflow as tf
    layers = keras.layers
    print("and so may the other")

    def norm(x):
        squares = tf.pad(x**2, ((0, 0), (0, 0), (0, 0), (radius, radius)))
        total = sum(squares[..., i : i + 8] for i in range(2 * radius + 1))
        return x / (2.0 + alpha * total) ** 0.75

    model = keras.Sequential([
        keras.Input((18, 18, 3)),
        *([layers.Lambda(lambda x: x[..., ::-1])] if bgr else []),
        *([layers.ZeroPadding2D(2)] if conv1 == "explicit" else []),
        layers.Conv2D(8, 5, strides=2, padding="same" if conv1 == "same" else "valid",
                      activation="relu", name=names[0]),
        layers.Lambda(norm),
        layers.MaxPooling2D(3, 2, padding=pool),
        layers.Conv2D(6, 3, padding="same", activation=relu, name=names[1]),
        layers.MaxPooling2D(2, 2),
        layers.Flatten(),
        layers.Dropout(0.5),
        layers.Dense(12, activation="relu", name=names[2]),
        layers.Dense(10, activation=end, name=names[3]),
    ])
    if weights is not None:
        for name, tensor in net().state_dict().items():
            layer, short = name.split(".")
            array = tensor.numpy()
            if short == "weight":
                array = weights.get(layer, RIGHT[layer])(array)
            getattr(model.get_layer(layer), "kernel" if short == "weight" else "bias").assign(array)
    return model

RIGHT = {
    "conv1": lambda w: w.transpose(2, 3, 1, 0),
    "conv2": lambda w: w.transpose(2, 3, 1, 0),
    "fc1": lambda w: w.reshape(12, 6, 2, 2).transpose(0, 2, 3, 1).reshape(12, 24).T,
    "fc2": lambda w: w.T,
}

def right(): return port(weights={})
def fresh(): return port()
def same_padding(): return port(conv1="same")
def no_padding(): return port(conv1="valid")
def alpha_whole(): return port(alpha=1e-4)
def radius_is_window(): return port(radius=5)
def pool_same(): return port(pool="same")
def no_relu(): return port(relu=None)
def softmax(): return port(weights={}, end="softmax")
def flips_colours(): return port(bgr=True)
def plain_rows(): return port(weights={"fc1": lambda w: w.T})
def turned(): return port(weights={"conv1": lambda w: w.T, "conv2": lambda w: w.T})
def bgr_kernel(): return port(weights={"conv1": lambda w: w[:, ::-1].transpose(2, 3, 1, 0)})
def other_names(): return port(names=("c1", "c2", "d1", "d2"))
def other_dropout(): return net(0.25)

def subclassed():
    import keras
    class Port(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = port()
        def call(self, images):
            return self.inner(images)
    return Port()

def functions():
    import torch
    from torch import nn
    from torch.nn import functional as F
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.c1, self.bn = nn.Conv2d(3, 8, 5, 2, 2), nn.BatchNorm2d(8)
            self.c2, self.fc = nn.Conv2d(8, 8, 3, padding=1, groups=2), nn.Linear(72, 10)
        def forward(self, x):
            x = F.max_pool2d(F.relu(self.bn(self.c1(x))), 3, 1)
            x = F.max_pool2d(torch.relu(self.c2(x)), 2, ceil_mode=False)
            return F.log_softmax(self.fc(x.view(x.size(0), -1)), dim=1)
    torch.manual_seed(1)
    net = Net()
    net.bn.running_mean.uniform_(-1, 1)
    net.bn.running_var.uniform_(0.5, 2)
    return net

def graph(epsilon=1e-3, end=True):
    import keras
    layers, ops = keras.layers, keras.ops
    images = x = keras.Input((18, 18, 3))
    x = layers.Conv2D(8, 5, 2, name="c1")(layers.ZeroPadding2D(2)(x))
    x = ops.relu(layers.BatchNormalization(epsilon=epsilon, name="bn", momentum=0.9)(x))
    x = layers.MaxPooling2D(3, 1)(x)
    x = layers.Conv2D(8, 3, padding="same", groups=2, name="c2", activation="relu")(x)
    x = ops.reshape(layers.MaxPooling2D()(x), (-1, 72))
    x = layers.Dense(10, name="fc")(x)
    return keras.Model(images, ops.log_softmax(x) if end else x)

def graph_right(): return graph(1e-5)
def graph_logits(): return graph(1e-5, end=False)

def raises(): return {}["gone"]
def no_model(): return [1, 2]
VALUE = 3
'''

MISTAKES = {
    "same_padding": (
        "layers",
        "conv1",
        "padding were TensorFlow's 'same', (1, 2), where PyTorch's is 2",
    ),
    "alpha_whole": (
        "layers",
        "the operations between conv1 and conv2",
        "normalisation were not divided by its window",
    ),
    "radius_is_window": (
        "layers",
        "the operations between conv1 and conv2",
        "5 for a radius: a window of 11",
    ),
    "pool_same": (
        "layers",
        "the operations between conv1 and conv2",
        "the max-pooling had padding 'same'",
    ),
    "no_relu": ("layers", "the operations between conv2 and fc1", "the ReLU were missing"),
    "softmax": (
        "logits",
        "the operations between fc2 and the output",
        "its last layer were followed by a softmax",
    ),
    "flips_colours": (
        "layers",
        "the operations between the images and conv1",
        "it read BGR images",
    ),
    "plain_rows": ("weights", "fc1.weight", "the rows of its kernel were not permuted"),
    "turned": ("weights", "conv1.weight", "had height and width exchanged, as w.T leaves them"),
    "bgr_kernel": ("weights", "conv1.weight", "read BGR images"),
}
"""The Keras function with a mistake: the check that fails first, where, and what is said."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("port")
    (folder / "users_nets.py").write_text(SOURCE)
    yield folder
    sys.modules.pop("users_nets", None)


@pytest.fixture
def compare(folder):
    """Compare two functions of the user's module in this process."""

    def compare(tensorflow, torch="net", announce=lambda _: None, **flags):
        models = [
            get_framework(name).load_model(f"users_nets:{function}", folder)
            for name, function in (("torch", torch), ("tensorflow", tensorflow))
        ]
        request = PairRequest(torch=torch, tensorflow=tensorflow, **flags)
        return compare_models(*models, request, announce)

    return compare


@pytest.mark.slow
def test_right_port_holds_on_every_check_in_float64(compare):
    record = compare("right")
    assert [str(check) for check in record.failures] == []
    assert [(check.name, check.precision) for check in record.checks] == [
        ("architecture", ""),
        ("weights", "float32"),
        *((name, "float64") for name in ("layers", "logits", "loss", "gradients", "steps")),
    ]


class FirstFailureError(Exception):
    """Ends a comparison whose further checks are not asked for."""


def stop_at_failure(check):
    if not check.holds:
        raise FirstFailureError(check)


@slow
@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_named_with_its_layer(compare, mistake):
    check, where, what = MISTAKES[mistake]
    with pytest.raises(FirstFailureError) as caught:
        compare(mistake, announce=stop_at_failure)
    first = caught.value.args[0]
    assert first.name == check
    assert first.where == where or first.where.startswith(f"{where} (")
    assert what in first.causes[0].what
    if check == "weights":
        return
    assert first.causes[0].distance < 1e-6


@slow
def test_fresh_weights_are_copied_and_the_check_says_so(compare):
    record = compare("fresh")
    assert record.holds
    assert record.checks[1].reason.endswith("as the two models' weights are unrelated")


@slow
def test_fresh_weights_stay_where_nothing_is_copied(compare):
    record = compare("fresh", copy_weights="never")
    weights, layers, _ = record.failures
    assert weights.where == "conv1.weight"
    assert weights.causes[0].what == "conv1.weight were unrelated"
    assert (layers.where, layers.causes[0].what) == ("conv1", "conv1 had other weights")


@slow
def test_wrongly_converted_weights_can_be_copied_over(compare):
    record = compare("turned", copy_weights="always")
    assert record.holds
    assert "copied into the Keras model, as asked" in record.checks[1].reason


@slow
def test_wrong_rows_are_seen_in_the_layer_too_where_nothing_is_copied(compare):
    _, layers, _ = compare("plain_rows", copy_weights="never").failures
    assert layers.where == "fc1"
    assert "the rows of its kernel were not permuted" in layers.causes[0].what


@slow
def test_mismatch_that_changes_the_shapes_below_is_found_where_it_begins(compare):
    """Without padding the maps shrink, and fc1 reads 6 features, not 24."""
    architecture, layers, logits = compare("no_padding").failures
    assert architecture.where == "fc1"
    assert "read 6 features, and not 24" in architecture.causes[0].what
    assert layers.where == "conv1"
    assert "padding were left out, 0, where PyTorch's is 2" in layers.causes[0].what
    assert logits.where == "the layers above"


@slow
def test_layers_of_other_names_are_paired_by_order_or_by_map(compare):
    assert compare("other_names").holds
    record = compare("other_names", names="conv1=c1,fc1=d1")
    assert record.holds


@slow
def test_other_dropout_is_found_without_training(compare):
    (first,) = compare("right", torch="other_dropout").failures
    assert (first.name, first.where) == ("architecture", "dropout before fc1")
    assert "in training dropout before fc1 were 0.5, where PyTorch has 0.25" in str(first.causes[0])


@slow
def test_subclassed_model_needs_its_image_size_and_stays_in_float32(compare):
    with pytest.raises(ParityError, match="declares no image size; give it with --image-size"):
        compare("subclassed")
    record = compare("subclassed", image_size=18, names="conv1=conv1")
    assert record.holds


@slow
def test_functions_and_graphs_are_read_as_modules_and_layers_are(compare):
    """F.relu and x.view on one side, keras.ops on the other, groups and a batch normalisation."""
    assert compare("graph_right", torch="functions").holds
    first = compare("graph", torch="functions").failures[0]
    assert first.where == "bn"
    assert first.causes[0].what == "bn's epsilon were 0.001, where PyTorch's is 1e-05"


@slow
def test_loss_is_compared_where_only_one_side_ends_in_a_log_softmax(compare):
    record = compare("graph_logits", torch="functions")
    (first,) = record.failures
    assert (first.name, first.causes[0].what) == ("logits", "the log-softmax were missing")
    assert record.checks[-1].name == "steps"


@fast
@pytest.mark.parametrize(
    ("framework", "place", "message"),
    [
        ("torch", "users_nets", "'users_nets': must have the form module:function"),
        ("torch", "no_such_nets:net", "no module no_such_nets is installed or in"),
        ("torch", "gone.py:net", "gone.py:net: no such file"),
        ("torch", "users_nets:nett", "users_nets has no function nett; it has .*net, port"),
        ("torch", "users_nets:VALUE", "users_nets has no function VALUE"),
        ("torch", "users_nets:raises", r"it raised KeyError: 'gone' \(users_nets.py, line \d+\)"),
        ("torch", "users_nets:no_model", "returned a list; it must return a torch.nn.Module"),
        ("torch", "users_nets:right", "returned a Sequential; it must return a torch.nn.Module"),
        ("tensorflow", "users_nets:net", "Sequential; it must return a Keras 3 keras.Model"),
    ],
)
def test_function_that_gives_no_model_is_refused(folder, framework, place, message):
    with pytest.raises(AlexNetError, match=message):
        get_framework(framework).load_model(place, folder)


@fast
def test_file_can_be_named_and_its_folder_is_not_left_behind(folder):
    before = list(sys.path)
    get_framework("torch").load_model("users_nets.py:net", folder)
    assert sys.path == before
