"""Shared set-up of all tests: available frameworks, the images, and what each marker needs."""

import functools
import gc
import inspect
import os
import signal
import zipfile
from collections import Counter
from pathlib import Path

import hypothesis
import pytest

from alexnet_impl.cli.shared import parse_interpreters
from alexnet_impl.errors import AlexNetError
from alexnet_impl.frameworks import FRAMEWORKS, get_framework, is_installed, keep_frameworks_apart
from alexnet_impl.processes.channel import open_channel

EXAMPLES = 100 if "CI" in os.environ else 25
"""Examples of a property: few after every edit, many before a change lands."""
hypothesis.settings.register_profile(
    "alexnet", deadline=None, derandomize=True, max_examples=EXAMPLES
)
hypothesis.settings.load_profile("alexnet")
gc.disable()  # until the tests are collected: nothing of them is garbage


def pytest_addoption(parser):
    parser.addoption(
        "--data-dir",
        type=Path,
        default=os.environ.get("ALEXNET_DATA"),
        help="CIFAR-10 images for the accuracy tests: an archive, a zip or a folder "
        "(default: ALEXNET_DATA)",
    )
    parser.addoption(
        "--fuzz-inputs",
        type=int,
        default=400,
        help="number of damaged inputs that the fuzz campaign tries (default: 400)",
    )
    parser.addoption(
        "--accept-slow",
        action="store_true",
        help="run the long trainings on a CPU too, where each takes hours or days",
    )
    parser.addoption(
        "--kills",
        type=int,
        default=2,
        help="kills per framework in the campaign of the slow tests (default: 2)",
    )
    parser.addoption(
        "--mutations",
        type=int,
        default=5,
        help="ports of torchvision's networks with a mistake in the slow tests (default: 5)",
    )
    parser.addoption(
        "--interpreter",
        action="append",
        default=[],
        metavar="FRAMEWORK=PYTHON",
        help="run this framework's benchmarks in another environment; may be given for each",
    )


A_CLASS = {"train": 32, "test": 4}
"""Images of each class in `few_images`."""
INTERPRETERS = pytest.StashKey[dict[str, str]]()
"""The Python that runs a framework's benchmarks, if it is another one."""


def pytest_configure(config):
    """Refuses to start if a promised framework is missing: no skip may hide it."""
    try:
        config.stash[INTERPRETERS] = parse_interpreters(tuple(config.getoption("--interpreter")))
    except AlexNetError as error:
        raise pytest.UsageError(str(error)) from error
    promised = os.environ.get("ALEXNET_REQUIRE", "")
    for name in filter(None, promised.split(",")):
        if name in ("gpu", "browser"):
            continue  # looked for by the first test that needs one
        if name not in FRAMEWORKS:
            raise pytest.UsageError(f"ALEXNET_REQUIRE={promised}: {name} is none of {FRAMEWORKS}.")
        if not is_installed(name):
            raise pytest.UsageError(f"ALEXNET_REQUIRE={promised}: {name} is not installed.")
    # A shell starts background jobs with SIGINT ignored, nohup with SIGHUP; tests send both.
    for name, usual in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, usual)
    # Here, before any test module can import a framework by itself.
    keep_frameworks_apart()


def pytest_runtest_setup(item):
    # Only benchmarks run in their own processes, which may use another environment.
    is_benchmark = "benchmark" in getattr(item, "fixturenames", ())
    elsewhere = item.config.stash[INTERPRETERS] if is_benchmark else {}
    for name in FRAMEWORKS:
        needed = item.get_closest_marker(name) and name not in elsewhere
        if needed and not is_installed(name):
            pytest.skip(f"{name} is not installed; ALEXNET_REQUIRE={name} makes this an error")
    if item.get_closest_marker("gpu"):
        _require_gpu(item, elsewhere)
    if item.get_closest_marker("accuracy") and not item.config.getoption("--data-dir"):
        pytest.skip("needs the CIFAR-10 images: give --data-dir or set ALEXNET_DATA")


def _require_gpu(item, elsewhere):
    names = [name for name in FRAMEWORKS if item.get_closest_marker(name)] or list(FRAMEWORKS)
    for name in names:
        if name in elsewhere:
            device = _device_elsewhere(name, elsewhere[name])
        elif is_installed(name):
            device = get_framework(name).fingerprint("auto")["device"]
        else:
            continue
        if device == "cpu":
            promised = "gpu" in os.environ.get("ALEXNET_REQUIRE", "").split(",")
            say = pytest.fail if promised else pytest.skip
            say(f"needs a GPU, and {name} sees none; ALEXNET_REQUIRE=gpu makes this an error")


@functools.cache
def _device_elsewhere(name, interpreter):
    """'cpu' or 'gpu', as the framework finds it in another environment."""
    with open_channel(name, "case", interpreter=interpreter) as channel:
        device, _ = channel.ask("start", {"framework": name, "device": "auto", "threads": 1})
    return device


def framework_params():
    """Returns one parameter per framework, each with its marker."""
    return [pytest.param(name, marks=getattr(pytest.mark, name), id=name) for name in FRAMEWORKS]


def pytest_generate_tests(metafunc):
    if "framework_name" in metafunc.fixturenames:
        metafunc.parametrize("framework_name", framework_params(), scope="session")


@pytest.fixture(scope="session")
def framework(framework_name):
    """The adapter of each framework in turn."""
    adapter = get_framework(framework_name)
    gc.freeze()  # a million permanent objects each, which the collector need not walk repeatedly
    return adapter


@pytest.fixture(scope="session")
def few_images(request, tmp_path_factory):
    """A folder with a few images of each class, out of the zip of --data-dir or ALEXNET_DATA."""
    path = request.config.getoption("--data-dir")
    if path is None or not zipfile.is_zipfile(path):
        pytest.skip("needs a zip of CIFAR-10 images: give --data-dir or set ALEXNET_DATA")
    folder = tmp_path_factory.mktemp("few")
    taken = Counter()
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            *_, part, label, file = Path(name).parts
            if file and taken[part, label] < A_CLASS.get(part, 0):
                taken[part, label] += 1
                target = folder / part / label / file
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(name))
    return folder


@pytest.fixture
def data_dir(request):
    """The CIFAR-10 images of --data-dir or ALEXNET_DATA."""
    return Path(request.config.getoption("--data-dir"))


@pytest.fixture(autouse=True)
def _cache_of_its_own(tmp_path_factory, monkeypatch, request):
    """Gives every test a cache folder, except those that decode all of CIFAR-10."""
    if not request.node.get_closest_marker("accuracy"):
        folder = tmp_path_factory.getbasetemp() / "cache"
        monkeypatch.setenv("ALEXNET_CACHE_DIR", str(folder))


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk():
    """Flushes no file to the disk: no test cuts the power, and those of durability count calls."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _sources_are_found_once():
    """Remembers where each class stands: help texts look for it in every parsing of flags."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inspect, "findsource", functools.cache(inspect.findsource))
        yield


SPEEDS = ("fast", "slow", "gpu", "accuracy")


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items):
    """Gives each test the speed of its module, unless it has one of its own.

    Of two, slow counts. A test without any would never run, and is an error.
    """
    of_modules = {}
    for module in {item.getparent(pytest.Module) for item in items} - {None}:
        of_modules[module] = [mark for mark in module.own_markers if mark.name in SPEEDS]
        module.own_markers = [mark for mark in module.own_markers if mark.name not in SPEEDS]
    for item in items:
        own = [mark for mark in item.own_markers if mark.name in SPEEDS]
        for mark in [] if own else of_modules.get(item.getparent(pytest.Module), []):
            item.add_marker(getattr(pytest.mark, mark.name))
        if {"fast", "slow"} <= {mark.name for mark in own}:  # one of them is a parameter's
            item.own_markers = [mark for mark in item.own_markers if mark.name != "fast"]
        if not any(item.get_closest_marker(speed) for speed in SPEEDS):
            raise pytest.UsageError(f"{item.nodeid}: has none of the markers {', '.join(SPEEDS)}.")


def pytest_collection_finish(session):
    """Takes what was collected off the collector's walks, and among small networks walks less."""
    gc.freeze()
    gc.enable()
    if all(item.get_closest_marker("fast") for item in session.items):
        gc.set_threshold(100_000, 50, 100)  # walks took 3 % of the time
