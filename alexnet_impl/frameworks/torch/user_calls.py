"""One call of a user's nn.Module: its layers with weights, and the functions between them.

A call can be repeated with some of them changed, so that the module computes as another one would.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from alexnet_impl.frameworks.torch.stored_files import to_numpy
from alexnet_impl.frameworks.torch.user_functions import FUNCTIONS
from alexnet_impl.frameworks.user_model import Edit, LayerCall, Operation, Sources, pair_of
from alexnet_impl.weights.canonical import Array

KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "relu": ("relu", ()),
    "relu6": ("relu6", ()),
    "hardtanh": ("relu6", ("low", "high")),
    "leaky_relu": ("leaky_relu", ("slope",)),
    "elu": ("elu", ("alpha",)),
    "selu": ("selu", ()),
    "gelu": ("gelu", ()),
    "silu": ("silu", ()),
    "mish": ("mish", ()),
    "softplus": ("softplus", ()),
    "softsign": ("softsign", ()),
    "tanh": ("tanh", ()),
    "sigmoid": ("sigmoid", ()),
    "hardsigmoid": ("hard_sigmoid", ()),
    "hardswish": ("hard_silu", ()),
    "softmax": ("softmax", ("axis",)),
    "log_softmax": ("log_softmax", ("axis",)),
    "local_response_norm": ("lrn", ("size", "alpha", "beta", "k")),
    "max_pool2d": ("max_pool", ("size", "stride", "padding", "dilation", "ceil")),
    "avg_pool2d": ("avg_pool", ("size", "stride", "padding", "ceil", "counted")),
    "adaptive_avg_pool2d": ("adaptive_avg_pool", ("size",)),
    "adaptive_max_pool2d": ("adaptive_max_pool", ("size",)),
    "mean": ("adaptive_avg_pool", ("axes",)),
    "amax": ("adaptive_max_pool", ("axes",)),
    "interpolate": ("resize", ("size", "scale", "mode", "align_corners")),
    "pixel_shuffle": ("pixel_shuffle", ("factor",)),
    "dropout": ("dropout", ("rate", "active")),
    "dropout1d": ("dropout", ("rate", "active")),
    "dropout2d": ("dropout", ("rate", "active")),
    "dropout3d": ("dropout", ("rate", "active")),
    "feature_dropout": ("dropout", ("rate", "active")),
    "alpha_dropout": ("dropout", ("rate", "active")),
    "pad": ("pad", ("pad", "mode", "value")),
    "permute": ("permute", ()),
    "transpose": ("permute", ()),
    "movedim": ("permute", ()),
}
"""A function's name to the kind of its operation, and names of its arguments behind the input."""
KEYWORDS = {
    "kernel_size": "size",
    "output_size": "size",
    "ceil_mode": "ceil",
    "count_include_pad": "counted",
    "negative_slope": "slope",
    "dim": "axis",
    "p": "rate",
    "training": "active",
    "upscale_factor": "factor",
    "min_val": "low",
    "max_val": "high",
}
SILENT = {"__get__", "contiguous", "to", "type", "float", "double", "clone", "detach", "cpu"}
"""Functions that change no value."""
FLATTENERS = {"flatten", "view", "reshape", "squeeze"}


class ReachedError(Exception):
    """Ends a call where the values that were asked for are there."""

    def __init__(self, values: Array) -> None:
        self.values = values


class Recording(TorchFunctionMode):
    """One call of a module: its layers with weights, and the functions between them.

    Attributes:
        calls: Calls of layers with weights, in order.
        operations: Operations since the last layer.
        output: The model's output.
    """

    def __init__(self, edits: Sequence[Edit] = (), until: str = "") -> None:
        """Takes changes, and the place '<layer>.input' or '<layer>.output' where the call ends."""
        super().__init__()
        self.calls: list[LayerCall] = []
        self.operations: list[Operation] = []
        self.output: Array | None = None
        self._edits = {(edit.layer, edit.index): edit for edit in edits}
        self._until = until
        self._inside = 0
        self._place: str | None = ""
        self._functions: list[Callable[[Tensor], Tensor]] = []
        self._map: Tensor | None = None
        self._read: Array = np.empty(0)
        self._follows: tuple[str, ...] = ()
        self._sources = Sources(active=not edits and not until)

    def __torch_function__(
        self, func: Callable[..., Any], _: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Records a function that is called outside the layers, or calls what is in its place."""
        kwargs = kwargs or {}
        edit = self._edits.get((str(self._place), len(self.operations)))
        source = args[0] if args and isinstance(args[0], Tensor) else None
        # A copy: the function may work in place.
        kept = source.clone() if edit and source is not None and not self._inside else None
        result = func(*args, **kwargs)
        if not self._inside:
            self._sources.keep(result, self._sources.of((*args, *kwargs.values())))
        if not isinstance(result, Tensor) or not result.is_floating_point():
            return result
        name = getattr(func, "__name__", "").rstrip("_")
        operation = _operation(name, args, kwargs, result)
        if operation is not None and not self._inside:
            self.operations.append(operation)
            self._functions.append(lambda x: func(x, *args[1:], **kwargs))
            if edit and kept is not None:
                result = _like(self._changed(edit.chain, kept, self._functions[-1]), result, source)
        if result.ndim == 4 and (operation is None or operation.kind != "permute"):
            self._map = result
        return result

    def _changed(
        self, chain: Sequence[Operation], x: Tensor, original: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Applies a chain of operations; 'original' is the call itself, 'call' an earlier one."""
        for operation in chain:
            if operation.kind == "original":
                x = original(x)
            elif operation.kind == "call":
                x = self._functions[operation.numbers["index"]](x)
            else:
                x = FUNCTIONS[operation.kind](x, **operation.numbers)
        return x

    @contextmanager
    def hooked(self, model: nn.Module) -> Iterator[None]:
        """Records every call of a module with weights of its own, while the block runs."""
        handles = []
        for name, module in model.named_modules():
            if has_weights(module):
                handles.append(module.register_forward_pre_hook(self._enter(name)))
                handles.append(module.register_forward_hook(self._leave(name)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, name: str) -> Callable[..., Any]:
        def enter(module: nn.Module, args: Any) -> Any:
            self._inside += 1
            self._follows = tuple(sorted(self._sources.of(args)))
            edit, x = self._edits.get((name, None)), args[0]
            before, padding, _behind = _parts(edit.chain) if edit else ((), (), ())
            x = self._changed(before, x, _unchanged)
            self._read = _numbers_of(module, x)  # a copy: the next ReLU may work in place
            self._reach(f"{name}.input", self._read)
            return (self._changed(padding, x, _unchanged), *args[1:])

        return enter

    def _leave(self, name: str) -> Callable[..., Any]:
        def leave(module: nn.Module, args: Any, output: Any) -> Any:
            if (edit := self._edits.get((name, None))) is not None:
                output = _edited(module, edit)(*args)
                output = self._changed(_parts(edit.chain)[2], output, _unchanged)
            self._inside -= 1
            known = name in {call.name for call in self.calls}
            if not known and isinstance(output, Tensor):
                self.calls.append(
                    LayerCall(
                        name=name or "model",
                        layer=module,
                        before=tuple(self.operations),
                        inputs=self._read,
                        outputs=_numbers_of(module, output),
                        maps=None if self._map is None else to_numpy(self._map),
                        follows=self._follows,
                    )
                )
                self._reach(f"{name}.output", self.calls[-1].outputs)
            self._sources.keep(output, [name])
            self.operations, self._functions = [], []
            self._place = None if known else name  # no edit means the second call of a layer
            self._map = output if isinstance(output, Tensor) and output.ndim == 4 else self._map
            return output

        return leave

    def _reach(self, place: str, values: Array) -> None:
        if place == self._until:
            raise ReachedError(values)

    def finish(self, output: Tensor) -> None:
        """Keeps the model's output (batch, ...), with the change that stands behind it."""
        if (edit := self._edits.get(("output", None))) is not None:
            output = self._changed(edit.chain, output, _unchanged)
        self.output = to_numpy(output)


def _numbers_of(module: nn.Module, values: Tensor) -> Array:
    """A copy of a layer's values, maps with their channels first."""
    on_maps = values.ndim == 4
    return to_numpy(values.permute(0, 3, 1, 2) if on_maps and _is_last(module) else values)


def _is_last(module: nn.Module) -> bool:
    """Whether a layer works on the last axis, so that its maps have their channels last."""
    if isinstance(module, nn.LayerNorm):
        return len(module.normalized_shape) == 1
    return isinstance(module, nn.Linear)


def has_weights(module: nn.Module) -> bool:
    """Whether a module has parameters or running statistics of its own."""
    own = {**module._parameters, **module._buffers}  # noqa: SLF001 - without the children's
    return any(own.get(name) is not None for name in (*module._parameters, "running_mean"))  # noqa: SLF001


def _unchanged(x: Tensor) -> Tensor:
    return x


def _parts(chain: Sequence[Operation]) -> tuple[Sequence[Operation], ...]:
    """The operations before a layer, its own padding, and the operations behind it."""
    place = next(i for i, operation in enumerate(chain) if operation.kind == "original")
    first = place - 1 if place and chain[place - 1].kind == "pad" else place
    return chain[:first], chain[first:place], chain[place + 1 :]


def _edited(module: nn.Module, edit: Edit) -> Callable[..., Any]:
    """The forward pass of a copy of a layer with other attributes and weights."""
    other = copy.copy(module)
    other._parameters = dict(module._parameters)  # noqa: SLF001 - what copy() shares
    other._buffers = {  # noqa: SLF001
        name: None if buffer is None else buffer.clone()
        for name, buffer in module._buffers.items()  # noqa: SLF001
    }
    for short, array in edit.weights.items():
        old = getattr(module, short)
        new = torch.from_numpy(np.ascontiguousarray(array)).to(old.dtype)
        if short in other._buffers:  # noqa: SLF001
            other._buffers[short] = new  # noqa: SLF001
        else:
            other._parameters[short] = nn.Parameter(new)  # noqa: SLF001
    for name, value in edit.attributes.items():
        setattr(other, name, value)
    return other.forward


def _like(values: Tensor, result: Tensor, source: Tensor | None) -> Tensor:
    """Values in the shape of the result that they replace, and in its place if it was in place."""
    if values.numel() == result.numel():
        values = values.reshape(result.shape)
    if result is source and values.shape == result.shape:
        return result.copy_(values)
    return values


def _operation(name: str, args: Any, kwargs: Any, result: Tensor) -> Operation | None:
    """The call of a function as an Operation; None if it changes no value."""
    source = args[0] if args and isinstance(args[0], Tensor) else None
    if name in SILENT or (source is not None and source.ndim == result.ndim and name in FLATTENERS):
        return None
    if source is not None and source.ndim == 4 and result.ndim == 2 and name in FLATTENERS:
        return Operation(kind="flatten", name=name, numbers={})
    kind, arguments = KINDS.get(name, ("other", ()))
    given = dict(zip(arguments, args[1:], strict=False))
    given |= {KEYWORDS.get(key, key): value for key, value in kwargs.items()}
    global_ = name not in ("mean", "amax") or _is_global(source, given)
    up_to_6 = name != "hardtanh" or (given.get("low"), given.get("high")) == (0, 6)
    if not global_ or not up_to_6:
        kind = "other"
    numbers = NUMBERS[kind](given, name, result) if kind in NUMBERS else {}
    return Operation(kind=kind, name=name, numbers=numbers)


def _is_global(source: Tensor | None, given: dict[str, Any]) -> bool:
    """Whether a reduction takes the height and width of maps."""
    axes = given.get("axes", given.get("axis"))
    return (
        source is not None
        and source.ndim == 4
        and isinstance(axes, list | tuple)
        and sorted(axis % 4 for axis in axes) == [2, 3]
    )


Given = dict[str, Any]
"""Arguments of a function by name."""


def _pad_numbers(given: Given) -> Given:
    if given.get("mode", "constant") != "constant" or given.get("value") not in (None, 0):
        return {"zeros": False}
    left, right, top, bottom = (*given["pad"], 0, 0)[:4]
    return {"zeros": True, "sides": ((top, bottom), (left, right))}


def _pool_numbers(given: Given) -> Given:
    size = pair_of(given["size"])
    return {
        "size": size,
        "stride": pair_of(given.get("stride") or size),
        "padding": tuple((p, p) for p in pair_of(given.get("padding", 0))),
        "ceil": bool(given.get("ceil", False)),
    }


def _resize_numbers(given: Given, result: Tensor) -> Given:
    return {
        "size": tuple(result.shape[2:]),
        "mode": given.get("mode", "nearest"),
        "align_corners": bool(given.get("align_corners")),
        "antialias": bool(given.get("antialias")),
    }


def _dropout_numbers(given: Given, name: str) -> Given:
    form = "alpha" if "alpha" in name else "units" if name == "dropout" else "maps"
    rate, active = given.get("rate", 0.5), given.get("active", True)
    return {"rate": rate, "active": active, "form": form}


NUMBERS: dict[str, Callable[[Given, str, Tensor], Given]] = {
    "pad": lambda given, *_: _pad_numbers(given),
    "max_pool": lambda given, *_: _pool_numbers(given),
    "avg_pool": lambda given, *_: _pool_numbers(given) | {"counted": given.get("counted", True)},
    "adaptive_avg_pool": lambda given, *_: {"size": pair_of(given.get("size", 1))},
    "adaptive_max_pool": lambda given, *_: {"size": pair_of(given.get("size", 1))},
    "resize": lambda given, _, result: _resize_numbers(given, result),
    "pixel_shuffle": lambda given, *_: {"factor": given["factor"]},
    "gelu": lambda given, *_: {"approximate": given.get("approximate", "none") == "tanh"},
    "leaky_relu": lambda given, *_: {"slope": float(given.get("slope", 0.01))},
    "elu": lambda given, *_: {"alpha": float(given.get("alpha", 1.0))},
    "softmax": lambda given, _, result: {"axis": (given.get("axis") or 0) % result.ndim},
    "log_softmax": lambda given, _, result: {"axis": (given.get("axis") or 0) % result.ndim},
    "dropout": lambda given, name, _: _dropout_numbers(given, name),
    "lrn": lambda given, *_: {
        key: given[key] for key in ("size", "alpha", "beta", "k") if key in given
    },
}
"""Kind of an operation to the numbers that affect its result, sizes as (height, width)."""
