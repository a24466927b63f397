"""Hardware facts and the machine's state as Linux tells them in /proc and /sys."""

import math
import platform
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CPU_FEATURES = frozenset(
    {"avx", "avx2", "avx_vnni", "f16c", "fma"}
    | {"avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16"}
    | {"amx_tile", "amx_bf16", "amx_int8", "amx_fp16"}
    | {"neon", "asimd", "asimdhp", "asimddp", "bf16", "i8mm", "sve", "sve2", "svebf16", "sme"}
)
"""Features that choose a convolution or matrix kernel, in the Linux kernel's words."""


def read_text(path: Path) -> str | None:
    """The text of a file without surrounding blanks; None if it cannot be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def parse_number(text: str | None) -> float | None:
    """The finite number that a text is; None if it is none."""
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _field(text: str | None, name: str) -> str | None:
    """The first 'name : value' of a text; None if it has none."""
    match = re.search(rf"^{name}[ \t]*:[ \t]*(\S.*)$", text or "", re.MULTILINE)
    return match.group(1).strip() if match else None


# Linux


def linux_hardware(root: Path) -> dict[str, Any]:
    """Processor and memory, as hardware_facts() lists them, read from files below `root`."""
    info = read_text(root / "proc/cpuinfo") or ""
    memory = re.search(
        r"^MemTotal:\s*(\d+) kB", read_text(root / "proc/meminfo") or "", re.MULTILINE
    )
    flags = _field(info, "(?:flags|Features)")
    return {
        "cpu": _linux_cpu(info),
        "cpu_features": None if flags is None else sorted(CPU_FEATURES & set(flags.split())),
        "logical_cpus": len(re.findall(r"^processor\s*:", info, re.MULTILINE)) or None,
        "physical_cpus": _physical_cpus(root, info),
        "memory_bytes": int(memory.group(1)) * 1024 if memory else None,
    }


def _linux_cpu(info: str) -> str:
    """The CPU's name; POWER calls it 'cpu', and 64-bit ARM tells only numbers."""
    name = _field(info, "model name") or _field(info, "cpu") or _arm_cpu(info)
    return name or platform.processor() or platform.machine()


def _arm_cpu(info: str) -> str | None:
    parts = sorted(set(re.findall(r"^CPU part\s*:\s*(\S+)", info, re.MULTILINE)))
    if not parts:
        return None
    implementer = _field(info, "CPU implementer") or "?"
    names = (_ARM_PARTS.get((implementer, part), f"ARM {implementer} {part}") for part in parts)
    return " + ".join(names)


# From the Arm technical reference manuals' MIDR_EL1, as lscpu has them.
_ARM_PARTS = {
    ("0x41", "0xd08"): "Cortex-A72",
    ("0x41", "0xd0b"): "Cortex-A76",
    ("0x41", "0xd0c"): "Neoverse-N1",
    ("0x41", "0xd40"): "Neoverse-V1",
    ("0x41", "0xd49"): "Neoverse-N2",
    ("0x41", "0xd4f"): "Neoverse-V2",
}


def _physical_cpus(root: Path, info: str) -> int | None:
    """Cores, their hardware threads counted once."""
    folder = root / "sys/devices/system/cpu"
    for name in ("core_cpus_list", "thread_siblings_list"):
        if cores := _texts(folder, f"cpu[0-9]*/topology/{name}"):
            return len(set(cores))
    pairs = re.findall(r"(?ms)^physical id\s*:\s*(\d+)$.*?^core id\s*:\s*(\d+)$", info)
    return len(set(pairs)) or None


def _texts(folder: Path, pattern: str) -> list[str]:
    """The contents of the files that match, those that cannot be read left out."""
    return [text for path in sorted(folder.glob(pattern)) if (text := read_text(path)) is not None]


def linux_state(root: Path) -> dict[str, Any]:
    """Limits, frequencies, load and system, as machine_fingerprint() lists them."""
    info = read_text(root / "proc/cpuinfo")
    allowed = _field(read_text(root / "proc/self/status"), "Cpus_allowed_list")
    return {
        "cpu_signature": _cpu_signature(info),
        "affinity_cpus": _count_of_list(allowed),
        "quota_cpus": _quota_cpus(root),
        **_frequency_facts(root / "sys/devices/system/cpu"),
        "load_average": _load_average(read_text(root / "proc/loadavg")),
        "on_battery": _on_battery(root / "sys/class/power_supply"),
        "container": _container(root),
        "hypervisor": _hypervisor(root, _field(info, "flags")),
        "operating_system": _distribution(root),
        "kernel": read_text(root / "proc/sys/kernel/osrelease"),
    }


def _cpu_signature(info: str | None) -> str | None:
    names = ("vendor_id", "cpu family", "model", "stepping")
    if _field(info, "vendor_id") is None:
        names = ("CPU implementer", "CPU part", "CPU variant", "CPU revision")
    return " ".join(value for name in names if (value := _field(info, name))) or None


def _count_of_list(cpus: str | None) -> int | None:
    """4 for '0-2,5'; None if this is no list of CPUs."""
    if cpus is None or not re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", cpus):
        return None
    spans = (entry.split("-") for entry in cpus.split(","))
    return sum(int(span[-1]) - int(span[0]) + 1 for span in spans)


def _quota_cpus(root: Path) -> float | None:
    """The tightest limit of this process's control group and of those above it."""
    memberships = (read_text(root / "proc/self/cgroup") or "").splitlines()
    limits = [
        limit
        for line in memberships
        if line.count(":") >= 2
        for folder in _cgroup_folders(root / "sys/fs/cgroup", *line.split(":", 2)[1:])
        if (limit := _cgroup_limit(folder)) is not None
    ]
    return min(limits, default=None)


def _cgroup_folders(mount: Path, controllers: str, path: str) -> Iterator[Path]:
    """Where a group's limits may lie, its ancestors' included; version 2 has no controllers.

    A container often sees only its own group, mounted at the top, under a path from outside.
    """
    if controllers and "cpu" not in controllers.split(","):
        return
    tops = (mount / controllers, mount / "cpu") if controllers else (mount, mount / "unified")
    below = [part for part in path.split("/") if part not in ("", "..")]
    for top in tops:
        yield from (top.joinpath(*below[:count]) for count in range(len(below), -1, -1))


def _cgroup_limit(folder: Path) -> float | None:
    """CPUs' worth of time that one control group grants: version 2's file, else version 1's."""
    words = (read_text(folder / "cpu.max") or "").split()
    if len(words) != 2:
        names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        words = [read_text(folder / name) or "" for name in names]
    quota, period = parse_number(words[0]), parse_number(words[1])
    return quota / period if quota and period and quota > 0 else None


def _frequency_facts(folder: Path) -> dict[str, Any]:
    """Governors, highest frequency, boost and throttling; virtual machines tell none of them."""
    frequencies = [parse_number(t) for t in _texts(folder, "cpu[0-9]*/cpufreq/cpuinfo_max_freq")]
    counts = [
        parse_number(t) for t in _texts(folder, "cpu[0-9]*/thermal_throttle/*_throttle_count")
    ]
    highest = max((value for value in frequencies if value), default=None)
    return {
        "governors": sorted(set(_texts(folder, "cpu[0-9]*/cpufreq/scaling_governor"))) or None,
        "max_frequency_mhz": highest / 1000 if highest else None,
        "turbo": _turbo(folder),
        "thermal_throttle_count": int(sum(count or 0 for count in counts)) if counts else None,
    }


def _turbo(folder: Path) -> bool | None:
    off = read_text(folder / "intel_pstate/no_turbo")
    if off in ("0", "1"):
        return off == "0"
    for name in ("cpufreq/boost", "cpu0/cpufreq/boost"):
        allowed = read_text(folder / name)
        if allowed in ("0", "1"):
            return allowed == "1"
    return None


def _load_average(text: str | None) -> list[float] | None:
    values = [
        value for word in (text or "").split()[:3] if (value := parse_number(word)) is not None
    ]
    return values if len(values) == 3 else None


def _on_battery(folder: Path) -> bool | None:
    """Whether a battery of the machine, not one of its mouse's, is being emptied."""
    if not _is_folder(folder):
        return None
    return any(
        read_text(supply / "type") == "Battery"
        and read_text(supply / "scope") != "Device"
        and read_text(supply / "status") == "Discharging"
        for supply in folder.glob("*")
    )


def _container(root: Path) -> str | None:
    if told := read_text(root / "run/systemd/container"):
        return told
    for mark, name in ((".dockerenv", "docker"), ("run/.containerenv", "podman")):
        if read_text(root / mark) is not None:
            return name
    groups = (read_text(root / "proc/1/cgroup") or "") + (
        read_text(root / "proc/self/cgroup") or ""
    )
    match = re.search(r"kubepods|libpod|docker|containerd|lxc", groups)
    return match.group() if match else None


def _hypervisor(root: Path, x86_flags: str | None) -> bool | None:
    """Whether this is a virtual machine; ARM has no flag for it."""
    if x86_flags is not None:
        return "hypervisor" in x86_flags.split()
    vendor = read_text(root / "sys/class/dmi/id/sys_vendor")
    marked = _is_folder(root / "proc/device-tree/hypervisor")
    return True if marked or vendor == "QEMU" else None


def _distribution(root: Path) -> str | None:
    release = read_text(root / "etc/os-release") or read_text(root / "usr/lib/os-release")
    match = re.search(r'^PRETTY_NAME="?([^"\n]+)', release or "", re.MULTILINE)
    return match.group(1) if match else None


# Other systems


# GPUs


# Was it quiet?


# Is it one, and is it the same?
