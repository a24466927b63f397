"""Canonical weights: initialization, and a file that is whole, exact and verified."""

import json
import math
import os
import re
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load_file, save_file
from support.strategies import specs

from alexnet_impl.errors import WeightsError
from alexnet_impl.files import replace_whole, write_bytes
from alexnet_impl.network.spec import (
    Conv,
    Dense,
    Dropout,
    Flatten,
    LocalResponseNorm,
    Relu,
    Spec,
    weight_shapes,
)
from alexnet_impl.network.variants import build_spec
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.weights import safetensors_io as weights_module
from alexnet_impl.weights.canonical import check_weights
from alexnet_impl.weights.initializers import initial_weights
from alexnet_impl.weights.metadata import WeightsInfo, load_weights, save_weights
from alexnet_impl.weights.safetensors_io import read_safetensors, read_stored, write_safetensors

pytestmark = pytest.mark.fast

SPEC = Spec(
    name="wide",
    input_shape=(4, 10, 10),
    layers=(
        Conv(name="conv1", out_channels=64, kernel_size=5),
        Relu(name="relu1"),
        Conv(name="conv2", out_channels=64, kernel_size=3, groups=2),
        Flatten(name="flatten"),
        Dense(name="fc1", out_features=40),
        Relu(name="relu2"),
        Dense(name="fc2", out_features=30),
    ),
)
INFO = WeightsInfo(variant="cifar", num_classes=10, input_size=32, width=0.1)

FAN_IN = {"conv1": 4 * 25, "conv2": 32 * 9, "fc1": 64 * 16, "fc2": 40}
"""Inputs that one output sums over; a grouped convolution sees its own group's channels."""
FAN_OUT = {"conv1": 64 * 25, "conv2": 64 * 9, "fc1": 40, "fc2": 30}
"""As Keras counts them: all output channels, also of a grouped convolution."""


def test_equal_weights_and_metadata_are_equal_bytes(tmp_path):
    arrays = {name: np.arange(3, dtype=kind) for name, kind in (("b", "f4"), ("a", "i8"))}
    metadata = {f'key "{number}" \\': "\x00\n\x7fä🙂\u2028" for number in range(8)}
    for path in (first := tmp_path / "first", second := tmp_path / "second"):
        write_safetensors(path, arrays, metadata)
    assert first.read_bytes() == second.read_bytes()
    found, stored = read_safetensors(first)
    assert stored == metadata
    assert [found[name].tolist() for name in "ab"] == [[0, 1, 2]] * 2


def draw(initializer, spec=SPEC, **values):
    return initial_weights(spec, Recipe(initializer=initializer, **values))


def assert_uniform(array, bound):
    """Flat on (-bound, bound): the ends are reached and the second moment is bound ** 2 / 3."""
    assert np.abs(array).max() <= bound
    assert np.abs(array).max() > bound * (1 - 20 / array.size)
    assert array.mean() == pytest.approx(0, abs=5 * bound / math.sqrt(3 * array.size))
    assert array.astype(float).std() == pytest.approx(bound / math.sqrt(3), rel=0.1)


def assert_normal(array, std):
    """N(0, std ** 2): mean, deviation, and the share within one deviation."""
    assert array.mean() == pytest.approx(0, abs=5 * std / math.sqrt(array.size))
    assert array.astype(float).std() == pytest.approx(std, rel=4 / math.sqrt(array.size))
    assert (np.abs(array) < std).mean() == pytest.approx(0.6827, abs=2.5 / math.sqrt(array.size))


@pytest.mark.parametrize("layer", FAN_IN)
def test_torch_default_is_uniform_by_fan_in_biases_too(layer):
    weights = draw("torch-default")
    bound = 1 / math.sqrt(FAN_IN[layer])
    assert_uniform(weights[f"{layer}.weight"], bound)
    assert_uniform(weights[f"{layer}.bias"], bound)


@pytest.mark.parametrize("layer", FAN_IN)
def test_keras_default_is_glorot_uniform_with_biases_0(layer):
    weights = draw("keras-default")
    assert_uniform(weights[f"{layer}.weight"], math.sqrt(6 / (FAN_IN[layer] + FAN_OUT[layer])))
    assert not weights[f"{layer}.bias"].any()


@pytest.mark.parametrize("layer", FAN_IN)
def test_he_is_normal_by_fan_in_with_biases_0(layer):
    weights = draw("he")
    assert_normal(weights[f"{layer}.weight"], math.sqrt(2 / FAN_IN[layer]))
    assert not weights[f"{layer}.bias"].any()


@pytest.mark.parametrize("layer", FAN_IN)
def test_paper_kernels_are_normal_of_deviation_a_hundredth(layer):
    assert_normal(draw("paper")[f"{layer}.weight"], 0.01)


def test_he_dirac_passes_channels_on_after_the_first_convolution():
    spec = build_spec("krizhevsky2012", width=1 / 8)
    he, dirac = draw("he", spec), draw("he-dirac", spec)
    layers = {layer.name: layer for layer in spec.layers if isinstance(layer, Conv)}
    changed = {name for name in he if not np.array_equal(he[name], dirac[name])}
    assert changed == {f"{name}.weight" for name in layers} - {"conv1.weight"}
    rng = np.random.default_rng(0)
    for name in ("conv2", "conv3"):  # of two groups, and of one
        groups, kernel = layers[name].groups, dirac[f"{name}.weight"]
        for half, filters in enumerate(np.split(kernel, groups)):
            own = np.split(he[f"{name}.weight"], groups)[half]
            count = min(len(filters), filters.shape[1])
            assert np.array_equal(filters[count:], own[count:])
            patch = rng.standard_normal(filters.shape[1:])
            answers = np.einsum("ocyx,cyx->o", filters[:count], patch)
            centre = filters.shape[-1] // 2
            np.testing.assert_array_equal(answers, patch[:count, centre, centre])


def test_paper_biases_are_1_where_section_5_says_so():
    weights = draw("paper", build_spec("krizhevsky2012", width=1 / 32))
    ones = {
        name.removesuffix(".bias")
        for name, array in weights.items()
        if name.endswith(".bias") and (array == 1).all()
    }
    zeros = {
        name.removesuffix(".bias")
        for name, array in weights.items()
        if name.endswith(".bias") and (array == 0).all()
    }
    assert ones == {"conv2", "conv4", "conv5", "fc1", "fc2"}
    assert zeros == {"conv1", "conv3", "fc3"}


@pytest.mark.parametrize(
    "initializer", ["torch-default", "keras-default", "paper", "he", "he-dirac"]
)
def test_last_layer_std_replaces_the_last_kernel_alone(initializer):
    usual, changed = draw(initializer), draw(initializer, last_layer_std=0.25)
    assert_normal(changed["fc2.weight"], 0.25)
    for name, array in usual.items():
        assert (name == "fc2.weight") != np.array_equal(array, changed[name])


def test_last_layer_std_may_be_0():
    assert not draw("he", last_layer_std=0.0)["fc2.weight"].any()


@given(specs(), st.sampled_from(["torch-default", "keras-default", "paper", "he", "he-dirac"]))
def test_initial_weights_fit_their_spec_in_order_and_in_float32(spec, initializer):
    weights = draw(initializer, spec)
    assert {name: array.shape for name, array in weights.items()} == weight_shapes(spec)
    assert list(weights) == list(weight_shapes(spec))
    assert {array.dtype for array in weights.values()} == {np.dtype(np.float32)}
    check_weights(weights, spec)


def test_initial_weights_are_the_same_bytes_for_the_same_seed():
    first, second = draw("he", seed=3), draw("he", seed=3)
    assert all(first[name].tobytes() == second[name].tobytes() for name in first)


def test_initial_weights_differ_by_seed_and_by_layer():
    first, second = draw("he", seed=3), draw("he", seed=4)
    kernels = [w[name] for w in (first, second) for name in w if name.endswith("weight")]
    scaled = [kernel.ravel()[:50] / kernel.std() for kernel in kernels]
    for place, one in enumerate(scaled):
        assert all(abs(np.corrcoef(one, other)[0, 1]) < 0.6 for other in scaled[:place])


def test_initial_weights_are_these_forever():
    """Published runs name their seed: what it stands for may not move with a refactoring."""
    kernel = draw("he", seed=1)["conv1.weight"].ravel()
    rng = np.random.default_rng([1, 0])
    expected = rng.standard_normal(kernel.shape) * math.sqrt(2 / 100)
    assert kernel.tolist() == expected.astype(np.float32).tolist()


def test_initial_weights_do_not_mind_layers_without_weights():
    extra = (
        LocalResponseNorm(name="norm1"),
        *SPEC.layers[:-1],
        Dropout(name="dropout1"),
        SPEC.layers[-1],
    )
    plain, extended = draw("he"), draw("he", replace(SPEC, layers=extra))
    assert all(np.array_equal(plain[name], extended[name]) for name in plain)


def test_initial_weights_of_a_layer_do_not_mind_the_sizes_of_others():
    """conv1 stays when the layers after it grow: each has a stream of its own."""
    wider = replace(SPEC, layers=(*SPEC.layers[:-1], Dense(name="fc2", out_features=99)))
    plain, other = draw("torch-default"), draw("torch-default", wider)
    for name in ("conv1.weight", "conv1.bias", "conv2.weight", "fc1.weight", "fc1.bias"):
        assert np.array_equal(plain[name], other[name])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder for all examples of a property; each overwrites the file."""
    return tmp_path_factory.mktemp("weights")


arrays = hnp.arrays(
    st.sampled_from([np.float32, np.float64, np.int64, np.uint8]),
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
)


@settings(max_examples=50)
@given(
    weights=st.dictionaries(st.text("abc.1", min_size=1), arrays, max_size=4),
    info=st.builds(
        WeightsInfo,
        variant=st.text('a"\\\0é日', max_size=8),
        num_classes=st.integers(1, 10**6),
        input_size=st.integers(1, 10**4),
        width=st.floats(0, 16),
    ),
)
def test_saved_weights_come_back_bit_for_bit(folder, weights, info):
    path = folder / "w.safetensors"
    save_weights(path, weights, info)
    loaded, found = load_weights(path)
    assert found == info
    assert set(loaded) == set(weights)
    for name, array in weights.items():
        assert loaded[name].dtype == array.dtype
        assert loaded[name].shape == array.shape
        assert loaded[name].tobytes() == array.tobytes()


def test_saved_weights_may_be_views_in_any_order(tmp_path):
    path = tmp_path / "w.safetensors"
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    save_weights(path, {"a": array.transpose(2, 0, 1), "b": array[:, ::-1]}, INFO)
    loaded, _ = load_weights(path)
    assert np.array_equal(loaded["a"], array.transpose(2, 0, 1))
    assert np.array_equal(loaded["b"], array[:, ::-1])


@pytest.fixture
def saved(tmp_path):
    """A good file of one small array."""
    path = tmp_path / "w.safetensors"
    save_weights(path, {"a": np.arange(100, dtype=np.float32)}, INFO)
    return path


def refusal_of(path):
    with pytest.raises(WeightsError) as caught:
        load_weights(path)
    return str(caught.value)


def test_weights_that_are_not_there_are_named(tmp_path):
    path = tmp_path / "none.safetensors"
    assert refusal_of(path) == f"{path}: there is no such file."


@pytest.mark.parametrize("size", [0, 4, 8, 50, 300, -1])
def test_truncated_weights_are_refused(saved, size):
    saved.write_bytes(saved.read_bytes()[:size])
    refusal = refusal_of(saved)
    assert refusal.startswith(f"{saved}: cannot be read as safetensors (")
    assert refusal.endswith("; it is truncated or damaged.")


@pytest.mark.parametrize(
    "content",
    [b"\x80\x04]q\x00.", b"PK\x03\x04" + bytes(100), b"x" * 500, struct.pack("<Q", 3) + b"{}}"],
    ids=["pickle", "zip", "text", "broken header"],
)
def test_files_of_another_kind_are_refused(tmp_path, content):
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    assert "cannot be read as safetensors" in refusal_of(path)


def test_a_folder_is_no_weight_file(tmp_path):
    assert refusal_of(tmp_path).startswith(f"{tmp_path}: cannot be read as safetensors (")


def write_raw(path, kind, data, shape):
    header = json.dumps({"a": {"dtype": kind, "shape": shape, "data_offsets": [0, len(data)]}})
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode() + data)


def test_numbers_that_numpy_has_not_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    write_raw(path, "F8_E4M3", bytes(4), [4])
    with pytest.raises(WeightsError, match=r"a type unknown to NumPy \(F8_E4M3\); give a file in"):
        read_safetensors(path)


def test_bfloat16_becomes_float32(tmp_path):
    path = tmp_path / "w.safetensors"
    bits = np.array([[0x3F80, 0xC000], [0x3E20, 0x7F80]], "<u2")
    write_raw(path, "BF16", bits.tobytes(), [2, 2])
    array = read_safetensors(path)[0]["a"]
    assert array.dtype == np.float32
    assert np.array_equal(array, [[1, -2], [0.15625, np.inf]])
    assert read_stored(path).remarks() == ("bfloat16 became float32",)


@pytest.mark.parametrize(
    ("metadata", "version"),
    [(None, None), ({"format": "pt"}, None), ({"schema_version": "2"}, "2")],
    ids=["no metadata", "of another program", "of a newer release"],
)
def test_weights_of_another_program_or_release_are_refused(tmp_path, metadata, version):
    path = tmp_path / "w.safetensors"
    save_file({"a": np.zeros(2, np.float32)}, path, metadata)
    assert refusal_of(path) == (
        f"{path}: schema_version is {version!r}, not '1'. It is not a weight file of this package, "
        "or of a newer release."
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"variant": None}, "'variant'"),
        ({"num_classes": None}, "'num_classes'"),
        ({"num_classes": "ten"}, "'ten'"),
        ({"input_size": "32.5"}, "'32.5'"),
        ({"width": "wide"}, "'wide'"),
        ({"class_names": '["a", "b"]'}, "2 class_names for "),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_damaged_metadata_is_refused(saved, change, said):
    array, metadata = read_safetensors(saved)
    changed = {name: value for name, value in (metadata | change).items() if value is not None}
    write_safetensors(saved, array, changed)
    refusal = refusal_of(saved)
    assert refusal.startswith(f"{saved}: its metadata is damaged (")
    assert said in refusal


def cifar_weights(**options):
    return initial_weights(build_spec("cifar", width=1 / 16, **options), Recipe())


CIFAR = build_spec("cifar", width=1 / 16)


def check_refusal(weights, spec=CIFAR):
    with pytest.raises(WeightsError) as caught:
        check_weights(weights, spec, where="w.pt")
    return str(caught.value)


@pytest.mark.parametrize(
    ("weights", "found"),
    [
        (lambda: cifar_weights(num_classes=7), "fc3.weight has shape (7, 256)"),
        (lambda: cifar_weights(input_size=64), "fc1.weight has shape (256, 784)"),
        (
            lambda: initial_weights(build_spec("torchvision", width=1 / 16), Recipe()),
            "conv1.weight has shape (4, 3, 11, 11)",
        ),
    ],
    ids=["other classes", "other input size", "other variant"],
)
def test_weights_of_another_network_are_refused_with_the_first_mismatch(weights, found):
    refusal = check_refusal(weights())
    assert refusal.startswith(f"w.pt: {found}, but cifar needs (")
    assert refusal.endswith(
        "; these are weights of another variant, width, input size or number of classes."
    )


def test_grouped_weights_do_not_fit_the_ungrouped_network():
    grouped = initial_weights(build_spec("krizhevsky2012", width=1 / 16), Recipe())
    ungrouped = build_spec("krizhevsky2012-ungrouped", width=1 / 16)
    assert check_refusal(grouped, ungrouped).startswith(
        "w.pt: conv2.weight has shape (16, 3, 5, 5), but krizhevsky2012-ungrouped needs "
        "(16, 6, 5, 5);"
    )


def test_a_missing_weight_is_named():
    weights = cifar_weights()
    del weights["conv2.bias"], weights["fc1.bias"]
    assert check_refusal(weights) == "w.pt: conv2.bias of shape (16,) is missing for cifar."


def test_a_superfluous_weight_is_named():
    weights = cifar_weights() | {"norm1.scale": np.zeros(1)}
    assert check_refusal(weights) == "w.pt: norm1.scale is not a weight of cifar."


class Killed(BaseException):
    """What stops a writer at once."""


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(saved, monkeypatch):
    before = saved.read_bytes()

    def half(arrays, path, metadata):  # noqa: ARG001 - safetensors' signature
        path.write_bytes(b"half")
        raise Killed

    monkeypatch.setattr(weights_module, "save_file", half)
    with pytest.raises(Killed):
        save_weights(saved, {"a": np.ones(3)}, INFO)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_writer_that_fails_makes_no_file(tmp_path):
    def fail(path):
        with replace_whole(path) as temporary:
            temporary.write_bytes(b"half")
            raise Killed

    with pytest.raises(Killed):
        fail(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_a_file_gets_its_name_when_it_is_whole(tmp_path):
    path = tmp_path / "new"
    with replace_whole(path) as temporary:
        temporary.write_bytes(b"whole")
        assert not path.exists()
        assert temporary.parent == path.parent
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    order = []
    fsync, rename = os.fsync, type(tmp_path).replace
    monkeypatch.setattr(os, "fsync", lambda number: (order.append("fsync"), fsync(number)))
    monkeypatch.setattr(
        type(tmp_path), "replace", lambda *paths: (order.append("replace"), rename(*paths))
    )
    write_bytes(tmp_path / "new", b"content")
    assert order == ["fsync", "replace"]


def test_safetensors_library_reads_every_kind_of_array(tmp_path):
    kinds = ["?", "i1", "u1", "i2", "u2", "f2", "i4", "u4", "f4", "i8", "u8", "f8", ">f4"]
    arrays = {kind: np.arange(6).reshape(2, 3).T.astype(kind) for kind in kinds}
    arrays |= {"scalar": np.array(7.0), "empty": np.zeros((0, 3))}
    write_safetensors(tmp_path / "a.safetensors", arrays, {})
    found = load_file(tmp_path / "a.safetensors")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype.newbyteorder("=")


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_files_have_the_rights_that_the_umask_leaves(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        save_weights(tmp_path / "w.safetensors", {"a": np.ones(3)}, INFO)
        write_bytes(tmp_path / "bytes", b"")
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"w.safetensors": mode, "bytes": mode}


def test_loaded_names_are_those_of_the_file(saved):
    array, metadata = read_safetensors(saved)
    assert list(array) == ["a"]
    assert metadata == {
        "schema_version": "1",
        "variant": "cifar",
        "num_classes": "10",
        "input_size": "32",
        "width": "0.1",
        "input_scaling": "null",
        "resize_to": "null",
        "class_names": "[]",
    }
    assert re.fullmatch(r"[\d.]+", metadata["width"])
