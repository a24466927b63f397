"""What a run trains: the whole network, or the head after layers whose features are cached."""

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
    """What a run trains: the whole network, or the head behind features that are kept.

    Attributes:
        trainer: Of the first phase.
        spec: Of what it trains.
        features: In place of images; None where there are none.
        kept_weights: Those that are in no trainer: of the layers in front of the head.
    """

    trainer: DeviceTrainer
    spec: Spec
    features: Features | None
    kept_weights: Weights


def set_threads(config: RunConfig) -> None:
    """Before a file of weights is read: TensorFlow starts its threads to read a backbone's."""
    if config.threads is not None:
        get_framework(config.framework).set_threads(config.threads)


def make_network(
    config: RunConfig, spec: Spec, weights: Weights, dataset: Dataset, observer: Observer
) -> Network:
    """The network of a run with its trainer, and the cached features it reads if there are any."""
    framework = get_framework(config.framework)
    recipe = phase_recipes(config.recipe)[0]
    trainer = framework.make_trainer(spec, recipe, weights, config.device)
    if not config.cache_features:
        return Network(trainer=trainer, spec=spec, features=None, kept_weights={})
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
        features=features,
        kept_weights={name: array for name, array in whole.items() if name not in heads},
    )
