"""Checks of the forward pass of a user's two models: inputs and outputs of each layer, and logits.

A mismatch is either in a layer or between two layers; the usual mistakes are then made in the
PyTorch model, to find the one with which it computes what the Keras model computes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from alexnet_impl.frameworks.user_model import Edit, Operation, UserLayer, are_probabilities
from alexnet_impl.parity.record import Cause, CheckResult
from alexnet_impl.parity.tolerances import tolerance
from alexnet_impl.ports.hypotheses import (
    Finding,
    Hypothesis,
    best_findings,
    explains,
    rank,
    rows_apart,
)
from alexnet_impl.ports.layer_hypotheses import layer_hypotheses, output_order
from alexnet_impl.ports.pairing import LayerPair, called, trailing_pad
from alexnet_impl.ports.session import PairSession
from alexnet_impl.ports.span_hypotheses import (
    TITLES,
    Span,
    double_hypotheses,
    span_hypotheses,
)
from alexnet_impl.weights.canonical import Array

ADDED = ("relu", "relu6")
"""Activations that are looked for on the other side of a layer."""
MOST_MISTAKES = 24
"""Mistakes that one comparison explains."""


@dataclass(frozen=True, kw_only=True)
class _Mismatch:
    """The first mismatch of two forward passes; without one, the largest difference."""

    measured: float
    where: str = ""
    title: str = ""
    place: LayerPair | Span | None = None
    findings: Sequence[Finding] = ()


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


def is_rounding(session: PairSession, check: CheckResult) -> bool:
    """Whether a float64 difference is one of float32's size and has no other explanation."""
    explained = any(cause.distance is not None for cause in check.causes)
    bounds = tolerance(check.name, "float64"), tolerance("layers", "float32")  # type: ignore[arg-type]
    is_small = bounds[0] < check.measured <= bounds[1]
    return session.precision == "float64" and is_small and not explained


def compare_layers(session: PairSession) -> CheckResult:
    """Compare the input and output of each layer, in PyTorch's order.

    A mistake that explains a mismatch is made in the PyTorch model too, and the search goes on, so
    that one comparison finds several mistakes.
    """
    session.values = session.each(lambda side: side.forward(session.images))
    session.edited = session.values[0]
    first = found = _first_mismatch(session)
    causes: dict[str, Cause] = {}
    further = ""
    for _ in range(MOST_MISTAKES):
        if not found.where:
            break
        place = found.where.partition(" (PyTorch: ")[0] if causes else ""
        explained = _is_explained(session, found)
        findings = found.findings[:1] if explained else found.findings
        for one in findings:
            # Only what explains a mismatch is the same mistake as one found before.
            title = found.title if explained else None
            _add(causes, replace(one.cause, where=place), title)
        if not explained:
            further = found.where if causes and not found.findings else ""
            break
        _make(session, findings[0])
        found = _first_mismatch(session)
    else:
        further = found.where
    session.unexplained, session.mismatch = bool(found.where), first.place
    check = session.judge("layers", first.measured, where=first.where)
    note = "no known cause explains the next mismatch, at"
    if causes and found.findings:
        note = f"the search ended after {MOST_MISTAKES} mistakes, before the one at"
    notes = (f"{note} {further}",) if further else ()
    return replace(
        check, reason=check.reason + session.note, causes=tuple(causes.values()), notes=notes
    )


def _add(causes: dict[str, Cause], cause: Cause, title: str | None) -> None:
    """Keep a cause; a mistake that was found in another layer already gets one more place.

    `title` is the layer's, '' between layers, and None for what is no more than likely.
    """
    what = cause.what.replace(title, "") if title else cause.what
    key = str(cause) if title is None else f"{what}; {cause.remedy}"
    known = causes.get(key)
    if known is None:
        causes[key] = cause
    else:
        distance = max(known.distance or 0.0, cause.distance or 0.0)
        causes[key] = replace(known, distance=distance, also=(*known.also, cause.where))


ROUNDED = 1e-6
"""A mistake explains a mismatch if it leaves no more: also where the layers compute in float64,
Keras keeps numbers such as slopes in float32."""


def _is_explained(session: PairSession, found: _Mismatch) -> bool:
    """Whether the nearest cause leaves nothing but rounding."""
    distance = found.findings[0].cause.distance if found.findings else None
    return distance is not None and distance <= max(session.tolerance("layers"), ROUNDED)


def _make(session: PairSession, finding: Finding) -> None:
    """Make a mistake in the PyTorch model too."""
    session.edits = (*session.edits, *finding.edits)
    session.edited = session.sides["torch"].replay(session.images, session.edits)
    session.rounding = max(session.rounding, 100 * (finding.cause.distance or 0.0))


def _first_mismatch(session: PairSession) -> _Mismatch:
    """Follow both models through the layers up to the first mismatch."""
    ours, theirs = session.edited, session.values[1]
    bound = max(session.tolerance("layers"), session.rounding)
    before, title = "", "the images"
    worst = 0.0
    pairs = [pair for pair in session.pairs if pair.torch.kind != "parameter"]
    for number, pair in enumerate(pairs):
        if not pair.computes_alike:
            before, title = pair.name, pair.torch.title
            continue
        name = f"{pair.name}.input"
        if f"{pair.name}.output" not in ours:
            break  # PyTorch's layer cannot read what Keras's read
        distance = rows_apart(ours[name], theirs[name])
        if not distance <= bound:
            span = Span(
                before=before,
                after=pair.name,
                ours=_chain(pair.torch),
                theirs=_chain(pair.tensorflow),
            )
            where = f"the operations between {title} and {pair.label}{span}"
            findings = _span_findings(session, span, name)
            findings = [_early(one, pairs[number:][:2]) for one in findings]
            return _Mismatch(measured=distance, where=where, place=span, findings=findings)
        worst = max(worst, distance)
        name = f"{pair.name}.output"
        distance = rows_apart(ours[name], theirs[name])
        if not distance <= bound:
            findings = _layer_findings(session, pair)
            return _Mismatch(
                measured=distance,
                where=pair.label,
                title=pair.torch.title,
                place=pair,
                findings=findings,
            )
        worst = max(worst, distance)
        before, title = pair.name, pair.torch.title
    return _Mismatch(measured=worst)


def _early(finding: Finding, pairs: Sequence[LayerPair]) -> Finding:
    """The finding; an activation too much before a layer that lacks one after it came too early."""
    kinds = [one.kind for edit in finding.edits for one in edit.chain if one.kind in ADDED]
    if not finding.cause.what.startswith("there were") or not kinds or len(pairs) == 1:
        return finding
    first, second = pairs
    behind = [i for i, one in enumerate(_chain(second.torch)) if one.kind == kinds[0]]
    if not behind or any(one.kind == kinds[0] for one in _chain(second.tensorflow)):
        return finding
    what = f"{TITLES[kinds[0]]} came before {first.torch.title}, and not after it"
    cause = replace(finding.cause, what=what, remedy=f"move it after {first.tensorflow.title}")
    removed = Edit(layer=first.name, index=behind[0], chain=())
    return Finding(cause=cause, edits=(*finding.edits, removed))


def _chain(layer: UserLayer) -> tuple[Operation, ...]:
    """The operations before a layer, without a padding that counts as its own."""
    return layer.before if trailing_pad(layer) is None else layer.before[:-1]


def _replayed(session: PairSession, place: str, edits: tuple[Edit, ...] = ()) -> Array:
    """The values (batch, ...) at a place of the PyTorch model with further changes, or none."""
    model = session.sides["torch"]
    found = model.replay(session.images, (*session.edits, *edits), place)
    return found.get(place, np.empty(0))


def _rank(session: PairSession, place: str, hypotheses: Iterable[Hypothesis]) -> list[Finding]:
    """The mistakes that bring PyTorch's values at a place nearest to Keras's."""
    return rank(
        session.edited[place],
        session.values[1][place],
        ((one, _replayed(session, place, one.edits)) for one in hypotheses),
        noise=session.tolerance("layers"),
    )


def _span_findings(session: PairSession, span: Span, place: str) -> Sequence[Finding]:
    """Mistakes between two layers that explain Keras's values at a place."""
    expected, observed = session.edited[place], session.values[1][place]
    if rows_apart(expected, _replayed(session, place)) > session.tolerance("layers"):
        what = "its values were random: they differ from call to call, as with active dropout"
        remedy = "use nn.Dropout, or functional.dropout(x, p, self.training)"
        return (Finding(cause=Cause(side="torch", what=what, remedy=remedy)),)
    found = _rank(session, place, span_hypotheses(span))
    difference = rows_apart(observed, expected)
    if not found or not explains(found[0].cause, difference):
        more = _rank(session, place, double_hypotheses(span))
        found = best_findings((*found, *more), difference)
    return found


def _layer_findings(session: PairSession, pair: LayerPair) -> Sequence[Finding]:
    """Mistakes in a layer with equal inputs that explain Keras's outputs."""
    place = f"{pair.name}.output"
    inputs, expected = session.edited[f"{pair.name}.input"], session.edited[place]
    observed = session.values[1][place]
    weights = {s: session.weights[f"{pair.name}.{s}"] for s in pair.torch.shapes}
    hypotheses = layer_hypotheses(pair, session.pairs, inputs, weights)
    hypotheses += output_order(pair, expected, observed, weights)
    found = _rank(session, place, hypotheses)
    if found and explains(found[0].cause, rows_apart(observed, expected)):
        return found
    held = session.sides["tensorflow"].weights()
    other = {s: held[f"{pair.name}.{s}"] for s in pair.shared}
    hypotheses.append(
        Hypothesis(
            what=f"{pair.torch.title} had other weights",
            remedy="load PyTorch's, or leave --copy-weights at auto",
            edits=(Edit(layer=pair.name, weights=other),),
        )
    )
    return _rank(session, place, hypotheses)


def compare_logits(session: PairSession, *, follows: bool) -> tuple[CheckResult, bool]:
    """Compare the models' outputs.

    Args:
        session: The two models.
        follows: Whether a layer before the output differs already.

    Returns:
        The check, and whether losses of the two models can be compared.
    """
    ours, theirs = session.values
    check = session.judge("logits", rows_apart(ours["output"], theirs["output"]))
    left = rows_apart(session.edited.get("output", np.empty(0)), theirs["output"])
    bound = max(check.tolerance, session.rounding)
    reached = "output" in session.edited and not session.unexplained
    if not check.holds and follows and not (reached and left > bound):
        note = f"with the mistakes above made in PyTorch too, the outputs are {left:.1e} apart"
        check = replace(check, where="the layers above", notes=(note,) if reached else ())
    elif not check.holds:
        last = called(session.pairs)[-1]
        span = Span(
            before=last.name,
            after="output",
            ours=session.facts["torch"].after,
            theirs=session.facts["tensorflow"].after,
        )
        session.mismatch = session.mismatch or span
        findings = _span_findings(session, span, "output")
        check = replace(
            check,
            where=f"the operations between {last.label} and the output{span}",
            causes=tuple(one.cause for one in findings),
        )
    comparable = all(each["output"].ndim > 1 for each in session.values)
    probable = any(_is_softmax(each["output"]) for each in session.values)
    same_shape = ours["output"].shape == theirs["output"].shape
    return check, comparable and (check.holds or (probable and same_shape))


def _is_softmax(output: Array) -> bool:
    """Whether an output (batch, classes) is probabilities or their logarithms."""
    with np.errstate(over="ignore"):
        return are_probabilities(output) or are_probabilities(np.exp(output))
