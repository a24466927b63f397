"""Facts about the machine that decide how fast a step is: processor, memory, limits, GPUs.

Facts are plain values, ready for JSON; a fact that this platform does not tell is None. On Linux
they are read from files below a root, elsewhere asked of psutil, of the operating system and of
`sysctl`. Environment variables are read by name and never by prefix: others may hold secrets.
"""

import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alexnet_impl.machine.gpu import gpu_facts
from alexnet_impl.machine.linux import linux_hardware, linux_state, read_text
from alexnet_impl.machine.portable import portable_hardware, portable_state

Facts = Mapping[str, Any]


TELLING_VARIABLES = (
    "ATEN_CPU_CAPABILITY",
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_VISIBLE_DEVICES",
    "GOMP_CPU_AFFINITY",
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
    "TF_CUDNN_DETERMINISTIC",
    "TF_DETERMINISTIC_OPS",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_XLA_FLAGS",
    "TORCHINDUCTOR_MAX_AUTOTUNE",
    "XLA_FLAGS",
)
"""Variables that set threads and their places, the allocator, kernels, compilers and devices. By
name, never by prefix: TF_VAR_... and the like hold Terraform's secrets."""


def machine_fingerprint(
    root: Path = Path("/"), *, gpu_command: str = "nvidia-smi"
) -> dict[str, Any]:
    """Facts that decide speed, read now.

    To be read before a framework starts its threads: OpenMP may bind the calling thread to one
    core, which would then count as all that this process may use.

    Args:
        root: Folder in which /proc, /sys, /etc and /run lie.
        gpu_command: As for gpu_facts().

    Returns:
        What hardware_facts() returns, and
        architecture: 'x86_64', 'aarch64', 'arm64', ...
        cpu_signature: Vendor, family, model and stepping; hypervisors keep it where they hide
            the CPU's name.
        affinity_cpus: Logical CPUs that the scheduler may give to this process.
        quota_cpus: CPUs' worth of time that the control group grants; None without a limit.
        usable_cpus: The least of the two and logical_cpus.
        governors: The frequency governors in use, each once.
        max_frequency_mhz, turbo: The CPU's highest frequency, and whether it may boost.
        load_average: Over 1, 5 and 15 minutes.
        thermal_throttle_count: Times that heat has slowed the CPU since boot.
        on_battery: Whether a battery feeds the machine.
        container: What this process is contained in, such as 'docker'; None where none is seen.
        hypervisor: Whether this is a virtual machine.
        operating_system, kernel: Names and versions.
        variables: Those of TELLING_VARIABLES that are set.
        preloaded_libraries: File names in LD_PRELOAD, such as an allocator's.
        gpus: What gpu_facts() returns.
    """
    facts = {"architecture": platform.machine() or None, **hardware_facts(root)}
    facts |= linux_state(root) if _is_linux(root) else portable_state()
    limits = (facts["logical_cpus"], facts["affinity_cpus"], facts["quota_cpus"])
    return facts | {
        "usable_cpus": min((limit for limit in limits if limit is not None), default=None),
        "variables": {name: os.environ[name] for name in TELLING_VARIABLES if name in os.environ},
        "preloaded_libraries": _preloaded_libraries(),
        "gpus": gpu_facts(gpu_command),
    }


def hardware_facts(root: Path = Path("/")) -> dict[str, Any]:
    """The CPU's name (cpu), cpu_features, logical_cpus, physical_cpus and memory_bytes."""
    return linux_hardware(root) if _is_linux(root) else portable_hardware()


def _is_linux(root: Path) -> bool:
    return read_text(root / "proc/cpuinfo") is not None


def _preloaded_libraries() -> list[str]:
    listed = re.split(r"[\s:]+", os.environ.get("LD_PRELOAD", ""))
    return [Path(library).name for library in listed if library]
