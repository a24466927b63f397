"""Plans and trains the runs of `alexnet explain`: one factor switched at a time, over seeds.

    plan.json                          the request, written first
    runs/FRAMEWORK/ARM/seed-K/         one run folder per run, without weights
    explain.json, .html and .png       the results, written last

An arm is one setting in one framework, trained with every seed. Two arms are compared seed by seed:
with the same initial weights, order and augmentation, and the same test images.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from alexnet_impl.data.dataset import Dataset
from alexnet_impl.errors import (
    AlexNetError,
    DivergedError,
    RunError,
    UnknownNameError,
)
from alexnet_impl.explain.factors import (
    DatasetFacts,
    Factor,
    Setting,
    aligned,
    framework_defaults,
    get_factors,
    not_applicable_reason,
    switched,
)
from alexnet_impl.frameworks import FRAMEWORKS
from alexnet_impl.processes.conversion import prepare_job
from alexnet_impl.processes.training_worker import worker_series
from alexnet_impl.recipe.recipe import total_steps
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.runs.records import DatasetRecord, RunResult
from alexnet_impl.training.events import Ended, Event, Started, Stepped
from alexnet_impl.training.feeding import run_images
from alexnet_impl.training.observers import LogLines
from alexnet_impl.training.prepare import PreparedRun
from alexnet_impl.typed_json import read, to_json
from alexnet_impl.weights.pretrained_files import Pretrained

SCHEMA_VERSION = 1
RUNS_PER_WORKER = 24
"""TensorFlow keeps memory of each run (10 MB at width 0.125, 70 MB at 0.5): workers restart."""

ALIGNED, TOGETHER, DEFAULTS = "aligned", "all-together", "framework-defaults"
"""Names of the arms that do not switch a single factor."""
EARLIER_ARMS = {ALIGNED: "made-equal", DEFAULTS: "as-it-comes"}
"""Names of these arms in folders written before 2026-11-29."""
TOGETHER_ROW, FRAMEWORK_ROW, DEFAULTS_ROW = (
    "all together",
    "the framework itself",
    "framework defaults",
)
"""Names of the comparisons that do not switch a single factor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainRequest:
    """The request of `alexnet explain`.

    Attributes:
        config: The aligned training, in the framework that the factors are switched in.
        seeds: Seeds of every arm.
        factors: Names of the factors to switch; empty for all.

    Raises:
        UnknownNameError: If the framework or a factor is unknown.
        RunError: If there is no seed, or a seed twice.
    """

    config: RunConfig
    seeds: tuple[int, ...]
    factors: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.config.framework not in FRAMEWORKS:
            raise UnknownNameError("framework", self.config.framework, FRAMEWORKS)
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise RunError(f"seeds={self.seeds}: must be one seed or several different seeds.")
        get_factors(self.factors)

    @property
    def aligned(self) -> Setting:
        """The setting that the factors are switched in."""
        return base_setting(self.config)

    def to_dict(self) -> dict[str, Any]:
        """JSON-compatible values."""
        return {"schema_version": SCHEMA_VERSION, **to_json(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One setting in one framework, trained with every seed."""

    name: str
    framework: str
    setting: Setting


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectRow:
    """Two arms that are compared, or a factor that does not apply.

    Attributes:
        name: Name of the factor or of the comparison.
        after: The switched arm; None if it would equal `before`.
        before: The arm that it is compared with.
        factor: The switched factor; None if there is no single one.
        not_applicable: Reason why nothing was run; empty if something was.
    """

    name: str
    after: Arm | None
    before: Arm
    factor: Factor | None = None
    not_applicable: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainPlan:
    """All comparisons of a request, and the runs that they need."""

    request: ExplainRequest
    rows: tuple[EffectRow, ...]

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Every arm once, since several rows may share one."""
        pairs = ((row.before, row.after) for row in self.rows)
        return tuple(dict.fromkeys(arm for pair in pairs for arm in pair if arm is not None))

    def runs(self, framework: str) -> Iterator[tuple[Arm, int]]:
        """Runs of a framework, seed by seed, so that a stop leaves complete seeds."""
        arms = [arm for arm in self.arms if arm.framework == framework]
        return ((arm, seed) for seed in self.request.seeds for arm in arms)

    def config(self, arm: Arm, seed: int) -> RunConfig:
        """The config of one run."""
        recipe = replace(arm.setting.recipe, seed=seed)
        return replace(
            self.request.config, framework=arm.framework, variant=arm.setting.variant, recipe=recipe
        )


def base_setting(config: RunConfig) -> Setting:
    """The network and recipe of a config."""
    return Setting(variant=config.variant, recipe=config.recipe, network=config.network)


def aligned_config(config: RunConfig) -> RunConfig:
    """The config of the aligned training of a base."""
    setting = aligned(base_setting(config))
    return replace(config, variant=setting.variant, recipe=setting.recipe)


def seeds_from(first: int, count: int) -> tuple[int, ...]:
    """`count` seeds, counted up from the first.

    Raises:
        RunError: If the count is below 1.
    """
    if count < 1:
        raise RunError(f"seeds={count}: must be at least 1; an interval needs 2.")
    return tuple(range(first, first + count))


def make_request(
    config: RunConfig, num_train_images: int, seeds: tuple[int, ...], factors: Iterable[str]
) -> ExplainRequest:
    """Builds a request whose epochs are converted to steps, equal for every arm.

    The config is that of the aligned training; without factors all are switched.

    Raises:
        UnknownNameError: If the framework or a factor is unknown.
    """
    recipe = config.recipe
    batches = -(-num_train_images // recipe.global_batch_size)
    return ExplainRequest(
        config=replace(config, recipe=replace(recipe, steps=total_steps(recipe, batches))),
        seeds=seeds,
        factors=tuple(factors),
    )


def dataset_facts(dataset: Dataset | DatasetRecord) -> DatasetFacts:
    """Facts about a dataset that decide whether factors apply."""
    record = dataset if isinstance(dataset, DatasetRecord) else DatasetRecord.of(dataset)
    return DatasetFacts(num_train_images=record.num_train_images, size=record.image_size)


def make_plan(request: ExplainRequest, images: DatasetFacts) -> ExplainPlan:
    """Plans every factor alone, all together, and both frameworks aligned and with defaults."""
    arms: dict[str, Arm] = {
        name: Arm(name=ALIGNED, framework=name, setting=request.aligned) for name in FRAMEWORKS
    }
    before = arms[request.config.framework]
    rows = [_factor_row(factor, before, images) for factor in get_factors(request.factors)]
    rows.append(_together_row(rows, before))
    rows += _framework_rows(arms, rows[-1], images)
    return ExplainPlan(request=request, rows=tuple(rows))


def _factor_row(factor: Factor, before: Arm, images: DatasetFacts) -> EffectRow:
    reason = not_applicable_reason(factor, before.setting, images)
    setting = factor.as_keras(before.setting)
    after = None if reason else replace(before, name=factor.name, setting=setting)
    return EffectRow(
        name=factor.name, after=after, before=before, factor=factor, not_applicable=reason
    )


def _together_row(rows: Iterable[EffectRow], before: Arm) -> EffectRow:
    """The comparison that switches all default factors at once."""
    active = [row.factor for row in rows if row.after is not None and row.factor is not None]
    defaults = [factor for factor in active if factor.kind == "default"]
    if len(defaults) < 2:
        reason = "fewer than two defaults were switched"
        return EffectRow(name=TOGETHER_ROW, after=None, before=before, not_applicable=reason)
    after = replace(before, name=TOGETHER, setting=switched(before.setting, defaults))
    return EffectRow(name=TOGETHER_ROW, after=after, before=before)


def _framework_rows(
    arms: Mapping[str, Arm], together: EffectRow, images: DatasetFacts
) -> Iterator[EffectRow]:
    """The comparisons of the frameworks: both aligned, and both with their defaults."""
    torch, tensorflow = (arms[name] for name in FRAMEWORKS)
    yield EffectRow(name=FRAMEWORK_ROW, after=tensorflow, before=torch)
    comes = framework_defaults("tensorflow", torch.setting, images)
    after = replace(tensorflow, name=DEFAULTS, setting=comes)
    if together.after == replace(after, name=TOGETHER):  # factors were switched in tensorflow
        after = replace(after, name=TOGETHER)
    yield EffectRow(name=DEFAULTS_ROW, after=after, before=torch)


def prepare_arms(
    plan: ExplainPlan,
    dataset: Dataset,
    given: Pretrained | None = None,
    interpreters: Mapping[str, str] | None = None,
) -> dict[Arm, PreparedRun]:
    """Prepares every arm's run with the first seed; refuses a plan with a run that cannot start.

    `given` are the weights of the config, if the caller has found them already.

    Raises:
        RunError: If a run cannot start; names the arm.
    """
    arms = {}
    for arm in plan.arms:
        try:
            config = plan.config(arm, plan.request.seeds[0])
            held_back = config.recipe.validation_fraction > 0
            images = run_images(config.data, config.recipe) if held_back else dataset
            arms[arm] = prepare_job(config, images, given, interpreters=interpreters)
            given = arms[arm].given
        except AlexNetError as error:
            raise RunError(
                f"{arm.name}: {error} To leave it out, name the other factors with --only."
            ) from error
    return arms


def run_path(folder: Path, arm: Arm, seed: int) -> Path:
    """Folder of a run, under the arm's earlier name if the study was begun with it."""
    runs = folder / "runs" / arm.framework
    earlier = runs / EARLIER_ARMS.get(arm.name, arm.name)
    return (earlier if earlier.is_dir() else runs / arm.name) / f"seed-{seed}"


def write_request(folder: Path, request: ExplainRequest) -> None:
    """Writes plan.json, whole or not at all."""
    RunFolder(folder).write_json("plan.json", request.to_dict())


def read_request(folder: Path) -> ExplainRequest:
    """Reads the request in plan.json.

    Raises:
        RunError: If it is missing, damaged or of another release.
    """
    path = folder / "plan.json"
    if not path.is_file():
        raise RunError(
            f"{folder}: contains no plan.json of `alexnet explain`; start without --resume."
        )
    values = RunFolder(folder).read_json(path.name)
    if (version := values.pop("schema_version", None)) != SCHEMA_VERSION:
        raise RunError(
            f"{path}: has schema_version={version!r}; this release reads {SCHEMA_VERSION}."
        )
    try:
        return read(ExplainRequest, values)
    except ValueError as error:
        raise RunError(f"{path}: is damaged ({error}).") from error


def has_ended(path: Path, config: RunConfig) -> bool:
    """Whether a folder contains this run and it ended, successfully or not.

    Raises:
        RunError: If it contains another run.
    """
    if not (path / "run.json").is_file():
        return False
    run = RunFolder.open(path)
    if run.config != config:
        raise RunError(f"{path}: contains a run with another config; choose another folder.")
    return run.has_ended


def execute(
    plan: ExplainPlan,
    arms: Mapping[Arm, PreparedRun],
    folder: Path,
    console: Console,
    interpreters: Mapping[str, str],
) -> None:
    """Trains every run that has not ended yet, each framework's in one worker process.

    `arms` are those that prepare_arms() prepared.

    Raises:
        RunError: If a worker failed; finished runs stay.
        StoppedError: If the user stopped it.
    """
    total = sum(1 for name in FRAMEWORKS for _ in plan.runs(name))
    with _Progress(console, total) as progress:
        for name in FRAMEWORKS:
            runs = list(plan.runs(name))
            todo = [run for run in runs if not has_ended(run_path(folder, *run), plan.config(*run))]
            progress.skip(len(runs) - len(todo))
            interpreter = interpreters.get(name, sys.executable)
            for first in range(0, len(todo), RUNS_PER_WORKER):
                some = [
                    (run_path(folder, *run), replace(arms[run[0]], config=plan.config(*run)))
                    for run in todo[first : first + RUNS_PER_WORKER]
                ]
                _execute(folder / f"{name}.log", some, progress, interpreter)


def _execute(
    log: Path, runs: Sequence[tuple[Path, PreparedRun]], progress: "_Progress", interpreter: str
) -> None:
    """Trains the runs of one framework in one worker process, one after the other."""
    framework = runs[0][1].config.framework
    with worker_series(framework, log, interpreter=interpreter) as series:
        for path, run in runs:
            path.parent.mkdir(parents=True, exist_ok=True)
            progress.begin(f"{framework}  {path.parent.name}  {path.name.replace('-', ' ')}")
            with suppress(DivergedError):  # that is a result too
                series.train(run, path, progress)
            # Dozens of networks that were not requested; `alexnet train` makes one again.
            (path / "weights.safetensors").unlink(missing_ok=True)


class _Progress(LogLines):
    """A bar over all runs on a terminal; elsewhere one line per run, and one every 30 seconds."""

    def __init__(self, console: Console, total: int) -> None:
        super().__init__(console)
        self.done, self.total = 0, total
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[place]}"),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.task = self.bar.add_task("starting", total=total, place="")

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def skip(self, count: int) -> None:
        """Counts runs that had ended already."""
        self.done += count
        self.bar.update(self.task, completed=self.done)

    def begin(self, label: str) -> None:
        """Shows the name of the next run."""
        self.label = label
        place = f"run {self.done + 1} of {self.total}"
        self.bar.update(self.task, description=label, place=place)

    def __call__(self, event: Event) -> None:
        """Moves the bar by steps and by runs; what else happens is in the runs' figures."""
        match event:
            case Started():
                self.run = event
            case Stepped(step=step, num_steps=num_steps):
                self.bar.update(self.task, completed=self.done + step / num_steps)
                if self.run is not None:
                    self._say(self.run, event)
            case Ended(result=result):
                self._end(result)

    def _say(self, run: Started, event: Stepped) -> None:
        """Says once how long the study will take, and in a log every 30 seconds how far it is."""
        self.pace.add(event)
        self.recent.add(event)
        if text := self.pace.announce(run, run.num_steps, runs=self.total - self.done):
            self._print(text)
        if not self.console.is_terminal and self.ticker.is_due():
            place = f"run {self.done + 1} of {self.total}"
            self._print(f"{self.label}  {place}  {self.recent.text(run, event)} in this run")

    def _end(self, result: RunResult) -> None:
        """Counts the run; prints it as a line where there is no bar."""
        if result.status == "interrupted":
            return
        self.done += 1
        self.bar.update(self.task, completed=self.done)
        if not self.console.is_terminal:
            accuracy = result.test_top1_accuracy
            figure = result.status if accuracy is None else f"top-1 {accuracy:.2%}"
            self._print(f"{self.done}/{self.total}  {self.label}  {figure}")
