"""Evidence: one finished or unfinished run of an experiment, and how runs are selected and paired.

`reading` reads evidence from the folders that `alexnet reproduce` writes.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alexnet_impl.recipe.phases import num_epochs
from alexnet_impl.reproduction.catalogue.experiment import Experiment
from alexnet_impl.reproduction.catalogue.scratch import EXPERIMENTS
from alexnet_impl.reproduction.runs.dataset_check import other_images
from alexnet_impl.reproduction.runs.experiment_record import ExperimentRecord
from alexnet_impl.reproduction.runs.requests import starts_as_published
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.runs.records import (
    ActivationStatistics,
    DatasetRecord,
    EpochRecord,
    History,
    Predictions,
    RunResult,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """One run of an experiment.

    Attributes:
        record: What was asked for.
        path: The run folder.
        environment: Content of environment.json; empty if there is none.
        result: None while the run is in progress, or if it was killed.
        predictions: Predictions of a finished run.
    """

    record: ExperimentRecord
    path: Path
    config: RunConfig
    dataset: DatasetRecord
    environment: dict[str, Any]
    history: History
    result: RunResult | None
    predictions: Predictions | None

    @property
    def experiment(self) -> Experiment:
        """The experiment that the run belongs to."""
        return EXPERIMENTS[self.record.experiment]

    @property
    def is_own(self) -> bool:
        """Whether the run has the report's framework and the full width."""
        return self.config.framework == self.experiment.framework and self.config.width == 1

    @functools.cached_property
    def other_images(self) -> str:
        """How the images differ from CIFAR-10's, in words; empty if they do not."""
        return other_images(self.dataset, self.config.data)

    @property
    def has_all_images(self) -> bool:
        """Whether the run was trained and tested on all of CIFAR-10."""
        data = self.config.data
        cut = data.train_images is not None or data.test_images is not None
        return not cut and not self.other_images

    @functools.cached_property
    def has_published_weights(self) -> bool:
        """Whether it started as the experiment says: from drawn, or from published weights."""
        return starts_as_published(self.config.weights, self.experiment)

    @property
    def is_finished(self) -> bool:
        """Whether the run reached its end."""
        return self.result is not None and self.result.status == "finished"

    @property
    def is_beside_other_work(self) -> bool:
        """Whether other work used the machine meanwhile, so that the times show no speed."""
        return self.result is not None and self.result.timing.beside_other_work

    @property
    def is_full(self) -> bool:
        """Whether the run's final figures are comparable with the report's."""
        whole = num_epochs(self.config.recipe) == num_epochs(self.experiment.recipe)
        as_said = self.is_own and self.has_all_images and self.has_published_weights
        return self.is_finished and whole and as_said

    @property
    def shortfalls(self) -> tuple[str, ...]:
        """Ways in which the run falls short of the report's; none for a full run."""
        found = [self.record.label, self.other_images]
        if not self.has_published_weights:
            found.append(
                f"starts from {self.config.weights}, not known to be {self.experiment.weights}"
            )
        epochs, wanted = len(self.history.epochs), num_epochs(self.config.recipe)
        if epochs < wanted:
            found.append(f"has {epochs} of {wanted} epochs")
        if self.result is None:
            found.append("still running, or killed")
        elif self.result.status != "finished":
            found.append(self.result.status)
        return tuple(filter(None, found))

    @property
    def collapse(self) -> ActivationStatistics | None:
        """Activation statistics at the check that detected the collapse, or None."""
        report = None if self.result is None else self.result.collapse
        return None if report is None else report.seen

    @property
    def title(self) -> str:
        """Budget, framework and seed."""
        return f"{self.record.budget}, {self.config.framework}, seed {self.record.seed}"

    def epoch(self, number: int) -> EpochRecord | None:
        """The record of an epoch, counted from 1; None if the run did not reach it."""
        epochs = self.history.epochs
        return epochs[number - 1] if number <= len(epochs) else None

    def step_losses(self, number: int) -> list[float]:
        """The losses of an epoch's steps, one number a step."""
        epochs = self.history.epochs
        first = epochs[number - 2].step if number > 1 else 0
        return self.history.step_loss[first : epochs[number - 1].step]

    def epoch_loss(self, number: int, *, from_bar: bool, steps: int | None = None) -> float:
        """The loss of an epoch: its mean, or what Keras 3's progress bar would print.

        A mean over batches and one over images differ by the last partial batch alone.

        Args:
            number: The epoch, counted from 1.
            from_bar: Whether to average as the progress bar does.
            steps: Number of the epoch's first steps that the bar covers; None: all.
        """
        if from_bar:
            return bar_mean(self.step_losses(number)[:steps])
        return self.history.epochs[number - 1].loss


def bar_mean(step_losses: Sequence[float]) -> float:
    """The value that Keras 3's progress bar shows after these steps: the mean of running means.

    References:
        keras-team/keras, issues 20212 and 21301.
    """
    running = np.cumsum(step_losses) / np.arange(1, len(step_losses) + 1)
    return float(running.mean())


def own_runs(evidence: Sequence[Evidence], experiment: str) -> tuple[Evidence, ...]:
    """Runs of an experiment in its own framework at full width, the most conclusive first."""
    found = [e for e in evidence if e.record.experiment == experiment and e.is_own]
    return tuple(sorted(found, key=_conclusiveness))


def _conclusiveness(run: Evidence) -> tuple[bool, bool, bool, int, int]:
    """Sort key, the most conclusive run first."""
    rests = (not run.is_full, not run.has_all_images, not run.is_finished)
    return *rests, -len(run.history.epochs), run.record.seed


def shared_runs(
    first: Sequence[Evidence], second: Sequence[Evidence]
) -> tuple[tuple[Evidence, Evidence], ...]:
    """Pairs of runs of one budget, dataset and seed, one pair a seed.

    All pairs have the budget and dataset that got furthest; there are none if no seed is shared.
    """
    ours, others = (
        {(_group(run), run.record.seed): run for run in reversed(runs)} for runs in (first, second)
    )
    pairs = {key: (run, others[key]) for key, run in ours.items() if key in others}
    if not pairs:
        return ()
    best, _ = min(pairs, key=lambda key: (_rank(pairs[key]), key))
    return tuple(pairs[key] for key in sorted(pairs) if key[0] == best)


def _group(run: Evidence) -> tuple[str, str]:
    return run.record.budget, run.dataset.fingerprint


def _rank(pair: tuple[Evidence, Evidence]) -> tuple[bool, int, bool]:
    """Sort key, best pair first: all images, then most shared epochs, then both finished."""
    return (
        not all(run.has_all_images for run in pair),
        -min(len(run.history.epochs) for run in pair),
        not all(run.is_finished for run in pair),
    )
