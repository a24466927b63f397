"""Benchmark cases on noise images, which cost the same as any others."""

from dataclasses import replace

from alexnet_impl.machine.facts import usable_cores
from alexnet_impl.measurement.case import USUAL_RECIPE, Case, of_batch_size, synthetic_data
from alexnet_impl.recipe.named import get_recipe
from alexnet_impl.runs.config import RunConfig


def make_case(workload, framework, variant, *, width=1.0, device="cpu", **recipe):
    """A case on noise images and all cores; further arguments are fields of the recipe."""
    config = RunConfig(
        framework=framework,
        variant=variant,
        width=width,
        recipe=replace(get_recipe(USUAL_RECIPE), **recipe),
        data=synthetic_data(1),
        device=device,
        threads=usable_cores(),
    )
    return of_batch_size(Case(workload=workload, config=config), config.recipe.global_batch_size)
