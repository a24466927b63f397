"""Lockstep training: two frameworks take the same steps, and their losses are compared.

There are three forms, because they can prove different things. In float64 both train freely and
must agree to the last digits that rounding leaves: any other formula differs by eight orders of
magnitude more. In float32 a ReLU or a max-pool that flips on the last bit starts a divergence that
grows by itself, even within one framework. So either the second framework is re-synchronised with
the first before each step, or both train freely and their divergence is compared with a control:
one framework against itself, started from weights that differ in the last bit.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain, count, islice
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from alexnet_impl.data.batches import Batch, epoch_batches
from alexnet_impl.data.dataset import Split
from alexnet_impl.frameworks import Trainer
from alexnet_impl.network.spec import Spec, weight_shapes
from alexnet_impl.parity.record import Series
from alexnet_impl.parity.reference import update
from alexnet_impl.recipe.recipe import Precision, Recipe, learning_rate_at
from alexnet_impl.training.feeding import batch_plan
from alexnet_impl.weights.canonical import Weights
from alexnet_impl.weights.initializers import initial_weights

LARGE_LOSS = math.log(10)
"""Losses above this (the first loss of ten classes) are compared relative to their size."""
LAST_LAYER_SHARE = 0.1
"""Fraction of He's standard deviation for the last layer: the first loss is near ln(classes)."""
HALF_BITS: dict[Precision, float] = {"bfloat16": 2.0**-8, "float16": 2.0**-11}
"""Relative size of the last bit of a half type, for weights that are stored in float32."""


class FrameworkSide(Protocol):
    """One framework of a comparison, in this process or in another."""

    name: str

    def make(self, spec: Spec, recipe: Recipe, weights: Weights) -> Trainer:
        """A trainer that starts from weights of the canonical layout; an earlier one is invalid."""

    def epoch_digest(self, recipe: Recipe) -> tuple[int, str]:
        """(number of batches, digest of their bytes) that this framework draws for epoch 0."""

    def fingerprint(self) -> dict[str, Any]:
        """Versions, device and flags."""


FrameworkSides = Sequence[FrameworkSide]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityCase:
    """A parity case: network, recipe and one batch per step.

    Attributes:
        spec: The network.
        recipe: A recipe from parity_recipe().
        batches: One per training step.
    """

    spec: Spec
    recipe: Recipe
    batches: tuple[Batch, ...]

    def at(self, precision: Precision) -> "ParityCase":
        """The same case in another precision."""
        return replace(self, recipe=replace(self.recipe, precision=precision))

    @property
    def rates(self) -> list[float]:
        """The learning rate of every step."""
        steps = len(self.batches)
        return [learning_rate_at(self.recipe, step, steps) for step in range(steps)]

    def weights(self) -> Weights:
        """Initial weights in the canonical layout, in the precision that they are trained in."""
        weights = _drawn(self.spec, self.recipe)
        if self.recipe.precision == "float64":
            return {name: array.astype(np.float64) for name, array in weights.items()}
        return weights


@lru_cache(maxsize=1)
def _drawn(spec: Spec, recipe: Recipe) -> Weights:
    """The initial weights of a case, which every check starts from: drawing them takes seconds."""
    return initial_weights(spec, recipe)


def parity_recipe(recipe: Recipe, spec: Spec) -> Recipe:
    """The recipe with the changes that make differences visible and frameworks comparable.

    He's initial weights keep the activations at the scale of the images (with PyTorch's default the
    loss stays at ln(num_classes), which hides a wrong LRN or another weight decay). Biases are
    random, since a wrong conversion of zeros cannot be seen. Dropout masks come from the shared
    hash. A constant learning rate is quartered half-way, since the two momentum formulas agree
    while it is constant.
    """
    last_kernel = [shape for name, shape in weight_shapes(spec).items() if name.endswith("weight")]
    fan_in = last_kernel[-1][1]
    changed = replace(
        recipe,
        initializer="he",
        bias_initializer="uniform",
        last_layer_std=LAST_LAYER_SHARE * math.sqrt(2 / fan_in),
        dropout_masks="shared",
        steps_per_call=1,
        device_data=False,
    )
    if recipe.schedule == "constant":
        changed = replace(changed, schedule="step", step_at=(0.5,), step_factor=0.25)
    return changed


def draw_batches(train: Split, recipe: Recipe, steps: int) -> tuple[Batch, ...]:
    """Batches of the first `steps` training steps, over as many epochs as needed."""
    epochs = (epoch_batches(train, batch_plan(recipe), epoch) for epoch in count())
    return tuple(islice(chain.from_iterable(epochs), steps))


def moved_by_one_bit(weights: Weights, seed: int, precision: Precision) -> Weights:
    """Weights that are each moved up or down by the last bit of the precision they are used in.

    Half types are computed from weights stored in float32, whose own last bit would be rounded
    away: there, a weight moves by the relative size of the half type's last bit. Shapes stay.
    """
    rng = np.random.default_rng(seed)
    share = HALF_BITS.get(precision)
    moved: Weights = {}
    for name, array in weights.items():
        up = rng.integers(0, 2, array.shape, dtype=np.uint8).astype(bool)
        if share is None:
            targets = np.where(up, np.inf, -np.inf).astype(array.dtype)
            moved[name] = np.nextafter(array, targets)
        else:
            moved[name] = array * np.where(up, 1 + share, 1 - share).astype(array.dtype)
    return moved


def free_losses(
    side: FrameworkSide, case: ParityCase, weights: Weights
) -> tuple[list[float], Trainer]:
    """Train one framework alone.

    Returns:
        The loss at every step, shape (steps,), and the trainer after the last.
    """
    trainer = side.make(case.spec, case.recipe, weights)
    handles = [
        trainer.train_step(batch.images, batch.labels, rate)
        for batch, rate in zip(case.batches, case.rates, strict=True)
    ]
    return [value.loss for value in trainer.read(handles)], trainer


def train_freely(sides: FrameworkSides, case: ParityCase, *, with_controls: bool) -> Series:
    """Train both frameworks from the same weights, each on its own.

    With controls each is also trained from weights that differ in the last bit, and the series has
    its divergence from that control.
    """
    weights = case.weights()
    losses = {side.name: free_losses(side, case, weights)[0] for side in sides}
    name = f"free {case.recipe.precision}"
    series = Series(name=name, losses=losses, controls={})
    return add_controls(sides, case, series) if with_controls else series


def add_controls(sides: FrameworkSides, case: ParityCase, series: Series) -> Series:
    """Train every control once more, and keep each framework's largest divergence so far."""
    weights, precision = case.weights(), case.recipe.precision
    controls: dict[str, list[float]] = {}
    for place, side in enumerate(sides):
        seed = series.draws * len(sides) + place
        moved, _ = free_losses(side, case, moved_by_one_bit(weights, seed, precision))
        found = divergence(series.losses[side.name], moved)
        before = series.controls.get(side.name, found)
        controls[side.name] = [float(value) for value in np.maximum(before, found)]
    return replace(series, controls=controls, draws=series.draws + 1)


def differences(first: Sequence[float], second: Sequence[float]) -> NDArray[np.float64]:
    """Differences of two loss curves, shape (steps,): |first - second|.

    A loss above LARGE_LOSS is compared relative to its size, since rounding grows with it.
    """
    found: NDArray[np.float64] = np.abs(np.subtract(first, second))
    return found / np.maximum(1, np.abs(first) / LARGE_LOSS)


def divergence(first: Sequence[float], second: Sequence[float]) -> list[float]:
    """The largest difference of two loss curves up to each step; NaN stays NaN."""
    return [float(value) for value in np.maximum.accumulate(differences(first, second))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resynchronised:
    """Results of re-synchronised training.

    Attributes:
        series: Losses by framework.
        gradients: Step to weight to relative L2 distance, at the inspected steps.
        updates: Step to weight to relative L2 distance of the two changes; optimiser slots too.
        faults: Framework to the largest distance of its updates from NumPy's, computed from the
            same gradients; empty without `judge`.
        weights: The first framework's weights after the last step.
    """

    series: Series
    gradients: dict[int, dict[str, float]]
    updates: dict[int, dict[str, float]]
    faults: dict[str, float]
    weights: Weights


def train_in_step(
    sides: FrameworkSides,
    case: ParityCase,
    *,
    look_every: int = 1,
    judge: bool = False,
    with_gradients: bool = True,
) -> Resynchronised:
    """Train both frameworks, and copy weights and optimiser state to the second before each step.

    Args:
        sides: The first decides the weights before each step.
        case: The network, recipe and batches.
        look_every: Interval in steps at which gradients and updates, which are large, are compared.
        judge: Also compare these updates with NumPy's, which needs the gradients.
        with_gradients: Whether to compare gradients beside the updates that follow from them.
    """
    weights = case.weights()
    first, second = (side.make(case.spec, case.recipe, weights) for side in sides)
    losses: dict[str, list[float]] = {side.name: [] for side in sides}
    faults = dict.fromkeys(losses, 0.0) if judge else {}
    gradients: dict[int, dict[str, float]] = {}
    updates: dict[int, dict[str, float]] = {}
    before, state = weights, shared_state(first.state())
    for step, (batch, rate) in enumerate(zip(case.batches, case.rates, strict=True)):
        looks = step % look_every == 0
        second.restore(before, state)
        expected = None
        if looks and (with_gradients or judge):
            gradients[step], gradient = _gradients_apart(first, second, batch)
            expected = update(case.recipe, before, gradient, state, rate) if judge else None
            del gradient
        for values, trainer in zip(losses.values(), (first, second), strict=True):
            handle = trainer.train_step(batch.images, batch.labels, rate)
            values.append(trainer.read([handle])[0].loss)
        after = first.weights()
        state = shared_state(first.state())
        if looks:
            updates[step] = slots_apart(state, second.state())
            moved = second.weights()
            updates[step] |= changes_apart(before, after, moved)
            if expected is not None:
                for name, trainer, own in zip(faults, (first, second), (after, moved), strict=True):
                    far = changes_apart(before, expected.weights, own)
                    far |= slots_apart(expected.slots, trainer.state())
                    faults[name] = largest((faults[name], *far.values()))
            del moved
        before = after
    name = f"re-synchronised {case.recipe.precision}"
    return Resynchronised(
        series=Series(name=name, losses=losses, controls={}),
        gradients=gradients,
        updates=updates,
        faults=faults,
        weights=before,
    )


def _gradients_apart(
    first: Trainer, second: Trainer, batch: Batch
) -> tuple[dict[str, float], Weights]:
    """Relative L2 distance of the gradients by weight, and the first framework's gradients."""
    _, ours = first.gradients(batch.images, batch.labels)
    _, theirs = second.gradients(batch.images, batch.labels)
    return {name: l2_apart(gradient, theirs[name]) for name, gradient in ours.items()}, ours


def shared_state(state: Weights) -> Weights:
    """Entries of a trainer's state, in the canonical layout, that mean the same everywhere."""
    return {k: v for k, v in state.items() if k == "step" or k.startswith("optimizer.")}


def l2_apart(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Relative L2 distance of two arrays of one shape; 0 if both are zero.

    Elements that overflowed in both are left out: float16 gradients do so until the loss scale has
    come down.
    """
    finite = np.isfinite(first) | np.isfinite(second)
    if not finite.all():
        first, second = first[finite], second[finite]
    size, distance = float(np.linalg.norm(first)), float(np.linalg.norm(first - second))
    return _share(distance, size)


def apart(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Largest absolute difference relative to the largest value; infinite if shapes differ."""
    if first.shape != second.shape:
        return math.inf
    return _share(_largest(first - second), _largest(first))


def largest(values: Iterable[float]) -> float:
    """The largest value, or NaN if there is one (max() may lose it)."""
    return float(np.max(list(values)))


def _largest(array: NDArray[Any]) -> float:
    """The largest absolute value, computed without a copy; NaN stays NaN."""
    return float(max(array.max(initial=0), -array.min(initial=0)))


def _share(difference: float, whole: float) -> float:
    return difference / whole if whole else (0.0 if difference == 0 else math.inf)


def slots_apart(first: Weights, second: Weights) -> dict[str, float]:
    """Relative L2 distance of two optimisers' slots after a step, by name in the state.

    Coupled and decoupled weight decay may take the same step and keep different momentum. Slots
    have the canonical layout.
    """
    slots = [name for name in shared_state(first) if name.count(".") > 1]
    return {
        name: l2_apart(first[name], second[name]) if name in second else math.inf for name in slots
    }


def changes_apart(before: Weights, first: Weights, second: Weights) -> dict[str, float]:
    """L2 distance of two changes of each weight, relative to the first change.

    Not the largest element's: Adam turns the last bit of a gradient of almost 0 into a whole step.
    All weights have the canonical layout.
    """
    return {
        name: _share(
            float(np.linalg.norm(first[name] - second[name])),
            float(np.linalg.norm(first[name] - old)),
        )
        for name, old in before.items()
    }
