"""The Python API: what it imports, what it refuses, and the example of every function."""

import doctest
import inspect
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from support import fake_framework
from support.fake_worker import fake_python
from support.measured import side

import alexnet_impl
from alexnet_impl import api
from alexnet_impl.cli.parsing import parse
from alexnet_impl.cli.shared import settle_run
from alexnet_impl.errors import (
    AlexNetError,
    DataError,
    RecipeError,
    RunError,
    SpecError,
    StoppedError,
    UnknownNameError,
)
from alexnet_impl.machine import watch
from alexnet_impl.measurement import kept_rounds
from alexnet_impl.measurement.recording import read_recording
from alexnet_impl.network.bodies import Body
from alexnet_impl.network.spec import Dense, Flatten, Spec
from alexnet_impl.network.variants import build_spec
from alexnet_impl.parity.record import ParityRecord
from alexnet_impl.recipe.named import RECIPES
from alexnet_impl.recipe.recipe_file import choose_recipe
from alexnet_impl.recipe.trainable import rate_factors
from alexnet_impl.weights.initializers import initial_weights
from alexnet_impl.weights.metadata import WeightsInfo, save_weights

FUNCTIONS = [value for name in api.__all__ if inspect.isfunction(value := getattr(api, name))]
DOCS = Path(alexnet_impl.__file__).parents[1] / "docs"
QUICK = ("own_network", "describe")
"""Functions whose examples need no framework."""
SETTINGS = {
    "variant": "linear",
    "dataset": "synthetic",
    "image_size": 4,
    "train_images": 50,
    "test_images": 30,
}
SEED = 7


def examples_of(function):
    """The docstring's examples."""
    globs = {"__name__": "example"}
    return doctest.DocTestFinder().find(function, function.__name__, globs=globs)[0]


def failures_of(function):
    said = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS, verbose=False)
    runner.run(examples_of(function), out=said.append)
    assert runner.tries > 0
    return "".join(said)


@pytest.mark.fast
def test_every_function_is_typed_and_has_an_example():
    assert len(FUNCTIONS) == 11
    for function in FUNCTIONS:
        assert examples_of(function).examples, function.__name__
        signature = inspect.signature(function)
        assert signature.return_annotation is not inspect.Signature.empty
        assert all(p.annotation is not p.empty for p in signature.parameters.values())


@pytest.mark.fast
@pytest.mark.parametrize("name", QUICK)
def test_quick_examples_give_what_they_say(name):
    assert failures_of(getattr(api, name)) == ""


@pytest.mark.fast
def test_wrong_example_is_noticed():
    def wrong():
        """Adds.

        >>> 1 + 1
        3
        """

    assert "Expected:\n    3\nGot:\n    2" in failures_of(wrong)


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.tensorflow
def test_all_examples_give_what_they_say(tmp_path, monkeypatch):
    """In the order of the module: evaluate() reads the run that train() wrote."""
    monkeypatch.chdir(tmp_path)
    functions = sorted(FUNCTIONS, key=lambda function: inspect.getsourcelines(function)[1])
    for function in functions:
        assert failures_of(function) == "", function.__name__


@pytest.mark.slow
def test_api_imports_no_framework_and_package_is_typed():
    code = (
        "import sys; from alexnet_impl import api; api.describe('cifar');"
        "print(sorted({'torch', 'tensorflow', 'keras', 'scipy', 'sklearn', 'matplotlib'} "
        "& set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert (inspect.getfile(alexnet_impl)).endswith("__init__.py")


@pytest.mark.fast
def test_description_is_that_of_the_spec():
    assert api.describe("slim", num_classes=3).output_shape == (3,)
    small = api.own_network("small", lambda *, num_classes: linear(num_classes))
    assert api.describe(small, num_classes=5).output_shape == (5,)
    with pytest.raises(SpecError, match="cifar is a variant of this package"):
        api.own_network("cifar", Body(channels=(8,)))


def linear(num_classes):
    layers = (Flatten(name="flat"), Dense(name="fc1", out_features=num_classes))
    return Spec(name="linear", input_shape=(3, 4, 4), layers=layers)


# ---- documents


def blocks_of(document, language):
    text = (DOCS / document).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.mark.fast
def test_page_lists_every_function_with_valid_examples():
    rows = re.findall(r"^\| `(\w+)\(", (DOCS / "api.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(function.__name__ for function in FUNCTIONS)
    for block in blocks_of("api.md", "python"):
        compile(block, "docs/api.md", "exec")
        named = set(re.findall(r"^    (\w+)=", block, re.MULTILINE))
        assert named <= api.RunSettings.__annotations__.keys()


@pytest.mark.fast
def test_files_and_commands_of_the_page_on_own_networks_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text("".join(blocks_of("own.md", "python")))
    (tmp_path / "mine.toml").write_text(blocks_of("own.md", "toml")[0])
    recipe = choose_recipe("mine.toml").recipe
    assert (recipe.phases[0], recipe.rate_factors) == ("epochs=2,trainable=head", ("conv1=0.5",))
    lines = "".join(blocks_of("own.md", "sh")).splitlines()
    commands = [shlex.split(line)[1:] for line in lines]
    assert len(commands) == 4
    given = [parse(command)[1] for command in commands]
    assert given[0].variant == "nets.py:mynet"
    assert [one.options.display_name for one in given[1:]] == ["mynet", "small+no-dropout", "mynet"]
    config, _ = settle_run(given[3].options, "torch")
    assert (config.recipe.learning_rate, config.recipe.epochs) == (0.01, 12)
    assert rate_factors(config.spec(num_classes=10), config.recipe) == {"conv1": 0.5}
    (_, more) = parse([*commands[3], "--recipe.epochs", "3"])
    with pytest.raises(RecipeError, match="epochs=3 has no effect"):
        settle_run(more.options, "torch")


@pytest.mark.fast
def test_preprocessing_that_a_recipe_object_states_is_not_replaced_by_that_of_weights(
    tmp_path, monkeypatch
):
    """A named recipe's own preprocessing is replaced."""
    fake_framework.install(monkeypatch)
    monkeypatch.setattr(api, "settle_precision", lambda configs, *_: pytest.fail(str(configs)))
    path = tmp_path / "some.safetensors"
    recipe = replace(RECIPES["quick"], input_scaling="unit")
    info = WeightsInfo(variant="linear", num_classes=10, input_size=4, width=1.0)
    weights = initial_weights(build_spec("linear"), recipe)
    save_weights(path, weights, replace(info, input_scaling="cifar10"))
    settings = {**SETTINGS, "weights": path, "output": tmp_path / "run"}
    with pytest.raises(RecipeError, match="the recipe would feed it unit"):
        api.train("torch", recipe=recipe, **settings)
    with pytest.raises(pytest.fail.Exception, match="input_scaling='cifar10'"):
        api.train("torch", recipe=RECIPES["quick"], **settings)


@pytest.mark.fast
def test_paths_may_be_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    fake_framework.install(monkeypatch)
    spec = build_spec("linear", input_size=32)
    info = WeightsInfo(
        variant="linear", num_classes=10, input_size=32, width=1.0, input_scaling="unit"
    )
    save_weights(tmp_path / "a.safetensors", initial_weights(spec, RECIPES["quick"]), info)
    Image.new("RGB", (6, 5)).save(tmp_path / "b.png")
    assert api.convert("~/a.safetensors", "~/new/c.safetensors").spec == spec
    for images in ("~/b.png", Path("~/b.png"), ["~/b.png"]):
        (found,) = api.predict("~/new/c.safetensors", images)
        assert found.path == tmp_path / "b.png"
    with pytest.raises(DataError, match=r"gone\.png: there is no such file"):
        api.predict("~/a.safetensors", "~/gone.png")


# ---- with the NumPy framework


@pytest.fixture
def numpy_workers(monkeypatch, tmp_path):
    """Interpreters whose workers compute in NumPy."""
    fake_framework.install(monkeypatch)
    python = fake_python(tmp_path)
    return {"torch": python, "tensorflow": python}


@pytest.mark.fast
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: api.train("torch", epochs=3), "Unknown setting 'epochs'"),
        (lambda: api.train("torhc"), "Unknown framework 'torhc'"),
        (lambda: api.train("torch", recipe="quik"), "Unknown recipe 'quik'. Did you mean 'quick'"),
        (lambda: api.compare(variant="vgg16"), "different backbones"),
        (lambda: api.compare(seeds=0), "--seeds 0: must be from 1 to 1000"),
        (lambda: api.parity(weights="a.pt"), "weights belongs to trainings; parity draws its own"),
        (api.bench, "bench: got 0 sides; give one or two."),
        (lambda: api.bench("torch", "nothing"), "Unknown framework 'nothing'"),
        (lambda: api.bench("torch", workload="nothing"), "Unknown workload 'nothing'"),
        (lambda: api.load_run("no/such/run"), "no/such/run: there is no such run folder."),
        (lambda: api.convert("gone.pt", "new/a.keras"), "gone.pt: there is no such file."),
    ],
)
def test_mistakes_are_refused_before_any_work(call, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fake_framework.install(monkeypatch)
    with pytest.raises(AlexNetError, match=message):
        call()
    assert not list(tmp_path.iterdir())


@pytest.mark.fast
def test_output_that_holds_files_is_refused(tmp_path, numpy_workers):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(RunError, match="holds files already"):
        api.train("torch", **SETTINGS, interpreters=numpy_workers, output=tmp_path)


@pytest.mark.fast
def test_train_that_is_stopped_says_how_to_continue(tmp_path, monkeypatch, numpy_workers):
    folder = tmp_path / "run"

    def train_in_worker(_run, path, _observer, **_):
        path.mkdir()
        (path / "run.json").touch()
        raise StoppedError("Stopped torch after step 3")

    monkeypatch.setattr(api, "train_in_worker", train_in_worker)
    told = f"Stopped torch after step 3; continue with: alexnet train --resume {folder}"
    with pytest.raises(StoppedError, match=f"^{re.escape(told)}$"):
        api.train("torch", **SETTINGS, interpreters=numpy_workers, output=folder)


@pytest.mark.fast
@pytest.mark.parametrize("stopped", [False, True])
def test_bench_writes_every_round_and_what_interfered(tmp_path, monkeypatch, stopped):
    busy = "Other processes kept 70% of all cores busy just before the start."
    folder = tmp_path / "bench"

    def measure(case, _plan, _interpreters, keep):
        done = side(case.config.framework, 0.1, 0.1)
        keep(done)
        assert read_recording(folder).complete is False
        if stopped:
            raise KeyboardInterrupt
        return done

    monkeypatch.setattr(kept_rounds, "measure", measure)
    monkeypatch.setattr(watch, "measure_interference", lambda _: 0.7)
    if stopped:
        with pytest.raises(StoppedError, match=f"the rounds so far are in {folder}"):
            api.bench("torch", output=folder)
    else:
        assert api.bench("torch", output=folder).times_s == (0.1, 0.1)
    found = read_recording(folder)
    assert (found.complete, found.entries[0].times_s) == (not stopped, (0.1, 0.1))
    assert busy in found.interference.warnings
    assert (folder / "bench.html").is_file() != stopped
    assert bool(found.interference.machine_after) != stopped


@pytest.mark.fast
def test_parity_writes_the_page_that_the_command_writes(tmp_path, monkeypatch, numpy_workers):
    monkeypatch.setattr(api, "settle_precision", lambda sides, *_: sides)
    monkeypatch.setattr(
        api, "prove", lambda *_: ParityRecord(request={}, environment={}, checks=())
    )
    api.parity(**SETTINGS, interpreters=numpy_workers, output=tmp_path / "parity")
    files = {path.name for path in (tmp_path / "parity").iterdir()}
    assert files >= {"parity.json", "parity.html"}


@pytest.mark.slow
def test_runs_are_trained_in_workers(tmp_path, numpy_workers, capsys):
    recipe = RECIPES["quick"]
    folder = tmp_path / "deep" / "down" / "one"
    options = {**SETTINGS, "interpreters": numpy_workers, "recipe": recipe}
    run = api.train("torch", **options, output=folder)
    assert (run.path, run.config.framework, run.result.status) == (folder, "torch", "finished")
    done = api.compare(seeds=2, **options, seed=SEED, output=str(tmp_path / "both"))
    asked = [(run.config.framework, run.config.recipe.seed) for run in done.runs]
    assert asked[:3] == [("torch", SEED), ("tensorflow", SEED), ("torch", SEED + 1)]
    assert len(done.over_seeds.pairs) == 2
    assert (tmp_path / "both" / "report.html").is_file()
    assert capsys.readouterr().out == ""
    assert api.evaluate(folder).confusion.sum() == 30
    api.train("torch", **options, output=tmp_path / "two", progress=True)
    assert "epoch 1/6" in capsys.readouterr().out


@pytest.mark.fast
def test_model_of_a_file_has_its_weights(tmp_path, monkeypatch):
    seen = []

    class Adapter:
        def build_model(self, spec):
            return {"spec": spec}

        def set_weights(self, _model, spec, weights):
            seen.append((spec, weights))

    monkeypatch.setattr(api, "get_framework", lambda _: Adapter())
    spec = build_spec("cifar", width=1 / 32, num_classes=3)
    weights = initial_weights(spec, RECIPES["quick"])
    path = tmp_path / "some.safetensors"
    save_weights(
        path, weights, WeightsInfo(variant="cifar", num_classes=3, input_size=32, width=1 / 32)
    )
    assert api.build_model("torch", weights=str(path))["spec"] == spec
    assert api.build_model("torch", weights=weights, num_classes=3, width=1 / 32)["spec"] == spec
    for found, arrays in seen:
        assert found == spec
        assert (arrays["fc3.bias"] == weights["fc3.bias"]).all()
    assert api.build_model("torch")["spec"] == build_spec("cifar")
    assert len(seen) == 2
    with pytest.raises(UnknownNameError, match="Unknown variant 'cifra'"):
        api.build_model("torch", "cifra")
