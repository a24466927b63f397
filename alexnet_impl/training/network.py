"""Makes the trainer of a run: of the whole network, or of its head on cached features."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from alexnet_impl.data.dataset import Dataset
from alexnet_impl.frameworks import DeviceTrainer, get_framework
from alexnet_impl.network.spec import Spec
from alexnet_impl.recipe.phases import phase_recipes
from alexnet_impl.training.events import Observer, Prepared
from alexnet_impl.training.features import (
    Features,
    cache_key,
    compute_features,
    cut_network,
    head_recipe,
    head_weights,
)
from alexnet_impl.training.initial_weights import first_weights
from alexnet_impl.training.prepare import PreparedRun
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


def make_network(
    run: PreparedRun, weights: Weights, dataset: Dataset, observer: Observer
) -> Network:
    """Makes the trainer of a run, and computes the cached features that it reads if there are any.

    Args:
        run: What to train.
        weights: Its first weights, in the canonical layout and the shapes of the whole network.
        dataset: Its images.
        observer: Is told how many images' features are computed.
    """
    config, spec = run.config, run.spec
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
            first_weights=partial(first_weights, run),
        )
    cut = cut_network(spec, config.recipe)
    whole = trainer.weights()
    heads = head_weights(whole, cut)
    features = compute_features(
        trainer,
        cut,
        dataset,
        cache_key(whole, cut, recipe, dataset, framework.fingerprint(config.device)),
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
        first_weights=partial(first_weights, run),
    )
