"""The checks that compare training: the loss, its gradients, and a few plain steps downhill."""

import numpy as np

from alexnet_impl.parity.record import Cause, CheckResult, Series
from alexnet_impl.parity.tolerances import TOLERANCES
from alexnet_impl.ports.hypotheses import worst_of
from alexnet_impl.ports.session import IMAGES, PairSession
from alexnet_impl.weights.canonical import Array, Weights

STEPS = 3
STEP_SIZE = 0.02
"""By which share a step lowers the loss at first, if it were linear: large enough to be seen, and
small enough that rounding does not grow as in a loss that explodes."""


def _batch(session: PairSession) -> tuple[Array, Array]:
    """Images of unit scale, and labels for them."""
    num_classes = session.values[0]["output"].shape[-1]
    return session.images[:IMAGES], np.arange(IMAGES, dtype=np.int64) % num_classes


def compare_gradients(session: PairSession) -> list[CheckResult]:
    """The loss of one batch and its gradients, a check each."""
    images, labels = _batch(session)
    found = session.each(lambda side: side.gradients(images, labels))
    (loss, ours), (other, theirs) = found
    bound = TOLERANCES["loss", session.precision]
    checks = [
        CheckResult(
            name="loss",
            precision=session.precision,
            measured=abs(loss - other) / max(abs(loss), 1e-30),
            tolerance=bound.bound,
            reason=f"softmax cross-entropy {loss:.4f} and {other:.4f}; {bound.reason}",
        )
    ]
    missing = [name for name in {**ours, **theirs} if name not in ours or name not in theirs]
    distances = _gradient_distances(ours, theirs)
    distances |= dict.fromkeys(missing, float("inf"))
    worst, measured = worst_of(distances)
    bound = TOLERANCES["gradients", session.precision]
    checks.append(
        CheckResult(
            name="gradients",
            precision=session.precision,
            measured=measured,
            tolerance=bound.bound,
            reason=bound.reason,
            where="" if measured <= bound.bound else worst,
            causes=tuple(_missing_cause(name, ours) for name in missing),
        )
    )
    return checks


def _gradient_distances(ours: Weights, theirs: Weights) -> dict[str, float]:
    """L2 distance of each gradient relative to its norm, or to a millionth of the largest one."""
    norms = {name: float(np.linalg.norm(gradient)) for name, gradient in ours.items()}
    floor = 1e-6 * max((norm for norm in norms.values() if np.isfinite(norm)), default=0.0)
    return {
        name: float(np.linalg.norm(gradient - theirs[name])) / max(norms[name], floor, 1e-30)
        for name, gradient in ours.items()
        if name in theirs and theirs[name].shape == gradient.shape
    }


def _missing_cause(name: str, ours: Weights) -> Cause:
    side = "tensorflow" if name in ours else "torch"
    remedy = "set trainable=True" if side == "tensorflow" else "set requires_grad=True"
    return Cause(side=side, what=f"{name} were frozen, or not part of the loss", remedy=remedy)


def compare_steps(session: PairSession, series: list[Series]) -> CheckResult:
    """Plain gradient descent, each side on its own gradients; its losses go to the series."""
    images, labels = _batch(session)
    loss, gradients = session.sides["torch"].gradients(images, labels)
    square = sum(float((array.astype(np.float64) ** 2).sum()) for array in gradients.values())
    rate = STEP_SIZE * loss / max(square, 1e-30)
    ours, theirs = session.each(
        lambda side: side.model.descend(images, labels, learning_rate=rate, steps=STEPS)
    )
    distances = [abs(a - b) / max(abs(ours[0]), 1e-30) for a, b in zip(ours, theirs, strict=True)]
    bound = TOLERANCES["update", session.precision]
    worst = float(np.max(distances))
    series.append(
        Series(
            name=f"plain {session.precision}",
            losses={"torch": ours, "tensorflow": theirs},
            controls={},
        )
    )
    return CheckResult(
        name="steps",
        precision=session.precision,
        measured=worst,
        tolerance=bound.bound,
        reason=f"{STEPS} plain steps at learning rate {rate:.2g}, losses "
        f"{ours[0]:.4f} to {ours[-1]:.4f}; {bound.reason}",
        where="" if worst <= bound.bound else f"step {int(np.argmax(distances))}",
    )
