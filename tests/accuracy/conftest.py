"""What the scaled-down experiments share: a few real images, and a worker of each framework."""

import zipfile
from collections import Counter
from pathlib import Path

import pytest

from alexnet_impl.frameworks import FRAMEWORKS, get_framework
from alexnet_impl.processes.training_worker import worker_series

A_CLASS = {"train": 32, "test": 4}
"""Images of each class that are taken."""


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
def refuse_cpu(request):
    """Fail what was meant for a GPU where there is none, unless --accept-slow says otherwise."""

    def refuse_cpu(what, framework, minutes):
        on_cpu = get_framework(framework).fingerprint("auto")["device"] == "cpu"
        if on_cpu and not request.config.getoption("--accept-slow"):
            pytest.fail(
                f"{what} takes about {minutes} minutes on a GPU, and {framework} sees none; "
                "--accept-slow starts it on the CPU all the same",
                pytrace=False,
            )

    return refuse_cpu


@pytest.fixture(scope="session")
def series(tmp_path_factory):
    """A worker of each framework that trains all experiments one after the other."""
    folder = tmp_path_factory.mktemp("workers")
    torch, tensorflow = FRAMEWORKS
    with pytest.MonkeyPatch.context() as patch:
        # A worker keeps the environment that it starts with, which no test has set up yet.
        patch.setenv("ALEXNET_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "cache"))
        with (
            worker_series(torch, folder / "torch.log") as first,
            worker_series(tensorflow, folder / "tensorflow.log") as second,
        ):
            patch.undo()
            yield {torch: first, tensorflow: second}
