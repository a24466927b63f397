"""A Recipe's optimiser as one of torch.optim's, whose formulas are the Recipe's own."""

import torch
from torch import nn

from alexnet_impl.recipe import Recipe


def make_optimizer(model: nn.Module, recipe: Recipe, device: torch.device) -> torch.optim.Optimizer:
    """The Recipe's optimiser over all of the model's weights; the rate is set at each step."""
    groups = _parameter_groups(model, recipe)
    fused = device.type in ("cpu", "cuda")
    if recipe.optimizer == "sgd":
        sgd = torch.optim.SGD(
            groups,
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            fused=fused,
        )
        # Fused SGD leaves a buffer as it lies in memory if the loss scaler skips the first step.
        for parameter in model.parameters() if recipe.momentum else ():
            sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return sgd
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    betas = (recipe.beta1, recipe.beta2)
    return kind(groups, lr=recipe.learning_rate, betas=betas, eps=recipe.epsilon, fused=fused)


def _parameter_groups(model: nn.Module, recipe: Recipe) -> list[dict[str, object]]:
    """Two groups: what decays, and the biases where they do not."""
    biases_decay = recipe.weight_decay_on == "all"
    decaying = [p for p in model.parameters() if p.ndim > 1 or biases_decay]
    others = [p for p in model.parameters() if p.ndim == 1 and not biases_decay]
    groups: list[dict[str, object]] = [{"params": decaying, "weight_decay": recipe.weight_decay}]
    if others:
        groups.append({"params": others, "weight_decay": 0.0})
    return groups
