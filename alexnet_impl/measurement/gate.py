"""The gate before a speed ratio: both frameworks must compute the same in the timed precision."""

from dataclasses import replace

from alexnet_impl.data.loading import load_dataset
from alexnet_impl.errors import RunError
from alexnet_impl.measurement.case import Case, Interpreters, of_batch_size
from alexnet_impl.measurement.measured_cases import Gate
from alexnet_impl.measurement.workloads import get_workload
from alexnet_impl.parity.prove import both_sides, make_parity_case
from alexnet_impl.parity.stages import static_checks
from alexnet_impl.training.prepare import PreparedRun

GATE_IMAGES, GATE_IMAGES_FLOAT16 = 4, 8
"""Batch size of the comparison: a mistake shows in any image, and each adds sums near zero. The
median change of float16 needs more: with 4 it lets another momentum through."""
GATE_STEPS = 3
"""Updates that are compared: another beta shows in the second, another momentum formula in the
third, whose learning rate is another."""
GATE_DRAWS = 3
"""Draws of weights and images before two models count as different. A sum within rounding of zero
falls to either side of ReLU and moves every gradient before it: that is chance, and a mistake shows
in every draw."""


def check_comparable(first: Case, second: Case) -> None:
    """Refuse two sides that have no ratio.

    Raises:
        RunError: If the two are counted in different units; or if two frameworks differ in
            workload or recipe, or run a model in a workload without a gate.
    """
    units = [get_workload(case.workload).unit for case in (first, second)]
    if len(set(units)) > 1:
        raise RunError(
            f"{first.workload} is counted in {units[0]} and {second.workload} in {units[1]}: they "
            "have no ratio; time each by itself."
        )
    if first.config.framework == second.config.framework:
        return
    alike = first.to_dict() == second.of(first.config.framework).to_dict()
    workload = get_workload(first.workload)
    if not alike or (workload.passes and not workload.gated):
        raise RunError(
            "two frameworks are compared only at the same gated workload with the same recipe, "
            "since the gate shows their models equal first; compare other settings within one "
            "framework."
        )


def pass_gate(case: Case, interpreters: Interpreters) -> Gate:
    """Compare logits, gradients and updates of both frameworks, each in a process of its own.

    Args:
        case: What will be timed; its framework is not used.
        interpreters: Framework to the Python that runs it; by default this one.

    Raises:
        RunError: If a process fails.
    """
    # As a training: workloads that draw batches while they are timed need many more images.
    is_float16 = case.config.recipe.precision == "float16"
    num_images = GATE_IMAGES_FLOAT16 if is_float16 else GATE_IMAGES
    config = of_batch_size(replace(case, workload="training"), num_images).config
    config = replace(config, recipe=replace(config.recipe, drop_last=True))
    images = load_dataset(config.data)
    run = PreparedRun(config=config, spec=config.spec(images.num_classes))
    with both_sides(config, interpreters) as sides:
        for draw in range(GATE_DRAWS):
            recipe = replace(config.recipe, seed=config.recipe.seed + draw)
            drawn = replace(run, config=replace(config, recipe=recipe))
            parity_case = make_parity_case(drawn, images, GATE_STEPS)
            gate = Gate(checks=tuple(static_checks(sides, parity_case, explain=False)))
            if gate.holds:
                break
    return gate
