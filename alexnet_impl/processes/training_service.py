"""The training worker's side: trains the runs that its parent sends, and reports the progress.

A request is {"run": a prepared run, "folder": its run folder}. The answers are events, an "error"
if the run could not be trained to its end, and "done".
"""

import functools
import gc
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.dataset import Dataset
from alexnet_impl.data.loading import load_dataset
from alexnet_impl.errors import AlexNetError, RunError
from alexnet_impl.processes.host_memory import keep_freed_memory
from alexnet_impl.processes.launch import worker_pipes
from alexnet_impl.processes.messages import run_from_dict
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.training.observers import JsonObserver
from alexnet_impl.training.start import resume_run, start_run


def run_training_worker() -> int:
    """Trains what each request on standard input says, one run after the other.

    Returns:
        The exit code: 0 if every run finished or was stopped, 1 if one failed.
    """
    keep_freed_memory()
    with worker_pipes() as (requests, answers):
        return train_requests(requests, JsonObserver(answers))


def train_requests(requests: Iterable[str], observer: JsonObserver) -> int:
    """Trains what each request says; see run_training_worker().

    Raises:
        RunError: If there is no request.
    """
    # Runs of a series often share their images.
    load = functools.lru_cache(maxsize=1)(_load)
    codes = set()
    for line in _until_stopped(requests):
        message = _train_one(json.loads(line), load, observer)
        if message:
            observer.send("error", message=message)
        codes.add(1 if message else 0)
        observer.send("done")
        gc.collect()  # reference cycles would keep a trainer's memory beside the next one's
    if not codes:
        raise RunError("worker training: received no request; `alexnet compare` starts it.")
    return max(codes)


def _until_stopped(requests: Iterable[str]) -> Iterator[str]:
    """The requests, until they end or Ctrl-C comes between two."""
    try:
        yield from requests
    except KeyboardInterrupt:
        return


_Load = Callable[[DataConfig, float, str, int], Dataset]


def _load(data: DataConfig, fraction: float, split: str, seed: int) -> Dataset:
    return load_dataset(data, validation_fraction=fraction, validation_split=split, seed=seed)


def _train_one(request: dict[str, Any], load: _Load, observer: JsonObserver) -> str:
    """Trains one run; returns why it could not be trained to its end, or ''."""
    try:
        run = run_from_dict(request["run"])
        recipe = run.config.recipe
        dataset = load(
            run.config.data, recipe.validation_fraction, recipe.validation_split, recipe.seed
        )
        path = Path(request["folder"])
        if (path / "run.json").is_file():
            resume_run(RunFolder.open(path), run, dataset, observer)
        else:
            start_run(path, run, dataset, observer)
    except KeyboardInterrupt:
        return "stopped before the first step"
    except (AlexNetError, OSError, MemoryError) as error:
        return str(error) or type(error).__name__
    return ""
