"""Prepares a run once: checks its configuration, builds its network and finds its weights.

A PreparedRun is handed down to whatever trains it, in this process or in a worker; nothing that
receives one builds the Spec or looks for weights again.
"""

from dataclasses import dataclass

from alexnet_impl.data.batches import num_batches
from alexnet_impl.data.dataset import Dataset
from alexnet_impl.data.progress import Progress, silent
from alexnet_impl.errors import WeightsError
from alexnet_impl.network.spec import Spec
from alexnet_impl.network.variants import get_variant
from alexnet_impl.recipe.phases import phase_recipes
from alexnet_impl.recipe.recipe import require_settled
from alexnet_impl.recipe.trainable import rate_factors, trainable_layers
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.training.features import cut_network
from alexnet_impl.training.feeding import batch_plan
from alexnet_impl.weights.metadata import stored_info
from alexnet_impl.weights.pretrained_files import (
    Pretrained,
    check_preprocessing,
    file_kind,
    find_pretrained,
    refuse_other_library,
)
from alexnet_impl.weights.published_files import published_of


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedRun:
    """A run that is ready to start.

    Attributes:
        config: What to train.
        spec: The network, for the number of classes of the run's images.
        given: The file of weights that the run starts from; None: the recipe's initializer.

    Raises:
        RecipeError: If the recipe's precision is still auto.
    """

    config: RunConfig
    spec: Spec
    given: Pretrained | None = None

    def __post_init__(self) -> None:
        require_settled(self.config.recipe)


def prepare_run(
    config: RunConfig, dataset: Dataset, given: Pretrained | None = None
) -> PreparedRun:
    """Checks that these images can train this run, builds its network and finds its weights.

    `given` are the weights of config.weights, if the caller has found them already.

    Raises:
        UnknownNameError: If there is no such variant.
        SpecError: If the variant does not allow these numbers.
        DataError: If an epoch would not have a single batch.
        RecipeError: If no layer would learn, none is frozen whose features could be cached, or
            the weights were trained on other values than the recipe feeds.
        WeightsError: If the weights cannot be found.
    """
    num_batches(batch_plan(config.recipe), len(dataset.train))
    spec = config.spec(dataset.num_classes)
    for recipe in phase_recipes(config.recipe):
        trainable_layers(spec, recipe)
    rate_factors(spec, config.recipe)
    if config.cache_features:
        cut_network(spec, config.recipe)
    if config.weights is not None:
        given = given or find_given(config.weights, config)
        kind = file_kind(given.path)
        refuse_other_library(given.name, kind, config.variant, config.framework)
        check_preprocessing(config.recipe, given)
    return PreparedRun(config=config, spec=spec, given=given)


def find_given(name: str, config: RunConfig, progress: Progress = silent) -> Pretrained:
    """Finds the weights of this name for the network of a run, downloading them if needed.

    Raises:
        WeightsError: If they cannot be found, or belong to another network.
    """
    known = get_variant(config.variant) if config.network is None else config.network
    size = config.recipe.input_size or known.input_size
    found = find_pretrained(name, config.variant, size, progress, framework=config.framework)
    info = None if published_of(found.path) else stored_info(found.path)
    if info is not None and info.variant != config.variant:
        raise WeightsError(
            f"{found.path}: holds weights of {info.variant}, not of {config.variant}; train that "
            "network, or give its own weights."
        )
    return found
