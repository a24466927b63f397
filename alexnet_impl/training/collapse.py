"""Detects a network whose units have died, and warns before the first step that they may.

A step that is too large kills ReLUs: a unit that is 0 for every image gets no gradient and stays 0.
Once nearly all units of a layer are dead, the logits no longer depend on the image, the loss stays
at ln(num_classes), and only the last bias still learns. docs/collapse.md has the measurements that
the thresholds are based on.
"""

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet_impl.frameworks import Activations, Labels, Pixels, Trainer
from alexnet_impl.network.spec import Conv, Dense, Relu, Spec
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.runs.records import ActivationStatistics, CollapseReport

NUM_CHECK_IMAGES = 16
"""Images that the statistics are measured on: with more images, fewer units count as dead."""
DEAD_SHARE = 0.9
"""Threshold of the largest share of dead units in a layer: slow starts had up to 0.77, collapsed
networks 0.97 and more."""
LOGITS_STD = 1e-4
"""Threshold of the logits' standard deviation: in a dead network it falls below 5e-5. It stayed
above 3e-4 in damaged networks that still learned, and in slow starts, with few exceptions whose
units are alive."""
CHECKS_IN_A_ROW = 5
"""Consecutive checks in which both thresholds must be passed: a network may recover."""
PROBE_SHIFT = 2.0
"""Standard deviations by which one step may move a convolution's outputs. Healthy runs stay below
0.7; of the runs above 2.4 two in three collapsed, and all lost most units of a layer."""
LARGEST_SHIFT = 1e6
"""Recorded in place of a larger shift, and where outputs are not finite."""
FIRST_GAP = 2
"""Steps between two checks at first, and after a suspicious check."""
GAP_GROWTH = 20
"""Later the next check comes after 1/GAP_GROWTH of the steps taken: about 100 checks an epoch."""


def relu_names(spec: Spec) -> tuple[str, ...]:
    """Returns the names of the ReLUs in the Spec's order."""
    return tuple(layer.name for layer in spec.layers if isinstance(layer, Relu))


def layer_statistics(activations: Activations, spec: Spec, step: int) -> ActivationStatistics:
    """Computes the activation statistics after a step.

    Args:
        activations: Each layer's outputs, of shape (batch, channels, height, width) or
            (batch, features); the last layer's are the logits, (batch, num_classes).
        spec: The network.
        step: Steps taken so far.
    """
    logits = activations[spec.layers[-1].name]
    return ActivationStatistics(
        step=step,
        dead_share={name: dead_share(activations[name]) for name in relu_names(spec)},
        logits_std=float(logits.std(axis=0).mean()),
    )


def dead_share(outputs: NDArray[np.floating]) -> float:
    """Computes the share of units whose outputs are 0 or below for all images and positions.

    The outputs are of shape (batch, channels, height, width) or (batch, features).
    """
    others = tuple(axis for axis in range(outputs.ndim) if axis != 1)
    return float((outputs.max(axis=others) <= 0).mean())


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Result of the first-step probe.

    Attributes:
        shift: The name of each convolution and dense layer to how far the step moves its outputs
            before the ReLU, in their standard deviations.
        trial_time_s: Seconds of the trial step, compilation included.
    """

    shift: dict[str, float]
    trial_time_s: float


def probe(
    trainer: Trainer,
    spec: Spec,
    images: Pixels,
    labels: Labels,
    learning_rate: float,
    feed: Any = None,
) -> Probe:
    """Takes one trial step, measures how far it moves the layers' outputs, and undoes it exactly.

    Args:
        trainer: The trainer; its weights, optimizer and random state are restored to the last bit.
        spec: Its network.
        images: The run's first batch, uint8 of shape (batch, height, width, 3): a batch of another
            size would have to be compiled for itself.
        labels: int64 of shape (batch,).
        learning_rate: The first step's.
        feed: The batch as GatherIndices, if the dataset is on the device.
    """
    shown = images[:NUM_CHECK_IMAGES]
    weights, state = trainer.weights(), trainer.state()
    before = pre_activations(trainer.activations(shown), spec)
    trainer.synchronize()
    started = time.perf_counter()
    trainer.train_step(images if feed is None else feed, labels, learning_rate)
    trainer.synchronize()
    trial_time_s = time.perf_counter() - started
    after = pre_activations(trainer.activations(shown), spec)
    trainer.restore(weights, state)
    return Probe(
        shift={name: shift_over_std(before[name], after[name]) for name in before},
        trial_time_s=trial_time_s,
    )


def pre_activations(activations: Activations, spec: Spec) -> Activations:
    """Returns the outputs of convolutions and dense layers, by name, in the shapes they have."""
    return {
        layer.name: activations[layer.name]
        for layer in spec.layers
        if isinstance(layer, Conv | Dense)
    }


def shift_over_std(before: NDArray[np.floating], after: NDArray[np.floating]) -> float:
    """Computes a layer's mean absolute change, over the standard deviation before the change.

    Args:
        before: Of shape (batch, channels, height, width) or (batch, features).
        after: Of the same shape.

    Returns:
        A scalar, at most LARGEST_SHIFT.
    """
    with np.errstate(all="ignore"):
        moved, spread = float(np.abs(after - before).mean()), float(before.std())
    # A division by 0 and NaN become LARGEST_SHIFT: JSON has no NaN.
    return moved / spread if moved < LARGEST_SHIFT * spread else LARGEST_SHIFT


class CollapseDetector:
    """Counts consecutive checks that look like a collapse."""

    def __init__(self) -> None:
        self.count = 0

    def check(self, statistics: ActivationStatistics) -> bool:
        """Returns whether the network has collapsed, after this check and those before."""
        _, share = statistics.worst
        suspicious = share >= DEAD_SHARE and statistics.logits_std < LOGITS_STD
        self.count = self.count + 1 if suspicious else 0
        return self.count >= CHECKS_IN_A_ROW


class CollapseWatch:
    """The first-step probe and the collapse checks of one run; the training loop calls them.

    It checks NUM_CHECK_IMAGES of the images, uint8 of shape (num_images, height, width, 3).

    Attributes:
        trainer: The current phase's trainer.
        report: What the probe and the checks have found so far.
    """

    def __init__(self, trainer: Trainer, spec: Spec, images: Pixels, last_step: int) -> None:
        self.trainer, self.spec, self.last_step = trainer, spec, last_step
        places = np.linspace(0, len(images) - 1, NUM_CHECK_IMAGES).round().astype(int)
        self.images = images[np.unique(places)]
        self.detector = CollapseDetector()
        self.report = CollapseReport()
        self.next_check = FIRST_GAP

    def probe_first_step(
        self, images: Pixels, labels: Labels, learning_rate: float, feed: Any = None
    ) -> Probe:
        """Probes the network before its first step.

        The first batch has uint8 images (batch, height, width, 3) and int64 labels (batch,); `feed`
        is the batch as GatherIndices, if the dataset is on the device.
        """
        found = probe(self.trainer, self.spec, images, labels, learning_rate, feed)
        self.report = replace(self.report, shift=found.shift)
        return found

    def is_due(self, step: int) -> bool:
        """Returns whether a check is due after this step: often at first, then less often."""
        return self.next_check <= step <= self.last_step and self.report.seen is None

    def is_due_within(self, step: int, count: int) -> bool:
        """Returns whether a check is due before the `count` steps after this one are taken."""
        active = step < self.last_step and self.report.seen is None
        return active and self.next_check < step + count

    def check(self, step: int) -> ActivationStatistics | None:
        """Checks the network after this step; returns its statistics if it has collapsed."""
        statistics = layer_statistics(self.trainer.activations(self.images), self.spec, step)
        if self.detector.check(statistics):
            self.report = replace(self.report, seen=statistics)
        gap = FIRST_GAP if self.detector.count else max(FIRST_GAP, step // GAP_GROWTH)
        self.next_check = step + gap
        return self.report.seen


def collapse_warning(shift: dict[str, float], spec: Spec, recipe: Recipe) -> str:
    """Returns a warning with a remedy if the probe's shift is too large; otherwise ''."""
    convs = {layer.name: shift[layer.name] for layer in spec.layers if isinstance(layer, Conv)}
    name = max(convs, key=lambda name: convs[name], default="")
    if not name or (worst := convs[name]) <= PROBE_SHIFT:
        return ""
    return (
        f"one trial step moves the outputs of {name} by {worst:.1f} standard deviations (at most "
        f"{PROBE_SHIFT:g} is healthy): units may die and the network collapse; {remedy(recipe)}."
    )


def collapse_text(statistics: ActivationStatistics, recipe: Recipe) -> str:
    """Returns the message for a network that has collapsed, with a remedy."""
    name, share = statistics.worst
    return (
        f"the network has collapsed by step {statistics.step}: {share:.1%} of {name}'s units are "
        "dead, and the logits hardly depend on the image (standard deviation "
        f"{statistics.logits_std:.1e}); {remedy(recipe)}."
    )


def remedy(recipe: Recipe) -> str:
    """Returns advice against a collapse."""
    return (
        f"try --recipe.learning-rate {recipe.learning_rate / 10:g} instead of "
        f"{recipe.learning_rate:g}"
    )
