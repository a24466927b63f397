"""Facts about the import of a framework: the seconds, and whether Python keeps its bytecode."""

import importlib
import shutil
import sys
from types import SimpleNamespace

import pytest

from alexnet_impl.frameworks import ADAPTERS
from alexnet_impl.processes import framework_import
from alexnet_impl.processes.framework_import import timed_import, uncompiled

pytestmark = pytest.mark.fast


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that was imported from its own site-packages, and its bytecode."""
    (tmp_path / "some_framework").mkdir()
    (tmp_path / "some_framework" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    importlib.import_module("some_framework")
    yield tmp_path / "some_framework" / "__pycache__"
    del sys.modules["some_framework"]


def test_folder_of_a_package_without_bytecode_is_named(package):
    assert uncompiled("some_framework") == ""
    shutil.rmtree(package)
    assert uncompiled("some_framework") == str(package.parents[1])


def test_what_is_no_package_on_disk_needs_no_bytecode():
    assert uncompiled("sys") == uncompiled("no_such_package") == ""


def test_import_is_timed(monkeypatch):
    adapter = SimpleNamespace()
    monkeypatch.setitem(ADAPTERS, "torch", adapter)
    monkeypatch.setattr(framework_import, "uncompiled", lambda name: f"/site of {name}")
    clock = iter([10.0, 13.141])
    monkeypatch.setattr(framework_import.time, "perf_counter", lambda: next(clock))
    found = timed_import("torch")
    assert found == (adapter, {"import_s": 3.14, "uncompiled": "/site of torch"})


def test_libraries_that_no_worker_uses_are_not_imported(tmp_path, monkeypatch):
    (tmp_path / "some_library.py").write_text("")
    (tmp_path / "some_adapter.py").write_text(
        "try:\n    import some_library\nexcept ImportError:\n    some_library = None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(ADAPTERS, "json", "some_adapter")
    monkeypatch.setattr(framework_import, "UNUSED", ("some_library", "sys"))
    try:
        adapter, _ = timed_import("json")
        assert adapter.some_library is None
        assert importlib.import_module("some_library")  # by the user's own code
        assert sys.modules["sys"] is sys
    finally:
        for name in ("some_adapter", "some_library"):
            sys.modules.pop(name, None)
