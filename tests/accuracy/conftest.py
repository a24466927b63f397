"""What the trainings share: a worker of each framework, and no long ones on a CPU by mistake."""

import pytest

from alexnet_impl.frameworks import FRAMEWORKS, get_framework
from alexnet_impl.processes.training_worker import worker_series


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
