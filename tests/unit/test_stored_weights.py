"""Weights of other programs: the state_dict in a checkpoint, and the network that it fits."""

import itertools
import zipfile

import numpy as np
import pytest

from alexnet_impl.errors import UnknownNameError, WeightsError
from alexnet_impl.network.spec import weight_shapes
from alexnet_impl.network.variants import VARIANTS, build_spec
from alexnet_impl.processes.weight_files import Hints, read_network
from alexnet_impl.weights.matching import (
    find_fits,
    pairing_remark,
    spec_layers,
    to_network,
    torchvision_names,
    unpaired,
)
from alexnet_impl.weights.safetensors_io import write_safetensors
from alexnet_impl.weights.stored import (
    StoredWeights,
    common_prefix,
    find_state_dict,
    natural_key,
    ordered_by_numbers,
    strip_prefix,
)
from alexnet_impl.weights.wrong_files import refuse_wrong_file

pytestmark = pytest.mark.fast

KERNEL, BIAS = np.zeros((2, 3)), np.zeros(2)
STATE = {"fc1.weight": KERNEL, "fc1.bias": BIAS}
OPTIMIZER = {
    "state": {0: {"exp_avg": KERNEL, "step": np.array(1)}, 1: {"exp_avg": BIAS}},
    "param_groups": [{"lr": 0.1, "params": [0, 1]}],
}


def is_array(value):
    return isinstance(value, np.ndarray)


def found_in(content, key=None):
    return find_state_dict(content, is_array, key, "a.pt")


def arrays_of(spec, rename=lambda name: name):
    """Small distinct numbers in the shapes of a network."""
    rng = np.random.default_rng(0)
    return {
        rename(name): rng.standard_normal(shape).astype(np.float32)
        for name, shape in weight_shapes(spec).items()
    }


def foreign_names(spec):
    """Names of layers that no one else gives them."""
    names = [f"block{n}.{name}" for n, name in enumerate(("op", "norm") * 8)]
    return {
        f"{ours}.{short}": f"{theirs}.{short}"
        for ours, theirs in zip(spec_layers(spec), names, strict=False)
        for short in ("weight", "bias")
    }


# ---- the state_dict in a checkpoint


@pytest.mark.parametrize(
    "key", ["state_dict", "model", "model_state_dict", "network", "net", "state_dict_ema", "any"]
)
def test_the_one_state_dict_of_a_checkpoint_is_found_under_any_key(key):
    assert found_in({key: STATE, "epoch": 7, "optimizer": OPTIMIZER, "lr": [0.1]}) == (key, STATE)


def test_state_dict_of_a_nested_checkpoint_has_a_dotted_key():
    assert found_in({"trainer": {"best": {"model": STATE}}}) == ("trainer.best.model", STATE)


def test_plain_state_dict_has_no_key():
    assert found_in(STATE) == ("", STATE)
    assert found_in(STATE | {"epoch": 3}) == ("", STATE)


def test_lightning_checkpoint_has_one_state_dict():
    content = {"epoch": 3, "pytorch-lightning_version": "2.5.0", "state_dict": STATE}
    content |= {"optimizer_states": [OPTIMIZER], "lr_schedulers": [], "callbacks": {}, "loops": {}}
    assert found_in(content) == ("state_dict", STATE)


def test_two_state_dicts_are_refused_and_a_key_chooses():
    both = {"model": STATE, "model_ema": {"fc1.weight": KERNEL + 1, "fc1.bias": BIAS}, "epoch": 7}
    with pytest.raises(WeightsError) as caught:
        found_in(both)
    assert str(caught.value) == (
        "a.pt: holds 2 state_dicts, under 'model' and 'model_ema'; choose one with --key of "
        "convert, predict or evaluate, or save it alone: torch.save(torch.load('a.pt', "
        "weights_only=True)['model'], 'weights.pt')"
    )
    assert found_in(both, "model_ema")[1]["fc1.weight"][0, 0] == 1
    with pytest.raises(UnknownNameError, match=r"Unknown key in a.pt 'modle'. Did you mean 'model"):
        found_in(both, "modle")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([STATE], "a.pt: holds a list, not a state_dict."),
        ("text", "a.pt: holds a str, not a state_dict."),
        ({}, "a.pt: holds no state_dict, neither itself nor under one of its keys (none)."),
        (
            {"epoch": 3, "lr": 1},
            "holds no state_dict, neither itself nor under one of its keys (ep",
        ),
    ],
    ids=["list", "text", "empty", "numbers"],
)
def test_file_without_a_state_dict_is_refused(content, said):
    with pytest.raises(WeightsError) as caught:
        found_in(content)
    assert said in str(caught.value)


# ---- prefixes


@pytest.mark.parametrize(
    "prefix",
    [
        *("module.", "_orig_mod.", "model.", "net.", "a.b.c."),
        *("".join(pair) for pair in itertools.permutations(("module.", "_orig_mod."))),
    ],
)
def test_prefix_of_all_names_is_stripped_in_any_nesting(prefix):
    arrays = arrays_of(build_spec("cifar", width=1 / 64))
    found, stripped = strip_prefix({prefix + name: array for name, array in arrays.items()})
    assert found == prefix
    assert list(stripped) == list(arrays)


def test_counter_beside_an_averaged_model_does_not_hide_its_prefix():
    arrays = {"n_averaged": np.array(3), **{f"module.{n}": a for n, a in STATE.items()}}
    assert strip_prefix(arrays)[0] == "module."


@pytest.mark.parametrize(
    ("names", "prefix"),
    [
        (["fc1.weight", "fc1.bias"], ""),
        (["module.fc1.weight", "module.fc1.bias"], "module."),
        (["module.fc1.weight", "fc2.weight"], ""),
        (["features.0.weight", "classifier.1.weight"], ""),
        (["model1.a.weight", "model2.a.weight"], ""),
        (["weight"], ""),
        ([], ""),
    ],
    ids=str,
)
def test_name_of_a_layer_is_no_prefix(names, prefix):
    assert common_prefix(names) == prefix


def test_natural_order_counts():
    names = ["c_10", "c", "c_2", "c_007", "²", "d", "c_2.b"]
    assert sorted(names, key=natural_key) == ["c", "c_2", "c_2.b", "c_007", "c_10", "d", "²"]


# ---- the network that fits


@pytest.mark.parametrize("width", [1 / 256, 1 / 8, 0.1, 1 / 3, 1.0])
@pytest.mark.parametrize("variant", VARIANTS)
def test_variant_width_and_classes_are_found_from_the_shapes_in_any_order(variant, width):
    spec = build_spec(variant, num_classes=7, width=width)
    arrays = {n: np.broadcast_to(np.float32(0), shape) for n, shape in weight_shapes(spec).items()}
    fits = {fit.variant: fit for fit in find_fits(dict(reversed(arrays.items())), VARIANTS)}
    assert variant in fits
    for fit in fits.values():
        (size,) = fit.input_sizes if fit.variant == variant else fit.input_sizes[:1]
        again = build_spec(
            fit.variant, num_classes=fit.num_classes, width=fit.width, input_size=size
        )
        assert sorted(weight_shapes(again).values()) == sorted(weight_shapes(spec).values())
        assert fit.num_classes == 7
    assert fits[variant].width == pytest.approx(width, rel=0.07 if width < 0.1 else 1e-3)
    if width in (1 / 8, 0.1, 1.0):
        assert fits[variant].width == width


def test_input_size_that_the_shapes_leave_open_is_asked_for(tmp_path):
    spec = build_spec("slim", width=1 / 64, input_size=300)
    path = tmp_path / "a.safetensors"
    write_safetensors(path, arrays_of(spec), {})
    with pytest.raises(WeightsError, match=r"fits slim with images of 287 to 318 pixels; choose"):
        read_network(path, Hints())
    assert read_network(path, Hints(input_size=300)).info.input_size == 300


def test_torchvisions_own_names_mean_torchvision(tmp_path):
    spec = build_spec("torchvision", width=1 / 64, num_classes=3)
    names = torchvision_names(spec)
    path = tmp_path / "a.safetensors"
    write_safetensors(path, arrays_of(spec, names.get), {})
    found = read_network(path, Hints())
    assert (found.info.variant, found.info.num_classes, found.info.input_size) == (
        *("torchvision", 3),
        224,
    )
    assert found.pairing == ()
    ours = arrays_of(spec)
    assert all(np.array_equal(found.weights[name], ours[name]) for name in ours)
    # Without those names its shapes are also torchvision-same's.
    write_safetensors(path, arrays_of(spec, foreign_names(spec).get), {})
    with pytest.raises(WeightsError, match=r"several: torchvision, torchvision-same\. Choose"):
        read_network(path, Hints())


def test_other_names_are_paired_by_shape_and_order(tmp_path):
    spec = build_spec("slim", width=1 / 16, num_classes=5)  # conv4 and conv5 have one shape
    names = foreign_names(spec)
    path = tmp_path / "a.safetensors"
    write_safetensors(path, arrays_of(spec, names.get), {})
    found = read_network(path, Hints())
    assert {one.ours: one.theirs for one in found.pairing} == names
    assert found.pairing[0].shape == weight_shapes(spec)["conv1.weight"]
    ours = arrays_of(spec)
    assert all(np.array_equal(found.weights[name], ours[name]) for name in ours)


NAMES = ("stem", "second", "third", "fourth", "fifth", "fc6", "fc7", "fc8")
"""Names of slim's layers whose alphabetical order is not the network's."""


def test_layers_of_one_shape_whose_names_have_no_order_are_refused_in_safetensors(tmp_path):
    spec = build_spec("slim", width=1 / 16, num_classes=5)  # conv4 and conv5 have one shape
    names = dict(zip(spec_layers(spec), NAMES, strict=True))
    arrays = arrays_of(
        spec,
        lambda name: name.replace(
            name.partition(".")[0],
            names[name[:-7]] if name.endswith("weight") else names[name[:-5]],
        ),
    )
    write_safetensors(path := tmp_path / "a.safetensors", arrays, {})
    with pytest.raises(WeightsError) as caught:
        read_network(path, Hints())
    assert str(caught.value) == (
        f"{path}: keeps no order of its layers, so that fifth and fourth, both of shape "
        "(16, 16, 3, 3), could be exchanged. Name the layers as in `alexnet describe slim`, or "
        "give a .pt or .keras file, which keeps their order."
    )
    found, pairing = to_network(StoredWeights(arrays=arrays), spec, "a.pt")  # which has an order
    assert np.array_equal(found["conv4.weight"], arrays["fourth.weight"])
    (remark,) = pairing_remark(pairing)
    assert remark == (
        "names are not known: layers were paired by shape (stem as conv1, second as conv2, third "
        "as conv3, fourth as conv4, fifth as conv5, fc6 as fc1, fc7 as fc2, fc8 as fc3)"
    )


@pytest.mark.parametrize(
    ("first", "second", "ordered"),
    [
        ("features.8", "features.10", True),
        ("block1_conv2", "block2_conv1", True),
        ("conv2d", "conv2d_1", True),
        ("layers.conv2d.vars", "layers.conv2d_1.vars", True),
        ("block6.op", "block7.norm", True),
        ("fifth", "fourth", False),
        ("a.1", "b.2", False),
        ("x1_y", "x_y", False),
    ],
)
def test_names_are_ordered_where_a_number_tells_them_apart(first, second, ordered):
    assert ordered_by_numbers(first, second) is ordered


@pytest.mark.parametrize("short", ["scale", "alpha"])
def test_second_array_of_a_layer_does_not_take_the_place_of_its_bias(short):
    spec = build_spec("cifar", width=1 / 64)
    arrays = arrays_of(spec, lambda name: f"net_{name}")
    arrays[f"net_conv1.{short}"] = np.full_like(arrays["net_conv1.bias"], 7)
    assert find_fits(arrays, ["cifar"]) == []
    with pytest.raises(WeightsError, match=rf"net_conv1.{short} \(2,\) is the bias of no layer"):
        to_network(StoredWeights(arrays=arrays), spec, "a.pt")


def test_empty_array_is_named():
    assert unpaired({**STATE, "z.bias": np.zeros(0)}) == "z.bias (0,) is the bias of no layer"


def test_network_with_another_layer_fits_nothing():
    spec = build_spec("cifar", width=1 / 64)
    more = arrays_of(spec) | {"bn.weight": np.zeros(3), "bn.bias": np.zeros(3)}
    assert find_fits(more, VARIANTS) == []
    assert find_fits(arrays_of(spec) | {"fc4.weight": KERNEL, "fc4.bias": BIAS}, VARIANTS) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: a | {"bn.weight": np.zeros(3)}, "bn.weight (3,) is the bias of no layer, which"),
        (
            lambda a: a | {"bn.weight": np.zeros((3, 3))},
            "layer bn has no bias, which cifar has not",
        ),
        (
            lambda a: a | {"x.weight": np.zeros((2, 2)), "x.bias": np.zeros(2)},
            "x.weight (2, 2) is not a weight of cifar",
        ),
        (
            lambda a: {n: a[n] for n in list(a)[2:]},
            "no layer has the shape (2, 3, 3, 3) of conv1.weight in cifar; its first are",
        ),
    ],
    ids=["single", "no bias", "superfluous", "missing"],
)
def test_first_difference_of_other_names_is_named(change, said):
    spec = build_spec("cifar", width=1 / 64)
    arrays = change(arrays_of(spec, foreign_names(spec).get))
    with pytest.raises(WeightsError) as caught:
        to_network(StoredWeights(arrays=arrays), spec, "a.pt")
    assert str(caught.value).startswith("a.pt: ")
    assert said in str(caught.value)


def test_unknown_network_is_named_by_its_first_layers(tmp_path):
    path = tmp_path / "a.safetensors"
    write_safetensors(path, {"fc.weight": KERNEL, "fc.bias": BIAS}, {})
    with pytest.raises(WeightsError) as caught:
        read_network(path, Hints())
    assert str(caught.value) == (
        f"{path}: does not state its network, and its weights fit no variant (fc.weight (2, 3)). "
        "Name it with --variant to see the first difference; `alexnet variants` lists them."
    )


def test_numbers_against_the_shapes_are_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    write_safetensors(path, arrays_of(build_spec("cifar", width=1 / 64)), {})
    with pytest.raises(WeightsError, match=r"fc3.weight has shape \(10, 64\), but cifar needs \(7"):
        read_network(path, Hints(variant="cifar", width=1 / 64, num_classes=7))


def test_safetensors_file_has_no_keys(tmp_path):
    path = tmp_path / "a.safetensors"
    write_safetensors(path, STATE, {})
    with pytest.raises(WeightsError, match="has no keys; leave --key out"):
        read_network(path, Hints(key="model"))


# ---- numbers


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("float64", ("float64 was narrowed to float32",)),
        ("float16", ("float16 became float32",)),
        ("float32", ()),
    ],
)
def test_other_floats_become_float32_and_it_is_said(tmp_path, kind, said):
    path = tmp_path / "a.safetensors"
    arrays = arrays_of(build_spec("slim", width=1 / 64))
    write_safetensors(path, {n: a.astype(kind) for n, a in arrays.items()}, {})
    found = read_network(path, Hints())
    assert found.remarks == said
    for name, array in arrays.items():
        assert found.weights[name].dtype == np.float32
        assert np.array_equal(found.weights[name], array.astype(kind).astype(np.float32))


def test_number_beyond_float32_is_named():
    spec = build_spec("cifar", width=1 / 64)
    arrays = {name: array.astype(np.float64) for name, array in arrays_of(spec).items()}
    arrays["conv2.bias"][:2] = -1e300, np.inf
    with pytest.raises(WeightsError, match=r"conv2\.bias has a number of magnitude 1e\+300 in fl"):
        to_network(StoredWeights(arrays=arrays), spec, "a.pt")


def test_integers_are_no_weights():
    spec = build_spec("cifar", width=1 / 64)
    arrays = {name: array.astype(np.int8) for name, array in arrays_of(spec).items()}
    with pytest.raises(WeightsError, match=r"conv1\.weight has numbers of type int8; weights"):
        to_network(StoredWeights(arrays=arrays), spec, "a.pt")


def test_features_of_a_map_are_reordered_where_they_run_channels_last():
    spec = build_spec("cifar", width=1 / 64)
    arrays = arrays_of(spec)
    channels, side = 4, 3
    maps = arrays["fc1.weight"].reshape(-1, channels, side, side)
    last = arrays | {"fc1.weight": maps.transpose(0, 2, 3, 1).reshape(len(maps), -1)}
    found, _ = to_network(StoredWeights(arrays=last, channels_last=True), spec, "a.h5")
    assert np.array_equal(found["fc1.weight"], arrays["fc1.weight"])


# ---- what is no weight file


def test_git_lfs_pointer_is_named(tmp_path):
    path = tmp_path / "a.pth"
    path.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 2\n")
    with pytest.raises(WeightsError, match=r"is a Git LFS pointer of 126 bytes.* `git lfs pull`"):
        refuse_wrong_file(path)


@pytest.mark.parametrize(
    "text",
    [
        "<!DOCTYPE html><html><head><title>Virus scan warning</title></head></html>",
        "\n <!-- x -->\n<HTML lang='en'>\n<title>\nVirus scan warning </title>",
        "\ufeff<html><title>Virus scan warning</title>",
        "<head><title>Virus scan warning</title>",
        '<?xml version="1.0"?><!doctype HTML><title>Virus scan warning</title>',
    ],
)
@pytest.mark.parametrize("name", ["a.pt", "a.safetensors", "a.keras", "a.h5"])
def test_html_page_is_named_with_its_title(tmp_path, text, name):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(WeightsError, match=r"is an HTML page \('Virus scan warning'\), which"):
        read_network(path, Hints())


def test_saved_model_folder_is_named_with_the_remedy(tmp_path):
    with pytest.raises(WeightsError, match="is a folder; give the weight file in it"):
        refuse_wrong_file(tmp_path)
    (tmp_path / "saved_model.pb").touch()
    with pytest.raises(WeightsError, match=r"is a SavedModel folder.* model.save\('model.keras'\)"):
        refuse_wrong_file(tmp_path)


def test_torchscript_program_is_named_with_the_remedy(tmp_path):
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/constants.pkl", b"")
    with pytest.raises(WeightsError, match=r"TorchScript program.*torch.jit.load\('.*a.pt'\)"):
        refuse_wrong_file(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"<html5lib>", b"\x80\x02}q\x00."])
def test_other_bytes_are_left_to_the_reader(tmp_path, content):
    path = tmp_path / "a.pt"
    path.write_bytes(content)
    refuse_wrong_file(path)
