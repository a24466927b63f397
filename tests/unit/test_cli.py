"""The command line, called in this process: what is printed, the exit code, what is left behind."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import warnings
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest
from PIL import Image
from support import fake_framework
from support.fake_framework import at_step, break_at, interrupt_at, linear_config
from support.starting import series_in_process, start_run

import alexnet_impl
from alexnet_impl import compare as comparison
from alexnet_impl import frameworks
from alexnet_impl.cli import commands, flags, listings, main
from alexnet_impl.cli.command_table import COMMANDS
from alexnet_impl.cli.flags import TrainingOptions
from alexnet_impl.cli.parsing import parse
from alexnet_impl.cli.shared import run_config
from alexnet_impl.data.data_config import DATASETS, DataConfig
from alexnet_impl.data.loading import load_dataset
from alexnet_impl.errors import AlexNetWarning, StoppedError
from alexnet_impl.frameworks import FRAMEWORKS
from alexnet_impl.network.variants import VARIANTS, build_spec
from alexnet_impl.recipe.named import RECIPES
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.reproduction.catalogue.budget import BUDGETS
from alexnet_impl.runs.config import DEVICES
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.weights.initializers import initial_weights
from alexnet_impl.weights.metadata import WeightsInfo, save_weights

pytestmark = pytest.mark.fast

DATA = DataConfig(dataset="synthetic", train_images=50, test_images=30, image_size=4)
SYNTHETIC = [
    *("--dataset", "synthetic", "--image-size", "4"),
    *("--train-images", "50", "--test-images", "30"),
]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty folder to work in, a wide terminal, and nothing kept from one test to the next."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("ALEXNET_TRACEBACK", raising=False)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    return folder


@pytest.fixture
def framework(monkeypatch):
    """The NumPy framework in the place of every other."""
    return fake_framework.install(monkeypatch)


@pytest.fixture
def alexnet(capsys):
    """Run a command: (exit code, standard output, standard error)."""

    def alexnet(*arguments):
        code = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return alexnet


@pytest.fixture
def refusal(alexnet, home):
    """Run a command that must fail: its one line, with nothing left behind."""

    def refusal(*arguments):
        before = sorted(home.rglob("*"))
        code, _, err = alexnet(*arguments)
        assert code == 1
        assert err.startswith("alexnet: error: ")
        assert err.count("\n") == 1
        assert sorted(home.rglob("*")) == before
        return err.removeprefix("alexnet: error: ").rstrip("\n")

    return refusal


@pytest.fixture
def started(monkeypatch, framework):  # noqa: ARG001 - no framework is imported
    """The RunConfig that a command line leads to; no image is loaded, and nothing is trained."""

    def started(*arguments):
        found = []

        def load_images(config, _):
            found.append(config)
            raise StoppedError("started")

        monkeypatch.setattr(commands, "load_images", load_images)
        assert main(["train", "--dataset", "synthetic", *arguments]) == 130
        return found[0]

    return started


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run of the NumPy framework; to be read only."""
    path = tmp_path_factory.mktemp("finished") / "run"
    recipe = Recipe(learning_rate=0.1, epochs=4, global_batch_size=16)
    with pytest.MonkeyPatch.context() as patch:
        fake_framework.install(patch)
        observer = fake_framework.RecordingObserver()
        start_run(path, linear_config(recipe, DATA), load_dataset(DATA), observer)
    return path


# ---- lists


def test_variants_prints_every_variant_with_its_published_total(alexnet):
    code, out, err = alexnet("variants")
    assert (code, err) == (0, "")
    for name in VARIANTS:
        assert name in out
    for total in ("61,100,840", "57,044,810", "60,965,224", "62,378,344", "58,322,314"):
        assert total in out
    for total in ("56,278,666", "202,839,952", "29,585,290"):
        assert total in out


def test_describe_prints_layers_and_totals(alexnet):
    code, out, _ = alexnet("describe", "cifar")
    assert code == 0
    for text in ("conv1", "96 x 32 x 32", "2304", "29,585,290", "230,408,192"):
        assert text in out


def test_describe_takes_classes_size_and_width(alexnet):
    _, out, _ = alexnet("describe", "torchvision", "--num-classes", "1000")
    assert "61,100,840" in out
    assert "714,188,480" in out
    _, out, _ = alexnet("describe", "cifar", "--input-size", "64", "--width", "0.5")
    assert "input 3 x 64 x 64" in out
    assert "48 x 64 x 64" in out


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("vgg16", ("27,828,042", "7 x 7")),
        ("resnet50", ("26,136,138", "average-pool")),
        ("mobilenetv2", ("2,236,682", "average-pool")),
    ],
)
def test_describe_prints_a_backbone_as_one_row_whose_macs_nobody_knows(alexnet, name, texts):
    code, out, err = alexnet("describe", name)
    assert (code, err) == (0, "")
    for text in ("backbone", name, *texts):
        assert text in out
    (total,) = (line for line in out.splitlines() if "total" in line)
    assert total.strip("│ ").endswith("—")


def test_recipes_prints_every_recipe(alexnet):
    code, out, _ = alexnet("recipes")
    assert code == 0
    for text in (*RECIPES, "learning_rate", "0.03", "precision auto"):
        assert text in out


# ---- hostile text and streams


def test_class_names_are_shown_without_terminal_escapes(alexnet, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "hostile")
    path = tmp_path / "hostile" / "run.json"
    values = json.loads(path.read_text())
    values["dataset"]["class_names"][0] = "\x1b[31mred\x1b]0;owned\x07"
    path.write_text(json.dumps(values))
    code, out, err = alexnet("evaluate", path.parent)
    assert (code, err) == (0, "")
    assert "[31mred]0;owned" in out
    assert "\x1b" not in out


def test_errors_and_warnings_have_no_terminal_escapes(alexnet, capsys):
    _, _, err = alexnet("evaluate", "a\x1b[31mb")
    assert "a[31mb: there is no such run folder." in err
    warnings.showwarning(AlexNetWarning("c\x1b[0md"), AlexNetWarning, "", 0)
    assert capsys.readouterr().err == "alexnet: warning: c[0md\n"


@pytest.mark.parametrize("arguments", [["variants"], ["recipes"], ["evaluate"]], ids=lambda a: a[0])
def test_ascii_output_ends_no_command(monkeypatch, finished, arguments):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    run = [str(finished)] if arguments == ["evaluate"] else []
    assert main([*arguments, *run]) == 0


# ---- refusals: one line, exit code 1, nothing left behind


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--variant", "cifer"), "Unknown variant 'cifer'. Did you mean 'cifar'? Known: "),
        (("--recipe", "quik"), "Unknown recipe 'quik'. Did you mean 'quick'? Known: "),
        (("--recipe=quik",), "Unknown recipe 'quik'. Did you mean 'quick'? Known: "),
        (("--dataset", "digit"), "Unknown dataset 'digit'. Did you mean 'digits'? Known: "),
        (("--device", "tpu"), "device 'tpu' is unknown; choose auto, cpu, gpu."),
        (("--threads", "0"), "threads=0 must be from 1 to 1024; leave it out for all."),
        (("--threads", "1000000"), "threads=1000000 must be from 1 to 1024; leave it out for all."),
        (("--width", "0"), "cifar: width=0.0 must be above 0 and at most 16."),
        (("--train-images", "0"), "train_images=0 must be at least 1; omit it for all."),
        (("--train-images", "5000"), "train_images=5000 is more than the 1437 images"),
        (("--seed", "-1"), "seed=-1 must be at least 0."),
        (("--seed", "4294967296"), "seed=4294967296 must be at most 4294967295."),
        (("--recipe.learning-rate", "-1"), "learning_rate=-1.0 must be at least 0."),
        (("--recipe.learning-rate", "nan"), "learning_rate=nan must be a finite number."),
        (("--recipe.prefetch", "1000000"), "prefetch=1000000 must be at most 1024."),
        (("--recipe.input-size", "1000000"), "input_size=1000000 must be at most 4096."),
        (("--recipe.global-batch-size", "0"), "global_batch_size=0 must be at least 1."),
        (("--recipe.step-at", "0.5", "1.5"), "step_at=(0.5, 1.5) must be fractions"),
        (
            ("--recipe.optimizer", "adam"),
            "nesterov=True needs momentum of sgd, sgdw or muon, not adam with momentum=0.9.",
        ),
        (
            ("--recipe.global-batch-size", "2000", "--recipe.drop-last"),
            "1293 images give no batch of global_batch_size=2000 with drop_last=True",
        ),
        (("--recipe.input-size", "8"), "pool5: the map shrinks below 1"),
        (("--data-dir", "nowhere"), "nowhere: does not exist; "),
        (("--dataset", "image_folder"), "dataset='image_folder' needs data_dir"),
        (("--dataset", "digits", "--data-dir", "."), "dataset='digits' reads no files, but"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_input_is_refused_in_one_line(refusal, framework, arguments, message):
    assert refusal("train", *arguments).startswith(message)
    assert all(trainer.steps_taken == 0 for trainer in framework.trainers)


@pytest.mark.usefixtures("framework")
@pytest.mark.parametrize("arguments", [("--variant", "cifer"), ("--train-images", "5000")])
def test_compare_refuses_bad_input_too(refusal, monkeypatch, arguments):
    monkeypatch.setattr(commands, "check_frameworks", lambda _: None)
    assert arguments[1] in refusal("compare", *arguments)


def test_unknown_framework_is_refused_with_the_nearest(refusal):
    assert refusal("train", "--framework", "pytorch") == (
        "Unknown framework 'pytorch'. Did you mean 'torch'? Known: torch, tensorflow."
    )


@pytest.mark.parametrize("command", ["train", "compare"])
def test_missing_framework_is_refused_with_the_line_that_installs_it(refusal, monkeypatch, command):
    monkeypatch.setattr(frameworks, "is_installed", lambda _: False)
    monkeypatch.setattr("alexnet_impl.compare.is_installed", lambda _: False)
    assert refusal(command).endswith("install it with: pip install 'alexnet_impl[torch]'")


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("torch", "--interpreter torch: must read FRAMEWORK=PYTHON."),
        ("torch=", "--interpreter torch=: must read FRAMEWORK=PYTHON."),
        ("pytorch=python", "Unknown framework 'pytorch'. Did you mean 'torch'?"),
    ],
)
def test_interpreter_must_name_a_framework_and_a_python(refusal, pair, message):
    assert refusal("compare", "--interpreter", pair).startswith(message)


def test_backbones_are_not_compared_nor_their_weights_downloaded(refusal, monkeypatch):
    def fetch(*_):
        pytest.fail("a download was begun")

    monkeypatch.setattr("alexnet_impl.weights.pretrained_files.fetch_published", fetch)
    monkeypatch.setattr(commands, "check_frameworks", lambda _: None)
    weights = ("--weights", "torchvision:IMAGENET1K_V1")
    refused = refusal("compare", "--variant", "vgg16", *weights)
    assert refused.startswith("vgg16: torchvision and keras.applications have different backbones")


@pytest.fixture
def trained_on_imagenet(tmp_path):
    """A file of weights that were trained on images with ImageNet's mean and deviation."""
    path = tmp_path / "narrow.safetensors"
    info = WeightsInfo(
        variant="cifar",
        num_classes=10,
        input_size=32,
        width=0.0625,
        input_scaling="imagenet",
        resize_to=40,
    )
    save_weights(path, initial_weights(build_spec("cifar", width=0.0625), Recipe()), info)
    return path


@pytest.mark.parametrize("scaling", ["symmetric", "unit"])
def test_scaling_that_is_asked_for_is_refused_though_the_recipe_has_it_anyway(
    framework, refusal, trained_on_imagenet, scaling
):
    flags = ("--weights", trained_on_imagenet, "--recipe.input-scaling", scaling)
    refused = refusal("train", *flags)
    assert "was trained on imagenet: values from -2.118 to 2.64; the recipe would feed" in refused
    assert f"{scaling}: values from" in refused
    assert framework.trainers == []


def test_recipe_fields_with_a_flag_are_known_in_every_spelling():
    flags = ("--recipe.input-scaling=symmetric", "--recipe.resize_to", "40", "--recipe.no-flip")
    _, given = parse(["train", *flags])
    assert given.options.given == ("input_scaling", "resize_to", "flip")


def test_scaling_that_nobody_asked_for_is_the_weights_own(trained_on_imagenet):
    recipe = run_config(TrainingOptions(weights=str(trained_on_imagenet)), "torch").recipe
    assert (recipe.input_scaling, recipe.resize_to) == ("imagenet", 40)
    assert Recipe().input_scaling == "symmetric"


def test_scaling_that_the_weights_need_may_be_said(trained_on_imagenet):
    asked = replace(RECIPES["quick"], input_scaling="imagenet")
    options = TrainingOptions(
        weights=str(trained_on_imagenet), recipe=asked, given=("input_scaling",)
    )
    assert run_config(options, "torch").recipe == asked


@pytest.mark.usefixtures("framework")
def test_data_directory_without_images_is_refused(refusal, tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    refused = refusal("train", "--data-dir", folder)
    assert str(folder) in refused
    assert "train" in refused


@pytest.mark.usefixtures("framework")
@pytest.mark.parametrize("command", ["train", "compare"])
def test_output_that_holds_files_is_refused(refusal, monkeypatch, tmp_path, command):
    monkeypatch.setattr(commands, "check_frameworks", lambda _: None)
    (tmp_path / "notes.txt").write_text("mine")
    assert refusal(command, "--variant", "linear", *SYNTHETIC, "--output", tmp_path) == (
        f"{tmp_path}: holds files already; choose another folder with --output."
    )
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.usefixtures("framework")
@pytest.mark.parametrize("command", ["train", "compare"])
def test_output_that_cannot_be_written_is_refused(refusal, monkeypatch, tmp_path, command):
    monkeypatch.setattr(commands, "check_frameworks", lambda _: None)
    (tmp_path / "file").write_text("in the way")
    path = tmp_path / "file" / "run"
    assert refusal(command, "--variant", "linear", *SYNTHETIC, "--output", path) == (
        f"{path}: cannot be written (Not a directory); choose another folder with --output."
    )


TARGETS = {
    "ledger --html": ("ledger", "--html"),
    "report": ("report", "run", "--output"),
    "versions": ("versions", ".", "--output"),
    "convert": ("convert", "in.pt"),
}
NO_FOLDER = "nope/x.html: there is no folder nope; create it, or choose another path."


@pytest.mark.parametrize(
    ("command", "target", "words"),
    [
        *((command, "nope/x.html", NO_FOLDER) for command in TARGETS.values()),
        (TARGETS["report"], "folder", "folder: is a folder; give the path of a file."),
        (TARGETS["report"], "", " .: is a folder; give the path of a file."),
        (TARGETS["report"], "file/x.html", "there is no folder file"),
    ],
    ids=[*TARGETS, "a folder", "empty", "below a file"],
)
def test_file_that_cannot_be_written_is_refused_before_anything_is_shown(
    alexnet, home, command, target, words
):
    (home / "folder").mkdir()
    (home / "file").touch()
    code, out, err = alexnet(*command, target)
    assert (code, out) == (1, "")
    assert err.startswith(f"alexnet: error: {command[-1] if '--' in command[-1] else 'OUT'} ")
    assert words in err
    assert sorted(path.name for path in home.rglob("*")) == ["file", "folder"]


def test_output_below_a_file_is_refused_before_anything_is_loaded(refusal, tmp_path):
    (tmp_path / "file").touch()
    refused = refusal("reproduce", "R3-torch", "--output", tmp_path / "file" / "run")
    assert refused == (
        f"--output {tmp_path}/file/run: {tmp_path}/file is a file; choose another folder."
    )


@pytest.mark.parametrize(
    "command", [("evaluate",), ("predict",), ("report",), ("train", "--resume")], ids=" ".join
)
@pytest.mark.parametrize("name", ["none", "foreign"])
def test_folder_that_is_no_run_is_refused(refusal, tmp_path, command, name):
    (tmp_path / "foreign").mkdir()
    path = tmp_path / name
    said = "there is no such run folder." if name == "none" else "is no run folder"
    assert refusal(*command, path).startswith(f"{path}: {said}")


@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_unfinished_run_says_how_to_go_on(refusal, tmp_path, command):
    path = tmp_path / "run"
    RunFolder.create(path, linear_config(Recipe(), DATA), load_dataset(DATA), "ab")
    assert refusal(command, path) == (
        f"{path}: this run is not finished; continue with: alexnet train --resume {path}"
    )


def test_damaged_run_is_refused(refusal, tmp_path, finished):
    path = tmp_path / "run"
    path.mkdir()
    for file in finished.iterdir():
        (path / file.name).write_bytes(file.read_bytes())
    (path / "result.json").write_text("{")
    assert refusal("evaluate", path).startswith(f"{path / 'result.json'}: cannot be read as JSON")


def test_report_of_nothing_is_refused(refusal):
    assert refusal("report") == (
        "no run folder was given; name one or more, or the folder of a comparison."
    )


@pytest.mark.usefixtures("framework")
def test_predict_refuses_what_is_no_image(refusal, tmp_path, finished):
    assert "no image was given" in refusal("predict", finished)
    missing = tmp_path / "none.png"
    assert str(missing) in refusal("predict", finished, missing)
    (tmp_path / "text.png").write_text("no image")
    assert str(tmp_path / "text.png") in refusal("predict", finished, tmp_path / "text.png")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cifer",), "Unknown variant 'cifer'. Did you mean 'cifar'?"),
        (("alexnet",), "Unknown variant 'alexnet'. Did you mean 'torchvision'? Known: torchvis"),
        (("cifar", "--num-classes", "0"), "cifar: num_classes=0 must be at least 1."),
        (("cifar", "--width", "99"), "cifar: width=99.0 must be above 0 and at most 16."),
        (("torchvision", "--input-size", "62"), "pool5: the map shrinks below 1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_describe_refuses_networks_that_cannot_be(refusal, arguments, message):
    assert refusal("describe", *arguments).startswith(message)


def test_convert_refuses_in_one_line(refusal):
    assert refusal("convert", "a.pt", "b.onnx").startswith("b.onnx: must end in one of")
    assert refusal("convert", "a.pt", "b.safetensors") == "a.pt: there is no such file."


def test_worker_without_a_request_is_no_traceback(alexnet, monkeypatch):
    monkeypatch.setattr(sys, "stdin", open(os.devnull))  # noqa: SIM115, PTH123 - read once
    code, _, err = alexnet("worker", "training")
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith("alexnet: error: worker training: received no request")


# ---- flags that tyro refuses: exit code 2


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("trian",),
        ("train", "--nosuch"),
        ("train", "--seed", "one"),
        ("train", "--recipe.nosuch", "1"),
        ("train", "--recipe.optimizer", "sdg"),
        ("describe",),
        ("convert", "a.pt"),
        ("variants", "cifar"),
    ],
    ids=lambda arguments: " ".join(arguments) or "nothing",
)
def test_wrong_flags_exit_with_2_and_say_which(alexnet, home, arguments):
    code, out, err = alexnet(*arguments)
    assert (code, out) == (2, "")
    assert "Traceback" not in err
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [
        (("comapre",), "Unknown command 'comapre'. Did you mean 'compare'? Known: compare, train"),
        (("bench-compare",), "Unknown command 'bench-compare'. Did you mean 'bench compare'?"),
        (("train", "--recipe.lr", "1"), "--recipe.lr. Did you mean --recipe.learning-rate?"),
        (("train", "--lr=1"), "Unknown flag --lr. Did you mean --recipe.learning-rate?"),
        (("compare", "--batch-size", "2"), "Did you mean --recipe.global-batch-size?"),
        (("bench", "--recipe.wd", "1"), "Did you mean --recipe.weight-decay?"),
        (("parity", "--recipe.no-nestrov"), "Did you mean --recipe.nesterov?"),
        (("explain", "--varaint", "cifar"), "Unknown flag --varaint. Did you mean --variant?"),
        (("describe", "cifar", "--inputsize", "64"), "Did you mean --input-size?"),
        (("variants", "--recipe.epochs", "2"), "Unknown flag --recipe.epochs. `alexnet variants"),
        (("report", "--qqqq"), "Unknown flag --qqqq. `alexnet report --help` lists the flags."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_command_or_flag_suggests_the_nearest(alexnet, arguments, suggestion):
    code, out, err = alexnet(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("alexnet: error: Unknown ")
    assert suggestion in err


# ---- help


def test_help_groups_the_commands_and_hides_internal_ones(alexnet):
    code, out, err = alexnet("--help")
    assert (code, err) == (0, "")
    listed = re.findall(r"^  (\w+(?: compare)?)  +\S", out, re.MULTILINE)
    assert listed == [name for name, command in COMMANDS.items() if command.group]
    headings = re.findall(r"^(\w[\w ]+)$", out, re.MULTILINE)
    assert headings == list(dict.fromkeys(c.group for c in COMMANDS.values() if c.group))
    assert alexnet() == (2, "", out)


def test_version_is_the_packages(alexnet):
    assert alexnet("--version") == (0, f"alexnet {alexnet_impl.__version__}\n", "")


TWO_SCREENS = 72
"""Lines of two screens of 36 lines."""


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_fits_on_two_screens(alexnet, monkeypatch, name):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = alexnet(*name.split(), "--help")
    assert (code, err) == (0, "")
    assert f"usage: alexnet {name} " in out
    assert len(out.splitlines()) <= TWO_SCREENS
    assert "{None}" not in out
    assert "default: )" not in out
    assert "default: None" not in out
    takes_recipe = "--recipe NAME" in out
    assert re.findall(r"--recipe\.\S+ \w+", out) == ["--recipe.FIELD VALUE"] * takes_recipe


def test_help_shows_every_choice():
    """They stand as words in the help, since the code that knows them is imported later."""
    assert metavar(flags.Train, "framework") == FRAMEWORKS
    assert metavar(flags.Predict, "framework") == FRAMEWORKS
    assert metavar(flags.TrainingOptions, "dataset") == DATASETS
    assert metavar(flags.TrainingOptions, "device") == DEVICES
    assert set(metavar(flags.Reproduce, "budget")) == set(BUDGETS)


def metavar(kind, name):
    """The choices that the help shows for a flag."""
    _, shown, *_ = get_args(get_type_hints(kind, include_extras=True)[name])
    return tuple(shown.metavar.strip("{}").split(","))


@pytest.mark.parametrize("command", COMMANDS.values(), ids=lambda command: command.name)
def test_every_handler_takes_the_flags_of_its_command(command):
    module, _, function = command.handler.partition(":")
    handler = getattr(import_module(f"alexnet_impl.cli.{module}"), function)
    first, *_ = get_type_hints(handler).values()
    assert first is command.flags


HEAVY = {"scipy", "matplotlib", "sklearn", "jinja2", "psutil"} | {*FRAMEWORKS, "keras", "jax"}
QUICK = [["--help"], ["variants"], ["describe", "cifar"], ["recipes"], ["reproduce", "--list"]]


@pytest.mark.slow
def test_closed_standard_error_ends_no_command():
    command = ["/bin/sh", "-c", '"$@" 2>&-', "sh", sys.executable, "-m", "alexnet_impl", "variants"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "torchvision" in done.stdout


def test_quick_commands_import_nothing_heavy():
    code = (
        "import sys; from alexnet_impl.cli import main; "
        f"codes = [main(words) for words in {QUICK}]; print(*codes, *sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    names = done.stderr.split()
    assert names[: len(QUICK)] == ["0"] * len(QUICK)
    assert {name.partition(".")[0] for name in names} & HEAVY == set()
    assert "alexnet_impl.training.run" not in names


# ---- no traceback ever


def raises(error):
    """A handler that raises."""

    def handler(*_):
        raise error

    return handler


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("an odd\nvalue"), "unexpected ValueError: an odd value; ALEXNET_TRACE"),
        (KeyError("name"), "unexpected KeyError: 'name'; ALEXNET_TRACEBACK=1 shows where"),
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
        (MemoryError(), "MemoryError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_any_error_is_one_line_and_no_traceback(alexnet, monkeypatch, error, line):
    monkeypatch.setattr(listings, "variants_command", raises(error))
    code, _, err = alexnet("variants")
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith(f"alexnet: error: {line}")


@pytest.mark.parametrize(
    ("stop", "line"),
    [
        (KeyboardInterrupt(), "Stopped.\n"),
        (StoppedError("Stopped after step 3; continue with: x"), "Stopped after step 3; continue "),
    ],
    ids=["anywhere", "in a training"],
)
def test_ctrl_c_is_no_error(alexnet, monkeypatch, stop, line):
    monkeypatch.setattr(listings, "variants_command", raises(stop))
    code, out, err = alexnet("variants")
    assert (code, out, err.count("\n")) == (130, "", 1)
    assert err.startswith(line)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_sigterm_and_sighup_stop_a_command_as_ctrl_c_does(alexnet, monkeypatch, number):
    before = signal.getsignal(number)
    monkeypatch.setattr(listings, "variants_command", lambda *_: signal.raise_signal(number))
    assert alexnet("variants") == (130, "", "Stopped.\n")
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("place", ["/dev/full", "pipe"])
def test_output_that_cannot_be_written_ends_no_command(monkeypatch, capsys, place):
    """`alexnet train | head` trains on; a full disk is told at the end."""
    ended = []

    def prints(_, console):
        console.print("1")
        console.print("2")
        ended.append(console)
        return 0

    if place == "pipe":
        ours, descriptor = os.pipe()
        os.close(ours)
    else:
        descriptor = os.open(place, os.O_WRONLY)
    monkeypatch.setattr(listings, "variants_command", prints)
    with os.fdopen(descriptor, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        code = main(["variants"])
    assert ended
    said = "" if place == "pipe" else "alexnet: error: [Errno 28] No space left on device\n"
    assert (code, capsys.readouterr().err) == (1 if said else 0, said)


def test_traceback_can_be_had(alexnet, monkeypatch):
    monkeypatch.setattr(listings, "variants_command", raises(ValueError("an odd value")))
    monkeypatch.setenv("ALEXNET_TRACEBACK", "1")
    with pytest.raises(ValueError, match="an odd value"):
        alexnet("variants")


def test_own_warnings_are_one_line_and_a_librarys_are_silent(alexnet, monkeypatch):
    def warn(*_):
        warnings.warn("the cache is damaged", AlexNetWarning, stacklevel=1)
        warnings.warn("use another function", FutureWarning, stacklevel=1)
        return 0

    monkeypatch.setattr(listings, "variants_command", warn)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        code, _, err = alexnet("variants")
    assert (code, err) == (0, "alexnet: warning: the cache is damaged\n")


# ---- flags that reach the run


@pytest.mark.parametrize(
    ("flags", "name", "changes"),
    [
        ("", "quick", {}),
        ("--recipe speedrun", "speedrun", {}),
        ("--recipe=report", "report", {}),
        ("--seed 7", "quick", {"seed": 7}),
        ("--seed 7 --recipe.seed 8", "quick", {"seed": 7}),
        ("--recipe.epochs 2 --recipe speedrun", "speedrun", {"epochs": 2}),
        ("--recipe speedrun --recipe.precision float32", "speedrun", {"precision": "float32"}),
    ],
)
def test_recipe_is_quick_unless_named_and_flags_change_its_fields(started, flags, name, changes):
    assert started(*flags.split()).recipe == replace(RECIPES[name], **changes)


def test_recipe_field_of_any_kind_can_be_changed():
    flags = (
        *("--recipe.learning-rate", "0.25", "--recipe.no-nesterov", "--recipe.flip"),
        *("--recipe.clip-norm", "1", "--recipe.last-layer-std", "None", "--recipe.steps=7"),
        *("--recipe.step-at", "0.3", "0.6", "--recipe.input_scaling", "imagenet"),
    )
    _, given = parse(["train", *flags])
    assert given.options.recipe == replace(
        RECIPES["quick"],
        learning_rate=0.25,
        nesterov=False,
        flip=True,
        clip_norm=1.0,
        last_layer_std=None,
        steps=7,
        step_at=(0.3, 0.6),
        input_scaling="imagenet",
    )


def test_on_collapse_reaches_the_run(started):
    assert started().on_collapse == "warn"
    assert started("--on-collapse", "stop").on_collapse == "stop"


def test_other_flags_reach_the_run(started):
    config = started(
        *("--framework", "tensorflow", "--variant", "slim", "--width", "0.5"),
        *("--device", "cpu", "--threads", "2", "--train-images", "60", "--test-images", "40"),
        *("--image-size", "8"),
    )
    assert (config.framework, config.variant, config.width) == ("tensorflow", "slim", 0.5)
    assert (config.device, config.threads) == ("cpu", 2)
    assert config.data == DataConfig(
        dataset="synthetic", train_images=60, test_images=40, image_size=8
    )


def test_width_is_a_quarter_on_the_embedded_digits_alone(started):
    assert started("--dataset", "digits").width == 0.25
    assert started("--dataset", "digits", "--width", "1").width == 1.0
    assert started().width == 1.0


def test_output_is_a_folder_below_runs_unless_named(framework, monkeypatch, home):
    found = []

    def start(path, *_):
        found.append(path)
        raise StoppedError("started")

    monkeypatch.setattr(commands, "start_run", start)
    main(["train", *SYNTHETIC])
    main(["train", *SYNTHETIC, "--output", "here"])
    assert found[0].parent == Path("runs")
    assert found[0].name.endswith("-torch-cifar")
    assert found[1] == Path("here")
    assert list(home.iterdir()) == []
    assert framework.trainers == []


# ---- whole commands, on the NumPy framework


@pytest.mark.usefixtures("framework")
def test_train_then_evaluate_and_predict(alexnet, tmp_path):
    run = tmp_path / "run"
    flags = ("--recipe", "report", "--recipe.epochs", "3", "--recipe.learning-rate", "0.05")
    code, out, err = alexnet("train", "--variant", "linear", *SYNTHETIC, *flags, "--output", run)
    assert (code, err) == (0, "")
    assert "synthetic: 50 training and 30 test images of 10 classes" in out
    assert out.count("epoch ") >= 3
    assert f"Run folder: {run}" in out
    accuracy = RunFolder.open(run).result.test_top1_accuracy

    code, out, _ = alexnet("evaluate", run)
    assert code == 0
    assert f"{accuracy:.2%}" in out
    for text in ("precision", "recall", "f1", "support", "pattern9"):
        assert text in out.lower()

    image = tmp_path / "image.png"
    Image.fromarray(np.full((9, 7, 3), 200, np.uint8)).save(image)
    code, out, _ = alexnet("predict", run, image)
    assert code == 0
    assert "image.png" in out
    assert out.count("pattern") == 3
    assert "%" in out


@pytest.mark.usefixtures("framework")
def test_weight_file_is_evaluated_anew_with_the_figures_of_its_run(alexnet, tmp_path):
    run = tmp_path / "run"
    flags = ("--recipe", "report", "--recipe.epochs", "2", "--recipe.learning-rate", "0.05")
    assert alexnet("train", "--variant", "linear", *SYNTHETIC, *flags, "--output", run)[0] == 0
    _, of_run, _ = alexnet("evaluate", run)
    images = (*SYNTHETIC[:4], "--test-images", "30", "--framework", "torch")
    for what in (run, run / "weights.safetensors"):
        code, out, err = alexnet("evaluate", what, *images)
        assert (code, err) == (0, "")
        assert out == of_run


def test_weight_file_has_no_images_of_its_own(refusal, tmp_path):
    path = tmp_path / "a.pt"
    path.touch()
    assert refusal("evaluate", path) == (
        f"{path}: is a file of weights, which has no images; give some with --data-dir PATH or "
        "--dataset NAME."
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("evaluate", "--framework", "torch"), "--framework needs images; name them with --datase"),
        (("evaluate", "--test-images", "3"), "--test-images needs images; name them with"),
        (("evaluate", "--variant", "cifar"), "--variant belongs to weight files; a run states it."),
        (("predict", "--key", "model"), "--key belongs to weight files; a run states it."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_flag_without_effect_on_a_run_is_refused(refusal, finished, arguments, message):
    command, *flags = arguments
    image = ["image.png"] if command == "predict" else []
    assert refusal(command, finished, *image, *flags).startswith(message)


def test_interrupted_train_exits_with_130_and_can_be_resumed(alexnet, tmp_path, framework):
    framework.before_step = interrupt_at(3)
    run = tmp_path / "run"
    flags = ("--variant", "linear", *SYNTHETIC, "--recipe.epochs", "2", "--output", run)
    code, _, err = alexnet("train", *flags, "--recipe.global-batch-size", "16")
    assert code == 130
    assert err == f"Stopped after step 3; continue with: alexnet train --resume {run}\n"
    framework.before_step = None
    code, out, err = alexnet("train", "--resume", run)
    assert (code, err) == (0, "")
    assert "after step 3" in out
    assert RunFolder.open(run).result.status == "finished"


def test_train_stopped_between_its_steps_says_how_to_continue(
    alexnet, tmp_path, framework, monkeypatch
):
    """Before the first step, or by a second Ctrl-C."""
    run = tmp_path / "run"

    def twice(_):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    framework.before_step = at_step(2, twice)
    code, _, err = alexnet("train", "--variant", "linear", *SYNTHETIC, "--output", run)
    assert (code, err) == (130, f"Stopped; continue with: alexnet train --resume {run}\n")

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "start_run", stop)
    none = tmp_path / "none"
    code, _, err = alexnet("train", "--variant", "linear", *SYNTHETIC, "--output", none)
    assert (code, err) == (130, "Stopped.\n")


def test_diverged_train_is_one_line(alexnet, tmp_path, framework):
    framework.before_step = break_at(2, float("nan"))
    run = tmp_path / "run"
    code, _, err = alexnet("train", "--variant", "linear", *SYNTHETIC, "--output", run)
    assert code == 1
    assert err.startswith(f"alexnet: error: {run}: the loss is nan at step ")
    assert err.count("\n") == 1
    assert alexnet("evaluate", run)[2].startswith(f"alexnet: error: {run}: this run diverged: ")


@pytest.fixture
def mortal(monkeypatch):
    """The NumPy framework with a network that dies."""
    return fake_framework.install_mortal(monkeypatch)


MORTAL = ["--variant", "mortal", *SYNTHETIC, "--recipe.global-batch-size", "2"]
COLLAPSED = "the network has collapsed by step 14: 100.0% of relu1's units are dead, "


@pytest.mark.usefixtures("mortal")
def test_train_that_collapses_is_warned_of_in_one_line(alexnet, tmp_path):
    run = tmp_path / "run"
    code, out, err = alexnet("train", *MORTAL, "--output", run)
    assert code == 0
    assert err.startswith(f"alexnet: warning: torch: {COLLAPSED}")
    assert err.count("\n") == 1
    assert re.search(r"collapsed *│ *by step 14", out)
    code, out, _ = alexnet("evaluate", run)
    assert (code, COLLAPSED in " ".join(out.split())) == (0, True)


@pytest.mark.usefixtures("mortal")
def test_train_that_shall_stop_at_a_collapse_ends_with_an_error(alexnet, tmp_path):
    run = tmp_path / "run"
    code, out, err = alexnet("train", *MORTAL, "--on-collapse", "stop", "--output", run)
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith(f"alexnet: error: {run}: {COLLAPSED}")
    assert "collapsed after 14 of " in out
    assert RunFolder.open(run).result.status == "collapsed"
    assert alexnet("evaluate", run)[2].startswith(f"alexnet: error: {run}: this run collapsed: ")
    code, _, err = alexnet("train", "--resume", run)
    assert (code, "this run collapsed and would not recover" in err) == (1, True)


@pytest.mark.usefixtures("mortal")
def test_train_that_ignores_a_collapse_says_nothing(alexnet, tmp_path):
    flags = ("--on-collapse", "ignore", "--output", tmp_path / "run")
    code, out, err = alexnet("train", *MORTAL, *flags)
    assert (code, err, "collapsed" in out) == (0, "", False)


@pytest.mark.slow
@pytest.mark.usefixtures("mortal")
def test_compare_goes_on_when_a_run_stops_at_a_collapse(alexnet, tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "worker_series", series_in_process)
    monkeypatch.setattr(comparison, "check_frameworks", lambda _: None)
    folder = tmp_path / "both"
    for arguments in ((*MORTAL, "--on-collapse", "stop", "--output", folder), ("--resume", folder)):
        code, _, err = alexnet("compare", *arguments)
        assert (code, err.count("\n")) == (1, 1)
        for name in ("torch", "tensorflow"):
            assert f"{folder / name}: {COLLAPSED}" in err
        assert "PyTorch collapsed and TensorFlow collapsed" in (folder / "report.html").read_text()


@pytest.mark.usefixtures("framework")
def test_convert_prints_how_far_the_outputs_differ(alexnet, tmp_path):
    weights = initial_weights(build_spec("linear", input_size=32), Recipe())
    info = WeightsInfo(variant="linear", num_classes=10, input_size=32, width=1.0)
    save_weights(tmp_path / "in.safetensors", weights, info)
    target = tmp_path / "out.safetensors"
    code, out, _ = alexnet("convert", tmp_path / "in.safetensors", target)
    assert code == 0
    assert out.startswith(f"{target}: 2 weights of linear.")
    assert "differ by at most 0.00e+00, relative 0.00e+00." in out


@pytest.mark.slow
def test_module_is_the_command(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "alexnet_impl", "describe", "cifer"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("alexnet: error: Unknown variant 'cifer'. Did you mean 'cifar'?")
    assert done.stderr.count("\n") == 1
