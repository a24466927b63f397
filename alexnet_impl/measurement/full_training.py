"""Entries of a benchmark file for whole training runs, with the time to a target accuracy."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from alexnet_impl.errors import RunError
from alexnet_impl.measurement.case import FULL_TRAINING, Case
from alexnet_impl.measurement.case_worker import case_worker
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.runs.records import History
from alexnet_impl.stats.speed_ratios import instability


def full_training_entry(
    config: RunConfig,
    times_s: Sequence[float],
    runs: Sequence[RunFolder],
    target: float,
    *,
    interpreter: str = sys.executable,
) -> dict[str, Any]:
    """The entry of several runs of one config, with a warning if none reached the target.

    Args:
        config: What was trained.
        times_s: Seconds of each run, with the start of its process.
        runs: Folders of the finished runs.
        target: Top-1 accuracy above 0 and at most 1, at the evaluation after an epoch.
        interpreter: The Python that measures the machine's peaks.

    Raises:
        RunError: If a run is not finished, or the machine's peaks cannot be measured.
    """
    results = [run.finished_result() for run in runs]
    case = Case(workload=FULL_TRAINING, config=config)
    with case_worker(case, interpreter=interpreter) as worker:
        case, peaks, framework = worker.case, worker.peaks(), worker.fingerprint()
    recipe, call_s = config.recipe, median(times_s)
    amount = runs[0].dataset.num_train_images * len(runs[0].history.epochs)
    reached = _target(runs, target)
    warnings = list(instability(times_s))
    if not reached["reached"]:
        warnings.append(f"no run reached the target of {100 * target:.4g} %: do not compare times.")
    return {
        "title": f"{case.title}, {recipe.epochs} epochs",
        "key": case.key
        | {"epochs": recipe.epochs, "steps": recipe.steps, "dataset": config.data.dataset},
        "case": case.to_dict(),
        "times_s": list(times_s),
        "amount": amount,
        "unit": "images",
        "peaks": peaks,
        "call_s": call_s,
        "per_second": amount / call_s,
        "fraction_of_peak": None,
        "first_call_s": min(result.timing.first_step_time_s for result in results),
        "memory": {
            "process": max(result.peak_memory_bytes for result in results),
            "device": results[0].peak_device_memory_bytes,
        },
        "framework": framework,
        "gate": None,
        "target": reached,
        "warnings": warnings,
    }


def _target(runs: Sequence[RunFolder], target: float) -> dict[str, Any]:
    """Number of runs that reached the target, and when the fastest of them did."""
    found = [time_to_accuracy(run.history, target) for run in runs]
    reached = [one for one in found if one is not None]
    best = min(reached, key=lambda one: one.training_time_s, default=None)
    return {
        "top1_accuracy": target,
        "runs": len(found),
        "reached": len(reached),
        "epochs": best and best.epochs,
        "training_time_s": best and best.training_time_s,
        "evaluation_time_s": best and best.evaluation_time_s,
        "evaluated_on": best and best.evaluated_on,
        "test_top1_accuracy": max(run.finished_result().test_top1_accuracy or 0.0 for run in runs),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeToAccuracy:
    """Time and epoch at which a run reached its target accuracy.

    Attributes:
        epochs: Passes over the training images until then.
        training_time_s: Seconds of their steps: no evaluation, no checkpoint, and no first call of
            a batch size or number of steps, which traces and compiles (Timing.first_step_time_s has
            those).
        evaluation_time_s: Seconds of the evaluations until then, with the one that reached it.
        top1_accuracy: Accuracy at that evaluation.
        evaluated_on: 'validation' or 'test'.
    """

    epochs: int
    training_time_s: float
    evaluation_time_s: float
    top1_accuracy: float
    evaluated_on: str


def time_to_accuracy(history: History, target: float) -> TimeToAccuracy | None:
    """The first epoch whose evaluation reached the target, with its time; None if none did.

    Args:
        history: History of a run.
        target: Top-1 accuracy above 0, at most 1.

    Raises:
        RunError: If the target is not above 0 and at most 1.
    """
    if not 0 < target <= 1:
        raise RunError(f"target={target} must be a share above 0 and at most 1; 0.8 is 80 %.")
    for number, record in enumerate(history.epochs, start=1):
        if record.eval_top1_accuracy >= target:
            passed = history.epochs[:number]
            return TimeToAccuracy(
                epochs=number,
                training_time_s=sum(epoch.training_time_s for epoch in passed),
                evaluation_time_s=sum(epoch.evaluation_time_s for epoch in passed),
                top1_accuracy=record.eval_top1_accuracy,
                evaluated_on=record.evaluated_on,
            )
    return None
