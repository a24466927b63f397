"""Which device TensorFlow runs on, and what it says of itself."""

import os
from typing import Any

import keras
import tensorflow as tf

from alexnet_impl.errors import FrameworkError


def find_device(requested: str) -> str:
    """The device of that name, as tf.device takes it.

    Args:
        requested: 'cpu', 'gpu', or 'auto': the GPU if there is one.

    Raises:
        FrameworkError: If a GPU was asked for and there is none, or the name is unknown.
    """
    if requested not in ("auto", "cpu", "gpu"):
        raise FrameworkError(f"device '{requested}' is unknown; choose auto, cpu or gpu.")
    gpus = tf.config.list_physical_devices("GPU") if requested != "cpu" else []
    if requested == "gpu" and not gpus:
        raise FrameworkError(
            f"tensorflow {tf.__version__} sees no GPU here; take --device cpu, or install "
            "tensorflow[and-cuda]."
        )
    for gpu in gpus:
        _grow_memory(gpu)
    return "/GPU:0" if gpus else "/CPU:0"


def _grow_memory(gpu: Any) -> None:
    """Keep TensorFlow from taking the whole GPU at once."""
    try:
        tf.config.experimental.set_memory_growth(gpu, enable=True)
    except RuntimeError:
        # Raised once the GPU is in use: growth was decided then.
        return


def set_threads(threads: int) -> None:
    """How many CPU threads to use; before anything is computed.

    Raises:
        FrameworkError: If TensorFlow has started its threads already.
    """
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError as error:
        raise FrameworkError(
            f"tensorflow: threads={threads} came too late: its threads are started once a process."
        ) from error


def synchronize(device: str) -> None:
    """Wait until the device has finished its work."""
    if device.startswith("/GPU"):
        tf.test.experimental.sync_devices()


def peak_memory_bytes(device: str) -> int | None:
    """Most memory allocated on the GPU by this process; None on a CPU."""
    if not device.startswith("/GPU"):
        return None
    return int(tf.config.experimental.get_memory_info(device.removeprefix("/"))["peak"])


def fingerprint(device: str) -> dict[str, Any]:
    """Versions, device and flags that decide speed and numerics."""
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
