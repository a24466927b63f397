"""`assert_parity()` for a user's own tests, and the pytest plugin with its fixture and its option.

A port of a network is tested in a few lines:

    from alexnet_impl.testing import assert_parity
    from nets import net

    def test_port_computes_what_the_network_computes(parity_workers):
        assert_parity(net(), "port:build", workers=parity_workers)

pytest imports this module in every project, so it imports the rest of the package in functions.
"""

import re
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import pytest

if TYPE_CHECKING:
    from alexnet_impl.frameworks.user_training import Training
    from alexnet_impl.parity.record import CheckResult, ParityRecord
    from alexnet_impl.ports.minimal_pair import PairDraft
    from alexnet_impl.ports.model_workers import ModelWorkers

LONGEST_NAME = 120
"""Letters of a test's name that its folder of --parity-report bears."""
FOLLOWS = "the layers above"
"""Where the logits differ if a layer before them does."""
KEYWORDS = {
    "--image-size": "input_shape=(height, width, channels)",
    "--names": "names=",
    "--copy-weights": "copy_weights",
    "--torch-training": "torch_training",
    "--tensorflow-training": "other_training",
}
"""Words of messages for the command line, and what a caller of assert_parity() has instead."""
FORMS = {
    "names": "PyTorch's layer names to Keras's, such as {'features.0': 'conv1'}",
    "input_shape": "(height, width, channels), whole numbers of at least 1",
    "tolerances": "stages to numbers, such as {'layers': 1e-4}",
    "training_steps": "a whole number of at least 1",
    "other_training": "torch_training too, with which it is compared",
    "seed": "a whole number of at least 0",
    "xfail": "a list of stages, such as ['layers', 'logits']",
}
"""What assert_parity() accepts, by keyword."""


def assert_parity(  # noqa: PLR0913 - what a test may need, each by its name
    torch_model: Any,
    other: Any,
    *,
    input_shape: tuple[int, int, int] | None = None,
    names: Mapping[str, str] | None = None,
    copy_weights: Literal["auto", "always", "never"] = "auto",
    torch_training: "Training | None" = None,
    other_training: "Training | None" = None,
    training_steps: int = 10,
    seed: int = 0,
    tolerances: Mapping[str, float] | None = None,
    xfail: Iterable[str] = (),
    workers: "ModelWorkers | None" = None,
) -> "ParityRecord":
    """Asserts that a Keras model computes what a PyTorch model computes.

    The stages are architecture, weights, layers, logits, loss, gradients and steps, and with
    `torch_training` training and free training, as in `alexnet parity`. A model object runs in this
    process, on the CPU and in evaluation mode; afterwards it has its own weights, gradients,
    devices and modes again. A model that is named by a function
    is built in a worker process: on a machine with a GPU the two frameworks should not meet in one.

    Args:
        torch_model: An nn.Module that reads images (batch, channels, height, width), or a function
            that returns one, as 'module:function' or 'path/to/file.py:function'.
        other: A keras.Model that reads images (batch, height, width, channels), or a function that
            returns one, in the same form.
        input_shape: (height, width, channels) of the images; by default what the Keras model
            declares.
        names: PyTorch's layer names to Keras's, for layers that neither their names nor their order
            pair.
        copy_weights: Whether PyTorch's weights are copied into the Keras model before the layers
            are compared; 'auto' does so if the two are unrelated.
        torch_training: Function of the PyTorch model that returns its loss and optimizer, as in
            `--torch-training`, or its name; the training steps of both models are compared.
        other_training: The same for the Keras model; by default what it was compiled with.
        training_steps: Number of these steps.
        seed: Seed of the images, which are noise.
        tolerances: Stage to the largest difference allowed, in place of the usual one.
        xfail: Stages that are known to fail. As with pytest's strict xfail, each of them must fail;
            the test is reported as xfailed.
        workers: Worker processes that outlive this call: the fixture `parity_workers`.

    Returns:
        The record of all checks, which --parity-report writes.

    Raises:
        AssertionError: If a stage fails, or one of `xfail` does not; with the stage, the place, the
            cause and the remedy.
        AlexNetError: If an argument is not valid, or a model cannot be built or run.
    """
    __tracebackhide__ = True
    from alexnet_impl.errors import AlexNetError, ParityError  # noqa: PLC0415
    from alexnet_impl.ports.model_workers import ModelWorkers, project_path  # noqa: PLC0415
    from alexnet_impl.ports.request import STAGES, CopyWeights, PairRequest  # noqa: PLC0415
    from alexnet_impl.ports.user_pair import compare_given  # noqa: PLC0415

    running = _RUNNING[-1] if _RUNNING else None
    drafts: list[PairDraft] = []
    _check_values(
        names=names,
        input_shape=input_shape,
        tolerances=tolerances,
        torch_training=torch_training,
        other_training=other_training,
        training_steps=training_steps,
        seed=seed,
        xfail=xfail,
    )
    expected = (xfail,) if isinstance(xfail, str) else tuple(xfail)
    _check_known("stage", (*expected, *(tolerances or {})), STAGES)
    _check_known("copy_weights", (copy_weights,), get_args(CopyWeights))
    shape: Any = input_shape and tuple(int(size) for size in input_shape)
    request = PairRequest(
        torch=_title(torch_model),
        tensorflow=_title(other),
        names=None if names is None else dict(names),
        copy_weights=copy_weights,
        input_shape=shape,
        tolerances={stage: float(bound) for stage, bound in (tolerances or {}).items()},
        torch_training=torch_training or "",
        tensorflow_training=other_training or "",
        training_steps=training_steps,
        seed=int(seed),
    )
    given = {"torch": torch_model, "tensorflow": other}
    objects: Any = {name: model for name, model in given.items() if not isinstance(model, str)}
    own = ModelWorkers()
    try:
        record = compare_given(
            request, objects, workers or own, path=project_path(), on_mismatch=drafts.append
        )
    except ParityError as error:
        message = f"the two models cannot be compared: {_in_keywords(str(error))}"
        raise AssertionError(message) from None
    except AlexNetError as error:
        error.args = (_in_keywords(str(error)),)
        raise error.with_traceback(None) from None
    finally:
        own.close()
    if running:
        running.keep(record, drafts, (workers or own).interpreters)
        expected = () if running.item.config.option.runxfail else expected
    if message := _verdict(record, expected):
        raise AssertionError(_in_keywords(message))
    if expected and running:
        running.reasons.extend(_place(check) for check in record.failures)
    return record


def _title(model: Any) -> str:
    """The function that was given, or the model's class."""
    return model if isinstance(model, str) else f"{type(model).__module__}.{type(model).__name__}"


def _check_values(**given: Any) -> None:
    """Refuses values of another form than FORMS says."""
    __tracebackhide__ = True
    from alexnet_impl.errors import ParityError  # noqa: PLC0415

    names, shape, bounds = given["names"], given["input_shape"], given["tolerances"]
    valid = {
        "names": names is None or _is_map(names, str),
        "input_shape": shape is None
        or (isinstance(shape, Sequence) and [_is_whole(size, 1) for size in shape] == [True] * 3),
        "tolerances": bounds is None or _is_map(bounds, Real),
        "training_steps": _is_whole(given["training_steps"], 1),
        "other_training": given["other_training"] is None or given["torch_training"] is not None,
        "seed": _is_whole(given["seed"], 0),
        "xfail": isinstance(given["xfail"], Iterable),
    }
    for name, form in FORMS.items():
        if not valid[name]:
            raise ParityError(f"{name}={given[name]!r} is not valid; give {form}.")


def _is_map(value: Any, kind: type) -> bool:
    """Whether a value maps names to values of one type."""
    return isinstance(value, Mapping) and (
        all(isinstance(key, str) and isinstance(entry, kind) for key, entry in value.items())
    )


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, Integral) and int(value) >= least


def _check_known(kind: str, names: Iterable[str], known: Sequence[str]) -> None:
    __tracebackhide__ = True
    from alexnet_impl.errors import UnknownNameError  # noqa: PLC0415

    for name in names:
        if name not in known:
            raise UnknownNameError(kind, str(name), known)


def _in_keywords(message: str) -> str:
    """A message with this function's keywords in place of flags."""
    for flag, keyword in KEYWORDS.items():
        message = message.replace(flag, keyword)
    return message


def _verdict(record: "ParityRecord", expected: tuple[str, ...]) -> str:
    """Lines that say what is wrong, the first mismatch first; '' if nothing is."""
    failed = {check.name: check for check in record.failures}
    lines: list[str] = []
    for check in failed.values():
        if check.name not in expected:
            lines += _told(check)
            if check.where == FOLLOWS and "layers" in expected:
                lines.append(f"remedy  add '{check.name}' to xfail, since the layers differ")
    run = [check.name for check in record.checks]
    for name in expected:
        if name not in run:
            lines.append(f"{name} was not reached after {run[-1]}; take it out of xfail")
        elif name not in failed:
            lines.append(f"{name} holds, and was expected to fail; take it out of xfail")
    models = f"models  {record.request['torch']} and {record.request['tensorflow']}"
    return "\n".join((lines[0], models, *lines[1:])) if lines else ""


def _told(check: "CheckResult") -> Iterator[str]:
    """Lines for a stage that fails: place, difference, causes and remedies."""
    yield _place(check)
    precision = f" in {check.precision}" if check.precision else ""
    figures = f"measured {check.measured:.1e}, allowed {check.tolerance:.1e}"
    yield f"stage   {check.name}{precision}: {figures}"
    for cause in check.causes:
        if cause.where:
            yield f"then    at {cause.where}"
        how = "" if cause.distance is None else f" (explains it to {cause.distance:.1e})"
        yield f"cause   {cause.side} computes as if {cause.what}{how}"
        yield f"remedy  {cause.remedy}"
    if not check.causes and check.where != FOLLOWS:
        yield "cause   none that this release knows"


def _place(check: "CheckResult") -> str:
    return f"{check.name} differs at {check.where or 'every value'}"


class RunningTest:
    """A test that pytest runs: where its records go, and which stages have failed as expected."""

    def __init__(self, item: pytest.Item) -> None:
        self.item = item
        self.reasons: list[str] = []
        self.count = 0

    def keep(
        self,
        record: "ParityRecord",
        drafts: "Sequence[PairDraft]" = (),
        interpreters: Mapping[str, str] | None = None,
    ) -> None:
        """Write a comparison's record where --parity-report says, with its minimal pair."""
        from dataclasses import replace  # noqa: PLC0415

        from alexnet_impl.parity.record import write_record  # noqa: PLC0415
        from alexnet_impl.ports.minimal_pair_proof import prove_draft  # noqa: PLC0415

        self.count += 1
        config, test = self.item.config, self.item.nodeid
        if not (given := config.getoption("parity_report")):
            return
        name = folder_name(test) + (f"-{self.count}" if self.count > 1 else "")
        folder = config.invocation_params.dir / given / name
        folder.mkdir(parents=True, exist_ok=True)
        for draft in drafts:
            record = replace(record, minimal_pair=prove_draft(draft, folder, interpreters))
        write_record(folder, replace(record, request=record.request | {"test": test}))


_RUNNING: list[RunningTest] = []
"""The test that runs now, last; a plugin's own tests run some inside others."""


def folder_name(test: str) -> str:
    """A test's id as the name of a folder.

    Letters that a file system may refuse become dots; a hash then tells such names apart.
    """
    plain = test.replace("::", "/").replace("/", ".").lstrip(".")
    from hashlib import sha256  # noqa: PLC0415

    name = re.sub(r"[^\w.\[\]=,-]", ".", plain)[:LONGEST_NAME]
    if name == plain:
        return name
    return f"{name}-{sha256(test.encode()).hexdigest()[:8]}"


def pytest_addoption(parser: "pytest.Parser") -> None:
    """Adds --parity-report."""
    group = parser.getgroup("alexnet_impl", "comparison of PyTorch and Keras models")
    group.addoption(
        "--parity-report",
        type=Path,
        metavar="DIR",
        help="write the record of every assert_parity() to DIR/TEST/parity.json, and its first "
        "mismatch as two small Python files",
    )


def pytest_configure(config: "pytest.Config") -> None:
    """Refuses a --parity-report that is a file."""
    folder = config.getoption("parity_report")
    if folder and (config.invocation_params.dir / folder).is_file():
        raise pytest.UsageError(f"--parity-report {folder}: is a file; give a folder.")


# hookwrapper, and not wrapper, and types in quotes: for users with an old pluggy or pytest.
@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, None]:
    """Knows which test runs."""
    _RUNNING.append(RunningTest(item))
    try:
        yield
    finally:
        _RUNNING.pop()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(call: "pytest.CallInfo[None]") -> Generator[None, Any, None]:
    """Reports a test as xfailed that has passed with stages that were expected to fail."""
    outcome = yield
    if call.when == "call" and _RUNNING and _RUNNING[-1].reasons:
        report = outcome.get_result()
        if report.passed:
            report.outcome = "skipped"
            report.wasxfail = "; ".join(_RUNNING[-1].reasons)


@pytest.fixture(scope="session")
def parity_workers() -> Iterator["ModelWorkers"]:
    """Worker processes for assert_parity() that all tests share: a framework is imported once.

    Each process of pytest-xdist has its own.
    """
    from alexnet_impl.ports.model_workers import ModelWorkers  # noqa: PLC0415

    with ModelWorkers() as workers:
        yield workers
