"""The usual losses in NumPy, to say which one a training step computed."""

from collections.abc import Iterator

import numpy as np

from alexnet_impl.weights.canonical import Array

CLOSE = 1e-5
"""Relative distance at which a loss counts as the one that was computed."""


def loss_reading(output: Array, labels: Array, loss: float) -> str | None:
    """Say in words which of the usual losses has a value; None if none has.

    Args:
        output: Shape (batch, classes), (batch, 1) or (batch,).
        labels: Classes, or 0 and 1; shape (batch,).
        loss: The value.
    """
    with np.errstate(all="ignore"):
        for words, value in _readings(output.astype(np.float64), labels):
            if np.isfinite(value) and abs(value - loss) <= CLOSE * max(abs(loss), 1e-12):
                return words
    return None


def _readings(output: Array, labels: Array) -> Iterator[tuple[str, float]]:
    if output.ndim == 1 or output.shape[-1] == 1:
        yield from _of_numbers(output.reshape(len(output)), labels.astype(np.float64))
    else:
        yield from _of_classes(output.reshape(len(output), -1), labels)


def _of_classes(output: Array, labels: Array) -> Iterator[tuple[str, float]]:
    from scipy.special import log_softmax  # noqa: PLC0415 - takes 0.25 s to import

    rows = np.arange(len(output))
    logs = log_softmax(output, axis=1)
    clipped = np.clip(output, 1e-7, 1 - 1e-7)
    forms = {
        "the softmax cross-entropy": logs,
        "the cross-entropy of outputs that count as probabilities (from_logits=False)": np.log(
            clipped / clipped.sum(axis=1, keepdims=True)
        ),
        "the softmax cross-entropy of probabilities": log_softmax(np.exp(logs), axis=1),
    }
    for name, logs in forms.items():
        for smoothing in (0.0, *SMOOTHINGS):
            losses = -(1 - smoothing) * logs[rows, labels] - smoothing * logs.mean(axis=1)
            with_it = f" with label smoothing {smoothing:g}" if smoothing else ""
            yield f"the mean of {name}{with_it}", float(losses.mean())
            yield f"the sum of {name}{with_it}", float(losses.sum())
    targets = np.eye(output.shape[1])[labels]
    yield from _distances(output - targets)
    yield from _binary(output, targets)


SMOOTHINGS = (0.05, 0.1, 0.2)
"""The usual label smoothings."""


def _of_numbers(output: Array, targets: Array) -> Iterator[tuple[str, float]]:
    yield from _distances(output - targets)
    yield from _binary(output, targets)
    every = output[:, None] - targets[None]  # (batch, 1) against (batch,)
    for words, value in _distances(every):
        yield f"{words} of each output and each target: (batch, 1) against (batch,)", value


def _distances(gaps: Array) -> Iterator[tuple[str, float]]:
    size = np.abs(gaps)
    huber = np.where(size < 1, size**2 / 2, size - 0.5)
    forms = {"squares": gaps**2, "absolute differences": size, "Huber losses": huber}
    for name, losses in forms.items():
        yield f"the mean of the {name}", float(losses.mean())
        yield f"the sum of the {name}", float(losses.sum())
        yield f"half the mean of the {name}", float(losses.mean() / 2)
        yield f"half the sum of the {name}", float(losses.sum() / 2)
        yield f"the sum of the {name} over the batch size", float(losses.sum() / len(losses))


def _binary(output: Array, targets: Array) -> Iterator[tuple[str, float]]:
    clipped = np.clip(output, 1e-7, 1 - 1e-7)
    forms = {
        "the binary cross-entropy": np.logaddexp(0, output) - targets * output,
        "the binary cross-entropy of probabilities": -(
            targets * np.log(clipped) + (1 - targets) * np.log(1 - clipped)
        ),
    }
    for name, losses in forms.items():
        yield f"the mean of {name}", float(losses.mean())
        yield f"the sum of {name}", float(losses.sum())
