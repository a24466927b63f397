"""Hardware facts and state where there is no /proc: by psutil, the platform module and sysctl."""

import os
import platform
import subprocess
from collections.abc import Callable, Mapping
from typing import Any

import psutil

COMMAND_TIMEOUT_S = 10.0


def portable_hardware() -> dict[str, Any]:
    """Processor and memory, as hardware_facts() lists them."""
    told = _sysctl()
    return {
        "cpu": told.get("machdep.cpu.brand_string") or platform.processor() or platform.machine(),
        "cpu_features": _mac_features(told),
        "logical_cpus": psutil.cpu_count(),
        "physical_cpus": psutil.cpu_count(logical=False),
        "memory_bytes": psutil.virtual_memory().total,
    }


def portable_state() -> dict[str, Any]:
    """Limits, frequencies, load and system, as machine_fingerprint() lists them."""
    frequency = _asked(lambda: psutil.cpu_freq().max)
    guest = _sysctl().get("kern.hv_vmm_present")
    return {
        "cpu_signature": None,
        "affinity_cpus": _asked(lambda: len(psutil.Process().cpu_affinity())),
        "quota_cpus": None,
        "governors": None,
        "max_frequency_mhz": frequency or None,
        "turbo": None,
        "thermal_throttle_count": None,
        "load_average": _asked(lambda: list(os.getloadavg())),
        "on_battery": _asked(lambda: not psutil.sensors_battery().power_plugged),
        "container": None,
        "hypervisor": None if guest is None else guest == "1",
        "operating_system": platform.platform(terse=True),
        "kernel": platform.release(),
    }


def _asked(question: Callable[[], Any]) -> Any:
    """The answer; None where psutil or the system has no such call, or nothing to say."""
    try:
        return question()
    except (AttributeError, TypeError, NotImplementedError, RuntimeError, OSError, psutil.Error):
        return None


def _sysctl() -> dict[str, str]:
    """What macOS tells of its CPU; nothing on other systems."""
    if platform.system() != "Darwin":
        return {}
    names = ("machdep.cpu.brand_string", "kern.hv_vmm_present", "hw.optional")
    told = command_output(["/usr/sbin/sysctl", *names], COMMAND_TIMEOUT_S) or ""
    pairs = (line.partition(":") for line in told.splitlines())
    return {name: value.strip() for name, _, value in pairs}


def _mac_features(told: Mapping[str, str]) -> list[str] | None:
    if not told:
        return None
    present = {name.removeprefix("hw.optional.") for name, value in told.items() if value == "1"}
    return sorted({_MAC_FEATURES[name] for name in present & _MAC_FEATURES.keys()})


_MAC_FEATURES = {
    "AdvSIMD": "asimd",
    "neon": "asimd",
    "arm.FEAT_BF16": "bf16",
    "arm.FEAT_DotProd": "asimddp",
    "arm.FEAT_FP16": "asimdhp",
    "arm.FEAT_I8MM": "i8mm",
    "arm.FEAT_SME": "sme",
    "avx1_0": "avx",
    "avx2_0": "avx2",
    "avx512f": "avx512f",
    "f16c": "f16c",
    "fma": "fma",
}


def command_output(command: list[str], timeout_s: float) -> str | None:
    """What a command prints, its complaints left out; None if it is missing or takes too long."""
    try:
        done = subprocess.run(  # noqa: S603 - the machine's own tools, by our own words
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=timeout_s,
            check=False,
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace")
