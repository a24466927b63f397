"""Stages of a parity comparison: from the batches' bytes to a trained network's predictions.

Each check starts from values that an earlier check has shown to be equal, so the first check that
fails names the part with the error. The comparison ends with the first stage that fails, since
later differences follow from it.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from alexnet_impl.data.batches import Batch, eval_batches
from alexnet_impl.data.dataset import Split
from alexnet_impl.data.preprocessing import INPUT_SCALINGS, preprocess
from alexnet_impl.frameworks import Activations, Trainer
from alexnet_impl.network.spec import Dropout, weight_shapes
from alexnet_impl.parity.causes import (
    batch_causes,
    dropout_causes,
    forward_causes,
    loss_candidates,
    training_causes,
    update_candidates,
)
from alexnet_impl.parity.lockstep import (
    FrameworkSides,
    ParityCase,
    Resynchronised,
    add_controls,
    apart,
    differences,
    divergence,
    l2_apart,
    largest,
    train_freely,
    train_in_step,
)
from alexnet_impl.parity.record import Cause, CheckResult, Series
from alexnet_impl.parity.reference import forward, loss
from alexnet_impl.parity.tolerances import Check, judged, tolerance
from alexnet_impl.recipe.recipe import Precision
from alexnet_impl.training.evaluation import eval_batch_size
from alexnet_impl.weights.canonical import Weights, inner_kernels

FULL = ("float64", "float32")
"""Precisions in which single gradients and updates can be compared."""
FEW_IMAGES = 16
"""Images whose activations are compared layer by layer: those of a 227x227 network are large."""
FEW_STEPS = 4
"""Steps that show every update formula: the learning rate changes half-way."""
LOOKS = 10
"""Number of steps of a long lockstep training whose gradients and updates are compared."""
MOST_DRAWS = 6
"""Trainings of each control before the frameworks' divergence counts as too large."""
EARLY_STEPS: dict[int, Check] = {
    1: "free step 1",
    2: "free step 2",
    5: "free step 5",
    10: "free step 10",
}
"""Steps of free float32 training that have their own bounds."""

Stage = tuple[list[CheckResult], Callable[[], tuple[Cause, ...]]]
"""The checks of a stage, and a function that finds the causes if one of them fails."""
Announce = Callable[[CheckResult], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResults:
    """Results of all stages that were run.

    Attributes:
        checks: In order; those after the first failing stage are missing.
        series: Loss curves of the lockstep forms.
        complete: Whether the last stage held.
    """

    checks: tuple[CheckResult, ...]
    series: tuple[Series, ...]
    complete: bool


def run_stages(
    sides: FrameworkSides, case: ParityCase, test: Split, announce: Announce
) -> StageResults:
    """Run the stages in order until one fails.

    Args:
        sides: The two frameworks.
        case: The network, recipe and batches; compared in float64 and in the recipe's precision.
        test: The images whose predictions are compared.
        announce: Called with every check as soon as it is measured.
    """
    checks: list[CheckResult] = []
    series: list[Series] = []

    def stage(results: Iterator[CheckResult | Series]) -> bool:
        """Collect a stage's results; return whether every check held."""
        held = True
        for result in results:
            if isinstance(result, Series):
                series.append(result)
                continue
            checks.append(result)
            announce(result)
            held = held and result.holds
        return held

    precisions: tuple[Precision, ...] = ("float64", case.recipe.precision)
    stages = [
        batch_checks(sides, case),
        *(static_checks(sides, case.at(precision)) for precision in dict.fromkeys(precisions)),
        lockstep_checks(sides, case, test),
    ]
    complete = all(stage(results) for results in stages)  # ends at the first that fails
    return StageResults(checks=tuple(checks), series=tuple(series), complete=complete)


def batch_checks(sides: FrameworkSides, case: ParityCase) -> Iterator[CheckResult]:
    """Check that both frameworks draw the same bytes for epoch 0."""
    observed = {side.name: side.epoch_digest(case.recipe) for side in sides}
    (first, second) = observed.values()
    causes = () if first == second else batch_causes(sides, case.recipe, observed)
    where = "" if first == second else f"{first[0]} and {second[0]} batches"
    yield CheckResult(
        name="batches of the first epoch",
        precision="",
        measured=float(first != second),
        tolerance=0.0,
        reason="uint8, drawn in NumPy: the same sha256",
        where=where,
        causes=causes,
        sought=first != second,
    )


def static_checks(
    sides: FrameworkSides, case: ParityCase, *, explain: bool = True
) -> Iterator[CheckResult]:
    """Check weights, forward pass, gradients and a few updates in one precision.

    With `explain` the causes of a failure are looked for, which doubles the time.
    """
    weights = case.weights()
    trainers = [side.make(case.spec, case.recipe, weights) for side in sides]
    yield _weights_check(case, weights, [trainer.weights() for trainer in trainers])
    stages: tuple[Callable[[], Stage], ...] = (
        lambda: _forward_stage(sides, case, trainers),
        lambda: _training_stage(sides, case, trainers),
        lambda: _update_stage(sides, case),
    )
    for stage in stages:
        checks, find = stage()
        yield from _explained(checks, find) if explain else checks
        if not all(check.holds for check in checks):
            return


def _few(batch: Batch) -> Batch:
    return Batch(images=batch.images[:FEW_IMAGES], labels=batch.labels[:FEW_IMAGES])


def _shortened(case: ParityCase) -> ParityCase:
    return replace(case, batches=case.batches[:FEW_STEPS])


def _explained(
    checks: list[CheckResult], find: Callable[[], tuple[Cause, ...]]
) -> Iterator[CheckResult]:
    """Yield the checks, the first failing one with its causes."""
    failing = next((check for check in checks if not check.holds), None)
    for check in checks:
        if check is failing and not check.causes:
            yield replace(check, causes=find(), sought=True)
        else:
            yield check


def _weights_check(case: ParityCase, given: Weights, read: list[Weights]) -> CheckResult:
    changed = [
        name
        for name, array in given.items()
        if any(found[name].tobytes() != array.tobytes() for found in read)
    ]
    return CheckResult(
        name="weights",
        precision=case.recipe.precision,
        measured=float(len(changed)),
        tolerance=0.0,
        reason="number of weights that change on the way into the framework and out again",
        where=changed[0] if changed else "",
    )


def _forward_stage(sides: FrameworkSides, case: ParityCase, trainers: list[Trainer]) -> Stage:
    """Compare preprocessed images, every layer and the logits; in float64 with NumPy too."""
    few = _few(case.batches[0])
    found = [trainer.activations(few.images) for trainer in trainers]
    first, second = found
    checks = [
        judged(
            "preprocessing",
            case.recipe.precision,
            apart(first["images"], second["images"]),
            where="images",
        ),
        _layers_check(case, first, second),
        judged(
            "logits",
            case.recipe.precision,
            apart(*(trainer.logits(few.images) for trainer in trainers)),
            where=case.spec.layers[-1].name,
        ),
    ]
    by_side = {side.name: outputs for side, outputs in zip(sides, found, strict=True)}

    def layer_faults() -> dict[str, float]:
        return {name: _layer_faults(case, outputs) for name, outputs in by_side.items()}

    if case.recipe.precision == "float64":
        checks[2:2] = [_fault_check(case, "layers", layer_faults())]

    def find() -> tuple[Cause, ...]:
        row: Check = "layers" if checks[0].holds else "preprocessing"
        faults = (
            layer_faults()
            if checks[0].holds
            else {name: _preprocessing_fault(case, seen, few) for name, seen in by_side.items()}
        )
        fault = _guilty(faults, tolerance(row, case.recipe.precision))
        return forward_causes(sides, case, few.images, fault)

    return checks, find


def _preprocessing_fault(case: ParityCase, outputs: Activations, few: Batch) -> float:
    """Distance of the preprocessed images from NumPy's."""
    recipe, size = case.recipe, case.spec.input_shape[1]
    expected = preprocess(
        few.images, INPUT_SCALINGS[recipe.input_scaling], size, resize=recipe.resize
    )
    return apart(expected.transpose(0, 3, 1, 2), outputs["images"])


def _layer_faults(case: ParityCase, outputs: Activations) -> float:
    """Distance of the worst layer from NumPy's, computed from the same preprocessed images."""
    expected = forward(case.spec, case.weights(), outputs["images"])
    return max((apart(expected[name], outputs[name]) for name in expected), key=_nan_last)


def _fault_check(case: ParityCase, row: Check, faults: dict[str, float]) -> CheckResult:
    """Compare both frameworks with NumPy: two that agree may both be wrong."""
    worst = max(faults, key=lambda name: _nan_last(faults[name]))
    return judged(
        row, case.recipe.precision, faults[worst], where=worst, name=f"{row} against NumPy"
    )


def _guilty(faults: dict[str, float], bound: float) -> str:
    """The only framework that differs from NumPy by more than the bound; otherwise ''."""
    beyond = [name for name, distance in faults.items() if not distance <= bound]
    return beyond[0] if len(beyond) == 1 else ""


def _layers_check(
    case: ParityCase, first: Activations, second: Activations, name: str = "layers"
) -> CheckResult:
    distances = {name: apart(first[name], second[name]) for name in first if name != "images"}
    bound = tolerance("layers", case.recipe.precision)
    where = next((name for name, distance in distances.items() if not distance <= bound), "")
    worst = max(distances.values(), key=_nan_last)
    return judged("layers", case.recipe.precision, worst, name=name, where=where)


def _nan_last(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _training_stage(sides: FrameworkSides, case: ParityCase, trainers: list[Trainer]) -> Stage:
    """Compare layers with dropout, the loss and its gradients."""
    batch, checks = case.batches[0], []
    if any(isinstance(layer, Dropout) for layer in case.spec.layers):
        checks.append(_dropout_check(sides, case, trainers))
    found = [trainer.gradients(batch.images, batch.labels) for trainer in trainers]
    (loss1, first), (loss2, second) = found
    checks.append(
        judged("loss", case.recipe.precision, abs(loss1 - loss2) / abs(loss1), where="the loss")
    )
    apart_by_weight = {name: l2_apart(first[name], second[name]) for name in first}
    checks.extend(_gradient_checks(case, {0: apart_by_weight}))

    def find() -> tuple[Cause, ...]:
        last = case.spec.layers[-1].name
        faults = {}
        for side, trainer, (value, _) in zip(sides, trainers, found, strict=True):
            logits = trainer.activations(batch.images, training=True)[last]
            faults[side.name] = abs(value - loss(logits, batch.labels, case.recipe))
        short = _shortened(case)
        bound = tolerance("loss", case.recipe.precision) * abs(loss1)
        return training_causes(sides, short, loss_candidates(short), _guilty(faults, bound))

    return checks, find


def _dropout_check(sides: FrameworkSides, case: ParityCase, trainers: list[Trainer]) -> CheckResult:
    few = _few(case.batches[0])
    first, second = (trainer.activations(few.images, training=True) for trainer in trainers)
    check = _layers_check(case, first, second, name="layers with dropout")
    if check.holds:
        return check
    layers = case.spec.layers
    place = [layer.name for layer in layers].index(check.where)
    layer = layers[place]
    if not isinstance(layer, Dropout):
        return check
    names = (side.name for side in sides)
    observed = dict(zip(names, (first[layer.name], second[layer.name]), strict=True))
    given = first[layers[place - 1].name if place else "images"]
    return replace(check, causes=dropout_causes(layer, given, observed))


def _gradient_checks(
    case: ParityCase, gradients: dict[int, dict[str, float]]
) -> Iterator[CheckResult]:
    """Check worst and median gradient over weights and steps; in half precision only the median.

    A single weight's gradient may be pure noise in half precision.
    """
    every = [value for step in gradients.values() for value in step.values()]
    where = ""
    if case.recipe.precision in FULL:
        where = _first_weight(gradients, tolerance("gradients", case.recipe.precision))
        yield judged("gradients", case.recipe.precision, largest(every), where=where)
    yield judged("median gradient", case.recipe.precision, float(np.median(every)), where=where)


def _first_weight(distances: dict[int, dict[str, float]], bound: float) -> str:
    """The first step beyond the bound, and in it the weight nearest to the loss."""
    for step, by_weight in distances.items():
        for name, distance in reversed(by_weight.items()):
            if not distance <= bound:
                return f"step {step + 1}, {name}"
    return ""


def _update_stage(sides: FrameworkSides, case: ParityCase) -> Stage:
    """Compare a few updates from equal weights, state and batch; in float64 with NumPy too."""
    short = _shortened(case)
    exact = case.recipe.precision == "float64"
    done = train_in_step(sides, short, judge=exact, with_gradients=False)
    checks = list(_changes_checks(short, done))
    if case.recipe.precision not in FULL:
        checks.append(_median_change_check(short, done))
    if exact:
        checks.append(_fault_check(short, "weights' change", done.faults))

    def find() -> tuple[Cause, ...]:
        fault = ""
        if done.faults:  # measured in float64 only
            fault = _guilty(done.faults, tolerance("weights' change", "float64"))
        return training_causes(sides, short, update_candidates(short), fault)

    return checks, find


def _changes_checks(case: ParityCase, done: Resynchronised) -> Iterator[CheckResult]:
    """Check the worst update of any weight; in half precision it may be pure noise."""
    if case.recipe.precision in FULL:
        every = [value for step in done.updates.values() for value in step.values()]
        bound = tolerance("weights' change", case.recipe.precision)
        where = _first_weight(done.updates, bound)
        yield judged("weights' change", case.recipe.precision, largest(every), where=where)


def _median_change_check(case: ParityCase, done: Resynchronised) -> CheckResult:
    """Check the median update in half precision, for the kind of weight where it is largest.

    An optimiser may update kinds differently: inner kernels (see inner_kernels), other kernels,
    biases. Optimiser slots are left out: they follow from gradients that were compared.
    """
    dimensions = {name: len(shape) for name, shape in weight_shapes(case.spec).items()}
    inner = inner_kernels(dimensions)
    by_kind: dict[str, list[float]] = {}
    for step in done.updates.values():
        for name, count in dimensions.items():
            kind = "inner kernels" if name in inner else "kernels" if count > 1 else "biases"
            by_kind.setdefault(kind, []).append(step[name])
    medians = {kind: float(np.median(values)) for kind, values in by_kind.items()}
    worst = max(medians, key=lambda kind: _nan_last(medians[kind]))
    return judged("median change", case.recipe.precision, medians[worst], where=worst)


def lockstep_checks(
    sides: FrameworkSides, case: ParityCase, test: Split
) -> Iterator[CheckResult | Series]:
    """Check many steps: free in float64, re-synchronised and free in the recipe's precision."""
    exact = case.at("float64")
    series = train_freely(sides, exact, with_controls=False)
    yield series
    yield _losses_check("lockstep", exact, series)
    done = train_in_step(sides, case, look_every=max(1, math.ceil(len(case.batches) / LOOKS)))
    if case.recipe.precision != "float64":  # there, the free form says more
        yield done.series
        yield _losses_check("re-synchronised", case, done.series)
        yield from _gradient_checks(case, done.gradients)
        yield from _changes_checks(case, done)
        free = train_beside_controls(sides, case)
        yield free
        yield from _free_checks(case, free)
    yield predictions_check(sides, case, done.weights, test)


def _losses_check(check: Check, case: ParityCase, series: Series) -> CheckResult:
    """Check the largest difference of the losses at any step."""
    found = differences(*series.losses.values())
    beyond = np.flatnonzero(~(found <= tolerance(check, case.recipe.precision)))
    where = f"step {beyond[0] + 1}" if len(beyond) else ""
    return judged(check, case.recipe.precision, float(found.max()), where=where)


def _free_checks(case: ParityCase, series: Series) -> Iterator[CheckResult]:
    """Check the first steps against their own bounds, and all steps against the controls."""
    found = divergence(*series.losses.values())
    if case.recipe.precision == "float32":
        for step, row in EARLY_STEPS.items():
            if step <= len(found):
                yield judged(row, case.recipe.precision, found[step - 1], where=f"step {step}")
    bound = tolerance("against control", case.recipe.precision)
    ratios = bound * np.divide(found, series.allowed)
    beyond = np.flatnonzero(~(ratios <= bound))
    where = f"step {beyond[0] + 1}" if len(beyond) else ""
    yield judged("against control", case.recipe.precision, float(ratios.max()), where=where)


def train_beside_controls(sides: FrameworkSides, case: ParityCase) -> Series:
    """Train freely, and find the divergence that the controls allow.

    A control may happen to meet no flip at all. So controls are trained up to MOST_DRAWS times
    before the frameworks' divergence counts as too large.
    """
    precision = case.recipe.precision
    series = train_freely(sides, case, with_controls=True)
    while True:
        series = replace(series, allowed=allowed_divergence(series, precision))
        within = np.less_equal(divergence(*series.losses.values()), series.allowed).all()
        if within or series.draws >= MOST_DRAWS:
            return series
        series = add_controls(sides, case, series)


def allowed_divergence(series: Series, precision: Precision) -> list[float]:
    """Allowed divergence of two frameworks at each step: a multiple of the larger control.

    The step of the first flip is random, in the controls too: a control without a flip so far
    counts as a third of the bound of step 10.
    """
    bound = tolerance("against control", precision)
    if precision == "float32":
        floor = tolerance("free step 10", precision) / bound
    else:
        floor = tolerance("re-synchronised", precision)
    controls = zip(*series.controls.values(), strict=True)
    return [bound * largest((floor, *control)) for control in controls]


def predictions_check(
    sides: FrameworkSides, case: ParityCase, weights: Weights, test: Split
) -> CheckResult:
    """Check the fraction of test images whose predicted class differs, ties excluded.

    In a tie the two largest logits differ by less than twice the tolerance of logits. Logits that
    are not finite count as different. The weights have the canonical layout.
    """
    found = []
    for side in sides:
        trainer = side.make(case.spec, case.recipe, weights)
        size = eval_batch_size(case.spec.input_shape[1])
        batches = eval_batches(test, size)
        found.append(np.concatenate([trainer.logits(batch.images) for batch in batches]))
    first, second = found
    two_largest = np.sort(first, axis=1)[:, -2:]
    margin = 2 * tolerance("logits", case.recipe.precision) * np.abs(first).max(axis=1)
    ties = np.ptp(two_largest, axis=1) <= margin
    finite = np.isfinite(first).all(axis=1) & np.isfinite(second).all(axis=1)
    differ = ~finite | ((first.argmax(1) != second.argmax(1)) & ~ties)
    indices = np.flatnonzero(differ)
    return CheckResult(
        name="predictions",
        precision=case.recipe.precision,
        measured=float(differ.mean()),
        tolerance=0.0,
        reason=f"fraction of {len(test)} test images that differ; {int(ties.sum())} ties excluded",
        where=f"test image {indices[0]}" if len(indices) else "",
    )
