"""The wheel holds every file that the package reads, and the sdist the whole repository."""

import tarfile
import zipfile
from pathlib import Path

import pytest
from hatchling.build import build_sdist, build_wheel

import alexnet_impl

pytestmark = pytest.mark.fast

PACKAGE = Path(alexnet_impl.__file__).parent


def test_wheel_has_every_file_of_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(PACKAGE.parent)
    name = build_wheel(str(tmp_path))
    with zipfile.ZipFile(tmp_path / name) as wheel:
        found = {entry for entry in wheel.namelist() if entry.startswith("alexnet_impl/")}
    expected = {
        path.relative_to(PACKAGE.parent).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert found == expected
    assert {Path(entry).suffix for entry in found} >= {".py", ".jinja", ".csv"}
    assert "alexnet_impl/py.typed" in found


@pytest.mark.slow
def test_sdist_has_tests_documents_and_settings(tmp_path, monkeypatch):
    root = PACKAGE.parent
    monkeypatch.chdir(root)
    with tarfile.open(tmp_path / build_sdist(str(tmp_path))) as sdist:
        found = {name.partition("/")[2] for name in sdist.getnames()}
    folders = ("alexnet_impl", "benchmarks", "docs", "tests", ".ci")
    expected = {
        path.relative_to(root).as_posix()
        for folder in folders
        for path in (root / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert expected <= found
    assert {"README.md", "CHANGELOG.md", "LICENSE", "conftest.py", "tox.ini"} <= found
