"""The Recipe's optimizers as keras.Optimizer subclasses, since Keras's own formulas differ.

Keras keeps the learning rate inside SGD's velocity, adds Adam's epsilon before the bias
correction, and decays weights decoupled from the gradient, biases too. These follow the formulas
in Recipe. This module imports only Keras.
"""

from collections.abc import Mapping
from typing import Any

import keras
from keras import KerasTensor, Variable, ops

from alexnet_impl.recipe.recipe import (
    MOMENTUM_OPTIMIZERS,
    NEWTON_SCHULZ,
    NEWTON_SCHULZ_STEPS,
    Recipe,
)
from alexnet_impl.weights.canonical import inner_kernels


class Optimizer(keras.optimizers.Optimizer):
    """Weight decay and clipping as the Recipe defines them; subclasses add the formula."""

    def __init__(
        self,
        learning_rate: float,
        *,
        l2: float = 0.0,
        decay_biases: bool = True,
        clip: float | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, name=name or type(self).__name__)
        self.l2, self.decay_biases, self.clip = l2, decay_biases, clip
        self.rate_factors: dict[str, float] = {}
        """Learning-rate factor by a variable's path; 1 for all others."""

    slot_names: tuple[str, ...] = ()
    """Optimizer state of a weight, by the names in a run's state."""

    def build(self, variables: list[Variable]) -> None:
        """Creates the slots."""
        if self.built:
            return
        super().build(variables)
        self.slots = {
            name: self.add_optimizer_variables(variables, name) for name in self.slot_names
        }

    def slot(self, name: str, variable: Variable) -> Variable:
        """Returns a weight's slot of this name."""
        kept: Variable = self.slots[name][self._get_variable_index(variable)]
        return kept

    def apply(
        self, grads: list[KerasTensor], trainable_variables: list[Variable] | None = None
    ) -> None:
        """Clips by the global norm, then updates every weight by a gradient of its shape."""
        if self.clip is not None:
            norm = ops.sqrt(sum(ops.sum(ops.square(gradient)) for gradient in grads))
            factor = ops.minimum(1.0, self.clip / (norm + 1e-6))
            grads = [gradient * factor for gradient in grads]
        super().apply(grads, trainable_variables)

    def rate_of(self, variable: Variable, learning_rate: KerasTensor) -> KerasTensor:
        """Returns a variable's own learning rate, a scalar of its type."""
        rate = ops.cast(learning_rate, variable.dtype)
        if not self.rate_factors:
            return rate
        own = self._trainable_variables[self._get_variable_index(variable)]
        return rate * self.rate_factors.get(own.path, 1.0)

    decoupled: bool
    """Whether weight decay shrinks the weight itself instead of adding to the gradient."""

    def with_decay(
        self, gradient: KerasTensor, variable: Variable, rate: KerasTensor
    ) -> KerasTensor:
        """Adds L2 decay to the gradient, which keeps its shape, or decays the weight itself."""
        if self.l2 == 0 or (len(variable.shape) == 1 and not self.decay_biases):
            return gradient
        if not self.decoupled:
            return gradient + self.l2 * variable
        self.assign_sub(variable, rate * self.l2 * variable)
        return gradient

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            "learning_rate": float(ops.convert_to_numpy(self.learning_rate)),
            "l2": self.l2,
            "decay_biases": self.decay_biases,
            "clip": self.clip,
            "name": self.name,
        }


@keras.saving.register_keras_serializable(package="alexnet_impl")
class SGD(Optimizer):
    """SGD: b = momentum * b + g; w -= learning_rate * b, or * (g + momentum * b) with Nesterov.

    Args:
        rate_inside: Whether b = momentum * b + learning_rate * g; w -= b.
        decoupled: Whether w -= learning_rate * l2 * w instead of g += l2 * w.
    """

    def __init__(
        self,
        learning_rate: float = 0.01,
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        rate_inside: bool = False,
        decoupled: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, **kwargs)
        self.momentum, self.nesterov = momentum, nesterov
        self.rate_inside, self.decoupled = rate_inside, decoupled
        self.slot_names = ("momentum",) if momentum else ()

    def update_step(
        self, gradient: KerasTensor, variable: Variable, learning_rate: KerasTensor
    ) -> None:
        """Updates one weight; the gradient has its shape and the learning rate is a scalar."""
        rate = self.rate_of(variable, learning_rate)
        step = self.with_decay(ops.cast(gradient, variable.dtype), variable, rate)
        if self.rate_inside:
            step = rate * step
        if self.momentum:
            buffer = self.slot("momentum", variable)
            self.assign(buffer, self.momentum * buffer + step)
            step = step + self.momentum * buffer if self.nesterov else buffer
        self.assign_sub(variable, step if self.rate_inside else rate * step)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        names = ("momentum", "nesterov", "rate_inside", "decoupled")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable(package="alexnet_impl")
class Muon(SGD):
    """SGD with orthogonalised updates of convolutions after the first: see Recipe.optimizer.

    Args:
        scale: Learning-rate multiplier of the orthogonalised updates.
        orthogonal_dtype: Type of their products; None for the weight's own.
    """

    def __init__(
        self,
        learning_rate: float = 0.01,
        *,
        scale: float = 1.0,
        orthogonal_dtype: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, **kwargs)
        self.scale, self.orthogonal_dtype = scale, orthogonal_dtype

    def build(self, variables: list[Variable]) -> None:
        """Creates the slots, and finds the kernels."""
        super().build(variables)
        self.kernels = inner_kernels({v.path: len(v.shape) for v in variables})

    def update_step(
        self, gradient: KerasTensor, variable: Variable, learning_rate: KerasTensor
    ) -> None:
        """Updates one weight; the gradient has its shape and the learning rate is a scalar."""
        own = self._trainable_variables[self._get_variable_index(variable)]
        if own.path not in self.kernels:
            super().update_step(gradient, variable, learning_rate)
            return
        step = ops.cast(gradient, variable.dtype)
        if self.momentum:
            buffer = self.slot("momentum", variable)
            self.assign(buffer, self.momentum * buffer + step)
            step = step + self.momentum * buffer if self.nesterov else ops.convert_to_tensor(buffer)
        # (height, width, in_channels, out_channels): the transposed matrix, its rows in another
        # order, which gives the transposed step in that order.
        matrix = ops.reshape(step, (-1, step.shape[-1]))
        rows, columns = matrix.shape[1], matrix.shape[0]
        moved = orthogonal_step(ops.cast(matrix, self.orthogonal_dtype or variable.dtype))
        rate = self.rate_of(variable, learning_rate) * self.scale * max(1, rows / columns) ** 0.5
        moved = ops.reshape(ops.cast(moved, variable.dtype), step.shape)
        self.assign_sub(variable, rate * moved)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        own = {"scale": self.scale, "orthogonal_dtype": self.orthogonal_dtype}
        return {**super().get_config(), **own}


def orthogonal_step(matrix: KerasTensor) -> KerasTensor:
    """Moves all singular values of a matrix (rows, columns) towards 1; the shape is kept."""
    a, b, c = NEWTON_SCHULZ
    tall = matrix.shape[0] > matrix.shape[1]
    x = ops.transpose(matrix) if tall else matrix
    x = x / (ops.sqrt(ops.sum(ops.square(x))) + 1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = ops.matmul(x, ops.transpose(x))
        x = a * x + ops.matmul(b * gram + c * ops.matmul(gram, gram), x)
    return ops.transpose(x) if tall else x


@keras.saving.register_keras_serializable(package="alexnet_impl")
class Adam(Optimizer):
    """Adam with epsilon added to the root of the bias-corrected second moment.

    Args:
        epsilon_uncorrected: Whether to add it before the correction, as keras.optimizers.Adam does.
        decoupled: Whether AdamW: w -= learning_rate * l2 * w instead of g += l2 * w.
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        epsilon_uncorrected: bool = False,
        decoupled: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, **kwargs)
        self.betas, self.epsilon, self.decoupled = tuple(betas), epsilon, decoupled
        self.epsilon_uncorrected = epsilon_uncorrected
        self.slot_names = ("first", "second")

    def update_step(
        self, gradient: KerasTensor, variable: Variable, learning_rate: KerasTensor
    ) -> None:
        """Updates one weight; the gradient has its shape and the learning rate is a scalar."""
        rate = self.rate_of(variable, learning_rate)
        gradient = self.with_decay(ops.cast(gradient, variable.dtype), variable, rate)
        beta1, beta2 = self.betas
        first, second = self.slot("first", variable), self.slot("second", variable)
        self.assign(first, beta1 * first + (1 - beta1) * gradient)
        self.assign(second, beta2 * second + (1 - beta2) * ops.square(gradient))
        correction1, correction2 = (self.correction(beta, variable) for beta in self.betas)
        epsilon = self.epsilon
        if self.epsilon_uncorrected:
            epsilon = epsilon / ops.sqrt(correction2)
        root = ops.sqrt(second) / ops.sqrt(correction2) + epsilon
        self.assign_sub(variable, rate / correction1 * first / root)

    def correction(self, beta: float, variable: Variable) -> KerasTensor:
        """Computes the scalar 1 - beta**t in float64: float32 is off by 1e-4 at the first step."""
        step = ops.cast(self.iterations + 1, "float64")
        # ops.cast(beta, "float64") would round beta through float32 first.
        exact = ops.convert_to_tensor(beta, dtype="float64")
        return ops.cast(1 - ops.power(exact, step), variable.dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        names = ("betas", "epsilon", "epsilon_uncorrected", "decoupled")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


CLASSES: dict[str, type[Any]] = {"sgd": SGD, "sgdw": SGD, "muon": Muon, "adam": Adam, "adamw": Adam}


def make_optimizer(recipe: Recipe, classes: Mapping[str, type[Any]] = CLASSES) -> Optimizer:
    """Makes the Recipe's optimizer; the trainer sets the rate at each step.

    Args:
        recipe: The formula and its numbers.
        classes: Optimizer class by Recipe.optimizer.
    """
    numbers: dict[str, Any] = {
        "l2": recipe.weight_decay,
        "decay_biases": recipe.weight_decay_on == "all",
        "clip": recipe.clip_norm,
        "decoupled": recipe.optimizer in ("sgdw", "adamw"),
    }
    if recipe.optimizer in MOMENTUM_OPTIMIZERS:
        numbers |= {
            "momentum": recipe.momentum,
            "nesterov": recipe.nesterov,
            "rate_inside": recipe.momentum_formula == "keras",
        }
    else:
        numbers |= {
            "betas": (recipe.beta1, recipe.beta2),
            "epsilon": recipe.epsilon,
            "epsilon_uncorrected": recipe.epsilon_formula == "keras",
        }
    if recipe.optimizer == "muon":
        half = recipe.precision == "bfloat16"
        numbers |= {"scale": recipe.muon_scale, "orthogonal_dtype": "bfloat16" if half else None}
    made: Optimizer = classes[recipe.optimizer](recipe.learning_rate, **numbers)
    return made
