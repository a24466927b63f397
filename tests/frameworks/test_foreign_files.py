"""Weight files as other programs write them, and that reading one runs no code in it."""

import argparse
import io
import json
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from alexnet_impl.cli import main
from alexnet_impl.errors import UnknownNameError, WeightsError
from alexnet_impl.network.spec import weight_shapes
from alexnet_impl.network.variants import build_spec
from alexnet_impl.processes.weight_files import Hints, read_network
from alexnet_impl.weights.metadata import WeightsInfo, save_weights, store_info

torch_only, keras_only = pytest.mark.torch, pytest.mark.tensorflow

SPEC = build_spec("cifar", width=1 / 32)
HINTS = Hints(variant="cifar")


def random_weights(spec=SPEC):
    rng = np.random.default_rng(0)
    return {
        name: rng.standard_normal(shape).astype(np.float32) * np.float32(0.1)
        for name, shape in weight_shapes(spec).items()
    }


WEIGHTS = random_weights()


def assert_same(found, expected=WEIGHTS):
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == np.float32
        assert found[name].tobytes() == array.tobytes(), name


def tensors(prefix=""):
    import torch

    return {prefix + name: torch.from_numpy(array.copy()) for name, array in WEIGHTS.items()}


def saved(path, content, **options):
    import torch

    torch.save(content, path, **options)
    return path


def refusal_of(path, hints=HINTS):
    with pytest.raises(WeightsError) as caught:
        read_network(path, hints)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "weights_only=False" not in text
    assert "add_safe_globals" not in text
    return text


# ---- PyTorch


@torch_only
@pytest.mark.fast
@pytest.mark.parametrize(
    "prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model.net."]
)
def test_torch_state_dict_under_any_prefix_is_read(tmp_path, prefix):
    found = read_network(saved(tmp_path / "a.pt", tensors(prefix)), HINTS)
    assert_same(found.weights)
    assert (found.info.width, found.info.num_classes) == (1 / 32, 10)
    assert found.remarks == ((f"the prefix '{prefix}' was stripped",) if prefix else ())


@torch_only
@pytest.mark.fast
@pytest.mark.parametrize("name", ["a.ckpt", "a.pt", "a.bin", "a.pth.tar"])
def test_lightning_checkpoint_is_read_whatever_its_ending(tmp_path, name):
    content = {"epoch": 3, "pytorch-lightning_version": "2.5.0", "callbacks": {}, "loops": {}}
    content |= {"state_dict": tensors("model."), "optimizer_states": [], "lr_schedulers": []}
    found = read_network(saved(tmp_path / name, content), HINTS)
    assert_same(found.weights)
    assert found.remarks == (
        "the state_dict under 'state_dict' was taken",
        "the prefix 'model.' was stripped",
    )


@torch_only
@pytest.mark.fast
def test_key_chooses_between_two_state_dicts_of_a_file(tmp_path):
    content = {"model": tensors(), "model_ema": tensors(), "epoch": 7}
    path = saved(tmp_path / "a.pt", content)
    assert "holds 2 state_dicts, under 'model' and 'model_ema'; choose one" in refusal_of(path)
    assert_same(read_network(path, Hints(variant="cifar", key="model_ema")).weights)
    with pytest.raises(UnknownNameError, match="Did you mean 'model'"):
        read_network(path, Hints(variant="cifar", key="modle"))


@torch_only
@pytest.mark.fast
@pytest.mark.parametrize("old", [False, True], ids=["zip", "before PyTorch 1.6"])
def test_numpy_objects_in_a_checkpoint_are_harmless(tmp_path, old):
    content = {"state_dict": tensors(), "best_acc": np.float64(0.71), "step": np.int64(3)}
    content |= {"curve": np.arange(3), "rng": np.random.RandomState(0).get_state()}
    path = saved(tmp_path / "a.pt", content, _use_new_zipfile_serialization=not old)
    assert_same(read_network(path, HINTS).weights)


@torch_only
@pytest.mark.fast
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("float64", "float64 was narrowed to float32"),
        ("float16", "float16 became float32"),
        ("bfloat16", "bfloat16 became float32"),
    ],
)
def test_torch_floats_become_float32_and_it_is_said(tmp_path, kind, said):
    import torch

    converted = {name: tensor.to(getattr(torch, kind)) for name, tensor in tensors().items()}
    found = read_network(saved(tmp_path / "a.pt", converted), HINTS)
    assert found.remarks == (said,)
    assert_same(found.weights, {n: t.float().numpy() for n, t in converted.items()})


@torch_only
@pytest.mark.fast
def test_torch_network_of_other_names_is_paired_in_its_order(tmp_path):
    names = ("stem", "a.0", "a.1", "b.first", "b.second", "head.in", "head.mid", "head.out")
    stems = dict(zip(dict.fromkeys(name.partition(".")[0] for name in WEIGHTS), names, strict=True))
    renamed = OrderedDict()
    for name, tensor in tensors().items():
        layer, _, short = name.partition(".")
        renamed[f"net.{stems[layer]}.{short}"] = tensor
    found = read_network(saved(tmp_path / "a.pt", renamed), HINTS)
    assert_same(found.weights)
    assert [one.theirs for one in found.pairing][:4] == [
        *("stem.weight", "stem.bias"),
        *("a.0.weight", "a.0.bias"),
    ]
    assert [one.ours for one in found.pairing] == list(WEIGHTS)


@torch_only
@pytest.mark.fast
def test_safetensors_of_torch_in_bfloat16_is_read(tmp_path):
    import torch
    from safetensors.torch import save_file

    half = {name: tensor.bfloat16() for name, tensor in tensors("module.").items()}
    save_file(half, tmp_path / "a.safetensors")
    found = read_network(tmp_path / "a.safetensors", HINTS)
    assert found.remarks == ("the prefix 'module.' was stripped", "bfloat16 became float32")
    assert_same(found.weights, {n: half[f"module.{n}"].to(torch.float32).numpy() for n in WEIGHTS})


@torch_only
@pytest.mark.fast
@pytest.mark.parametrize("old", [False, True], ids=["zip", "before PyTorch 1.6"])
def test_class_in_a_torch_checkpoint_is_named_and_not_made(tmp_path, old):
    content = {"state_dict": tensors(), "args": argparse.Namespace(lr=0.1)}
    path = saved(tmp_path / "a.pt", content, _use_new_zipfile_serialization=not old)
    assert refusal_of(path) == (
        f"{path}: holds more than tensors: argparse.Namespace; no code in it was run. In the "
        "program that wrote it, save the weights alone: torch.save(model.state_dict(), "
        "'weights.pt')"
    )


@torch_only
@pytest.mark.fast
def test_whole_pickled_model_is_refused_with_the_remedy(tmp_path):
    import torch

    path = saved(tmp_path / "a.pt", torch.nn.Sequential(torch.nn.Linear(2, 2)))
    refusal = refusal_of(path)
    assert "is a whole pickled model (torch.nn.modules.container.Sequential)" in refusal
    assert refusal.endswith("torch.save(model.state_dict(), 'weights.pt')")


@torch_only
@pytest.mark.fast
def test_checkpoint_that_keeps_a_module_is_no_whole_model(tmp_path):
    import torch

    content = {"state_dict": tensors(), "hyper_parameters": {"loss": torch.nn.MSELoss()}}
    path = saved(tmp_path / "a.ckpt", content)
    assert "holds more than tensors: torch.nn.modules.loss.MSELoss; no code" in refusal_of(path)


@torch_only
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*is deprecated:FutureWarning")
def test_torchscript_file_is_refused_and_its_remedy_works(tmp_path):
    import torch

    module = torch.nn.Sequential()
    for name, array in WEIGHTS.items():
        layer, _, short = name.partition(".")
        if short == "weight":
            module.add_module(layer, torch.nn.Module())
        getattr(module, layer).register_parameter(
            short, torch.nn.Parameter(torch.from_numpy(array.copy()))
        )
    module.forward = lambda x: x
    path = tmp_path / "script.pt"
    torch.jit.trace(module, torch.zeros(1)).save(path)
    assert "is a TorchScript program, not a state_dict. Save its weights" in refusal_of(path)
    remedy = saved(tmp_path / "weights.pt", torch.jit.load(path).state_dict())
    assert_same(read_network(remedy, HINTS).weights)


class _Trap:
    """Unpickling it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@torch_only
@pytest.mark.fast
@pytest.mark.parametrize("name", ["a.pt", "a.ckpt", "a.bin", "a.pth.tar"])
def test_hostile_pickle_runs_nothing_under_any_ending_or_key(tmp_path, name):
    trap = tmp_path / "sprung"
    for content in (_Trap(trap), {"state_dict": tensors(), "best": _Trap(trap)}):
        refusal = refusal_of(saved(tmp_path / name, content))
        assert "io.open; no code in it was run" in refusal
        (tmp_path / name).write_bytes(pickle.dumps({"a": _Trap(trap)}))
        assert "no code in it was run" in refusal_of(tmp_path / name)
    assert not trap.exists()


@torch_only
@pytest.mark.fast
def test_numpys_own_functions_are_not_called_by_a_pickle(tmp_path, monkeypatch):
    """They would trust a file's word on the size and the kind of its memory."""
    path = saved(tmp_path / "a.pt", {"state_dict": tensors(), "best": np.float64(1)})

    def refuse(*_):
        raise AssertionError

    from numpy._core import multiarray

    monkeypatch.setattr(multiarray, "scalar", refuse)
    assert_same(read_network(path, HINTS).weights)


@torch_only
@pytest.mark.slow
def test_torch_file_of_ours_states_its_network_and_opens_in_plain_torch(tmp_path):
    import torch

    from alexnet_impl.frameworks import get_framework

    spec = build_spec("torchvision", width=1 / 32, num_classes=3)
    info = WeightsInfo(
        variant="torchvision",
        num_classes=3,
        input_size=224,
        width=1 / 32,
        input_scaling="imagenet",
        class_names=("a", "b", "c"),
    )
    for path in (tmp_path / "b.pth", tmp_path / "a.pt"):
        get_framework("torch").write_checkpoint(path, spec, random_weights(spec))
        store_info(path, info)
    assert path.read_bytes() == (tmp_path / "b.pth").read_bytes()
    found = read_network(path, Hints())
    assert found.info == info
    assert_same(found.weights, random_weights(spec))
    for options in ({}, {"mmap": True}):
        state = torch.load(path, weights_only=True, **options)
        assert list(state)[:2] == ["features.0.weight", "features.0.bias"]
        assert np.array_equal(state["features.0.weight"], found.weights["conv1.weight"])


# ---- Keras


def keras_model():
    """The network of SPEC as a user writes it, with the weights of WEIGHTS."""
    import keras

    layers = keras.layers
    kernels = [array.shape[0] for array in WEIGHTS.values() if array.ndim > 1]
    model = keras.Sequential([keras.Input((32, 32, 3))])
    for place, size in enumerate(kernels[:5], start=1):
        model.add(layers.Conv2D(size, 3, padding="same", activation="relu"))
        if place in (1, 2, 5):
            model.add(layers.MaxPooling2D(3, 2))
    model.add(layers.Flatten())
    for place, size in enumerate(kernels[5:], start=1):
        last = place == 3
        model.add(layers.Dense(size, activation=None if last else "relu"))
        if not last:
            model.add(layers.Dropout(0.5))  # has a seed among its variables
    from alexnet_impl.frameworks.tensorflow.weights import from_canonical

    model.set_weights([from_canonical(name, array, SPEC) for name, array in WEIGHTS.items()])
    return model


def write_keras_2(path, *, config, h5):
    """A .keras file as Keras 2.12 to 2.15 wrote it (checked against tf_keras 2.21)."""
    import h5py

    from alexnet_impl.frameworks.tensorflow.weights import from_canonical

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for number, (name, array) in enumerate(WEIGHTS.items()):
            layer, short = number // 2, number % 2
            kind, place = ("conv2d", layer) if layer < 5 else ("dense", layer - 5)
            group = h5.format(f"{kind}_{place}" if place else kind)
            file[f"{group}/vars/{short}"] = from_canonical(name, array, SPEC)
        file["optimizer/vars/0"] = np.int64(0)
        file["metrics/recall/vars/0"] = np.zeros(3, np.float32)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "2.15.0"}))
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", buffer.getvalue())


KERAS_2 = {
    "class_name": "Sequential",
    "config": {
        "name": "sequential_3",
        "layers": [
            {"config": {"name": "input_1", "batch_input_shape": [None, 32, 32, 3]}},
            {"config": {"name": "conv2d_5", "filters": 4, "data_format": "channels_last"}},
        ],
    },
}


@keras_only
@pytest.mark.fast
@pytest.mark.parametrize("h5", ["layers/{}", "_layer_checkpoint_dependencies/{}"])
def test_keras_file_of_keras_2_is_read(tmp_path, h5):
    write_keras_2(tmp_path / "a.keras", config=KERAS_2, h5=h5)
    found = read_network(tmp_path / "a.keras", HINTS)
    assert_same(found.weights)
    assert (found.info.width, found.info.input_size) == (1 / 32, 32)
    assert [one.theirs for one in found.pairing][::2] == [
        *("conv2d.weight", *(f"conv2d_{n}.weight" for n in range(1, 5))),
        *("dense.weight", "dense_1.weight", "dense_2.weight"),
    ]


@keras_only
@pytest.mark.fast
@pytest.mark.parametrize("place", ["layers/conv2d{}/vars", "{}/vars"], ids=["list", "attributes"])
def test_keras_weights_keep_the_order_of_a_list_of_layers_and_of_no_attributes(tmp_path, place):
    import h5py

    from alexnet_impl.frameworks.tensorflow.weights import from_canonical

    spec = build_spec("slim", width=1 / 64)
    weights = random_weights(spec)
    names = ("stem", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
    with h5py.File(path := tmp_path / "a.weights.h5", "w") as file:
        for number, (name, array) in enumerate(weights.items()):
            layer = names[number // 2]
            count = f"_{number // 2}" if number > 1 else ""
            group = file.require_group(place.format(count if "conv2d" in place else layer))
            group.attrs["name"] = layer
            group[str(number % 2)] = from_canonical(name, array, spec)
    if "conv2d" in place:
        assert_same(read_network(path, Hints()).weights, weights)
    else:
        assert "no order of its layers, so that fifth and fourth, both" in refusal_of(path, Hints())


@torch_only
@pytest.mark.slow
def test_key_of_a_backbones_checkpoint_is_not_ignored(tmp_path):
    path = saved(tmp_path / "a.pt", {"model": tensors(), "model_ema": tensors()})
    assert "holds 2 state_dicts" in refusal_of(path, Hints(variant="vgg16"))
    assert "has shape (128, 72), but vgg16 needs" in refusal_of(
        path, Hints(variant="vgg16", key="model")
    )


@keras_only
@pytest.mark.fast
def test_keras_layers_of_one_shape_are_told_apart_by_their_numbers(tmp_path):
    import h5py

    from alexnet_impl.frameworks.tensorflow.weights import from_canonical

    spec = build_spec(
        "slim", width=1 / 64
    )  # conv4 and conv5, conv2d_9 and conv2d_10, have one shape
    weights = random_weights(spec)
    with h5py.File(tmp_path / "a.weights.h5", "w") as file:
        for number, (name, array) in enumerate(weights.items(), start=2 * 6):
            kind = "dense" if name.startswith("fc") else "conv2d"
            group = f"layers/{kind}_{number // 2}/vars"
            file[f"{group}/{number % 2}"] = from_canonical(name, array, spec)
    assert_same(read_network(tmp_path / "a.weights.h5", Hints()).weights, weights)


@keras_only
@pytest.mark.fast
def test_keras_file_that_runs_channels_first_is_refused(tmp_path):
    config = json.loads(json.dumps(KERAS_2).replace("channels_last", "channels_first"))
    write_keras_2(tmp_path / "a.keras", config=config, h5="layers/{}")
    assert "its network runs channels first" in refusal_of(tmp_path / "a.keras")


@keras_only
@pytest.mark.fast
def test_keras_file_that_states_its_input_size_fits_networks_of_that_size_alone(tmp_path):
    config = json.loads(json.dumps(KERAS_2).replace("32, 32", "64, 64"))
    write_keras_2(tmp_path / "a.keras", config=config, h5="layers/{}")
    assert "its weights fit no variant at 64 pixels (conv2d.weight" in refusal_of(
        tmp_path / "a.keras", Hints()
    )
    config = json.loads(json.dumps(KERAS_2).replace("32, 32", "33, 33"))
    write_keras_2(tmp_path / "a.keras", config=config, h5="layers/{}")
    assert read_network(tmp_path / "a.keras", HINTS).info.input_size == 33


@keras_only
@pytest.mark.fast
@pytest.mark.parametrize("config", [None, [], {"config": []}, {"config": {"layers": [1, {}]}}])
def test_keras_config_without_what_is_looked_for_is_no_error(tmp_path, config):
    write_keras_2(tmp_path / "a.keras", config=config, h5="layers/{}")
    assert_same(read_network(tmp_path / "a.keras", HINTS).weights)


@keras_only
@pytest.mark.fast
def test_keras_file_has_no_keys(tmp_path):
    write_keras_2(tmp_path / "a.keras", config=KERAS_2, h5="layers/{}")
    hints = Hints(variant="cifar", key="model")
    assert "has no keys; leave --key out" in refusal_of(tmp_path / "a.keras", hints)


@keras_only
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("name", ["a.keras", "a.h5", "a.weights.h5"])
def test_own_network_of_keras_is_read_whatever_its_name(tmp_path, name):
    model, path = keras_model(), tmp_path / name
    if name.endswith(".weights.h5"):
        model.save_weights(path)
    else:
        model.save(path)
    assert_same(read_network(path, HINTS).weights)
    text = "does not state its network, and its weights fit several: cifar, cifar-dropout"
    assert text in refusal_of(path, Hints())


# ---- commands


@torch_only
@keras_only
@pytest.mark.slow
def test_convert_prints_what_it_stripped_and_how_it_paired(tmp_path, capsys):
    stems = {name.partition(".")[0]: f"layer{n // 2}" for n, name in enumerate(WEIGHTS)}
    content = {
        "net": {
            f"module.{stems[name.partition('.')[0]]}.{name.partition('.')[2]}": tensor.double()
            for name, tensor in tensors().items()
        }
    }
    saved(tmp_path / "a.ckpt", content)
    command = ["convert", str(tmp_path / "a.ckpt"), str(tmp_path / "b.keras")]
    assert main([*command, "--variant", "cifar"]) == 0
    output = capsys.readouterr().out
    assert "Paired by shape and order with cifar" in output
    assert "layer7.weight" in output
    assert (
        "Of a.ckpt, the state_dict under 'net' was taken; the prefix 'module.' was stripped; "
        "float64 was narrowed to float32."
    ) in output
    import keras

    model = keras.models.load_model(tmp_path / "b.keras")  # plain Keras opens it
    from alexnet_impl.frameworks.tensorflow.weights import get_weights

    assert_same(get_weights(model, SPEC))
    # Ours state their network, so that no flag is needed on the way back.
    assert main(["convert", str(tmp_path / "b.keras"), str(tmp_path / "c.pt")]) == 0
    assert main(["convert", str(tmp_path / "c.pt"), str(tmp_path / "d.safetensors")]) == 0
    assert_same(read_network(tmp_path / "d.safetensors", Hints()).weights)


@torch_only
@pytest.mark.slow
def test_training_starts_from_a_foreign_file_and_says_what_it_stripped(tmp_path, capsys):
    path = saved(tmp_path / "a.pt", {"model": tensors("module."), "epoch": 3})
    command = ["train", "--framework", "torch", "--variant", "cifar", "--width", str(1 / 32)]
    command += ["--weights", str(path), "--output", str(tmp_path / "run"), "--recipe.epochs", "1"]
    command += ["--train-images", "40", "--test-images", "20", "--recipe.learning-rate", "1e-12"]
    assert main(command) == 0
    said = capsys.readouterr().err
    assert "the state_dict under 'model' was taken" in said
    assert "the prefix 'module.' was stripped" in said
    from alexnet_impl.runs.folder import RunFolder

    found = RunFolder.open(tmp_path / "run").read_weights()
    for name, array in WEIGHTS.items():
        np.testing.assert_allclose(found[name], array, atol=1e-6)


@torch_only
@pytest.mark.slow
def test_file_without_preprocessing_is_predicted_and_evaluated_once_it_is_given(tmp_path, capsys):
    from PIL import Image

    path = saved(tmp_path / "a.pt", tensors())
    image = tmp_path / "a.png"
    Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(image)
    flags = ["--variant", "cifar", "--device", "cpu"]
    assert main(["predict", str(path), str(image), *flags]) == 1
    assert "does not state its preprocessing of images; give" in capsys.readouterr().err
    flags += ["--input-scaling", "imagenet"]
    assert main(["predict", str(path), str(image), *flags]) == 0
    assert "class " in capsys.readouterr().out
    assert main(["evaluate", str(path), *flags]) == 1
    assert "give some with --data-dir PATH or --dataset NAME" in capsys.readouterr().err
    assert main(["evaluate", str(path), *flags, "--dataset", "digits"]) == 0
    output = capsys.readouterr().out
    assert "PyTorch on digits, 360 test images" in output
    assert "Confusion matrix" in output


@pytest.mark.fast
def test_safetensors_of_ours_is_still_read_by_its_metadata(tmp_path):
    info = WeightsInfo(variant="cifar", num_classes=10, input_size=32, width=1 / 32)
    save_weights(tmp_path / "a.safetensors", WEIGHTS, info)
    found = read_network(tmp_path / "a.safetensors", Hints())
    assert found.info == info
    assert_same(found.weights)
