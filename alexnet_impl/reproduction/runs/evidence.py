"""The runs that the ledger rests on, read back from `alexnet reproduce`'s folders."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from alexnet_impl.errors import AlexNetError, RunError
from alexnet_impl.recipe.phases import num_epochs
from alexnet_impl.reproduction.catalogue.budget import get_budget
from alexnet_impl.reproduction.catalogue.experiment import Experiment
from alexnet_impl.reproduction.catalogue.scratch import EXPERIMENTS, get_experiment
from alexnet_impl.reproduction.runs.dataset_check import other_images
from alexnet_impl.reproduction.runs.runner import (
    AGAIN,
    RECORD,
    Record,
    Request,
    begins_as_published,
    differences,
    rebuilt_request,
)
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.runs.records import (
    ActivationStatistics,
    DatasetRecord,
    EpochRecord,
    History,
    Predictions,
    RunResult,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evidence:
    """One run of an experiment.

    Attributes:
        record: What was asked for.
        path: The run folder.
        result: None while it runs or if it was killed.
        predictions: Of a finished run.
    """

    record: Record
    path: Path
    config: RunConfig
    dataset: DatasetRecord
    history: History
    result: RunResult | None
    predictions: Predictions | None

    @property
    def experiment(self) -> Experiment:
        """What it is a run of."""
        return EXPERIMENTS[self.record.experiment]

    @property
    def is_own(self) -> bool:
        """Whether the framework is the report's, and the network whole."""
        return self.config.framework == self.experiment.framework and self.config.width == 1

    @property
    def has_all_images(self) -> bool:
        """Whether it trained and was tested on all of CIFAR-10."""
        data = self.config.data
        cut = data.train_images is not None or data.test_images is not None
        return not cut and not other_images(self.dataset, data)

    @property
    def has_published_weights(self) -> bool:
        """Whether it began as the experiment says: drawn, or with the published weights."""
        return begins_as_published(self.config.weights, self.experiment)

    @property
    def is_full(self) -> bool:
        """Whether its end can be put beside the report's."""
        ended = self.result is not None and self.result.status == "finished"
        whole = num_epochs(self.config.recipe) == num_epochs(self.experiment.recipe)
        as_said = self.is_own and self.has_all_images and self.has_published_weights
        return ended and whole and as_said

    @property
    def shortfalls(self) -> tuple[str, ...]:
        """In what it falls short of the report's run; nothing of a full one."""
        found = [self.record.label] if self.record.label else []
        if other := other_images(self.dataset, self.config.data):
            found.append(other)
        if not self.has_published_weights:
            found.append(
                f"begins with {self.config.weights}, not known to be {self.experiment.weights}"
            )
        epochs, wanted = len(self.history.epochs), num_epochs(self.config.recipe)
        if epochs < wanted:
            found.append(f"has {epochs} of {wanted} epochs")
        if self.result is None:
            found.append("still running, or killed")
        elif self.result.status != "finished":
            found.append(self.result.status)
        return tuple(found)

    @property
    def collapse(self) -> ActivationStatistics | None:
        """By which statistics the network collapsed; None if it did not."""
        report = None if self.result is None else self.result.collapse
        return None if report is None else report.seen

    @property
    def title(self) -> str:
        """Budget, framework and seed."""
        return f"{self.record.budget}, {self.config.framework}, seed {self.record.seed}"

    def epoch(self, number: int) -> EpochRecord | None:
        """That epoch, from 1; None if the run did not get so far."""
        epochs = self.history.epochs
        return epochs[number - 1] if number <= len(epochs) else None

    def step_losses(self, number: int) -> list[float]:
        """The losses of an epoch's steps."""
        epochs = self.history.epochs
        first = epochs[number - 2].step if number > 1 else 0
        return self.history.step_loss[first : epochs[number - 1].step]


def read_evidence(root: Path) -> tuple[tuple[Evidence, ...], tuple[str, ...]]:
    """All runs below a folder, and what is wrong with those that cannot be taken."""
    found, troubles = [], []
    for path in sorted(root.glob("*/*/seed-*/*/run.json")):
        try:
            found.append(_read(path.parent))
        except AlexNetError as error:
            text = str(error)
            troubles.append(text if str(root) in text else f"{path.parent}: {text}")
    return tuple(found), tuple(troubles)


def _read(path: Path) -> Evidence:
    """One run.

    Raises:
        AlexNetError: If it is damaged, or no run of the experiment that it is said to be of.
    """
    record = Record.read(path.parent / RECORD)
    run = RunFolder.open(path)
    record = _told(record, _request(record, run), run)
    history, result = run.history, run.result
    finished = result is not None and result.status == "finished"
    if result is not None and finished and result.steps != len(history.step_loss):
        raise RunError(
            f"{path}: ended after {result.steps} steps, and has the losses of "
            f"{len(history.step_loss)}; {AGAIN}."
        )
    return Evidence(
        record=record,
        path=path,
        config=run.config,
        dataset=run.dataset,
        history=history,
        result=result,
        predictions=run.read_predictions() if finished else None,
    )


def _request(record: Record, run: RunFolder) -> Request:
    """What `alexnet reproduce` would train in the place of this run.

    Raises:
        RunError: If the run is another one.
        UnknownNameError: If there is no such experiment or budget.
    """
    experiment, config = get_experiment(record.experiment), run.config
    request = rebuilt_request(experiment, get_budget(record.budget), config)
    differing = differences(config, request.config)
    lies, belongs = run.path.parent, request.folder(run.path.parents[3])
    if record.seed != config.recipe.seed:
        differing.append(f"seed={config.recipe.seed}, not {record.seed}")
    if run.path != belongs / config.framework:
        differing.append(f"it lies in {lies.relative_to(run.path.parents[3])}/{run.path.name}")
    if differing:
        raise RunError(
            f"{run.path}: is no run of {experiment.id}: {'; '.join(differing)}; run it again with "
            "another --output."
        )
    return request


def _told(record: Record, request: Request, run: RunFolder) -> Record:
    """The record with all mismatches that can be seen, whether it tells of them or not."""
    seen = [*record.mismatches, *request.mismatches, other_images(run.dataset, run.config.data)]
    return replace(record, mismatches=tuple(dict.fromkeys(filter(None, seen))))


def own_runs(evidence: Sequence[Evidence], experiment: str) -> tuple[Evidence, ...]:
    """The runs of an experiment in its own framework at full width, those that tell most first."""
    found = [e for e in evidence if e.record.experiment == experiment and e.is_own]
    found.sort(
        key=lambda e: (
            not e.is_full,
            not e.has_all_images,
            e.result is None or e.result.status != "finished",
            -len(e.history.epochs),
            e.record.seed,
        )
    )
    return tuple(found)
