"""Experiments run once, go on where they stopped, and refuse what is not theirs."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from support import fake_framework
from support.experiment_runs import base_config, pixels, request_of, write_experiment
from support.fake_framework import Killed, at_step, kill_at
from support.starting import train_prepared

from alexnet_impl.cli import main
from alexnet_impl.data.cifar import CIFAR10_CLASSES
from alexnet_impl.errors import DataError, RunError, StoppedError, WeightsError
from alexnet_impl.network.variants import build_spec
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.reproduction.catalogue.budget import BUDGETS, get_budget
from alexnet_impl.reproduction.catalogue.scratch import EXPERIMENTS, get_experiment
from alexnet_impl.reproduction.runs import runner
from alexnet_impl.reproduction.runs.experiment_record import ExperimentRecord
from alexnet_impl.reproduction.runs.requests import (
    config_differences,
    make_request,
    unpermuted_path,
)
from alexnet_impl.reproduction.runs.runner import check_memory, prepare_request, reproduce
from alexnet_impl.runs import folder as folders
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.training.prepare import PreparedRun
from alexnet_impl.weights.canonical import weights_sha256
from alexnet_impl.weights.initializers import initial_weights
from alexnet_impl.weights.metadata import WeightsInfo, load_weights, save_weights

pytestmark = pytest.mark.fast

REPRODUCE = "alexnet_impl.reproduction.runs.runner"
COMMAND = "alexnet_impl.cli.reproduce"
ALEXNET = "alexnet-owt-7be5be79.pth"
"""As torchvision publishes it."""


@pytest.fixture
def framework(monkeypatch):
    """The NumPy framework, in this process, and some of R3's experiments with its network."""
    fake = fake_framework.install(monkeypatch)
    for name in ("R3-torch", "R3-tf", "R3-torch-pretrained"):
        experiment = EXPERIMENTS[name]
        small = replace(
            experiment.recipe, epochs=3, global_batch_size=10, input_size=4, reset_layers=()
        )
        monkeypatch.setitem(EXPERIMENTS, name, replace(experiment, variant="linear", recipe=small))
    fake.calls = []

    def train(run, folder, observer, **_):
        fake.calls.append(folder)
        return train_prepared(run, folder, observer)

    monkeypatch.setattr(f"{REPRODUCE}.train_in_worker", train)
    monkeypatch.setattr(f"{COMMAND}.check_frameworks", lambda *_: None)
    return fake


@pytest.fixture(scope="module")
def picture_folder(tmp_path_factory):
    """A folder of four training images and one test image a class."""
    root = tmp_path_factory.mktemp("pictures") / "images"
    rng = np.random.default_rng(0)
    for part, count in (("train", 4), ("test", 1)):
        for name in CIFAR10_CLASSES:
            folder = root / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                picture = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
                Image.fromarray(picture).save(folder / f"{number}.png")
    return root


@pytest.fixture
def images(picture_folder, tmp_path):
    """The pictures in a folder that a test may change."""
    return shutil.copytree(picture_folder, tmp_path / "images")


@pytest.fixture
def alexnet(capsys, tmp_path, images, monkeypatch):
    """Run `reproduce` on the images, at full length."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments, budget="full", data_dir=images):
        paths = ("--data-dir", str(data_dir), "--output", str(tmp_path / "runs"))
        code = main(["reproduce", *arguments, "--budget", budget, *paths])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def folder_of(tmp_path, name="R3-torch", seed=0):
    return tmp_path / "runs" / "full" / name / f"seed-{seed}"


def start(framework, alexnet, *arguments, killed=True):
    """Runs to the end, or is killed in the second epoch."""
    if not killed:
        assert alexnet(*arguments)[0] == 0
        return
    framework.before_step = kill_at(7)
    with pytest.raises(Killed):
        alexnet(*arguments)
    framework.before_step = None


def add_one(path):
    """Changes every weight of a file; returns what it held."""
    weights, info = load_weights(path)
    save_weights(path, {key: array + 1 for key, array in weights.items()}, info)
    return weights, info


def test_run_lies_where_the_ledger_looks_with_what_it_is_a_run_of(framework, alexnet, tmp_path):
    code, out, _ = alexnet("R3-torch")
    assert code == 0
    assert "R3-torch in torch: the report's full length" in out
    record = ExperimentRecord.read(folder_of(tmp_path) / "experiment.json")
    assert (record.experiment, record.budget, record.label) == ("R3-torch", "full", "")
    few = "40 training and 10 test images instead of 50,000 and 10,000"
    assert record.mismatches == (few,)
    assert f"differs from the report: {few}" in " ".join(out.split())
    run = RunFolder.open(folder_of(tmp_path) / "torch")
    assert run.finished_result().steps == 12
    assert len(framework.calls) == 1


def test_finished_run_is_not_run_again_and_another_seed_is_another_run(
    framework, alexnet, tmp_path
):
    assert alexnet("R3-torch")[0] == alexnet("R3-torch", "--threads", "1")[0] == 0
    assert len(framework.calls) == 1
    assert alexnet("R3-torch", "--seed", "1")[0] == 0
    assert framework.calls[-1] == folder_of(tmp_path, seed=1) / "torch"


def test_killed_set_goes_on_where_it_stopped(framework, alexnet, tmp_path):
    assert alexnet("R3-torch")[0] == 0
    start(framework, alexnet, "R3-torch", "R3-tf", "--seed", "1")
    assert alexnet("R3-torch", "R3-tf", "--seed", "1")[0] == 0
    assert framework.trainers[-2].steps_taken == 12 - 4
    for name, kind in (("R3-torch", "torch"), ("R3-tf", "tensorflow")):
        run = RunFolder.open(folder_of(tmp_path, name, 1) / kind)
        assert run.finished_result().steps == 12


@pytest.mark.parametrize("killed", [False, True], ids=["finished", "killed"])
@pytest.mark.parametrize("other", [False, True], ids=["same images", "other images"])
def test_run_is_found_again_by_its_images_wherever_they_lie(
    framework, alexnet, images, tmp_path, killed, other
):
    start(framework, alexnet, "R3-torch", killed=killed)
    moved = images.rename(tmp_path / "elsewhere")
    if other:
        Image.new("RGB", (4, 4)).save(moved / "train" / CIFAR10_CLASSES[0] / "0.png")
    code, _, err = alexnet("R3-torch", data_dir=moved)
    assert code == int(other)
    assert ("holds a run on images with fingerprint" in err) == other
    assert len(framework.calls) == (2 if killed and not other else 1)


@pytest.mark.parametrize("killed", [False, True], ids=["finished", "killed"])
@pytest.mark.parametrize("other", [False, True], ids=["same weights", "other weights"])
def test_run_is_found_again_by_its_weights_wherever_they_lie(
    framework, alexnet, linear_weights, tmp_path, killed, other
):
    name = "R3-torch-pretrained"
    start(framework, alexnet, name, "--weights", str(linear_weights), killed=killed)
    moved = linear_weights.rename(tmp_path / "renamed.safetensors")
    if other:
        add_one(moved)
    code, _, err = alexnet(name, "--weights", str(moved))
    assert code == int(other)
    assert ("weights of another content than" in err) == other
    assert len(framework.calls) == (2 if killed and not other else 1)


def test_killed_run_without_a_digest_of_its_file_goes_on_from_its_own_weights_alone(
    framework, alexnet, linear_weights, tmp_path
):
    name = "R3-torch-pretrained"
    start(framework, alexnet, name, "--weights", str(linear_weights))
    run = RunFolder.open(folder_of(tmp_path, name) / "torch")
    run.write_json("run.json", run.read_json("run.json") | {"given_weights_sha256": None})
    weights, info = add_one(linear_weights)
    code, _, err = alexnet(name, "--weights", str(linear_weights))
    assert code == 1
    assert "was started on other weights than" in err
    save_weights(linear_weights, weights, info)
    assert alexnet(name, "--weights", str(linear_weights))[0] == 0


@pytest.mark.parametrize(
    ("found", "asked", "same"),
    [
        (f"/a/{ALEXNET}", f"/b/{ALEXNET}", True),
        (f"/a/{ALEXNET}", "torchvision:IMAGENET1K_V1", True),
        ("/a/mine.pth", "/b/mine.pth", True),
        ("/a/mine.pth", "/a/other.pth", False),
        ("/a/mine.pth", None, False),
    ],
)
def test_missing_weights_are_known_by_name(found, asked, same):
    one, other = (base_config(weights=weights) for weights in (found, asked))
    assert (config_differences(one, other) == []) == same


def test_run_of_another_config_is_refused_and_kept(framework, alexnet, tmp_path, monkeypatch):
    assert alexnet("R3-torch")[0] == 0
    before = (folder_of(tmp_path) / "torch" / "result.json").read_bytes()
    changed = replace(EXPERIMENTS["R3-torch"].recipe, momentum=0.5)
    monkeypatch.setitem(EXPERIMENTS, "R3-torch", replace(EXPERIMENTS["R3-torch"], recipe=changed))
    code, _, err = alexnet("R3-torch")
    assert code == 1
    assert "holds a run with momentum=0.9, not 0.5; choose another folder" in err
    assert (folder_of(tmp_path) / "torch" / "result.json").read_bytes() == before
    assert len(framework.calls) == 1


def test_both_trains_the_same_recipe_in_the_other_framework(framework, alexnet, tmp_path):
    assert alexnet("R3-tf", "--both")[0] == 0
    runs = [
        RunFolder.open(folder_of(tmp_path, "R3-tf") / n).config for n in ("torch", "tensorflow")
    ]
    assert runs[0].recipe == runs[1].recipe
    assert len(framework.calls) == 2


def test_folder_sorted_by_class_gets_a_permutation_and_says_so(framework, alexnet, tmp_path):  # noqa: ARG001
    code, out, _ = alexnet("R3-tf")
    assert code == 0
    assert "differs from the report: the images are stored class by class" in out
    record = ExperimentRecord.read(folder_of(tmp_path, "R3-tf") / "experiment.json")
    assert "a buffer of 1,000" in record.mismatches[0]
    run = RunFolder.open(folder_of(tmp_path, "R3-tf") / "tensorflow")
    assert run.config.recipe.shuffle_buffer is None


def test_archive_keeps_the_buffer():
    assert request_of("R3-tf").config.recipe.shuffle_buffer == 1_000
    assert request_of("R3-tf").mismatches == ()
    assert request_of("R3-tf", dataset="image_folder").config.recipe.shuffle_buffer is None


def test_request_has_the_experiments_recipe_and_the_budgets_images():
    request = request_of("R0-tf", "minutes", seed=3)
    config = request.config
    assert (config.framework, config.variant) == ("tensorflow", "torchvision-same")
    assert (config.data.train_images, config.data.test_images) == (5_000, 1_000)
    assert config.recipe == replace(EXPERIMENTS["R0-tf"].recipe, epochs=2, seed=3)


def test_narrow_network_is_a_mismatch():
    base = base_config(width=0.125)
    request = make_request(get_experiment("R3-torch"), get_budget("full"), base)
    assert request.mismatches == ("width 0.125",)


def test_whole_dataset_in_memory_is_refused_with_the_arithmetic():
    request = request_of("R0-tf-in-memory")
    with pytest.raises(RunError, match=r"50,000 x 227 x 227 x 3 x 4 bytes = 30\.9 GB and 10,000"):
        check_memory(request, available=32 * 10**9)
    assert "37.1 GB of 64.0 GB: the memory is enough" in check_memory(request, available=64 * 10**9)
    assert check_memory(request_of("R0-tf"), available=1) == ""
    with pytest.raises(RunError, match=r"make 36\.1 GB of 12\.0 GB"):
        check_memory(request_of("R4-tf-vgg16"), available=12 * 10**9)
    few = request_of("R4-tf-vgg16", "minutes")
    with pytest.raises(RunError, match=r"5,000 x 224 x 224 x 3 x 4 bytes = 3\.0 GB and 1,000"):
        check_memory(few, available=3 * 10**9)


@pytest.mark.parametrize(
    ("name", "without"), [("R0-tf-in-memory", "R0-tf"), ("R4-tf-vgg16", "R4-tf-vgg16-cached")]
)
def test_memory_is_checked_before_anything_is_loaded_and_names_what_does_without(
    alexnet, monkeypatch, name, without
):
    monkeypatch.setattr(f"{COMMAND}.check_frameworks", lambda *_: None)
    monkeypatch.setattr(f"{COMMAND}.load_images", lambda *_: pytest.fail("loaded"))
    monkeypatch.setattr(f"{COMMAND}.prepare_request", lambda *_: pytest.fail("fetched"))
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(total=8 * 10**9))
    code, _, err = alexnet(name)
    assert code == 1
    assert f"run {without} instead, which corrects it" in err


@pytest.mark.parametrize("part", ["train", "test"])
def test_folder_with_fewer_images_than_the_budget_takes_is_refused(
    framework, alexnet, images, monkeypatch, part
):
    counts = {"train_images": 40, "test_images": 10} | {f"{part}_images": 41}
    monkeypatch.setitem(BUDGETS, "minutes", replace(BUDGETS["minutes"], **counts))
    code, _, err = alexnet("R3-torch", budget="minutes")
    assert code == 1
    assert "did not start: budget minutes takes " in err
    assert f"and {images} has fewer; give all of CIFAR-10 with --data-dir." in err
    assert framework.calls == []


def test_worker_is_told_the_interpreter_and_nothing_else(monkeypatch, tmp_path):
    told = {}

    def train(run, folder, _, **options):
        told.update(options)
        raise RunError(f"{run.config.framework} in {folder.name}")

    monkeypatch.setattr(f"{REPRODUCE}.train_in_worker", train)
    request = request_of("R3-torch")
    run = PreparedRun(config=request.config, spec=request.config.spec(10))
    with pytest.raises(RunError, match="torch in torch"):
        reproduce(request, run, tmp_path, Console(), interpreter="python9")
    assert told == {"interpreter": "python9"}


def test_run_that_never_began_leaves_nothing_but_a_log_that_is_named(monkeypatch, tmp_path):
    request = request_of("R3-torch")
    run = PreparedRun(config=request.config, spec=request.config.spec(10))
    log = request.folder(tmp_path) / "torch.log"

    def fails(message):
        def train(*_, **__):
            log.write_text("its words")
            raise RunError(message)

        monkeypatch.setattr(f"{REPRODUCE}.train_in_worker", train)
        with pytest.raises(RunError):
            reproduce(request, run, tmp_path, Console())
        return sorted(path.name for path in tmp_path.rglob("*") if path.is_file())

    assert fails(f"was killed (all of it in {log})") == ["torch.log"]
    assert fails("the recipe cannot be") == []
    other = write_experiment(tmp_path, "R3-torch", framework="tensorflow").path.parent
    before = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert (other / "experiment.json").is_file()
    assert fails("the recipe cannot be") == before


def test_log_of_a_run_that_another_process_trains_is_not_touched(framework, alexnet, tmp_path):
    """Two at once: the second one comes before its worker could, and is refused."""
    folder, codes = folder_of(tmp_path), []

    def elsewhere(_):
        if (process := os.fork()) == 0:
            framework.before_step = None
            monkeypatch = pytest.MonkeyPatch()
            monkeypatch.setattr(folders, "LOCK_WAIT_S", 0.0)
            os._exit(alexnet("R3-torch")[0] + 10 * (len(framework.calls) - 1))
        codes.append(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))

    framework.before_step = at_step(2, elsewhere)
    assert alexnet("R3-torch")[0] == 0
    assert codes == [1]
    assert sorted(path.name for path in folder.iterdir()) == ["experiment.json", "torch"]


def test_signal_that_comes_too_late_for_a_run_starts_no_other(framework, alexnet, monkeypatch):
    train = runner.train_in_worker

    def stopped(*arguments, **options):
        train(*arguments, **options)
        raise StoppedError("Stopped between two runs of torch")

    monkeypatch.setattr(f"{REPRODUCE}.train_in_worker", stopped)
    assert alexnet("R3-torch", "R3-tf")[0] == 130
    assert len(framework.calls) == 1


def test_stop_says_that_the_same_command_continues(framework, alexnet, monkeypatch):  # noqa: ARG001
    for stopped, told in (
        (StoppedError("Stopped runs/torch after step 3"), "Stopped runs/torch after step 3"),
        (KeyboardInterrupt(), "Stopped"),
    ):

        def stop(*_, stopped=stopped, **__):
            raise stopped

        monkeypatch.setattr(f"{REPRODUCE}.train_in_worker", stop)
        expected = (130, f"{told}; the same command continues it\n")
        assert alexnet("R3-torch")[::2] == expected


def test_run_that_diverged_has_ended_and_keeps_no_other_from_running(framework, alexnet, tmp_path):
    def break_loss(trainer, step):
        if len(framework.calls) == 1:
            trainer.broken_loss = float("nan") if step == 2 else None

    framework.before_step = break_loss
    code, out, err = alexnet("R3-torch", "R3-tf")
    assert (code, err) == (0, "")
    assert "diverged" in out
    assert len(framework.calls) == 2
    diverged, other = (
        RunFolder.open(folder_of(tmp_path, name) / kind).result
        for name, kind in (("R3-torch", "torch"), ("R3-tf", "tensorflow"))
    )
    assert (diverged.status, other.status) == ("diverged", "finished")
    assert alexnet("R3-torch", "R3-tf")[0] == 0
    assert len(framework.calls) == 2


def test_run_that_failed_after_it_began_keeps_its_record(framework, alexnet, tmp_path):
    def fail(_, step):
        if step == 2:
            raise RunError("the machine is on fire")

    framework.before_step = fail
    assert alexnet("R3-torch")[0] == 1
    assert (folder_of(tmp_path) / "experiment.json").is_file()
    assert (folder_of(tmp_path) / "torch" / "run.json").is_file()


def test_damaged_record_is_named(tmp_path):
    path = tmp_path / "experiment.json"
    path.write_text(json.dumps({"schema_version": 1, "experiment": "R3-torch"}))
    with pytest.raises(RunError, match=r"missing required field budget\); remove the"):
        ExperimentRecord.read(path)
    path.write_text("{")
    with pytest.raises(RunError, match=r"experiment\.json: is not JSON; remove the folder"):
        ExperimentRecord.read(path)
    record = ExperimentRecord(
        experiment="R3-torch", budget="full", seed=0, label="", mismatches=("x",)
    )
    record.write(path)
    assert ExperimentRecord.read(path) == record
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 2'))
    with pytest.raises(RunError, match="schema_version=2, not 1"):
        ExperimentRecord.read(path)


def test_record_from_before_the_keys_were_renamed_still_opens(tmp_path):
    path = tmp_path / "experiment.json"
    file = "mine.pth, not known to be torchvision:IMAGENET1K_V1"
    former = {
        "schema_version": 1,
        "experiment": "R3-torch-pretrained",
        "budget": "full",
        "seed": 3,
        "label": "",
        "departures": ["no buffer", f"begins with {file}"],
    }
    path.write_text(json.dumps(former))
    record = ExperimentRecord.read(path)
    assert (record.experiment, record.seed) == ("R3-torch-pretrained", 3)
    assert record.mismatches == ("no buffer", f"starts from {file}")


@pytest.fixture
def linear_weights(tmp_path, framework):  # noqa: ARG001 - it knows the network
    """A file that the experiments with weights can start from; its network's weights."""
    spec = build_spec("linear")
    weights = initial_weights(spec, Recipe(seed=7))
    info = WeightsInfo(variant="linear", num_classes=10, input_size=4, width=1.0)
    save_weights(tmp_path / "linear.safetensors", weights, info)
    return tmp_path / "linear.safetensors"


@pytest.fixture
def _no_network(monkeypatch, tmp_path):
    """Nothing is kept and nothing can be downloaded."""

    def refuse(remote, *_, **__):
        raise DataError(f"{remote.url}: cannot be downloaded (no network).")

    monkeypatch.setattr("alexnet_impl.weights.published_files.download", refuse)
    for name in ("TORCH_HOME", "KERAS_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))


def test_experiment_begins_with_the_file_that_is_given(alexnet, linear_weights, tmp_path):
    name = "R3-torch-pretrained"
    code, out, err = alexnet(name, "R3-torch", "--weights", str(linear_weights))
    assert (code, err) == (0, "")
    assert "linear.safetensors, not known to be torchvision:IMAGENET1K_V1" in " ".join(out.split())
    run, other = (RunFolder.open(folder_of(tmp_path, n) / "torch") for n in (name, "R3-torch"))
    assert run.config.weights == str(linear_weights)
    assert run.initial_weights_sha256 == weights_sha256(load_weights(linear_weights)[0])
    assert other.config.weights is None


@pytest.mark.usefixtures("_no_network")
def test_one_that_cannot_start_says_how_to_do_without_the_network(framework, alexnet):
    code, _, err = alexnet("R1-torch-pretrained")
    assert code == 1
    (line,) = err.splitlines()
    assert line.startswith("alexnet: error: R1-torch-pretrained in torch did not start: https://")
    assert line.endswith("Or give a copy of it with --weights FILE.")
    assert framework.calls == []


@pytest.mark.usefixtures("_no_network")
def test_those_that_cannot_start_keep_no_other_from_running(framework, alexnet, tmp_path):
    code, out, err = alexnet("R1-torch-pretrained", "R3-torch", "R4-tf-mobilenetv2")
    assert code == 1
    assert RunFolder.open(folder_of(tmp_path) / "torch").finished_result().steps == 12
    assert len(framework.calls) == 1
    ends = [line for line in out.splitlines() if line.endswith("with --weights FILE.")]
    assert [line.split()[0] for line in ends] == ["R1-torch-pretrained", "R4-tf-mobilenetv2"]
    assert "2 of 3 runs did not start, for the reasons above." in err


def test_run_that_fails_later_ends_the_set(framework, alexnet, monkeypatch):
    def fail(run, folder, *_, **__):
        framework.calls.append(folder)
        folder.mkdir(parents=True)
        (folder / "run.json").write_text("{}")
        raise RunError(f"{run.config.framework}: was killed")

    monkeypatch.setattr(f"{REPRODUCE}.train_in_worker", fail)
    code, _, err = alexnet("R3-torch", "R3-tf")
    assert code == 1
    assert "torch: was killed" in err
    assert len(framework.calls) == 1


@pytest.mark.usefixtures("_no_network")
@pytest.mark.parametrize(
    ("file", "named", "message"),
    [
        ("nowhere.pth", "R3-torch-pretrained", "nowhere.pth: there is no such file"),
        ("w.txt", "R3-torch-pretrained", "w.txt: is neither the name of published weights"),
        (ALEXNET, "R4-tf-mobilenetv2", "none of the named experiments starts from it"),
        (ALEXNET, "R1-torch-pretrained", "expected 7be5be79"),
        ("linear.safetensors", "R3-torch", "none of the named experiments starts from it"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("linear_weights")
def test_file_that_no_experiment_can_start_from_is_refused(alexnet, tmp_path, file, named, message):
    (tmp_path / ALEXNET).write_bytes(b"not it")
    code, _, err = alexnet(named, "--weights", str(tmp_path / file))
    assert code == 1
    assert message in err


@pytest.mark.usefixtures("_no_network")
def test_file_with_a_published_name_serves_its_experiments_alone(framework, alexnet, tmp_path):
    (tmp_path / ALEXNET).write_bytes(b"not it")
    names = ("R1-torch-pretrained", "R4-tf-mobilenetv2")
    code, out, _ = alexnet(*names, "--weights", str(tmp_path / ALEXNET))
    assert code == 1
    assert "R1-torch-pretrained in torch did not start: " + str(tmp_path / ALEXNET) in out
    assert "R4-tf-mobilenetv2 in tensorflow did not start: https://storage.googleapis" in out
    assert framework.calls == []


def test_both_leaves_out_backbones(framework, alexnet, monkeypatch):
    monkeypatch.setattr(f"{COMMAND}._run", lambda request, *_: framework.calls.append(request))
    monkeypatch.setattr(f"{COMMAND}._show", lambda *_: None)
    assert alexnet("R2-torch-pretrained", "R3-tf-vgg16", "--both")[0] == 0
    asked = [(request.experiment.id, request.config.framework) for request in framework.calls]
    assert asked == [
        ("R2-torch-pretrained", "torch"),
        ("R2-torch-pretrained", "tensorflow"),
        ("R3-tf-vgg16", "tensorflow"),
    ]


def narrow_alexnet(path):
    """Weights of a narrow network for a thousand classes; its width."""
    width = 0.0625
    spec = build_spec("torchvision", num_classes=1000, width=width)
    info = WeightsInfo(
        variant="torchvision",
        num_classes=1000,
        input_size=224,
        width=width,
        input_scaling="imagenet",
        resize_to=256,
    )
    save_weights(path, initial_weights(spec, Recipe(seed=1)), info)
    return width


def test_transposes_alone_leave_fc1s_rows_in_pytorchs_order(tmp_path):
    path = tmp_path / "narrow.safetensors"
    base = base_config(width=narrow_alexnet(path))
    wrong, right = (
        make_request(get_experiment(name), get_budget("full"), base, copy=path)
        for name in ("R2-tf-converted", "R2-tf-converted-permuted")
    )
    assert right.config.weights == str(path)
    for request in (wrong, right):
        prepare_request(request, pixels(300, 10), {})
    given, found = (load_weights(Path(r.config.weights))[0] for r in (right, wrong))
    differing = {key for key in given if not np.array_equal(given[key], found[key])}
    assert differing == {"fc1.weight"}
    # Keras's kernel has the features channels last: they meet the rows that PyTorch has first.
    maps = found["fc1.weight"].reshape(-1, 16, 6, 6)
    np.testing.assert_array_equal(
        maps.transpose(0, 2, 3, 1).reshape(given["fc1.weight"].shape), given["fc1.weight"]
    )


def test_weights_with_the_mistake_in_them_are_found_again_by_name_and_by_content(tmp_path):
    assert unpermuted_path("torchvision:IMAGENET1K_V1").name == (
        "torchvision-IMAGENET1K_V1-unpermuted.safetensors"
    )
    one, other = tmp_path / "one.pth", tmp_path / "other.pth"
    one.write_bytes(b"1")
    other.write_bytes(b"1")
    same = unpermuted_path(str(one))
    assert same == unpermuted_path(str(other))
    other.write_bytes(b"2")
    assert same != unpermuted_path(str(other))
    with pytest.raises(WeightsError, match=r"lost\.pth: there is no such file"):
        unpermuted_path(str(tmp_path / "lost.pth"))


def test_list_shows_every_experiment_with_its_assumptions(alexnet):
    code, short, _ = alexnet("--list")
    assert code == 0
    assert all(name in short for name in EXPERIMENTS)
    assert "71.95 %" in short
    assert "assumed: PIL rounds" not in short
    assert "assumed: PIL rounds" in alexnet("--list", "--all")[1]
    _, one, _ = alexnet("R2-tf-big", "--list")
    assert "images: as R2-tf" in one
    assert "training: sgd at 0.001, batches of 128, 20 epochs; input of 224 pixels, unit" in one
    assert "mistake: a dense layer of 1000 units too many" in one
    assert "PIL rounds" not in one
    _, other, _ = alexnet("R3-tf-vgg16", "--list")
    assert "starts from keras:imagenet; its features of each image are computed once" in other


@pytest.mark.usefixtures("framework")
@pytest.mark.parametrize(
    ("arguments", "budget", "message"),
    [
        ((), "full", "no experiment was given"),
        (("R3-torhc",), "full", "Unknown experiment 'R3-torhc'. Did you mean 'R3-torch'?"),
        (("R3-torch",), "hour", "Unknown budget 'hour'. Did you mean 'hours'?"),
    ],
    ids=str,
)
def test_what_cannot_be_run_is_one_line(alexnet, arguments, budget, message):
    code, _, err = alexnet(*arguments, budget=budget)
    assert code == 1
    assert message in err
