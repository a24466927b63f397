"""A job prepares its run once: it builds the Spec, finds the weights, and hands both down."""

import warnings
import zipfile
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from support import fake_framework
from support.fake_framework import RecordingObserver, linear_config
from support.fake_worker import fake_python, shell_script

from alexnet_impl.cli import commands, main
from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.loading import load_dataset
from alexnet_impl.errors import AlexNetWarning, WeightsError
from alexnet_impl.network import spec as s
from alexnet_impl.network import variants
from alexnet_impl.network.own_network import OwnNetwork
from alexnet_impl.network.variants import build_spec
from alexnet_impl.processes import conversion
from alexnet_impl.processes.conversion import make_readable, prepare_job
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.training.initial_weights import first_weights, read_pretrained
from alexnet_impl.training.prepare import find_given, prepare_run
from alexnet_impl.training.start import start_run
from alexnet_impl.weights import pretrained_files
from alexnet_impl.weights.canonical import weights_sha256
from alexnet_impl.weights.initializers import initial_weights
from alexnet_impl.weights.metadata import (
    WeightsInfo,
    info_to_metadata,
    load_weights,
    remarks_metadata,
    save_weights,
    store_info,
)
from alexnet_impl.weights.pretrained_files import Pretrained
from alexnet_impl.weights.safetensors_io import write_safetensors

pytestmark = pytest.mark.fast

DATA = DataConfig(dataset="synthetic", train_images=50, test_images=30, image_size=32)
RECIPE = Recipe(epochs=1, global_batch_size=16, input_size=32)
FLAGS = (
    *("--variant", "linear", "--dataset", "synthetic", "--image-size", "32"),
    *("--train-images", "50", "--test-images", "30", "--recipe.epochs", "1"),
    *("--recipe.global-batch-size", "16", "--recipe.input-size", "32"),
)


@pytest.fixture(autouse=True)
def _home(monkeypatch, tmp_path):
    """The NumPy framework, and a cache of this test's own."""
    fake_framework.install(monkeypatch)
    monkeypatch.setenv("ALEXNET_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def given():
    """Weights that no recipe of these tests draws."""
    return initial_weights(build_spec("linear", input_size=32), Recipe(seed=7))


@pytest.fixture
def canonical(tmp_path, given):
    """A file of them that every framework reads."""
    path = tmp_path / "given.safetensors"
    save_weights(path, given, WeightsInfo(variant="linear", num_classes=10, input_size=32, width=1))
    return path


@pytest.fixture
def of_torch(tmp_path, given):
    """A file of them that PyTorch alone reads."""
    path = tmp_path / "given.pt"
    write_safetensors(path, given, {})
    return path


@pytest.fixture
def calls(monkeypatch):
    """How often a Spec was built and a file of weights was looked for in this process."""
    counted = Counter()

    def count(what, module, name):
        real = getattr(module, name)

        def call(*arguments, **options):
            counted[what] += 1
            return real(*arguments, **options)

        monkeypatch.setattr(module, name, call)

    count("build_spec", variants, "trace")  # its last step, whoever imported it
    count("find_pretrained", pretrained_files, "_preprocessing")
    monkeypatch.setattr(commands, "_show_report", lambda *_: 0)  # reads run folders
    return counted


def test_train_prepares_its_run_once(canonical, tmp_path, given, calls):
    command = ("train", *FLAGS, "--weights", str(canonical), "--output", str(tmp_path / "run"))
    assert main(list(command)) == 0
    assert calls == {"build_spec": 1, "find_pretrained": 1}
    run = RunFolder.open(tmp_path / "run")
    assert run.initial_weights_sha256 == weights_sha256(given)


@pytest.mark.slow
def test_compare_prepares_its_run_once_and_its_workers_never(canonical, tmp_path, given, calls):
    """The fake workers refuse to."""
    python, folder = fake_python(tmp_path), tmp_path / "out"
    interpreters = ("--interpreter", f"torch={python}", f"tensorflow={python}")
    weights = ("--weights", str(canonical))
    command = ("compare", *FLAGS, *weights, *interpreters, "--output", str(folder))
    assert main(list(command)) == 0
    assert calls == {"build_spec": 1, "find_pretrained": 1}
    for name in ("torch", "tensorflow"):
        run = RunFolder.open(folder / name)
        assert run.initial_weights_sha256 == weights_sha256(given)
        assert run.config.weights == str(canonical)
        assert run.given_weights_sha256 is not None


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_file_of_another_network_is_refused_before_the_framework_matters(
    tmp_path, given, framework
):
    path = tmp_path / "other.pt"
    write_safetensors(content := tmp_path / "x", given, {})
    with zipfile.ZipFile(path, "w") as file:
        file.write(content, "other/data.pkl")
    store_info(path, WeightsInfo(variant="cifar-dropout", num_classes=10, input_size=32, width=1))
    with pytest.raises(WeightsError) as caught:
        find_given(str(path), config_of(path, framework))
    assert str(caught.value) == (
        f"{path}: holds weights of cifar-dropout, not of linear; train that network, or give its "
        "own weights."
    )


# ---- files of the other framework


class Recorded:
    """The channel to a conversion worker that writes what it is asked for."""

    def __init__(self, given):
        self.given, self.asked = given, []

    def ask(self, _, values):
        self.asked.append(values)
        write_safetensors(Path(values["target"]), self.given, {})


def test_conversion_in_the_cache_is_of_one_network_and_of_one_reader(of_torch, given, monkeypatch):
    channel = Recorded(given)
    monkeypatch.setattr(conversion, "open_channel", lambda *_, **__: nullcontext(channel))
    spec, other = (build_spec("linear", input_size=size) for size in (32, 16))
    config = config_of(of_torch, "tensorflow")

    def converted(spec, config=config):
        found = Pretrained(name="", path=of_torch, preprocessing=None)
        return make_readable(
            found, spec, config, frameworks=["tensorflow"], interpreters={}
        ).converted

    own = [
        OwnNetwork(input_size=32, layers=layers)
        for layers in (
            (s.Flatten(name="flatten"), s.Dense(name="fc1", out_features=10)),
            (s.Flatten(name="flatten"), s.Relu(name="r"), s.Dense(name="fc1", out_features=10)),
        )
    ]
    paths = [
        converted(spec),
        converted(other),
        converted(spec, replace(config, width=0.5)),
        *(converted(spec, replace(config, network=network)) for network in own),
    ]
    assert len(set(paths)) == len(channel.asked) == 5
    assert converted(spec) == paths[0]
    assert len(channel.asked) == 5
    monkeypatch.setattr(conversion, "_READER_VERSION", 0)
    assert converted(spec) not in paths


def test_remarks_on_a_converted_file_are_warnings_of_its_source(of_torch, tmp_path, given):
    info = WeightsInfo(variant="linear", num_classes=10, input_size=32, width=1)
    metadata = info_to_metadata(info) | remarks_metadata(["float16 became float32"])
    write_safetensors(converted := tmp_path / "b.safetensors", given, metadata)
    spec = build_spec("linear", input_size=32)
    found = Pretrained(name="", path=of_torch, preprocessing=None, converted=converted)
    with pytest.warns(AlexNetWarning) as caught:
        read_pretrained(found, spec, "tensorflow")
    assert [str(one.message) for one in caught] == [f"{of_torch}: float16 became float32."]
    with warnings.catch_warnings(action="error"):  # the user converted it, and was told then
        read_pretrained(replace(found, path=converted, converted=None), spec, "tensorflow")


def config_of(path, framework):
    config = linear_config(RECIPE, DATA)
    return replace(config, weights=str(path), framework=framework)


@pytest.mark.slow
def test_file_of_the_other_framework_is_converted_once(of_torch, tmp_path, given):
    interpreters = {"torch": fake_python(tmp_path)}
    dataset = load_dataset(DATA)
    run = prepare_job(config_of(of_torch, "tensorflow"), dataset, interpreters=interpreters)
    assert run.given.path == of_torch
    converted, info = load_weights(run.given.converted)
    assert weights_sha256(converted) == weights_sha256(given)
    assert (info.variant, info.width) == ("linear", 1)
    assert list((tmp_path / "cache" / "weights").iterdir()) == [run.given.converted]
    again = prepare_job(
        config_of(of_torch, "tensorflow"), dataset, interpreters={"torch": "/no/such/python"}
    )
    assert again == run
    config = config_of(of_torch, "tensorflow")
    for_numpy = make_readable(run.given, run.spec, config, frameworks=(), interpreters={})
    assert for_numpy == run.given
    result = start_run(tmp_path / "run", run, dataset, RecordingObserver())
    assert result.status == "finished"


@pytest.mark.slow
def test_damaged_conversion_is_made_anew(of_torch, tmp_path):
    interpreters = {"torch": fake_python(tmp_path)}
    config, dataset = config_of(of_torch, "tensorflow"), load_dataset(DATA)
    path = prepare_job(config, dataset, interpreters=interpreters).given.converted
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert prepare_job(config, dataset, interpreters=interpreters).given.converted == path
    assert path.read_bytes() == whole


def test_framework_reads_its_own_file_itself(of_torch, given):
    run = prepare_job(
        config_of(of_torch, "torch"), load_dataset(DATA), interpreters={"torch": "/no/such/python"}
    )
    assert run.given.converted is None
    assert weights_sha256(first_weights(run)) == weights_sha256(given)


def test_process_that_trains_does_not_read_a_file_of_the_other_framework(of_torch):
    run = prepare_run(config_of(of_torch, "tensorflow"), load_dataset(DATA))
    with pytest.raises(WeightsError, match=r"alexnet convert .* weights\.safetensors"):
        first_weights(run)


@pytest.mark.slow
def test_file_that_cannot_be_converted_is_named_with_the_workers_words(of_torch, tmp_path):
    of_torch.write_bytes(of_torch.read_bytes()[:-4])
    interpreters = {"torch": fake_python(tmp_path)}
    with pytest.raises(WeightsError, match=r"given\.pt: cannot be converted \(torch: .*given\.pt"):
        prepare_job(
            config_of(of_torch, "tensorflow"), load_dataset(DATA), interpreters=interpreters
        )
    assert list((tmp_path / "cache" / "weights").iterdir()) == []


def test_conversion_that_is_killed_is_not_taken_for_a_whole_one_the_next_time(of_torch, tmp_path):
    """Whatever the worker has left."""
    answer = 'echo half > "$(echo "$request" | sed \'s/.*"target": "\\([^"]*\\)".*/\\1/\')"'
    python = shell_script(tmp_path, "read -r request", answer, "kill -9 $$")
    for _ in range(2):
        with pytest.raises(WeightsError, match="killed by signal 9"):
            prepare_job(
                config_of(of_torch, "tensorflow"),
                load_dataset(DATA),
                interpreters={"torch": python},
            )
        (left,) = (tmp_path / "cache" / "weights").iterdir()
        assert left.read_text() == "half\n"
