"""NVIDIA GPUs as their driver describes them, through its library NVML."""

from collections.abc import Callable
from typing import Any

import pynvml
from pynvml import NVML_CLOCK_MEM, NVML_CLOCK_SM, NVML_TEMPERATURE_GPU

from alexnet_impl.machine.fact import Fact

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
HARMLESS_REASONS = frozenset({"idle", "application clocks setting"})
"""A GPU that rests, and clocks that somebody has set, are no throttling."""


def gpu_facts() -> list[dict[str, Any]]:
    """Read GPU_FACTS of each GPU, in the driver's order; [] without NVIDIA's driver."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        gpus = map(pynvml.nvmlDeviceGetHandleByIndex, range(pynvml.nvmlDeviceGetCount()))
        return [{fact.name: fact.read(gpu) for fact in GPU_FACTS} for gpu in gpus]
    except pynvml.NVMLError:
        return []
    finally:
        pynvml.nvmlShutdown()


def _get(call: str, *arguments: int, scale: float | None = None) -> Callable[[Any], Any]:
    """A reader that calls pynvml's function nvmlDeviceGet..., and divides its number by a scale."""

    def read(gpu: Any) -> Any:
        found = getattr(pynvml, f"nvmlDeviceGet{call}")(gpu, *arguments)
        return found if scale is None else found / scale

    return read


def _driver(_: Any) -> str:
    return str(pynvml.nvmlSystemGetDriverVersion())


def _persistence(gpu: Any) -> bool:
    return bool(pynvml.nvmlDeviceGetPersistenceMode(gpu))


def _utilization(gpu: Any) -> float:
    """Share of the time of the driver's last sample in which a kernel ran, 0 to 1."""
    return float(pynvml.nvmlDeviceGetUtilizationRates(gpu).gpu) / 100


def _throttle_reasons(gpu: Any) -> list[str]:
    """Why the GPU runs below its highest clock rate, in words."""
    try:
        bits = pynvml.nvmlDeviceGetCurrentClocksEventReasons(gpu)
    except pynvml.NVMLError:  # drivers before release 535 know the older name only
        bits = pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(gpu)
    single = (1 << place for place in range(int(bits).bit_length()) if bits >> place & 1)
    return [_THROTTLE_REASONS.get(bit, f"reason {bit:#x}") for bit in single]


_LIMIT, _DEFAULT_LIMIT = "PowerManagementLimit", "PowerManagementDefaultLimit"
GPU_FACTS = (
    Fact("name", str, "machine", _get("Name"), label="gpu"),
    Fact(
        "driver", str, "software", lambda _: pynvml.nvmlSystemGetDriverVersion(), "", "gpu driver"
    ),
    Fact("power_limit_w", float, "software", _get(_LIMIT, scale=1000), "W", "gpu power limit (W)"),
    Fact("default_power_limit_w", float, "state", _get(_DEFAULT_LIMIT, scale=1000), "W"),
    Fact("persistence", bool, "software", _persistence, label="gpu persistence"),
    Fact("memory_bytes", int, "state", lambda gpu: pynvml.nvmlDeviceGetMemoryInfo(gpu).total, "B"),
    Fact("sm_clock_mhz", float, "state", _get("ClockInfo", NVML_CLOCK_SM), "MHz"),
    Fact("max_sm_clock_mhz", float, "state", _get("MaxClockInfo", NVML_CLOCK_SM), "MHz"),
    Fact("memory_clock_mhz", float, "state", _get("ClockInfo", NVML_CLOCK_MEM), "MHz"),
    Fact("max_memory_clock_mhz", float, "state", _get("MaxClockInfo", NVML_CLOCK_MEM), "MHz"),
    Fact("temperature_c", float, "state", _get("Temperature", NVML_TEMPERATURE_GPU), "°C"),
    Fact("power_w", float, "state", _get("PowerUsage", scale=1000), "W"),
    Fact("utilization_share", float, "state", _utilization),
    Fact("throttle_reasons", list, "state", _throttle_reasons),
)
"""Facts of each GPU; a difference names those of all GPUs, sorted."""
