"""Published weights: download, conversion and prediction, with a file of the same layout."""

import functools
import hashlib
import http.server
import json
import threading
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from alexnet_impl.cli import main
from alexnet_impl.data.download import RemoteFile
from alexnet_impl.errors import WeightsError
from alexnet_impl.predict import network_of_weights, predict_files
from alexnet_impl.weights import published_files as published
from alexnet_impl.weights.published_files import PUBLISHED

pytestmark = [pytest.mark.slow, pytest.mark.torch, pytest.mark.tensorflow]

NAME = "torchvision:IMAGENET1K_V1"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with a file like torchvision's AlexNet, and what is published of it."""
    import torch
    import torchvision

    folder = tmp_path_factory.mktemp("server")
    torch.manual_seed(0)
    torch.save(torchvision.models.alexnet().state_dict(), folder / "new.pth")
    digest = hashlib.sha256((folder / "new.pth").read_bytes()).hexdigest()
    name = f"alexnet-owt-{digest[:8]}.pth"
    (folder / "new.pth").rename(folder / name)
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{running.server_port}/{name}"
        yield replace(PUBLISHED[0], remote=RemoteFile(url=url, sha256=digest[:8]))
        running.shutdown()


@pytest.fixture(autouse=True)
def _from_here(server, monkeypatch, tmp_path_factory):
    """What is published is what the server has; it is kept for all tests of this module."""
    monkeypatch.setattr(published, "PUBLISHED", (server, *PUBLISHED[1:]))
    home = tmp_path_factory.getbasetemp() / "torch-home"
    monkeypatch.setenv("TORCH_HOME", str(home))


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A picture that is no square."""
    path = tmp_path_factory.mktemp("images") / "noise.png"
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_the_keras_alexnet_that_keras_does_not_publish(tmp_path, image, capfd):
    """Downloaded, converted, opened by plain Keras; and the names of ImageNet in both."""
    import keras
    import torch
    import torchvision

    path = tmp_path / "alexnet.keras"
    assert main(["convert", NAME, str(path)]) == 0
    model = keras.models.load_model(path)
    theirs = torchvision.models.alexnet().eval()
    theirs.load_state_dict(torch.load(published.PUBLISHED[0].path, weights_only=True))
    weights = torchvision.models.AlexNet_Weights.IMAGENET1K_V1
    preprocessed = weights.transforms()(Image.open(image)).unsqueeze(0)
    with torch.inference_mode():
        expected = theirs(preprocessed).numpy()
    found = model.predict(preprocessed.permute(0, 2, 3, 1).numpy(), verbose=0)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())

    names = weights.meta["categories"]
    best = names[int(expected.argmax())]
    for framework, source in (("torch", NAME), ("tensorflow", path)):
        network = network_of_weights(str(source), framework)
        assert network.class_names == tuple(names)
        (prediction,) = predict_files(network, [image], "cpu")
        probabilities = np.exp(expected[0]) / np.exp(expected[0]).sum()
        # Pillow rounds to whole pixels twice on their way, once on ours.
        np.testing.assert_allclose(prediction.probabilities, probabilities, atol=1e-4)
        assert best in [name for name, _ in prediction.top(5)]
    capfd.readouterr()
    assert main(["predict", str(path), str(image), "--framework", "torch"]) == 0
    assert "Predictions" in capfd.readouterr().out
    with zipfile.ZipFile(path) as file:
        said = json.loads(file.read("alexnet_impl.json"))
    assert (said["input_scaling"], said["resize_to"]) == ('"imagenet"', "256")


def test_runs_of_both_frameworks_start_from_one_file(tmp_path):
    """The other framework reads it in a process of its own, once."""
    for name in ("torch", "tensorflow"):
        command = [
            *("train", "--framework", name, "--variant", "torchvision", "--weights", NAME),
            *("--recipe.trainable", "head", "--recipe.epochs", "1", "--recipe.crop-padding", "0"),
            *("--train-images", "16", "--test-images", "16", "--width", "1", "--device", "cpu"),
            *("--recipe.validation-fraction", "0", "--output", str(tmp_path / name)),
        ]
        assert main(command) == 0
    run = [json.loads((tmp_path / n / "run.json").read_text()) for n in ("torch", "tensorflow")]
    assert run[0]["initial_weights_sha256"] == run[1]["initial_weights_sha256"]
    assert run[0]["config"]["recipe"]["input_scaling"] == "imagenet"
    assert run[0]["config"]["recipe"]["resize_to"] == 256


def test_a_download_that_is_another_file_is_refused(monkeypatch, tmp_path, server):
    remote = replace(server.remote, sha256="00000000")
    monkeypatch.setattr(published, "PUBLISHED", (replace(server, remote=remote),))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match="expected 00000000"):
        network_of_weights(NAME, "torch")
    assert not list(tmp_path.rglob("*.pth"))
