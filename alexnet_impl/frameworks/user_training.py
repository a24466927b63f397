"""A user's own training step: its loss, its optimizer's numbers, and what a step yields."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from alexnet_impl.weights.canonical import Array, Weights

Training = str | Callable[..., Any]
"""'module:function' of a function that takes `model` and returns its loss and optimizer, or it."""
Formula = Literal["sgd", "adam", "rmsprop", "adagrad"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """An optimizer's formula and its numbers.

    Attributes:
        formula: The family.
        framework: The framework whose form it has: where epsilon stands, for example.
        momentum: Of SGD and RMSprop.
        dampening: Share of the gradient that SGD's momentum leaves out.
        nesterov: Whether SGD's momentum is Nesterov's.
        betas: Adam's two decay rates.
        rho: RMSprop's decay rate.
        epsilon: What a root is protected from zero by.
        centered: Whether RMSprop subtracts the square of the mean gradient.
        amsgrad: Whether Adam keeps the largest second moment.
        start: First value of Adagrad's sums.
        decay: Weight decay.
        decoupled: Whether the decay shrinks the weights; otherwise it is added to the gradient.
        clip_norm: Largest norm of each gradient; 0 for no limit.
        clip_all: Largest norm of all gradients together; 0 for no limit.
        clip_value: Largest value in a gradient; 0 for no limit.
    """

    formula: Formula
    framework: str
    momentum: float = 0.0
    dampening: float = 0.0
    nesterov: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    rho: float = 0.9
    epsilon: float = 1e-8
    centered: bool = False
    amsgrad: bool = False
    start: float = 0.0
    decay: float = 0.0
    decoupled: bool = False
    clip_norm: float = 0.0
    clip_all: float = 0.0
    clip_value: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "betas", tuple(self.betas))  # JSON makes lists of tuples


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFacts:
    """Loss and optimizer of a user's training step.

    Attributes:
        loss: The loss in words, such as 'CrossEntropyLoss'.
        optimizer: The optimizer's class.
        rule: Its formula; None if it is none that is known.
    """

    loss: str
    optimizer: str
    rule: Rule | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStep:
    """One training step.

    Attributes:
        loss: The loss before the update.
        rate: The learning rate of the update.
        output: The model's output (batch, ...) in training mode.
        gradients: Gradient of each trained weight before any clipping, of the weight's shape.
    """

    loss: float
    rate: float
    output: Array
    gradients: Weights
