"""PyTorch's functions by the kinds of operations that alexnet_impl.ports knows.

Every function takes maps (batch, channels, height, width) or rows (batch, features) and an
operation's numbers, see frameworks.user_model.Operation.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from alexnet_impl.frameworks.user_model import ZeroPadding, pair_of, same_sides


def _sides(x: Tensor, size: Any, stride: Any, padding: Any) -> ZeroPadding:
    if padding == "same":
        return same_sides(x.shape[2:], pair_of(size), pair_of(stride))
    rows, columns = padding
    return rows, columns


def _padded(x: Tensor, sides: ZeroPadding, value: float = 0.0) -> Tensor:
    (above, below), (left, right) = sides
    return functional.pad(x, (left, right, above, below), value=value)


def _native(sides: ZeroPadding, size: Any) -> tuple[int, int] | None:
    """The padding argument of PyTorch's own pooling, if it can make these sides."""
    (above, below), (left, right) = sides
    height, width = pair_of(size)
    fits = above == below <= height // 2 and left == right <= width // 2
    return (above, left) if fits else None


def _max_pool(
    x: Tensor, *, size: Any, stride: Any, padding: Any, ceil: bool = False, zeros: bool = False
) -> Tensor:
    sides = _sides(x, size, stride, padding)
    native = None if zeros else _native(sides, size)
    if native is not None:
        return functional.max_pool2d(x, size, stride, native, ceil_mode=ceil)
    padded = _padded(x, sides, 0.0 if zeros else -torch.inf)
    return functional.max_pool2d(padded, size, stride, ceil_mode=ceil)


def _avg_pool(
    x: Tensor, *, size: Any, stride: Any, padding: Any, ceil: bool = False, counted: bool = True
) -> Tensor:
    sides = _sides(x, size, stride, padding)
    if (native := _native(sides, size)) is not None:
        return functional.avg_pool2d(x, size, stride, native, ceil, count_include_pad=counted)
    means = functional.avg_pool2d(_padded(x, sides), size, stride)
    if counted:
        return means
    return means / functional.avg_pool2d(_padded(torch.ones_like(x), sides), size, stride)


def _resize(
    x: Tensor, *, size: Any, mode: str, align_corners: bool = False, antialias: bool = False
) -> Tensor:
    aligned = align_corners if mode in ("bilinear", "bicubic") else None
    return functional.interpolate(
        x, tuple(size), mode=mode, align_corners=aligned, antialias=antialias
    )


def _scale(x: Tensor, *, by: Any, plus: Any) -> Tensor:
    """Scaled values; numbers are one for all, or one for each channel."""
    shape = (-1,) + (1,) * (x.ndim - 2)
    first, second = (torch.tensor(number, dtype=x.dtype).reshape(shape) for number in (by, plus))
    return x * first + second


def _depth_to_space(x: Tensor, *, factor: int) -> Tensor:
    """TensorFlow's order: the channels of a block stand beside each other."""
    batch, channels, height, width = x.shape
    blocks = x.reshape(batch, factor**2, channels // factor**2, height, width).transpose(1, 2)
    return functional.pixel_shuffle(blocks.reshape(x.shape), factor)


FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "relu": functional.relu,
    "relu6": functional.relu6,
    "leaky_relu": lambda x, slope=0.01: functional.leaky_relu(x, slope),
    "elu": lambda x, alpha=1.0: functional.elu(x, alpha),
    "selu": functional.selu,
    "gelu": lambda x, approximate=False: functional.gelu(
        x, approximate="tanh" if approximate else "none"
    ),
    "silu": functional.silu,
    "mish": functional.mish,
    "softplus": functional.softplus,
    "softsign": functional.softsign,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "hard_sigmoid": functional.hardsigmoid,
    "hard_silu": functional.hardswish,
    "softmax": lambda x, axis=1: torch.softmax(x, axis),
    "log_softmax": lambda x, axis=1: torch.log_softmax(x, axis),
    "lrn": lambda x, size, alpha=1e-4, beta=0.75, k=1.0: functional.local_response_norm(
        x, size, alpha, beta, k
    ),
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "adaptive_avg_pool": lambda x, *, size: functional.adaptive_avg_pool2d(x, size),
    "adaptive_max_pool": lambda x, *, size: functional.adaptive_max_pool2d(x, size),
    "pad": lambda x, *, sides, **_: _padded(x, sides),
    "resize": _resize,
    "pixel_shuffle": lambda x, *, factor: functional.pixel_shuffle(x, factor),
    "depth_to_space": _depth_to_space,
    "dropout": lambda x, **_: x,
    "scale": _scale,
    "bgr": lambda x: x.flip(1),
}
"""Kind of an operation to its function."""
