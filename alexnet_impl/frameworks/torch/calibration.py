"""Reference speeds of PyTorch on this device: its peak, and a tutorial's training loop."""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.nn import functional

from alexnet_impl.frameworks import Labels, Pixels
from alexnet_impl.frameworks.timed_call import COPY_BYTES, SMALL_SIZE, TimedCall, peak_precisions
from alexnet_impl.frameworks.torch.device import find_device, peak_memory_bytes, synchronize
from alexnet_impl.frameworks.torch.model import ONEDNN_LINEAR, Dense, build_model
from alexnet_impl.frameworks.torch.training import AUTOCAST
from alexnet_impl.machine.bfloat16 import (
    CUDA_CAPABILITY,
    Bfloat16Support,
    cpu_has_bfloat16,
    measure_bfloat16,
)
from alexnet_impl.network.spec import Spec, trace


def calibration_kernels(device: str, precision: str) -> dict[str, Callable[[], TimedCall]]:
    """Names what makes a kernel: products in the usual and the given precision, a memory copy."""
    found = find_device(device)
    products: dict[str, Callable[[], TimedCall]] = {
        f"matmul {name}": partial(_product, found, getattr(torch, name), SMALL_SIZE)
        for name in peak_precisions(found.type, precision)
    }
    return products | {"copy": partial(_copy, found)}


def _copy(device: torch.device) -> TimedCall:
    source = torch.rand(COPY_BYTES // 4, device=device)
    copy = partial(torch.neg, source, out=torch.empty_like(source))
    wait = partial(synchronize, device)
    return TimedCall(call=copy, amount=2.0 * COPY_BYTES, unit="B", synchronize=wait)


def bfloat16_support(device: str) -> Bfloat16Support:
    """Finds out whether bfloat16 is native on a device, by its hardware and a small product."""
    found = find_device(device)
    hardware = _has_bfloat16(found)
    if found.type == "mps" and not hardware:
        return Bfloat16Support(hardware=False, speed=0.0)  # it has no such tensors
    products = (_product(found, dtype, SMALL_SIZE) for dtype in (torch.float32, torch.bfloat16))
    return measure_bfloat16(hardware, [one.call_and_wait for one in products])


def _has_bfloat16(device: torch.device) -> bool | None:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= CUDA_CAPABILITY
    if device.type == "mps":
        return torch.backends.mps.is_macos_or_newer(14, 0)
    return cpu_has_bfloat16()


def _product(device: torch.device, dtype: torch.dtype, size: int) -> TimedCall:
    """A product of two matrices of shape (size, size)."""
    first, second = (torch.rand(size, size, device=device).to(dtype) for _ in range(2))
    call = partial(torch.mm, first, second, out=torch.empty_like(first))
    if device.type == "cpu" and dtype == torch.float32 and ONEDNN_LINEAR is not None:
        call = partial(ONEDNN_LINEAR, first, second, None, "none", [], "")
    return TimedCall(
        call=call,
        amount=2.0 * size**3,
        unit="FLOP",
        synchronize=partial(synchronize, device),
        with_size=partial(_product, device, dtype),
    )


def tutorial_loop(
    spec: Spec, images: Pixels, labels: Labels, precision: str, device: str
) -> TimedCall:
    """Makes a step of PyTorch's tutorials: default layout, stock SGD, autocast for bfloat16.

    Images have shape (batch, height, width, 3), labels (batch,); see Framework.tutorial_loop().
    """
    found = find_device(device)
    model = _tutorial_model(spec).to(found).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    floats = (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1).contiguous()
    floats, targets = floats.to(found), torch.from_numpy(labels).to(found)
    dtype = AUTOCAST.get(precision)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(found.type, dtype=dtype, enabled=dtype is not None):
            loss = functional.cross_entropy(model(floats), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return TimedCall(
        call=step,
        amount=len(labels),
        unit="images",
        synchronize=partial(synchronize, found),
        peak_memory_bytes=partial(peak_memory_bytes, found),
    )


def _tutorial_model(spec: Spec) -> nn.Module:
    """Returns torchvision's AlexNet if the Spec is that one at full width, otherwise the Spec's."""
    ours = build_model(spec)
    if spec.name.startswith("torchvision"):  # only then: importing it takes seconds
        from torchvision.models import alexnet  # noqa: PLC0415

        num_classes = trace(spec).output_shape[0]
        with torch.device("meta"):  # shapes only, without drawing weights
            shapes = [p.shape for p in alexnet(num_classes=num_classes).parameters()]
        if shapes == [p.shape for p in ours.parameters()]:
            theirs: nn.Module = alexnet(num_classes=num_classes)
            return theirs
    for name, module in ours.named_children():
        if isinstance(module, Dense):  # its products are not PyTorch's own
            setattr(ours, name, nn.Linear(module.in_features, module.out_features))
    return ours
