"""The collapse of a network: seen early, expected before the first step, and put into words.

A step that is too large kills ReLUs: a unit that is 0 for every image gets no gradient and never
comes back. Once nearly all units of a layer are dead, the logits no longer depend on the image, the
loss stays at ln(num_classes), and only the last bias still learns. docs/collapse.md tells the
story and holds the measurements that the thresholds rest on.
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
"""Images that the statistics are measured on: the more there are, the fewer units pass for dead."""
DEAD_SHARE = 0.9
"""Of the worst layer's units: slow starts had up to 0.77, networks that collapsed 0.97 and more."""
LOGITS_STD = 1e-4
"""A dead network's sinks below 5e-5; one that was crippled, but learned, kept above 3e-4. So do
slow starts, with few exceptions, and their units are alive."""
CHECKS_IN_A_ROW = 5
"""For so many checks both must hold: a network may stumble and recover."""
PROBE_SHIFT = 2.0
"""Standard deviations by which one step may move a convolution's outputs. Healthy runs stay below
0.7; of those above 2.4 two in three collapsed, and all lost most units of a layer."""
LARGEST_SHIFT = 1e6
"""What is said of anything larger, and of outputs that are not finite."""
FIRST_GAP = 2
"""Steps between two checks at first, and where the last check was suspicious."""
GAP_GROWTH = 20
"""Later a check comes when the run is by one part in so many longer: about 100 in an epoch."""


def relu_names(spec: Spec) -> tuple[str, ...]:
    """The ReLUs in the Spec's order."""
    return tuple(layer.name for layer in spec.layers if isinstance(layer, Relu))


def layer_statistics(activations: Activations, spec: Spec, step: int) -> ActivationStatistics:
    """The statistics that follow from the outputs of all layers."""
    logits = activations[spec.layers[-1].name]
    return ActivationStatistics(
        step=step,
        dead_share={name: dead_share(activations[name]) for name in relu_names(spec)},
        logits_std=float(logits.std(axis=0).mean()),
    )


def dead_share(outputs: NDArray[np.floating]) -> float:
    """Share of the units that are 0 or below throughout.

    Args:
        outputs: Of shape (batch, channels, height, width) or (batch, features).
    """
    others = tuple(axis for axis in range(outputs.ndim) if axis != 1)
    return float((outputs.max(axis=others) <= 0).mean())


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What one trial step does to a network that has not learned yet.

    Attributes:
        shift: By convolution and dense layer: how far the step moves its outputs, before the ReLU,
            over their standard deviation.
        trial_time_s: Of the trial step, compilation included.
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
    """Take one trial step, look at what it moved, and take it back to the last bit.

    Args:
        trainer: Is as it was afterwards, its optimizer and random state included.
        spec: Its network.
        images: The run's first batch: another size would make a compiler adapt to both.
        labels: Of these images.
        learning_rate: Of the run's first step.
        feed: What the step is given instead of the images, where the device holds them.
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
    """The outputs of convolutions and dense layers alone."""
    return {
        layer.name: activations[layer.name]
        for layer in spec.layers
        if isinstance(layer, Conv | Dense)
    }


def shift_over_std(before: NDArray[np.floating], after: NDArray[np.floating]) -> float:
    """Mean absolute difference of two outputs of a layer, over the first one's standard deviation.

    Args:
        before: Of shape (batch, channels, height, width) or (batch, features).
        after: Of the same shape.
    """
    with np.errstate(all="ignore"):
        moved, spread = float(np.abs(after - before).mean()), float(before.std())
    # Written so that a division by 0 and NaN become a number, which JSON can say.
    return moved / spread if moved < LARGEST_SHIFT * spread else LARGEST_SHIFT


class CollapseDetector:
    """Counts checks in a row that look like a collapse; knows no framework and no clock."""

    def __init__(self) -> None:
        self.count = 0

    def check(self, statistics: ActivationStatistics) -> bool:
        """Whether the network has collapsed, by these statistics and those before."""
        _, share = statistics.worst
        suspicious = share >= DEAD_SHARE and statistics.logits_std < LOGITS_STD
        self.count = self.count + 1 if suspicious else 0
        return self.count >= CHECKS_IN_A_ROW


class CollapseWatch:
    """The probe and the checks of one run; whoever trains calls it between the steps."""

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
        """Probe the network before its first step, which these arguments are meant for."""
        found = probe(self.trainer, self.spec, images, labels, learning_rate, feed)
        self.report = replace(self.report, shift=found.shift)
        return found

    def is_due(self, step: int) -> bool:
        """Whether to look after this step: in the first epoch, often first, then ever rarer."""
        return self.next_check <= step <= self.last_step and self.report.seen is None

    def looks_within(self, step: int, count: int) -> bool:
        """Whether a look is due before so many more steps are taken."""
        awake = step < self.last_step and self.report.seen is None
        return awake and self.next_check < step + count

    def look(self, step: int) -> ActivationStatistics | None:
        """Check the network after this step; its statistics if it has collapsed."""
        statistics = layer_statistics(self.trainer.activations(self.images), self.spec, step)
        if self.detector.check(statistics):
            self.report = replace(self.report, seen=statistics)
        gap = FIRST_GAP if self.detector.count else max(FIRST_GAP, step // GAP_GROWTH)
        self.next_check = step + gap
        return self.report.seen


def make_watch(
    trainer: Trainer, spec: Spec, images: Pixels, last_step: int
) -> CollapseWatch | None:
    """A watch over a run; None where the network has no ReLU that could die.

    Args:
        trainer: At the run's start, or where it is resumed.
        spec: Its network.
        images: The training images, of which a few are looked at.
        last_step: The last that is checked after.
    """
    return CollapseWatch(trainer, spec, images, last_step) if relu_names(spec) else None


def collapse_warning(shift: dict[str, float], spec: Spec, recipe: Recipe) -> str:
    """What the probe lets one expect and what to try; empty if nothing."""
    convs = {layer.name: shift[layer.name] for layer in spec.layers if isinstance(layer, Conv)}
    name = max(convs, key=lambda name: convs[name], default="")
    if not name or (worst := convs[name]) <= PROBE_SHIFT:
        return ""
    return (
        f"one trial step moves the outputs of {name} by {worst:.1f} standard deviations (at most "
        f"{PROBE_SHIFT:g} is healthy): units may die and the network collapse; {remedy(recipe)}."
    )


def collapse_text(statistics: ActivationStatistics, recipe: Recipe) -> str:
    """What was seen and what to try."""
    name, share = statistics.worst
    return (
        f"the network has collapsed by step {statistics.step}: {share:.1%} of {name}'s units are "
        "dead, and the logits hardly depend on the image (standard deviation "
        f"{statistics.logits_std:.1e}); {remedy(recipe)}."
    )


def remedy(recipe: Recipe) -> str:
    """What to try against a collapse."""
    return (
        f"try --recipe.learning-rate {recipe.learning_rate / 10:g} instead of "
        f"{recipe.learning_rate:g}"
    )
