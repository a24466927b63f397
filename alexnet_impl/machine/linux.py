"""Facts that Linux keeps in files and no library reads: limits, frequencies, virtualisation.

Every function takes the folder in which /proc, /sys, /etc and /run lie, and gives None for what
the files do not say.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")
_CPUS = "sys/devices/system/cpu"


def quota_cpus(root: Path = ROOT) -> float | None:
    """CPUs' worth of time that this process's control group grants, and those above it."""
    memberships = (_text(root / "proc/self/cgroup") or "").splitlines()
    limits = [
        limit
        for line in memberships
        if line.count(":") >= 2
        for folder in _cgroup_folders(root / "sys/fs/cgroup", *line.split(":", 2)[1:])
        if (limit := _cgroup_limit(folder)) is not None
    ]
    return min(limits, default=None)


def _cgroup_folders(mount: Path, controllers: str, path: str) -> Iterator[Path]:
    """Folders that may hold a group's limits and its ancestors'; version 2 names no controllers.

    A container often sees only its own group, mounted at the top, under a path from outside.
    """
    if controllers and "cpu" not in controllers.split(","):
        return
    tops = (mount / controllers, mount / "cpu") if controllers else (mount, mount / "unified")
    below = [part for part in path.split("/") if part not in ("", "..")]
    for top in tops:
        yield from (top.joinpath(*below[:count]) for count in range(len(below), -1, -1))


def _cgroup_limit(folder: Path) -> float | None:
    """CPUs' worth of time that one control group grants: version 2's file, or version 1's."""
    words = (_text(folder / "cpu.max") or "").split()
    if len(words) != 2:
        names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        words = [_text(folder / name) or "" for name in names]
    quota, period = _number(words[0]), _number(words[1])
    return quota / period if quota and period and quota > 0 else None


def governors(root: Path = ROOT) -> list[str] | None:
    """The frequency governors in use, each once; virtual machines have none."""
    return sorted(set(_texts(root / _CPUS, "cpu[0-9]*/cpufreq/scaling_governor"))) or None


def turbo(root: Path = ROOT) -> bool | None:
    """Whether the processor may boost its frequency."""
    for name, allowed in (
        ("intel_pstate/no_turbo", "0"),
        ("cpufreq/boost", "1"),
        ("cpu0/cpufreq/boost", "1"),
    ):
        if (found := _text(root / _CPUS / name)) in ("0", "1"):
            return found == allowed
    return None


def thermal_throttle_count(root: Path = ROOT) -> int | None:
    """Number of times that heat has slowed the processor since the system started."""
    counts = _texts(root / _CPUS, "cpu[0-9]*/thermal_throttle/*_throttle_count")
    return int(sum(_number(count) or 0 for count in counts)) if counts else None


def on_battery(root: Path = ROOT) -> bool | None:
    """Whether the machine runs on its battery; the batteries of mice and the like do not count."""
    supplies = root / "sys/class/power_supply"
    if not supplies.is_dir():
        return None
    return any(
        _text(supply / "type") == "Battery"
        and _text(supply / "scope") != "Device"
        and _text(supply / "status") == "Discharging"
        for supply in supplies.glob("*")
    )


def container(root: Path = ROOT) -> str | None:
    """Kind of container that this process runs in, such as 'docker', or None."""
    if told := _text(root / "run/systemd/container"):
        return told
    for mark, name in ((".dockerenv", "docker"), ("run/.containerenv", "podman")):
        if _text(root / mark) is not None:
            return name
    groups = "".join(_text(root / f"proc/{process}/cgroup") or "" for process in ("1", "self"))
    match = re.search(r"kubepods|libpod|docker|containerd|lxc", groups)
    return match.group() if match else None


def hypervisor(root: Path = ROOT) -> bool | None:
    """Whether this is a virtual machine; ARM has no processor flag for it."""
    flags = re.search(r"^flags\s*:(.*)$", _text(root / "proc/cpuinfo") or "", re.MULTILINE)
    if flags:
        return "hypervisor" in flags.group(1).split()
    vendor = _text(root / "sys/class/dmi/id/sys_vendor")
    marked = (root / "proc/device-tree/hypervisor").is_dir()
    return True if marked or vendor == "QEMU" else None


def _text(path: Path) -> str | None:
    """The text of a file without surrounding blanks; None if it cannot be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def _texts(folder: Path, pattern: str) -> list[str]:
    """The contents of the files that match, without those that cannot be read."""
    return [text for path in sorted(folder.glob(pattern)) if (text := _text(path)) is not None]


def _number(text: str) -> float | None:
    """The number that a text holds; None if it holds no finite one."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
