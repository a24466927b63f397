"""Optimizer updates as fused TensorFlow kernels: one pass over a weight's memory.

Without them every product and sum of a formula reads and writes all weights once. Only TensorFlow
has these kernels; other backends use Keras operations.
"""

from typing import Any

import tensorflow as tf
from keras import Variable

from alexnet_impl.frameworks.tensorflow.optimizers import (
    CLASSES,
    SGD,
    Adam,
    Muon,
    Optimizer,
    make_optimizer,
)
from alexnet_impl.recipe.recipe import Recipe


class FusedSGD(SGD):
    """SGD with the rate outside the momentum buffer, updated by ApplyMomentum."""

    def update_step(
        self, gradient: tf.Tensor, variable: Variable, learning_rate: tf.Tensor
    ) -> None:
        """Updates one weight; the gradient has its shape and the learning rate is a scalar."""
        rate = self.rate_of(variable, learning_rate)
        gradient = self.with_decay(tf.cast(gradient, variable.dtype), variable, rate)
        weight = _handle(variable)
        if not self.momentum:
            tf.raw_ops.ResourceApplyGradientDescent(var=weight, alpha=rate, delta=gradient)
            return
        tf.raw_ops.ResourceApplyMomentum(
            var=weight,
            accum=_handle(self.slot("momentum", variable)),
            lr=rate,
            grad=gradient,
            momentum=tf.constant(self.momentum, variable.dtype),
            use_nesterov=self.nesterov,
        )


class FusedMuon(Muon, FusedSGD):
    """Muon that updates all other weights by ApplyMomentum."""


class FusedAdam(Adam):
    """Adam and AdamW, updated by ApplyAdam."""

    def update_step(
        self, gradient: tf.Tensor, variable: Variable, learning_rate: tf.Tensor
    ) -> None:
        """Updates one weight; the gradient has its shape and the learning rate is a scalar.

        The kernel subtracts the betas and their powers from 1 in the weights' type and adds epsilon
        to the root before its correction. So it receives powers of 0, and both corrections are
        computed here, from the betas as it rounds them.
        """
        dtype = variable.dtype
        kind = tf.as_dtype(dtype).as_numpy_dtype
        rate = self.rate_of(variable, learning_rate)
        gradient = self.with_decay(tf.cast(gradient, dtype), variable, rate)
        rounded = (float(kind(beta)) for beta in self.betas)
        correction1, correction2 = (self.correction(beta, variable) for beta in rounded)
        root = tf.sqrt(correction2)
        epsilon = tf.constant(self.epsilon, dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=_handle(variable),
            m=_handle(self.slot("first", variable)),
            v=_handle(self.slot("second", variable)),
            beta1_power=tf.zeros((), dtype),
            beta2_power=tf.zeros((), dtype),
            lr=rate * root / correction1,
            beta1=tf.constant(self.betas[0], dtype),
            beta2=tf.constant(self.betas[1], dtype),
            epsilon=epsilon if self.epsilon_uncorrected else epsilon * root,
            grad=gradient,
        )


FUSED: dict[str, type[Any]] = {
    "sgd": FusedSGD,
    "sgdw": FusedSGD,
    "muon": FusedMuon,
    "adam": FusedAdam,
    "adamw": FusedAdam,
}


def make_fused_optimizer(recipe: Recipe) -> Optimizer:
    """Makes the Recipe's optimizer of fused kernels, or of operations if none has its formula."""
    rate_inside = recipe.optimizer in ("sgd", "sgdw") and recipe.momentum_formula == "keras"
    return make_optimizer(recipe, CLASSES if rate_inside else FUSED)


def _handle(variable: Variable | tf.Variable) -> tf.Tensor:
    """Returns the resource handle of a variable, which may be Keras's or TensorFlow's."""
    return (variable.value if isinstance(variable, Variable) else variable).handle
