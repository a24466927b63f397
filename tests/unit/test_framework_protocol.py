"""Finding an adapter, and the error if its framework is missing."""

import os
import sys
from types import ModuleType

import pytest

from alexnet_impl import frameworks
from alexnet_impl.errors import FrameworkError, UnknownNameError
from alexnet_impl.frameworks import (
    FRAMEWORKS,
    get_framework,
    is_installed,
    keep_frameworks_apart,
)

pytestmark = pytest.mark.fast


def test_frameworks_are_these():
    assert FRAMEWORKS == ("torch", "tensorflow")


@pytest.mark.parametrize(("name", "near"), [("pytorch", "torch"), ("tensorflw", "tensorflow")])
def test_unknown_framework_is_refused_with_the_nearest(name, near):
    with pytest.raises(UnknownNameError, match=f"Unknown framework '{name}'.*'{near}'"):
        get_framework(name)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_missing_framework_is_refused_with_the_line_that_installs_it(monkeypatch, name):
    monkeypatch.setattr(frameworks, "is_installed", lambda _: False)
    with pytest.raises(FrameworkError) as caught:
        get_framework(name)
    assert str(caught.value) == (
        f"{name} is not installed for {sys.executable}; install it with: "
        f"pip install 'alexnet_impl[{name}]'"
    )


def test_installed_is_what_can_be_imported():
    assert is_installed("numpy")
    assert is_installed("json")
    assert not is_installed("no_such_framework")


@pytest.fixture
def imported(monkeypatch):
    """Names that were imported by name; none of them really, and triton not yet."""
    names = []
    monkeypatch.setattr(frameworks.importlib, "import_module", names.append)
    monkeypatch.setattr(frameworks.importlib.util, "find_spec", lambda _: object())
    monkeypatch.delitem(sys.modules, "triton", raising=False)
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    return names


def test_triton_is_loaded_before_either_framework(imported):
    keep_frameworks_apart()
    assert imported == ["triton"]


def test_triton_is_barred_after_tensorflow(imported, monkeypatch):
    """sys.modules["triton"] = None makes its import raise ImportError, which torch takes."""
    monkeypatch.setitem(sys.modules, "tensorflow", ModuleType("tensorflow"))
    try:
        keep_frameworks_apart()
        assert imported == []
        assert sys.modules["triton"] is None
    finally:
        sys.modules.pop("triton", None)


def test_nothing_is_done_where_there_is_no_triton(imported, monkeypatch):
    monkeypatch.setattr(frameworks.importlib.util, "find_spec", lambda _: None)
    keep_frameworks_apart()
    assert imported == []
    assert "triton" not in sys.modules


def test_keras_is_told_its_backend_unless_the_user_was_first(imported, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    keep_frameworks_apart()
    assert os.environ["KERAS_BACKEND"] == "jax"
    monkeypatch.delenv("KERAS_BACKEND")
    keep_frameworks_apart()
    assert os.environ["KERAS_BACKEND"] == "tensorflow"
    assert set(imported) == {"triton"}


@pytest.mark.parametrize(
    ("variable", "theirs", "ours"),
    [("GOMP_SPINCOUNT", "300000", "20000"), ("TF_ENABLE_ONEDNN_OPTS", "0", "1")],
)
def test_threads_spin_briefly_and_onednn_is_on_unless_the_user_was_first(
    imported, monkeypatch, variable, theirs, ours
):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setattr(frameworks.platform, "machine", lambda: "x86_64")
    monkeypatch.setenv(variable, theirs)
    keep_frameworks_apart()
    assert os.environ[variable] == theirs
    monkeypatch.delenv(variable)
    keep_frameworks_apart()
    assert os.environ[variable] == ours
    assert set(imported) == {"triton"}


def test_spinning_is_left_alone_where_the_user_chose_how_threads_wait(imported, monkeypatch):
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    keep_frameworks_apart()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    assert "GOMP_SPINCOUNT" not in os.environ
    assert set(imported) == {"triton"}
