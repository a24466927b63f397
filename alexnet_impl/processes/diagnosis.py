"""Questions of `alexnet doctor` to a worker process: its environment, and its framework's device.

A framework that cannot be imported, or that crashes or hangs there, ends the worker only.
"""

import platform
import sys
from dataclasses import asdict, dataclass, field
from threading import Event, Timer
from typing import Any

from alexnet_impl.errors import RunError
from alexnet_impl.frameworks import get_framework
from alexnet_impl.machine.libraries import (
    cuda_libraries,
    find_clashes,
    package_versions,
    read_distributions,
)
from alexnet_impl.processes.channel import Answer, answer_calls, open_channel
from alexnet_impl.weights.canonical import Weights

LIMIT_S = 120.0
"""Seconds after which a framework that has not started counts as hanging."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Report of a worker process about its environment and its framework.

    Attributes:
        framework: Its name.
        interpreter: The Python that was started.
        environment: Version of Python, packages, CUDA libraries and their clashes, from JSON;
            empty if the worker did not start.
        device: Fingerprint of the device that the framework uses; empty if it failed.
        problem: Why something is missing; '' if nothing is.
        hangs: Whether that is because the framework did not answer in time.
    """

    framework: str
    interpreter: str
    environment: dict[str, Any] = field(default_factory=dict)
    device: dict[str, Any] = field(default_factory=dict)
    problem: str = ""
    hangs: bool = False


def diagnose(
    framework: str, interpreter: str = sys.executable, limit_s: float = LIMIT_S
) -> Diagnosis:
    """Ask a worker process about its environment and about the device of its framework."""
    found: dict[str, Any] = {}
    hangs = Event()
    try:
        with open_channel(framework, "doctor", interpreter=interpreter) as channel:

            def end() -> None:
                hangs.set()
                # Killed, and not asked to end: it may hang in a driver's call.
                channel.worker.process.kill()

            timer = Timer(limit_s, end)
            timer.start()
            try:
                found["environment"], _ = channel.ask("environment")
                found["device"], _ = channel.ask("device", {"framework": framework})
            finally:
                timer.cancel()
    except RunError as error:
        found["problem"] = str(error)
        if hangs.is_set():
            found |= {"problem": f"did not answer within {limit_s:g} s", "hangs": True}
    return Diagnosis(framework=framework, interpreter=interpreter, **found)


def run_doctor_worker() -> int:
    """Answer the questions on standard input until it ends; the exit code is 0."""
    return answer_calls(_answer)


def _answer(call: str, values: dict[str, Any], _: Weights) -> Answer:
    if call == "environment":
        return _environment(), {}
    framework = get_framework(values["framework"])
    facts = framework.fingerprint("auto")
    return facts | {"native_bfloat16": framework.bfloat16_support("auto").is_native}, {}


def _environment() -> dict[str, Any]:
    installed = read_distributions()
    return {
        "python": platform.python_version(),
        "packages": package_versions(installed),
        "libraries": cuda_libraries(installed),
        **asdict(find_clashes(installed)),
    }
