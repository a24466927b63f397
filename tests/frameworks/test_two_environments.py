"""A framework in an environment of its own, as `tox run -e gpu` makes them; no GPU is needed."""

import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.torch, pytest.mark.tensorflow]

ROOT = Path(__file__).parents[2]
OTHERS = {"torch": r"tensorflow|keras|tf_", "tensorflow": r"torch|triton|functorch"}
"""Packages that the environment of a framework lacks."""


@pytest.fixture(scope="module")
def pythons(tmp_path_factory):
    """Framework to the Python of an environment that has all packages but the other framework."""
    installed = Path(sysconfig.get_path("purelib"))
    found = {}
    for name, others in OTHERS.items():
        folder = tmp_path_factory.mktemp(name)
        venv.create(folder, symlinks=True)
        site = next(folder.glob("lib/python*/site-packages"))
        for entry in installed.iterdir():
            if not re.match(others, entry.name) and not (site / entry.name).exists():
                (site / entry.name).symlink_to(entry)
        (site / "alexnet.pth").write_text(f"{ROOT}\n")
        found[name] = str(folder / "bin" / "python")
    return found


def test_each_framework_answers_from_its_own_environment(pythons, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    command = [pythons["torch"], "-m", "alexnet_impl", "doctor"]
    done = subprocess.run(
        [*command, "--interpreter", f"tensorflow={pythons['tensorflow']}"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode in (0, 1), done.stderr  # 1 where the driver has a GPU that one lacks
    rows = dict(re.findall(r"^. +(\S+(?: \S+)*?) {2,}(.*\S) *$", done.stdout, re.MULTILINE))
    for label in ("PyTorch", "TensorFlow"):
        assert "uses " in rows[label], done.stdout
    assert "tensorflow" not in re.findall(r"packages +(.*)", done.stdout)[0]
    assert "torch" not in re.findall(r"packages +(.*)", done.stdout)[1]
    assert rows["clashes"] == "none"


def test_tox_makes_an_environment_for_each_framework_on_a_gpu():
    names = "gpu,gpu-torch,gpu-tensorflow"
    command = [sys.executable, "-m", "tox", "config", "-e", names, "-k", "commands"]
    done = subprocess.run(
        [*command, "extras", "deps", "set_env", "pass_env", "--", "--benchmark-save", "NAME"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    both, torch, tensorflow = re.split(r"^\[testenv:.*\n", done.stdout, flags=re.MULTILINE)[1:]
    assert "tensorflow[and-cuda]" in tensorflow
    assert "tensorflow" not in torch
    assert "torch" not in tensorflow
    assert "ALEXNET_REQUIRE=torch,gpu" in torch
    assert all("CUDA_*" in one for one in (both, torch, tensorflow))
    assert "tox run -e gpu-torch,gpu-tensorflow" in both
    pairs = r"gpu-torch/bin/python -m pytest benchmarks -m gpu --interpreter tensorflow=\S+/gpu-ten"
    assert re.search(rf"{pairs}.* --benchmark-save NAME$", both, re.MULTILINE)
    assert re.search(r"alexnet_impl versions .*/versions.html$", both, re.MULTILINE)
