"""Run folders read for a report, each with a label, a colour and its state in words."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alexnet_impl.data.batches import BatchPlan, num_batches
from alexnet_impl.machine.interference import MAX_INTERFERENCE
from alexnet_impl.recipe.phases import phases
from alexnet_impl.report.formatting import COLOURS, framework_label
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.runs.records import (
    ActivationStatistics,
    DatasetRecord,
    History,
    Predictions,
    RunResult,
)
from alexnet_impl.stats.accuracy import Accuracy, top1_accuracy


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunView:
    """The content of a run folder, with the label and the colour of the run on the page.

    Attributes:
        label: 'PyTorch'; followed by the folder's name if a framework occurs twice.
        colour: '#rrggbb'.
        result: None while the run is going on, or if it was killed.
        predictions: On the test images; None unless the run is finished.
    """

    path: Path
    label: str
    colour: str
    config: RunConfig
    dataset: DatasetRecord
    initial_weights_sha256: str
    environment: dict[str, Any]
    history: History
    result: RunResult | None
    predictions: Predictions | None

    @property
    def finished(self) -> bool:
        """Whether the run completed and has test results."""
        return self.result is not None and self.result.status == "finished"

    @property
    def accuracy(self) -> Accuracy | None:
        """Top-1 accuracy on the test images; None unless the run is finished."""
        if self.predictions is None:
            return None
        return top1_accuracy(self.predictions.predicted, self.predictions.labels)

    @property
    def collapse(self) -> ActivationStatistics | None:
        """Activation statistics that showed a collapse in the first epoch, or None."""
        report = None if self.result is None else self.result.collapse
        return None if report is None else report.seen

    @property
    def interference(self) -> float:
        """Share of all cores' time that others used meanwhile; 0 if it is too small to matter."""
        share = None if self.result is None else self.result.timing.interference
        return share if share is not None and share > MAX_INTERFERENCE else 0.0

    @property
    def is_beside_other_work(self) -> bool:
        """Whether other work used the machine meanwhile, so that the times show no speed."""
        return self.result is not None and self.result.timing.beside_other_work

    @property
    def num_steps(self) -> int:
        """Number of steps that the recipe asks for."""
        recipe = self.config.recipe
        plan = BatchPlan(
            global_batch_size=recipe.global_batch_size,
            seed=recipe.seed,
            drop_last=recipe.drop_last,
        )
        batches = num_batches(plan, self.dataset.num_train_images)
        return sum(phase.num_steps for phase in phases(recipe, batches))

    @property
    def state(self) -> str:
        """The end of the run in words; if it did not finish, with the number of steps it took."""
        taken = len(self.history.step_loss) if self.result is None else self.result.steps
        progress = f"{taken:,} of {self.num_steps:,} steps"
        if self.result is None:
            return f"not finished: {progress} recorded so far"
        if self.result.status == "finished":
            return f"finished: {progress}"
        return f"{self.result.status} after {progress}: {self.result.message}"


def view_runs(runs: Sequence[RunFolder]) -> list[RunView]:
    """Read run folders, in the order given.

    Raises:
        RunError: If a file is damaged, or missing although the run's status says that it was
            written.
    """
    configs = [run.config for run in runs]
    labels = _labels(runs, configs)
    colours = _colours([config.framework for config in configs])
    return [
        _view(run, config, label, colour)
        for run, config, label, colour in zip(runs, configs, labels, colours, strict=True)
    ]


def _view(run: RunFolder, config: RunConfig, label: str, colour: str) -> RunView:
    result = run.result
    finished = result is not None and result.status == "finished"
    has_environment = (run.path / "environment.json").is_file()
    return RunView(
        path=run.path,
        label=label,
        colour=colour,
        config=config,
        dataset=run.dataset,
        initial_weights_sha256=run.initial_weights_sha256,
        environment=run.environment if has_environment else {},
        history=run.history,
        result=result,
        predictions=run.read_predictions() if finished else None,
    )


def with_predictions(views: Sequence[RunView]) -> list[tuple[RunView, Predictions]]:
    """The finished runs, each with its predictions."""
    return [(view, view.predictions) for view in views if view.predictions is not None]


def _labels(runs: Sequence[RunFolder], configs: Sequence[RunConfig]) -> list[str]:
    times = Counter(config.framework for config in configs)
    names = Counter(run.path.name for run in runs)
    labels = []
    for run, config in zip(runs, configs, strict=True):
        label = framework_label(config.framework)
        if times[config.framework] > 1:
            name = run.path.name
            if names[name] > 1:  # such folders have different parents: before/torch, after/torch
                name = f"{run.path.absolute().parent.name}/{name}"
            label = f"{label} ({name})"
        labels.append(label)
    return labels


def _colours(frameworks: Sequence[str]) -> list[str]:
    seen: Counter[str] = Counter()
    colours = []
    for framework in frameworks:
        shades = COLOURS.get(framework, ("#6c757d",))
        colours.append(shades[seen[framework] % len(shades)])
        seen[framework] += 1
    return colours
