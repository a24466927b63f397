"""The gate before a ratio: the two frameworks compute the same in the precision that is timed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from alexnet_impl.data.loading import load_dataset
from alexnet_impl.errors import RunError
from alexnet_impl.measurement.case import Case
from alexnet_impl.measurement.largest_batch import of_batch_size
from alexnet_impl.measurement.workloads import get_work
from alexnet_impl.parity.prove import both_sides, make_parity_case
from alexnet_impl.parity.record import CheckResult
from alexnet_impl.parity.stages import FEW_STEPS, static_checks
from alexnet_impl.training.prepare import PreparedRun

GATE_IMAGES = 8
"""Batch size that the two are compared at."""
GATE_DRAWS = 3
"""Draws of weights and images before two models count as different. A sum within rounding of zero
falls to either side of ReLU and moves every gradient in front of it: that is chance, and a mistake
shows in every draw."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Whether two frameworks were shown equal before they were timed.

    Attributes:
        checks: Weights, preprocessing, layers, logits, loss, gradients, and four updates; of these
            two the median over weights in half precision, where a single one may be all noise.
    """

    checks: tuple[CheckResult, ...]

    @property
    def holds(self) -> bool:
        """Whether every check held."""
        return bool(self.checks) and all(check.holds for check in self.checks)

    @property
    def outcome(self) -> str:
        """'equal', or where the two part."""
        failed = [check for check in self.checks if not check.holds]
        if not failed:
            return "equal" if self.checks else "not compared"
        check = failed[0]
        where = f" at {check.where}" if check.where else ""
        return f"differs: {check.name} {check.measured:.1e} > {check.tolerance:.1e}{where}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: the outcome and each check's measured difference and bound."""
        checks = [[check.name, check.measured, check.tolerance] for check in self.checks]
        return {"outcome": self.outcome, "holds": self.holds, "checks": checks}


def check_comparable(first: Case, second: Case) -> None:
    """No ratio of images to models, and none of two frameworks' models without a gate.

    Raises:
        RunError: If the two are counted in different units; or if they are of different frameworks,
            and of another work or recipe, or of a work that has no gate but runs a model.
    """
    units = [get_work(case.work).unit for case in (first, second)]
    if len(set(units)) > 1:
        raise RunError(
            f"{first.work} is counted in {units[0]} and {second.work} in {units[1]}: there is no "
            "ratio of them; time each by itself."
        )
    if first.config.framework == second.config.framework:
        return
    alike = first.to_dict() == second.of(first.config.framework).to_dict()
    work = get_work(first.work)
    if not alike or (work.passes and not work.gated):
        raise RunError(
            "two frameworks are compared only at the same gated work with the same recipe, since "
            "the gate shows their models equal first; compare other settings within one framework."
        )


def pass_gate(case: Case, interpreters: Mapping[str, str]) -> Gate:
    """Compare logits, gradients and updates of both frameworks, each in a process of its own.

    Args:
        case: Its framework is not used; its precision is that in which they are compared.
        interpreters: Framework to the Python that runs it; this one by default.

    Raises:
        RunError: If a process fails.
    """
    # As a training: works that draw batches while they are timed need many more images.
    config = of_batch_size(replace(case, work="training"), GATE_IMAGES).config
    config = replace(config, recipe=replace(config.recipe, drop_last=True))
    images = load_dataset(config.data)
    run = PreparedRun(config=config, spec=config.spec(images.num_classes))
    with both_sides(config, interpreters) as sides:
        for draw in range(GATE_DRAWS):
            recipe = replace(config.recipe, seed=config.recipe.seed + draw)
            drawn = replace(run, config=replace(config, recipe=recipe))
            question = make_parity_case(drawn, images, FEW_STEPS)
            gate = Gate(checks=tuple(static_checks(sides, question, explain=False)))
            if gate.holds:
                break
    return gate
