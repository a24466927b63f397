"""A network and a recipe of the user's own in every command, their files gone after the start."""

import json

import numpy as np
import pytest

from alexnet_impl import api
from alexnet_impl.cli import main, parsing
from alexnet_impl.errors import StoppedError
from alexnet_impl.network.own_network import load_own_variant
from alexnet_impl.recipe.named import RECIPES
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.weights.metadata import load_weights

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.slow, pytest.mark.torch, pytest.mark.tensorflow]

NETS = """
from alexnet_impl.network.bodies import Body
from alexnet_impl.network.spec import Conv, Dense, Dropout, Flatten, Relu, Spec

def mynet(*, num_classes, input_size=16, width=1.0):
    return Spec(
        name="mynet",
        input_shape=(3, input_size, input_size),
        layers=(
            Conv(name="stem", out_channels=int(8 * width), kernel_size=4, stride=2, padding=(1, 2)),
            Relu(name="act"),
            Flatten(name="flat"),
            Dropout(name="drop", rate=0.1),
            Dense(name="logits", out_features=num_classes),
        ),
    )
"""
RECIPE = """
base = "quick"
epochs = 2
learning-rate = 0.02
phases = [{epochs = 1}, {epochs = 1, learning_rate = 0.005}]
"""
DATA = ("--train-images", "300", "--test-images", "60", "--threads", "1")


@pytest.fixture
def flags(tmp_path, monkeypatch):
    """The flags of a network and a recipe whose files are deleted as soon as they are loaded."""
    nets, recipe = tmp_path / "nets.py", tmp_path / "mine.toml"
    nets.write_text(NETS)
    recipe.write_text(RECIPE)

    def load_and_delete(place):
        own = load_own_variant(place)
        nets.unlink()
        recipe.unlink()
        return own

    monkeypatch.setattr(parsing, "load_own_variant", load_and_delete)
    return ("--variant", f"{nets}:mynet", "--recipe", str(recipe), *DATA)


def test_compare_is_resumed_evaluated_and_reported_without_the_files(
    tmp_path, flags, monkeypatch, capsys
):
    def stopped(*_, **__):
        raise StoppedError("stopped")

    folder = tmp_path / "compare"
    monkeypatch.setattr("alexnet_impl.compare.compare", stopped)
    assert main(["compare", *flags, "--output", str(folder)]) == 130
    assert not (tmp_path / "nets.py").exists()
    monkeypatch.undo()
    assert main(["compare", "--resume", str(folder)]) == 0
    runs = [RunFolder.open(folder / name) for name in ("torch", "tensorflow")]
    for run in runs:
        assert run.config.variant == "mynet"
        assert run.config.recipe.momentum == RECIPES["quick"].momentum
        assert run.config.recipe.phases == ("epochs=1", "epochs=1,learning_rate=0.005")
        assert [layer.name for layer in run.config.network.layers][:2] == ["stem", "act"]
    first, second = (run.history.step_loss for run in runs)
    np.testing.assert_allclose(first[:2], second[:2], rtol=1e-2)  # dropout differs
    assert main(["evaluate", str(folder / "torch")]) == 0
    assert main(["report", str(folder), "--output", str(tmp_path / "report.html")]) == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "--variant FILE.py:mynet" in page
    weights = folder / "torch" / "weights.safetensors"
    capsys.readouterr()
    assert main(["convert", str(weights), str(tmp_path / "mynet.keras")]) == 0
    assert "4 weights of mynet" in capsys.readouterr().out
    assert main(["convert", str(tmp_path / "mynet.keras"), str(tmp_path / "back.safetensors")]) == 0
    (ours, info), (back, back_info) = map(load_weights, (weights, tmp_path / "back.safetensors"))
    assert info == back_info
    assert all(np.array_equal(ours[name], back[name]) for name in ours)


def test_plain_checkpoint_of_an_own_network_is_converted_and_trained_from(
    tmp_path, monkeypatch, capsys
):
    """A state_dict states no network: --variant FILE.py:NAME does."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(NETS)
    model = api.build_model("torch", "nets.py:mynet", num_classes=7)
    torch.save(model.state_dict(), "plain.pt")
    assert main(["convert", "plain.pt", "mynet.keras", "--variant", "nets.py:mynet"]) == 0
    network = ("--variant", "nets.py:mynet", "--weights", "plain.pt")
    flags = ("--framework", "tensorflow", "--recipe.steps", "2", "--output", "run", *DATA[:-2])
    assert main(["train", *network, *flags]) == 0  # a worker converts the file first
    run = RunFolder.open(tmp_path / "run")
    assert (run.config.weights, run.config.variant) == ("plain.pt", "mynet")
    assert main(["convert", "plain.pt", "other.keras"]) == 1
    assert "its weights fit no variant" in capsys.readouterr().err


def test_explain_switches_the_factors_of_an_own_network(tmp_path, flags):
    folder = tmp_path / "explain"
    quick = ("--only", "dropout-place", "--seeds", "1", "--steps", "2", "--recipe.epochs", "1")
    plain = flags[:2] + flags[4:]
    assert main(["explain", *plain, *quick, "--output", str(folder)]) == 0
    runs = [RunFolder.open(path.parent) for path in folder.glob("runs/*/*/*/run.json")]
    assert {run.config.variant for run in runs} == {"mynet", "mynet+same-padding"}
    assert all(run.config.network is not None for run in runs)


def test_parity_holds_for_an_own_network(tmp_path, flags):
    folder = tmp_path / "parity"
    assert main(["parity", *flags, "--steps", "4", "--output", str(folder)]) == 0
    request = json.loads((folder / "parity.json").read_text())["request"]
    assert request["variant"] == "mynet"
    assert request["network"]["layers"][0]["kind"] == "Conv"


def test_bench_shows_a_ratio_of_an_own_network(tmp_path, flags, capsys):
    folder = tmp_path / "bench"
    quick = ("--rounds", "1", "--warm-up", "0.1", "--batch-size", "8")
    assert main(["bench", *flags, *quick, "--output", str(folder)]) == 0
    assert "gate" in capsys.readouterr().out
    keys = [entry["key"] for entry in json.loads((folder / "bench.json").read_text())["measured"]]
    assert [key["variant"] for key in keys] == ["mynet", "mynet"]
    assert len({key["network"] for key in keys}) == 1
    assert main(["bench", "compare", str(folder / "bench.json"), str(folder / "bench.json")]) == 0
