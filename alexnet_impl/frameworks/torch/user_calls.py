"""One call of a user's nn.Module: its layers with weights, and the functions between them.

A call can be repeated with some of them changed, so that the module computes as another one would.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from alexnet_impl.frameworks.torch.stored_files import to_numpy
from alexnet_impl.frameworks.torch.user_functions import FUNCTIONS
from alexnet_impl.frameworks.torch.user_layers import (
    OwnParameter,
    changed_weights,
    user_layers,
    values_of,
)
from alexnet_impl.frameworks.torch.user_operations import operation_of
from alexnet_impl.frameworks.user_model import (
    ORIGINAL,
    Edit,
    LayerCall,
    Operation,
    Sources,
)
from alexnet_impl.weights.canonical import Array

STOCHASTIC_DEPTHS = ("StochasticDepth", "DropPath")
STOCHASTIC_RATES = ("p", "drop_prob")
"""Names of modules that drop whole branches, in torchvision and in timm, and of their rates."""


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
        self._edits: dict[tuple[str, int | None], Edit] = {}
        for edit in edits:
            place = (edit.layer, edit.index)
            self._edits[place] = _both(self._edits.get(place), edit)
        self._until = until
        self._inside = 0
        self._place: str | None = ""
        self._functions: list[Callable[..., Tensor]] = []
        self._map: Tensor | None = None
        self._read: Array = np.empty(0)
        self._follows: dict[str, Any] = {}
        self._own: dict[int, tuple[str, OwnParameter]] = {}
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
            self._note_own((*args, *kwargs.values()))
            pools = getattr(func, "__name__", "").startswith(("max_pool", "avg_pool"))
            self._sources.pass_on(result, (*args, *kwargs.values()), pools=pools)
        if not isinstance(result, Tensor) or not result.is_floating_point():
            return result
        name = getattr(func, "__name__", "").rstrip("_")
        operation = operation_of(name, args, kwargs, result)
        if operation is not None and not self._inside:
            self.operations.append(operation)
            self._functions.append(partial(_called, func, args[1:], kwargs))
            if edit and kept is not None:
                result = _like(self._changed(edit.chain, kept, self._functions[-1]), result, source)
        if result.ndim == 4 and (operation is None or operation.kind != "permute"):
            self._map = result
        return result

    def _changed(
        self, chain: Sequence[Operation], x: Tensor, original: Callable[..., Tensor]
    ) -> Tensor:
        """Applies a chain of operations; 'original' is the call itself, 'call' an earlier one."""
        for operation in chain:
            if operation.kind == "original":
                x = original(x, **operation.numbers)
            elif operation.kind == "call":
                x = self._functions[operation.numbers["index"]](x)
            else:
                x = FUNCTIONS[operation.kind](x, **operation.numbers)
        return x

    @contextmanager
    def hooked(self, model: nn.Module) -> Iterator[None]:
        """Records every call of a module with weights of its own, while the block runs."""
        handles = [
            module.register_forward_hook(self._note_depth)
            for module in model.modules()
            if type(module).__name__ in STOCHASTIC_DEPTHS
        ]
        for name, module in user_layers(model):
            if isinstance(module, OwnParameter):
                self._own[id(module.weight)] = (name, module)
                continue
            enter, leave = self._enter(name), self._leave(name)
            handles.append(module.register_forward_pre_hook(enter, with_kwargs=True))
            handles.append(module.register_forward_hook(leave, with_kwargs=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _note_depth(self, module: nn.Module, args: Any, output: Any) -> None:
        """Records a stochastic depth, which calls no function in evaluation mode."""
        rates = [getattr(module, name) for name in STOCHASTIC_RATES if hasattr(module, name)]
        rate = rates[0] if rates else None
        if not self._inside and rate and args[0] is output:
            numbers = {"rate": rate, "active": False, "form": "branches"}
            name = type(module).__name__
            self.operations.append(Operation(kind="dropout", name=name, numbers=numbers))
            self._functions.append(_unchanged)

    def _note_own(self, args: Any) -> None:
        """Keeps the first use of a parameter that belongs to no layer."""
        for tensor in args:
            if isinstance(tensor, list | tuple):
                self._note_own(tensor)
            elif (found := self._own.pop(id(tensor), None)) is not None:
                name, layer = found
                nothing: dict[str, Any] = dict.fromkeys(("inputs", "outputs", "maps"))
                self.calls.append(LayerCall(name=name, layer=layer, before=(), **nothing))

    def _enter(self, name: str) -> Callable[..., Any]:
        def enter(module: nn.Module, args: Any, kwargs: Any) -> Any:
            self._inside += 1
            if not args:  # called by the names of its arguments
                args, kwargs = (next(iter(kwargs.values())),), dict([*kwargs.items()][1:])
            self._follows = self._sources.facts(args)
            edit, x = self._edits.get((name, None)), args[0]
            before, padding, _behind = _parts(edit.chain) if edit else ((), (), ())
            x = self._changed(before, x, _unchanged)
            self._read = to_numpy(values_of(module, x))  # a copy: the next ReLU may work in place
            self._reach(f"{name}.input", self._read)
            return (self._changed(padding, x, _unchanged), *args[1:]), kwargs

        return enter

    def _leave(self, name: str) -> Callable[..., Any]:
        def leave(module: nn.Module, args: Any, kwargs: Any, outputs: Any) -> Any:
            is_several = isinstance(outputs, tuple)  # an attention's weights, or a state, follow
            output = outputs[0] if is_several else outputs
            if (edit := self._edits.get((name, None))) is not None:
                output = _edited(module, edit)(*args, **kwargs | edit.arguments)
                output = output[0] if is_several else output
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
                        outputs=to_numpy(values_of(module, output)),
                        maps=None if self._map is None else to_numpy(self._map),
                        **self._follows,
                    )
                )
                self._reach(f"{name}.output", to_numpy(values_of(module, output)))
            self._sources.keep(output, [name])
            self.operations, self._functions = [], []
            self._place = None if known else name  # no edit means the second call of a layer
            self._map = output if isinstance(output, Tensor) and output.ndim == 4 else self._map
            return (output, *outputs[1:]) if is_several else output

        return leave

    def _reach(self, place: str, values: Array) -> None:
        if place == self._until:
            raise ReachedError(values)

    def finish(self, output: Tensor) -> None:
        """Keeps the model's output (batch, ...), with the change that stands behind it."""
        if (edit := self._edits.get(("output", None))) is not None:
            output = self._changed(edit.chain, output, _unchanged)
        self.output = to_numpy(output)


def _called(
    func: Callable[..., Tensor], rest: Sequence[Any], kwargs: dict[str, Any], x: Any, **other: Any
) -> Tensor:
    """A function's result for another first argument, and with some other named ones."""
    return func(x, *rest, **kwargs | other)


def _unchanged(x: Tensor) -> Tensor:
    return x


def _both(first: Edit | None, second: Edit) -> Edit:
    """One edit of a call for two: the second changes what the first left of the call."""
    if first is None or ORIGINAL not in first.chain:
        return second
    place = first.chain.index(ORIGINAL)
    return replace(
        second,
        chain=(*first.chain[:place], *second.chain, *first.chain[place + 1 :]),
        attributes={**first.attributes, **second.attributes},
        arguments={**first.arguments, **second.arguments},
        weights={**first.weights, **second.weights},
    )


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
    for name, tensor in changed_weights(module, edit.weights).items():
        if name in other._buffers:  # noqa: SLF001
            other._buffers[name] = tensor  # noqa: SLF001
        else:
            other._parameters[name] = nn.Parameter(tensor)  # noqa: SLF001
    for name, value in edit.attributes.items():
        is_flat = isinstance(module, nn.Conv1d) and isinstance(value, tuple)
        setattr(other, name, value[1:] if is_flat else value)
    return other.forward


def _like(values: Tensor, result: Tensor, source: Tensor | None) -> Tensor:
    """Values in the shape of the result that they replace, and in its place if it was in place."""
    if values.numel() == result.numel():
        values = values.reshape(result.shape)
    if result is source and values.shape == result.shape:
        return result.copy_(values)
    return values
