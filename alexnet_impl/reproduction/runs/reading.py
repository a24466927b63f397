"""Reads runs of experiments from the folders that `alexnet reproduce` wrote, and checks them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from alexnet_impl.errors import AlexNetError, RunError
from alexnet_impl.reproduction.catalogue.budget import get_budget
from alexnet_impl.reproduction.catalogue.scratch import get_experiment
from alexnet_impl.reproduction.runs.dataset_check import other_images
from alexnet_impl.reproduction.runs.evidence import Evidence
from alexnet_impl.reproduction.runs.experiment_record import AGAIN, RECORD, ExperimentRecord
from alexnet_impl.reproduction.runs.requests import (
    ExperimentRequest,
    config_differences,
    rebuilt_request,
)
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.runs.folder import RunFolder


def read_evidence(root: Path) -> tuple[tuple[Evidence, ...], tuple[str, ...]]:
    """Reads all runs below a directory; returns them, and the reason for each one left out."""
    found, problems = [], []
    for path in sorted(root.glob("*/*/seed-*/*/run.json")):
        try:
            found.append(_read(path.parent))
        except AlexNetError as error:
            text = str(error)
            problems.append(text if str(root) in text else f"{path.parent}: {text}")
    return tuple(found), tuple(problems)


def _read(path: Path) -> Evidence:
    """Reads one run.

    Raises:
        AlexNetError: If it is damaged, or is not a run of the experiment that its record names.
    """
    record = ExperimentRecord.read(path.parent / RECORD)
    run = RunFolder.open(path)
    config, dataset = run.config, run.dataset
    request = _request(record, path, config)
    seen = [*record.mismatches, *request.mismatches, other_images(dataset, config.data)]
    history, result = run.history, run.result
    finished = result is not None and result.status == "finished"
    if result is not None and finished and result.steps != len(history.step_loss):
        raise RunError(
            f"{path}: ended after {result.steps} steps, and has the losses of "
            f"{len(history.step_loss)}; {AGAIN}."
        )
    return Evidence(
        record=replace(record, mismatches=tuple(dict.fromkeys(filter(None, seen)))),
        path=path,
        config=config,
        dataset=dataset,
        environment=_environment(run),
        history=history,
        result=result,
        predictions=run.read_predictions() if finished else None,
    )


def _environment(run: RunFolder) -> dict[str, Any]:
    try:
        return run.environment
    except RunError:
        return {}


def _request(record: ExperimentRecord, path: Path, config: RunConfig) -> ExperimentRequest:
    """Returns what `alexnet reproduce` would train in the place of this run.

    Raises:
        RunError: If the run is another one.
        UnknownNameError: If there is no such experiment or budget.
    """
    experiment = get_experiment(record.experiment)
    request = rebuilt_request(experiment, get_budget(record.budget), config)
    differing = config_differences(config, request.config)
    directory, root = path.parent, path.parents[3]
    if record.seed != config.recipe.seed:
        differing.append(f"seed={config.recipe.seed}, not {record.seed}")
    if path != request.folder(root) / config.framework:
        differing.append(f"it lies in {directory.relative_to(root)}/{path.name}")
    if differing:
        raise RunError(
            f"{path}: is not a run of {experiment.id}: {'; '.join(differing)}; run it again "
            "with another --output."
        )
    return request
