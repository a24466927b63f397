"""Which default made the difference: switch one factor at a time, over several seeds.

    plan.json                          what was asked for, written first
    runs/FRAMEWORK/ARM/seed-K/         a run folder each, without its weights
    explain.json, .html and .png       what follows from them, written last

An arm is one setting in one framework, trained with every seed. Two arms are compared seed by seed:
the same draws of initial weights, order and augmentation, and the same test images.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from alexnet_impl.data.dataset import Dataset
from alexnet_impl.data.loading import load_dataset
from alexnet_impl.errors import AlexNetError, RunError, StoppedError, UnknownNameError
from alexnet_impl.explain.factors import (
    Factor,
    Images,
    Setting,
    as_it_comes,
    get_factors,
    made_equal,
    not_applicable_reason,
    switched,
)
from alexnet_impl.files import write_bytes
from alexnet_impl.frameworks import FRAMEWORKS
from alexnet_impl.processes.training_worker import worker_series
from alexnet_impl.recipe.recipe import total_steps
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.runs.records import DatasetRecord, RunResult
from alexnet_impl.training.events import Ended, Event, Stepped
from alexnet_impl.training.start import check_run

SCHEMA_VERSION = 1
RUNS_PER_WORKER = 24
"""TensorFlow keeps memory of each run, 10 MB at width 0.125 and 70 MB at 0.5: start it afresh."""

EQUAL, TOGETHER, COMES = "made-equal", "all-together", "as-it-comes"
"""Arms that are no single factor."""
TOGETHER_ROW, FRAMEWORK_ROW, COMES_ROW = "all together", "the framework itself", "as they come"
"""Comparisons that are no single factor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What an explanation was asked to find out.

    Attributes:
        config: The made-equal training, in the framework that the factors are switched in.
        seeds: Every arm is trained with each.
        factors: Names of those to switch; all of them if there is none.

    Raises:
        UnknownNameError: If there is no such framework or factor.
        RunError: If there is no seed, or one twice.
    """

    config: RunConfig
    seeds: tuple[int, ...]
    factors: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.config.framework not in FRAMEWORKS:
            raise UnknownNameError("framework", self.config.framework, FRAMEWORKS)
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise RunError(f"seeds={self.seeds} must be one seed or several different ones.")
        get_factors(self.factors)

    @property
    def equal(self) -> Setting:
        """The setting that the factors are switched in."""
        return Setting(variant=self.config.variant, recipe=self.config.recipe)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "schema_version": SCHEMA_VERSION,
            "config": self.config.to_dict(),
            "seeds": list(self.seeds),
            "factors": list(self.factors),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One setting in one framework, trained with every seed."""

    name: str
    framework: str
    setting: Setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Two arms that are compared; or a factor that has no arm, and why.

    Attributes:
        name: A factor's name, or what the two arms differ in.
        after: The arm that something was switched in; None where it would change nothing.
        before: The arm that it is compared with.
        factor: Which one was switched; None where it is no single one.
        idle: Why nothing was run.
    """

    name: str
    after: Arm | None
    before: Arm
    factor: Factor | None = None
    idle: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The comparisons of an explanation, and the runs that they need."""

    request: Request
    rows: tuple[Row, ...]

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Every arm once: what several rows need is trained once."""
        pairs = ((row.before, row.after) for row in self.rows)
        return tuple(dict.fromkeys(arm for pair in pairs for arm in pair if arm is not None))

    def runs(self, framework: str) -> Iterator[tuple[Arm, int]]:
        """The runs of a framework, seed after seed: a stop leaves whole seeds behind."""
        arms = [arm for arm in self.arms if arm.framework == framework]
        return ((arm, seed) for seed in self.request.seeds for arm in arms)

    def config(self, arm: Arm, seed: int) -> RunConfig:
        """What one run does."""
        recipe = replace(arm.setting.recipe, seed=seed)
        return replace(
            self.request.config,
            framework=arm.framework,
            variant=arm.setting.variant,
            recipe=recipe,
        )


def equal_config(config: RunConfig) -> RunConfig:
    """The made-equal training of a base."""
    equal = made_equal(Setting(variant=config.variant, recipe=config.recipe))
    return replace(config, variant=equal.variant, recipe=equal.recipe)


def seeds_from(first: int, count: int) -> tuple[int, ...]:
    """So many seeds, counted up.

    Raises:
        RunError: If there is none.
    """
    if count < 1:
        raise RunError(f"seeds={count} must be at least 1; an interval needs 2.")
    return tuple(range(first, first + count))


def make_request(
    config: RunConfig, num_train_images: int, seeds: tuple[int, ...], factors: Iterable[str]
) -> Request:
    """The request of a command line.

    Args:
        config: The made-equal training.
        num_train_images: Epochs are said as steps of so many images: every arm takes as many.
        seeds: Every arm is trained with each.
        factors: Names of factors; all if there is none.

    Raises:
        UnknownNameError: If there is no such framework or factor.
    """
    recipe = config.recipe
    batches = -(-num_train_images // recipe.global_batch_size)
    return Request(
        config=replace(config, recipe=replace(recipe, steps=total_steps(recipe, batches))),
        seeds=seeds,
        factors=tuple(factors),
    )


def images_of(dataset: Dataset | DatasetRecord) -> Images:
    """What the factors need to know of the images."""
    record = dataset if isinstance(dataset, DatasetRecord) else DatasetRecord.of(dataset)
    return Images(num_train_images=record.num_train_images, size=record.image_size)


def make_plan(request: Request, images: Images) -> Plan:
    """Every factor by itself, all of them together, and both ends in both frameworks."""
    arms = {name: Arm(name=EQUAL, framework=name, setting=request.equal) for name in FRAMEWORKS}
    equal = {str(name): arm for name, arm in arms.items()}
    before = equal[request.config.framework]
    rows = [_factor_row(factor, before, images) for factor in get_factors(request.factors)]
    rows.append(_together_row(rows, before))
    rows += _framework_rows(equal, rows[-1], images)
    return Plan(request=request, rows=tuple(rows))


def _factor_row(factor: Factor, equal: Arm, images: Images) -> Row:
    reason = not_applicable_reason(factor, equal.setting, images)
    setting = factor.as_keras(equal.setting)
    after = None if reason else replace(equal, name=factor.name, setting=setting)
    return Row(name=factor.name, after=after, before=equal, factor=factor, idle=reason)


def _together_row(rows: Iterable[Row], equal: Arm) -> Row:
    """All default factors that were switched, on top of each other."""
    active = [row.factor for row in rows if row.after is not None and row.factor is not None]
    defaults = [factor for factor in active if factor.kind == "default"]
    if len(defaults) < 2:
        reason = "fewer than two defaults were switched"
        return Row(name=TOGETHER_ROW, after=None, before=equal, idle=reason)
    after = replace(equal, name=TOGETHER, setting=switched(equal.setting, defaults))
    return Row(name=TOGETHER_ROW, after=after, before=equal)


def _framework_rows(equal: Mapping[str, Arm], together: Row, images: Images) -> Iterator[Row]:
    """The other framework under the same setting, and each framework as it comes."""
    torch, tensorflow = (equal[name] for name in FRAMEWORKS)
    yield Row(name=FRAMEWORK_ROW, after=tensorflow, before=torch)
    comes = as_it_comes("tensorflow", torch.setting, images)
    after = replace(tensorflow, name=COMES, setting=comes)
    if together.after == replace(after, name=TOGETHER):  # the factors were switched in it too
        after = replace(after, name=TOGETHER)
    yield Row(name=COMES_ROW, after=after, before=torch)


def check_plan(plan: Plan, dataset: Dataset) -> None:
    """Refuse a plan one of whose runs could not start, before any work is done.

    Args:
        plan: What is to be run.
        dataset: What the made-equal training sees.

    Raises:
        RunError: Naming the arm.
    """
    for arm in plan.arms:
        try:
            config = plan.config(arm, plan.request.seeds[0])
            check_run(config, _images_for(config, dataset))
        except AlexNetError as error:
            raise RunError(
                f"{arm.name}: {error} Or leave it out: --only names the factors to switch."
            ) from error


def _images_for(config: RunConfig, dataset: Dataset) -> Dataset:
    """The images of a run: loaded again where some are held back."""
    recipe = config.recipe
    if recipe.validation_fraction == 0:
        return dataset
    return load_dataset(
        config.data,
        validation_fraction=recipe.validation_fraction,
        validation_split=recipe.validation_split,
        seed=recipe.seed,
    )


def run_path(folder: Path, arm: Arm, seed: int) -> Path:
    """Where a run of an explanation lies."""
    return folder / "runs" / arm.framework / arm.name / f"seed-{seed}"


def write_request(folder: Path, request: Request) -> None:
    """Write plan.json, whole or not at all."""
    write_bytes(folder / "plan.json", json.dumps(request.to_dict(), indent=1).encode())


def read_request(folder: Path) -> Request:
    """What the explanation in a folder was asked to find out.

    Raises:
        RunError: If there is none, or it is damaged or of another release.
    """
    path = folder / "plan.json"
    try:
        values = json.loads(path.read_bytes())
        if not isinstance(values, dict):
            raise RunError(f"{path}: is damaged (it holds no JSON object).")
        if (version := values["schema_version"]) != SCHEMA_VERSION:
            raise RunError(
                f"{path}: has schema_version={version!r}; this release reads {SCHEMA_VERSION}."
            )
        return Request(
            config=RunConfig.from_dict(values["config"]),
            seeds=tuple(values["seeds"]),
            factors=tuple(values["factors"]),
        )
    except FileNotFoundError as error:
        raise RunError(f"{folder}: holds no explanation; start one without --resume.") from error
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path}: is damaged ({error}).") from error


def has_ended(path: Path, config: RunConfig) -> bool:
    """Whether this run folder holds the run that came to an end, be it a bad one.

    Raises:
        RunError: If it holds another run.
    """
    if not (path / "run.json").is_file():
        return False
    run = RunFolder.open(path)
    if run.config != config:
        raise RunError(f"{path}: holds a run of something else; explain in another folder.")
    result = run.result
    return result is not None and result.status != "interrupted"


def execute(plan: Plan, folder: Path, console: Console, interpreters: Mapping[str, str]) -> None:
    """Train every run that has not ended yet, each framework's in one worker.

    Args:
        plan: What to run.
        folder: Of the explanation.
        console: Where progress is shown.
        interpreters: Framework to the Python that runs it; this one by default.

    Raises:
        RunError: If a worker failed; what has ended stays.
        StoppedError: If the user stopped it.
    """
    total = sum(1 for name in FRAMEWORKS for _ in plan.runs(name))
    with _Progress(console, total) as progress:
        for name in FRAMEWORKS:
            todo = [
                run
                for run in plan.runs(name)
                if not has_ended(run_path(folder, *run), plan.config(*run))
            ]
            progress.skip(sum(1 for _ in plan.runs(name)) - len(todo))
            interpreter = interpreters.get(name, sys.executable)
            try:
                for first in range(0, len(todo), RUNS_PER_WORKER):
                    some = todo[first : first + RUNS_PER_WORKER]
                    _execute(plan, folder, some, progress, interpreter)
            except StoppedError as error:
                raise StoppedError(
                    f"Stopped; continue with: alexnet explain --resume {folder}"
                ) from error


def _execute(
    plan: Plan,
    folder: Path,
    runs: Sequence[tuple[Arm, int]],
    progress: "_Progress",
    interpreter: str,
) -> None:
    """Train the runs of one framework in one worker, one after the other."""
    framework = runs[0][0].framework
    log = folder / f"{framework}.log"
    with worker_series(framework, log, interpreter=interpreter) as series:
        for arm, seed in runs:
            path = run_path(folder, arm, seed)
            path.parent.mkdir(parents=True, exist_ok=True)
            progress.begin(f"{framework}  {arm.name}  seed {seed}")
            result = series.train(plan.config(arm, seed), path, progress)
            if result.status == "interrupted":
                raise StoppedError(f"{path}: stopped")
            # Dozens of networks that nobody asked for; `alexnet train` makes one again.
            (path / "weights.safetensors").unlink(missing_ok=True)


class _Progress:
    """A bar over all runs on a terminal, one line per run elsewhere."""

    def __init__(self, console: Console, total: int) -> None:
        self.console, self.label = console, ""
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
        """Count runs that had ended before."""
        self.done += count
        self.bar.update(self.task, completed=self.done)

    def begin(self, label: str) -> None:
        """Name the run that comes."""
        self.label = label
        place = f"run {self.done + 1} of {self.total}"
        self.bar.update(self.task, description=label, place=place)

    def __call__(self, event: Event) -> None:
        """Moves the bar by steps and by runs; what else happens is in the runs' figures."""
        match event:
            case Stepped(step=step, num_steps=num_steps):
                self.bar.update(self.task, completed=self.done + step / num_steps)
            case Ended(result=result):
                self._end(result)

    def _end(self, result: RunResult) -> None:
        """Counts the run; prints it as a line where there is no bar."""
        if result.status == "interrupted":
            return
        self.done += 1
        self.bar.update(self.task, completed=self.done)
        if not self.console.is_terminal:
            accuracy = result.test_top1_accuracy
            figure = result.status if accuracy is None else f"top-1 {accuracy:.2%}"
            line = f"{self.done}/{self.total}  {self.label}  {figure}"
            self.console.print(line, highlight=False, soft_wrap=True)
