"""Comparisons of two experiments that differ in more than what the report compares."""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any, Protocol

from alexnet_impl.network.variants import get_variant
from alexnet_impl.recipe.phases import phase_recipes
from alexnet_impl.recipe.recipe import MOMENTUM_OPTIMIZERS, Recipe
from alexnet_impl.reproduction.catalogue.scratch import EXPERIMENTS
from alexnet_impl.reproduction.checks.finding import Finding
from alexnet_impl.reproduction.claims.claim import Claim
from alexnet_impl.reproduction.claims.queries import final_claims


class Trained(Protocol):
    """An experiment, or the config of a run."""

    @property
    def variant(self) -> str:
        """A key of VARIANTS."""

    @property
    def weights(self) -> str | None:
        """What it begins with; None: drawn."""

    @property
    def recipe(self) -> Recipe:
        """Every number of the training."""


_OF_MOMENTUM = ("momentum", "momentum_formula", "nesterov")
_OF_ADAM = ("beta1", "beta2", "epsilon", "epsilon_formula")
_UNSET = {"shuffle_buffer": "a permutation", "resize_to": "no crop"}
"""What a field's None means, where 'none' does not say it."""
_IDLE = ("resize", "reset_layers", "prefetch")
"""Upwards all but nearest are the same; a last layer of another size begins anew in any case; and
when a batch is made changes no number."""


def comparisons(claims: Sequence[Claim]) -> Iterator[Finding]:
    """Conclusions that name another experiment, with all that differs between the two."""
    for claim in claims:
        if claim.quantity != "conclusion" or claim.of not in EXPERIMENTS:
            continue
        differing = differences(EXPERIMENTS[claim.experiment], EXPERIMENTS[claim.of])
        missing = [
            f"no accuracy of {name} is given"
            for name in (claim.experiment, claim.of)
            if not final_claims(name, "test_top1_accuracy", claims)
        ]
        if differing or missing:
            yield Finding(
                check="comparisons",
                kind="incomparable",
                claims=(claim,),
                reason=f"{claim.experiment} against {claim.of}: {'; '.join(missing + differing)}",
            )


def differences(one: Trained, other: Trained) -> list[str]:
    """What two trainings differ in, as 'field: one / other'; the framework aside."""
    found = [] if one.variant == other.variant else [f"variant: {one.variant} / {other.variant}"]
    if one.weights != other.weights:
        found.append(f"weights: {one.weights or 'drawn'} / {other.weights or 'drawn'}")
    sides = (one, other)
    for entry in fields(Recipe):
        values = [_in_effect(side, entry.name) for side in sides]
        idle = all(_is_idle(side.recipe, entry.name) for side in sides)
        if values[0] != values[1] and not idle:
            found.append(f"{entry.name}: {' / '.join(_words(entry.name, v) for v in values)}")
    return found


def _in_effect(side: Trained, name: str) -> Any:
    """A field's value, or the variant's where the recipe leaves it to it."""
    value = getattr(side.recipe, name)
    if name == "input_size" and value is None:
        return get_variant(side.variant).input_size
    return value


def _words(name: str, value: Any) -> str:
    if value is None:
        return _UNSET.get(name, "none")
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _is_idle(recipe: Recipe, name: str) -> bool:
    """Whether a field of the recipe changes nothing in this training."""
    has_momentum = recipe.optimizer in MOMENTUM_OPTIMIZERS
    if name == "momentum_formula" and _has_one_rate(recipe):
        return True
    if name in _OF_MOMENTUM:
        return not has_momentum
    if name in _OF_ADAM:
        return has_momentum
    return name in _IDLE


def _has_one_rate(recipe: Recipe) -> bool:
    """Whether no optimizer sees its learning rate change: momentum may then keep it or not."""
    return all(part.schedule == "constant" and not part.warmup for part in phase_recipes(recipe))
