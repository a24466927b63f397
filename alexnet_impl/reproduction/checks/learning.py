"""Checks of losses against accuracies: what a training's figures allow each other to be."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from alexnet_impl.reproduction.catalogue.experiment import Experiment
from alexnet_impl.reproduction.catalogue.scratch import EXPERIMENTS
from alexnet_impl.reproduction.checks.finding import NUM_CLASSES, NUM_TEST, NUM_TRAIN, Finding
from alexnet_impl.reproduction.claims.claim import Claim, Quantity, percent
from alexnet_impl.reproduction.claims.queries import (
    claims_of,
    curve_claims,
    distinct_texts,
    final_claims,
)

DEVIATIONS = 5.0
"""Two accuracies that differ by more than this many standard deviations do not differ by chance."""
FLAT = 1e-3
"""A loss this close to ln(num_classes) is that of a network whose outputs ignore the image."""
TELLING_DIGITS = 7
"""A float32 share with at least this many digits determines which fraction it is."""
BATCHES = (1, 16, 32, 64, 128, 256, 512)
"""Batch sizes that are tried; among all sizes some would fit by chance. A count near 45,000 fits an
unrelated float32 with probability 0.003."""
_OF_LEARNING = "loss falls"
"""A conclusion that a network which learned nothing contradicts, by its field `of`."""
_OF_SAMPLES = "sample image"
"""A conclusion that such a network may confirm by chance, by its field `of`."""
_PAIRS: tuple[tuple[Quantity, Quantity], ...] = (
    ("loss", "train_top1_accuracy"),
    ("eval_loss", "eval_top1_accuracy"),
    ("test_loss", "test_top1_accuracy"),
)


def stopped_runs(claims: Sequence[Claim]) -> Iterator[Finding]:
    """A run whose output ends within an epoch has no time for all of its epochs."""
    for stop in (claim for claim in claims if claim.quantity == "steps_taken"):
        experiment = EXPERIMENTS[stop.experiment]
        epoch = stop.epoch or 0
        totals = final_claims(stop.experiment, "training_time", claims)
        if not totals or epoch > experiment.recipe.epochs or not _is_short(stop, experiment):
            continue
        spent = sum(c.value for c in claims_of(stop.experiment, "epoch_time", claims))
        steps = claims_of(stop.experiment, "step_time", claims)
        spent += sum(stop.value * c.value for c in steps if c.epoch == epoch)
        yield Finding(
            check="stopped_runs",
            claims=totals,
            against=(stop,),
            reason=f"the output ends at step {stop.text} of {experiment.steps_per_epoch} in epoch "
            f"{epoch} of {experiment.recipe.epochs}, after about {spent:,.0f} s; the total is "
            f"given as {distinct_texts(totals)} all the same",
        )


def _is_short(stop: Claim, experiment: Experiment) -> bool:
    full = experiment.steps_per_epoch or math.inf
    return stop.value < full or (stop.epoch or 0) < experiment.recipe.epochs


def never_learned(claims: Sequence[Claim]) -> Iterator[Finding]:
    """Checks claims of learning against losses that stay at ln(num_classes).

    Such a loss comes from outputs that do not depend on the image. It is no proof: the mean could
    be that of correct and of very wrong predictions, but it would then not show the same four
    digits in every epoch, at exactly the value of equal outputs.
    """
    chance = 1 / NUM_CLASSES
    bar = chance + DEVIATIONS * math.sqrt(chance * (1 - chance) / NUM_TEST)
    for experiment, losses in _flat_losses(claims):
        denied = [
            *(c for c in final_claims(experiment, "test_top1_accuracy", claims) if c.low > bar),
            *(c for c in claims_of(experiment, "conclusion", claims) if c.of == _OF_LEARNING),
        ]
        samples = [claim for claim in claims if _is_sample_of(claim, experiment)]
        if denied:
            yield Finding(
                check="never_learned",
                claims=tuple(denied),
                against=(*losses, *samples),
                reason=f"the loss is {distinct_texts(losses)} from epoch {losses[0].epoch} to "
                f"{losses[-1].epoch}, and ln {NUM_CLASSES} is {math.log(NUM_CLASSES):.4f}: a "
                f"network that tells no image from another, which has "
                f"{percent(chance, 0)}; against it stand: {distinct_texts(denied, 'and')}"
                + _same_answer(samples),
            )


def _flat_losses(claims: Sequence[Claim]) -> Iterator[tuple[str, tuple[Claim, ...]]]:
    """Yields experiments whose losses stay at ln(num_classes) after the first epoch, with these."""
    for experiment in dict.fromkeys(claim.experiment for claim in claims):
        losses = curve_claims(experiment, "loss", claims)[1:]
        if losses and all(abs(c.value - math.log(NUM_CLASSES)) <= FLAT for c in losses):
            yield experiment, losses


def sample_images(claims: Sequence[Claim]) -> Iterator[Finding]:
    """A network that names one class for every image is right about those that are of it."""
    for experiment, _ in _flat_losses(claims):
        samples = [claim for claim in claims if _is_sample_of(claim, experiment)]
        answer = _same_answer(samples)
        right = [str(claim.line) for claim in samples if f"Real: {claim.printed}" in claim.quote]
        for claim in claims_of(experiment, "conclusion", claims):
            if claim.of == _OF_SAMPLES and answer and right:
                yield Finding(
                    check="sample_images",
                    kind="explained",
                    claims=(claim,),
                    against=tuple(samples),
                    reason=f"{claim.says}{answer}, and an image of that class is shown in line "
                    f"{', '.join(right)}: being right about it needs no learning",
                )


def _is_sample_of(claim: Claim, experiment: str) -> bool:
    return (claim.report, claim.quantity) == (experiment.partition("-")[0], "sample_prediction")


def _same_answer(samples: Sequence[Claim]) -> str:
    """A clause that says that both networks name one class for their sample images, or nothing."""
    if len(samples) < 2 or len({claim.value for claim in samples}) > 1:
        return ""
    lines = " and ".join(str(claim.line) for claim in samples)
    return f"; both networks answer class {samples[0].text} to their sample images (lines {lines})"


def sample_confidences(claims: Sequence[Claim]) -> Iterator[Finding]:
    """A softmax of a softmax gives no class more than e / (e + 9), where the first gives it all.

    The largest of ten shares p goes with exp(p) over a sum of at least exp(p) + 9.
    """
    ceiling = math.e / (math.e + NUM_CLASSES - 1)
    for claim in claims:
        if claim.quantity == "sample_confidence" and claim.low <= ceiling <= claim.high:
            code = claims_of(claim.experiment, "listing", claims)
            listed = "".join(f"; {one.says} (line {one.line})" for one in code)
            yield Finding(
                check="sample_confidences",
                kind="explained",
                claims=(claim,),
                against=code,
                reason=f"{claim.text} is e/(e + {NUM_CLASSES - 1}) = {percent(ceiling, 3)}, the "
                f"most that a softmax of a softmax gives a class: the network was certain{listed}",
            )


def losses_against_accuracies(claims: Sequence[Claim]) -> Iterator[Finding]:
    """Checks that a small loss comes with a large accuracy: accuracy >= 1 - loss / ln 2.

    The label of a misclassified image has at most the probability 1/2, since another class has no
    less; its cross-entropy is at least ln 2, and that of all other images at least 0. The mean over
    all images is therefore at least ln 2 times the share of misclassified ones. The bound also
    holds for the progress bar, which weights both alike. There is no upper bound: one image alone
    can have any loss.
    """
    for loss_of, accuracy_of in _PAIRS:
        for loss in (claim for claim in claims if claim.quantity == loss_of and claim.has_figure):
            least = 1 - loss.high / math.log(2)
            for accuracy in claims_of(loss.experiment, accuracy_of, claims):
                same = (loss.epoch, loss.from_bar) == (accuracy.epoch, accuracy.from_bar)
                if same and not accuracy.of and accuracy.high < least:
                    yield Finding(
                        check="losses_against_accuracies",
                        claims=(accuracy,),
                        against=(loss,),
                        reason=f"a mean cross-entropy of {loss.text} needs an accuracy of at "
                        f"least {percent(least)}, and {accuracy.text} is given",
                    )


def test_above_validation(claims: Sequence[Claim]) -> Iterator[Finding]:
    """Checks that validation and test accuracy agree within chance, as on two unseen sets."""
    for experiment in dict.fromkeys(claim.experiment for claim in claims):
        last = curve_claims(experiment, "eval_top1_accuracy", claims)[-1:]
        known = EXPERIMENTS.get(experiment)
        share = known.recipe.validation_fraction if known else 0.0
        for validation in last if share else ():
            for test in final_claims(experiment, "test_top1_accuracy", claims):
                sizes = (NUM_TEST, round(share * NUM_TRAIN))
                spread = math.sqrt(sum(_variance(validation.value, n) for n in sizes))
                if test.value - validation.value > DEVIATIONS * spread:
                    yield Finding(
                        check="test_above_validation",
                        claims=(test, *_same_evaluation(test, claims)),
                        against=(validation,),
                        reason=f"{percent(test.value)} on the test set and "
                        f"{percent(validation.value)} on "
                        f"{sizes[1]:,} images for validation lie "
                        f"{(test.value - validation.value) / spread:.0f} standard deviations "
                        "apart: the set that was tested on was not unseen",
                    )


def _same_evaluation(accuracy: Claim, claims: Sequence[Claim]) -> tuple[Claim, ...]:
    """The loss that evaluate() returned with an accuracy, in the same line."""
    losses = final_claims(accuracy.experiment, "test_loss", claims)
    return tuple(loss for loss in losses if loss.line == accuracy.line)


def _variance(share: float, count: int) -> float:
    return share * (1 - share) / count


def measured_images(claims: Sequence[Claim]) -> Iterator[Finding]:
    """Checks which images a share with all its digits was measured on.

    The dataset's parts are tried, whole and without their last partial batch.
    """
    for claim in claims:
        digits = len(claim.printed.partition(".")[2])
        is_share = claim.quantity == "test_top1_accuracy" and not claim.unit
        known = EXPERIMENTS.get(claim.experiment)
        if not is_share or digits < TELLING_DIGITS or known is None:
            continue
        fits = [
            (part, count, batch)
            for part, size in _parts(known).items()
            for count, batch in _counts(size)
            if _is_share_of(claim.value, count)
        ]
        if fits and all(part != "test" for part, _, _ in fits):
            part, count, batch = fits[0]
            yield Finding(
                check="measured_images",
                claims=(claim, *_same_evaluation(claim, claims)),
                reason=f"{claim.printed} is {round(claim.value * count):,} of {count:,} images, "
                f"{count // batch} batches of {batch} out of the {_parts(known)[part]:,} {part} "
                f"images, and no such share of the {NUM_TEST:,} test images",
            )


def _parts(experiment: Experiment) -> dict[str, int]:
    held_back = round(experiment.recipe.validation_fraction * NUM_TRAIN)
    return {"test": NUM_TEST, "validation": held_back, "training": NUM_TRAIN - held_back}


def _counts(size: int) -> Iterator[tuple[int, int]]:
    """Yields the numbers of images in whole batches, each once, with the batch size."""
    by_count = {size - size % batch: batch for batch in reversed(BATCHES)}
    yield from sorted(by_count.items())


def _is_share_of(value: float, count: int) -> bool:
    """Whether float32 division gives exactly this value for some number of images."""
    share = np.float32(round(value * count)) / np.float32(count)
    return bool(np.float32(value) == share)
