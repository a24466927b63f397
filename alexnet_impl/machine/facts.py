"""The registry of machine facts: what a benchmark and a run record about their hardware.

A fact is a value ready for JSON, or None where this platform does not tell it. Environment
variables are read by name and never by prefix: others may hold secrets.
"""

import os
import platform
import re
from pathlib import Path
from typing import Any

import psutil

from alexnet_impl.machine import linux
from alexnet_impl.machine.cpu import cpu_features, cpu_name, cpu_signature, mac_settings
from alexnet_impl.machine.fact import Fact
from alexnet_impl.machine.gpu import gpu_facts

TELLING_VARIABLES = (
    "ATEN_CPU_CAPABILITY",
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_DEVICE_MAX_CONNECTIONS",
    "CUDA_LAUNCH_BLOCKING",
    "CUDA_MODULE_LOADING",
    "CUDA_VISIBLE_DEVICES",
    "GOMP_CPU_AFFINITY",
    "GOMP_SPINCOUNT",
    "KERAS_BACKEND",
    "KMP_AFFINITY",
    "KMP_BLOCKTIME",
    "MALLOC_ARENA_MAX",
    "MALLOC_CONF",
    "MKL_NUM_THREADS",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_NUM_THREADS",
    "OMP_PLACES",
    "OMP_PROC_BIND",
    "OMP_WAIT_POLICY",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
    "OPENBLAS_NUM_THREADS",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
    "TF_CUDNN_DETERMINISTIC",
    "TF_CUDNN_USE_AUTOTUNE",
    "TF_DETERMINISTIC_OPS",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_FORCE_GPU_ALLOW_GROWTH",
    "TF_GPU_ALLOCATOR",
    "TF_GPU_THREAD_MODE",
    "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_XLA_FLAGS",
    "TORCHINDUCTOR_MAX_AUTOTUNE",
    "XLA_FLAGS",
)
"""Variables that set threads and their places, the allocator, kernels, compilers and devices. By
name, never by prefix: TF_VAR_... and the like hold Terraform's secrets."""


AFFINITY = Fact("affinity_cpus", int, "state", lambda: len(psutil.Process().cpu_affinity()))


def usable_cores() -> int:
    """Number of CPU cores that this process may be scheduled on."""
    return AFFINITY.read() or psutil.cpu_count() or 1


def _usable_cpus() -> float | None:
    limits = (psutil.cpu_count(), AFFINITY.read(), linux.quota_cpus())
    return min((limit for limit in limits if limit is not None), default=None)


def _physical_cpus() -> Any:
    return psutil.cpu_count(logical=False)


def _max_frequency_mhz() -> float | None:
    return max((core.max for core in psutil.cpu_freq(percpu=True)), default=None) or None


def _operating_system() -> str:
    if platform.system() == "Linux":
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    return platform.platform(terse=True)


def _on_battery() -> bool | None:
    if platform.system() == "Linux":
        return linux.on_battery()
    return psutil.sensors_battery().power_plugged is False


def _hypervisor() -> bool | None:
    guest = mac_settings().get("kern.hv_vmm_present")
    return linux.hypervisor() if guest is None else guest == "1"


def set_variables() -> dict[str, str]:
    """Those of TELLING_VARIABLES that are set, with their values."""
    return {name: os.environ[name] for name in TELLING_VARIABLES if name in os.environ}


def _preloaded_libraries() -> list[str]:
    """File names in LD_PRELOAD, such as an allocator's."""
    listed = re.split(r"[\s:]+", os.environ.get("LD_PRELOAD", ""))
    return [Path(library).name for library in listed if library]


HARDWARE = (
    Fact("cpu", str, "machine", cpu_name),
    Fact("cpu_features", list, "machine", cpu_features),
    Fact("logical_cpus", int, "state", psutil.cpu_count),
    Fact("physical_cpus", int, "machine", _physical_cpus, label="physical cores"),
    # Firmware, kernel and hypervisor each keep some of the memory back.
    Fact("memory_bytes", int, "machine", lambda: psutil.virtual_memory().total, "B", "memory", 0.1),
)
"""What every run records: the processor and the memory."""
FACTS = (
    *HARDWARE,
    Fact("cpu_signature", str, "machine", cpu_signature),
    Fact("architecture", str, "machine", lambda: platform.machine() or None),
    # What the scheduler, the control group and the machine leave to this process.
    AFFINITY,
    Fact("quota_cpus", float, "state", linux.quota_cpus),
    Fact("usable_cpus", float, "machine", _usable_cpus, label="usable cores"),
    Fact("operating_system", str, "software", _operating_system),
    Fact("kernel", str, "software", lambda: platform.release() or None),
    Fact("hypervisor", bool, "software", _hypervisor),
    Fact("container", str, "software", linux.container, absent="none"),
    Fact("governors", list, "software", linux.governors, label="governor"),
    Fact("turbo", bool, "software", linux.turbo),
    Fact("max_frequency_mhz", float, "software", _max_frequency_mhz, "MHz", "max frequency (MHz)"),
    Fact("preloaded_libraries", list, "software", _preloaded_libraries),
    Fact("variables", dict, "software", set_variables),
    Fact("load_average", list, "state", lambda: list(os.getloadavg())),  # 1, 5, 15 minutes
    Fact("thermal_throttle_count", int, "state", linux.thermal_throttle_count),
    Fact("on_battery", bool, "state", _on_battery),
    Fact("gpus", list, "state", gpu_facts),
)
"""What a benchmark records; GPU_FACTS say how its GPUs are compared."""


def hardware_facts() -> dict[str, Any]:
    """Read the processor's name and features, the numbers of CPUs and the memory in bytes."""
    return {fact.name: fact.read() for fact in HARDWARE}


def machine_fingerprint() -> dict[str, Any]:
    """Read all facts that decide speed, now.

    Call it before a framework starts its threads: OpenMP may bind the calling thread to one core,
    which would then count as all that this process may use.
    """
    return {fact.name: fact.read() for fact in FACTS}
