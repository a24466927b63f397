"""The request of a run, from flags or the Python API, and the RunConfig that follows from it."""

import warnings
from dataclasses import dataclass, replace

from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.loading import settle
from alexnet_impl.data.progress import Progress, silent
from alexnet_impl.errors import AlexNetWarning
from alexnet_impl.machine.facts import usable_cores
from alexnet_impl.network.own_network import OwnVariant
from alexnet_impl.network.variants import get_variant
from alexnet_impl.recipe.phases import with_epochs_of_phases
from alexnet_impl.recipe.recipe import OnCollapse, Recipe
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.training.prepare import find_given
from alexnet_impl.weights.pretrained_files import (
    Pretrained,
    adopt_preprocessing,
    check_preprocessing,
)

DEMO_WIDTH = 0.25
"""Default width for the digits: the first command ends in under two minutes on two cores."""
PREPROCESSING_FIELDS = {"input_scaling", "resize_to"}
"""Recipe fields that pretrained weights determine too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """A run as it was asked for; what is None has a default that depends on the rest.

    Attributes:
        framework: 'torch' or 'tensorflow'.
        variant: A key of VARIANTS with changes, or the user's own network.
        recipe: Every number of the training.
        stated: Fields of the recipe that the user has set, even to their usual value.
        data: Which images.
        width: Multiplier of the numbers of channels and features.
        seed: Replaces the recipe's.
        device: 'auto', 'cpu' or 'gpu'.
        threads: CPU threads of the framework.
        on_collapse: See RunConfig.
        weights: Name or file of the weights to start from.
        cache_features: See RunConfig.
    """

    framework: str
    variant: str | OwnVariant
    recipe: Recipe
    stated: tuple[str, ...] = ()
    data: DataConfig
    width: float | None = None
    seed: int | None = None
    device: str = "auto"
    threads: int | None = None
    on_collapse: OnCollapse = "warn"
    weights: str | None = None
    cache_features: bool = False


def settle_request(
    request: RunRequest, progress: Progress = silent
) -> tuple[RunConfig, Pretrained | None]:
    """Returns the RunConfig of a request, and the weights that it names.

    The weights are downloaded if needed, and the run adopts their preprocessing of images.

    Raises:
        UnknownNameError: If there is no such variant.
        WeightsError: If the weights cannot be found, or belong to another network.
        RecipeError: If the recipe states another preprocessing than the weights', or other epochs
            than its phases.
        UserCodeError: If the user's own network cannot be built.
    """
    variant, recipe, network = request.variant, request.recipe, None
    if isinstance(variant, str):
        get_variant(variant)
    data = settle(request.data)
    recipe = with_epochs_of_phases(recipe, stated="epochs" in request.stated)
    if request.seed is not None:
        recipe = replace(recipe, seed=request.seed)
    if isinstance(variant, OwnVariant):
        network = variant.network(input_size=recipe.input_size, width=request.width)
    is_demo = network is None and data.dataset == "digits"
    usual_width = DEMO_WIDTH if is_demo else 1.0
    config = RunConfig(
        framework=request.framework,
        variant=variant if isinstance(variant, str) else variant.name,
        width=usual_width if request.width is None else request.width,
        recipe=recipe,
        data=data,
        device=request.device,
        threads=request.threads,
        on_collapse=request.on_collapse,
        weights=request.weights,
        cache_features=request.cache_features,
        network=network,
    )
    given = None
    if request.weights is not None:
        given = find_given(request.weights, config, progress)
        config = replace(config, recipe=_fed_as_trained(request, recipe, given))
    _warn_of_threads(request.threads)
    return config, given


def _fed_as_trained(request: RunRequest, recipe: Recipe, given: Pretrained) -> Recipe:
    """The recipe with the preprocessing of the given weights, unless the user states another."""
    if PREPROCESSING_FIELDS.isdisjoint(request.stated):
        return adopt_preprocessing(recipe, given)
    check_preprocessing(recipe, given)
    return recipe


def _warn_of_threads(threads: int | None) -> None:
    """Warns if there are fewer cores than threads."""
    if threads is not None and threads > (cores := usable_cores()):
        warnings.warn(
            f"--threads {threads}: only {cores} CPU cores are available; more threads would slow "
            "it down.",
            AlexNetWarning,
            stacklevel=3,
        )
