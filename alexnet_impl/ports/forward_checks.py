"""The checks that compare a forward pass: what each layer reads and yields, and the logits.

A mismatch is either in a layer or between two; NumPy then re-enacts the usual mistakes there.
"""

from dataclasses import dataclass

import numpy as np

from alexnet_impl.frameworks.user_model import Operation, UserLayer, are_probabilities
from alexnet_impl.parity.record import Cause, CheckResult
from alexnet_impl.parity.tolerances import TOLERANCES
from alexnet_impl.ports.arithmetic import compute_layer, compute_operations
from alexnet_impl.ports.chain_hypotheses import chain_hypotheses, double_hypotheses
from alexnet_impl.ports.hypotheses import Hypothesis, apart, best_causes, explains, rank
from alexnet_impl.ports.layer_hypotheses import layer_hypotheses
from alexnet_impl.ports.pairing import LayerPair, trailing_pad
from alexnet_impl.ports.session import IMAGES, PairSession
from alexnet_impl.weights.canonical import Array, Weights

READS = 1e-4
"""PyTorch's own arithmetic is read rightly if NumPy comes so near to it in float32."""


@dataclass(frozen=True, kw_only=True)
class _Mismatch:
    """Where two walks through the layers part first, or the worst that they differ if nowhere."""

    measured: float
    where: str = ""
    causes: tuple[Cause, ...] = ()


def settle_precision(session: PairSession) -> None:
    """Go on in float64 if both models can be had in it."""
    reasons = session.each(lambda side: side.model.use_precision("float64"))
    why = next((reason for reason in reasons if reason), "")
    if not why:
        try:
            session.each(lambda side: side.forward(session.images[:1]))
        except Exception as error:  # noqa: BLE001 - a model with constants of its own in float32
            said = str(error).splitlines() or [type(error).__name__]
            why = f"a model does not run in float64 ({said[0]})"
    if why:
        fall_back(session, why)
    else:
        session.precision = "float64"


def fall_back(session: PairSession, why: str) -> None:
    """Go on in float32, and keep the reason."""
    session.each(lambda side: side.model.use_precision("float32"))
    session.precision, session.note = "float32", f"; in float32: {why}"


def is_rounding(layers: CheckResult) -> bool:
    """A mismatch in float64 that float32 would round away, and that nothing explains."""
    explained = any(cause.distance is not None for cause in layers.causes)
    small = layers.measured <= TOLERANCES["layers", "float32"].bound
    return not layers.holds and small and not explained


def compare_layers(session: PairSession) -> CheckResult:
    """What each layer reads and yields, in order."""
    tolerance = TOLERANCES["layers", session.precision]
    session.values = session.each(lambda side: side.forward(session.images))
    mismatch = _walk(session, *session.values)
    return CheckResult(
        name="layers",
        precision=session.precision,
        measured=mismatch.measured,
        tolerance=tolerance.bound,
        reason=tolerance.reason + session.note,
        where=mismatch.where,
        causes=mismatch.causes,
    )


def _walk(session: PairSession, ours: Weights, theirs: Weights) -> _Mismatch:
    """Follow both through the layers up to where they part."""
    bound = TOLERANCES["layers", session.precision].bound
    before, values = "the images", session.images.transpose(0, 3, 1, 2)
    worst = 0.0
    for pair in session.pairs:
        name = f"{pair.name}.input"
        distance = apart(ours[name], theirs[name])
        if not distance <= bound:
            span = _Span(
                ours=_chain(pair.torch),
                theirs=_chain(pair.tensorflow),
                values=values,
                first=before == "the images",
            )
            causes = _span_causes(span, ours[name], theirs[name], bound)
            where = f"the way from {before} to {pair.label}{_span_words(span)}"
            return _Mismatch(measured=distance, where=where, causes=causes)
        worst = max(worst, distance)
        name = f"{pair.name}.output"
        distance = apart(ours[name], theirs[name])
        if not distance <= bound:
            causes = _layer_causes(session, pair, ours, theirs)
            return _Mismatch(measured=distance, where=pair.label, causes=causes)
        worst = max(worst, distance)
        before, values = pair.torch.title, ours[name]
    return _Mismatch(measured=worst)


@dataclass(frozen=True, kw_only=True)
class _Span:
    """What lies between two layers.

    Attributes:
        ours: What PyTorch computes there.
        theirs: What Keras does.
        values: What both start from.
        first: Whether it starts at the images.
        last: Whether it ends at the output.
    """

    ours: tuple[Operation, ...]
    theirs: tuple[Operation, ...]
    values: Array
    first: bool = False
    last: bool = False


def _chain(layer: UserLayer) -> tuple[Operation, ...]:
    """What is computed before a layer, without a padding that counts as its own."""
    return layer.before if trailing_pad(layer) is None else layer.before[:-1]


def _span_words(span: _Span) -> str:
    ours, theirs = (
        ", ".join(op.name for op in ops) or "nothing" for ops in (span.ours, span.theirs)
    )
    return f" (PyTorch: {ours}; Keras: {theirs})"


def _samples(values: Array) -> Array:
    """One image of each scale, in float64: enough to tell the readings apart."""
    return values[[0, IMAGES]].astype(np.float64)


def _span_causes(span: _Span, expected: Array, observed: Array, noise: float) -> tuple[Cause, ...]:
    """What Keras may compute between two layers."""
    expected, observed, values = _samples(expected), _samples(observed), _samples(span.values)
    if apart(expected, compute_operations(span.ours, values)) > READS:
        remedy = "compare the two line by line"
        what = "something else stood there, of which this tool knows no reading"
        return (Cause(side="either", what=what, remedy=remedy),)
    hypotheses = chain_hypotheses(span.ours, span.theirs, values, first=span.first, last=span.last)
    found = rank(expected, observed, hypotheses, noise=noise)
    difference = apart(observed, expected)
    if not found or not explains(found[0], difference):
        hypotheses = double_hypotheses(span.ours, span.theirs, values)
        more = rank(expected, observed, hypotheses, noise=noise)
        found = best_causes((*found, *more), difference)
    return found


def _layer_causes(
    session: PairSession, pair: LayerPair, ours: Weights, theirs: Weights
) -> tuple[Cause, ...]:
    """What Keras may compute in a layer whose input agrees."""
    inputs = _samples(ours[f"{pair.name}.input"])
    expected = _samples(ours[f"{pair.name}.output"])
    observed = _samples(theirs[f"{pair.name}.output"])
    weights = {s: session.weights[f"{pair.name}.{s}"].astype(np.float64) for s in pair.torch.shapes}
    hypotheses = layer_hypotheses(pair.torch, pair.tensorflow, inputs, weights)
    noise = TOLERANCES["layers", session.precision].bound
    found = rank(expected, observed, hypotheses, noise=noise)
    if found and explains(found[0], apart(observed, expected)):
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
    """What the models return; and whether losses of the two can be compared.

    Args:
        session: The two models.
        follows: Whether a layer parted before.
    """
    tolerance = TOLERANCES["logits", session.precision]
    ours, theirs = session.values
    distance = apart(ours["output"], theirs["output"])
    holds = distance <= tolerance.bound
    where = ""
    causes: tuple[Cause, ...] = ()
    if not holds and follows:
        where = "the layers above"
    elif not holds:
        last = session.pairs[-1]
        span = _Span(
            ours=session.facts["torch"].after,
            theirs=session.facts["tensorflow"].after,
            values=ours[f"{last.name}.output"],
            last=True,
        )
        where = f"the way from {last.label} to the output{_span_words(span)}"
        causes = _span_causes(span, ours["output"], theirs["output"], tolerance.bound)
    check = CheckResult(
        name="logits",
        precision=session.precision,
        measured=distance,
        tolerance=tolerance.bound,
        reason=tolerance.reason,
        where=where,
        causes=causes,
    )
    comparable = all(each["output"].ndim == 2 for each in session.values)
    probable = any(_of_softmax(each["output"]) for each in session.values)
    same_shape = ours["output"].shape == theirs["output"].shape
    return check, comparable and (holds or (probable and same_shape))


def _of_softmax(output: Array) -> bool:
    """Whether an output is probabilities or their logarithms, whose loss is that of the logits."""
    with np.errstate(over="ignore"):
        return are_probabilities(output) or are_probabilities(np.exp(output))
