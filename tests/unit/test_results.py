"""The run folder: what is written comes back, and what is not a run is refused in words."""

import itertools
import json
import math
import os
import re
import signal
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.leftovers import write_leftover
from support.records import epoch_record, run_result
from support.strategies import recipes

from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.dataset import Dataset, Split
from alexnet_impl.errors import RunError, WeightsError
from alexnet_impl.network.variants import VARIANTS, build_spec
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.runs import folder as folders
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.runs.environment import environment_fingerprint, process_peak_memory_bytes
from alexnet_impl.runs.folder import RunFolder, hold_folder, hold_new_folder
from alexnet_impl.runs.records import DatasetRecord, History, Predictions
from alexnet_impl.weights.canonical import weights_sha256
from alexnet_impl.weights.initializers import initial_weights
from alexnet_impl.weights.metadata import load_weights
from alexnet_impl.weights.safetensors_io import write_safetensors

pytestmark = pytest.mark.fast

CONFIG = RunConfig(
    framework="torch",
    variant="cifar",
    width=0.0625,
    recipe=Recipe(epochs=2, step_at=(0.25,)),
    data=DataConfig(dataset="image_folder", data_dir=Path("/data/pets"), train_images=30),
    device="cpu",
    threads=2,
)
EPOCH, RESULT = epoch_record(), run_result()


def make_dataset():
    def split(num_images):
        labels = np.arange(num_images) % 2
        images = np.full((num_images, 6, 8, 3), 7, np.uint8)
        return Split(images=images, labels=labels)

    return Dataset(
        name="image_folder",
        source="two pets",
        class_names=("cat", "dog"),
        train=split(30),
        test=split(10),
        validation=split(4),
    )


@pytest.fixture
def run(tmp_path):
    """A folder that has just been created."""
    return RunFolder.create(tmp_path / "run", CONFIG, make_dataset(), "cd" * 32)


def refusal_of(call):
    with pytest.raises(RunError) as caught:
        call()
    return str(caught.value)


def damage(run, name, **changes):
    """Change top-level values of one of the JSON files."""
    run.write_json(name, run.read_json(name) | changes)


paths = st.text("a/. \\é日", min_size=1).map(Path)
configs = st.builds(
    RunConfig,
    framework=st.just("torch"),  # TensorFlow refuses one memory layout
    variant=st.sampled_from(list(VARIANTS)),
    width=st.floats(0.01, 16),
    recipe=recipes(),
    data=st.builds(
        DataConfig,
        dataset=st.sampled_from([None, "image_folder"]),
        data_dir=st.none() | paths,
        train_images=st.none() | st.integers(1, 10**6),
        classes=st.lists(st.sampled_from("abc"), unique=True).map(tuple),
        image_size=st.none() | st.integers(1, 512),
    ),
    device=st.sampled_from(["auto", "cpu", "gpu"]),
    threads=st.none() | st.integers(1, 64),
    weights=st.none() | st.just("torchvision:IMAGENET1K_V1"),
)


@settings(max_examples=25)
@given(configs)
def test_run_config_comes_back_from_json_as_it_was(config):
    assert RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_run_config_gives_the_spec_of_its_recipe_and_data():
    config = replace(CONFIG, recipe=Recipe(input_size=64))
    assert config.spec(7) == build_spec("cifar", num_classes=7, input_size=64, width=0.0625)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"device": "cuda"}, "device 'cuda' is unknown; choose auto, cpu, gpu."),
        ({"device": ""}, "device '' is unknown; choose auto, cpu, gpu."),
        ({"threads": 0}, "threads=0 must be from 1 to 1024; leave it out for all."),
        ({"threads": -2}, "threads=-2 must be from 1 to 1024; leave it out for all."),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_run_config_refuses_what_no_framework_could_do(changes, message):
    assert refusal_of(lambda: replace(CONFIG, **changes)) == message


def test_created_folder_says_what_was_asked(run):
    assert [path.name for path in run.path.iterdir()] == ["run.json"]
    opened = RunFolder.open(run.path)
    assert opened.config == CONFIG
    assert opened.initial_weights_sha256 == "cd" * 32
    assert opened.dataset == DatasetRecord(
        name="image_folder",
        source="two pets",
        fingerprint=make_dataset().fingerprint,
        class_names=("cat", "dog"),
        num_train_images=30,
        num_validation_images=4,
        num_test_images=10,
        image_size=(6, 8),
    )


def test_created_folder_has_no_figures_yet(run):
    assert run.history == History()
    assert run.result is None
    assert run.read_checkpoint() is None


def test_folder_is_made_with_its_parents_and_an_empty_one_is_taken(tmp_path):
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "a" / "b", tmp_path / "empty"):
        with hold_new_folder(path):
            (path / "file").touch()
        assert [file.name for file in path.iterdir()] == ["file"]


def test_folder_that_was_made_for_nothing_is_removed(tmp_path):
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "new", tmp_path / "empty"):
        hold(path)
    assert list(tmp_path.iterdir()) == [tmp_path / "empty"]


def hold(path):
    with hold_new_folder(path):
        pass


@pytest.mark.parametrize("name", ["notes.txt", ".hidden"])
def test_folder_with_files_is_not_taken(tmp_path, name):
    (tmp_path / name).write_text("mine")
    message = f"{tmp_path}: holds files already; choose another folder with --output."
    assert refusal_of(lambda: hold(tmp_path)) == message
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize(
    ("below", "reason"),
    [("file", "is a file"), ("file/run", "cannot be written (Not a directory)")],
)
def test_folder_that_cannot_be_written_is_refused(tmp_path, below, reason):
    (tmp_path / "file").write_text("in the way")
    path = tmp_path / below
    message = f"{path}: {reason}; choose another folder with --output."
    assert refusal_of(lambda: hold(path)) == message


def test_folder_on_a_full_disk_is_refused(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    assert "cannot be written (No space left on device)" in refusal_of(
        lambda: hold(tmp_path / "run")
    )


def test_folder_that_another_process_writes_is_refused(tmp_path, monkeypatch):
    """And is free when that one has been killed, which leaves the lock's file."""
    monkeypatch.setattr(folders, "LOCK_WAIT_S", 0.0)
    ready, held = os.pipe()
    if (process := os.fork()) == 0:
        with hold_folder(tmp_path):
            os.write(held, b"1")
            signal.pause()
    os.read(ready, 1)
    refusal = refusal_of(lambda: hold(tmp_path))
    assert refusal.startswith(f"{tmp_path}: another process is writing to this folder; wait")
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    hold(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_folder_may_be_held_again_by_its_own_process(tmp_path):
    with hold_new_folder(tmp_path):
        hold(tmp_path)
        assert (tmp_path / ".lock").is_file()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_of_runs_started_at_once_into_one_folder_exactly_one_wins(tmp_path):
    for number in range(3):
        ready, go = os.pipe()
        path = tmp_path / str(number)
        processes = [fork_after(ready, lambda path=path: create(path)) for _ in range(3)]
        os.write(go, b"123")
        codes = [os.waitstatus_to_exitcode(os.waitpid(one, 0)[1]) for one in processes]
        assert sorted(codes) == [0, REFUSED, REFUSED]
        assert [file.name for file in path.iterdir()] == ["run.json"]


REFUSED = 11


def fork_after(descriptor, act):
    """The id of a process that acts once it can read a byte; it exits with 0 or REFUSED."""
    if (process := os.fork()) == 0:
        os.read(descriptor, 1)
        code = 1
        try:
            act()
            code = 0
        except RunError:
            code = REFUSED
        finally:
            os._exit(code)
    return process


def create(path):
    return RunFolder.create(path, CONFIG, make_dataset(), "cd" * 32)


@pytest.mark.slow
def test_run_that_was_killed_while_its_folder_was_made_starts_again(tmp_path):
    """Killed at every file operation in turn."""

    def killed_at(number, path):
        count = itertools.count(1)

        def hook(event, arguments):
            writes = event in ("os.rename", "os.remove", "os.chmod", "os.mkdir") or (
                event == "open" and isinstance(arguments[2], int) and arguments[2] & 3
            )
            if writes and str(path) in str(arguments[0]) and next(count) == number:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        create(path)

    ready, go = os.pipe()
    left = set()
    for number in itertools.count(1):
        path = tmp_path / str(number) / "torch"
        os.write(go, b"1")
        process = fork_after(ready, lambda number=number, path=path: killed_at(number, path))
        if os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0:
            break
        left |= {
            file.name.partition(f"-{process}-")[2] or file.name for file in path.parent.rglob("*")
        }
        if not (path / "run.json").is_file():
            create(path)
        assert {file.name for file in path.iterdir()} - {".lock"} == {"run.json"}
    assert {".lock", "run.json"} <= left


@pytest.mark.parametrize("name", ["none", "file"])
def test_what_is_no_folder_is_no_run(tmp_path, name):
    (tmp_path / "file").write_text("")
    path = tmp_path / name
    assert refusal_of(lambda: RunFolder.open(path)) == f"{path}: there is no such run folder."


def test_foreign_folder_is_no_run(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    message = f"{tmp_path}: is no run folder: it has no run.json."
    assert refusal_of(lambda: RunFolder.open(tmp_path)) == message


def test_folder_of_a_run_that_was_killed_at_once_says_what_to_do(tmp_path):
    write_leftover(tmp_path / "run.json")
    message = f"{tmp_path}: is no run folder: it has no run.json. It is empty: start the run anew."
    assert refusal_of(lambda: RunFolder.open(tmp_path)) == message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "run.json: cannot be read as JSON ("),
        (b'{"schema_version": 1', "run.json: cannot be read as JSON ("),
        (b"\xff\xfe\x00", "run.json: cannot be read as JSON ("),
        (b"[1]", "run.json: holds a list instead of an object."),
        (b"{}", "has schema_version=None; this release reads 1."),
        (b'{"schema_version": 2}', "has schema_version=2; this release reads 1."),
        (b'{"schema_version": "1"}', "has schema_version='1'; this release reads 1."),
    ],
    ids=["empty", "cut off", "no text", "a list", "no version", "newer", "a word"],
)
def test_damaged_or_newer_run_is_refused(run, content, said):
    (run.path / "run.json").write_bytes(content)
    refusal = refusal_of(lambda: RunFolder.open(run.path))
    assert refusal.startswith(str(run.path))
    assert said in refusal


WHOLE = CONFIG.to_dict()


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"variant": "cifar"}, id="fields missing"),
        pytest.param(None, id="null"),
        pytest.param(3, id="a number"),
        pytest.param(WHOLE | {"colour": "red"}, id="unknown field"),
        pytest.param(WHOLE | {"recipe": {"epochs": 0}}, id="impossible recipe"),
        pytest.param(WHOLE | {"recipe": {"learning_rat": 1}}, id="unknown recipe field"),
        pytest.param(WHOLE | {"recipe": None}, id="no recipe"),
        pytest.param(WHOLE | {"data": []}, id="data of another kind"),
        pytest.param(WHOLE | {"data": {"dataset": "mnist"}}, id="unknown dataset"),
        pytest.param(WHOLE | {"device": "tpu"}, id="unknown device"),
    ],
)
def test_damaged_config_is_refused(run, changed):
    damage(run, "run.json", config=changed)
    refusal = refusal_of(lambda: run.config)
    assert refusal.startswith(f"{run.path / 'run.json'}: is damaged (")


@pytest.mark.parametrize("changed", [None, 3, {}, {"name": "digits"}], ids=str)
def test_damaged_dataset_record_is_refused(run, changed):
    damage(run, "run.json", dataset=changed)
    assert "run.json: is damaged (" in refusal_of(lambda: run.dataset)


def test_history_comes_back(run):
    history = History(
        epochs=[EPOCH, replace(EPOCH, epoch=2, step=3, loss=1 / 3)],
        step_loss=[2.25, 1 / 3, 1e-30],
        step_learning_rate=[0.01, 0.005],
    )
    run.write_history(history)
    assert run.history == history


@pytest.mark.parametrize(
    "changes",
    [{"epochs": None}, {"epochs": 3}, {"epochs": [3]}, {"epochs": [{"epoch": 1}]}, {"more": 1}],
    ids=str,
)
def test_damaged_history_is_refused(run, changes):
    run.write_history(History(epochs=[EPOCH]))
    damage(run, "history.json", **changes)
    assert "history.json: is damaged (" in refusal_of(lambda: run.history)


@pytest.mark.parametrize(
    "result",
    [
        RESULT,
        replace(RESULT, status="interrupted", test_loss=None, test_top1_accuracy=None),
        replace(RESULT, peak_device_memory_bytes=5, message="done"),
    ],
    ids=["finished", "interrupted", "on a GPU"],
)
def test_result_comes_back(run, result):
    run.write_result(result)
    assert run.result == result


@pytest.mark.parametrize("changes", [{"timing": None}, {"timing": {}}, {"score": 1}], ids=str)
def test_damaged_result_is_refused(run, changes):
    run.write_result(RESULT)
    damage(run, "result.json", **changes)
    assert "result.json: is damaged (" in refusal_of(lambda: run.result)


def test_finished_result_is_that_of_a_finished_run(run):
    run.write_result(RESULT)
    assert run.finished_result() == RESULT


@pytest.mark.parametrize("status", [None, "interrupted"])
def test_unfinished_run_says_how_to_continue(run, status):
    if status is not None:
        run.write_result(replace(RESULT, status=status))
    assert refusal_of(run.finished_result) == (
        f"{run.path}: this run is not finished; continue with: alexnet train --resume {run.path}"
    )


def test_diverged_run_says_why(run):
    run.write_result(replace(RESULT, status="diverged", message="the loss is nan at step 2"))
    assert refusal_of(run.finished_result) == (
        f"{run.path}: this run diverged: the loss is nan at step 2"
    )


def test_missing_file_is_named(run):
    path = run.path / "environment.json"
    message = f"{path}: is missing; the run stopped before it was written."
    assert refusal_of(lambda: run.environment) == message


def test_weights_come_back_with_what_identifies_them(run):
    spec = CONFIG.spec(2)
    weights = initial_weights(spec, CONFIG.recipe)
    run.write_weights(weights, spec)
    assert weights_sha256(run.read_weights()) == weights_sha256(weights)
    _, info = load_weights(run.path / "weights.safetensors")
    assert (info.variant, info.num_classes, info.input_size, info.width) == ("cifar", 2, 32, 0.0625)


def test_missing_weights_are_named(run):
    with pytest.raises(WeightsError, match=r"weights\.safetensors: there is no such file"):
        run.read_weights()


def test_checkpoint_comes_back_and_can_be_removed(run):
    arrays = {"weights/a": np.ones(3), "state/step": np.array(7, np.int64)}
    progress = {"epoch": 1, "loss": 1 / 3, "digest": "ab"}
    run.write_checkpoint(arrays, progress)
    found, info = run.read_checkpoint()
    assert info == progress
    assert {name: (a.dtype, a.tolist()) for name, a in found.items()} == {
        name: (a.dtype, a.tolist()) for name, a in arrays.items()
    }
    run.remove_checkpoint()
    assert run.read_checkpoint() is None
    run.remove_checkpoint()


@pytest.mark.parametrize("metadata", [{}, {"progress": "{"}, {"progress": "3"}], ids=str)
def test_foreign_checkpoint_is_refused(run, metadata):
    path = run.path / "checkpoint.safetensors"
    write_safetensors(path, {"a": np.ones(3)}, metadata)
    assert refusal_of(run.read_checkpoint).startswith(f"{path}: is no checkpoint of a run (")


def make_predictions():
    rng = np.random.default_rng(0)
    return Predictions(
        probabilities=rng.random((10, 2)).astype(np.float32),
        labels=np.arange(10) % 2,
        sample_indices=np.array([1, 4]),
        sample_images=rng.integers(0, 256, (2, 6, 8, 3), dtype=np.uint8),
    )


def test_predictions_come_back(run):
    predictions = make_predictions()
    run.write_predictions(predictions)
    found = run.read_predictions()
    for name in asdict(predictions):
        ours, theirs = getattr(predictions, name), getattr(found, name)
        assert ours.dtype == theirs.dtype
        assert np.array_equal(ours, theirs)
    assert found.predicted.tolist() == predictions.probabilities.argmax(1).tolist()
    assert found.predicted.dtype == np.int64


def test_predictions_of_before_have_no_wrong_images(run):
    """Files written before 2026-12-01 hold a sample alone."""
    predictions = make_predictions()
    arrays = {name: value for name, value in asdict(predictions).items() if "wrong" not in name}
    np.savez_compressed(run.path / "predictions.npz", **arrays)
    found = run.read_predictions()
    assert len(found.wrong_indices) == len(found.wrong_images) == 0
    assert np.array_equal(found.sample_images, predictions.sample_images)


def test_missing_predictions_are_named(run):
    path = run.path / "predictions.npz"
    assert (
        refusal_of(run.read_predictions)
        == f"{path}: is missing; the run stopped before it was written."
    )


@pytest.mark.parametrize("keep", [0, 10, 300])
def test_truncated_predictions_are_refused(run, keep):
    run.write_predictions(make_predictions())
    path = run.path / "predictions.npz"
    path.write_bytes(path.read_bytes()[:keep])
    assert refusal_of(run.read_predictions).startswith(f"{path}: is damaged (")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"probabilities": np.zeros((10, 10**4), np.float32)}, "40.,... bytes of arrays, where"),
        ({"sample_images": np.zeros((2, 6, 8, 3))}, "sample_images of type float64 have shape"),
        ({"sample_indices": np.full(2, 10)}, "sample_indices are not below 10"),
        ({"wrong_indices": np.full(2, 10)}, "wrong_indices are not below 10"),
        ({"wrong_images": np.zeros((3, 6, 8, 3), np.uint8)}, "wrong_images of type uint8 have"),
    ],
    ids=["bomb", "pixels", "places", "wrong places", "wrong images"],
)
def test_predictions_that_no_run_has_are_refused(run, changes, told):
    run.write_predictions(replace(make_predictions(), **changes))
    assert re.search(told, refusal_of(run.read_predictions))


def test_predictions_execute_no_pickle(run, tmp_path):
    path = run.path / "predictions.npz"
    trap = tmp_path / "executed"

    class Trap:
        def __reduce__(self):
            return Path.touch, (trap,)

    with path.open("wb") as file:
        np.savez(file, probabilities=np.array([Trap()], dtype=object))
    assert "is damaged (" in refusal_of(run.read_predictions)
    assert not trap.exists()


def test_what_killed_writers_left_in_a_folder_is_removed_when_it_is_held(run):
    for name in ("checkpoint.safetensors", "history.json"):
        write_leftover(run.path / name)
    (run.path / ".20241201-notes.json").write_text("mine")
    (run.path / ".2024-notes").mkdir()
    with hold_folder(run.path):
        pass
    found = sorted(path.name for path in run.path.iterdir())
    assert found == [".2024-notes", ".20241201-notes.json", "run.json"]


def test_weights_sha256_sees_names_shapes_types_and_values():
    base = {"a": np.arange(6, dtype=np.float32), "b": np.zeros(2, np.float32)}
    changed = [
        {"c": base["a"], "b": base["b"]},
        base | {"a": base["a"].reshape(2, 3)},
        base | {"a": base["a"].view(np.int32)},
        base | {"a": base["a"] + np.float32(1e-6)},
        {"a": base["a"]},
    ]
    digests = {weights_sha256(weights) for weights in [base, *changed]}
    assert len(digests) == 6


def test_weights_sha256_does_not_mind_order_or_memory_layout():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    one = {"a": array, "b": np.ones(2)}
    other = {"b": np.ones(2), "a": np.asfortranarray(array)}
    assert weights_sha256(one) == weights_sha256(other)


def test_environment_fingerprint_tells_machine_versions_and_flags(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("MY_SECRET", "hidden")
    found = environment_fingerprint()
    assert set(found) == {
        "python",
        "executable",
        "platform",
        "cpu",
        "cpu_features",
        "logical_cpus",
        "physical_cpus",
        "memory_bytes",
        "packages",
        "git_commit",
        "variables",
    }
    assert found["packages"]["numpy"] == np.__version__
    assert found["variables"]["OMP_NUM_THREADS"] == "3"
    assert "hidden" not in json.dumps(found)
    assert found["logical_cpus"] >= 1
    assert found["memory_bytes"] > 2**28


def test_process_peak_memory_is_this_processs_and_in_bytes():
    """A process with NumPy takes tens of megabytes, and a new array adds its size."""
    before = process_peak_memory_bytes()
    assert 2**24 < before < 2**40
    block = np.ones(2**24, np.uint8)
    assert process_peak_memory_bytes() >= max(before, block.nbytes)


def test_history_of_a_diverged_run_is_json_that_every_parser_reads(run):
    run.write_history(History(step_loss=[2.5, math.nan], step_learning_rate=[0.1, 0.1]))
    text = (run.path / "history.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["step_loss"] == [2.5, None]
    assert math.isnan(run.history.step_loss[1])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"num_train_images": 0}, "num_train_images=0 must be at least 1"),
        ({"class_names": []}, "class_names is empty"),
    ],
)
def test_dataset_record_that_cannot_be_is_refused(run, changes, reason):
    damage(run, "run.json", dataset=run.read_json("run.json")["dataset"] | changes)
    assert reason in refusal_of(lambda: run.dataset)


@pytest.mark.parametrize(
    ("history", "reason"),
    [
        (History(epochs=[replace(EPOCH, epoch=2)]), "not numbered from 1"),
        (History(epochs=[EPOCH, replace(EPOCH, epoch=2)]), "its epochs end after steps [2, 2]"),
        (History(epochs=[EPOCH], step_loss=[1.0]), "ends after step 2, but only 1 steps have"),
        (History(epochs=[EPOCH], step_loss=[1.0, math.nan]), "finished epoch has no loss"),
    ],
)
def test_history_that_contradicts_itself_is_refused(run, history, reason):
    run.write_history(history)
    assert reason in refusal_of(lambda: run.history)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"probabilities": np.zeros((9, 2), np.float32)}, "probabilities have shape (9, 2)"),
        ({"probabilities": np.zeros((10, 2), np.int64)}, "probabilities are of type int64"),
        ({"probabilities": np.full((10, 2), np.nan, np.float32)}, "a probability is not finite"),
        ({"labels": np.zeros(9, np.int64)}, "labels of type int64 have shape (9,)"),
        ({"labels": np.full(10, 2)}, "labels go from 2 to 2, but there are 2 classes"),
    ],
)
def test_predictions_for_another_dataset_are_refused(run, changes, reason):
    run.write_predictions(replace(make_predictions(), **changes))
    assert reason in refusal_of(run.read_predictions)


def test_result_with_an_impossible_accuracy_is_refused(run):
    run.write_result(RESULT)
    damage(run, "result.json", test_top1_accuracy=1.5)
    assert "test_top1_accuracy=1.5 must be from 0 to 1" in refusal_of(lambda: run.result)


def test_collapse_without_dead_units_is_refused(run):
    run.write_result(RESULT)
    seen = {"step": 1, "dead_share": {}, "logits_std": 0.0}
    damage(run, "result.json", collapse={"shift": {}, "seen": seen})
    assert "have no dead_share" in refusal_of(lambda: run.result)


OLD_FILES = {
    "run.json": {
        "schema_version": 1,
        "config": {
            "framework": "torch",
            "variant": "cifar",
            "width": 0.0625,
            "recipe": {"optimizer": "sgd", "learning_rate": 0, "step_at": [0.5], "steps": None},
            "data": {"dataset": "digits", "data_dir": None, "train_images": 300},
            "device": "cpu",
            "threads": None,
        },
        "dataset": {
            "name": "digits",
            "source": "scikit-learn",
            "fingerprint": "ab",
            "class_names": ["0", "1"],
            "num_train_images": 300,
            "num_validation_images": 0,
            "num_test_images": 10,
            "image_size": [32, 32],
        },
        "initial_weights_sha256": "cd",
    },
    "history.json": {
        "epochs": [asdict(EPOCH) | {"learning_rate": 0}],
        "step_loss": [2, 2.5, None],
        "step_learning_rate": [0.01, 0.01, 0.01],
    },
    "result.json": {k: v for k, v in asdict(RESULT).items() if k not in ("collapse", "message")},
}
"""Before weights could be given, collapses watched, and JSON checked by a library: whole numbers
stand for floats, and lists for tuples."""


def test_folder_of_an_older_release_opens(tmp_path):
    for name, values in OLD_FILES.items():
        (tmp_path / name).write_text(json.dumps(values))
    run = RunFolder.open(tmp_path)
    assert run.config.recipe == Recipe(learning_rate=0.0, step_at=(0.5,))
    assert (run.config.on_collapse, run.config.weights) == ("warn", None)
    assert run.dataset.class_names == ("0", "1")
    assert run.dataset.image_size == (32, 32)
    assert run.given_weights_sha256 is None
    assert (run.history.step_loss[:2], run.history.epochs[0].step) == ([2.0, 2.5], 2)
    assert run.result == RESULT
