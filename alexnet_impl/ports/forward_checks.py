"""Checks of the forward pass of a user's two models: inputs and outputs of each layer, and logits.

A mismatch is either in a layer or between two layers; NumPy then reproduces the usual mistakes.
"""

from dataclasses import dataclass, replace

import numpy as np

from alexnet_impl.frameworks.user_model import Operation, UserLayer, are_probabilities
from alexnet_impl.parity.record import Cause, CheckResult
from alexnet_impl.parity.tolerances import tolerance
from alexnet_impl.ports.arithmetic import compute_layer, compute_operations
from alexnet_impl.ports.chain_hypotheses import chain_hypotheses, double_hypotheses
from alexnet_impl.ports.hypotheses import Hypothesis, best_causes, explains, rank, rows_apart
from alexnet_impl.ports.layer_hypotheses import layer_hypotheses
from alexnet_impl.ports.pairing import LayerPair, trailing_pad
from alexnet_impl.ports.session import IMAGES, PairSession
from alexnet_impl.weights.canonical import Array, Weights

READS = 1e-4
"""PyTorch's operations are understood if NumPy reproduces them to this distance in float32."""


@dataclass(frozen=True, kw_only=True)
class _Mismatch:
    """The first mismatch of two forward passes; without one, the largest difference."""

    measured: float
    where: str = ""
    causes: tuple[Cause, ...] = ()


def settle_precision(session: PairSession) -> None:
    """Continue in float64 if both models run in it."""
    reasons = session.each(lambda side: side.model.use_precision("float64"))
    why = next((reason for reason in reasons if reason), "")
    if not why:
        try:
            session.each(lambda side: side.forward(session.images[:1]))
        except Exception as error:  # noqa: BLE001 - a model with float32 constants of its own
            said = str(error).splitlines() or [type(error).__name__]
            why = f"a model does not run in float64 ({said[0]})"
    if why:
        fall_back(session, why)
    else:
        session.precision = "float64"


def fall_back(session: PairSession, why: str) -> None:
    """Continue in float32, and keep the reason."""
    session.each(lambda side: side.model.use_precision("float32"))
    session.precision, session.note = "float32", f"; in float32: {why}"


def is_rounding(layers: CheckResult) -> bool:
    """Whether a float64 difference is one of float32's size and has no other explanation."""
    explained = any(cause.distance is not None for cause in layers.causes)
    bounds = tolerance("layers", "float64"), tolerance("layers", "float32")
    return bounds[0] < layers.measured <= bounds[1] and not explained


def compare_layers(session: PairSession) -> CheckResult:
    """Compare the input and output of each layer, in PyTorch's order."""
    session.values = session.each(lambda side: side.forward(session.images))
    found = _first_mismatch(session, *session.values)
    check = session.judge("layers", found.measured, where=found.where)
    return replace(check, reason=check.reason + session.note, causes=found.causes)


def _first_mismatch(session: PairSession, ours: Weights, theirs: Weights) -> _Mismatch:
    """Follow both models through the layers up to the first mismatch."""
    bound = session.tolerance("layers")
    before, values = "the images", session.images.transpose(0, 3, 1, 2)
    worst = 0.0
    for pair in session.pairs:
        name = f"{pair.name}.input"
        distance = rows_apart(ours[name], theirs[name])
        if not distance <= bound:
            span = _Span(
                ours=_chain(pair.torch),
                theirs=_chain(pair.tensorflow),
                values=values,
                first=before == "the images",
            )
            causes = _span_causes(span, ours[name], theirs[name], bound)
            where = f"the operations between {before} and {pair.label}{span}"
            return _Mismatch(measured=distance, where=where, causes=causes)
        worst = max(worst, distance)
        name = f"{pair.name}.output"
        distance = rows_apart(ours[name], theirs[name])
        if not distance <= bound:
            causes = _layer_causes(session, pair, ours, theirs)
            return _Mismatch(measured=distance, where=pair.label, causes=causes)
        worst = max(worst, distance)
        before, values = pair.torch.title, ours[name]
    return _Mismatch(measured=worst)


@dataclass(frozen=True, kw_only=True)
class _Span:
    """The operations between two layers.

    Attributes:
        ours: PyTorch's operations.
        theirs: Keras's operations.
        values: Their common input, (batch, channels, height, width) or (batch, features).
        first: Whether the span starts at the images.
        last: Whether it ends at the output.
    """

    ours: tuple[Operation, ...]
    theirs: tuple[Operation, ...]
    values: Array
    first: bool = False
    last: bool = False

    def __str__(self) -> str:
        ours, theirs = (
            ", ".join(operation.name for operation in chain) or "nothing"
            for chain in (self.ours, self.theirs)
        )
        return f" (PyTorch: {ours}; Keras: {theirs})"


def _chain(layer: UserLayer) -> tuple[Operation, ...]:
    """The operations before a layer, without a padding that counts as its own."""
    return layer.before if trailing_pad(layer) is None else layer.before[:-1]


def _samples(values: Array) -> Array:
    """One image of each scale in float64, shape (2, ...): enough to distinguish mistakes."""
    return values[[0, IMAGES]].astype(np.float64)


def _span_causes(span: _Span, expected: Array, observed: Array, noise: float) -> tuple[Cause, ...]:
    """Mistakes between two layers that explain Keras's values."""
    expected, observed, values = _samples(expected), _samples(observed), _samples(span.values)
    if rows_apart(expected, compute_operations(span.ours, values)) > READS:
        what = "it used an operation that this tool cannot reproduce"
        return (Cause(side="either", what=what, remedy="compare the two line by line"),)
    hypotheses = chain_hypotheses(span.ours, span.theirs, values, first=span.first, last=span.last)
    found = rank(expected, observed, hypotheses, noise=noise)
    difference = rows_apart(observed, expected)
    if not found or not explains(found[0], difference):
        hypotheses = double_hypotheses(span.ours, span.theirs, values)
        more = rank(expected, observed, hypotheses, noise=noise)
        found = best_causes((*found, *more), difference)
    return found


def _layer_causes(
    session: PairSession, pair: LayerPair, ours: Weights, theirs: Weights
) -> tuple[Cause, ...]:
    """Mistakes in a layer with equal inputs that explain Keras's outputs."""
    inputs = _samples(ours[f"{pair.name}.input"])
    expected = _samples(ours[f"{pair.name}.output"])
    observed = _samples(theirs[f"{pair.name}.output"])
    weights = {s: session.weights[f"{pair.name}.{s}"].astype(np.float64) for s in pair.torch.shapes}
    hypotheses = layer_hypotheses(pair.torch, pair.tensorflow, inputs, weights)
    noise = tolerance("layers", session.precision)
    found = rank(expected, observed, hypotheses, noise=noise)
    if found and explains(found[0], rows_apart(observed, expected)):
        return found
    held = session.sides["tensorflow"].weights()
    other = {s: held[f"{pair.name}.{s}"].astype(np.float64) for s in pair.tensorflow.shapes}
    hypotheses.append(
        Hypothesis(
            what=f"{pair.torch.title} had other weights",
            remedy="load PyTorch's, or leave --copy-weights at auto",
            compute=lambda: compute_layer(pair.torch, inputs, other),
        )
    )
    return rank(expected, observed, hypotheses, noise=noise)


def compare_logits(session: PairSession, *, follows: bool) -> tuple[CheckResult, bool]:
    """Compare the models' outputs.

    Args:
        session: The two models.
        follows: Whether a layer before the output differs already.

    Returns:
        The check, and whether losses of the two models can be compared.
    """
    ours, theirs = session.values
    distance = rows_apart(ours["output"], theirs["output"])
    check = session.judge("logits", distance)
    if not check.holds and follows:
        check = replace(check, where="the layers above")
    elif not check.holds:
        last = session.pairs[-1]
        span = _Span(
            ours=session.facts["torch"].after,
            theirs=session.facts["tensorflow"].after,
            values=ours[f"{last.name}.output"],
            last=True,
        )
        check = replace(
            check,
            where=f"the operations between {last.label} and the output{span}",
            causes=_span_causes(span, ours["output"], theirs["output"], check.tolerance),
        )
    comparable = all(each["output"].ndim == 2 for each in session.values)
    probable = any(_is_softmax(each["output"]) for each in session.values)
    same_shape = ours["output"].shape == theirs["output"].shape
    return check, comparable and (check.holds or (probable and same_shape))


def _is_softmax(output: Array) -> bool:
    """Whether an output (batch, classes) is probabilities or their logarithms."""
    with np.errstate(over="ignore"):
        return are_probabilities(output) or are_probabilities(np.exp(output))
