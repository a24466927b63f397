"""Networks and recipes of the user's own: what a file may hold, and what each refusal says."""

import json
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alexnet_impl.cli import main
from alexnet_impl.cli.flags import TrainingOptions
from alexnet_impl.cli.parsing import parse
from alexnet_impl.cli.shared import run_config
from alexnet_impl.errors import (
    RecipeError,
    RecordError,
    SpecError,
    UnknownNameError,
    UserCodeError,
    WeightsError,
)
from alexnet_impl.explain.factors import Setting, aligned
from alexnet_impl.network.bodies import Body
from alexnet_impl.network.own_network import OwnNetwork, is_own, load_own_variant, own_variant
from alexnet_impl.network.spec import Conv, Dense, Dropout, Flatten, MaxPool, Relu, Spec, trace
from alexnet_impl.network.variants import Variant, build_spec
from alexnet_impl.recipe.named import RECIPES, TRANSFER_RECIPES
from alexnet_impl.recipe.recipe_file import choose_recipe
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.weights.initializers import initial_weights
from alexnet_impl.weights.matching import classes_of
from alexnet_impl.weights.metadata import (
    WeightsInfo,
    info_from_metadata,
    info_to_metadata,
    load_weights,
    save_weights,
)

pytestmark = pytest.mark.fast

NETS = """
from alexnet_impl.network.bodies import Body
from alexnet_impl.network.spec import Backbone, Conv, Dense, Flatten, GlobalAveragePool, Spec
from alexnet_impl.network.variants import Variant

tiny = Body(channels=(8, 16), pooled=(1, 2), hidden=(32,), dropout="after")
mine = Variant(source="mine", about="small", input_size=16, layers=tiny.layers)
cifar = tiny
VALUE = 7


def spec(*layers, size=8):
    return Spec(name="any", input_shape=(3, size, size), layers=layers)


def dense(*, num_classes, input_size, width):
    logits = Dense(name="logits", out_features=num_classes)
    hidden = Dense(name="hidden", out_features=int(8 * width))
    return spec(Flatten(name="flat"), hidden, logits, size=input_size)


def fixed():
    return spec(Flatten(name="flat"), Dense(name="logits", out_features=3))


def anything(**numbers):
    return dense(**numbers)


def raises(num_classes):
    return 1 / 0


def leaves():
    raise SystemExit(3)


def wrong():
    return [1]


def needy(depth):
    return fixed()


def odd(num_classes):
    hidden = Dense(name="hidden", out_features=2 * num_classes)
    return spec(Flatten(name="flat"), hidden, Dense(name="logits", out_features=num_classes))


def headless():
    return spec(Flatten(name="flat"))


def grey():
    layers = (Flatten(name="flat"), Dense(name="logits", out_features=3))
    return Spec(name="any", input_shape=(1, 8, 8), layers=layers)


def library():
    layers = (Backbone(name="backbone", architecture="vgg16"), GlobalAveragePool(name="mean"))
    return spec(*layers, Dense(name="logits", out_features=3), size=32)


def small():
    window = Conv(name="conv1", out_channels=4, kernel_size=9)
    return spec(window, Flatten(name="flat"), Dense(name="logits", out_features=3))


def fails_late(input_size, num_classes, scale):
    yield Flatten(name="flat")
    raise ValueError("no such layer")


late = Variant(source="mine", about="fails", input_size=16, layers=fails_late)
"""


@pytest.fixture
def place(tmp_path):
    """FILE.py:NAME of a name in the file above."""
    (tmp_path / "nets.py").write_text(NETS)
    return lambda name: f"{tmp_path / 'nets.py'}:{name}"


# ---- what a file may hold


@pytest.mark.parametrize(
    ("name", "input_size", "num_params"),
    [
        ("tiny", 32, 26_842),
        ("mine", 16, (3 * 9 + 1) * 8 + (8 * 9 + 1) * 16 + (16 * 3 * 3 + 1) * 32 + 33 * 10),
        ("dense", 32, 3073 * 8 + 9 * 10),
        ("anything", 32, 3073 * 8 + 9 * 10),
        ("fixed", 8, 193 * 10),
    ],
)
def test_function_body_and_variant_are_networks(place, name, input_size, num_params):
    own = load_own_variant(place(name))
    spec = own.build(num_classes=10)
    assert (spec.name, spec.input_shape) == (name, (3, input_size, input_size))
    assert trace(spec).num_params == num_params
    assert own.network().spec(name, 10) == spec


def test_own_network_takes_classes_size_width_and_changes(place):
    spec = load_own_variant(place("dense")).build(num_classes=7, input_size=4, width=2.0)
    assert [step.output_shape for step in trace(spec).layers] == [(48,), (16,), (7,)]
    changed = load_own_variant(place("tiny+no-dropout"))
    assert changed.name == "tiny+no-dropout"
    assert any(isinstance(layer, Dropout) for layer in changed.network().layers)
    spec = changed.network().spec(changed.name, 4)
    assert not any(isinstance(layer, Dropout) for layer in spec.layers)
    assert trace(spec).output_shape == (4,)


def test_edited_file_and_its_neighbours_are_read_anew(tmp_path):
    (tmp_path / "types.py").write_text("from beside import net")  # as a module of Python is named
    for features in (8, 16):
        text = f"from alexnet_impl.network.bodies import Body\nnet = Body(channels=({features},))"
        (tmp_path / "beside.py").write_text(text + "\n" * features)
        own = load_own_variant("types.py:net", tmp_path)
        assert own.loaded.value.channels == (features,)
        assert sys.modules["types"] is types


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("nothing", UserCodeError, "has no function nothing; it has .*tiny, mine"),
        ("VALUE", UserCodeError, "has no function VALUE"),
        (
            "raises",
            UserCodeError,
            r"ZeroDivisionError: division by zero \(nets.py, line 31",
        ),
        ("leaves", UserCodeError, r"it raised SystemExit: 3 \(nets.py, line 35\)"),
        ("wrong", UserCodeError, "returned a list; it must return a Spec."),
        ("needy", UserCodeError, "its parameter depth has no default; only num_classes, input_"),
        ("odd", SpecError, "more than the last layer changes; only its number of outputs"),
        ("headless", SpecError, "headless: its last layer is Flatten; it must be a Dense"),
        ("grey", SpecError, r"input_shape=\(1, 8, 8\) must be \(3, size, size\)."),
        ("library", SpecError, "has a Backbone; only the package's own variants may have one: vgg"),
        ("small", SpecError, "conv1: the map shrinks below 1"),
        (
            "late",
            UserCodeError,
            r"late: fails_late\(\): it raised ValueError: no such layer \(nets.py, line 72\)",
        ),
        ("cifar", SpecError, "cifar is a variant of this package; give your network another name"),
        ("tiny+no-such", UnknownNameError, "Unknown change of a variant 'no-such'"),
    ],
)
def test_file_without_a_network_is_refused(place, name, error, message):
    with pytest.raises(error, match=message):
        load_own_variant(place(name)).network()


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"width": 0.5}, "width=0.5, but the function takes no width; leave the width out"),
        ({"input_size": 64}, "reads images of 8 pixels, not input_size=64; leave that out"),
    ],
)
def test_number_that_the_function_does_not_take_is_refused(place, numbers, message):
    with pytest.raises(SpecError, match=message):
        load_own_variant(place("fixed")).network(**numbers)


def test_broken_and_missing_files_are_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.py").write_text("x = 1\ndef net(:\n")
    for given, told in [
        ("gone.py:net", f"alexnet: error: gone.py:net: no such file: {tmp_path / 'gone.py'}.\n"),
        ("nets.py", "'nets.py': does not say which network of the file is meant; write nets.py:N"),
        (
            "broken.py:net",
            "importing it failed: it raised SyntaxError: invalid syntax (broken.",
        ),
    ]:
        for command in (("describe", given), ("compare", "--variant", given)):
            assert main(list(command)) == 1
            said = capsys.readouterr().err
            assert told in said
            assert said.count("\n") == 1


def test_names_of_files_are_told_from_names_of_variants():
    assert [is_own(name) for name in ("cifar", "torchvision+no-dropout", "conv.py")] == [0, 0, 1]
    assert is_own("my.nets:net+no-dropout")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("torchvision:IMAGENET1K_V1", "IMAGENET1K_V1: is a name of weights, not of a network"),
        ("builtins:min", "builtins:min: .* has no parameters that can be read; it must be a Body"),
    ],
)
def test_weights_and_unreadable_functions_are_no_networks(place, message):
    with pytest.raises(UserCodeError, match=message):
        load_own_variant(place).network()


@pytest.mark.parametrize("network", [dict, 3])
def test_other_object_is_no_network(network):
    with pytest.raises(UserCodeError, match=r"m: .* has no parameters that can be read"):
        own_variant("m", network).build()


# ---- types of a user's layers


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"out_channels": 8.0}, r"mine: layers\[0\]: out_channels=8.0: expected int, got float."),
        ({"out_channels": "8"}, "out_channels='8': expected int, got str."),
        ({"kernel_size": (3, 3)}, r"kernel_size=\(3, 3\): expected int, got array."),
        ({"padding": 1}, r"padding=1: expected array, got int. Write padding=\(before, after\), s"),
        ({"name": None}, "name=None: expected str"),
    ],
)
def test_field_of_another_type_is_refused(fields, message):
    layer = Conv(**{"name": "conv1", "out_channels": 8, "kernel_size": 3} | fields)
    with pytest.raises(SpecError, match=message):
        own_of(layer).network()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"layers": ("conv1",)}, "mine: 'conv1' is no layer"),
        ({"layers": None}, "mine: layers=None: must be a tuple of layers."),
        ({"input_shape": 8}, "mine: input_shape: 8: expected array, got int."),
        ({"input_shape": (3, 8, 8.0)}, "mine: .*: expected int, got float"),
    ],
)
def test_spec_of_other_types_is_refused(values, message):
    layers = (Flatten(name="flat"), Dense(name="logits", out_features=3))
    spec = Spec(**{"name": "mine", "input_shape": (3, 8, 8), "layers": layers} | values)
    with pytest.raises(SpecError, match=message):
        own_variant("mine", lambda: spec).network()


def test_numbers_of_numpy_become_those_of_python():
    conv = Conv(
        name="c", out_channels=np.int64(8), kernel_size=3, padding=(np.int32(1), np.int32(1))
    )
    network = own_of(conv, Dropout(name="d", rate=np.float32(0.25))).network()
    assert OwnNetwork.from_json(json.loads(json.dumps(network.to_json()))) == network
    assert type(network.layers[0].out_channels) is int
    assert network.layers[1].rate == 0.25


def own_of(*layers):
    """A network of these layers, for images of 8 pixels."""
    end = (Flatten(name="flat"), Dense(name="logits", out_features=10))
    return own_variant(
        "mine",
        Variant(source="", about="", input_size=8, layers=lambda *_: (*layers, *end)),
    )


# ---- names


@pytest.mark.parametrize("name", ["", "small/../../esc", "../esc", ".hid", "-x", "a b", "a\n"])
def test_name_that_cannot_be_part_of_a_folders_name_is_refused(name):
    network = OwnNetwork(input_size=8, layers=(Flatten(name="flat"),))
    with pytest.raises(SpecError, match="cannot name a network; start with a letter, and use only"):
        own_variant(name, Body(channels=(8,)))
    with pytest.raises(SpecError, match="cannot name a network"):
        WeightsInfo(variant=name, num_classes=3, input_size=8, width=1.0, network=network)
    with pytest.raises(SpecError, match="cannot name a network"):
        replace(run_config(TrainingOptions(), "torch"), variant=name, network=network)


def test_change_after_a_name_is_checked_where_it_is_read(place):
    for name in ("my+net", "small+/../../esc"):
        with pytest.raises(UnknownNameError, match="Unknown change of a variant"):
            own_variant(name, Body(channels=(8,)))
    with pytest.raises(SpecError, match="cifar is a variant of this package"):
        own_variant("cifar+no-dropout", Body(channels=(8,)))
    own = load_own_variant(place("tiny"))
    assert own_variant("netz_1.b-c+no-dropout", own.loaded.value).build().name.startswith("netz")
    with pytest.raises(UnknownNameError, match="Unknown change of a variant 'zzz'"):
        own.network().spec("tiny+zzz", 10)


def test_weight_file_with_an_unknown_change_is_refused_by_name(place):
    network = load_own_variant(place("tiny")).network()
    info = WeightsInfo(variant="tiny", num_classes=3, input_size=32, width=1.0, network=network)
    metadata = info_to_metadata(info)
    for name in ("tiny+zzz", "a/b"):
        with pytest.raises(WeightsError, match=r"w.safetensors: its metadata is damaged"):
            info_from_metadata(metadata | {"variant": name}, Path("w.safetensors"))


# ---- kept as data


def test_config_keeps_the_network_and_not_the_file(place):
    _, given = parse(["train", "--variant", place("dense+no-dropout"), "--dataset", "digits"])
    config = run_config(given.options, "torch")
    assert (config.variant, config.width) == ("dense+no-dropout", 1.0)
    again = RunConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    assert hash(again) == hash(config)
    assert again.spec(5) == load_own_variant(place("dense+no-dropout")).build(num_classes=5)
    with pytest.raises(SpecError, match="was built for images of 32 pixels, not 64"):
        replace(config, recipe=replace(config.recipe, input_size=64)).spec(5)


def test_config_of_a_variant_reads_as_before():
    values = run_config(TrainingOptions(), "torch").to_dict()
    del values["network"]
    assert RunConfig.from_dict(values).spec(10) == build_spec("cifar", width=0.25)


def test_weight_file_keeps_the_network(place, tmp_path):
    own = load_own_variant(place("tiny"))
    spec = own.build(num_classes=3)
    info = WeightsInfo(
        variant="tiny", num_classes=3, input_size=32, width=1.0, network=own.network()
    )
    weights = initial_weights(spec, RECIPES["quick"])
    save_weights(tmp_path / "weights.safetensors", weights, info)
    _, found = load_weights(tmp_path / "weights.safetensors")
    assert found == info
    assert found.spec() == spec


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "expected an object with input_size and layers"),
        ({"input_size": 8}, "expected an object with input_size and layers"),
        ({"input_size": "8", "layers": []}, "input_size='8': expected an int"),
        ({"input_size": 8, "layers": 3}, "layers: expected a list, got int"),
        ({"input_size": 8, "layers": [{}]}, r"layers\[0\]: expected an object with the kind"),
        ({"input_size": 8, "layers": [{"kind": "Dnse"}]}, "Did you mean 'Dense'"),
        (
            {"input_size": 8, "layers": [{"kind": "Dense", "name": "a", "out_features": "3"}]},
            r"layers\[0\]: out_features='3': expected int",
        ),
    ],
)
def test_damaged_network_is_refused(values, message):
    with pytest.raises(RecordError, match=message):
        OwnNetwork.from_json(values)


def test_number_of_classes_of_a_file_is_found_from_its_shapes(place):
    own = load_own_variant(place("tiny"))
    weights = initial_weights(own.build(num_classes=3), RECIPES["quick"])
    assert classes_of(weights, own.build(num_classes=10)) == 3
    assert classes_of(weights, load_own_variant(place("mine")).build()) is None


def test_factors_of_explain_change_an_own_network(place):
    own = load_own_variant(place("tiny"))
    setting = Setting(variant="tiny", recipe=RECIPES["explain"], network=own.network())
    aligned_setting = aligned(setting)
    assert aligned_setting.variant == "tiny+dropout-before"
    names = [layer.name for layer in aligned_setting.spec().layers]
    assert names.index("dropout1") == names.index("fc1") - 1
    assert aligned_setting.network == setting.network


def test_dropout_at_another_place_stays_there():
    layers = (
        *(Conv(name="conv", out_channels=4, kernel_size=3), Dropout(name="drop", rate=0.2)),
        *(Flatten(name="flat"), Dense(name="fc1", out_features=4), Relu(name="relu")),
        Dense(name="logits", out_features=10),
    )
    network = OwnNetwork(input_size=8, layers=layers)
    with pytest.raises(SpecError, match="drop stands neither before a hidden dense layer nor aft"):
        network.spec("mine+dropout-before", 10)
    setting = Setting(variant="mine", recipe=RECIPES["explain"], network=network)
    assert aligned(setting).variant == "mine"


def test_networks_of_one_name_differ_in_their_digest(place):
    first = load_own_variant(place("dense")).network()
    wider = load_own_variant(place("dense")).network(width=2.0)
    assert first != wider
    assert first.digest != wider.digest
    assert first == load_own_variant(place("dense")).network()


# ---- bodies


def test_body_names_its_layers_in_order():
    body = Body(
        channels=(8, 16),
        kernel_sizes=(5, 3),
        conv1_stride=2,
        groups=(1, 2),
        lrn=(1,),
        pooled=(2,),
        pool_size=2,
        hidden=(32,),
        dropout="before",
        dropout_rate=0.2,
        linear_head=(6,),
    )
    layers = list(body.layers(16, 10, lambda count: count))
    assert [layer.name for layer in layers] == [
        *("conv1", "relu1", "norm1", "conv2", "relu2", "pool2"),
        *("flatten", "dropout1", "fc1", "relu3", "fc2", "fc3"),
    ]
    convolutions = [layer for layer in layers if isinstance(layer, Conv)]
    assert [(c.kernel_size, c.stride, c.padding, c.groups) for c in convolutions] == [
        (5, 2, (2, 2), 1),
        (3, 1, (1, 1), 2),
    ]
    assert layers[5] == MaxPool(name="pool2", kernel_size=2, stride=2)
    assert layers[7].rate == 0.2
    assert layers[-1] == Dense(name="fc3", out_features=10)
    assert layers[6] == Flatten(name="flatten")


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"kernel_sizes": (3,)}, r"kernel_sizes=\(3,\): must have a number for each of the 2 conv"),
        ({"groups": (1, 1, 1)}, r"groups=\(1, 1, 1\): must have a number for each of the 2"),
        ({"pooled": (3,)}, r"pooled=\(3,\): must name convolutions from 1 to 2."),
        ({"lrn": (0,)}, r"lrn=\(0,\): must name convolutions from 1 to 2."),
        ({"lrn": (1.5,)}, r"lrn=\(1.5,\): must name convolutions from 1 to 2."),
        ({"pooled": 1}, "pooled=1: must name convolutions from 1 to 2."),
        ({"hidden": (-3,)}, r"hidden=\(-3,\): must be a tuple of whole numbers of at least 1"),
        ({"hidden": 128}, "hidden=128: must be a tuple of whole numbers of at least 1"),
        ({"channels": (4.5, 8)}, r"channels=\(4.5, 8\): must be a tuple of whole numbers"),
        ({"kernel_sizes": ("3", 3)}, r"kernel_sizes=\('3', 3\): must be a tuple of whole"),
        ({"pool_size": 0}, "pool_size=0: must be a whole number of at least 1."),
        ({"conv1_stride": 1.5}, "conv1_stride=1.5: must be a whole number of at least 1."),
    ],
)
def test_body_refuses_numbers_of_other_convolutions(numbers, message):
    with pytest.raises(SpecError, match=message):
        Body(**{"channels": (8, 16)} | numbers)


def test_body_refuses_misspelled_words():
    with pytest.raises(UnknownNameError, match=r"Unknown dropout of a Body 'befor'. Did you mean"):
        Body(channels=(8,), dropout="befor")
    with pytest.raises(UnknownNameError, match=r"Unknown conv1_padding of a Body 'sane'. Did you"):
        Body(channels=(8,), conv1_padding="sane")
    assert Body(channels=(np.int64(8),), conv1_padding=(1, 2)).channels == (8,)


# ---- recipes


@pytest.fixture
def recipe(tmp_path):
    """Writes a recipe file and returns its path."""

    def write(text):
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return str(path)

    return write


def test_recipe_file_changes_the_fields_of_its_base(recipe):
    chosen = choose_recipe(
        recipe('base = "quick"\nlearning-rate = 1\nstep_at = [0.2, 0.4]\nlast_layer_std = "none"')
    )
    asked = {"learning_rate": 1.0, "step_at": (0.2, 0.4), "last_layer_std": None}
    assert chosen.recipe == replace(RECIPES["quick"], **asked)
    assert chosen.stated == ("learning_rate", "step_at", "last_layer_std")
    assert isinstance(chosen.recipe.learning_rate, float)


def test_recipe_file_has_phases_and_rate_factors_as_text_or_tables(recipe):
    table = (
        'base = "fine-tune"\n[[phases]]\nepochs = 5\ntrainable = "head"\n[[phases]]\nepochs = 5\n'
        "learning_rate = 0.0001\n[rate_factors]\nfc3 = 10"
    )
    found = choose_recipe(recipe(table)).recipe
    assert found.phases == TRANSFER_RECIPES["fine-tune-in-phases"].phases
    assert found.rate_factors == ("fc3=10",)
    text = 'phases = ["epochs=2,trainable=head"]\nrate_factors = ["fc3=10"]'
    assert choose_recipe(recipe(text)).recipe.phases == ("epochs=2,trainable=head",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr = 1", "mine.toml: Unknown recipe field 'lr'. Did you mean 'learning_rate'"),
        ('base = "quik"', "mine.toml: Unknown recipe 'quik'. Did you mean 'quick'"),
        ("base = 3", "mine.toml: base=3: must be the name of a recipe."),
        ('epochs = "3"', "mine.toml: epochs='3': expected int, got str"),
        ("epochs = 0", "mine.toml: epochs=0 must be at least 1."),
        ('optimizer = "adamm"', "mine.toml: Unknown optimizer 'adamm'. Did you mean 'adam'"),
        ("[[phases]]\nsteps = 3", "mine.toml: Unknown field of a phase 'steps'"),
        ("epochs = ", r"mine.toml: is no TOML \(Invalid value \(at (line 1|end of)"),
        ("seed = 2020-01-01", "mine.toml: seed="),
    ],
)
def test_recipe_file_that_is_not_valid_is_refused_by_name(recipe, text, message):
    with pytest.raises(RecipeError, match=message):
        choose_recipe(recipe(text))


def test_missing_recipe_file_is_refused(tmp_path):
    with pytest.raises(RecipeError, match=r"gone.toml: there is no such file; --recipe takes a n"):
        choose_recipe(str(tmp_path / "gone.toml"))


def test_flags_override_the_fields_of_a_recipe_file(recipe):
    path = recipe('base = "quick"\nepochs = 3\nseed = 4\ninput_scaling = "unit"')
    _, given = parse(["compare", "--recipe", path, "--recipe.epochs", "2"])
    asked = replace(RECIPES["quick"], epochs=2, seed=4, input_scaling="unit")
    assert given.options.recipe == asked
    assert given.options.given == ("epochs", "seed", "input_scaling", "epochs")
    _, given = parse(["bench", "torch", "--recipe", path])
    assert given.options.recipe == replace(asked, epochs=3)
