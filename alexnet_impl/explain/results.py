"""Computes the effect of each factor, with its uncertainty, from the run folders of a study."""

import json
import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from alexnet_impl.errors import RunError
from alexnet_impl.explain.study import (
    ALIGNED,
    SCHEMA_VERSION,
    Arm,
    EffectRow,
    ExplainPlan,
    dataset_facts,
    make_plan,
    read_request,
    run_path,
)
from alexnet_impl.files import finite, write_bytes
from alexnet_impl.frameworks import FRAMEWORKS
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.runs.records import DatasetRecord
from alexnet_impl.stats.paired_effects import Estimate, estimate, holm, paired

METRICS = ("test_top1_accuracy", "test_loss", "train_loss")
"""Metrics of an effect; train_loss is the mean over the last steps of a run."""
NUM_LAST_STEPS = 20
"""Number of steps in train_loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Status and metrics of one run.

    Attributes:
        path: The run folder.
        status: Status in result.json.
        figures: Metric to its value; None if the run did not finish.
    """

    path: Path
    status: str
    figures: dict[str, float | None]

    @property
    def finished(self) -> bool:
        """Whether the run finished with finite metrics."""
        return self.status == "finished"


def read_outcome(path: Path) -> Outcome:
    """Reads status and metrics of a run folder.

    Raises:
        RunError: If the run has not ended.
    """
    run = RunFolder.open(path)
    result = run.result
    if result is None or result.status == "interrupted":
        raise RunError(f"{path}: this run has not ended; continue with --resume.")
    figures: dict[str, float | None] = dict.fromkeys(METRICS)
    if result.status == "finished":
        last = run.history.step_loss[-NUM_LAST_STEPS:]
        figures = {
            "test_top1_accuracy": result.test_top1_accuracy,
            "test_loss": result.test_loss,
            "train_loss": statistics.fmean(last),
        }
    return Outcome(path=path, status=result.status, figures=figures)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """The measured effect of one row of the plan.

    Attributes:
        row: The comparison.
        estimates: Metric to its estimated change; empty if nothing was run.
        holm: Metric to its p value, adjusted for the number of factors.
        num_seeds: Number of pairs of runs.
        ends: Status of each run of the switched arm that did not finish.
        ends_before: Status of each such run of the arm it is compared with.
    """

    row: EffectRow
    estimates: dict[str, Estimate]
    holm: dict[str, float | None]
    num_seeds: int
    ends: tuple[str, ...] = ()
    ends_before: tuple[str, ...] = ()

    @property
    def measurable(self) -> bool:
        """Whether the interval of any metric excludes 0."""
        return any(found.measurable for found in self.estimates.values())

    @property
    def size(self) -> tuple[float, float]:
        """Rank of the effect: change in accuracy, then in loss; failed runs come first."""
        if not self.estimates:
            return -1.0, -1.0
        if self.num_seeds and len(self.ends) == self.num_seeds:
            return math.inf, math.inf
        accuracy, loss = (abs(self.estimates[name].mean) for name in METRICS[:2])
        return (0.0, 0.0) if math.isnan(accuracy) else (accuracy, loss)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainResults:
    """All results of a study.

    Attributes:
        plan: The comparisons and runs.
        folder: The folder of the study.
        outcomes: (arm, seed) to the outcome of its run.
        factors: Effect of every factor, the largest first, those without a run last.
        summaries: All together, the framework itself, and framework defaults.
        dataset: The dataset of the aligned runs.
        environments: Machine and versions by framework.
    """

    plan: ExplainPlan
    folder: Path
    outcomes: dict[tuple[Arm, int], Outcome]
    factors: tuple[Effect, ...]
    summaries: tuple[Effect, ...]
    dataset: DatasetRecord
    environments: dict[str, dict[str, Any]]


def read_explanation(folder: Path) -> ExplainResults:
    """Computes the effects from the run folders.

    Raises:
        RunError: If there is no study in the folder, or one of its runs has not ended.
    """
    request = read_request(folder)
    aligned = [Arm(name=ALIGNED, framework=name, setting=request.aligned) for name in FRAMEWORKS]
    first = [RunFolder.open(run_path(folder, arm, request.seeds[0])) for arm in aligned]
    dataset = first[0].dataset
    plan = make_plan(request, dataset_facts(dataset))
    outcomes = {
        (arm, seed): read_outcome(run_path(folder, arm, seed))
        for name in FRAMEWORKS
        for arm, seed in plan.runs(name)
    }
    effects = measure(plan, outcomes)
    factors = [effect for effect in effects if effect.row.factor is not None]
    return ExplainResults(
        plan=plan,
        folder=folder,
        outcomes=outcomes,
        factors=tuple(sorted(factors, key=lambda effect: effect.size, reverse=True)),
        summaries=tuple(effect for effect in effects if effect.row.factor is None),
        dataset=dataset,
        environments={
            arm.framework: run.environment for arm, run in zip(aligned, first, strict=True)
        },
    )


def measure(plan: ExplainPlan, outcomes: Mapping[tuple[Arm, int], Outcome]) -> list[Effect]:
    """Effect of every row, in the plan's order."""
    effects = [_effect(row, plan.request.seeds, outcomes) for row in plan.rows]
    singles = [effect for effect in effects if effect.row.factor is not None]
    for metric in METRICS:
        found = [effect.estimates.get(metric) for effect in singles]
        adjusted = holm([None if one is None else one.p_value for one in found])
        for effect, p_value in zip(singles, adjusted, strict=True):
            effect.holm[metric] = p_value
    return effects


def _effect(
    row: EffectRow, seeds: tuple[int, ...], outcomes: Mapping[tuple[Arm, int], Outcome]
) -> Effect:
    if row.after is None:
        return Effect(row=row, estimates={}, holm={}, num_seeds=0)
    after = {seed: outcomes[row.after, seed] for seed in seeds}
    before = {seed: outcomes[row.before, seed] for seed in seeds}
    estimates = {
        metric: estimate(
            paired(
                {seed: outcome.figures[metric] for seed, outcome in after.items()},
                {seed: outcome.figures[metric] for seed, outcome in before.items()},
            )
        )
        for metric in METRICS
    }
    return Effect(
        row=row,
        estimates=estimates,
        holm={},
        num_seeds=len(seeds),
        ends=_unfinished(after.values()),
        ends_before=_unfinished(before.values()),
    )


def _unfinished(outcomes: Iterable[Outcome]) -> tuple[str, ...]:
    return tuple(outcome.status for outcome in outcomes if not outcome.finished)


def write_explanation(explanation: ExplainResults) -> None:
    """Writes explain.json: the budget, every run with its metrics, and the effects."""
    text = json.dumps(to_dict(explanation), indent=1, allow_nan=False)
    write_bytes(explanation.folder / "explain.json", text.encode())


def to_dict(explanation: ExplainResults) -> dict[str, Any]:
    """JSON-compatible values; a metric that is not finite becomes null."""
    request = explanation.plan.request
    return {
        "schema_version": SCHEMA_VERSION,
        "budget": request.to_dict(),
        "dataset": asdict(explanation.dataset),
        "environments": explanation.environments,
        "runs": [
            {
                "framework": arm.framework,
                "arm": arm.name,
                "seed": seed,
                "folder": str(outcome.path.relative_to(explanation.folder)),
                "status": outcome.status,
                **outcome.figures,
            }
            for (arm, seed), outcome in explanation.outcomes.items()
        ],
        "effects": [
            _effect_dict(effect) for effect in (*explanation.factors, *explanation.summaries)
        ],
    }


def _effect_dict(effect: Effect) -> dict[str, Any]:
    row = effect.row
    return {
        "name": row.name,
        "kind": row.factor.kind if row.factor is not None else "summary",
        "does_not_apply": row.not_applicable,
        "after": _arm_dict(row.after),
        "before": _arm_dict(row.before),
        "num_seeds": effect.num_seeds,
        "not_finished": list(effect.ends),
        "measurable": effect.measurable,
        "metrics": {
            metric: {
                **finite(asdict(found)),
                "p_value_holm": effect.holm.get(metric),
                "measurable": found.measurable,
            }
            for metric, found in effect.estimates.items()
        },
    }


def _arm_dict(arm: Arm | None) -> dict[str, str] | None:
    return None if arm is None else {"framework": arm.framework, "arm": arm.name}
