"""A worker's request and events, with scripts and the NumPy framework as the other side."""

import contextlib
import io
import json
import shlex
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support import fake_framework, fake_worker
from support.fake_framework import RecordingObserver, linear_config

from alexnet_impl.data.config import DataConfig
from alexnet_impl.errors import RunError, StoppedError
from alexnet_impl.processes import training_worker as workers
from alexnet_impl.processes.training_worker import serve, train_in_worker, worker_series
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.runs.folder import RunFolder

pytestmark = pytest.mark.fast

DATA = DataConfig(dataset="synthetic", train_images=50, test_images=30, image_size=4)
CONFIG = linear_config(Recipe(epochs=2, global_batch_size=16), DATA)


@pytest.fixture
def script(tmp_path):
    """An executable that stands for a worker's Python, from the lines of a shell script."""

    def make(*lines):
        path = tmp_path / "python"
        path.write_text("\n".join(("#!/bin/sh", *lines, "")))
        path.chmod(0o755)
        return str(path)

    return make


@pytest.fixture
def real_worker(script):
    """The worker itself, in a process of its own, with the NumPy framework."""
    return script(f"exec '{sys.executable}' '{Path(fake_worker.__file__)}'")


def refusal_of(interpreter, tmp_path, config=CONFIG):
    with pytest.raises(RunError) as caught:
        train_in_worker(config, tmp_path / "run", RecordingObserver(), interpreter=interpreter)
    return str(caught.value)


def test_worker_trains_and_tells_its_parent(tmp_path, real_worker):
    observer = RecordingObserver()
    before = signal.getsignal(signal.SIGINT)
    result = train_in_worker(CONFIG, tmp_path / "run", observer, interpreter=real_worker)
    folder = RunFolder.open(tmp_path / "run")
    assert result == folder.result
    assert result.status == "finished"
    assert observer.num_steps == 8
    assert observer.epochs == folder.history.epochs
    assert observer.results == [result]
    assert signal.getsignal(signal.SIGINT) == before
    assert (tmp_path / "run.log").exists()


def test_worker_stopped_by_ctrl_c_is_gone_on_with_to_the_same_end(tmp_path, real_worker):
    whole = train_in_worker(CONFIG, tmp_path / "a", RecordingObserver(), interpreter=real_worker)
    observer = RecordingObserver()
    observer.on.epoch_ended = lambda _: signal.raise_signal(signal.SIGINT)
    before = signal.getsignal(signal.SIGINT)
    with contextlib.suppress(StoppedError):  # it may be through with training already
        train_in_worker(CONFIG, tmp_path / "b", observer, interpreter=real_worker)
    assert signal.getsignal(signal.SIGINT) == before
    result = RunFolder.open(tmp_path / "b").result
    if result is None or result.status != "finished":
        observer = RecordingObserver()
        result = train_in_worker(CONFIG, tmp_path / "b", observer, interpreter=real_worker)
    assert result.status == "finished"
    assert result.batches_sha256 == whole.batches_sha256
    assert result.test_loss == whole.test_loss


def test_worker_is_asked_for_by_module_and_gets_its_request_in_one_line(tmp_path, script):
    asked, arguments = tmp_path / "asked", tmp_path / "arguments"
    interpreter = script(f'echo "$@" > {arguments}', f"cat > {asked}")
    assert refusal_of(interpreter, tmp_path).startswith(f"{tmp_path / 'run'}: there is no such")
    assert arguments.read_text() == "-P -m alexnet_impl worker\n"
    assert asked.read_text().count("\n") == 1
    request = json.loads(asked.read_text())
    assert RunConfig.from_dict(request["config"]) == CONFIG
    assert request["folder"] == str(tmp_path / "run")


def test_workers_refusal_is_passed_on_in_its_own_words(tmp_path, script):
    event = json.dumps({"event": "error", "message": "device 'gpu' is not here"})
    interpreter = script("cat > /dev/null", f"echo {shlex.quote(event)}", "exit 1")
    assert refusal_of(interpreter, tmp_path) == "device 'gpu' is not here"


def test_what_a_library_prints_is_no_event(tmp_path, script):
    lines = ["hello", "{broken", "[1, 2]", '{"level": "info"}', "3", ""]
    event = json.dumps({"event": "error", "message": "at last"})
    interpreter = script(
        "cat > /dev/null", *(f"echo {shlex.quote(line)}" for line in [*lines, event])
    )
    assert refusal_of(interpreter, tmp_path) == "at last"


def test_unknown_event_is_another_release(tmp_path, script):
    interpreter = script("cat > /dev/null", 'echo \'{"event": "paused"}\'')
    assert "unknown event 'paused'" in refusal_of(interpreter, tmp_path)


def test_killed_worker_is_reported_with_its_signal_and_last_words(tmp_path, script):
    interpreter = script("cat > /dev/null", "echo 'first' >&2", "echo 'last' >&2", "kill -9 $$")
    log = tmp_path / "run.log"
    assert refusal_of(interpreter, tmp_path) == (
        f"torch: the worker was killed by signal 9: last (all of it in {log})"
    )
    assert log.read_text() == "first\nlast\n"


def test_silent_worker_is_reported_with_its_exit_code(tmp_path, script):
    interpreter = script("cat > /dev/null", "exit 7")
    log = tmp_path / "run.log"
    assert refusal_of(interpreter, tmp_path) == (
        f"torch: the worker ended with code 7: it said nothing (all of it in {log})"
    )


def test_worker_that_reads_nothing_is_reported(tmp_path, script):
    """Its end of the pipe may be closed before the request is written."""
    large = replace(CONFIG, variant="x" * 2**20)
    assert "the worker ended with code 7" in refusal_of(script("exit 7"), tmp_path, large)


def test_interpreter_without_the_package_is_told_to_install_it(tmp_path, script):
    interpreter = script("echo '/usr/bin/python: No module named alexnet_impl' >&2", "exit 1")
    assert refusal_of(interpreter, tmp_path) == (
        "torch: its interpreter has no alexnet_impl; install it there with pip."
    )


def test_interpreter_that_is_not_there_is_named(tmp_path):
    assert refusal_of("/no/such/python", tmp_path) == (
        "/no/such/python: cannot be started (No such file or directory); give --interpreter "
        "torch=PYTHON the path of a Python."
    )


def test_worker_without_a_result_is_reported(tmp_path, script, monkeypatch):
    fake_framework.install(monkeypatch)
    interpreter = script("cat > /dev/null")
    dataset = workers.load_dataset(DATA)
    RunFolder.create(tmp_path / "run", CONFIG, dataset, "ab")
    message = f"{tmp_path / 'run'}: the worker ended without a result."
    assert refusal_of(interpreter, tmp_path) == message


# ---- several runs in one worker


def test_series_trains_in_one_process_what_workers_of_their_own_would(tmp_path, real_worker):
    seeded = replace(CONFIG, recipe=replace(CONFIG.recipe, seed=1))
    # float32 ends at 3.4e38: the weights are infinite in a few steps
    broken = replace(CONFIG, recipe=replace(CONFIG.recipe, learning_rate=3e38))
    observer = RecordingObserver()
    before = signal.getsignal(signal.SIGINT)
    log = tmp_path / "series.log"
    with worker_series("torch", log, interpreter=real_worker) as series:
        first = series.train(CONFIG, tmp_path / "a", observer)
        diverged = series.train(broken, tmp_path / "b", RecordingObserver())
        second = series.train(seeded, tmp_path / "c", RecordingObserver())
    assert signal.getsignal(signal.SIGINT) == before
    assert observer.results == [first]
    assert [first.status, diverged.status, second.status] == ["finished", "diverged", "finished"]
    alone = train_in_worker(seeded, tmp_path / "d", RecordingObserver(), interpreter=real_worker)
    assert (second.test_loss, second.batches_sha256) == (alone.test_loss, alone.batches_sha256)
    assert second.test_loss != first.test_loss


def test_series_passes_a_refusal_on_and_ends_its_worker(tmp_path, script):
    event = json.dumps({"event": "error", "message": "device 'gpu' is not here"})
    lines = ["read request", f"echo {shlex.quote(event)}", 'echo \'{"event": "served"}\'']
    interpreter = script(*lines, "cat > /dev/null")
    with (
        pytest.raises(RunError, match=r"^device 'gpu' is not here$"),
        worker_series("torch", tmp_path / "log", interpreter=interpreter) as series,
    ):
        series.train(CONFIG, tmp_path / "run", RecordingObserver())
    with pytest.raises(RunError, match="the worker of this series has ended"):
        series.train(CONFIG, tmp_path / "run", RecordingObserver())


def test_series_whose_worker_dies_says_its_last_words(tmp_path, script):
    interpreter = script("read request", "echo 'out of memory' >&2", "exit 3")
    with (
        pytest.raises(RunError, match="torch: the worker ended with code 3: out of memory"),
        worker_series("torch", tmp_path / "log", interpreter=interpreter) as series,
    ):
        series.train(CONFIG, tmp_path / "run", RecordingObserver())


def test_series_without_a_result_is_reported(tmp_path, script):
    interpreter = script("read request", 'echo \'{"event": "served"}\'', "cat > /dev/null")
    with (
        pytest.raises(RunError, match="the worker ended without a result"),
        worker_series("torch", tmp_path / "log", interpreter=interpreter) as series,
    ):
        series.train(CONFIG, tmp_path / "run", RecordingObserver())


def test_series_starts_no_run_after_ctrl_c(tmp_path, script):
    interpreter = script("exec cat > /dev/null")
    with worker_series("torch", tmp_path / "log", interpreter=interpreter) as series:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(StoppedError, match="stopped between two runs of torch"):
            series.train(CONFIG, tmp_path / "run", RecordingObserver())


def test_series_with_an_interpreter_that_is_not_there_is_refused(tmp_path):
    with (
        pytest.raises(RunError, match="/no/such/python: cannot be started"),
        worker_series("torch", tmp_path / "log", interpreter="/no/such/python"),
    ):
        pass


@pytest.fixture
def ask(monkeypatch):
    """Serve a request in this process; the exit code and the events."""
    fake_framework.install(monkeypatch)
    before = signal.getsignal(signal.SIGINT)

    def ask(*requests):
        stream = io.StringIO()
        lines = "".join(json.dumps(request) + "\n" for request in requests)
        monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
        monkeypatch.setattr(sys, "stdout", stream)
        code = serve()
        return code, [json.loads(line) for line in stream.getvalue().splitlines()]

    yield ask
    signal.signal(signal.SIGINT, before)


def request_of(folder, **changes):
    return {"config": CONFIG.to_dict() | changes, "folder": str(folder)}


def test_serve_trains_and_tells(tmp_path, ask):
    code, events = ask(request_of(tmp_path / "run"))
    assert code == 0
    names = [event["event"] for event in events]
    assert names[0] == "started"
    assert names[-1] == "ended"
    assert names.count("epoch_ended") == 2
    assert RunFolder.open(tmp_path / "run").result.status == "finished"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variant": "cifer"}, "Unknown variant 'cifer'. Did you mean 'cifar'?"),
        ({"recipe": {"epochs": 0}}, "epochs=0 must be at least 1."),
        ({"data": DataConfig(dataset="image_folder").to_dict()}, "needs data_dir"),
        ({"device": "tpu"}, "device 'tpu' is unknown"),
    ],
    ids=["variant", "recipe", "data", "device"],
)
def test_serve_says_what_the_caller_can_put_right(tmp_path, ask, changes, message):
    code, events = ask(request_of(tmp_path / "run", **changes))
    assert code == 1
    assert [event["event"] for event in events] == ["error"]
    assert message in events[0]["message"]
    assert not (tmp_path / "run").exists()


def test_serve_goes_on_behind_a_run_that_failed_and_loads_shared_images_once(
    tmp_path, ask, monkeypatch
):
    loads = []
    load_dataset = workers.load_dataset

    def counted(*arguments, **options):
        loads.append(arguments)
        return load_dataset(*arguments, **options)

    monkeypatch.setattr(workers, "load_dataset", counted)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine")
    names = ["a", "taken", "b"]
    code, events = ask(*(request_of(tmp_path / name) | {"series": True} for name in names))
    assert code == 1
    kinds = [event["event"] for event in events if event["event"] in ("ended", "error", "served")]
    assert kinds == ["ended", "served", "error", "served", "ended", "served"]
    assert len(loads) == 1


def test_serve_says_that_the_folder_is_taken(tmp_path, ask):
    (tmp_path / "notes.txt").write_text("mine")
    code, events = ask(request_of(tmp_path))
    assert code == 1
    assert "holds files already" in events[-1]["message"]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (KeyboardInterrupt(), "stopped before the first step"),
        (MemoryError(), "MemoryError"),
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_serve_says_what_stopped_it(tmp_path, ask, monkeypatch, error, message):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(workers, "load_dataset", fail)
    code, events = ask(request_of(tmp_path / "run"))
    assert (code, events) == (1, [{"event": "error", "message": message}])


def test_serve_keeps_what_libraries_print_out_of_its_events(tmp_path, ask, monkeypatch, capfd):
    start_run = workers.start_run

    def noisy(*arguments):
        print("a library says hello")  # noqa: T201 - the noise
        return start_run(*arguments)

    monkeypatch.setattr(workers, "start_run", noisy)
    code, events = ask(request_of(tmp_path / "run"))
    assert code == 0
    assert all("event" in event for event in events)
    assert "a library says hello" in capfd.readouterr().err
