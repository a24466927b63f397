"""Findings of `alexnet doctor`: what is installed, what works, and what to do about the rest."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from alexnet_impl.machine.fact import Facts
from alexnet_impl.machine.interference import interference_warnings
from alexnet_impl.processes.diagnosis import Diagnosis
from alexnet_impl.report.fitted_table import FittedTable
from alexnet_impl.report.formatting import framework_label, value_text

_APART = (
    "On a GPU give each framework an environment of its own: `tox run -e gpu`, or --interpreter "
    "tensorflow=PYTHON."
)
_HANGS = (
    "See where it hangs: {python} -X importtime -c 'import {name}'. If it does not hang with "
    "CUDA_VISIBLE_DEVICES=-1 before it, restart the GPU's driver."
)
_SHOWN_ELSEWHERE = {"device", "gpu", "native_bfloat16"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the diagnosis.

    Attributes:
        what: What was looked at.
        found: What is there.
        holds: True if it is as it should be, False if something does not work, None for a note.
        remedy: What to do about it; '' if there is nothing to do.
    """

    what: str
    found: str
    holds: bool | None = True
    remedy: str = ""


def find_all(diagnoses: Sequence[Diagnosis], machine: Facts) -> list[Finding]:
    """Judge what the workers reported, and the facts of the machine.

    Args:
        diagnoses: One for each framework.
        machine: machine_fingerprint() with the result of measure_interference() as 'busy_share'.
    """
    gpus = machine.get("gpus") or []
    return [
        *_environments(diagnoses),
        *(_framework(one, gpus) for one in diagnoses),
        *_nothing_works(diagnoses),
        *_clashes(diagnoses),
        *_hardware(machine),
        *(_bfloat16(one) for one in diagnoses if one.device),
        _quiet(machine),
    ]


def _environments(diagnoses: Iterable[Diagnosis]) -> Iterator[Finding]:
    """Each interpreter once, with its packages and CUDA libraries."""
    by_interpreter = {one.interpreter: one.environment for one in diagnoses if one.environment}
    for interpreter, found in by_interpreter.items():
        yield Finding("Python", f"{found['python']}, {interpreter}")
        yield Finding("packages", _versions(found["packages"]))
        yield Finding("CUDA libraries", _versions(found["libraries"]) or "none")


def _versions(found: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in found.items())


def _framework(diagnosis: Diagnosis, gpus: Sequence[Facts]) -> Finding:
    label, name, device = (
        framework_label(diagnosis.framework),
        diagnosis.framework,
        diagnosis.device,
    )
    anew = f"In an environment of its own: pip install '{_package(name)}'"
    if not device:
        installed = name in diagnosis.environment.get("packages", {name})
        if installed:
            hung = _HANGS.format(python=diagnosis.interpreter, name=name)
            remedy = hung if diagnosis.hangs else anew
            return Finding(label, diagnosis.problem, holds=False, remedy=remedy)
        return Finding(label, "is not installed", holds=None, remedy=f"If you need it: {anew}")
    where = f"{device['device']} ({device['gpu']})" if device.get("gpu") else device["device"]
    own = {key: value_text(device[key]) for key in device.keys() - _SHOWN_ELSEWHERE}
    facts = f"uses {where}; {_versions(dict(sorted(own.items())))}"
    if device["device"] == "cpu" and gpus:
        sees = f"sees no GPU, but the driver does: {_gpu_names(gpus)}; {facts}"
        remedy = f"Check CUDA_VISIBLE_DEVICES. {anew}"
        return Finding(label, sees, holds=False, remedy=remedy)
    return Finding(label, facts)


def _package(framework: str) -> str:
    """The package to install, with its CUDA libraries."""
    return "tensorflow[and-cuda]" if framework == "tensorflow" else framework


def _nothing_works(diagnoses: Iterable[Diagnosis]) -> Iterator[Finding]:
    if not any(one.device for one in diagnoses):
        remedy = "pip install 'alexnet_impl[all]'"
        yield Finding("frameworks", "none works", holds=False, remedy=remedy)


def _clashes(diagnoses: Sequence[Diagnosis]) -> Iterator[Finding]:
    found = {one.interpreter: one.environment for one in diagnoses if one.environment}
    broken = {text: None for facts in found.values() for text in facts["broken"]}
    for text in broken:
        yield Finding("clash", text, holds=False, remedy=_APART)
    apart = {text: None for facts in found.values() for text in facts["apart"]}
    if apart:
        yield Finding("clash", "; ".join(apart), holds=None, remedy=_APART)
    if not broken and not apart:
        yield Finding("clashes", "none")


def _hardware(machine: Facts) -> Iterator[Finding]:
    cores = f"{machine.get('usable_cpus')} usable of {machine.get('logical_cpus')} cores"
    memory = f"{(machine.get('memory_bytes') or 0) / 2**30:.1f} GiB of memory"
    yield Finding("machine", f"{machine.get('cpu')}, {cores}, {memory}")
    gpus = machine.get("gpus") or []
    yield Finding("GPUs", _gpu_names(gpus) if gpus else "none with NVIDIA's driver")
    if variables := machine.get("variables"):
        yield Finding("variables", _versions(variables))


def _gpu_names(gpus: Sequence[Facts]) -> str:
    return ", ".join(f"{gpu.get('name')} (driver {gpu.get('driver')})" for gpu in gpus)


def _bfloat16(diagnosis: Diagnosis) -> Finding:
    device = "CPU" if diagnosis.device["device"] == "cpu" else "GPU"
    what = f"bfloat16, {framework_label(diagnosis.framework)}"
    if diagnosis.device["native_bfloat16"]:
        return Finding(what, f"native on this {device}")
    slow = f"not native on this {device}: up to a hundred times slower than float32"
    remedy = "Leave --recipe.precision at auto, or give float32."
    return Finding(what, slow, holds=None, remedy=remedy)


def _quiet(machine: Facts) -> Finding:
    if warnings := interference_warnings(machine, {}):
        remedy = (
            "Times measured now are not this machine's best; accuracy and parity do not suffer."
        )
        return Finding("quiet machine", " ".join(warnings), holds=None, remedy=remedy)
    busy = machine.get("busy_share") or 0.0
    return Finding("quiet machine", f"yes, others use {busy:.0%} of the cores")


_MARKS: dict[bool | None, Any] = {
    True: Text("✓", "green"),
    False: Text("✗", "bold red"),
    None: Text("?", "yellow"),
}


def doctor_renderables(findings: Sequence[Finding]) -> Iterator[RenderableType]:
    """Every finding on a line, its remedy below it, and a sentence that sums them up."""
    table = FittedTable.grid(padding=(0, 2, 0, 0))
    for _ in range(3):
        table.add_column()
    for one in findings:
        table.add_row(_MARKS[one.holds].copy(), one.what, one.found)
        if one.remedy:
            table.add_row("", "", Text(one.remedy, "bold"))
    yield table
    problems, notes = (sum(one.holds is mark for one in findings) for mark in (False, None))
    yield f"Problems: {problems}. Notes: {notes}."
