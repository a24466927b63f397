"""`alexnet doctor`: what it finds on made-up machines, and a framework that crashes or hangs."""

from dataclasses import replace

import pytest
from support.fake_worker import shell_script

from alexnet_impl.cli import doctor, main
from alexnet_impl.machine.libraries import find_clashes, package_versions, read_distributions
from alexnet_impl.processes.diagnosis import Diagnosis, diagnose
from alexnet_impl.report.doctor import find_all

pytestmark = pytest.mark.fast


@pytest.fixture
def install(tmp_path):
    """Writes the metadata of a distribution; gives those that were written so far."""

    def install(name, version, *requires, files=()):
        folder = tmp_path / f"{name}-{version}.dist-info"
        folder.mkdir()
        lines = [f"Name: {name}", f"Version: {version}"]
        lines += [f"Requires-Dist: {need}" for need in requires]
        (folder / "METADATA").write_text("\n".join(lines) + "\n")
        (folder / "RECORD").write_text("".join(f"{file},,\n" for file in files))
        return read_distributions(str(tmp_path))

    return install


def test_frameworks_of_two_cuda_releases_are_to_be_kept_apart(install):
    install("torch", "2.14.1", "nvidia-cudnn-cu13==9.24", 'nvidia-nccl-cu13==2; extra == "other"')
    found = install("tensorflow", "2.21.0", 'nvidia-cudnn-cu12<10,>=9.3; extra == "and-cuda"')
    assert package_versions(found) == {"torch": "2.14.1", "tensorflow": "2.21.0"}
    clashes = find_clashes(found)
    text = "torch needs nvidia-cudnn-cu13==9.24, tensorflow nvidia-cudnn-cu12<10,>=9.3"
    assert (clashes.broken, clashes.apart) == ((), (text,))


@pytest.mark.parametrize(("pin", "clash"), [("9.1", True), ("9.24", False)])
def test_a_pinned_version_that_the_other_refuses_is_a_clash(install, pin, clash):
    install("torch", "2.14.1", f"nvidia-cudnn-cu12=={pin}")
    found = install("tensorflow", "2.21.0", 'nvidia-cudnn-cu12>=9.3; extra == "and-cuda"')
    assert bool(find_clashes(found).apart) == clash


def test_installed_libraries_that_cannot_serve_are_broken(install):
    cudnn = ["nvidia/cudnn/lib/libcudnn.so.9"]
    install("torch", "2.14.1", "nvidia-cudnn-cu13==9.24")
    install("nvidia-cublas-cu12", "12.5", files=["nvidia/cublas/lib/libcublas.so.12"])
    install("nvidia-cublas", "13.1", files=["nvidia/cu13/lib/libcublas.so.13"])
    install("nvidia-cudnn-cu12", "9.3", files=cudnn)
    overwritten, unmet = find_clashes(install("nvidia-cudnn-cu13", "9.20", files=cudnn)).broken
    assert overwritten.startswith("nvidia-cudnn-cu12 9.3 and nvidia-cudnn-cu13 9.20 have the same")
    assert unmet == "torch needs nvidia-cudnn-cu13==9.24; 9.20 is installed"


ENVIRONMENT = {
    "python": "3.11.7",
    "packages": {"torch": "2.14.1", "tensorflow": "2.21.0"},
    "libraries": {},
    "broken": [],
    "apart": [],
}
GPU = {"name": "NVIDIA A100", "driver": "550.90"}
QUIET = {"cpu": "CPU", "busy_share": 0.0, "gpus": []}
TORCH = Diagnosis(
    framework="torch",
    interpreter="/a/python",
    environment=ENVIRONMENT,
    device={"torch": "2.14.1", "device": "cpu", "native_bfloat16": True},
)
TENSORFLOW = replace(TORCH, framework="tensorflow")
CRASHED = replace(TENSORFLOW, device={}, problem="tensorflow: killed by signal 11")


@pytest.mark.parametrize(
    ("diagnoses", "machine", "holds", "texts"),
    [
        ([TORCH, TENSORFLOW], {}, {True}, ["native on this CPU", "yes, others use 0%"]),
        ([TORCH, CRASHED], {}, {True, False}, ["killed by signal 11", "tensorflow[and-cuda]"]),
        (
            [TORCH, replace(CRASHED, environment=ENVIRONMENT | {"packages": {"torch": "2"}})],
            {},
            {True, None},
            ["is not installed"],
        ),
        ([CRASHED], {}, {True, False}, ["none works"]),
        (
            [TORCH],
            {"gpus": [GPU]},
            {True, False},
            ["sees no GPU, but the driver does: NVIDIA A100"],
        ),
        (
            [replace(TORCH, environment=ENVIRONMENT | {"broken": ["b"], "apart": ["a"]})],
            {},
            {True, False, None},
            ["tox run -e gpu"],
        ),
        (
            [replace(TORCH, device=TORCH.device | {"native_bfloat16": False})],
            {},
            {True, None},
            ["not native", "or give float32"],
        ),
        ([TORCH], {"busy_share": 0.9}, {True, None}, ["kept 90% of all cores busy"]),
    ],
    ids=["well", "crashed", "missing", "nothing", "no GPU", "clash", "bfloat16", "busy"],
)
def test_findings_say_what_holds_and_what_to_do(diagnoses, machine, holds, texts):
    found = find_all(diagnoses, QUIET | machine)
    assert {one.holds for one in found} == holds
    assert all(bool(one.remedy) == (one.holds is not True) for one in found)
    said = " ".join(f"{one.found} {one.remedy}" for one in found)
    for text in texts:
        assert text in said


@pytest.mark.parametrize(("second", "code"), [(TENSORFLOW, 0), (CRASHED, 1)])
def test_exit_code_says_whether_everything_works(monkeypatch, capsys, second, code):
    monkeypatch.setattr(doctor, "LOOK_S", 0.001)
    monkeypatch.setattr(doctor, "diagnose", lambda name, _: {"torch": TORCH}.get(name, second))
    monkeypatch.setattr(doctor, "machine_fingerprint", lambda: QUIET)
    assert main(["doctor"]) == code
    assert f"Problems: {code}." in capsys.readouterr().out


ANSWER = 'read line; echo \'{"values": {"python": "3.11"}, "arrays": ""}\'; read line'


@pytest.mark.parametrize(
    ("end", "limit_s", "problem", "remedy"),
    [
        (
            "kill -SEGV $$",
            60.0,
            "torch: the worker process was killed by signal 11",
            "In an environment of its own: pip install 'torch'",
        ),
        (
            "exec sleep 60",
            0.1,
            "did not answer within 0.1 s",
            "See where it hangs: {python} -X importtime -c 'import torch'. ",
        ),
    ],
    ids=["crashes", "hangs"],
)
def test_framework_that_ends_its_worker_is_a_finding(tmp_path, end, limit_s, problem, remedy):
    python = shell_script(tmp_path, ANSWER, end)
    found = diagnose("torch", python, limit_s=limit_s)
    assert found.environment == {"python": "3.11"}
    assert found.device == {}
    assert found.problem.startswith(problem)
    environment = ENVIRONMENT | {"packages": {"torch": "2"}}
    finding = find_all([replace(found, environment=environment)], QUIET)[3]
    assert finding.found == found.problem
    assert finding.remedy.startswith(remedy.format(python=python))
