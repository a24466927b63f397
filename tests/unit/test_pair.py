"""A user's own pair without any framework: pairing, readings of mistakes, the checks."""

import json
from dataclasses import replace

import numpy as np
import pytest
from support.plain_model import FLATTEN, RELU, PlainModel, conv, dense

from alexnet_impl.errors import ParityError, UserCodeError
from alexnet_impl.frameworks.user_model import (
    Operation,
    UserModelFacts,
    call_by_name,
    feature_order,
    same_sides,
)
from alexnet_impl.parity.record import read_record, write_record
from alexnet_impl.ports.hypotheses import Hypothesis, rank, rows_apart
from alexnet_impl.ports.layer_hypotheses import order_of
from alexnet_impl.ports.pairing import PairedModel, pair_layers, whole_padding
from alexnet_impl.ports.request import PairRequest, parse_names
from alexnet_impl.ports.user_pair import compare_models
from alexnet_impl.typed_json import read, to_json

pytestmark = pytest.mark.fast


def model(*layers):
    return UserModelFacts(layers=layers, after=())


PAIR = (conv("c", 4, 3, 3, 3), dense("a", 8, 4), dense("b", 8, 8))


def names_of(pairs):
    return [(pair.torch.name, pair.tensorflow.name) for pair in pairs]


# --- the name map ---------------------------------------------------------------------------


def test_names_are_read_from_text_and_from_a_file(tmp_path):
    assert parse_names(None) == {}
    assert parse_names("conv1=c1, features.3=c2") == {"conv1": "c1", "features.3": "c2"}
    path = tmp_path / "names.json"
    path.write_text(json.dumps({"conv1": "c1"}))
    assert parse_names(str(path)) == {"conv1": "c1"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("conv1=c1,conv2", "--names conv2: is not a pair of names; --names reads torch_name=keras"),
        ("conv1=", "--names conv1=: is not a pair of names"),
        ("conv1=c1,conv1=c2", "--names conv1=c2: conv1 is paired with c1 already"),
        ("gone.json", "--names gone.json: no such file"),
    ],
)
def test_names_that_are_none_are_refused(text, message):
    with pytest.raises(ParityError, match=message):
        parse_names(text)


@pytest.mark.parametrize(
    ("content", "message"), [("{", "cannot be read"), ("[1]", "no object"), ('{"a": 1}', "no obj")]
)
def test_file_without_names_is_refused(tmp_path, content, message):
    path = tmp_path / "names.json"
    path.write_text(content)
    with pytest.raises(ParityError, match=message):
        parse_names(str(path))


# --- pairing --------------------------------------------------------------------------------


def test_equal_names_go_before_the_order():
    swapped = model(PAIR[0], replace(PAIR[2], name="a", shapes=PAIR[1].shapes), PAIR[2])
    assert names_of(pair_layers(model(*PAIR), swapped, {})) == [("c", "c"), ("a", "a"), ("b", "b")]


def test_other_names_are_paired_by_order():
    other = model(*(replace(layer, name=f"k{layer.name}") for layer in PAIR))
    assert names_of(pair_layers(model(*PAIR), other, {})) == [("c", "kc"), ("a", "ka"), ("b", "kb")]


def test_name_map_goes_before_the_order():
    other = model(
        replace(PAIR[0], name="x"), replace(PAIR[2], name="y"), replace(PAIR[1], name="z")
    )
    pairs = pair_layers(model(*PAIR), other, {"a": "z"})
    assert names_of(pairs) == [("c", "x"), ("a", "z"), ("b", "y")]
    assert [pair.label for pair in pairs] == ["c (x in Keras)", "a (z in Keras)", "b (y in Keras)"]


@pytest.mark.parametrize(
    ("tensorflow", "names", "message"),
    [
        (PAIR, {"d": "c"}, "--names d=c: the torch model has no layer with weights called d"),
        (PAIR, {"c": "d"}, "the tensorflow model has no layer with weights called d; it has c, a"),
        (PAIR, {"c": "a", "b": "a"}, "--names: a is given to two layers"),
        (
            PAIR[:2],
            {},
            r"model has 3 layers .* model 2\. .* in torch b \(dense \(8, 8\)\); in tensorflow none",
        ),
        (
            (PAIR[1], PAIR[0], PAIR[2]),
            {"c": "a", "a": "c"},
            r"c \(conv \(4, 3, 3, 3\)\) in torch and a \(dense \(8, 4\)\) in tensorflow are of",
        ),
        (
            (conv("c", 4, 3, 5, 5), *PAIR[1:]),
            {},
            r"c.weight has shape \(4, 3, 3, 3\) in torch, but c.weight in .* \(4, 3, 5, 5\) in the",
        ),
        (
            (conv("c", 4, 1, 3, 3, groups=3), *PAIR[1:]),
            {},
            r"\(4, 1, 3, 3\) in the same layout, with groups=1 and groups=3",
        ),
    ],
)
def test_what_does_not_fit_is_refused(tensorflow, names, message):
    with pytest.raises(ParityError, match=message):
        pair_layers(model(*PAIR), model(*tensorflow), names)


def test_map_that_keras_reads_unseen_counts_as_channels_last():
    ours = dense("fc", 8, 12, flattened=(3, 2, 2), features="channels-first")
    (pair,) = pair_layers(model(ours), model(dense("fc", 8, 12)), {})
    assert (pair.tensorflow.flattened, pair.tensorflow.features) == ((3, 2, 2), "channels-last")


POOL = Operation(
    kind="max_pool", name="pool", numbers={"size": (2, 2), "padding": ((0, 0), (1, 1))}
)


def test_facts_survive_json():
    facts = UserModelFacts(
        layers=(
            conv("c", 4, 3, 3, 3, before=(RELU, POOL), padding=((1, 2), (0, 1))),
            dense("a", 8, 12, flattened=(3, 2, 2), features="channels-last", frozen=("bias",)),
        ),
        after=(FLATTEN,),
    )
    assert read(UserModelFacts, json.loads(json.dumps(to_json(facts)))) == facts


# --- readings ---------------------------------------------------------------------------------


@pytest.fixture
def maps():
    return np.random.default_rng(0).standard_normal((2, 4, 9, 9))


def test_same_is_uneven_with_a_stride():
    assert same_sides((224, 227), (11, 11), (4, 4)) == ((3, 4), (4, 4))
    assert same_sides((9, 9), (3, 3), (1, 1), (2, 1)) == ((2, 2), (1, 1))


def test_feature_order_is_told_by_the_values(maps):
    last = maps.transpose(0, 2, 3, 1).reshape(2, -1)
    assert feature_order(maps, maps.reshape(2, -1)) == "channels-first"
    assert feature_order(maps, last) == "channels-last"
    assert feature_order(maps, last + 1) == ""
    assert feature_order(maps, last[:, 1:]) == ""


@pytest.mark.parametrize("order", [[1, 0, 2, 3], [3, 0, 1, 2]])
def test_order_of_the_outputs_is_found(maps, order):
    rows = maps.swapaxes(0, 1)
    assert order_of(rows, rows[order]).tolist() == order
    assert order_of(rows, rows) is None
    assert order_of(rows, rows[order] + 1) is None
    assert order_of(rows, rows[:2]) is None


def test_nearest_prediction_is_named_first():
    expected, observed = np.zeros((2, 3)) + 1.0, np.zeros((2, 3)) + 2.0
    values = {"far": 1.6, "near": 1.999, "exact": 2.0, "the same again": 2.0, "none": 1.0}
    guesses = [
        (Hypothesis(what=what, remedy="mend it", edits=()), np.zeros((2, 3)) + value)
        for what, value in values.items()
    ]
    guesses.append((Hypothesis(what="other shape", remedy="", edits=()), np.empty(0)))
    found = rank(expected, observed, guesses, noise=1e-12)
    assert [one.cause.what for one in found] == ["exact", "near"]
    assert found[0].cause.distance == 0
    assert [one.cause.what for one in rank(expected, observed, guesses[:1], noise=1e-12)] == ["far"]


def test_difference_is_relative_to_each_image():
    first = np.array([[1.0, 2.0], [100.0, 200.0]])
    assert rows_apart(first, first + np.array([[0.2], [0.2]])) == pytest.approx(0.1)
    assert rows_apart(first, first[:, :1]) == float("inf")
    assert rows_apart(np.zeros((2, 2)), np.zeros((2, 2))) == 0
    assert rows_apart(np.zeros((2, 2)), first) == float("inf")
    assert np.isnan(rows_apart(first, np.full((2, 2), np.nan)))


# --- the checks, over models in NumPy --------------------------------------------------------


def compared(tensorflow, torch=None, **flags):
    request = PairRequest(torch="ours", tensorflow="theirs", **flags)
    return compare_models(torch or PlainModel(), tensorflow, request)


def test_equal_models_hold_and_are_announced_check_by_check():
    heard = []
    request = PairRequest(torch="ours", tensorflow="theirs")
    record = compare_models(PlainModel(), PlainModel(), request, heard.append)
    assert record.holds
    assert tuple(heard) == record.checks
    assert [check.precision for check in heard][2:] == ["float64"] * 5
    assert list(record.series[0].losses) == ["torch", "tensorflow"]


def test_other_precision_is_said():
    record = compared(PlainModel(float64="no kernel for it"))
    assert record.checks[2].precision == "float32"
    assert record.checks[2].reason.endswith("; in float32: no kernel for it")


def test_rounding_in_float64_is_taken_for_float32():
    record = compared(PlainModel(noise=1e-8))
    assert record.holds
    assert record.checks[2].reason.endswith("still computes in float32")


def test_mismatch_ends_the_checks_at_the_logits():
    record = compared(PlainModel(relu=False))
    assert [check.name for check in record.checks][-1] == "logits"
    first = record.failures[0]
    assert (
        first.where
        == "the operations between conv and fc (PyTorch: relu, flatten; Keras: relu, flatten)"
    )
    assert first.causes[0].what == "the ReLU were missing"
    assert record.failures[1].where == "the layers above"


def test_record_has_the_differences_of_every_layer_and_of_the_output(tmp_path):
    torch, tensorflow = PlainModel(), PlainModel(relu=False)
    record = compared(tensorflow, torch)
    conv, fc, output = record.layers
    assert (conv.input, conv.output, conv.largest) == (0.0, 0.0, None)
    assert min(fc.input, fc.output, output.output) > 0.01
    assert output.input is None
    assert fc.before == {"torch": ("relu", "flatten"), "tensorflow": ("relu", "flatten")}
    # Without its ReLU the other model reads the most negative value, relative to its image.
    values = fc.largest.values
    assert values["torch"] == 0 > values["tensorflow"]
    write_record(tmp_path, record)
    assert repr(read_record(tmp_path).layers) == repr(record.layers)


def test_several_mistakes_are_found_in_one_comparison():
    tensorflow = PlainModel(relu=False)
    tensorflow.held["fc.bias"] = tensorflow.held["fc.bias"] + 1
    weights, layers, logits = compared(tensorflow, copy_weights="never").failures
    assert weights.where == "fc.bias"
    assert layers.causes[0].what == "the ReLU were missing"
    assert logits.where == "the layers above"


def test_frozen_weight_is_named():
    check = compared(PlainModel(frozen=("conv.bias",))).failures[0]
    assert (check.name, check.where, check.measured) == ("gradients", "conv.bias", float("inf"))
    assert str(check.causes[0]).startswith("tensorflow computes as if conv.bias were frozen")


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"broken": ["fc.bias"]}, "fc.bias"),
        ({"broken": ["fc.bias"], "seed": 1}, "fc.bias"),
        ({"broken": ["conv.weight", "fc.weight"]}, "conv.weight"),
    ],
    ids=["last bias of a port", "last bias of a fresh model", "every kernel"],
)
@pytest.mark.parametrize("copy", ["auto", "never"])
def test_nan_among_the_weights_fails_and_is_named(changes, where, copy):
    check = compared(PlainModel(**changes), copy_weights=copy).failures[0]
    assert (check.name, check.where) == ("weights", where)
    assert np.isnan(check.measured)
    assert str(check.causes[0]).startswith(f"tensorflow computes as if {where} held NaN")


def test_nan_in_pytorchs_weights_is_not_hidden_by_a_copy_that_was_asked_for():
    torch = PlainModel(broken=["fc.bias"])
    check = compared(PlainModel(seed=1), torch, copy_weights="always").failures[0]
    assert (check.name, check.where, check.causes[0].side) == ("weights", "fc.bias", "torch")


@pytest.mark.parametrize("side", ["torch", "tensorflow"])
def test_nan_among_the_gradients_fails_and_is_named(side):
    models = {"torch": PlainModel(), "tensorflow": PlainModel()}
    models[side].bad_gradient = "fc.bias"
    check = compared(models["tensorflow"], models["torch"]).failures[0]
    assert (check.name, check.where) == ("gradients", "fc.bias")
    assert np.isnan(check.measured)


def test_other_loss_is_found():
    record = compared(PlainModel(loss=1.5))
    assert [check.name for check in record.failures] == ["loss", "steps"]


def test_image_size_must_be_known():
    unknown = PlainModel()
    unknown.input_shape = None
    with pytest.raises(ParityError, match="declares no image size"):
        compared(unknown)


def test_model_without_layers_is_refused():
    empty = PlainModel()
    empty.layers = ()
    with pytest.raises(ParityError, match="the tensorflow model calls no layer with weights"):
        compared(empty)


def test_side_speaks_canonically_and_back():
    """A dense layer after a channels-last map, and a convolution after a padding layer."""
    pad = Operation(kind="pad", name="pad", numbers={"zeros": True, "sides": ((1, 2), (0, 1))})
    padded = conv("c", 4, 3, 3, 3, before=(RELU, pad), padding=((1, 1), (1, 1)))
    assert whole_padding(padded) == ((2, 3), (1, 2))
    fc = dense("fc", 2, 12, flattened=(3, 2, 2), features="channels-last")
    kernel = np.arange(24.0).reshape(2, 12)
    inner = PlainModel()
    inner.layers, inner.held = (fc,), {"fc.weight": kernel, "fc.bias": np.zeros(2)}
    side = PairedModel(inner, {"fc": fc})
    seen = side.weights()["fc.weight"]
    assert np.array_equal(seen[0].reshape(3, 2, 2), kernel[0].reshape(2, 2, 3).transpose(2, 0, 1))
    side.set_weights({"fc.weight": seen})
    assert np.array_equal(inner.held["fc.weight"], kernel)


# --- functions by name ----------------------------------------------------------------------


def test_user_module_is_found_where_the_user_stands(tmp_path):
    (tmp_path / "standing.py").write_text("import beside\ndef make(): return beside.VALUE")
    (tmp_path / "beside.py").write_text("VALUE = 7")
    assert call_by_name("standing:make", tmp_path) == 7
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "lying.py").write_text("import near\ndef make(): return near.VALUE")
    (tmp_path / "deep" / "near.py").write_text("VALUE = 8")
    assert call_by_name("deep/lying.py:make", tmp_path) == 8


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        (
            "needy",
            "import no_such_thing",
            "it raised ModuleNotFoundError: .*'no_such_thing' .needy",
        ),
        (
            "faulty",
            "1 / 0",
            r"importing it failed: it raised ZeroDivisionError: .* \(faulty.py, line 1",
        ),
        ("asking", "def make(size): pass", "it raised TypeError: make.. missing 1 .* without arg"),
    ],
)
def test_broken_module_is_refused_with_its_own_words(tmp_path, name, source, message):
    (tmp_path / f"{name}.py").write_text(source)
    with pytest.raises(UserCodeError, match=message):
        call_by_name(f"{name}:make", tmp_path)
