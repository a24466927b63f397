"""Reference speeds of TensorFlow on this device: its peak, and Keras's own fit()."""

from collections.abc import Callable
from functools import partial

import keras
import numpy as np
import tensorflow as tf

from alexnet_impl.frameworks import Labels, Pixels
from alexnet_impl.frameworks.tensorflow.device import find_device, peak_memory_bytes, synchronize
from alexnet_impl.frameworks.tensorflow.model import build_model
from alexnet_impl.frameworks.timed_call import (
    COPY_BYTES,
    FIT_COST_S,
    SMALL_SIZE,
    TimedCall,
    peak_precisions,
)
from alexnet_impl.machine.bfloat16 import (
    CUDA_CAPABILITY,
    Bfloat16Support,
    cpu_has_bfloat16,
    measure_bfloat16,
)
from alexnet_impl.network.spec import Spec


def calibration_kernels(device: str, precision: str) -> dict[str, Callable[[], TimedCall]]:
    """Names what makes a kernel: products in the usual and the given precision, a memory copy."""
    found = find_device(device)
    device_type = "cuda" if found.startswith("/GPU") else "cpu"
    products: dict[str, Callable[[], TimedCall]] = {
        f"matmul {name}": partial(_product, found, name, SMALL_SIZE)
        for name in peak_precisions(device_type, precision)
    }
    return products | {"copy": partial(_copy, found)}


def _copy(device: str) -> TimedCall:
    with tf.device(device):
        source = tf.random.uniform((COPY_BYTES // 4,))
    copy, wait = partial(tf.math.negative, source), partial(synchronize, device)
    return TimedCall(call=copy, amount=2.0 * COPY_BYTES, unit="B", synchronize=wait)


def bfloat16_support(device: str) -> Bfloat16Support:
    """Finds out whether bfloat16 is native on a device, by its hardware and a small product."""
    found = find_device(device)
    products = (_product(found, name, SMALL_SIZE) for name in ("float32", "bfloat16"))
    return measure_bfloat16(_has_bfloat16(found), [one.call_and_wait for one in products])


def _has_bfloat16(device: str) -> bool | None:
    if not device.startswith("/GPU"):
        return cpu_has_bfloat16()
    gpu = tf.config.list_physical_devices("GPU")[0]
    capability = tf.config.experimental.get_device_details(gpu).get("compute_capability")
    return None if capability is None else capability >= CUDA_CAPABILITY


def _product(device: str, precision: str, size: int) -> TimedCall:
    """A product of two matrices of shape (size, size)."""
    with tf.device(device):
        first, second = (tf.cast(tf.random.uniform((size, size)), precision) for _ in range(2))
    return TimedCall(
        call=partial(tf.linalg.matmul, first, second),
        amount=2.0 * size**3,
        unit="FLOP",
        synchronize=partial(synchronize, device),
        with_size=partial(_product, device, precision),
    )


def tutorial_loop(
    spec: Spec, images: Pixels, labels: Labels, precision: str, device: str
) -> TimedCall:
    """Makes a training with compile() and fit() as in Keras's guides: an epoch of one batch.

    Images have shape (batch, height, width, 3), labels (batch,); see Framework.tutorial_loop().
    """
    found = find_device(device)
    with tf.device(found):
        model = build_model(spec, precision)
        floats = (tf.cast(images, tf.float32) / 127.5 - 1).numpy()

    def epochs_of(batches: int) -> TimedCall:
        with tf.device(found):
            model.compile(
                optimizer=keras.optimizers.SGD(1e-3, momentum=0.9),
                loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            )
        epoch = np.repeat(floats, batches, axis=0), np.repeat(labels, batches)
        return TimedCall(
            call=partial(model.fit, *epoch, batch_size=len(labels), verbose=0),
            amount=len(labels) * batches,
            unit="images",
            synchronize=partial(synchronize, found),
            peak_memory_bytes=partial(peak_memory_bytes, found),
            cost_s=FIT_COST_S,
            with_batches=epochs_of,
        )

    return epochs_of(1)
