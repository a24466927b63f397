"""Canonical weights into and out of each framework, and each framework's own files."""

import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from support.strategies import specs

from alexnet_impl.errors import WeightsError
from alexnet_impl.network.spec import weight_shapes
from alexnet_impl.network.variants import build_spec
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.weights.initializers import initial_weights

pytestmark = pytest.mark.fast

RECIPE = Recipe(initializer="torch-default")
SUFFIXES = {"torch": [".pt", ".pth"], "tensorflow": [".keras", ".weights.h5"]}


def random_weights(spec, dtype=np.float32):
    rng = np.random.default_rng(0)
    return {n: rng.standard_normal(shape).astype(dtype) for n, shape in weight_shapes(spec).items()}


def assert_same_bytes(first, second):
    assert list(first) == list(second)
    for name in first:
        assert first[name].dtype == second[name].dtype
        assert first[name].tobytes() == second[name].tobytes(), name


@settings(max_examples=4)
@given(spec=specs())
def test_weights_come_back_bit_for_bit_from_any_model(framework, spec):
    weights = random_weights(spec)
    model = framework.build_model(spec)
    framework.set_weights(model, spec, weights)
    assert_same_bytes(framework.get_weights(model, spec), weights)


def test_weights_in_float64_come_back_bit_for_bit(framework):
    spec = build_spec("cifar", width=1 / 16)
    weights = random_weights(spec, np.float64)
    model = framework.build_model(spec, "float64")
    framework.set_weights(model, spec, weights)
    assert_same_bytes(framework.get_weights(model, spec), weights)


def test_weights_of_another_variant_are_refused(framework):
    spec = build_spec("cifar", width=1 / 16)
    model = framework.build_model(spec)
    others = initial_weights(build_spec("cifar", width=1 / 8), RECIPE)
    with pytest.raises(WeightsError, match=r"conv1.weight has shape \(12, 3, 3, 3\)"):
        framework.set_weights(model, spec, others)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["krizhevsky2012", "torchvision"])
def test_checkpoint_files_give_the_weights_back(tmp_path, framework, framework_name, variant):
    spec = build_spec(variant, width=1 / 32, input_size=67)
    weights = random_weights(spec)
    for suffix in SUFFIXES[framework_name]:
        path = tmp_path / f"model{suffix}"
        framework.write_checkpoint(path, spec, weights)
        assert_same_bytes(framework.read_checkpoint(path, spec), weights)
        assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
        path.unlink()


@pytest.mark.slow
@pytest.mark.torch
def test_equal_weights_give_equal_bytes_whatever_the_file_is_called(tmp_path):
    from alexnet_impl.frameworks import torch as framework

    spec = build_spec("cifar", width=1 / 16)
    weights = random_weights(spec)
    for name in ("a.pt", "another.pth"):
        framework.write_checkpoint(tmp_path / name, spec, weights)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "another.pth").read_bytes()


@pytest.mark.slow
def test_damaged_and_missing_checkpoints_are_refused(tmp_path, framework, framework_name):
    spec = build_spec("cifar", width=1 / 16)
    for suffix in SUFFIXES[framework_name]:
        path = tmp_path / f"model{suffix}"
        with pytest.raises(WeightsError, match="there is no such file"):
            framework.read_checkpoint(path, spec)
        framework.write_checkpoint(path, spec, random_weights(spec))
        path.write_bytes(path.read_bytes()[:-2000])
        with pytest.raises(WeightsError, match=path.name):
            framework.read_checkpoint(path, spec)


@pytest.mark.slow
def test_checkpoint_of_another_width_is_refused(tmp_path, framework, framework_name):
    narrow, wide = build_spec("cifar", width=1 / 16), build_spec("cifar", width=1 / 8)
    path = tmp_path / f"model{SUFFIXES[framework_name][0]}"
    framework.write_checkpoint(path, narrow, random_weights(narrow))
    with pytest.raises(WeightsError, match=path.name):
        framework.read_checkpoint(path, wide)


@pytest.mark.torch
@pytest.mark.parametrize("text", ["", "epoch,loss\n1,2.3\n", "{}", "Some notes.", "<htm", "(x"])
def test_text_named_as_a_torch_checkpoint_is_refused_with_the_remedy(tmp_path, text):
    from alexnet_impl.frameworks.torch import read_checkpoint

    path = tmp_path / "notes.pth"
    path.write_text(text)
    with pytest.raises(WeightsError, match=r"notes\.pth: .*(torch\.save|state_dict)"):
        read_checkpoint(path, build_spec("cifar", width=1 / 16))


class _Trap:
    """Unpickling it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.torch
def test_torch_checkpoint_with_code_in_it_is_refused_and_not_run(tmp_path):
    import torch

    from alexnet_impl.frameworks.torch import read_checkpoint

    trap = tmp_path / "sprung"
    for path, save in ((tmp_path / "a.pt", torch.save), (tmp_path / "b.pt", _plain_pickle)):
        save({"conv1.weight": _Trap(trap)}, path)
        with pytest.raises(WeightsError, match=r"holds more than tensors.*no code in it was run"):
            read_checkpoint(path, build_spec("cifar", width=1 / 16))
    assert not trap.exists()


def _plain_pickle(content, path):
    path.write_bytes(pickle.dumps(content))


def torch_bombs():
    import torch

    ones = torch.ones(1)
    return {
        "expanded": ones.expand(1 << 36),
        "overlapping": ones.as_strided((1 << 16, 1 << 16), (0, 0)),
        "sparse": torch.sparse_coo_tensor(torch.zeros(2, 1), ones, (1 << 20, 1 << 20)),
        "quantised": torch.quantize_per_tensor(ones, 1.0, 0, torch.qint8),
        "complex": ones.to(torch.complex64),
        "meta": ones.to("meta"),
    }


@pytest.mark.torch
@pytest.mark.parametrize(
    "kind", ["expanded", "overlapping", "sparse", "quantised", "complex", "meta"]
)
def test_torch_checkpoint_that_is_larger_than_its_file_is_refused(tmp_path, kind):
    import torch

    from alexnet_impl.frameworks.torch import read_checkpoint

    torch.save({"conv1.weight": torch_bombs()[kind]}, path := tmp_path / "a.pt")
    with pytest.raises(WeightsError, match=r"conv1.weight is a torch\.\w+ tensor of torch\."):
        read_checkpoint(path, build_spec("cifar", width=1 / 16))


@pytest.mark.torch
def test_many_tensors_of_one_storage_are_refused_and_tied_layers_are_read(tmp_path):
    import torch

    from alexnet_impl.frameworks.torch.stored_files import read_stored

    shared, path = torch.zeros(64, 64), tmp_path / "a.pt"
    torch.save({f"fc{n}.weight": shared for n in range(3)}, path)
    assert len(read_stored(path).arrays) == 3
    torch.save({f"fc{n}.weight": shared for n in range(40)}, path)
    with pytest.raises(WeightsError, match=r"declares 655,360 bytes of tensors in a file of"):
        read_stored(path)


def test_compressed_checkpoint_is_refused_before_it_is_unpacked(
    tmp_path, framework, framework_name
):
    path = tmp_path / f"model{SUFFIXES[framework_name][0]}"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("model.weights.h5", bytes(2**20))
    with pytest.raises(WeightsError, match=r"is compressed, 1,048,576 bytes in [\d,]{5}; weight"):
        framework.read_checkpoint(path, build_spec("cifar", width=1 / 16))


@pytest.mark.tensorflow
@pytest.mark.parametrize("name", ["a.h5", "a.weights.h5", "a.keras"])
def test_keras_file_that_declares_a_huge_array_is_refused(tmp_path, name):
    import h5py

    from alexnet_impl.frameworks.tensorflow import read_checkpoint

    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("layers/conv/vars/0", shape=(2**33,), dtype="f4", chunks=(1024,))
    if name.endswith("keras"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.write(tmp_path / "a.h5", "model.weights.h5")
    elif name != "a.h5":
        (tmp_path / "a.h5").rename(tmp_path / name)
    with pytest.raises(WeightsError, match=r"declares 34,359,738,368 bytes of arrays in a file of"):
        read_checkpoint(tmp_path / name, build_spec("cifar", width=1 / 16))


@pytest.mark.torch
def test_torch_checkpoint_inside_a_training_checkpoint_is_found(tmp_path):
    import torch

    from alexnet_impl.frameworks.torch import read_checkpoint

    spec = build_spec("cifar", width=1 / 16)
    weights = random_weights(spec)
    tensors = {f"module.{name}": torch.from_numpy(array) for name, array in weights.items()}
    torch.save({"state_dict": tensors, "epoch": 3}, tmp_path / "run.pt")
    assert_same_bytes(read_checkpoint(tmp_path / "run.pt", spec), weights)


@pytest.mark.slow
@pytest.mark.torch
def test_torchvision_names_are_the_keys_of_torchvisions_state_dict():
    import torch
    import torchvision

    from alexnet_impl.frameworks.torch.weights import torchvision_names

    with torch.device("meta"):
        theirs = torchvision.models.alexnet(num_classes=10).state_dict()
    names = torchvision_names(build_spec("torchvision"))
    shapes = weight_shapes(build_spec("torchvision"))
    assert {names[name]: shape for name, shape in shapes.items()} == {
        name: tuple(tensor.shape) for name, tensor in theirs.items()
    }


@pytest.mark.slow
def test_changed_variant_runs_as_a_graph_and_keeps_its_name_in_its_own_file(framework, tmp_path):
    """TensorFlow makes a scope of a model's name, and lets none hold a plus."""
    recipe = Recipe(precision="float32")
    spec = build_spec("torchvision+same-padding+dropout-behind", width=1 / 64, input_size=67)
    trainer = framework.make_trainer(spec, recipe, initial_weights(spec, recipe), "cpu")
    assert trainer.logits(np.zeros((1, 8, 8, 3), np.uint8)).shape == (1, 10)
    path = tmp_path / "model.keras"
    if framework.__name__.endswith("tensorflow"):
        framework.write_checkpoint(path, spec, trainer.weights())
        assert framework.read_stored(path).model_name == spec.name
