"""The device that TensorFlow runs on: choice, synchronization, memory and fingerprint."""

import os
from typing import Any

import keras
import tensorflow as tf

from alexnet_impl.errors import FrameworkError


def find_device(requested: str) -> str:
    """Finds the device of a name, as tf.device takes it.

    Args:
        requested: 'cpu', 'gpu', or 'auto': the GPU if there is one.

    Raises:
        FrameworkError: If a GPU was asked for and there is none, or the name is unknown.
    """
    if requested not in ("auto", "cpu", "gpu"):
        raise FrameworkError(f"device '{requested}' is unknown; choose auto, cpu or gpu.")
    gpus = tf.config.list_physical_devices("GPU")
    if requested == "gpu" and not gpus:
        raise FrameworkError(
            f"tensorflow {tf.__version__} sees no GPU here; use --device cpu, or install "
            "tensorflow[and-cuda]."
        )
    # For work on the CPU too: TensorFlow starts every GPU that it sees.
    for gpu in gpus:
        _grow_memory(gpu)
    return "/GPU:0" if gpus and requested != "cpu" else "/CPU:0"


def _grow_memory(gpu: Any) -> None:
    """Keeps TensorFlow from reserving the whole GPU memory at once."""
    try:
        tf.config.experimental.set_memory_growth(gpu, enable=True)
    except RuntimeError:
        # Raised if the GPU is in use already: memory growth cannot change any more.
        return


def set_threads(threads: int) -> None:
    """Sets the number of CPU threads; call it before anything is computed.

    Raises:
        FrameworkError: If TensorFlow has started its threads already.
    """
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError as error:
        raise FrameworkError(
            f"tensorflow: threads={threads} was set too late: its threads start once per process."
        ) from error


def synchronize(device: str) -> None:
    """Waits until the device has finished its work."""
    if device.startswith("/GPU"):
        tf.test.experimental.sync_devices()


def peak_memory_bytes(device: str) -> int | None:
    """Peak memory allocated on the GPU by this process, in bytes; None on a CPU."""
    if not device.startswith("/GPU"):
        return None
    return int(tf.config.experimental.get_memory_info(device.removeprefix("/"))["peak"])


def reset_peak_memory(device: str) -> None:
    """Starts peak_memory_bytes() anew: a worker process may train several networks."""
    if device.startswith("/GPU"):
        tf.config.experimental.reset_memory_stats(device.removeprefix("/"))


def fingerprint(device: str) -> dict[str, Any]:
    """Returns the versions, device and flags that decide speed and numerics."""
    found = find_device(device)
    facts: dict[str, Any] = {
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "keras_backend": keras.backend.backend(),
        "device": "cuda" if found.startswith("/GPU") else "cpu",
        "intra_op_threads": tf.config.threading.get_intra_op_parallelism_threads(),
        "inter_op_threads": tf.config.threading.get_inter_op_parallelism_threads(),
        "onednn_opts": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
        "tf32": tf.config.experimental.tensor_float_32_execution_enabled(),
    }
    if found.startswith("/GPU"):
        gpu = tf.config.list_physical_devices("GPU")[0]
        build = tf.sysconfig.get_build_info()
        facts |= {
            "gpu": tf.config.experimental.get_device_details(gpu).get("device_name"),
            "cuda": build.get("cuda_version"),
            "cudnn": build.get("cudnn_version"),
        }
    return facts
