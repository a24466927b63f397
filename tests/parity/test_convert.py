"""`alexnet convert` across the frameworks, bit for bit, and the outputs that prove it."""

from itertools import pairwise

import numpy as np
import pytest

from alexnet_impl.cli import main
from alexnet_impl.convert import convert
from alexnet_impl.errors import WeightsError
from alexnet_impl.network.variants import build_spec
from alexnet_impl.parity.tolerances import tolerance
from alexnet_impl.processes.weight_files import Hints, read_weights
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.weights.initializers import initial_weights
from alexnet_impl.weights.metadata import WeightsInfo, load_weights, save_weights

pytestmark = [pytest.mark.torch, pytest.mark.tensorflow]


def write_canonical(path, variant="krizhevsky2012", width=1 / 16, input_size=None):
    spec = build_spec(variant, width=width, input_size=input_size)
    weights = initial_weights(spec, Recipe(initializer="he"))
    size = spec.input_shape[1]
    info = WeightsInfo(variant=variant, num_classes=10, input_size=size, width=width)
    save_weights(path, weights, info)
    return weights


@pytest.mark.slow
def test_conversion_round_trip_over_all_formats_is_exact(tmp_path):
    weights = write_canonical(tmp_path / "a.safetensors", input_size=67)
    hints = Hints(variant="krizhevsky2012", width=1 / 16, input_size=67)
    chain = ["a.safetensors", "b.pt", "c.keras", "d.weights.h5", "e.safetensors"]
    for source, target in pairwise(chain):
        done = convert(tmp_path / source, tmp_path / target, hints)
        assert done.max_relative_difference <= tolerance("logits", "float32")
        assert done.max_absolute_difference > 0 or done.source == done.target
    found, info = load_weights(tmp_path / "e.safetensors")
    assert info.width == 1 / 16
    assert all(found[name].tobytes() == weights[name].tobytes() for name in weights)


@pytest.mark.slow
def test_conversion_from_torchvision_to_keras_prints_the_difference(tmp_path, capsys):
    import torch
    import torchvision

    keras = pytest.importorskip("keras")
    model = torchvision.models.alexnet(num_classes=7)
    torch.save(model.state_dict(), tmp_path / "alexnet.pth")
    command = ["convert", str(tmp_path / "alexnet.pth"), str(tmp_path / "alexnet.keras")]
    assert main([*command, "--variant", "torchvision"]) == 0
    assert "differ by at most" in capsys.readouterr().out
    images = np.random.default_rng(0).standard_normal((2, 224, 224, 3)).astype(np.float32)
    theirs = model.eval()(torch.from_numpy(images.transpose(0, 3, 1, 2))).detach().numpy()
    ours = keras.models.load_model(tmp_path / "alexnet.keras").predict(images, verbose=0)
    assert ours.shape == (2, 7)
    np.testing.assert_allclose(
        ours, theirs, rtol=0, atol=tolerance("logits", "float32") * np.abs(theirs).max()
    )


@pytest.mark.slow
def test_conversion_reads_the_network_off_our_own_keras_file(tmp_path):
    write_canonical(tmp_path / "a.safetensors", "cifar")
    convert(tmp_path / "a.safetensors", tmp_path / "b.keras", Hints())
    done = convert(tmp_path / "b.keras", tmp_path / "c.pt", Hints(width=1 / 16))
    assert done.spec == build_spec("cifar", width=1 / 16)


@pytest.mark.slow
def test_file_as_keras_2_wrote_it_is_read(tmp_path):
    import keras

    weights = write_canonical(tmp_path / "a.safetensors", "cifar")
    convert(tmp_path / "a.safetensors", tmp_path / "b.keras", Hints())
    keras.models.load_model(tmp_path / "b.keras").save(tmp_path / "c.h5")
    convert(tmp_path / "c.h5", tmp_path / "d.pt", Hints(variant="cifar", width=1 / 16))
    found = read_weights(tmp_path / "d.pt", build_spec("cifar", width=1 / 16))
    assert all(found[name].tobytes() == weights[name].tobytes() for name in weights)


@pytest.mark.fast
@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("a.safetensors", "b.onnx", r"b.onnx: must end in one of .safetensors, .pt"),
        ("a.safetensors", "a.safetensors", "is the source file too"),
        ("missing.pt", "b.keras", "there is no such file"),
        ("c.weights.h5", "b.pt", "is not a Keras model, or it is damaged"),
        ("garbage.keras", "b.pt", "is not a Keras model, or it is damaged"),
        ("garbage.pt", "b.keras", "garbage.pt"),
        ("garbage.safetensors", "b.pt", "cannot be read as safetensors"),
    ],
)
def test_conversion_refuses_what_it_cannot_do(tmp_path, source, target, message):
    write_canonical(tmp_path / "a.safetensors", "cifar")
    for name in ("c.weights.h5", "garbage.keras", "garbage.pt", "garbage.safetensors"):
        (tmp_path / name).write_bytes(b"no weights at all")
    with pytest.raises(WeightsError, match=message):
        convert(tmp_path / source, tmp_path / target, Hints())
    assert not (tmp_path / "b.pt").exists()
    assert not (tmp_path / "b.keras").exists()
