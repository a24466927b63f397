"""The optimizers of PyTorch and of Keras in NumPy, with the numbers that each declares."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from alexnet_impl.frameworks.user_training import Formula, Rule
from alexnet_impl.weights.canonical import Array, Weights


@dataclass(slots=True)
class Optimizer:
    """An optimizer in NumPy, in float64: the formulas of PyTorch and of Keras."""

    rule: Rule
    steps: int = 0
    moments: dict[str, Array] = field(default_factory=dict)

    def update(self, weights: Weights, gradients: Weights, rate: float) -> Weights:
        """The trained weights after a step.

        Args:
            weights: Weights before it, of any shape.
            gradients: Gradient of each trained weight, of its shape.
            rate: Learning rate.
        """
        rule = self.rule
        self.steps += 1
        with np.errstate(all="ignore"):
            clipped = clip_gradients(rule, gradients)
            found = {}
            for name, gradient in clipped.items():
                weight = weights[name].astype(np.float64)
                if rule.decay and rule.decoupled:
                    weight = weight * (1 - rate * rule.decay)
                elif rule.decay:
                    gradient = gradient + rule.decay * weight  # noqa: PLW2901
                found[name] = weight - UPDATES[rule.formula](self, name, gradient, rate)
            return found

    def _moment(self, kind: str, name: str, gradient: Array, start: float = 0.0) -> Array:
        return self.moments.get(f"{kind} {name}", np.full_like(gradient, start))

    def _sgd(self, name: str, gradient: Array, rate: float) -> Array:
        rule = self.rule
        if not rule.momentum:
            return rate * gradient
        known = self.moments.get(f"momentum {name}")
        if rule.framework == "torch":
            kept = gradient if known is None else (1 - rule.dampening) * gradient
            kept = kept if known is None else rule.momentum * known + kept
            self.moments[f"momentum {name}"] = kept
            return rate * (gradient + rule.momentum * kept if rule.nesterov else kept)
        kept = rate * gradient if known is None else rule.momentum * known + rate * gradient
        self.moments[f"momentum {name}"] = kept
        return rule.momentum * kept + rate * gradient if rule.nesterov else kept

    def _adam(self, name: str, gradient: Array, rate: float) -> Array:
        rule = self.rule
        first, second = rule.betas
        mean = self._moment("mean", name, gradient)
        square = self._moment("square", name, gradient)
        mean = mean + (gradient - mean) * (1 - first)
        square = square + (gradient**2 - square) * (1 - second)
        self.moments |= {f"mean {name}": mean, f"square {name}": square}
        if rule.amsgrad:
            square = np.maximum(self._moment("largest", name, gradient), square)
            self.moments[f"largest {name}"] = square
        step: Array
        if rule.framework == "torch":
            corrected = np.sqrt(square) / np.sqrt(1 - second**self.steps) + rule.epsilon
            step = rate / (1 - first**self.steps) * mean / corrected
            return step
        # Keras takes the powers of what float32 leaves of its betas.
        powers = [float(np.float32(beta)) ** self.steps for beta in rule.betas]
        rate *= float(np.sqrt(1 - powers[1]) / (1 - powers[0]))
        step = rate * mean / (np.sqrt(square) + rule.epsilon)
        return step

    def _rmsprop(self, name: str, gradient: Array, rate: float) -> Array:
        rule = self.rule
        square = self._moment("square", name, gradient)
        square = rule.rho * square + (1 - rule.rho) * gradient**2
        self.moments[f"square {name}"] = variance = square
        if rule.centered:
            mean = self._moment("mean", name, gradient)
            mean = rule.rho * mean + (1 - rule.rho) * gradient
            self.moments[f"mean {name}"] = mean
            variance = square - mean**2
        step = gradient / self._root(variance)
        if not rule.momentum:
            return rate * step
        grown = step if rule.framework == "torch" else rate * step
        kept = rule.momentum * self._moment("momentum", name, gradient) + grown
        self.moments[f"momentum {name}"] = kept
        return rate * kept if rule.framework == "torch" else kept

    def _adagrad(self, name: str, gradient: Array, rate: float) -> Array:
        total = self._moment("square", name, gradient, self.rule.start) + gradient**2
        self.moments[f"square {name}"] = total
        return rate * gradient / self._root(total)

    def _root(self, square: Array) -> Array:
        """The root of values of any shape: Keras adds epsilon under it, PyTorch behind it."""
        inside, outside = (0.0, self.rule.epsilon)[:: 1 if self.rule.framework == "torch" else -1]
        root: Array = np.sqrt(square + inside) + outside
        return root


UPDATES: dict[Formula, Callable[[Optimizer, str, Array, float], Array]] = {
    "sgd": Optimizer._sgd,  # noqa: SLF001 - its own table
    "adam": Optimizer._adam,  # noqa: SLF001
    "rmsprop": Optimizer._rmsprop,  # noqa: SLF001
    "adagrad": Optimizer._adagrad,  # noqa: SLF001
}
"""What each formula subtracts from a weight."""


TORCH_NORM = 1e-6
"""What clip_grad_norm_ adds to the norm of the gradients."""


def clip_gradients(rule: Rule, gradients: Weights) -> Weights:
    """Gradients of any shapes after the clipping that a rule declares."""
    found = {name: gradient.astype(np.float64) for name, gradient in gradients.items()}
    if rule.clip_value:
        limit = rule.clip_value
        found = {name: np.clip(gradient, -limit, limit) for name, gradient in found.items()}
    if rule.clip_norm:
        found = {name: _limited(gradient, rule.clip_norm) for name, gradient in found.items()}
    if rule.clip_all:
        norm = np.sqrt(sum(float((gradient**2).sum()) for gradient in found.values()))
        norm += TORCH_NORM if rule.framework == "torch" else 1e-30
        share = min(1.0, rule.clip_all / norm)
        found = {name: share * gradient for name, gradient in found.items()}
    return found


def _limited(gradient: Array, limit: float) -> Array:
    return gradient * min(1.0, limit / max(float(np.linalg.norm(gradient)), 1e-30))
