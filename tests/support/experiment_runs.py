"""Run folders of the reports' experiments, made of numbers that a test chooses."""

import functools
from dataclasses import replace

import numpy as np

from alexnet_impl.data.cifar import CIFAR10_CLASSES
from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.dataset import Dataset, Split
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.reproduction.catalogue.budget import get_budget
from alexnet_impl.reproduction.catalogue.scratch import get_experiment
from alexnet_impl.reproduction.checks import find_all
from alexnet_impl.reproduction.checks.finding import findings_by_claim
from alexnet_impl.reproduction.claims.queries import CLAIMS
from alexnet_impl.reproduction.runs.experiment_record import RECORD
from alexnet_impl.reproduction.runs.reading import read_evidence
from alexnet_impl.reproduction.runs.requests import make_request
from alexnet_impl.reproduction.verdicts.ledger import judge
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.runs.records import ActivationStatistics, CollapseReport, History, Predictions
from support.records import epoch_record, run_result, timing

STEPS = 4
"""Steps of an epoch."""
DEAD = ActivationStatistics(step=40, dead_share={"relu1": 0.98}, logits_std=1e-6)


def base_config(seed=0, dataset="cifar10", **changes):
    """What a request takes its width, data and seed from."""
    plain = {
        "framework": "torch",
        "variant": "cifar",
        "width": 1.0,
        "recipe": Recipe(seed=seed),
        "data": DataConfig(dataset=dataset),
    }
    return RunConfig(**plain | changes)


def request_of(name, budget="full", seed=0, framework=None, **changes):
    """A request for an experiment."""
    return make_request(
        get_experiment(name),
        get_budget(budget),
        base_config(seed, **changes),
        framework=framework,
    )


@functools.cache
def pixels(num_train, num_test, num_validation=0):
    """A dataset of one black pixel an image, as many of each class as can be."""

    def split(count):
        return Split(
            images=np.zeros((count, 1, 1, 3), np.uint8),
            labels=np.arange(count) % len(CIFAR10_CLASSES),
        )

    return Dataset(
        name="pixels",
        source="black",
        class_names=CIFAR10_CLASSES,
        train=split(num_train - num_validation),
        test=split(num_test),
        validation=split(num_validation) if num_validation else None,
    )


def write_experiment(
    root,
    name,
    *,
    accuracy=0.7922,
    losses=None,
    noise=0.0,
    budget="full",
    seed=0,
    framework=None,
    status="finished",
    collapsed=False,
):
    """The folder that `alexnet reproduce` leaves behind.

    Args:
        root: Where all experiments lie.
        name: The experiment's id.
        accuracy: Of the test images: its first ones are right.
        losses: By epoch; each step of an epoch has its loss. Default: falling.
        noise: The losses of steps lie this far above and below their epoch's, in turn.
        budget: Its name.
        seed: Of the run.
        framework: The experiment's own by default.
        status: Of the result; None: killed.
        collapsed: Whether the collapse warning saw the network die.
    """
    request = request_of(name, budget, seed, framework)
    config = request.config
    whole = config.data.train_images is None
    num_train, num_test = (50_000, 10_000) if whole else (5_000, 1_000)
    held_back = round(config.recipe.validation_fraction * num_train)
    dataset = pixels(num_train, num_test, held_back)
    folder = request.folder(root)
    run = RunFolder.create(folder / config.framework, config, dataset, "cd" * 32)
    request.record.write(folder / RECORD)
    losses = np.linspace(2, 1, config.recipe.epochs) if losses is None else losses
    run.write_history(_history(losses, accuracy, noise))
    if status is not None:
        if status == "finished":
            run.write_predictions(_predictions(num_test, accuracy))
        run.write_result(_result(status, accuracy, len(losses), collapsed=collapsed))
    return run


def _history(losses, accuracy, noise):
    return History(
        epochs=[_epoch(number, loss, accuracy) for number, loss in enumerate(losses, start=1)],
        step_loss=[float(loss) + noise * (-1) ** n for loss in losses for n in range(STEPS)],
        step_learning_rate=[1e-3] * (STEPS * len(losses)),
    )


def _epoch(number, loss, accuracy):
    return epoch_record(
        epoch=number,
        step=number * STEPS,
        loss=float(loss),
        train_top1_accuracy=accuracy,
        eval_loss=float(loss),
        eval_top1_accuracy=accuracy,
        training_time_s=30.0,
    )


@functools.cache
def _predictions(num_images, accuracy):
    num_classes = len(CIFAR10_CLASSES)
    labels = np.arange(num_images) % num_classes
    named = labels.copy()
    first_wrong = round(accuracy * num_images)
    named[first_wrong:] = (labels[first_wrong:] + 1) % num_classes
    probabilities = np.full((num_images, num_classes), 0.05, np.float32)
    probabilities[np.arange(num_images), named] = 0.55
    return Predictions(
        probabilities=probabilities,
        labels=labels,
        sample_indices=np.zeros(1, np.int64),
        sample_images=np.zeros((1, 1, 1, 3), np.uint8),
    )


def _result(status, accuracy, num_epochs, *, collapsed):
    done = status == "finished"
    return run_result(
        status=status,
        message="" if done else "stopped by the user",
        steps=STEPS * num_epochs,
        test_loss=1.0 if done else None,
        test_top1_accuracy=accuracy if done else None,
        timing=timing(training_time_s=30.0 * num_epochs),
        collapse=CollapseReport(seen=DEAD if collapsed else None),
    )


def tampered(claims, identifier, **changes):
    """The claims with one of them changed."""
    assert sum(claim.id == identifier for claim in claims) == 1, identifier
    return tuple(replace(claim, **changes) if claim.id == identifier else claim for claim in claims)


@functools.cache
def published_findings():
    """Findings of all checks, by claim; the published claims never change."""
    return findings_by_claim(find_all())


def judged_claim(root, identifier):
    """The verdict of one published claim by the runs below a folder."""
    (claim,) = (claim for claim in CLAIMS if claim.id == identifier)
    evidence, _ = read_evidence(root)
    return judge(claim, evidence, published_findings().get(identifier, ()))
