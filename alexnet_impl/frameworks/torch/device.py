"""The device that PyTorch runs on: choice, synchronization, memory and fingerprint."""

import os
from typing import Any

import torch

from alexnet_impl.errors import FrameworkError


def find_device(requested: str) -> torch.device:
    """Finds the device of a name.

    Args:
        requested: 'cpu', 'gpu' (CUDA, otherwise Apple's MPS), or 'auto': the GPU if there is one.

    Raises:
        FrameworkError: If a GPU was asked for and there is none, or the name is unknown.
    """
    if requested not in ("auto", "cpu", "gpu"):
        raise FrameworkError(f"device '{requested}' is unknown; choose auto, cpu or gpu.")
    if requested == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    if requested == "gpu":
        raise FrameworkError(
            f"torch {torch.__version__} sees no GPU here; use --device cpu, or install a build "
            "for your GPU."
        )
    return torch.device("cpu")


def set_threads(threads: int) -> None:
    """Sets the number of CPU threads."""
    torch.set_num_threads(threads)


def synchronize(device: torch.device) -> None:
    """Waits until the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def peak_memory_bytes(device: torch.device) -> int | None:
    """Peak memory allocated on the accelerator by this process, in bytes; None on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if device.type == "mps":
        return torch.mps.driver_allocated_memory()
    return None


def reset_peak_memory(device: torch.device) -> None:
    """Starts peak_memory_bytes() anew: a worker process may train several networks."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def fingerprint(device: str) -> dict[str, Any]:
    """Returns the versions, device and flags that decide speed and numerics."""
    found = find_device(device)
    facts: dict[str, Any] = {
        "torch": torch.__version__,
        "device": found.type,
        "threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY", "default"),
        "gomp_spincount": os.environ.get("GOMP_SPINCOUNT", "default"),
        "mkldnn": torch.backends.mkldnn.is_available(),  # type: ignore[no-untyped-call]
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
    }
    if found.type == "cuda":
        facts |= {
            "gpu": torch.cuda.get_device_name(found),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
            "tf32_matmul": torch.backends.cuda.matmul.allow_tf32,
            "tf32_cudnn": torch.backends.cudnn.allow_tf32,
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
        }
    return facts
