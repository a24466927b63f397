"""Adapter from a user's nn.Module to the UserModel protocol."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parameter import is_lazy

from alexnet_impl.errors import FrameworkError
from alexnet_impl.frameworks.torch.stored_files import to_numpy
from alexnet_impl.frameworks.torch.user_calls import ReachedError, Recording
from alexnet_impl.frameworks.torch.user_layers import MAPS, Weight, user_layer, weights_of
from alexnet_impl.frameworks.torch.user_training import UserTraining
from alexnet_impl.frameworks.user_model import (
    Edit,
    UserModel,
    UserModelFacts,
    are_probabilities,
    arrays_of,
    call_by_name,
)
from alexnet_impl.frameworks.user_training import Training, TrainingFacts, TrainingStep
from alexnet_impl.weights.canonical import Array, Weights


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
        self.model = _inner(model).cpu().float()
        self.notes = (TRAINS,) if any(map(_acts_in_training, self.model.modules())) else ()
        self.model.eval()
        self.dtype = torch.float32
        self.modules: dict[str, nn.Module] = {}
        self.training: UserTraining

    def describe(self, images: Array) -> UserModelFacts:
        """Describes the layers that a call on (batch, height, width, channels) reaches."""
        if any(is_lazy(parameter) for parameter in self.model.parameters()):
            with torch.no_grad():
                self._output(images[:1])  # a lazy layer's first call makes its weights
        recording = self._record(images)
        self.modules = {call.name: call.layer for call in recording.calls}
        return UserModelFacts(
            layers=tuple(user_layer(call) for call in recording.calls),
            after=tuple(recording.operations),
            notes=self.notes,
        )

    def use_precision(self, precision: str) -> str:
        """Converts the module; constants of its own may stay float32."""
        self.dtype = torch.float64 if precision == "float64" else torch.float32
        self.model.to(self.dtype)
        return ""

    def weights(self) -> Weights:
        """Copies the weights, their shapes in PyTorch's layout."""
        return {name: to_numpy(weight.values) for name, weight in self._weights()}

    def _weights(self) -> Iterator[tuple[str, Weight]]:
        for name, module in self.modules.items():
            for short, weight in weights_of(module).items():
                yield f"{name}.{short}", weight

    @torch.no_grad()
    def set_weights(self, weights: Weights) -> None:
        """Loads some or all weights, their shapes in PyTorch's layout."""
        for name, weight in self._weights():
            if name in weights:
                weight.values.copy_(torch.from_numpy(np.ascontiguousarray(weights[name])))

    def forward(self, images: Array) -> Weights:
        """See UserModel; images have shape (batch, height, width, channels)."""
        recording = self._record(images)
        return arrays_of(recording.calls, recording.output)

    def replay(self, images: Array, edits: Sequence[Edit], place: str = "") -> Weights:
        """See UserModel; images have shape (batch, height, width, channels)."""
        recording = Recording(edits, place)
        try:
            self._run(recording, images)
        except ReachedError as reached:
            return {place: reached.values}
        except (FrameworkError, RuntimeError, TypeError, ValueError, IndexError):
            pass  # a later layer cannot read what the changes make
        found = arrays_of(recording.calls, recording.output)
        return {key: array for key, array in found.items() if place in ("", key)}

    def gradients(self, images: Array, labels: Array) -> tuple[float, Weights]:
        """See UserModel; labels have shape (batch,)."""
        self.model.zero_grad(set_to_none=True)
        output = self._output(images)
        if are_probabilities(to_numpy(output)):
            output = output.log()
        loss = functional.cross_entropy(output.flatten(1), torch.from_numpy(labels))
        loss.backward()  # type: ignore[no-untyped-call]
        gradients = ((name, weight.gradient) for name, weight in self._weights())
        found = {name: to_numpy(gradient) for name, gradient in gradients if gradient is not None}
        self.model.zero_grad(set_to_none=True)
        return float(loss.detach()), found

    def prepare_training(self, training: Training, folder: Path) -> TrainingFacts:
        """See UserModel."""
        self.training = UserTraining(self.model, training, folder)
        return self.training.facts()

    def training_step(self, images: Array, labels: Array, *, update: bool) -> TrainingStep:
        """See UserModel; images (batch, height, width, channels), labels (batch,)."""
        return self.training.step(
            self._floats(images), labels, dict(self._weights()), update=update
        )

    def _floats(self, images: Array) -> Tensor:
        """PyTorch's images (batch, channels, height, width); other inputs as they are."""
        if images.ndim == MAPS:
            images = images.transpose(0, 3, 1, 2)
        tensor = torch.from_numpy(np.ascontiguousarray(images))
        return tensor.to(self.dtype) if tensor.is_floating_point() else tensor

    def _output(self, images: Array) -> Tensor:
        """The model's output for images (batch, height, width, channels)."""
        floats = self._floats(images)
        try:
            output = self.model(floats)
        except ReachedError:
            raise
        except Exception as error:  # of the user's own code
            said = (str(error).splitlines() or [type(error).__name__])[0]
            raise FrameworkError(
                f"torch: the model does not run on images of shape {floats.shape[1:]}: "
                f"{said}; give their size with --image-size."
            ) from error
        if not isinstance(output, Tensor):
            raise FrameworkError(
                f"torch: the model's forward returned a {type(output).__name__}; it must return "
                "the logits, one tensor."
            )
        return output

    def _record(self, images: Array) -> Recording:
        recording = Recording()
        self._run(recording, images)
        return recording

    @torch.no_grad()
    def _run(self, recording: Recording, images: Array) -> None:
        with recording.hooked(self.model), recording:
            output = self._output(images)
        recording.finish(output)


TRAINS = (
    "the PyTorch model was in training mode and is compared in evaluation mode; call eval() before "
    "it predicts"
)


def _acts_in_training(module: nn.Module) -> bool:
    """Whether a module is in training mode and then computes something else."""
    kinds = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)  # noqa: SLF001
    return module.training and isinstance(module, kinds)


def _inner(model: nn.Module) -> nn.Module:
    """The user's own module in what torch.compile() and the data-parallel wrappers return."""
    parallel = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    name = "module" if isinstance(model, parallel) else "_orig_mod"
    inner = getattr(model, name, None)
    return model if inner is None else _inner(inner)
