"""The processor: its name, the features that choose kernels, and its signature.

py-cpuinfo reads the name and the features, by its readers of one source each: its get_cpu_info()
starts processes for 1.6 s and executes machine code to ask the processor itself.
"""

import functools
import platform
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CPU_FEATURES = frozenset(
    {"avx", "avx2", "avx_vnni", "f16c", "fma"}
    | {"avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16"}
    | {"amx_tile", "amx_bf16", "amx_int8", "amx_fp16"}
    | {"neon", "asimd", "asimdhp", "asimddp", "bf16", "i8mm", "sve", "sve2", "svebf16", "sme"}
)
"""Features that choose a convolution or matrix kernel, in the Linux kernel's words."""
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
"""sysctl's names below hw.optional to those words; py-cpuinfo reads none of Apple's own chips."""
_SOURCES = ("proc_cpuinfo", "lscpu", "sysctl", "registry")


@functools.cache
def cpu_info() -> Mapping[str, Any]:
    """Facts that py-cpuinfo reads, under its names: brand_raw, flags, family, ..."""
    from cpuinfo import cpuinfo  # noqa: PLC0415 - 20 ms that no quick command needs

    found: dict[str, Any] = {}
    for source in _SOURCES:
        if {"brand_raw", "flags"} <= found.keys():
            break
        found = getattr(cpuinfo, f"_get_cpu_info_from_{source}")() | found
    return found


def cpu_name() -> str | None:
    """The processor's name; its architecture where the system has no name for it."""
    return cpu_info().get("brand_raw") or platform.processor() or platform.machine() or None


def cpu_features() -> list[str] | None:
    """Those of CPU_FEATURES that the processor has, sorted; None where the system lists none."""
    if optional := mac_settings():
        present = {name.removeprefix("hw.optional.") for name, v in optional.items() if v == "1"}
        return sorted({_MAC_FEATURES[name] for name in present & _MAC_FEATURES.keys()})
    flags = cpu_info().get("flags")
    return None if flags is None else sorted(CPU_FEATURES.intersection(flags))


def cpu_signature(info: Path = Path("/proc/cpuinfo")) -> str | None:
    """Vendor, family, model and stepping, which hypervisors keep where they hide the name.

    Args:
        info: The kernel's file; on 64-bit ARM it has implementer, part, variant and revision.
    """
    text = info.read_text(errors="replace")
    for names in (
        ("vendor_id", "cpu family", "model", "stepping"),
        ("CPU implementer", "CPU part", "CPU variant", "CPU revision"),
    ):
        fields = [re.search(rf"^{name}[ \t]*:[ \t]*(\S.*)$", text, re.MULTILINE) for name in names]
        if found := [field.group(1).strip() for field in fields if field]:
            return " ".join(found)
    return None


@functools.cache
def mac_settings() -> Mapping[str, str]:
    """Optional CPU features and virtual machine as macOS reports them; empty on other systems."""
    if platform.system() != "Darwin":
        return {}
    command = ["/usr/sbin/sysctl", "kern.hv_vmm_present", "hw.optional"]
    done = subprocess.run(  # noqa: S603 - the system's own tool, with fixed arguments
        command, capture_output=True, text=True, timeout=10, check=False
    )
    pairs = (line.partition(":") for line in done.stdout.splitlines())
    return {name: value.strip() for name, _, value in pairs}
