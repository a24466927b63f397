"""assert_parity() and its plugin without any framework: verdicts, messages, records, workers."""

import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from support.plain_model import PlainModel

from alexnet_impl import testing
from alexnet_impl.errors import FrameworkError, ParityError, UnknownNameError
from alexnet_impl.frameworks import ADAPTERS, FRAMEWORKS
from alexnet_impl.parity.record import read_record
from alexnet_impl.ports import minimal_pair_proof, model_workers
from alexnet_impl.ports.model_workers import ModelWorkers, project_path
from alexnet_impl.ports.request import STAGES
from alexnet_impl.ports.worker import ModelCalls, forget_modules
from alexnet_impl.testing import assert_parity, folder_name

pytestmark = pytest.mark.fast


@pytest.fixture(autouse=True)
def adapters(monkeypatch):
    """Adapters whose users' models are PlainModels; no test of pytest's own is running."""

    @contextmanager
    def borrow_model(model):
        if not isinstance(model, PlainModel):
            raise FrameworkError(f"received a {type(model).__name__}")
        yield model

    adapter = SimpleNamespace(
        borrow_model=borrow_model,
        load_model=lambda place, _: PlainModel(relu=place != "m:wrong"),
        fingerprint=lambda device: {"device": device},
    )
    for name in FRAMEWORKS:
        monkeypatch.setitem(ADAPTERS, name, adapter)
    monkeypatch.setattr(testing, "_RUNNING", [])


def test_equal_models_pass_and_the_record_is_returned():
    record = assert_parity(PlainModel(), PlainModel())
    assert record.holds
    assert tuple(check.name for check in record.checks) == STAGES[:-2]  # no training of its own
    assert record.environment == {name: {"device": "cpu"} for name in FRAMEWORKS}


def test_message_has_stage_place_cause_and_remedy():
    with pytest.raises(AssertionError) as caught:
        assert_parity(PlainModel(), PlainModel(relu=False))
    first, models, stage, cause, remedy, *rest = str(caught.value).splitlines()
    assert first == (
        "layers differs at the operations between conv and fc (PyTorch: relu, flatten; Keras: "
        "relu, flatten)"
    )
    assert models == "models  support.plain_model.PlainModel and support.plain_model.PlainModel"
    assert stage.startswith("stage   layers in float64: measured ")
    assert stage.endswith(", allowed 1.0e-12")
    assert cause.startswith("cause   tensorflow computes as if the ReLU were missing (explains it")
    assert remedy == "remedy  add it: ReLU()"
    assert rest[0] == "logits differs at the layers above"


def test_message_says_that_no_cause_is_known():
    with pytest.raises(AssertionError, match="\ncause   none that this release knows"):
        assert_parity(PlainModel(), PlainModel(loss=2.0))


def test_stages_that_are_expected_to_fail_may():
    record = assert_parity(PlainModel(), PlainModel(relu=False), xfail=("layers", "logits"))
    assert [check.name for check in record.failures] == ["layers", "logits"]


@pytest.mark.parametrize(
    ("port", "xfail", "message"),
    [
        ({}, ["logits"], r"^logits holds, and was expected to fail; take it out of xfail\nmodels"),
        (
            {"relu": False},
            ["layers"],
            r"^logits differs at the layers above(.|\n)*\nremedy  add 'logits' to xfail, since",
        ),
        ({"relu": False}, ["layers", "logits", "loss"], r"^loss was not reached after logits"),
        (
            {"frozen": ("conv.bias",)},
            ["layers"],
            r"^gradients differs at conv.bias(.|\n)*layers hol",
        ),
    ],
)
def test_only_the_stages_that_are_expected_to_fail_may(port, xfail, message):
    with pytest.raises(AssertionError, match=message):
        assert_parity(PlainModel(), PlainModel(**port), xfail=xfail)


def test_a_stage_has_its_own_tolerance():
    noisy = {"noise": 1e-4}  # more than rounding, in the outputs of both layers
    with pytest.raises(AssertionError, match=r"^layers differs at conv\n"):
        assert_parity(PlainModel(), PlainModel(**noisy))
    with pytest.raises(AssertionError, match=r"^logits differs at"):
        assert_parity(PlainModel(), PlainModel(**noisy), tolerances={"layers": 1e-3})
    with pytest.raises(AssertionError, match=r"^layers differs at fc\n"):
        assert_parity(PlainModel(), PlainModel(**noisy), tolerances={"layers": 1.5e-4})
    record = assert_parity(
        PlainModel(), PlainModel(**noisy), tolerances={"layers": 1e-3, "logits": 1e-3}
    )
    layers = record.checks[2]
    assert (layers.tolerance, layers.where) == (1e-3, "")
    assert layers.reason == "as given; 1e-12 is usual"


@pytest.mark.parametrize("stage", ["weights", "loss", "gradients", "steps"])
def test_a_tolerance_can_be_tightened(stage):
    port = PlainModel()
    if stage == "weights":
        port.held["fc.bias"] = port.held["fc.bias"] * (1 + 1e-8)
    tight = {stage: -1.0}
    with pytest.raises(AssertionError, match=rf"^{stage} differs at (.|\n)*allowed -1.0e\+00"):
        assert_parity(PlainModel(), port, tolerances=tight, copy_weights="never")


def test_float32_rounding_is_told_by_the_usual_tolerances():
    record = assert_parity(PlainModel(), PlainModel(noise=1e-8), tolerances={"layers": 1e-3})
    assert record.checks[2].precision == "float32"


@pytest.mark.parametrize(
    "given",
    [
        {"xfail": "layer"},
        {"xfail": ["layer"]},
        {"tolerances": {"logit": 1.0}},
        {"tolerances": {"layer": 1.0}},
    ],
)
def test_unknown_stage_is_refused(given):
    with pytest.raises(UnknownNameError, match=r"Unknown stage '(layer|logit)'.*'(layers|logits)'"):
        assert_parity(PlainModel(), PlainModel(), **given)


@pytest.mark.parametrize(
    ("given", "form"),
    [
        ({"names": "conv=conv"}, "PyTorch's layer names to Keras's, such as"),
        ({"names": {"conv": 1}}, "PyTorch's layer names to Keras's, such as"),
        ({"input_shape": 5}, r"\(height, width, channels\), whole numbers of at least 1\."),
        ({"input_shape": (5, 5)}, r"\(height, width, channels\), whole"),
        ({"input_shape": (5, 5, 0)}, r"\(height, width, channels\), whole"),
        ({"tolerances": {"layers": "1e-3"}}, "stages to numbers"),
        ({"tolerances": 0}, "stages to numbers"),
        ({"seed": -1}, r"a whole number of at least 0\."),
        ({"training_steps": 0}, r"a whole number of at least 1\."),
        ({"other_training": "m:f"}, "torch_training too"),
        ({"seed": 1.5}, "a whole number"),
        ({"xfail": 3}, "a list of stages"),
    ],
)
def test_a_value_of_another_form_is_refused(given, form):
    (name,) = given
    with pytest.raises(ParityError, match=rf"^{name}=(.*) is not valid; give {form}"):
        assert_parity(PlainModel(), PlainModel(), **given)


def test_unknown_copy_weights_is_refused():
    with pytest.raises(UnknownNameError, match=r"Unknown copy_weights 'nevr'.*mean 'never'"):
        assert_parity(PlainModel(), PlainModel(), copy_weights="nevr")


def test_remedy_of_a_failing_stage_is_in_the_words_of_python():
    port = PlainModel()
    port.held["fc.weight"] = port.held["fc.weight"] + 1
    with pytest.raises(AssertionError, match=r"\nremedy  load .*leave copy_weights at auto"):
        assert_parity(PlainModel(), port, copy_weights="never", xfail=["weights", "logits"])


@pytest.mark.usefixtures("running")
def test_numbers_of_numpy_are_values(tmp_path):
    assert_parity(
        PlainModel(),
        PlainModel(),
        input_shape=[np.int64(5), 5, 3],
        seed=np.int64(1),
        tolerances={"layers": np.float32(1)},
    )
    request = read_record(tmp_path / "records" / "tests.test_a.py.test_b").request
    assert (request["seed"], request["tolerances"]) == (1, {"layers": 1.0})


def test_models_that_do_not_pair_fail_in_the_words_of_python():
    with pytest.raises(AssertionError, match="cannot be compared: names= conv=gone: the tensorfl"):
        assert_parity(PlainModel(), PlainModel(), names={"conv": "gone"})
    unsized = PlainModel()
    unsized.input_shape = None
    with pytest.raises(AssertionError, match=r"give it with input_shape=\(height, width, chann"):
        assert_parity(PlainModel(), unsized)
    assert assert_parity(PlainModel(), unsized, input_shape=(5, 5, 3)).holds


def test_an_object_that_is_no_model_is_refused_without_our_frames():
    with pytest.raises(FrameworkError, match="received a list") as caught:
        assert_parity(PlainModel(), [])
    assert len(caught.traceback) == 2  # this test and assert_parity, which pytest hides


# --- workers --------------------------------------------------------------------------------


class FakeChannel:
    """A worker whose calls are answered in this process."""

    def __init__(self):
        self.calls = ModelCalls()
        self.code = None
        self.worker = SimpleNamespace(process=SimpleNamespace(poll=lambda: self.code))

    def ask(self, call, values=None, arrays=None):
        return self.calls.answer(call, values or {}, arrays or {})


@pytest.fixture
def channels(monkeypatch):
    """The workers that were started, and those that were ended."""
    started, ended = [], []

    @contextmanager
    def open_channel(framework, kind, *, interpreter, variables):
        assert (kind, variables) == ("model", {"CUDA_VISIBLE_DEVICES": "-1"})
        started.append((framework, interpreter))
        channels.latest = FakeChannel()
        try:
            yield channels.latest
        finally:
            ended.append(framework)

    channels = SimpleNamespace(started=started, ended=ended, latest=None)
    path = list(sys.path)
    monkeypatch.setattr(model_workers, "open_channel", open_channel)
    yield channels
    sys.path[:] = path


def test_a_call_has_workers_of_its_own(channels):
    assert assert_parity("m:net", "m:right").holds
    with pytest.raises(AssertionError, match="models  m:net and m:wrong"):
        assert_parity("m:net", "m:wrong")
    assert channels.started == [(name, sys.executable) for name in (*FRAMEWORKS, *FRAMEWORKS)]
    assert sorted(channels.ended) == sorted((*FRAMEWORKS, *FRAMEWORKS))


def test_calls_share_workers(channels):
    with ModelWorkers({"tensorflow": "other-python"}) as workers:
        for _ in range(3):
            assert_parity(PlainModel(), "m:right", workers=workers)
        assert channels.started == [("tensorflow", "other-python")]
        assert channels.ended == []
    assert channels.ended == ["tensorflow"]


def test_a_worker_that_has_died_is_replaced(channels):
    with ModelWorkers() as workers:
        assert_parity(PlainModel(), "m:right", workers=workers)
        channels.latest.code = -11
        assert_parity(PlainModel(), "m:right", workers=workers)
        assert (len(channels.started), len(channels.ended)) == (2, 1)


def test_a_worker_that_was_interrupted_is_not_asked_again(channels, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    with ModelWorkers() as workers:
        with monkeypatch.context() as patch:
            patch.setattr(PlainModel, "weights", interrupt)
            with pytest.raises(KeyboardInterrupt):
                assert_parity(PlainModel(), "m:right", workers=workers)
        assert channels.ended == ["tensorflow"]
        assert_parity(PlainModel(), "m:right", workers=workers)
        assert len(channels.started) == 2


def test_a_worker_imports_each_model_from_its_own_folders(tmp_path):
    for folder, value in (("a", 1), ("b", 2)):
        (tmp_path / folder / "user_package").mkdir(parents=True)
        (tmp_path / folder / "user_package" / "user_part.py").write_text(f"VALUE = {value}")
        (tmp_path / folder / "user_other.py").write_text("")
    a, b = (str(tmp_path / folder) for folder in "ab")
    names = ("user_package", "user_package.user_part", "user_other")
    path = list(sys.path)
    try:
        sys.path.append(a)
        __import__("user_package.user_part")
        __import__("user_other")
        forget_modules([a], [a])
        assert set(names) <= set(sys.modules)
        forget_modules([b], [])
        assert set(names) <= set(sys.modules)
        (tmp_path / "b" / "user_other.py").unlink()
        forget_modules([a], [b, a])
        assert set(names) & set(sys.modules) == {"user_other"}
    finally:
        sys.path[:] = path
        for name in names:
            sys.modules.pop(name, None)


def test_project_path_is_what_is_importable_beside_the_installation(tmp_path, monkeypatch):
    installed = project_path()
    assert not [folder for folder in installed if folder.endswith(("site-packages", "lib-dynload"))]
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "gone")])
    assert project_path() == (str(tmp_path), *installed)


# --- in a test that pytest runs ---------------------------------------------------------------


@pytest.fixture
def running(tmp_path, monkeypatch):
    """A test in which assert_parity() is called, with --parity-report and without --runxfail."""
    option = SimpleNamespace(runxfail=False)
    config = SimpleNamespace(
        option=option,
        getoption={"parity_report": Path("records")}.get,
        invocation_params=SimpleNamespace(dir=tmp_path),
    )
    monkeypatch.setattr(minimal_pair_proof, "run_script", lambda *_, **__: "not run")
    test = testing.RunningTest(SimpleNamespace(config=config, nodeid="tests/test_a.py::test_b"))
    monkeypatch.setattr(testing, "_RUNNING", [test])
    return test


def test_records_of_a_test_are_written(running, tmp_path):
    assert_parity(PlainModel(), PlainModel())
    with pytest.raises(AssertionError):
        assert_parity(PlainModel(), PlainModel(relu=False))
    folders = [tmp_path / "records" / f"tests.test_a.py.test_b{n}" for n in ("", "-2")]
    first, second = (read_record(folder) for folder in folders)
    assert (first.holds, second.holds) == (True, False)
    assert first.minimal_pair is None
    assert "the files gave 'not run'" in second.minimal_pair.reason
    assert first.request["test"] == running.item.nodeid
    assert first.request["torch"] == "support.plain_model.PlainModel"


def make_report(outcome="passed", when="call"):
    report = SimpleNamespace(outcome=outcome, passed=outcome == "passed")
    hook = testing.pytest_runtest_makereport(SimpleNamespace(when=when))
    next(hook)
    with pytest.raises(StopIteration):
        hook.send(SimpleNamespace(get_result=lambda: report))
    return report


def test_plugin_is_imported_beside_an_old_pluggy_and_pytest():
    for hook in (testing.pytest_runtest_protocol, testing.pytest_runtest_makereport):
        assert hook.pytest_impl["hookwrapper"]
    for hook in (testing.pytest_addoption, testing.pytest_configure):
        assert [*map(type, hook.__annotations__.values())] == [str, type(None)]


def test_a_test_with_stages_that_fail_as_expected_is_xfailed(running):
    assert_parity(PlainModel(), PlainModel())
    assert make_report().outcome == "passed"
    assert_parity(PlainModel(), PlainModel(relu=False), xfail=("layers", "logits"))
    report = make_report()
    assert report.outcome == "skipped"
    assert report.wasxfail.startswith("layers differs at the operations between conv and fc (")
    assert report.wasxfail.endswith("; logits differs at the layers above")
    assert make_report("failed").outcome == "failed"
    assert make_report(when="teardown").outcome == "passed"
    running.reasons.clear()  # this test itself is none


def test_runxfail_lets_expected_failures_fail(running):
    running.item.config.option.runxfail = True
    with pytest.raises(AssertionError, match=r"^layers differs"):
        assert_parity(PlainModel(), PlainModel(relu=False), xfail=("layers", "logits"))


def test_names_of_folders_are_safe_and_differ():
    assert folder_name("test_a.py::test_b[1-c=2]") == "test_a.py.test_b[1-c=2]"
    odd = [folder_name(f"../up/test_a.py::test_b[{text}]") for text in ("a/b", "a:b", "é\n")]
    assert len(set(odd)) == 3
    assert not [name for name in odd if name.startswith(".") or "/" in name or "\n" in name]
    assert len(folder_name(f"test_a.py::test_b[{'long' * 99}]")) < 140


def test_report_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "records").write_text("")
    config = SimpleNamespace(
        getoption=lambda _: Path("records"), invocation_params=SimpleNamespace(dir=tmp_path)
    )
    with pytest.raises(pytest.UsageError, match="--parity-report records: is a file"):
        testing.pytest_configure(config)
