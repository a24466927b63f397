"""Cases on noise, whose pixels cost what any other's do."""

from dataclasses import replace

from alexnet_impl.measurement.case import Case
from alexnet_impl.measurement.memory import of_batch_size
from alexnet_impl.measurement.worker import usable_cores
from alexnet_impl.measurement.works import synthetic_data
from alexnet_impl.recipe import Recipe
from alexnet_impl.results import RunConfig

RECIPE = Recipe(learning_rate=1e-3, initializer="he", last_layer_std=0.01)


def make_case(work, framework, variant, *, width=1.0, device="cpu", **recipe):
    """A case on noise, with all cores; further arguments are fields of the recipe."""
    config = RunConfig(
        framework=framework,
        variant=variant,
        width=width,
        recipe=replace(RECIPE, **recipe),
        data=synthetic_data(1),
        device=device,
        threads=usable_cores(),
    )
    return of_batch_size(Case(work=work, config=config), config.recipe.global_batch_size)
