"""Handler of `alexnet doctor`."""

import sys
from concurrent.futures import ThreadPoolExecutor

from rich.console import Console

from alexnet_impl.cli.flags import Doctor
from alexnet_impl.cli.output import keep_result
from alexnet_impl.cli.shared import parse_interpreters
from alexnet_impl.frameworks import FRAMEWORKS
from alexnet_impl.machine.facts import machine_fingerprint
from alexnet_impl.machine.interference import LOOK_S, measure_interference
from alexnet_impl.processes.diagnosis import diagnose
from alexnet_impl.report.doctor import doctor_renderables, find_all


def doctor_command(command: Doctor, console: Console) -> int:
    """Print what is installed and what works; the exit code is 1 if something does not."""
    interpreters = parse_interpreters(command.interpreter)
    machine = machine_fingerprint() | {"busy_share": measure_interference(LOOK_S)}
    with ThreadPoolExecutor() as pool:
        diagnoses = list(
            pool.map(
                lambda name: diagnose(name, interpreters.get(name, sys.executable)), FRAMEWORKS
            )
        )
    findings = find_all(diagnoses, machine)
    keep_result(console, lambda: {"findings": findings})
    for renderable in doctor_renderables(findings):
        console.print(renderable)
    return int(any(one.holds is False for one in findings))
