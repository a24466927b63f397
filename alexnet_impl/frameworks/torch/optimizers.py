"""A Recipe's optimiser: torch.optim's if its formula is the Recipe's, otherwise one from here."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from alexnet_impl.recipe.recipe import NEWTON_SCHULZ, NEWTON_SCHULZ_STEPS, Recipe
from alexnet_impl.weights.canonical import inner_kernels


def make_optimizer(
    model: nn.Module,
    recipe: Recipe,
    device: torch.device,
    rate_factors: Mapping[str, float] | None = None,
) -> torch.optim.Optimizer:
    """Makes the Recipe's optimiser over the weights that learn; the trainer sets rates each step.

    Args:
        model: The network; its weights without gradients are left out.
        recipe: The formula and its numbers.
        device: The device of the weights.
        rate_factors: Learning-rate factor by layer; each group keeps its own as `rate_factor`.
    """
    groups = _parameter_groups(model, recipe, rate_factors or {})
    fused = recipe.fused_update and device.type in ("cpu", "cuda")
    match recipe.optimizer:
        case "sgd" | "sgdw" | "muon":
            return _make_sgd(model, recipe, groups, fused=fused)
        case "adam" | "adamw" if recipe.epsilon_formula == "keras":
            return KerasAdam(groups, recipe)
        case "adam":
            kind: Any = torch.optim.Adam
        case "adamw":
            kind = torch.optim.AdamW
    betas = (recipe.beta1, recipe.beta2)
    made: torch.optim.Optimizer = kind(
        groups, lr=recipe.learning_rate, betas=betas, eps=recipe.epsilon, fused=fused or None
    )
    return made


def _make_sgd(
    model: nn.Module, recipe: Recipe, groups: list[dict[str, Any]], *, fused: bool
) -> torch.optim.Optimizer:
    sgd: torch.optim.Optimizer
    if recipe.optimizer == "sgdw" or recipe.momentum_formula == "keras":
        sgd = OtherSGD(groups, recipe)
    else:
        # Fused SGD would unscale float16's gradients itself, after muon has used them.
        muon = recipe.optimizer == "muon"
        fused = fused and not (muon and recipe.precision == "float16")
        sgd = (partial(Muon, model, recipe) if muon else torch.optim.SGD)(
            groups,
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            fused=fused or None,
        )
    # Fused SGD leaves a buffer uninitialised if the loss scaler skips the first step.
    for parameter in learning(model).values() if recipe.momentum else ():
        sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return sgd


class Muon(torch.optim.SGD):
    """SGD with orthogonalised updates of convolutions after the first: see Recipe.optimizer."""

    def __init__(
        self, model: nn.Module, recipe: Recipe, groups: list[dict[str, Any]], **numbers: Any
    ) -> None:
        super().__init__(groups, **numbers)
        weights = learning(model)
        names = inner_kernels({name: weight.ndim for name, weight in weights.items()})
        self.kernels = [weights[name] for name in names]
        self.groups = {id(p): group for group in self.param_groups for p in group["params"]}
        self.recipe = recipe
        self.dtype = torch.bfloat16 if recipe.precision == "bfloat16" else None

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Updates the kernels, then all other weights by SGD."""
        _refuse(closure)
        gradients = [kernel.grad for kernel in self.kernels]
        for kernel, gradient in zip(self.kernels, gradients, strict=True):
            if gradient is not None:
                self._update_kernel(kernel, gradient, self.groups[id(kernel)]["lr"])
            kernel.grad = None
        super().step()
        for kernel, gradient in zip(self.kernels, gradients, strict=True):
            kernel.grad = gradient

    def _update_kernel(self, kernel: Tensor, gradient: Tensor, rate: float) -> None:
        step = gradient
        if self.recipe.momentum:
            buffer = self.state[kernel]["momentum_buffer"]
            buffer.mul_(self.recipe.momentum).add_(gradient)
            ahead = self.recipe.nesterov
            step = gradient.add(buffer, alpha=self.recipe.momentum) if ahead else buffer
        matrix = step.reshape(len(step), -1)
        rows, columns = matrix.shape
        moved = orthogonal_step(matrix.to(self.dtype or matrix.dtype)).to(kernel.dtype)
        scale = self.recipe.muon_scale * max(1, rows / columns) ** 0.5
        kernel.sub_(moved.view_as(step), alpha=rate * scale)


def _refuse(closure: object) -> None:
    if closure is not None:
        raise TypeError("this optimizer takes no closure.")


def orthogonal_step(matrix: Tensor) -> Tensor:
    """Moves all singular values of a matrix (rows, columns) towards 1; the shape is kept."""
    a, b, c = NEWTON_SCHULZ
    tall = len(matrix) > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    found: Tensor = x.T if tall else x
    return found


class _Rule(torch.optim.Optimizer, ABC):
    """An update formula that torch.optim lacks, applied to one weight at a time."""

    def __init__(self, groups: list[dict[str, Any]], recipe: Recipe) -> None:
        super().__init__(groups, {"lr": recipe.learning_rate})
        self.recipe = recipe
        self.decoupled = recipe.optimizer.endswith("w")

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Updates every weight that has a gradient."""
        _refuse(closure)
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._decay_and_update(weight, group["lr"], group["weight_decay"])

    def _decay_and_update(self, weight: Tensor, rate: float, decay: float) -> None:
        gradient: Any = weight.grad
        if decay and self.decoupled:
            weight.mul_(1 - rate * decay)
        elif decay:
            gradient = gradient + decay * weight
        self.update(weight, gradient, rate)

    @abstractmethod
    def update(self, weight: Tensor, gradient: Any, rate: float) -> None:
        """Applies the formula to one weight; its gradient has the same shape."""


class OtherSGD(_Rule):
    """SGD with decoupled decay, or with the rate inside the momentum buffer, as in Keras."""

    def update(self, weight: Tensor, gradient: Any, rate: float) -> None:
        """Applies Recipe.momentum_formula to a weight and its gradient of the same shape."""
        recipe = self.recipe
        inside = recipe.momentum_formula == "keras"
        step = rate * gradient if inside else gradient
        if recipe.momentum:
            buffer = self.state[weight]["momentum_buffer"]
            buffer.mul_(recipe.momentum).add_(step)
            step = step + recipe.momentum * buffer if recipe.nesterov else buffer
        weight.sub_(step if inside else rate * step)


class KerasAdam(_Rule):
    """Adam and AdamW with Keras's place of epsilon."""

    def update(self, weight: Tensor, gradient: Any, rate: float) -> None:
        """Applies Recipe.epsilon_formula to a weight and its gradient of the same shape."""
        recipe, state = self.recipe, self.state[weight]
        if "step" not in state:
            state["step"] = torch.zeros((), dtype=torch.float32)
            state["exp_avg"], state["exp_avg_sq"] = (torch.zeros_like(weight) for _ in range(2))
        state["step"] += 1
        step = float(state["step"])
        state["exp_avg"].lerp_(gradient, 1 - recipe.beta1)
        state["exp_avg_sq"].mul_(recipe.beta2).addcmul_(gradient, gradient, value=1 - recipe.beta2)
        rate *= (1 - recipe.beta2**step) ** 0.5 / (1 - recipe.beta1**step)
        weight.addcdiv_(state["exp_avg"], state["exp_avg_sq"].sqrt() + recipe.epsilon, value=-rate)


def learning(model: nn.Module) -> dict[str, nn.Parameter]:
    """Returns the weights that learn, by name, in their own shapes."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def _parameter_groups(
    model: nn.Module, recipe: Recipe, rate_factors: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Returns one parameter group for each combination of weight decay and rate factor."""
    biases_decay = recipe.weight_decay_on == "all"
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for name, weight in learning(model).items():
        decays = weight.ndim > 1 or biases_decay
        factor = rate_factors.get(name.partition(".")[0], 1.0)
        groups.setdefault((decays, factor), []).append(weight)
    return [
        {
            "params": weights,
            "weight_decay": recipe.weight_decay if decays else 0.0,
            "rate_factor": factor,
        }
        for (decays, factor), weights in groups.items()
    ]
