"""Which layers learn, and how fast: the meaning of Recipe.trainable and Recipe.rate_factors."""

import math
import re
from dataclasses import dataclass

from alexnet_impl.errors import RecipeError, UnknownNameError
from alexnet_impl.network.spec import Dense, Dropout, Flatten, Spec, backbone_of, trace
from alexnet_impl.recipe.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Trainable:
    """The layers whose weights are updated.

    Attributes:
        layers: Names of these layers of the Spec, layers without weights included.
        backbone_layers: Number of a backbone's layers that learn, counted from its end. None
            means all of them if it is among `layers`, otherwise none.
    """

    layers: frozenset[str]
    backbone_layers: int | None = None


def trainable_layers(spec: Spec, recipe: Recipe) -> Trainable:
    """Resolves Recipe.trainable for a network.

    Raises:
        UnknownNameError: If the network has no layer of a name.
        RecipeError: If no weight would learn.
    """
    found = _find(spec, recipe.trainable)
    learning = [
        step.layer.name
        for step in trace(spec).layers
        if step.num_params and step.layer.name in found.layers
    ]
    if not learning:
        raise RecipeError(f"trainable={recipe.trainable}: none of these layers has weights.")
    return found


def learns_everything(spec: Spec, recipe: Recipe) -> bool:
    """Whether every layer with weights learns."""
    found = trainable_layers(spec, recipe)
    weighted = {step.layer.name for step in trace(spec).layers if step.num_params}
    return weighted <= found.layers and found.backbone_layers is None


def _find(spec: Spec, text: str) -> Trainable:
    names = [layer.name for layer in spec.layers]
    if text == "all":
        return Trainable(layers=frozenset(names))
    backbone = backbone_of(spec)
    if text == "head":
        first = names.index(head_of(spec)[0])
        return Trainable(layers=frozenset(names[first:]))
    if last := re.fullmatch(r"last-(\d+)", text):
        count = int(last[1])
        if backbone is None:
            return Trainable(layers=frozenset(names[max(0, len(names) - count) :]))
        return Trainable(layers=frozenset(names), backbone_layers=count)
    chosen = [name.strip() for name in text.split(",")]
    for name in chosen:
        if name not in names:
            raise UnknownNameError("layer to train", name, ["all", "head", "last-N", *names])
    return Trainable(layers=frozenset(chosen))


def head_of(spec: Spec) -> tuple[str, ...]:
    """Names of the head's layers: all after the backbone, or the last layer with weights."""
    names = [layer.name for layer in spec.layers]
    backbone = backbone_of(spec)
    if backbone is not None:
        return tuple(names[names.index(backbone.name) + 1 :])
    weighted = [step.layer.name for step in trace(spec).layers if step.weight_shapes]
    return (weighted[-1],)


def frozen_prefix(spec: Spec, recipe: Recipe) -> int:
    """Counts the first layers whose output for an image is the same in every training step.

    They are frozen or have no weights, and draw no random numbers. The prefix does not end between
    a flattening and the next dense layer, where the frameworks order a map's values differently.
    """
    found = trainable_layers(spec, recipe)
    end = 0
    flattened = False
    for count, step in enumerate(trace(spec).layers, start=1):
        learns = step.layer.name in found.layers and step.num_params
        if learns or isinstance(step.layer, Dropout):
            break
        match step.layer:
            case Flatten():
                flattened = True
            case Dense():
                flattened = False
        end = end if flattened else count
    return end


def rate_factors(spec: Spec, recipe: Recipe) -> dict[str, float]:
    """Learning-rate factor by layer, for the layers whose factor Recipe.rate_factors sets.

    Raises:
        RecipeError: If one is not LAYER=FACTOR with a factor above 0.
        UnknownNameError: If the network has no such layer.
    """
    names = [layer.name for layer in spec.layers]
    found: dict[str, float] = {}
    for text in recipe.rate_factors:
        name, _, value = text.partition("=")
        try:
            factor = float(value)
        except ValueError:
            factor = math.nan
        if not 0 < factor < math.inf:
            raise RecipeError(f"rate_factors: '{text}' must be LAYER=FACTOR with a factor above 0.")
        if name not in names:
            raise UnknownNameError("layer of rate_factors", name, names)
        found[name] = factor
    return found
