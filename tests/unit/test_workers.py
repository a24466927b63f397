"""Training workers: how they are started, what they are asked, and what is said when one fails.

The other side is the worker itself with the NumPy framework, or a shell script.
"""

import io
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace

import pytest
from support import fake_framework
from support.fake_framework import RecordingObserver, linear_config
from support.fake_worker import fake_python, shell_script
from support.records import run_result

from alexnet_impl.cli.workers import WORKERS, run_worker
from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.loading import load_dataset
from alexnet_impl.errors import DivergedError, RunError, StoppedError, UnknownNameError
from alexnet_impl.network.spec_json import spec_from_dict, spec_to_dict
from alexnet_impl.network.variants import VARIANTS, build_spec
from alexnet_impl.processes import launch
from alexnet_impl.processes import training_service as service
from alexnet_impl.processes.channel import open_channel
from alexnet_impl.processes.launch import KINDS, start_worker
from alexnet_impl.processes.messages import run_from_dict, run_to_dict
from alexnet_impl.processes.training_worker import train_in_worker, worker_series
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.training.observers import JsonObserver
from alexnet_impl.training.prepare import prepare_run
from alexnet_impl.weights.pretrained_files import Preprocessing, Pretrained

pytestmark = pytest.mark.fast

DATA = DataConfig(dataset="synthetic", train_images=50, test_images=30, image_size=4)
CONFIG = linear_config(Recipe(epochs=2, global_batch_size=16), DATA)
SEEDED = replace(CONFIG, recipe=replace(CONFIG.recipe, seed=1))
# float32 ends at 3.4e38: the weights are infinite in a few steps
BROKEN = replace(CONFIG, recipe=replace(CONFIG.recipe, learning_rate=3e38))
DONE = 'echo \'{"event": "done"}\''


@pytest.fixture(autouse=True)
def _framework(monkeypatch):
    fake_framework.install(monkeypatch)
    # This process may hold the frameworks, whose objects take long to walk.
    monkeypatch.setattr(service, "gc", SimpleNamespace(collect=lambda: None))


def prepared(config=CONFIG):
    return prepare_run(config, load_dataset(DATA))


@pytest.fixture
def script(tmp_path):
    """An executable that stands for a worker's Python, from the lines of a shell script."""
    return lambda *lines: shell_script(tmp_path, *lines)


def error_event(message):
    return f"echo {shlex.quote(json.dumps({'event': 'error', 'message': message}))}"


def wait_until(holds, patience_s=30):
    deadline = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def refusal_of(interpreter, tmp_path):
    with pytest.raises(RunError) as caught:
        train_in_worker(prepared(), tmp_path / "run", RecordingObserver(), interpreter=interpreter)
    return str(caught.value)


# ---- starting a worker


def test_every_kind_of_worker_has_its_function():
    assert tuple(WORKERS) == KINDS


def test_unknown_kind_of_worker_offers_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'trainer'"):
        run_worker("trainers")


def test_worker_is_asked_for_by_module_and_gets_its_request_in_one_line(tmp_path, script):
    asked, arguments = tmp_path / "asked", tmp_path / "arguments"
    keep = (f'echo "$@" > {arguments}', "read -r request", f'printf "%s" "$request" > {asked}')
    refusal = refusal_of(script(*keep, DONE), tmp_path)
    assert refusal == f"{tmp_path / 'run'}: the worker process wrote no result."
    assert arguments.read_text() == "-P -m alexnet_impl worker training\n"
    request = json.loads(asked.read_text())
    assert run_from_dict(request["run"]) == prepared()
    assert request["folder"] == str(tmp_path / "run")


@pytest.mark.slow
def test_file_of_the_current_directory_with_a_modules_name_is_not_executed(tmp_path, monkeypatch):
    executed = tmp_path / "executed"
    for name in ("random", "numpy", "alexnet_impl"):
        (tmp_path / f"{name}.py").write_text(f"open({str(executed)!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    files = {"source": str(tmp_path / "none.pt"), "target": str(tmp_path / "out.safetensors")}
    with (
        pytest.raises(RunError, match=r"none\.pt: there is no such file"),
        open_channel("torch", "conversion") as channel,
    ):
        channel.ask("convert", files | {"network": {}})
    assert not executed.exists()
    assert list(temporary.iterdir()) == []  # the worker, which is killed at the end, left nothing


@pytest.mark.slow
def test_workers_start_without_a_framework_and_without_statistics():
    code = """
import sys
import alexnet_impl.convert
from alexnet_impl.measurement import case_worker
from alexnet_impl.ports import worker
from alexnet_impl.processes import remote_trainer, training_service
heavy = {"scipy", "sklearn", "matplotlib", "jinja2", "torch", "tensorflow", "keras"}
print(*heavy & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_interpreter_without_the_package_is_told_to_install_it(tmp_path, script):
    interpreter = script("echo '/usr/bin/python: No module named alexnet_impl' >&2", "exit 1")
    assert refusal_of(interpreter, tmp_path).startswith(
        "torch: its interpreter has no alexnet_impl; install it there with pip."
    )


def test_interpreter_that_is_not_there_is_named(tmp_path):
    assert refusal_of("/no/such/python", tmp_path) == (
        "/no/such/python: cannot be started (No such file or directory); give --interpreter "
        "torch=PYTHON the path of a Python."
    )


@pytest.mark.slow
def test_what_libraries_print_goes_to_the_log_and_not_among_the_answers():
    """By file descriptor, as native libraries print."""
    code = (
        "import os, sys; from alexnet_impl.processes.launch import worker_pipes\n"
        "with worker_pipes() as (requests, answers):\n"
        "    os.write(1, b'native\\n'); print('Python', flush=True)\n"
        "    answers.write(repr((*requests, sys.stdin.read())))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input="asked\n", capture_output=True, text=True, check=True
    )
    assert done.stdout == "('asked', '')"
    assert done.stderr == "native\nPython\n"


@pytest.mark.parametrize("answers_s", [0.0, None], ids=["in time", "never"])
def test_end_of_input_ends_the_process_only_while_a_request_is_answered(monkeypatch, answers_s):
    """A parent that got its last answer closes the pipe before this process is waiting again."""
    signals = []
    monkeypatch.setattr(launch, "ANSWER_S", 0.05)
    monkeypatch.setattr(launch.signal, "raise_signal", signals.append)
    ours, theirs = os.pipe()
    requests = iter(launch.Requests(ours))
    os.write(theirs, b"one\ntwo\n")
    assert [next(requests), next(requests)] == ["one", "two"]
    os.close(theirs)
    if answers_s is None:
        wait_until(lambda: signals)
    assert list(requests) == []
    assert signals == ([signal.SIGTERM] if answers_s is None else [])


# ---- what a job hands down


@pytest.mark.parametrize("name", VARIANTS)
def test_spec_comes_back_from_json(name):
    spec = build_spec(name)
    assert spec_from_dict(json.loads(json.dumps(spec_to_dict(spec)))) == spec


@pytest.mark.parametrize("preprocessing", [None, Preprocessing(input_scaling="caffe", resize_to=9)])
def test_prepared_run_comes_back_from_json(tmp_path, preprocessing):
    given = Pretrained(
        name="w", path=tmp_path / "a.pt", converted=tmp_path / "b", preprocessing=preprocessing
    )
    for run in (prepared(), replace(prepared(), given=given)):
        assert run_from_dict(json.loads(json.dumps(run_to_dict(run)))) == run


# ---- the worker itself


@pytest.mark.slow
def test_worker_trains_and_tells_its_parent(tmp_path):
    observer = RecordingObserver()
    before = signal.getsignal(signal.SIGINT)
    interpreter = fake_python(tmp_path)
    result = train_in_worker(prepared(), tmp_path / "run", observer, interpreter=interpreter)
    folder = RunFolder.open(tmp_path / "run")
    assert result == folder.result
    assert result.status == "finished"
    assert observer.num_steps == 8
    assert observer.epochs == folder.history.epochs
    assert observer.results == [result]
    assert signal.getsignal(signal.SIGINT) == before
    assert (tmp_path / "run.log").exists()


@pytest.mark.slow
def test_run_cut_by_ctrl_c_is_continued_to_the_same_end(tmp_path):
    """The worker waits in its second epoch until the signal has arrived."""
    observer = RecordingObserver()
    observer.on.epoch_ended = lambda _: signal.raise_signal(signal.SIGINT)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(StoppedError, match=r"^Stopped torch after step [456]$"):
        train_in_worker(
            prepared(),
            tmp_path / "cut",
            observer,
            interpreter=fake_python(tmp_path, "waits-for-a-signal"),
        )
    cut = RunFolder.open(tmp_path / "cut").result
    assert signal.getsignal(signal.SIGINT) == before
    assert (cut.status, len(observer.epochs)) == ("interrupted", 1)
    assert 4 <= cut.steps <= 6
    observer = RecordingObserver()
    log = tmp_path / "series.log"
    with worker_series("torch", log, interpreter=fake_python(tmp_path)) as series:
        result = series.train(prepared(), tmp_path / "cut", observer)
        whole = series.train(prepared(), tmp_path / "whole", RecordingObserver())
    assert observer.started_at == cut.steps
    assert result.status == whole.status == "finished"
    assert result.batches_sha256 == whole.batches_sha256
    assert result.test_loss == whole.test_loss


@pytest.mark.slow
def test_worker_whose_parent_dies_saves_its_state_and_ends(tmp_path):
    """Its pipes are closed in the middle of an epoch, and no signal comes from outside."""
    python = fake_python(tmp_path, "waits-for-a-signal")
    worker = start_worker("training", "torch", tmp_path / "log", interpreter=python)
    worker.send({"run": run_to_dict(prepared()), "folder": str(tmp_path / "run")})
    while worker.receive()["event"] != "epoch_ended":
        pass
    worker.process.stdout.close()
    worker.process.stdin.close()
    assert worker.process.wait(timeout=30) == 0
    folder = RunFolder.open(tmp_path / "run")
    assert folder.result.status == "interrupted"
    assert folder.read_checkpoint()[1]["step"] == folder.result.steps == 6


@pytest.mark.slow
def test_series_trains_in_one_process_what_a_process_would_alone(tmp_path):
    observer = RecordingObserver()
    before = signal.getsignal(signal.SIGINT)
    with worker_series("torch", tmp_path / "log", interpreter=fake_python(tmp_path)) as series:
        first = series.train(prepared(), tmp_path / "a", observer)
        with pytest.raises(DivergedError, match="the loss is nan"):
            series.train(prepared(BROKEN), tmp_path / "b", RecordingObserver())
        second = series.train(prepared(SEEDED), tmp_path / "c", RecordingObserver())
    assert signal.getsignal(signal.SIGINT) == before
    assert observer.results == [first]
    assert [first.status, second.status] == ["finished", "finished"]
    assert RunFolder.open(tmp_path / "b").result.status == "diverged"
    service.start_run(tmp_path / "d", prepared(SEEDED), load_dataset(DATA), RecordingObserver())
    alone = RunFolder.open(tmp_path / "d").result
    assert (second.test_loss, second.batches_sha256) == (alone.test_loss, alone.batches_sha256)
    assert second.test_loss != first.test_loss


# ---- workers that fail


def test_workers_refusal_is_passed_on_in_its_own_words(tmp_path, script):
    interpreter = script("read request", error_event("device 'gpu' is not here"), DONE)
    assert refusal_of(interpreter, tmp_path) == "device 'gpu' is not here"


def test_what_a_library_prints_is_no_event(tmp_path, script):
    lines = ["hello", "{broken", "[1, 2]", '{"level": "info"}', "3", ""]
    noise = [f"echo {shlex.quote(line)}" for line in lines]
    interpreter = script("read request", *noise, error_event("at last"), DONE)
    assert refusal_of(interpreter, tmp_path) == "at last"


def test_unknown_event_is_another_release(tmp_path, script):
    interpreter = script("read request", 'echo \'{"event": "paused"}\'', "cat > /dev/null")
    assert "unknown event 'paused'" in refusal_of(interpreter, tmp_path)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            ("read request", "echo first >&2", "echo last >&2", "kill -9 $$"),
            "was killed by signal 9: last",
        ),
        (("read request", "exit 7"), "ended with code 7: it printed nothing"),
        (("exit 7",), "ended with code 7: it printed nothing"),
    ],
    ids=["killed", "silent", "reads nothing"],
)
def test_worker_that_died_is_reported_with_how_and_its_last_words(tmp_path, script, lines, said):
    log = tmp_path / "run.log"
    message = f"torch: the worker process {said} (the whole log: {log})"
    assert refusal_of(script(*lines), tmp_path) == message
    assert log.read_text() == ("first\nlast\n" if "killed" in said else "")


def test_large_request_to_a_worker_that_reads_nothing_is_reported(tmp_path, script):
    """Its end of the pipe may be closed before the request is written."""
    run = replace(prepared(), config=replace(CONFIG, variant="x" * 2**20))
    with pytest.raises(RunError, match="the worker process ended with code 7"):
        train_in_worker(run, tmp_path / "run", RecordingObserver(), interpreter=script("exit 7"))


def test_worker_without_a_result_is_reported(tmp_path, script):
    interpreter = script("read request", DONE)
    RunFolder.create(tmp_path / "run", CONFIG, load_dataset(DATA), "ab")
    message = f"{tmp_path / 'run'}: the worker process wrote no result."
    assert refusal_of(interpreter, tmp_path) == message


def test_series_ends_its_worker_after_a_refusal(tmp_path, script):
    interpreter = script("read request", error_event("no"), DONE, "cat > /dev/null")
    with (
        pytest.raises(RunError, match=r"^no$"),
        worker_series("torch", tmp_path / "log", interpreter=interpreter) as series,
    ):
        series.train(prepared(), tmp_path / "run", RecordingObserver())
    with pytest.raises(RunError, match="the worker of this series has ended"):
        series.train(prepared(), tmp_path / "run", RecordingObserver())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_series_starts_no_run_after_a_signal(tmp_path, script, number):
    interpreter = script("exec cat > /dev/null")
    log = tmp_path / "log"
    with suppress(StoppedError), worker_series("torch", log, interpreter=interpreter) as series:
        signal.raise_signal(number)
        with pytest.raises(StoppedError, match="Stopped between two runs of torch"):
            series.train(prepared(), tmp_path / "run", RecordingObserver())


@pytest.mark.parametrize(
    "answer",
    [("kill -TERM $$",), (error_event("stopped before the first step"), DONE)],
    ids=["ended by the signal", "says so"],
)
def test_ctrl_c_before_the_first_step_is_a_stop_and_no_failure(tmp_path, script, answer):
    started = 'echo \'{"event": "warned", "message": "importing"}\''

    def observer(_):
        signal.raise_signal(signal.SIGINT)

    trap = "trap '' TERM" if len(answer) > 1 else ":"
    interpreter = script(trap, "read request", started, *answer)
    with pytest.raises(StoppedError, match="Stopped while torch was starting or ending"):
        train_in_worker(prepared(), tmp_path / "run", observer, interpreter=interpreter)


def test_signal_that_comes_too_late_for_a_run_stops_what_follows_it(tmp_path, script):
    """`alexnet compare` must not go on with the other framework."""
    folder = RunFolder.create(tmp_path / "run", CONFIG, load_dataset(DATA), "ab")
    folder.write_result(run_result())
    started = 'echo \'{"event": "warned", "message": "ending"}\''
    interpreter = script("trap '' TERM", "read request", started, DONE, "cat > /dev/null")
    with pytest.raises(StoppedError, match="Stopped between two runs"):
        train_in_worker(
            prepared(),
            tmp_path / "run",
            lambda _: signal.raise_signal(signal.SIGTERM),
            interpreter=interpreter,
        )


def test_worker_is_told_to_end_where_the_parent_fails(tmp_path, script):
    """And it is waited for: a run that is cut saves its state first."""
    ended = tmp_path / "ended"
    lines = (f"trap 'echo saved > {ended}; exit' TERM", 'echo "{}"', "while :; do sleep 0.01; done")
    worker = start_worker("training", "torch", tmp_path / "log", interpreter=script(*lines))
    assert worker.receive() == {}  # the trap is set
    worker.stop()
    worker.close()
    assert ended.read_text() == "saved\n"


# ---- the worker's side, in this process


@pytest.fixture
def ask():
    """Hand requests to the worker's side; the exit code and the events."""

    def ask(*requests):
        stream = io.StringIO()
        lines = [json.dumps(request) for request in requests]
        code = service.train_requests(lines, JsonObserver(stream))
        return code, [json.loads(line) for line in stream.getvalue().splitlines()]

    return ask


def request_of(folder, **changes):
    run = run_to_dict(prepared())
    return {"run": run | {"config": run["config"] | changes}, "folder": str(folder)}


def test_service_trains_and_tells(tmp_path, ask):
    code, events = ask(request_of(tmp_path / "run"))
    assert code == 0
    names = [event["event"] for event in events]
    assert (names[0], names[-2:]) == ("started", ["ended", "done"])
    assert names.count("epoch_ended") == 2
    assert RunFolder.open(tmp_path / "run").result.status == "finished"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipe": {"epochs": 0}}, "epochs=0 must be at least 1."),
        ({"data": DataConfig(dataset="image_folder").to_dict()}, "needs data_dir"),
        ({"device": "tpu"}, "device 'tpu' is unknown"),
    ],
    ids=["recipe", "data", "device"],
)
def test_service_says_what_the_caller_can_put_right(tmp_path, ask, changes, message):
    code, events = ask(request_of(tmp_path / "run", **changes))
    assert code == 1
    assert [event["event"] for event in events] == ["error", "done"]
    assert message in events[0]["message"]
    assert not (tmp_path / "run").exists()


def test_service_goes_on_after_a_run_that_failed_and_loads_shared_images_once(
    tmp_path, ask, monkeypatch
):
    loads = []

    def counted(*arguments, **options):
        loads.append(arguments)
        return load_dataset(*arguments, **options)

    monkeypatch.setattr(service, "load_dataset", counted)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine")
    code, events = ask(*(request_of(tmp_path / name) for name in ("a", "taken", "b")))
    assert code == 1
    kinds = [event["event"] for event in events if event["event"] in ("ended", "error", "done")]
    assert kinds == ["ended", "done", "error", "done", "ended", "done"]
    assert "holds files already" in next(e for e in events if e["event"] == "error")["message"]
    assert len(loads) == 1


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (KeyboardInterrupt(), "stopped before the first step"),
        (MemoryError(), "MemoryError"),
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_service_says_what_stopped_it(tmp_path, ask, monkeypatch, error, message):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(service, "load_dataset", fail)
    code, events = ask(request_of(tmp_path / "run"))
    assert (code, events) == (1, [{"event": "error", "message": message}, {"event": "done"}])


def test_service_without_a_request_says_what_sends_them(ask):
    with pytest.raises(RunError, match="received no request"):
        ask()


def test_service_builds_no_spec_and_looks_for_no_weights(tmp_path, ask, monkeypatch):
    request = request_of(tmp_path / "run", variant="of another release")
    monkeypatch.setattr("alexnet_impl.runs.config.find_spec", lambda *_, **__: pytest.fail("asks"))
    assert ask(request)[0] == 0
