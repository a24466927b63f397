"""A user's own training step of an nn.Module: loss, optimizer and schedule."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from alexnet_impl.errors import FrameworkError
from alexnet_impl.frameworks.torch.stored_files import to_numpy
from alexnet_impl.frameworks.torch.user_calls import STOCHASTIC_DEPTHS
from alexnet_impl.frameworks.torch.user_layers import Weight
from alexnet_impl.frameworks.user_model import call_training
from alexnet_impl.frameworks.user_training import Rule, Training, TrainingFacts, TrainingStep
from alexnet_impl.weights.canonical import Array

ROUNDED = ("lr", "momentum", "weight_decay")
"""Hyper-parameters that Keras keeps in float32."""


class UserTraining:
    """The training of one module; every object starts with a fresh optimizer."""

    def __init__(self, model: nn.Module, training: Training, folder: Path) -> None:
        """Takes the user's function.

        Raises:
            UserCodeError: If there is no such function, or it raises.
            FrameworkError: If it returns something else than a loss and an optimizer.
        """
        given = call_training(training, model, folder)
        if not isinstance(given, tuple | list) or len(given) not in (2, 3):
            raise FrameworkError(f"torch: the training function {FORM}.")
        self.model = model
        self.loss, self.optimizer = given[:2]
        self.schedule = given[2] if len(given) > 2 else None
        if not callable(self.loss) or not isinstance(self.optimizer, torch.optim.Optimizer):
            raise FrameworkError(f"torch: the training function {FORM}.")
        self._round(is_new=True)

    def _round(self, *, is_new: bool = False) -> None:
        """Round the numbers that Keras keeps in float32 alike."""
        for group in self.optimizer.param_groups:
            for name in ROUNDED:
                if isinstance(group.get(name), float):
                    group[name] = float(np.float32(group[name]))
        for state in self.optimizer.state.values() if is_new else ():
            if isinstance(total := state.get("sum"), Tensor):  # Adagrad's, with its first value
                total.copy_(total.float())

    def facts(self) -> TrainingFacts:
        """Describe the loss and the optimizer."""
        loss = getattr(self.loss, "__name__", type(self.loss).__name__)
        optimizer = type(self.optimizer).__name__
        group = self.optimizer.param_groups[0]
        return TrainingFacts(loss=loss, optimizer=optimizer, rule=_rule(optimizer, group))

    def step(
        self,
        images: Tensor,
        labels: Array,
        weights: Mapping[str, Weight],
        *,
        update: bool,
    ) -> TrainingStep:
        """Take a step, or only compute its loss and gradients.

        Args:
            images: Shape (batch, channels, height, width).
            labels: Classes or 0 and 1, shape (batch,).
            weights: The weights whose gradients are returned.
            update: Whether the optimizer changes the weights.
        """
        self.optimizer.zero_grad(set_to_none=True)
        with _training(self.model), _NoDropout():
            output = self.model(images)
            loss = self.loss(output, self._targets(output, labels))
            loss.backward()
        found = {
            name: to_numpy(weight.gradient)
            for name, weight in weights.items()
            if weight.gradient is not None
        }
        rate = float(self.optimizer.param_groups[0]["lr"])
        if update:
            self.optimizer.step()
            if self.schedule is not None:
                self.schedule.step()
            self._round()
        self.optimizer.zero_grad(set_to_none=True)
        return TrainingStep(
            loss=float(loss.detach()), rate=rate, output=to_numpy(output), gradients=found
        )

    def _targets(self, output: Tensor, labels: Array) -> Tensor:
        """Classes if the loss takes them; otherwise numbers, or rows with a single 1."""
        classes = torch.from_numpy(labels)
        if output.ndim == 1 or output.shape[-1] == 1:
            return classes.to(output.dtype)
        try:
            self.loss(output.detach(), classes)
        except (RuntimeError, TypeError, ValueError, IndexError):
            return nn.functional.one_hot(classes, output.shape[-1]).to(output.dtype)
        return classes


FORM = (
    "must return (loss, optimizer) or (loss, optimizer, scheduler): a function of output and "
    "target, a torch.optim.Optimizer of the model that it is called with"
)


ATTENTION = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
"""Names of an attention's arguments by their places."""


class _NoDropout(TorchFunctionMode):
    """Leaves out the functions that drop values at random."""

    def __torch_function__(self, func: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if "dropout" in name:
            return args[0]
        kwargs = dict(kwargs or {})
        if name == "scaled_dot_product_attention":
            given = dict(zip(ATTENTION, args, strict=False)) | kwargs
            args, kwargs = (), given | {"dropout_p": 0.0}
        return func(*args, **kwargs)


@contextmanager
def _training(model: nn.Module) -> Iterator[None]:
    """Training mode without dropout, while the block runs."""
    model.train()
    attentions = [one for one in model.modules() if isinstance(one, nn.MultiheadAttention)]
    rates = [one.dropout for one in attentions]
    for attention in attentions:
        attention.dropout = 0.0
    for module in model.modules():
        is_random = isinstance(module, nn.modules.dropout._DropoutNd)  # noqa: SLF001
        if is_random or type(module).__name__ in STOCHASTIC_DEPTHS:
            module.eval()
    try:
        yield
    finally:
        model.eval()
        for attention, rate in zip(attentions, rates, strict=True):
            attention.dropout = rate


def _rule(optimizer: str, group: dict[str, Any]) -> Rule | None:
    """The formula of one of PyTorch's optimizers."""
    decay = {"decay": group.get("weight_decay", 0.0), "framework": "torch"}
    match optimizer:
        case "SGD":
            kept = {key: group[key] for key in ("momentum", "dampening", "nesterov")}
            return Rule(formula="sgd", **kept, **decay)
        case "Adam" | "AdamW":
            return Rule(
                formula="adam",
                betas=group["betas"],
                epsilon=group["eps"],
                amsgrad=group["amsgrad"],
                decoupled=bool(group.get("decoupled_weight_decay", optimizer == "AdamW")),
                **decay,
            )
        case "RMSprop":
            kept = {"rho": group["alpha"], "epsilon": group["eps"]}
            kept |= {key: group[key] for key in ("momentum", "centered")}
            return Rule(formula="rmsprop", **kept, **decay)
        case "Adagrad" if not group["lr_decay"]:
            first = float(np.float32(group["initial_accumulator_value"]))
            start = {"start": first, "epsilon": group["eps"]}
            return Rule(formula="adagrad", **start, **decay)
        case _:
            return None
