"""Checks of the architecture and the weights of a user's two models.

A weight that differs is compared with the results of the usual mistakes in a conversion.
"""

import math
from collections.abc import Iterator

import numpy as np

from alexnet_impl.parity.record import Cause, CheckResult
from alexnet_impl.parity.tolerances import tolerance
from alexnet_impl.ports.hypotheses import (
    Difference,
    Hypothesis,
    merged,
    rank,
    rows_apart,
    worst_of,
)
from alexnet_impl.ports.layer_hypotheses import kernel_readings, moved, order_of
from alexnet_impl.ports.pairing import LayerPair, PairedModel
from alexnet_impl.ports.session import PairSession
from alexnet_impl.ports.training_facts import training_differences, training_notes
from alexnet_impl.weights.canonical import Array, Weights

WEIGHTS_TOLERANCE = tolerance("weights", "float32")
FRESH = {"running_mean": 0.0, "running_var": 1.0}
"""Statistics of a batch normalisation before any batch."""
UNRELATED = 0.1
"""Relative distance from which kernels count as independent if no layout brings them nearer."""


def compare_architectures(session: PairSession) -> CheckResult:
    """Check for weights that are missing or have another shape, and for other training."""
    found = [one for pair in session.pairs for one in _weight_differences(pair)]
    found += training_differences(session)
    total = sum(math.prod(shape) for p in session.pairs for shape in p.torch.shapes.values())
    return CheckResult(
        name="architecture",
        precision="",
        measured=float(len(found)),
        tolerance=0.0,
        reason=f"{len(session.pairs)} pairs of layers, {total:,} weights in torch",
        where=found[0].where if found else "",
        causes=merged(found),
        notes=training_notes(session),
    )


def _weight_differences(pair: LayerPair) -> Iterator[Difference]:
    ours, theirs = pair.torch.shapes, pair.tensorflow.shapes
    for short in {**ours, **theirs}:
        if short in pair.shared:
            continue
        if short in ours and short in theirs:
            what = f"{{}} read {theirs[short][1]} features, and not {ours[short][1]}"
            remedy = "find the layer before it whose output has another size"
        else:
            what, remedy = f"{{}} had no {short}", f"give both a {short}, or neither"
        lacking = "torch" if short not in ours else "tensorflow"
        yield Difference(where=pair.label, side=lacking, what=what, remedy=remedy)


def compare_weights(session: PairSession) -> CheckResult:
    """Compare both models' weights in the canonical layout, and copy PyTorch's if asked to."""
    ours, theirs = session.each(PairedModel.weights)
    session.weights = ours
    names = [f"{pair.name}.{short}" for pair in session.pairs for short in pair.shared]
    distances = {name: _weight_distance(ours[name], theirs[name]) for name in names}
    broken = [n for n in names if not (_is_finite(ours[n]) and _is_finite(theirs[n]))]
    copy = session.request.copy_weights
    # NaN is no fresh initialisation: a copy that was not requested would hide it.
    fresh = copy == "always" or (
        copy == "auto" and not broken and _are_unrelated(session, ours, theirs)
    )
    bound = session.tolerance("weights")
    wrong = [name for name in names if not distances[name] <= bound]
    if copy != "never" and wrong:
        session.sides["tensorflow"].set_weights({name: ours[name] for name in names})
    reason = f"{len(names)} weights; a conversion moves numbers and computes none"
    if fresh:
        said = "as asked" if copy == "always" else "as the two models' weights are unrelated"
        theirs = session.sides["tensorflow"].weights()
        distances = {name: _weight_distance(ours[name], theirs[name]) for name in names}
        wrong = [name for name in names if not distances[name] <= bound]
        reason += f"; PyTorch's were copied into the Keras model, {said}"
    elif wrong and copy == "auto":
        reason += "; the next checks use PyTorch's, to show what else differs"
    elif wrong:
        reason += "; the next checks use the Keras model's own"
    first = next((name for name in wrong if name in broken), wrong[0] if wrong else "")
    return CheckResult(
        name="weights",
        precision="float32",
        measured=worst_of(distances)[1],
        tolerance=bound,
        reason=reason,
        where=first,
        causes=_weight_causes(session, first, ours, theirs) if first else (),
    )


def _is_finite(array: Array) -> bool:
    return bool(np.isfinite(array).all())


def _weight_distance(first: Array, second: Array) -> float:
    """Largest difference relative to the largest value, of two arrays of one shape."""
    return rows_apart(first.reshape(1, -1), second.reshape(1, -1))


def _are_unrelated(session: PairSession, ours: Weights, theirs: Weights) -> bool:
    """Whether no kernel is the other model's in any layout, as in two fresh initialisations."""
    for pair in session.pairs:
        name = f"{pair.name}.weight"
        if "weight" not in pair.shared or pair.torch.kind not in ("conv", "dense"):
            continue
        kernels = [ours[name], *(entry[2] for entry in kernel_readings(pair.torch, ours[name]))]
        if any(_weight_distance(kernel, theirs[name]) < UNRELATED for kernel in kernels):
            return False
    return True


def _weight_causes(
    session: PairSession, name: str, ours: Weights, theirs: Weights
) -> tuple[Cause, ...]:
    """Mistakes of a conversion that turn PyTorch's weight into Keras's."""
    for side, weights in (("torch", ours), ("tensorflow", theirs)):
        if not _is_finite(weights[name]):
            what, remedy = f"{name} held NaN or infinity", "save and load it again"
            return (Cause(side=side, what=what, remedy=remedy),)
    right, seen = ours[name].reshape(1, -1), theirs[name].reshape(1, -1)
    hypotheses = (
        (Hypothesis(what=what, remedy=remedy, edits=()), array.reshape(1, -1))
        for what, remedy, array in _readings(session, name, ours, theirs)
    )
    found = rank(right, seen, hypotheses, noise=WEIGHTS_TOLERANCE)
    if found:
        return tuple(one.cause for one in found)
    what, remedy = f"{name} were unrelated", "load it from the PyTorch model"
    return (Cause(side="tensorflow", what=what, remedy=remedy),)


def _readings(
    session: PairSession, name: str, ours: Weights, theirs: Weights
) -> Iterator[tuple[str, str, Array]]:
    """The usual mistakes of a conversion: what, remedy, and the array that each makes."""
    layer_name, _, short = name.rpartition(".")
    pair = next(pair for pair in session.pairs if pair.name == layer_name)
    if short == "weight":
        yield from kernel_readings(pair.torch, ours[name])
    for other in pair.shared:
        if other != short and ours[f"{layer_name}.{other}"].shape == ours[name].shape:
            what, remedy = f"{name} were its {other}", "load each into its own variable"
            yield what, remedy, ours[f"{layer_name}.{other}"]
    if short in FRESH:
        what = f"{layer_name}'s running statistics were never loaded"
        remedy = "load running_mean and running_var into moving_mean and moving_variance"
        yield what, remedy, np.full_like(ours[name], FRESH[short])
    order = order_of(ours[name], theirs[name])
    if order is not None:
        what = f"the outputs of {name} came in another order: {moved(order)}"
        yield what, "load them in PyTorch's order", ours[name][order]
