"""GPUs as nvidia-smi describes them: name, memory, driver, clocks and reasons for throttling."""

from collections.abc import Callable, Mapping
from typing import Any

from alexnet_impl.machine.linux import parse_number
from alexnet_impl.machine.portable import COMMAND_TIMEOUT_S, command_output

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
        told = command_output([command, *query], timeout_s)
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
        number = parse_number(cell)
        return None if number is None else number * factor

    return convert


def _mebibytes(cell: str) -> int | None:
    number = parse_number(cell)
    return None if number is None else int(number * 2**20)


def _enabled(cell: str) -> bool | None:
    return {"Enabled": True, "Disabled": False}.get(cell)


_GPU_FIELDS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "name": ("name", _text),
    "driver_version": ("driver", _text),
    "memory.total": ("memory_bytes", _mebibytes),
    "clocks.sm": ("sm_clock_mhz", parse_number),
    "clocks.max.sm": ("max_sm_clock_mhz", parse_number),
    "clocks.mem": ("memory_clock_mhz", parse_number),
    "clocks.max.mem": ("max_memory_clock_mhz", parse_number),
    "temperature.gpu": ("temperature_c", parse_number),
    "power.draw": ("power_w", parse_number),
    "power.limit": ("power_limit_w", parse_number),
    "power.default_limit": ("default_power_limit_w", parse_number),
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
