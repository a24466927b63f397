"""Trains one prepared run in both frameworks: the same recipe, images and weights for each seed."""

import shutil
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from alexnet_impl.errors import DivergedError, RunError, StoppedError
from alexnet_impl.frameworks import FRAMEWORKS, get_framework, is_installed
from alexnet_impl.machine.interference import LOOK_S
from alexnet_impl.machine.watch import MachineWatch
from alexnet_impl.processes.training_worker import WorkerSeries, worker_series
from alexnet_impl.recipe.recipe import LARGEST_SEED
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.runs.folder import RunFolder, check_free, hold_folder
from alexnet_impl.training.observers import make_observer
from alexnet_impl.training.prepare import PreparedRun

MOST_SEEDS = 1000
COMPARISON = "compare.json"
"""The config of a comparison, written into its folder first."""


def check_frameworks(
    interpreters: Mapping[str, str], frameworks: Collection[str] = FRAMEWORKS
) -> None:
    """Refuses a job whose frameworks are not installed, before any work is done.

    `interpreters` maps a framework to the Python that runs it, by default this one.

    Raises:
        FrameworkError: If one is not installed; with the command that installs it.
        RunError: If an interpreter cannot be found.
    """
    for name in FRAMEWORKS:
        if name not in frameworks:
            continue
        interpreter = interpreters.get(name, sys.executable)
        if shutil.which(interpreter) is None:
            raise RunError(f"--interpreter {name}={interpreter}: is not an executable program.")
        if interpreter == sys.executable and not is_installed(name):
            get_framework(name)


def compare(
    run: PreparedRun,
    folder: Path,
    console: Console,
    interpreters: Mapping[str, str],
    watch: MachineWatch,
    *,
    seeds: Sequence[int],
) -> list[RunFolder]:
    """Trains every seed in both frameworks, each framework in one worker process after the other.

    Args:
        run: What to train; its framework and seed are replaced.
        folder: Each run becomes a folder in it; see run_path(). A run that is there already is
            kept if it has ended, and continued if it was interrupted.
        console: Shows the progress.
        interpreters: Framework to the Python that runs it; by default this one.
        watch: Looks for other work, which the times of the runs are marked with.
        seeds: Each gives a pair of runs with the same initial weights and batches.

    Returns:
        The runs of each seed, PyTorch's before TensorFlow's.

    Raises:
        RunError: If a worker failed.
        StoppedError: If the user stopped it.
    """
    for name in FRAMEWORKS:
        todo = [seed for seed in seeds if not _has_ended(run_path(folder, name, seed, seeds))]
        if not todo:
            continue
        log = folder / f"{name}.log"
        interpreter = interpreters.get(name, sys.executable)
        with worker_series(name, log, interpreter=interpreter) as series:
            for seed in todo:
                recipe = replace(run.config.recipe, seed=seed)
                one = replace(run, config=replace(run.config, framework=name, recipe=recipe))
                path = run_path(folder, name, seed, seeds)
                _train(series, one, path, console, watch, seeds)
    return [
        RunFolder.open(run_path(folder, name, seed, seeds)) for seed in seeds for name in FRAMEWORKS
    ]


def _train(
    series: WorkerSeries,
    run: PreparedRun,
    path: Path,
    console: Console,
    watch: MachineWatch,
    seeds: Sequence[int],
) -> None:
    """Trains or continues a run; of several pairs, one that diverges ends none of the others."""
    config = run.config
    path.parent.mkdir(parents=True, exist_ok=True)
    if len(seeds) > 1:
        console.print(f"seed {config.recipe.seed}, {config.framework}")
    is_last = config.framework == FRAMEWORKS[-1]
    scope = " per run" if len(seeds) > 1 else "" if is_last else " per framework"
    earlier = _other_work_so_far(path)
    try:
        with make_observer(console, scope=scope) as observer:
            series.train(run, path, observer)
    except DivergedError:
        if len(seeds) == 1:
            raise
        return
    except StoppedError:
        _note_other_work(path, earlier, watch)
        raise
    _note_other_work(path, earlier, watch)


def _other_work_so_far(path: Path) -> tuple[str, ...]:
    """Signs of other work in the part of a run that was trained before."""
    result = RunFolder(path).result if (path / "run.json").is_file() else None
    return () if result is None else result.timing.other_work


def _note_other_work(path: Path, earlier: Iterable[str], watch: MachineWatch) -> None:
    """Adds signs of other work, each once, to the times of a run that a worker has left."""
    result = RunFolder(path).result if (path / "run.json").is_file() else None
    if result is None:
        return
    device = RunFolder(path).environment.get("framework", {}).get("device")
    signs = (*earlier, *watch.signs_of_other_work(on_gpu=device != "cpu"))
    timing = replace(result.timing, other_work=tuple(dict.fromkeys(signs)))
    if timing != result.timing:
        with hold_folder(path):
            RunFolder(path).write_result(replace(result, timing=timing))


def compare_in(
    run: PreparedRun,
    folder: Path,
    console: Console,
    interpreters: Mapping[str, str],
    *,
    seeds: Sequence[int],
    is_new: bool = True,
) -> list[RunFolder]:
    """Holds the folder of a comparison and trains in it, watching the machine; see compare().

    A new one keeps its config first, so that it can be resumed.

    Raises:
        RunError: If the folder holds files already, or another process writes to it.
    """
    with hold_folder(folder):
        if is_new:
            check_free(folder)
            write_comparison(folder, run.config, seeds)
        with MachineWatch(warn_on(console), LOOK_S) as watch:
            runs = compare(run, folder, console, interpreters, watch, seeds=seeds)
            watch.after()
    return runs


def comparison_seeds(first: int, count: int) -> tuple[int, ...]:
    """`count` seeds, counted up from the first.

    Raises:
        RunError: If there are none, or too many, or the last one is too large for a recipe.
    """
    if not 1 <= count <= MOST_SEEDS:
        raise RunError(f"--seeds {count}: must be from 1 to {MOST_SEEDS}.")
    if (last := first + count - 1) > LARGEST_SEED:
        raise RunError(
            f"--seeds {count}: the last seed, {last}, must be at most {LARGEST_SEED}; give a "
            "smaller --seed."
        )
    return tuple(range(first, first + count))


def require_finished_pair(runs: Sequence[RunFolder]) -> None:
    """Refuses a comparison over seeds of which no seed has two finished runs.

    `runs` are those of compare().

    Raises:
        DivergedError: If there is none.
    """
    results = [run.result for run in runs]
    ended = [result is not None and result.status == "finished" for result in results]
    if not any(map(all, zip(ended[::2], ended[1::2], strict=True))):
        reason = next((one.message for one in results if one is not None and one.message), "")
        raise DivergedError(
            f"No seed of {len(runs) // 2} finished in both frameworks, so that there is nothing to "
            f"compare. The first error: {reason}"
        )


def warn_on(console: Console) -> Callable[[str], None]:
    """A function that prints a warning on the console as one line."""
    return lambda text: console.print(f"warning: {text}", style="yellow", soft_wrap=True)


def run_path(folder: Path, framework: str, seed: int, seeds: Sequence[int]) -> Path:
    """The folder of one run: FOLDER/torch of a single seed, FOLDER/seed-0/torch of several."""
    return folder / framework if len(seeds) == 1 else folder / f"seed-{seed}" / framework


def _has_ended(path: Path) -> bool:
    """Whether there is nothing left to train in this run folder."""
    return (path / "run.json").is_file() and RunFolder.open(path).has_ended


def write_comparison(folder: Path, config: RunConfig, seeds: Sequence[int]) -> None:
    """Writes compare.json: from then on the comparison can be resumed."""
    values = {"config": config.to_dict(), "seeds": list(seeds)}
    RunFolder(folder).write_json(COMPARISON, values)


def read_comparison(folder: Path) -> tuple[RunConfig, tuple[int, ...]]:
    """The config and the seeds of a comparison that was interrupted.

    Raises:
        RunError: If none was started, or compare.json is damaged.
    """
    if (folder / COMPARISON).is_file():
        values = RunFolder(folder).read_json(COMPARISON)
        config = RunConfig.from_dict(values.get("config", values))  # alone before there were seeds
        seeds = values.get("seeds", [config.recipe.seed])
        if not isinstance(seeds, list) or not seeds or not all(type(seed) is int for seed in seeds):
            raise RunError(f"{folder / COMPARISON}: is damaged (seeds: {seeds!r}).")
        return config, tuple(seeds)
    for name in FRAMEWORKS:  # folders written before compare.json was
        if (folder / name / "run.json").is_file():
            config = RunFolder.open(folder / name).config
            return config, (config.recipe.seed,)
    raise RunError(f"{folder}: holds no run of a comparison; start one without --resume.")
