"""AlexNet as an nn.Module built from a Spec; its submodules have the Spec's layer names.

Tensors are (batch, channels, height, width) and (batch, features).
"""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any, assert_never

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from alexnet_impl.frameworks.torch.backbones import build_backbone
from alexnet_impl.network import spec as s
from alexnet_impl.network.dropout_masks import MULTIPLIERS, SHIFTS, keep_threshold
from alexnet_impl.network.spec import Spec

DTYPES = {"float64": torch.float64}
"""Type of the weights by precision; float32 for all others."""


class AlexNet(nn.Sequential):
    """The layers of a Spec in order: `model.conv1.weight`, `model.fc3.bias`.

    Reads images of shape (batch, 3, height, width), yields logits of shape (batch, num_classes).
    """

    def __init__(self, spec: Spec, *, shared_masks: bool = False) -> None:
        super().__init__(
            OrderedDict(
                (step.layer.name, _module(step, shared_masks=shared_masks))
                for step in s.trace(spec).layers
            )
        )
        self.spec = spec


class PaddedConv2d(nn.Conv2d):
    """A convolution whose zero padding differs before and after the map."""

    def __init__(self, in_channels: int, layer: s.Conv) -> None:
        sizes = (in_channels, layer.out_channels, layer.kernel_size, layer.stride)
        super().__init__(*sizes, groups=layer.groups)
        before, after = layer.padding
        self.sides = (before, after, before, after)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - nn.Conv2d's own name
        """Maps (batch, in_channels, height, width) to (batch, out_channels, height, width)."""
        return super().forward(functional.pad(input, self.sides))


class Dense(nn.Linear):
    """nn.Linear that computes float32 products on a CPU with oneDNN, as convolutions do.

    PyTorch uses MKL for them, which reaches half of oneDNN's speed on AMD's processors, where it
    does not use AVX-512.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - nn.Linear's own name
        """Maps (batch, in_features) to (batch, out_features)."""
        if _onednn_serves(input):
            product: Tensor = _OneDnnLinear.apply(input, self.weight, self.bias)
            return product
        return super().forward(input)


def _onednn_serves(values: Tensor) -> bool:
    return (
        values.dtype == torch.float32
        and values.device.type == "cpu"
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and ONEDNN_LINEAR is not None
    )


def _find_onednn_linear() -> Any:
    """Returns the operator of torch.compile's CPU code, or None in a build without oneDNN."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return None
    return getattr(torch.ops.mkldnn, "_linear_pointwise", None)


ONEDNN_LINEAR = _find_onednn_linear()


def _product(first: Tensor, second: Tensor, bias: Tensor | None = None) -> Tensor:
    """Computes first @ second.T + bias."""
    found: Tensor = ONEDNN_LINEAR(first, second, bias, "none", [], "")
    return found


class _OneDnnLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(values, weight)
        return _product(values, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        values, weight = ctx.saved_tensors
        by_values = _product(gradient, weight.t()) if ctx.needs_input_grad[0] else None
        return by_values, _product(gradient.t(), values.t()), gradient.sum(0)


class LocalResponseNorm(nn.Module):
    """The Spec's LocalResponseNorm; nn.LocalResponseNorm divides its alpha by the window."""

    def __init__(self, layer: s.LocalResponseNorm) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, images: Tensor) -> Tensor:
        """Normalises maps of shape (batch, channels, height, width), which is kept."""
        layer = self.layer
        with torch.autocast(images.device.type, enabled=False):
            wide = images if images.dtype == torch.float64 else images.float()
            return functional.local_response_norm(
                wide, layer.size, layer.alpha * layer.size, layer.beta, layer.k
            )

    def extra_repr(self) -> str:
        """Returns the text that print(model) shows."""
        return s.kernel_text(self.layer)


class GlobalAveragePool(nn.Module):
    """A layer that takes each channel's mean."""

    def forward(self, images: Tensor) -> Tensor:
        """Maps (batch, channels, height, width) to (batch, channels)."""
        return images.mean((2, 3))


class SharedDropout(nn.Module):
    """Dropout with the masks of dropout_masks.keep_mask; the trainer sets the key of each step."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.key: Tensor
        self.register_buffer("key", torch.zeros((), dtype=torch.int32), persistent=False)

    def set_key(self, key: int) -> None:
        """Sets the key, a result of dropout_masks.mask_key()."""
        self.key.fill_(_signed(key))

    def forward(self, images: Tensor) -> Tensor:
        """Applies the mask to values of any shape, which is kept; their order is canonical."""
        if not self.training:
            return images
        index = torch.arange(images.numel(), dtype=torch.int32, device=images.device)
        hashed = _hash32(_hash32(index) ^ self.key).view(images.shape)
        # Unsigned comparison: flipping the sign bit of both sides keeps their order.
        keep = (hashed ^ _signed(2**31)) >= keep_threshold(self.rate) - 2**31
        return torch.where(keep, images / (1 - self.rate), 0)

    def extra_repr(self) -> str:
        """Returns the text that print(model) shows."""
        return f"p={self.rate}, shared masks"


def _hash32(values: Tensor) -> Tensor:
    """Computes dropout_masks.hash32 in int32: PyTorch has no arithmetic on uint32."""
    for shift, multiplier in zip(SHIFTS, (*MULTIPLIERS, 1), strict=True):
        kept = (1 << (32 - shift)) - 1  # what an unsigned shift leaves
        values = (values ^ ((values >> shift) & kept)) * _signed(multiplier)
    return values


def _signed(value: int) -> int:
    """Returns the int32 with the same bits."""
    return value - 2**32 if value >= 2**31 else value


def build_model(
    spec: Spec, precision: str = "float32", seed: int = 0, *, shared_masks: bool = False
) -> AlexNet:
    """Builds an AlexNet with PyTorch's own initial weights.

    Args:
        spec: The network.
        precision: 'float64' gives float64 weights, any other float32, which autocast lowers.
        seed: Seed of the process's generator, for initial weights and dropout.
        shared_masks: Whether dropout draws the masks of dropout_masks.
    """
    torch.manual_seed(seed)
    return AlexNet(spec, shared_masks=shared_masks).to(DTYPES.get(precision, torch.float32))


_WITHOUT_NUMBERS: dict[type, Callable[[], nn.Module]] = {
    s.Relu: partial(nn.ReLU, inplace=True),
    s.Flatten: nn.Flatten,
    s.GlobalAveragePool: GlobalAveragePool,
}


def _module(step: s.LayerTrace, *, shared_masks: bool) -> nn.Module:
    match step.layer:
        case s.Conv() as layer:
            return _conv(layer, step.input_shape[0])
        case s.Relu() | s.Flatten() | s.GlobalAveragePool() as layer:
            return _WITHOUT_NUMBERS[type(layer)]()
        case s.MaxPool(kernel_size=kernel_size, stride=stride):
            return nn.MaxPool2d(kernel_size, stride)
        case s.LocalResponseNorm() as layer:
            return LocalResponseNorm(layer)
        case s.Dropout(rate=rate):
            return SharedDropout(rate) if shared_masks else nn.Dropout(rate)
        case s.Dense(out_features=out_features):
            return Dense(step.input_shape[0], out_features)
        case s.Backbone(architecture=architecture):
            return build_backbone(architecture)
        case _:
            assert_never(step.layer)


def _conv(layer: s.Conv, in_channels: int) -> nn.Conv2d:
    before, after = layer.padding
    if before != after:
        return PaddedConv2d(in_channels, layer)
    sizes = (in_channels, layer.out_channels, layer.kernel_size, layer.stride)
    return nn.Conv2d(*sizes, padding=before, groups=layer.groups)
