"""Adapter from a user's nn.Module to the UserModel protocol."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from alexnet_impl.errors import FrameworkError
from alexnet_impl.frameworks.torch.stored_files import to_numpy
from alexnet_impl.frameworks.user_model import (
    LayerCall,
    LayerKind,
    Operation,
    UserLayer,
    UserModel,
    UserModelFacts,
    ZeroPadding,
    are_probabilities,
    arrays_of,
    call_by_name,
    flatten_facts,
    pair_of,
    same_sides,
)
from alexnet_impl.weights.canonical import Array, Weights

ARGUMENTS: dict[str, tuple[str, ...]] = {
    "local_response_norm": ("input", "size", "alpha", "beta", "k"),
    "max_pool2d": ("input", "size", "stride", "padding", "dilation", "ceil"),
    "avg_pool2d": ("input", "size", "stride", "padding", "ceil", "count_padding"),
    "adaptive_avg_pool2d": ("input", "size"),
    "dropout": ("input", "rate"),
    "pad": ("input", "pad", "mode", "value"),
}
"""Names of a function's positional arguments, for functions whose arguments are kept."""
KEYWORDS = {
    "kernel_size": "size",
    "output_size": "size",
    "ceil_mode": "ceil",
    "count_include_pad": "count_padding",
    "p": "rate",
}
KINDS = {
    "local_response_norm": "lrn",
    "max_pool2d": "max_pool",
    "avg_pool2d": "avg_pool",
    "adaptive_avg_pool2d": "adaptive_avg_pool",
    "feature_dropout": "dropout",
    "dropout2d": "dropout",
    "transpose": "permute",
    "movedim": "permute",
}
KNOWN = {"relu", "sigmoid", "tanh", "softmax", "log_softmax", "permute", "dropout", "pad"}
SILENT = {"__get__", "contiguous", "to", "type", "float", "double", "clone", "detach", "cpu"}
"""Functions that change no value."""
SHORT = ("weight", "bias", "running_mean", "running_var")


def load_model(place: str, folder: Path) -> "TorchUserModel":
    """Builds the model by calling a user's function.

    Raises:
        UserCodeError: If there is no such function, or it raises.
        FrameworkError: If it returns no nn.Module.
    """
    model = call_by_name(place, folder)
    if not isinstance(model, nn.Module):
        raise FrameworkError(
            f"{place}: returned a {type(model).__name__}; it must return a torch.nn.Module."
        )
    return TorchUserModel(model)


@contextmanager
def borrow_model(model: Any) -> Iterator["TorchUserModel"]:
    """Runs a user's own module on the CPU, with copies of its tensors, while the block runs.

    After the block the module has its own tensors, gradients, devices and modes again.

    Raises:
        FrameworkError: If it is no nn.Module.
    """
    if not isinstance(model, nn.Module):
        kind = f"{type(model).__module__}.{type(model).__name__}"
        raise FrameworkError(f"torch: received a {kind}; give a torch.nn.Module.")
    modes = [(module, module.training) for module in model.modules()]
    parameters = [(p, p.data, p.grad) for p in model.parameters() if not is_lazy(p)]
    buffers = [
        (module, name, buffer)
        for module in model.modules()
        for name, buffer in module._buffers.items()  # noqa: SLF001 - the only way to exchange one
        if buffer is not None and not is_lazy(buffer)
    ]
    for parameter, data, _ in parameters:
        parameter.grad = None  # before its data moves to another type or device
        parameter.data = data.clone()
    for module, name, buffer in buffers:
        module._buffers[name] = buffer.clone()  # noqa: SLF001
    try:
        yield TorchUserModel(model)
    finally:
        for parameter, data, gradient in parameters:
            parameter.grad = None
            parameter.data, parameter.grad = data, gradient
        for module, name, buffer in buffers:
            module._buffers[name] = buffer  # noqa: SLF001
        for module, mode in modes:
            module.training = mode


class TorchUserModel(UserModel):
    """The UserModel protocol over an nn.Module, on the CPU."""

    input_shape = None  # a module does not declare it

    def __init__(self, model: nn.Module) -> None:
        self.model = model.cpu().float().eval()
        self.dtype = torch.float32
        self.modules: dict[str, nn.Module] = {}

    def describe(self, images: Array) -> UserModelFacts:
        """Describes the layers that a call on (batch, height, width, channels) reaches."""
        recording = self._record(images)
        self.modules = {call.name: call.layer for call in recording.calls}
        return UserModelFacts(
            layers=tuple(_layer(call) for call in recording.calls),
            after=tuple(recording.operations),
        )

    def use_precision(self, precision: str) -> str:
        """Converts the module; constants of its own may stay float32."""
        self.dtype = torch.float64 if precision == "float64" else torch.float32
        self.model.to(self.dtype)
        return ""

    def weights(self) -> Weights:
        """Copies the weights, their shapes in PyTorch's layout."""
        return {name: to_numpy(tensor) for name, tensor in self._tensors()}

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        for name, module in self.modules.items():
            for short in _short_names(module):
                yield f"{name}.{short}", getattr(module, short)

    @torch.no_grad()
    def set_weights(self, weights: Weights) -> None:
        """Loads some or all weights, their shapes in PyTorch's layout."""
        for name, tensor in self._tensors():
            if name in weights:
                tensor.copy_(torch.from_numpy(np.ascontiguousarray(weights[name])))

    def forward(self, images: Array) -> Weights:
        """See UserModel; images have shape (batch, height, width, channels)."""
        recording = self._record(images)
        return arrays_of(recording.calls, recording.output)

    def gradients(self, images: Array, labels: Array) -> tuple[float, Weights]:
        """See UserModel; labels have shape (batch,)."""
        self.model.zero_grad(set_to_none=True)
        output = self._output(images)
        if are_probabilities(to_numpy(output)):
            output = output.log()
        loss = functional.cross_entropy(output, torch.from_numpy(labels))
        loss.backward()  # type: ignore[no-untyped-call]
        found = {name: to_numpy(t.grad) for name, t in self._tensors() if t.grad is not None}
        self.model.zero_grad(set_to_none=True)
        return float(loss.detach()), found

    def _output(self, images: Array) -> Tensor:
        """The model's output for images (batch, height, width, channels)."""
        floats = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
        try:
            output = self.model(floats.to(self.dtype))
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            raise FrameworkError(
                f"torch: the model does not run on images of shape {floats.shape[1:]}: "
                f"{str(error).splitlines()[0]}; give their size with --image-size."
            ) from error
        if not isinstance(output, Tensor):
            raise FrameworkError(
                f"torch: the model's forward returned a {type(output).__name__}; it must return "
                "the logits, one tensor."
            )
        return output

    def _record(self, images: Array) -> "_Recording":
        recording = _Recording()
        with torch.no_grad(), recording.hooked(self.model), recording:
            recording.output = to_numpy(self._output(images))
        return recording


class _Recording(TorchFunctionMode):
    """One call of a module: its layers with weights, and the functions between them.

    Attributes:
        calls: Calls of layers with weights, in order.
        operations: Operations since the last layer.
        output: The model's output.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[LayerCall] = []
        self.operations: list[Operation] = []
        self.output = np.empty(0)
        self._inside = 0
        self._map: Tensor | None = None
        self._read: Array = np.empty(0)

    def __torch_function__(
        self, func: Callable[..., Any], _: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Records a function that is called outside the layers."""
        result = func(*args, **(kwargs or {}))
        if not isinstance(result, Tensor) or not result.is_floating_point():
            return result
        name = getattr(func, "__name__", "").rstrip("_")
        operation = _operation(name, args, kwargs or {}, result)
        if operation is not None and not self._inside:
            self.operations.append(operation)
        if result.ndim == 4 and (operation is None or operation.kind != "permute"):
            self._map = result
        return result

    @contextmanager
    def hooked(self, model: nn.Module) -> Iterator[None]:
        """Records every call of a module with parameters of its own, while the block runs."""
        handles = []
        for name, module in model.named_modules():
            if any(parameter is not None for parameter in module._parameters.values()):  # noqa: SLF001
                handles.append(module.register_forward_pre_hook(self._enter))
                handles.append(module.register_forward_hook(self._leave(name)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, _: nn.Module, args: Any) -> None:
        self._inside += 1
        self._read = to_numpy(args[0])  # a copy: the next ReLU may work in place

    def _leave(self, name: str) -> Callable[..., None]:
        def leave(module: nn.Module, _: Any, output: Any) -> None:
            self._inside -= 1
            known = {call.name for call in self.calls}
            if name not in known and isinstance(output, Tensor):
                self.calls.append(
                    LayerCall(
                        name=name or "model",
                        layer=module,
                        before=tuple(self.operations),
                        inputs=self._read,
                        outputs=to_numpy(output),
                        maps=None if self._map is None else to_numpy(self._map),
                    )
                )
            self.operations = []
            self._map = output if isinstance(output, Tensor) and output.ndim == 4 else self._map

        return leave


def _operation(name: str, args: Any, kwargs: Any, result: Tensor) -> Operation | None:
    """The call of a function as an Operation; None if it changes no value."""
    source = args[0] if args and isinstance(args[0], Tensor) else None
    if name in SILENT or (source is not None and source.ndim == result.ndim and name in FLATTENERS):
        return None
    if source is not None and source.ndim == 4 and result.ndim == 2 and name in FLATTENERS:
        return Operation(kind="flatten", name=name, numbers={})
    given = dict(zip(ARGUMENTS.get(name, ()), args, strict=False))
    given |= {KEYWORDS.get(key, key): value for key, value in kwargs.items()}
    if name in ARGUMENTS or name in KINDS or name in KNOWN:
        return Operation(kind=KINDS.get(name, name), name=name, numbers=_numbers(name, given))
    return Operation(kind="other", name=name, numbers={})


FLATTENERS = {"flatten", "view", "reshape", "squeeze"}


def _numbers(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """The arguments that affect the result, sizes as (height, width)."""
    if name == "pad":
        if given.get("mode", "constant") != "constant" or given.get("value") not in (None, 0):
            return {"zeros": False}
        left, right, top, bottom = (*given["pad"], 0, 0)[:4]
        return {"zeros": True, "sides": ((top, bottom), (left, right))}
    if name.endswith("pool2d"):
        size = pair_of(given["size"])
        numbers: dict[str, Any] = {"size": size}
        if not name.startswith("adaptive"):
            numbers["stride"] = pair_of(given.get("stride") or size)
            numbers["padding"] = tuple((p, p) for p in pair_of(given.get("padding", 0)))
            numbers["ceil"] = bool(given.get("ceil", False))
        return numbers
    return {key: given[key] for key in ("size", "alpha", "beta", "k", "rate") if key in given}


def _short_names(module: nn.Module) -> list[str]:
    """Short names of a module's own parameters and running statistics."""
    names = [name for name, value in module.named_parameters(recurse=False) if value is not None]
    buffers = dict(module.named_buffers(recurse=False))
    return names + [name for name in SHORT[2:] if buffers.get(name) is not None]


def _layer(call: LayerCall) -> UserLayer:
    module: nn.Module = call.layer
    tensors = {short: getattr(module, short) for short in _short_names(module)}
    facts: dict[str, Any] = {}
    kind: LayerKind = "other"
    if isinstance(module, nn.Conv2d):
        kind, facts = "conv", _convolution(module, call.inputs)
    elif isinstance(module, nn.Linear):
        kind, facts = "dense", flatten_facts(call.maps, call.inputs)
    elif isinstance(module, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001 - their base class
        kind, facts = "batchnorm", {"epsilon": module.eps}
    return UserLayer(
        name=call.name,
        kind=kind,
        shapes={short: tuple(tensor.shape) for short, tensor in tensors.items()},
        frozen=tuple(
            short
            for short, tensor in tensors.items()
            if isinstance(tensor, nn.Parameter) and not tensor.requires_grad
        ),
        before=call.before,
        **facts,
    )


def _convolution(module: nn.Conv2d, inputs: Array) -> dict[str, Any]:
    stride, dilation = pair_of(module.stride), pair_of(module.dilation)
    padding: ZeroPadding
    if module.padding == "same":
        padding = same_sides(inputs.shape[2:], module.kernel_size, (1, 1), dilation)
    elif module.padding == "valid":
        padding = ((0, 0), (0, 0))
    else:
        rows, columns = pair_of(module.padding)
        padding = ((rows, rows), (columns, columns))
    return {
        "stride": stride,
        "dilation": dilation,
        "groups": module.groups,
        "padding": padding,
        "padding_name": module.padding if isinstance(module.padding, str) else "",
    }
