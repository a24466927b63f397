"""Lockstep training: two frameworks take the same steps, and their losses are compared.

Three forms, because they can claim different things. In float64 both train freely and must agree
to the last digits that rounding leaves: any other formula stands out by eight orders of magnitude.
In float32 a ReLU or a pool that flips on the last bit sets off a divergence that grows by itself,
in one framework alone as well; so either the second is put where the first stands before each
step, or both train freely and their divergence is measured against that of one framework with
itself.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
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
"""Beyond it (where ten classes start) losses are compared in proportion to their size."""
LAST_LAYER_SHARE = 0.1
"""Of He's standard deviation, for the last layer: the first loss is near ln(num_classes)."""
HALF_BITS: dict[Precision, float] = {"bfloat16": 2.0**-8, "float16": 2.0**-11}
"""The last bit's smallest share of a number, where weights are kept in float32."""


class FrameworkSide(Protocol):
    """One framework of a comparison, in this process or in another."""

    name: str

    def make(self, spec: Spec, recipe: Recipe, weights: Weights) -> Trainer:
        """A trainer that starts from these weights; it takes the place of an earlier one."""

    def epoch_digest(self, recipe: Recipe) -> tuple[int, str]:
        """(number of batches, digest of their bytes) of the first epoch, as this side draws it."""

    def fingerprint(self) -> dict[str, Any]:
        """Versions, device and flags."""


FrameworkSides = Sequence[FrameworkSide]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityCase:
    """What two frameworks are to do alike.

    Attributes:
        spec: The network.
        recipe: Of parity_recipe().
        batches: One per step.
    """

    spec: Spec
    recipe: Recipe
    batches: tuple[Batch, ...]

    def at(self, precision: Precision) -> "ParityCase":
        """The same in another precision."""
        return replace(self, recipe=replace(self.recipe, precision=precision))

    @property
    def rates(self) -> list[float]:
        """The learning rate of every step."""
        count = len(self.batches)
        return [learning_rate_at(self.recipe, step, count) for step in range(count)]

    def weights(self) -> Weights:
        """The initial weights in the precision that they are trained in."""
        weights = initial_weights(self.spec, self.recipe)
        if self.recipe.precision == "float64":
            return {name: array.astype(np.float64) for name, array in weights.items()}
        return weights


def parity_recipe(recipe: Recipe, spec: Spec) -> Recipe:
    """The recipe, changed where a comparison would not see anything or could not be made.

    He's initial weights keep the activations at the images' own scale (under PyTorch's default the
    loss sits at ln(num_classes), and a wrong LRN or another weight decay is invisible). Biases are
    drawn as well: of zeros, no conversion can be wrong. Dropout masks come from the shared hash. A
    constant rate is cut to a quarter half-way, since two formulas of momentum agree until then.
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
    """The batches of the first `steps` steps, over as many epochs as that takes."""
    return tuple(batch for batch, _ in zip(_endless(train, recipe), range(steps), strict=False))


def _endless(train: Split, recipe: Recipe) -> Iterator[Batch]:
    epoch = 0
    while True:
        yield from epoch_batches(train, batch_plan(recipe), epoch)
        epoch += 1


def moved_by_one_bit(weights: Weights, seed: int, precision: Precision) -> Weights:
    """Each weight moved up or down by the last bit of the type that it is computed in.

    To the next number that the array can hold; where the weights are kept more exactly than they
    are computed with, by the half type's smallest share of them: a float32's last bit is rounded
    away before a half type sees it.
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
    """The loss at every step of one framework on its own, and its trainer at the end."""
    trainer = side.make(case.spec, case.recipe, weights)
    handles = [
        trainer.train_step(batch.images, batch.labels, rate)
        for batch, rate in zip(case.batches, case.rates, strict=True)
    ]
    return [value.loss for value in trainer.read(handles)], trainer


def train_freely(sides: FrameworkSides, case: ParityCase, *, with_controls: bool) -> Series:
    """Both frameworks from the same weights, each on its own.

    Args:
        sides: The two frameworks.
        case: What to do.
        with_controls: Also train each of them from weights that differ by one last bit.

    Returns:
        Losses by framework, and by framework how far one last bit takes it from itself.
    """
    weights = case.weights()
    losses = {side.name: free_losses(side, case, weights)[0] for side in sides}
    name = f"free {case.recipe.precision}"
    series = Series(name=name, losses=losses, controls={})
    return add_controls(sides, case, series) if with_controls else series


def add_controls(sides: FrameworkSides, case: ParityCase, series: Series) -> Series:
    """One more draw of every control; each framework's is the largest of its draws so far."""
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
    """How far apart two series of losses are, step by step.

    |first - second|; where a loss has grown beyond LARGE_LOSS, in proportion to it, since so do
    the last digits of its floating point.
    """
    found: NDArray[np.float64] = np.abs(np.subtract(first, second))
    return found / np.maximum(1, np.abs(first) / LARGE_LOSS)


def divergence(first: Sequence[float], second: Sequence[float]) -> list[float]:
    """The largest difference so far, step by step; NaN stays."""
    return [float(value) for value in np.maximum.accumulate(differences(first, second))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resynchronised:
    """What training in step has shown.

    Attributes:
        series: Losses by framework.
        gradients: Step to weight to relative L2 distance, at the steps that were looked at.
        updates: Step to weight to relative L2 distance of its two changes; and of what the
            optimisers keep.
        faults: Framework to the largest distance of its updates from what NumPy computes of the
            same gradients; empty unless it was asked for.
        weights: The first framework's at the end.
    """

    series: Series
    gradients: dict[int, dict[str, float]]
    updates: dict[int, dict[str, float]]
    faults: dict[str, float]
    weights: Weights


def train_in_step(
    sides: FrameworkSides, case: ParityCase, *, look_every: int = 1, judge: bool = False
) -> Resynchronised:
    """The second framework is put where the first stands before each step.

    Args:
        sides: The two frameworks.
        case: What to do.
        look_every: Compare gradients and updates at every so many steps: they are large.
        judge: Compare each update that is looked at with NumPy's, too.
    """
    weights = case.weights()
    first, second = (side.make(case.spec, case.recipe, weights) for side in sides)
    losses: dict[str, list[float]] = {side.name: [] for side in sides}
    faults = dict.fromkeys(losses, 0.0) if judge else {}
    gradients: dict[int, dict[str, float]] = {}
    updates: dict[int, dict[str, float]] = {}
    before = weights
    for step, (batch, rate) in enumerate(zip(case.batches, case.rates, strict=True)):
        looks = step % look_every == 0
        state = shared_state(first.state())
        second.restore(before, state)
        expected = None
        if looks:
            gradients[step], gradient = _gradients_apart(first, second, batch)
            expected = update(case.recipe, before, gradient, state, rate) if judge else None
            del gradient
        del state  # large, as all that is named after weights
        for values, trainer in zip(losses.values(), (first, second), strict=True):
            handle = trainer.train_step(batch.images, batch.labels, rate)
            values.append(trainer.read([handle])[0].loss)
        after = first.weights()
        if looks:
            updates[step] = slots_apart(first.state(), second.state())
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
    """By weight: relative L2 distance; and the first one's gradients."""
    _, ours = first.gradients(batch.images, batch.labels)
    _, theirs = second.gradients(batch.images, batch.labels)
    return {name: l2_apart(gradient, theirs[name]) for name, gradient in ours.items()}, ours


def shared_state(state: Weights) -> Weights:
    """What of a trainer's state means the same in every framework."""
    return {k: v for k, v in state.items() if k == "step" or k.startswith("optimizer.")}


def l2_apart(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Relative L2 distance; 0 if both are zero.

    Where both have overflowed, as float16's gradients do until the loss scale has come down, there
    is nothing to compare.
    """
    finite = np.isfinite(first) | np.isfinite(second)
    if not finite.all():
        first, second = first[finite], second[finite]
    size, distance = float(np.linalg.norm(first)), float(np.linalg.norm(first - second))
    return _share(distance, size)


def apart(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Largest absolute difference over the largest absolute value; infinite if shapes differ."""
    if first.shape != second.shape:
        return math.inf
    return _share(_largest(first - second), _largest(first))


def largest(values: Iterable[float]) -> float:
    """The largest value; NaN if there is one, which max() may lose."""
    return float(np.max(list(values)))


def _largest(array: NDArray[Any]) -> float:
    """The largest absolute value, without a copy; NaN stays."""
    return float(max(array.max(initial=0), -array.min(initial=0)))


def _share(difference: float, whole: float) -> float:
    return difference / whole if whole else (0.0 if difference == 0 else math.inf)


def slots_apart(first: Weights, second: Weights) -> dict[str, float]:
    """By name in the state: relative L2 distance of what two optimisers keep after a step.

    Coupled and decoupled weight decay take the same step and keep another momentum.
    """
    slots = [name for name in shared_state(first) if name.count(".") > 1]
    return {
        name: l2_apart(first[name], second[name]) if name in second else math.inf for name in slots
    }


def changes_apart(before: Weights, first: Weights, second: Weights) -> dict[str, float]:
    """By weight: L2 distance of the two changes, relative to the first.

    Not the largest single one: where a gradient is nearly 0, Adam makes a whole step of its last
    bit.
    """
    return {
        name: _share(
            float(np.linalg.norm(first[name] - second[name])),
            float(np.linalg.norm(first[name] - old)),
        )
        for name, old in before.items()
    }
