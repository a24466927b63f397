"""Layers that Keras lacks, built of keras.ops only, so that they run on every backend.

Feature maps are (batch, height, width, channels).
"""

from typing import Any

import keras
import numpy as np
from keras import KerasTensor, ops
from numpy.typing import NDArray

from alexnet_impl.network.dropout_masks import MULTIPLIERS, SHIFTS, keep_threshold


@keras.saving.register_keras_serializable(package="alexnet_impl")
class LocalResponseNorm(keras.layers.Layer):
    """x / (k + alpha * sum(x**2 over `size` channels around x)) ** beta.

    Args:
        size: Channels of the window, odd.
        alpha: Multiplies the raw sum, as in the paper: not divided by the window.
        beta: Exponent.
        k: Offset.

    References:
        Krizhevsky et al. 2012, section 3.3. tf.nn.local_response_normalization computes the same
        with depth_radius=size // 2 and bias=k, but has no float64 and no bfloat16 kernel.
    """

    def __init__(
        self,
        *,
        size: int = 5,
        alpha: float = 1e-4,
        beta: float = 0.75,
        k: float = 2.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """Normalises maps of shape (batch, height, width, channels), which is kept."""
        radius = self.size // 2
        squares = ops.pad(ops.square(inputs), ((0, 0), (0, 0), (0, 0), (radius, radius)))
        channels = inputs.shape[-1]
        total = squares[..., :channels]
        for shift in range(1, self.size):
            total = total + squares[..., shift : shift + channels]
        return inputs * ops.power(self.k + self.alpha * total, -self.beta)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        own = {"size": self.size, "alpha": self.alpha, "beta": self.beta, "k": self.k}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="alexnet_impl")
class GroupedConv2D(keras.layers.Layer):
    """Grouped convolution, computed as one ordinary convolution per group.

    keras.layers.Conv2D(groups=2) computes the same from the same kernel, but takes seven times as
    long on a CPU, and trains neither without oneDNN nor in float64.

    Args:
        filters: Output channels, over all groups.
        kernel_size: Height and width of the kernel.
        groups: Number of groups; divides input and output channels.
        strides: Stride in height and width.
        padding: 'valid' or 'same'.
    """

    def __init__(
        self,
        *,
        filters: int,
        kernel_size: int,
        groups: int,
        strides: int = 1,
        padding: str = "valid",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters, self.kernel_size, self.groups = filters, kernel_size, groups
        self.strides, self.padding = strides, padding

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates a kernel (height, width, in_channels / groups, filters) and a bias (filters,)."""
        in_channels = input_shape[-1]
        if in_channels is None or in_channels % self.groups:
            raise ValueError(
                f"{self.name}: groups={self.groups} must divide the {in_channels} input channels."
            )
        self.kernel = self.add_weight(
            shape=(self.kernel_size, self.kernel_size, in_channels // self.groups, self.filters),
            name="kernel",
        )
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """Maps (batch, height, width, in_channels) to (batch, height, width, filters)."""
        parts = zip(
            ops.split(inputs, self.groups, axis=-1),
            ops.split(self.kernel, self.groups, axis=-1),
            strict=True,
        )
        maps = [ops.conv(x, kernel, self.strides, self.padding) for x, kernel in parts]
        return ops.concatenate(maps, axis=-1) + self.bias

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        names = ("filters", "kernel_size", "groups", "strides", "padding")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable(package="alexnet_impl")
class SharedDropout(keras.layers.Layer):
    """Dropout with the masks of dropout_masks.keep_mask; the trainer sets the key of each step.

    Args:
        rate: Fraction of the values that is dropped.
        map_shape: (channels, height, width) of the map that was flattened before this layer, if
            its features still lie channels last; or None.
    """

    def __init__(
        self, rate: float, *, map_shape: tuple[int, ...] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.rate = rate
        self.map_shape = None if map_shape is None else tuple(map_shape)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the key, and each value's index in the canonical order."""
        self.key = self.add_weight(
            shape=(), dtype="uint32", initializer="zeros", trainable=False, name="key"
        )
        sizes = [size for size in input_shape[1:] if size is not None]
        self.num_units = int(np.prod(sizes))
        units: NDArray[np.uint32] = np.arange(self.num_units, dtype=np.uint32)
        if self.map_shape is not None:
            units = units.reshape(self.map_shape).transpose(1, 2, 0)
        elif len(sizes) == 3:
            height, width, channels = sizes
            units = units.reshape(channels, height, width).transpose(1, 2, 0)
        self.units = units.reshape(sizes)

    def call(self, inputs: KerasTensor, *, training: bool = False) -> KerasTensor:
        """Applies the mask to values of any shape, which is kept."""
        if not training:
            return inputs
        # TensorFlow's range has no uint32.
        rows = ops.cast(ops.arange(ops.shape(inputs)[0], dtype="int32"), "uint32")
        rows = ops.reshape(rows, (-1, *(1 for _ in self.units.shape)))
        index = rows * _uint32(self.num_units) + ops.convert_to_tensor(self.units)
        hashed = _hash32(ops.bitwise_xor(_hash32(index), self.key))
        keep = ops.greater_equal(hashed, _uint32(keep_threshold(self.rate)))
        return ops.where(keep, inputs / (1 - self.rate), ops.zeros_like(inputs))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "rate": self.rate, "map_shape": self.map_shape}


def _hash32(values: KerasTensor) -> KerasTensor:
    """Computes dropout_masks.hash32."""
    for shift, multiplier in zip(SHIFTS, (*MULTIPLIERS, 1), strict=True):
        shifted = ops.right_shift(values, _uint32(shift))
        values = ops.bitwise_xor(values, shifted) * _uint32(multiplier)
    return values


def _uint32(value: int) -> KerasTensor:
    return ops.convert_to_tensor(np.uint32(value))
