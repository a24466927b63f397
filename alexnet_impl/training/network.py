"""Makes the trainer of a run: of the whole network, or of its head on cached features."""

from collections.abc import Callable
from dataclasses import dataclass

from alexnet_impl.data.dataset import Dataset
from alexnet_impl.frameworks import DeviceTrainer, get_framework
from alexnet_impl.network.spec import Spec
from alexnet_impl.recipe.phases import phase_recipes
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.training.events import Observer, Prepared
from alexnet_impl.training.features import (
    Features,
    cache_key,
    compute_features,
    cut_network,
    head_recipe,
    head_weights,
)
from alexnet_impl.weights.canonical import Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The network that a run trains: the whole one, or the head on cached features.

    Attributes:
        trainer: The trainer of the first phase.
        spec: The network that it trains.
        whole: The run's whole network.
        features: What it reads in place of images; None if it reads images.
        kept_weights: The weights that are in no trainer: of the layers in front of the head.
        first_weights: Returns the whole network's weights before the first step.
    """

    trainer: DeviceTrainer
    spec: Spec
    whole: Spec
    features: Features | None
    kept_weights: Weights
    first_weights: Callable[[], Weights]


def set_threads(config: RunConfig) -> None:
    """Set the framework's threads; TensorFlow starts them when it reads a backbone's weights."""
    if config.threads is not None:
        get_framework(config.framework).set_threads(config.threads)


def make_network(
    config: RunConfig,
    spec: Spec,
    weights: Weights,
    dataset: Dataset,
    observer: Observer,
    *,
    first_weights: Callable[[], Weights],
) -> Network:
    """Make the trainer of a run, and compute the cached features that it reads if there are any.

    Args:
        config: The run.
        spec: Its whole network.
        weights: The canonical weights that it starts from, in the shapes of weight_shapes(spec).
        dataset: Its images.
        observer: Is told how many images' features are computed.
        first_weights: Returns `weights` again.
    """
    framework = get_framework(config.framework)
    recipe = phase_recipes(config.recipe)[0]
    trainer = framework.make_trainer(spec, recipe, weights, config.device)
    if not config.cache_features:
        return Network(
            trainer=trainer,
            spec=spec,
            whole=spec,
            features=None,
            kept_weights={},
            first_weights=first_weights,
        )
    cut = cut_network(spec, config.recipe)
    whole = trainer.weights()
    heads = head_weights(whole, cut)
    versions = framework.fingerprint(config.device)
    key = cache_key(whole, cut, recipe, dataset, versions)
    features = compute_features(
        trainer,
        cut,
        dataset,
        key,
        lambda what, done, total: observer(Prepared(what=what, done=done, total=total)),
    )
    del trainer  # its memory is free for the head's
    return Network(
        trainer=framework.make_trainer(
            cut.head, head_recipe(recipe, spec, cut), heads, config.device
        ),
        spec=cut.head,
        whole=spec,
        features=features,
        kept_weights={name: array for name, array in whole.items() if name not in heads},
        first_weights=first_weights,
    )
