"""Checks of the training of a user's two models: loss, gradients, and a few descent steps."""

from dataclasses import replace

import numpy as np

from alexnet_impl.parity.record import Cause, CheckResult, Series
from alexnet_impl.ports.hypotheses import worst_of
from alexnet_impl.ports.pairing import ROWS
from alexnet_impl.ports.session import IMAGES, PairSession
from alexnet_impl.weights.canonical import Array, Weights

STEPS = 3
STEP_SIZE = 0.02
"""Fraction by which a step lowers a linear loss: large enough to be seen, and small enough that
rounding does not grow as in a loss that explodes."""


def _batch(session: PairSession) -> tuple[Array, Array]:
    """Images of unit scale (batch, height, width, channels), and labels (batch,).

    The first value of a map is its first pixel's in both layouts.
    """
    output = session.values[0]["output"]
    num_classes = output.shape[-1] if output.ndim == ROWS else 1
    return session.images[:IMAGES], np.arange(IMAGES, dtype=np.int64) % num_classes


def compare_gradients(session: PairSession) -> tuple[CheckResult, CheckResult]:
    """Compare the loss of one batch and its gradients: two checks."""
    images, labels = _batch(session)
    (loss, ours), (other, theirs) = session.each(lambda side: side.gradients(images, labels))
    first = session.judge("loss", abs(loss - other) / max(abs(loss), 1e-30))
    said = f"softmax cross-entropy {loss:.4f} and {other:.4f}; {first.reason}"
    missing = [name for name in {**ours, **theirs} if name not in ours or name not in theirs]
    distances = gradient_distances(ours, theirs) | dict.fromkeys(missing, float("inf"))
    worst, measured = worst_of(distances)
    second = session.judge("gradients", measured, where=worst)
    causes = tuple(missing_cause(name, ours) for name in missing)
    return replace(first, reason=said), replace(second, causes=causes)


def gradient_distances(ours: Weights, theirs: Weights) -> dict[str, float]:
    """L2 distance of each gradient, of any shape, relative to its norm.

    A gradient that is zero but for rounding, as of a bias before a normalisation, counts relative
    to a thousandth of its layer's largest one, or to a millionth of the largest of all.
    """
    norms = {name: float(np.linalg.norm(gradient)) for name, gradient in ours.items()}
    floor = 1e-6 * max((norm for norm in norms.values() if np.isfinite(norm)), default=0.0)
    layers: dict[str, float] = {}
    for name, norm in norms.items():
        layer = name.rpartition(".")[0]
        layers[layer] = max(layers.get(layer, 0.0), 1e-3 * norm if np.isfinite(norm) else 0.0)
    return {
        name: float(np.linalg.norm(gradient - theirs[name]))
        / max(norms[name], layers[name.rpartition(".")[0]], floor, 1e-30)
        for name, gradient in ours.items()
        if name in theirs and theirs[name].shape == gradient.shape
    }


def missing_cause(name: str, ours: Weights) -> Cause:
    """The cause of a gradient (of any shape) that only one model has; `ours` are PyTorch's."""
    side = "tensorflow" if name in ours else "torch"
    remedy = "set trainable=True" if side == "tensorflow" else "set requires_grad=True"
    return Cause(side=side, what=f"{name} were frozen, or not part of the loss", remedy=remedy)


def compare_steps(session: PairSession, series: list[Series]) -> CheckResult:
    """Compare a few steps of gradient descent; the losses are added to the series."""
    images, labels = _batch(session)
    loss, gradients = session.sides["torch"].gradients(images, labels)
    square = sum(float((array.astype(np.float64) ** 2).sum()) for array in gradients.values())
    rate = STEP_SIZE * loss / max(square, 1e-30)
    ours, theirs = session.each(
        lambda side: side.model.descend(images, labels, learning_rate=rate, steps=STEPS)
    )
    losses = {"torch": ours, "tensorflow": theirs}
    series.append(Series(name=f"descent {session.precision}", losses=losses, controls={}))
    distances = [abs(a - b) / max(abs(ours[0]), 1e-30) for a, b in zip(ours, theirs, strict=True)]
    where = f"step {int(np.argmax(distances))}"
    check = session.judge("update", float(np.max(distances)), where=where, name="steps")
    said = f"{STEPS} steps at learning rate {rate:.2g}, losses {ours[0]:.4f} to {ours[-1]:.4f}"
    return replace(check, reason=f"{said}; {check.reason}")
