"""What of a machine decides how fast a step is, and whether the machine was left alone.

Facts are plain values, ready for JSON; a fact that this platform does not tell is None. On Linux
they are read from files below a root, elsewhere asked of psutil, of the operating system and of
`sysctl`. Environment variables are read by name and never by prefix: others may hold secrets.
"""

import math
import os
import platform
import re
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from alexnet_impl.errors import RunError

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

CPU_FEATURES = frozenset(
    {"avx", "avx2", "avx_vnni", "f16c", "fma"}
    | {"avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16"}
    | {"amx_tile", "amx_bf16", "amx_int8", "amx_fp16"}
    | {"neon", "asimd", "asimdhp", "asimddp", "bf16", "i8mm", "sve", "sve2", "svebf16", "sme"}
)
"""Features that choose a convolution or matrix kernel, in the Linux kernel's words."""

MAX_LOAD_PER_CPU = 0.5
MAX_BUSY_SHARE = 0.1
MEMORY_TOLERANCE = 0.1
"""Share of the larger memory; firmware, kernel and hypervisor each keep some of it back."""

COMMAND_TIMEOUT_S = 10.0


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
    facts |= _linux_state(root) if _is_linux(root) else _portable_state()
    limits = (facts["logical_cpus"], facts["affinity_cpus"], facts["quota_cpus"])
    return facts | {
        "usable_cpus": min((limit for limit in limits if limit is not None), default=None),
        "variables": {name: os.environ[name] for name in TELLING_VARIABLES if name in os.environ},
        "preloaded_libraries": _preloaded_libraries(),
        "gpus": gpu_facts(gpu_command),
    }


def hardware_facts(root: Path = Path("/")) -> dict[str, Any]:
    """The CPU's name (cpu), cpu_features, logical_cpus, physical_cpus and memory_bytes."""
    return _linux_hardware(root) if _is_linux(root) else _portable_hardware()


def _is_linux(root: Path) -> bool:
    return _read(root / "proc/cpuinfo") is not None


def _preloaded_libraries() -> list[str]:
    listed = re.split(r"[\s:]+", os.environ.get("LD_PRELOAD", ""))
    return [Path(library).name for library in listed if library]


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def _number(text: str | None) -> float | None:
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


def _linux_hardware(root: Path) -> dict[str, Any]:
    info = _read(root / "proc/cpuinfo") or ""
    memory = re.search(r"^MemTotal:\s*(\d+) kB", _read(root / "proc/meminfo") or "", re.MULTILINE)
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
    return [text for path in sorted(folder.glob(pattern)) if (text := _read(path)) is not None]


def _linux_state(root: Path) -> dict[str, Any]:
    info = _read(root / "proc/cpuinfo")
    allowed = _field(_read(root / "proc/self/status"), "Cpus_allowed_list")
    return {
        "cpu_signature": _cpu_signature(info),
        "affinity_cpus": _count_of_list(allowed),
        "quota_cpus": _quota_cpus(root),
        **_frequency_facts(root / "sys/devices/system/cpu"),
        "load_average": _load_average(_read(root / "proc/loadavg")),
        "on_battery": _on_battery(root / "sys/class/power_supply"),
        "container": _container(root),
        "hypervisor": _hypervisor(root, _field(info, "flags")),
        "operating_system": _distribution(root),
        "kernel": _read(root / "proc/sys/kernel/osrelease"),
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
    memberships = (_read(root / "proc/self/cgroup") or "").splitlines()
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
    words = (_read(folder / "cpu.max") or "").split()
    if len(words) != 2:
        names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        words = [_read(folder / name) or "" for name in names]
    quota, period = _number(words[0]), _number(words[1])
    return quota / period if quota and period and quota > 0 else None


def _frequency_facts(folder: Path) -> dict[str, Any]:
    """Governors, highest frequency, boost and throttling; virtual machines tell none of them."""
    frequencies = [_number(t) for t in _texts(folder, "cpu[0-9]*/cpufreq/cpuinfo_max_freq")]
    counts = [_number(t) for t in _texts(folder, "cpu[0-9]*/thermal_throttle/*_throttle_count")]
    highest = max((value for value in frequencies if value), default=None)
    return {
        "governors": sorted(set(_texts(folder, "cpu[0-9]*/cpufreq/scaling_governor"))) or None,
        "max_frequency_mhz": highest / 1000 if highest else None,
        "turbo": _turbo(folder),
        "thermal_throttle_count": int(sum(count or 0 for count in counts)) if counts else None,
    }


def _turbo(folder: Path) -> bool | None:
    off = _read(folder / "intel_pstate/no_turbo")
    if off in ("0", "1"):
        return off == "0"
    for name in ("cpufreq/boost", "cpu0/cpufreq/boost"):
        allowed = _read(folder / name)
        if allowed in ("0", "1"):
            return allowed == "1"
    return None


def _load_average(text: str | None) -> list[float] | None:
    values = [value for word in (text or "").split()[:3] if (value := _number(word)) is not None]
    return values if len(values) == 3 else None


def _on_battery(folder: Path) -> bool | None:
    """Whether a battery of the machine, not one of its mouse's, is being emptied."""
    if not _is_folder(folder):
        return None
    return any(
        _read(supply / "type") == "Battery"
        and _read(supply / "scope") != "Device"
        and _read(supply / "status") == "Discharging"
        for supply in folder.glob("*")
    )


def _container(root: Path) -> str | None:
    if told := _read(root / "run/systemd/container"):
        return told
    for mark, name in ((".dockerenv", "docker"), ("run/.containerenv", "podman")):
        if _read(root / mark) is not None:
            return name
    groups = (_read(root / "proc/1/cgroup") or "") + (_read(root / "proc/self/cgroup") or "")
    match = re.search(r"kubepods|libpod|docker|containerd|lxc", groups)
    return match.group() if match else None


def _hypervisor(root: Path, x86_flags: str | None) -> bool | None:
    """Whether this is a virtual machine; ARM has no flag for it."""
    if x86_flags is not None:
        return "hypervisor" in x86_flags.split()
    vendor = _read(root / "sys/class/dmi/id/sys_vendor")
    marked = _is_folder(root / "proc/device-tree/hypervisor")
    return True if marked or vendor == "QEMU" else None


def _distribution(root: Path) -> str | None:
    release = _read(root / "etc/os-release") or _read(root / "usr/lib/os-release")
    match = re.search(r'^PRETTY_NAME="?([^"\n]+)', release or "", re.MULTILINE)
    return match.group(1) if match else None


# Other systems


def _portable_hardware() -> dict[str, Any]:
    told = _sysctl()
    return {
        "cpu": told.get("machdep.cpu.brand_string") or platform.processor() or platform.machine(),
        "cpu_features": _mac_features(told),
        "logical_cpus": psutil.cpu_count(),
        "physical_cpus": psutil.cpu_count(logical=False),
        "memory_bytes": psutil.virtual_memory().total,
    }


def _portable_state() -> dict[str, Any]:
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
    told = _output(["/usr/sbin/sysctl", *names], COMMAND_TIMEOUT_S) or ""
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


def _output(command: list[str], timeout_s: float) -> str | None:
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


# GPUs

_THROTTLE_FIELDS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active", None)
"""A name that a driver does not know fails its whole query; the first came with release 535."""

_THROTTLE_REASONS = {
    0x001: "idle",
    0x002: "application clocks setting",
    0x004: "software power cap",
    0x008: "hardware slowdown",
    0x010: "sync boost",
    0x020: "software thermal slowdown",
    0x040: "hardware thermal slowdown",
    0x080: "hardware power brake",
    0x100: "display clocks setting",
}
"""nvmlClocksEventReasons of NVIDIA's NVML reference."""

_WANTED_REASONS = frozenset({"idle", "application clocks setting"})
"""A GPU that rests, and clocks that somebody has set, are no trouble."""


def gpu_facts(
    command: str = "nvidia-smi", *, timeout_s: float = COMMAND_TIMEOUT_S
) -> list[dict[str, Any]]:
    """What NVIDIA's tool tells of each GPU, in its order; [] where there is none or it fails.

    Args:
        command: Name or path of nvidia-smi.
        timeout_s: Longest time for one query.

    Returns:
        For each GPU, None for what it does not tell: name, driver, memory_bytes, sm_clock_mhz,
        max_sm_clock_mhz, memory_clock_mhz, max_memory_clock_mhz, temperature_c, power_w,
        power_limit_w, default_power_limit_w, utilization_share (of the last moments' time, 0 to
        1), persistence, and throttle_reasons in words.
    """
    for reasons in _THROTTLE_FIELDS:
        fields = [field for field in (*_GPU_FIELDS, reasons) if field]
        query = [f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
        told = _output([command, *query], timeout_s)
        if told is None:
            break
        rows = [[cell.strip() for cell in line.split(",")] for line in told.splitlines()]
        if found := [_gpu(row) for row in rows if len(row) == len(fields)]:
            return found
    return []


def _text(cell: str) -> str | None:
    return None if cell.startswith("[") or cell in ("", "N/A", "Not Supported") else cell


def _scaled(factor: float) -> Callable[[str], float | None]:
    def convert(cell: str) -> float | None:
        number = _number(cell)
        return None if number is None else number * factor

    return convert


def _mebibytes(cell: str) -> int | None:
    number = _number(cell)
    return None if number is None else int(number * 2**20)


def _enabled(cell: str) -> bool | None:
    return {"Enabled": True, "Disabled": False}.get(cell)


_GPU_FIELDS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "name": ("name", _text),
    "driver_version": ("driver", _text),
    "memory.total": ("memory_bytes", _mebibytes),
    "clocks.sm": ("sm_clock_mhz", _number),
    "clocks.max.sm": ("max_sm_clock_mhz", _number),
    "clocks.mem": ("memory_clock_mhz", _number),
    "clocks.max.mem": ("max_memory_clock_mhz", _number),
    "temperature.gpu": ("temperature_c", _number),
    "power.draw": ("power_w", _number),
    "power.limit": ("power_limit_w", _number),
    "power.default_limit": ("default_power_limit_w", _number),
    "utilization.gpu": ("utilization_share", _scaled(0.01)),
    "persistence_mode": ("persistence", _enabled),
}


def _gpu(row: list[str]) -> dict[str, Any]:
    known = len(_GPU_FIELDS)
    columns = zip(_GPU_FIELDS.values(), row[:known], strict=True)
    facts = {name: convert(cell) for (name, convert), cell in columns}
    return facts | {"throttle_reasons": _reasons("".join(row[known:]))}


def _reasons(mask: str) -> list[str] | None:
    """The words for a bit mask such as '0x0000000000000024'; None if it is none."""
    try:
        bits = int(mask, 16)
    except ValueError:
        return None
    single = (1 << place for place in range(bits.bit_length()) if bits >> place & 1)
    return [_THROTTLE_REASONS.get(bit, f"reason {bit:#x}") for bit in single]


# Was it quiet?


def busyness(interval_s: float) -> float:
    """Share of all cores' time that other processes take, 0 to 1, over interval_s seconds.

    The calling thread sleeps meanwhile; what other threads of this process use is not counted.
    In a container the cores and the processes are mostly the host's.

    Raises:
        RunError: If interval_s is not above 0.
    """
    if not interval_s > 0:
        raise RunError(f"interval_s={interval_s:g} must be above 0; take 0.5.")
    start_s, own_start_s = time.perf_counter(), time.process_time()
    share = psutil.cpu_percent(interval=interval_s) / 100
    own_s, elapsed_s = time.process_time() - own_start_s, time.perf_counter() - start_s
    own_share = own_s / elapsed_s / (psutil.cpu_count() or 1)
    return float(min(max(share - own_share, 0.0), 1.0))


def quiet_warnings(before: Facts, after: Facts) -> tuple[str, ...]:
    """What may have disturbed a measurement, a sentence each; none if nothing is known to have.

    Args:
        before: machine_fingerprint() just before it; what busyness() returned may be added as
            'busy_share'. A fact that is missing or None warns of nothing.
        after: machine_fingerprint() just after it, while a GPU is still warm.
    """
    return (
        *_load_warnings(before),
        *_cpu_warnings(before, after),
        *_gpu_warnings(before, after),
    )


def _load_warnings(before: Facts) -> Iterator[str]:
    load, cpus = before.get("load_average"), before.get("logical_cpus")
    if load and cpus and load[0] > MAX_LOAD_PER_CPU * cpus:
        yield (
            f"The load average before the start was {load[0]:.2f} on {cpus} cores, above "
            f"{MAX_LOAD_PER_CPU:g} a core: wait until other work has ended."
        )
    if (busy := before.get("busy_share")) is not None and busy > MAX_BUSY_SHARE:
        yield f"Other processes kept {busy:.0%} of all cores busy just before the start."
    for gpu in before.get("gpus") or ():
        if (used := gpu.get("utilization_share")) is not None and used > MAX_BUSY_SHARE:
            yield f"{_gpu_name(gpu)} was {used:.0%} busy just before the start."


def _cpu_warnings(before: Facts, after: Facts) -> Iterator[str]:
    governors = {name for facts in (before, after) for name in facts.get("governors") or ()}
    if slow := sorted(governors - {"performance"}):
        yield (
            f"The frequency governor is {', '.join(slow)}, not performance: the clock may follow "
            "the load; set it with cpupower frequency-set -g performance."
        )
    first, last = (facts.get("thermal_throttle_count") for facts in (before, after))
    if first is not None and last is not None and last > first:
        yield "Heat slowed the CPU during the measurement (thermal throttling)."
    if before.get("on_battery") or after.get("on_battery"):
        yield "The machine ran on battery power: plug it in."
    quota, cpus = (
        before.get("quota_cpus"),
        before.get("affinity_cpus") or before.get("logical_cpus"),
    )
    if quota is not None and cpus is not None and quota < cpus:
        yield (
            f"The control group grants {quota:g} of {cpus} cores: more threads than that are "
            "stopped for part of each period."
        )


def _gpu_warnings(before: Facts, after: Facts) -> Iterator[str]:
    pairs = _paired_gpus(before.get("gpus") or [], after.get("gpus") or [])
    for states in pairs:
        name = _gpu_name(states[0])
        reasons = {word for gpu in states for word in gpu.get("throttle_reasons") or ()}
        if held := sorted(reasons - _WANTED_REASONS):
            yield f"{name} was throttled: {', '.join(held)}{_kinds(held)}."
        limit, default = states[-1].get("power_limit_w"), states[-1].get("default_power_limit_w")
        if limit is not None and default is not None and limit < default:
            yield f"{name} has a power limit of {limit:g} W, below its default of {default:g} W."


def _paired_gpus(
    before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> Iterator[tuple[dict[str, Any], ...]]:
    """Each GPU's states in time order; a query that failed leaves one of them out."""
    if len(before) == len(after):
        yield from zip(before, after, strict=True)
    else:
        yield from ((gpu,) for gpu in (*before, *after))


def _kinds(reasons: Iterable[str]) -> str:
    """' (heat)', ' (power)' or both, where the reasons' words say so."""
    words = " ".join(reasons)
    kinds = [kind for kind, word in (("heat", "thermal"), ("power", "power")) if word in words]
    return f" ({' and '.join(kinds)})" if kinds else ""


def _gpu_name(gpu: Facts) -> str:
    return f"GPU {gpu.get('name') or 'without a name'}"


# Is it one, and is it the same?


def damage(facts: object) -> str:
    """What of a fingerprint from a file can be none; '' if nothing of what is compared."""
    if not isinstance(facts, dict):
        return f"machine={facts!r:.60} must be an object"
    for name, (kinds, words) in _KINDS.items():
        value = facts.get(name)
        if value is not None and (not isinstance(value, kinds) or isinstance(value, bool)):
            return f"{name}={value!r:.60} of the machine must be {words}"
    for gpu in facts.get("gpus") or ():
        if not isinstance(gpu, dict):
            return f"gpus holds {gpu!r:.60}, which must be an object"
    return ""


_KINDS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "gpus": ((list,), "a list"),
    "memory_bytes": ((int, float), "a number"),
    "variables": ((dict,), "an object"),
}


def machine_differences(old: Facts, new: Facts) -> tuple[str, ...]:
    """Where two fingerprints differ so that their times cannot be compared: 'cpu: A -> B'.

    A fact that only one of them tells counts as a difference: it was not shown to be the same.
    Memory may differ by MEMORY_TOLERANCE.
    """
    found = [*_changes(old, new, _MACHINE_FACTS)]
    sizes = [facts.get("memory_bytes") for facts in (old, new)]
    if not _alike(*sizes):
        first, second = (None if size is None else f"{size / 2**30:.1f} GiB" for size in sizes)
        found.append(f"memory: {_told(first)} -> {_told(second)}")
    return tuple(found)


def software_differences(old: Facts, new: Facts) -> tuple[str, ...]:
    """Where else two fingerprints differ, in what an update or a setting changes."""
    names = sorted({*(old.get("variables") or {}), *(new.get("variables") or {})})
    variables = (
        f"{name}: {_variable(old, name)} -> {_variable(new, name)}"
        for name in names
        if _variable(old, name) != _variable(new, name)
    )
    return (*_changes(old, new, _SOFTWARE_FACTS), *variables)


def _alike(first: float | None, second: float | None) -> bool:
    if first is None or second is None:
        return first is second
    return abs(first - second) <= MEMORY_TOLERANCE * max(first, second)


def _variable(facts: Facts, name: str) -> str:
    variables = facts.get("variables")
    return "unknown" if variables is None else str(variables.get(name, "unset"))


def _fact(key: str) -> Callable[[Facts], Any]:
    return lambda facts: facts.get(key)


def _of_gpus(key: str) -> Callable[[Facts], list[str] | None]:
    """What each GPU says, sorted; None where nobody looked for GPUs."""

    def values(facts: Facts) -> list[str] | None:
        gpus = facts.get("gpus")
        return None if gpus is None else sorted(_told(gpu.get(key)) for gpu in gpus)

    return values


_MACHINE_FACTS: Mapping[str, Callable[[Facts], Any]] = {
    "cpu": _fact("cpu"),
    "cpu signature": _fact("cpu_signature"),
    "cpu features": _fact("cpu_features"),
    "architecture": _fact("architecture"),
    "physical cores": _fact("physical_cpus"),
    "usable cores": _fact("usable_cpus"),
    "gpu": _of_gpus("name"),
}
_SOFTWARE_FACTS: Mapping[str, Callable[[Facts], Any]] = {
    "operating system": _fact("operating_system"),
    "kernel": _fact("kernel"),
    "hypervisor": _fact("hypervisor"),
    "container": lambda facts: facts.get("container", "unknown") or "none",
    "governor": _fact("governors"),
    "turbo": _fact("turbo"),
    "max frequency (MHz)": _fact("max_frequency_mhz"),
    "preloaded libraries": _fact("preloaded_libraries"),
    "gpu driver": _of_gpus("driver"),
    "gpu power limit (W)": _of_gpus("power_limit_w"),
    "gpu persistence": _of_gpus("persistence"),
}


def _changes(old: Facts, new: Facts, facts: Mapping[str, Callable[[Facts], Any]]) -> Iterator[str]:
    for label, of in facts.items():
        first, second = of(old), of(new)
        if first != second:
            yield f"{label}: {_told(first)} -> {_told(second)}"


def _told(value: Any) -> str:
    match value:
        case None:
            return "unknown"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case list() | tuple():
            return ", ".join(_told(item) for item in value) or "none"
        case _:
            return str(value)
