"""Checks of a user's own training step: loss, gradients and updated weights at every step.

What Keras's optimizer does is computed again in NumPy from the gradients: the numbers in which its
formula differs from PyTorch's are the causes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

import numpy as np

from alexnet_impl.frameworks.user_training import Rule, TrainingFacts, TrainingStep
from alexnet_impl.parity.record import Cause, CheckResult, Series
from alexnet_impl.parity.tolerances import tolerance
from alexnet_impl.ports.hypotheses import rows_apart, worst_of
from alexnet_impl.ports.loss_readings import loss_reading
from alexnet_impl.ports.optimizer_formulas import Optimizer
from alexnet_impl.ports.pairing import PairedModel
from alexnet_impl.ports.session import PairSession
from alexnet_impl.ports.training_checks import gradient_distances, missing_cause
from alexnet_impl.weights.canonical import Array, Weights

T = TypeVar("T")
BATCH = 8
"""Images of a step: a batch normalisation of two values has almost no variance."""
ZERO = 1e-10
"""Share of the largest gradient below which one is zero but for rounding."""


@dataclass(kw_only=True)
class _Comparison:
    """Both training steps, from equal weights."""

    session: PairSession
    bound: float
    """Largest difference allowed in this stage."""
    images: Array
    labels: Array
    facts: tuple[TrainingFacts, TrainingFacts]
    shadow: Optimizer | None
    """Keras's optimizer in NumPy; None if its formula is unknown."""
    likely: list[Optimizer]
    """Formulas that PyTorch's optimizer may have, clipping in a hook included."""
    variances: Weights = field(default_factory=dict)
    """Running variances (channels,) as Keras should have them."""
    losses: dict[str, list[float]] = field(default_factory=lambda: {"torch": [], "tensorflow": []})
    largest: float = 0.0
    notes: list[str] = field(default_factory=list)


def _with_limit(rule: Rule, name: str, limit: float) -> Rule:
    changed: Any = {name: limit}
    return replace(rule, **changed)


@dataclass(frozen=True, kw_only=True)
class _Mismatch:
    """The first difference in training."""

    measured: float
    where: str
    causes: tuple[Cause, ...] = ()


def compare_training(session: PairSession, series: list[Series]) -> Iterator[CheckResult]:
    """Compare the user's training steps: from equal weights at every step, then freely.

    Args:
        session: The two models, with equal weights.
        series: Gets the losses.
    """
    start = session.sides["torch"].weights()
    for name, is_free in (("training", False), ("free training", True)):
        session.each(lambda side: side.set_weights(_shared(session, start)))
        both = _prepared(session, name)
        found = _follow(both, is_free=is_free)
        series.append(Series(name=f"{name} {session.precision}", losses=both.losses, controls={}))
        measured = found.measured if found else both.largest
        check = session.judge("training", measured, where=found.where if found else "", name=name)
        ours, theirs = both.facts
        steps = len(both.losses["torch"])
        said = (
            f"{steps} steps of {ours.loss} and {ours.optimizer}, and of {theirs.loss} and "
            f"{theirs.optimizer}, without dropout; {check.reason}"
        )
        causes = found.causes if found else ()
        check = replace(check, reason=said, causes=causes, notes=tuple(both.notes))
        yield check
        if not check.holds:
            return


def _shared(session: PairSession, weights: dict[str, T]) -> dict[str, T]:
    """Those that both models have in the same shape."""
    names = [f"{pair.name}.{short}" for pair in session.pairs for short in pair.shared]
    return {name: weights[name] for name in names if name in weights}


def _prepared(session: PairSession, stage: str) -> _Comparison:
    request = session.request
    facts = session.prepare_training()
    rng = np.random.default_rng(request.seed)
    shape = (BATCH, *session.images.shape[1:])
    noise = rng.standard_normal(shape).astype(np.float32)
    images = session.images if request.inputs else noise
    output = session.values[0]["output"]
    classes = max(2, output.shape[-1]) if output.ndim > 1 else 2
    rule = facts["tensorflow"].rule
    usual = tolerance("training", session.precision)
    return _Comparison(
        session=session,
        bound=request.tolerances.get(stage, usual),
        images=images,
        labels=np.arange(len(images), dtype=np.int64) % classes,
        facts=(facts["torch"], facts["tensorflow"]),
        shadow=None if rule is None else Optimizer(rule),
        likely=_likely(facts["torch"].rule, rule),
    )


LIMITS = (0.1, 0.5, 1.0, 5.0, 10.0)
"""The usual limits of clipping."""


def _likely(ours: Rule | None, theirs: Rule | None) -> list[Optimizer]:
    """PyTorch's formula, also with clipping, which its optimizer does not declare."""
    if ours is None:
        return []
    found = [ours]
    for name in ("clip_all", "clip_value", "clip_norm"):
        declared = getattr(theirs, name, 0.0)
        found += [_with_limit(ours, name, limit) for limit in (declared, *LIMITS) if limit]
    return [Optimizer(rule) for rule in found]


def _follow(both: _Comparison, *, is_free: bool) -> _Mismatch | None:
    """Take the steps; the first mismatch ends them.

    Where only the frameworks' forms of one formula differ, PyTorch's gradients go through Keras's.
    """
    session = both.session
    is_corrected = False
    start = session.sides["torch"].weights()
    both.variances = {name: start[name] for name in _variances(session)}
    for number in range(1, session.request.training_steps + 1):
        before = session.sides["torch"].weights()
        if not is_free and number > 1:
            session.sides["tensorflow"].set_weights(_shared(session, before))
            both.variances = {name: before[name] for name in both.variances}
        steps = {
            name: side.training_step(
                both.images, both.labels, update=name != "torch" or not is_corrected
            )
            for name, side in session.sides.items()
        }
        found = _compare_step(both, number, steps["torch"], steps["tensorflow"])
        if found is not None:
            return found
        expected = _expected(both, before, steps["torch"])
        if is_corrected:
            session.sides["torch"].set_weights(expected)
        else:
            _narrow(both, before, steps["torch"])
        found = _compare_weights(both, number, before, expected, steps["torch"])
        if found is not None and found.where:
            return found
        if found is not None:
            is_corrected = True
            session.sides["torch"].set_weights(expected)
    return None


def _compare_step(
    both: _Comparison, number: int, ours: TrainingStep, theirs: TrainingStep
) -> _Mismatch | None:
    """Compare the loss, the gradients and the learning rate of a step."""
    both.losses["torch"].append(ours.loss)
    both.losses["tensorflow"].append(theirs.loss)
    distance = abs(ours.loss - theirs.loss) / max(abs(ours.loss), 1e-30)
    if not distance <= both.bound:
        causes = _loss_causes(both, ours, theirs)
        return _Mismatch(measured=distance, where=f"the loss of step {number}", causes=causes)
    both.largest = max(both.largest, distance)
    shared = _shared(both.session, dict.fromkeys({**ours.gradients, **theirs.gradients}))
    for name in shared:
        if (name in ours.gradients) != (name in theirs.gradients):
            where = f"the gradient of {name} at step {number}"
            causes = (missing_cause(name, ours.gradients),)
            return _Mismatch(measured=float("inf"), where=where, causes=causes)
    distances = gradient_distances(ours.gradients, theirs.gradients)
    name, distance = worst_of(distances)
    if not distance <= max(both.bound, both.session.tolerance("gradients")):
        return _Mismatch(measured=distance, where=f"the gradient of {name} at step {number}")
    if abs(ours.rate - theirs.rate) > 1e-6 * abs(ours.rate):
        cause = Cause(
            side="tensorflow",
            what=f"the learning rate of step {number} were {theirs.rate:g}, where PyTorch's is "
            f"{ours.rate:g}",
            remedy="give both the same schedule: Keras counts updates, and a scheduler of PyTorch "
            "changes the rate when its step() is called",
        )
        where = f"the learning rate of step {number}"
        return _Mismatch(measured=float("inf"), where=where, causes=(cause,))
    return None


def _norm(array: Array) -> float:
    return float(np.linalg.norm(array))


def _largest(gradients: Weights) -> float:
    return max((_norm(gradient) for gradient in gradients.values()), default=0.0)


def _loss_causes(both: _Comparison, ours: TrainingStep, theirs: TrainingStep) -> tuple[Cause, ...]:
    """The losses that both computed from their outputs, in words."""
    apart = rows_apart(ours.output, theirs.output)
    if apart > 1e-6:
        what = "in training mode its output were another one: a batch normalisation or a dropout"
        return (Cause(side="tensorflow", what=what, remedy="compare what acts in training only"),)
    first = loss_reading(ours.output, both.labels, ours.loss)
    second = loss_reading(theirs.output, both.labels, theirs.loss)
    if first is None or second is None:
        return ()
    return (
        Cause(
            side="tensorflow",
            what=f"the loss were {second}, where PyTorch's is {first}",
            remedy="give both losses the same reduction, form and shape of the target",
            distance=0.0,
        ),
    )


def _expected(both: _Comparison, before: Weights, step: TrainingStep) -> Weights:
    """Weights after a step of Keras's formula with PyTorch's gradients; none if it is unknown."""
    if both.shadow is None:
        return {}
    made = both.shadow.update(before, step.gradients, step.rate)
    return {name: made[name] for name in made.keys() - _without_gradient(step)}


def _narrow(both: _Comparison, before: Weights, step: TrainingStep) -> None:
    """Keep the formulas that computed PyTorch's update."""
    after = both.session.sides["torch"].weights()
    kept = []
    for one in both.likely:
        made = one.update(before, step.gradients, step.rate)
        if all(_apart(after[name], array) <= both.bound for name, array in made.items()):
            kept.append(one)
    both.likely = kept


def _compare_weights(
    both: _Comparison,
    number: int,
    before: Weights,
    expected: Weights,
    step: TrainingStep,
) -> _Mismatch | None:
    """Compare the weights after a step; without a place, only the forms of a formula differ."""
    session = both.session
    ours, theirs = session.each(PairedModel.weights)
    for name in both.variances:
        both.variances[name] = _as_keras(both, before, ours, name)
    ours = ours | both.variances
    skipped = _without_gradient(step)
    session.sides["tensorflow"].set_weights({name: ours[name] for name in skipped})
    names = [name for name in _shared(session, ours) if name not in skipped]
    distances = {name: _apart(ours[name], theirs[name]) for name in names}
    name, distance = worst_of(distances)
    if distance <= both.bound:
        both.largest = max(both.largest, distance)
        return None
    where = f"{name} after step {number}"
    if name not in step.gradients or both.shadow is None or not both.likely:
        return _Mismatch(measured=distance, where=where)
    left = max(_apart(expected[name], theirs[name]) for name in names if name in expected)
    if not left <= max(both.bound, 1e-3 * distance):
        return _Mismatch(measured=distance, where=where)
    causes, notes = _rule_causes(both.likely[0].rule, both.shadow.rule, left)
    if causes or not notes:
        return _Mismatch(measured=distance, where=where, causes=causes)
    both.notes += [note for note in notes if note not in both.notes]
    return _Mismatch(measured=distance, where="")


def _without_gradient(step: TrainingStep) -> set[str]:
    """Weights whose gradient is rounding, such as a bias before a normalisation.

    Adam makes whole steps of it, which change no output.
    """
    zero = ZERO * _largest(step.gradients)
    return {name for name, gradient in step.gradients.items() if _norm(gradient) <= zero}


def _apart(ours: Array, theirs: Array) -> float:
    return rows_apart(ours.reshape(1, -1), theirs.reshape(1, -1))


def _variances(session: PairSession) -> list[str]:
    return [f"{p.name}.running_var" for p in session.pairs if "running_var" in p.shared]


def _as_keras(both: _Comparison, before: Weights, after: Weights, name: str) -> Array:
    """PyTorch's running variance as Keras computes it, from the biased variance of the batch."""
    layer = name.rpartition(".")[0]
    pair = next(pair for pair in both.session.pairs if pair.name == layer)
    share = pair.torch.training.get("momentum")
    values = both.session.values[0][f"{layer}.input"]
    count = len(both.images) * int(np.prod(values.shape[2:]))
    if share is None or count < 2:
        return both.variances[name] + after[name] - before[name]
    new = (after[name] - (1 - share) * before[name]) / share
    kept = (1 - share) * both.variances[name]
    result: Array = kept + share * new * (count - 1) / count
    return result


FRAMEWORKS_DIFFER = {
    "adam": "Keras adds Adam's epsilon before the bias correction of the second moment, PyTorch "
    "after it, and Keras takes the powers of its betas in float32",
    "rmsprop": "Keras adds RMSprop's epsilon under the root, PyTorch after it",
    "adagrad": "Keras adds Adagrad's epsilon under the root, PyTorch after it",
}
"""What no argument changes."""
CLIPS_DIFFER = "PyTorch's clip_grad_norm_ adds 1e-6 to the norm, Keras's global_clipnorm does not"
WORDS = {
    "epsilon": "epsilon",
    "momentum": "momentum",
    "dampening": "dampening",
    "nesterov": "nesterov",
    "betas": "betas",
    "rho": "rho (alpha in PyTorch)",
    "centered": "centered",
    "amsgrad": "amsgrad",
    "start": "initial_accumulator_value",
    "decay": "weight_decay",
    "clip_norm": "clipnorm",
    "clip_all": "global_clipnorm",
    "clip_value": "clipvalue",
}


def _rule_causes(ours: Rule, theirs: Rule, left: float) -> tuple[tuple[Cause, ...], list[str]]:
    """Numbers in which two formulas differ, and differences of the frameworks."""

    def cause(what: str, remedy: str) -> Cause:
        return Cause(side="tensorflow", what=what, remedy=remedy, distance=left)

    if ours.formula != theirs.formula:
        what = f"the optimizer were {theirs.formula}, where PyTorch's is {ours.formula}"
        return (cause(what, "use the same optimizer"),), []
    found = []
    for one in fields(Rule):
        first, second = getattr(ours, one.name), getattr(theirs, one.name)
        if one.name in WORDS and not np.allclose(first, second, 1e-6, 0):
            what = f"the optimizer's {WORDS[one.name]} were {_said(second)}, where PyTorch's is "
            remedy = f"give Keras's {WORDS[one.name].partition(' ')[0]} {_said(first)}"
            if one.name.startswith("clip"):
                remedy = "clip in PyTorch too, in a hook of the optimizer (register_step_pre_hook)"
            found.append(cause(what + _said(first), remedy))
    if ours.decay and theirs.decay and ours.decoupled != theirs.decoupled:
        found.append(
            cause(
                "weight_decay shrank the weights, where PyTorch adds it to the gradient (L2)",
                "use torch.optim.AdamW, or an L2 regularizer in Keras",
            )
        )
    notes = [FRAMEWORKS_DIFFER.get(theirs.formula, "")]
    notes += [CLIPS_DIFFER] if ours.clip_all else []
    return tuple(found), [f"framework difference: {note}" for note in notes if note]


def _said(value: Any) -> str:
    if isinstance(value, tuple):
        return str(value)
    return f"{value:g}" if isinstance(value, float) else str(value)
