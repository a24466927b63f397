"""`alexnet worker KIND`: the internal command that every worker process is started with."""

from collections.abc import Callable

from rich.console import Console

from alexnet_impl.cli.flags import Worker
from alexnet_impl.errors import UnknownNameError


# Each kind imports what it needs and no more: a worker's start is waited for.
def _training() -> int:
    from alexnet_impl.processes.training_service import run_training_worker  # noqa: PLC0415

    return run_training_worker()


def _trainer() -> int:
    from alexnet_impl.processes.remote_trainer import run_trainer_worker  # noqa: PLC0415

    return run_trainer_worker()


def _case() -> int:
    from alexnet_impl.measurement.case_worker import run_case_worker  # noqa: PLC0415

    return run_case_worker()


def _model() -> int:
    from alexnet_impl.ports.worker import run_model_worker  # noqa: PLC0415

    return run_model_worker()


def _conversion() -> int:
    from alexnet_impl.convert import run_conversion_worker  # noqa: PLC0415

    return run_conversion_worker()


def _doctor() -> int:
    from alexnet_impl.processes.diagnosis import run_doctor_worker  # noqa: PLC0415

    return run_doctor_worker()


WORKERS: dict[str, Callable[[], int]] = {
    "training": _training,
    "trainer": _trainer,
    "case": _case,
    "model": _model,
    "conversion": _conversion,
    "doctor": _doctor,
}
"""Kind to the function that answers its requests on standard input; see processes.launch.KINDS."""


def run_worker(kind: str) -> int:
    """Be a worker process of one kind until standard input ends.

    Returns:
        The exit code.

    Raises:
        UnknownNameError: If there is no such kind.
    """
    if kind not in WORKERS:
        raise UnknownNameError("kind of worker", kind, WORKERS)
    return WORKERS[kind]()


def worker_command(command: Worker, _: Console) -> int:
    """Be a worker process."""
    return run_worker(command.kind)
